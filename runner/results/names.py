"""Checks the names of a job's files: within their folder, and different on any disk."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from runner.errors import ArtifactError


class Names:
    """The names of one attempt's files; no two may collide on any disk.

    kept: names that earlier attempts have used, which this one may use again.
    """

    def __init__(self, kept: Iterable[str]):
        self._files = {_folded(name): name for name in kept}
        self._again = set(self._files.values())
        self._folders = {parent for file in self._files for parent in _parents(file)}

    def take(self, name: str) -> None:
        """Take a name. Raises ArtifactError if it is taken, or if one name is both a file and a folder."""
        file = _folded(name)
        other = self._files.get(file)
        if other is not None and other not in self._again:
            same = (
                "two files were saved as"
                if other == name
                else f"{other!r} would be one file on some disks with"
            )
            raise ArtifactError(f"{same} {name!r}")
        inside = next((self._files[parent] for parent in _parents(file) if parent in self._files), None)
        if inside is not None or file in self._folders:
            raise ArtifactError(f"{inside or name!r} cannot be both a file and a folder")
        self._again.discard(name)
        self._files[file] = name
        self._folders.update(_parents(file))


def _folded(name: str) -> str:
    """The name as disks see it that ignore case, or compose accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _parents(name: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(name).parents[:-1]]


def checked_name(name: str) -> str:
    """The name, if it stays within its folder. Raises ArtifactError."""
    parts = name.split("/") if isinstance(name, str) else []
    bad = (
        not parts
        or not name.isprintable()
        or any(not part or part.startswith(".") or len(part.encode()) > 200 for part in parts)
        or "\\" in name
        or len(name.encode()) > 800
    )
    if bad:
        raise ArtifactError(
            f"a file cannot be named {name!r:.100}: use letters and digits, folders with '/', "
            "no leading '.' and no '..'"
        )
    return name
