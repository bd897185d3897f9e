"""Python, the packages, and SQLite with the bug of its log that older versions have."""

from __future__ import annotations

import platform
import sqlite3
import sys
from importlib import metadata

from runner import __version__
from runner.doctor.check import Check, State

__all__ = ["check_packages", "check_python", "check_sqlite", "has_log_bug"]

_OLDEST_PYTHON = (3, 10)
_PACKAGES = ("vuer", "ml-logger", "playwright", "aiohttp", "sqlalchemy", "numpy", "pandas", "pillow")
# Two connections that write and checkpoint at the same instant may damage the file: sqlite.org/wal.html#walresetbug.
# Present since the first version, fixed in the second, and in two older series from the versions given.
_BUG_SINCE, _BUG_MENDED, _MENDED_SERIES = (3, 7, 0), (3, 51, 3), ((3, 44, 6), (3, 50, 7))


def check_python() -> Check:
    """Whether it is new enough."""
    found = f"{platform.python_version()} ({sys.executable}), runner {__version__}"
    if sys.version_info < _OLDEST_PYTHON:
        return Check("python", State.FAIL, found, "use Python 3.10 or newer")
    return Check("python", State.OK, found)


def check_packages() -> Check:
    """Whether what runner needs is installed, and in which versions."""
    there, missing = [], []
    for name in _PACKAGES:
        try:
            there.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        fix = f"{sys.executable} -m pip install {' '.join(missing)}"
        return Check("packages", State.FAIL, f"missing: {', '.join(missing)}", fix)
    return Check("packages", State.OK, ", ".join(there))


def has_log_bug(version: tuple[int, ...]) -> bool:
    """Whether that version of SQLite has the bug by which its write-ahead log may damage the file."""
    mended = any(series <= version < (series[0], series[1] + 1) for series in _MENDED_SERIES)
    return _BUG_SINCE <= version < _BUG_MENDED and not mended


def check_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info, is_used: bool = True) -> Check:
    """Whether its log is safe. is_used: the jobs are kept in it."""
    found = ".".join(map(str, version))
    if not has_log_bug(version) or not is_used:
        return Check("sqlite", State.OK, found)
    return Check(
        "sqlite",
        State.WARN,
        f"{found}, with the WAL-reset bug, which may damage a database (very rare; sqlite.org/wal.html#walresetbug)",
        "use a Python whose SQLite is 3.51.3 or newer (or 3.50.7, 3.44.6), or --db postgresql://…",
    )
