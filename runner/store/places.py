"""The places of a campaign's file and results, relative to the database's own folder, so that all can move together."""

from __future__ import annotations

import os
from pathlib import Path

from runner.store.rows import CampaignRow

__all__ = ["kept", "located"]


def kept(path: str | None, folder: Path | None) -> str | None:
    """The path as the database stores it: relative to its own folder if it is below that, else absolute.

    folder: None if the database is on a server.
    """
    if path is None or folder is None or not Path(path).is_absolute():
        return path
    path, root = os.path.normpath(path), os.path.normpath(folder)
    return os.path.relpath(path, root) if Path(path).is_relative_to(root) else path


def located(row: CampaignRow, folder: Path | None) -> CampaignRow:
    """The row with absolute paths; paths that were stored relative are found beside this very database."""
    if folder is None:
        return row
    placed = row.copy()
    placed["file"] = _absolute(row["file"], folder)
    placed["results"] = _absolute(row["results"], folder)
    if _is_copied_with(row, folder):
        placed["results"] = str(folder / Path(row["results"] or "").name)
    return placed


def _absolute(path: str | None, folder: Path) -> str | None:
    return None if path is None else os.path.normpath(folder / path)


def _is_copied_with(row: CampaignRow, folder: Path) -> bool:
    """Whether a database of version 0.1.0, which stored absolute paths, was copied here with file and results."""
    file, results = Path(row["file"] or ""), Path(row["results"] or "")
    return (
        file.is_absolute()
        and results.is_absolute()
        and file.parent == results.parent != folder
        and (folder / results.name / row["name"]).is_dir()
    )
