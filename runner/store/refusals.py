"""Turns errors of the drivers of SQLite and PostgreSQL into one line that says what to do."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from pathlib import Path

import sqlalchemy as sa

from runner.errors import StoreError, StoreUnavailable, WorldFault
from runner.machine import probe_descriptors, probe_disk, world_fault
from runner.reasons import first_line

__all__ = ["cannot_use", "driver_errors", "shown"]


def shown(url: sa.URL) -> str:
    """A path, or a URL without its password."""
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string()


_CANNOT_OPEN = "unable to open database file"
_REASONS = {
    "file is not a database": "the file is not a database; name another one with --db",
    _CANNOT_OPEN: "its folder is missing or may not be written to; name another place with --db",
    "readonly": "it may not be written to; name another place with --db",
    "database or disk is full": "the disk is full; make room on it",
    "database is locked": "another program holds it locked; end that program, or wait for it",
    "malformed": "it is damaged; restore a copy, or save what is left with 'sqlite3 OLD .recover | sqlite3 NEW'",
}


# Errors that may pass by themselves.
_PASSING = ("disk is full", "is locked", "disk I/O error", _CANNOT_OPEN)
# Lasting errors of PostgreSQL, or of the way to it, for a wrong URL or account. For a database in use, they may pass.
_LASTING = (
    "authentication failed", "no password supplied", "pg_hba.conf", "does not exist", "permission denied",
    "not permitted", "service not known", "no address associated", "invalid port number", "invalid response",
    "ssl was required", "certificate verify failed",
)  # fmt: skip


def cannot_use(url: sa.URL, error: Exception, is_opening: bool = False, may_write: bool = True) -> StoreError:
    """The error to raise instead: a StoreUnavailable if it may pass by itself, else a StoreError."""
    cause = getattr(error, "orig", None) or error
    reason = first_line(cause)
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(cause, psycopg.OperationalError):
        may_pass = not is_opening or not any(part in str(cause).lower() for part in _LASTING)
    else:
        may_pass = any(part in reason for part in _PASSING)
    if _CANNOT_OPEN in reason:
        file = Path(shown(url))
        if not may_write:
            return StoreError(f"cannot read the database {file}: {_why_unread(file)}")
        fault = _fault_in_opening(file)
        may_pass, reason = not is_opening or fault is not None, str(fault or reason)
    for part, told in _REASONS.items():
        if part in reason:
            reason = told
    kind = StoreUnavailable if may_pass else StoreError
    return kind(f"cannot use the database {shown(url)}: {reason}")


def _fault_in_opening(file: Path) -> WorldFault | None:
    """The passing fault that keeps SQLite from opening it, which SQLite does not name; None for a lasting one."""
    try:
        probe_descriptors()
        for there in filter(Path.exists, (file, Path(f"{file}-wal"), Path(f"{file}-shm"))):
            open(there, "r+b").close()
        file.parent.stat()
        probe_disk(file.parent)()
    except OSError as error:
        return None if error.errno == errno.EROFS else world_fault(error)
    return WorldFault("it could not be opened a moment ago")


def _why_unread(file: Path) -> str:
    log = Path(f"{file}-wal")
    if log.exists() and not os.access(file.parent, os.W_OK):
        return f"its last changes are in {log.name}, and its folder may not be written to; copy both to another folder"
    return "it may not be read; ask for the right to, or name another one with --db"


def driver_errors() -> tuple[type[Exception], ...]:
    """The errors that they may raise; psycopg's as soon as it is in use."""
    psycopg = sys.modules.get("psycopg")
    errors = (sqlite3.DatabaseError, sa.exc.DBAPIError)
    return (*errors, psycopg.Error) if psycopg else errors
