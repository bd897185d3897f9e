"""The web client's files as they are served: with the page script, and waiting for no other host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import vuer

from runner.sessions.script import page_script

__all__ = ["Client", "read_client"]

_BUILD = Path(vuer.__file__).parent / "client_build"
# The font for text that names none; the client would fetch one from the net.
_FONTS = Path(__file__).with_name("page") / "fonts"
_FOREIGN_SHEET = re.compile(
    r"""@import\s*(?:url\(\s*)?(?:"https?://[^"]*"|'https?://[^']*'|https?://[^)]*)[^;]*;""", re.IGNORECASE
)


@dataclass(frozen=True)
class Client:
    """page: what is served at '/'. sheets: style sheets, and files: all else, by their paths from '/'."""

    page: str
    sheets: Mapping[str, str]
    files: Mapping[str, Path]


def read_client() -> Client:
    """Read what is served otherwise than it lies in Vuer's package."""
    # Placed before the client's own scripts, so that it sees all that they do.
    page = (_BUILD / "index.html").read_text().replace("<head>", f"<head><script>{page_script()}</script>", 1)
    files = {f"/{file.relative_to(_BUILD).as_posix()}": file for file in _BUILD.rglob("*") if file.is_file()}
    # The client's windows would have a font from the net, and the page would begin only when it is there: after half a
    # minute where a firewall drops what goes out. Pictures show no text of style sheets.
    sheets = {
        path: _FOREIGN_SHEET.sub("", file.read_text())
        for path, file in files.items()
        if file.suffix == ".css"
    }
    fonts = {f"/runner/fonts/{file.name}": file for file in _FONTS.glob("*.woff")}
    return Client(page, sheets, files | fonts)
