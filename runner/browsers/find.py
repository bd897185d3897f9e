"""Finds a browser: the one named by the user, the system's, or Playwright's."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from runner.errors import BrowserError
from runner.machine import home_folder

# Chromium's headless shell first, where it is installed: it starts in half the time.
_NAMES = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
)
_LARGEST_SCRIPT_BYTES = 1 << 16
_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
HOW_TO_GET_ONE = (
    "install one with 'playwright install --with-deps chromium', or your system's own "
    "(Debian: apt-get install chromium), or name one in RUNNER_BROWSER; "
    "'runner run FILE --sessions 0' needs none and prints a link for your own browser"
)


def find_browser() -> str:
    """The path of the browser to use: RUNNER_BROWSER, else the system's Chromium or Chrome, else Playwright's.

    Raises BrowserError, saying how to get one, when there is none.
    """
    named = os.environ.get("RUNNER_BROWSER")
    if named:
        path = shutil.which(named)
        if path is None:
            raise BrowserError(f"RUNNER_BROWSER names {named!r}, which is not a program")
        return path
    paths = [path for path in map(shutil.which, _NAMES) if path]
    for path in paths:
        if not _is_snap(path):
            return path
    if _MAC.exists():
        return str(_MAC)
    own = _playwright_browser()
    if own:
        return own
    if paths:
        raise BrowserError(
            f"{paths[0]} is a snap, as Ubuntu has it, which may not use a folder that is made for it: {HOW_TO_GET_ONE}"
        )
    raise BrowserError(f"no browser was found: {HOW_TO_GET_ONE}")


def _is_snap(path: str) -> bool:
    """Whether a program is confined to folders of its own: a link to snap, or Ubuntu's script that calls one."""
    real = Path(path).resolve()
    if real.name == "snap" or "/snap/" in path:
        return True
    with contextlib.suppress(OSError):
        return real.stat().st_size < _LARGEST_SCRIPT_BYTES and b"/snap/bin/" in real.read_bytes()
    return False


def _playwright_browser() -> str | None:
    """The newest Chromium that 'playwright install' has put into its folder."""
    folder = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    folders = [Path(folder)] if folder else []
    home = home_folder()
    if home is not None:
        folders += [home / ".cache/ms-playwright", home / "Library/Caches/ms-playwright"]
    patterns = (
        "chromium-*/chrome-linux*/chrome",
        "chromium-*/chrome-mac*/Chromium.app/Contents/MacOS/Chromium",
        "chromium_headless_shell-*/chrome-*/headless_shell",
        "chromium_headless_shell-*/chrome-*/chrome-headless-shell",
    )
    for root in folders:
        for pattern in patterns:
            found = sorted(root.glob(pattern), key=lambda path: path.stat().st_mtime)
            if found:
                return str(found[-1])
    return None
