"""The user's own folders, in which a help is kept: nothing there is needed."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home_folder", "own_folder"]


def home_folder() -> Path | None:
    """The user's home; None for a user of whom the system knows nothing but a number, as in some containers."""
    home = Path(os.path.expanduser("~"))
    return home if home.is_absolute() else None


def own_folder(variable: str, usual: str) -> Path | None:
    """This program's folder below the one that an XDG variable names, or below the usual one in the home."""
    home, named = home_folder(), os.environ.get(variable)
    if named:
        return Path(named, "runner")
    return home / usual / "runner" if home else None
