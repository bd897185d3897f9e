"""Checks of places: the filesystems of database, results and temporary files, and the room on their disks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runner.browsers import temporary_place
from runner.doctor.check import Check, State
from runner.errors import RunnerError, StoreError, WorldFault
from runner.machine import filesystem, network_filesystem, size_text
from runner.results import probe
from runner.store import Reader

__all__ = ["check_database", "check_remote", "check_results", "check_room", "existing_folder", "file_of"]

# The same as in a run: it pauses below the first; the second is little for a night.
_LEAST_BYTES, _LITTLE_BYTES = 256 << 20, 2 << 30
_PASSING = {
    "tmpfs": "in memory, and is gone when the machine restarts",
    "ramfs": "in memory, and is gone when the machine restarts",
    "overlay": "in a container, and is gone with it",
}
# How the store says that a database does not exist yet.
_NOT_YET = "there is no "


def file_of(database: str) -> Path | None:
    """The SQLite file; None where it is not such a database."""
    return (
        Path(database.removeprefix("sqlite:///"))
        if "://" not in database.removeprefix("sqlite:///")
        else None
    )


def existing_folder(path: Path) -> Path:
    """The nearest existing folder on the path."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def check_database(database: str) -> Check:
    """Whether jobs can be kept there."""
    file = file_of(database)
    if file is not None:
        kind = network_filesystem(file)
        if kind is not None:
            fix = "name a local path with --db, or a server with --db postgresql://…"
            return Check("database", State.FAIL, f"{file}: on {kind}, a network where SQLite loses data", fix)
        if not file.absolute().parent.exists():
            fix = f"mkdir -p {file.absolute().parent}, or name another place with --db"
            return Check("database", State.FAIL, f"{file}: its folder is missing", fix)
    try:
        with Reader(database) as reader:
            found = f"{reader.database.address}, campaigns in it: {len(reader.campaigns()):,}"
    except StoreError as error:
        if isinstance(error, WorldFault) or not str(error).startswith(_NOT_YET):
            return Check("database", State.FAIL, str(error), "fix that, or name another one with --db")
        found = f"{file.absolute() if file else 'PostgreSQL answers'}: the first run creates it"
    return _place("database", file.parent, found, "--db") if file else Check("database", State.OK, found)


def check_results(results: Path) -> Check:
    """Whether files can be kept there."""
    return _place("results", results, str(results.absolute()), "--results")


def check_remote(url: str) -> Check:
    """Whether files can be written to an object store, and read back."""
    try:
        probe(url, "doctor")
    except RunnerError as error:
        return Check("object store", State.FAIL, str(error), "fix its name, your credentials or the network")
    return Check("object store", State.OK, f"{url}: an object was written, read and removed")


def _place(name: str, folder: Path, found: str, option: str) -> Check:
    there = existing_folder(folder)
    kind = filesystem(there)
    found += f" ({kind or 'unknown'})"
    in_the_way = [path for path in (folder.absolute(), *folder.absolute().parents) if path.is_file()]
    if in_the_way:
        fix = f"name another place with {option}"
        return Check(name, State.FAIL, f"{found}: {in_the_way[0]} is a file, not a folder", fix)
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(
            name, State.FAIL, f"{found}: you may not write to {there}", f"name another place with {option}"
        )
    if kind in _PASSING:
        return Check(
            name, State.WARN, f"{found} lies {_PASSING[kind]}", f"name a lasting place with {option}"
        )
    return Check(name, State.OK, found)


def check_room(database: str, results: Path) -> Check:
    """Whether the disks of database, results and temporary files have room."""
    folders = {"results": results, "temporary files": temporary_place()}
    file = file_of(database)
    if file is not None:
        folders["database"] = file.parent
    free = {name: shutil.disk_usage(existing_folder(folder)).free for name, folder in folders.items()}
    found = ", ".join(f"{size_text(count)} for {name}" for name, count in free.items())
    least = min(free.values())
    if least >= _LITTLE_BYTES:
        return Check("free disk", State.OK, found)
    fix = "make room: after some jobs a run says how much space all of them will take"
    return Check("free disk", State.FAIL if least < _LEAST_BYTES else State.WARN, found, fix)
