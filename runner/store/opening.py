"""Opens a database: its place, its owner, and what a connection to it may do."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from runner.errors import StoreError
from runner.machine import network_filesystem
from runner.store.refusals import shown

__all__ = [
    "BUSY_TIMEOUT_MS",
    "LARGEST_LOG",
    "Access",
    "is_ours",
    "made_engine",
    "made_url",
    "refuse_other_file",
]

# SQLite's busy handler is unfair: with 5 s, eight processes met "database is locked".
BUSY_TIMEOUT_MS = 60_000
LARGEST_LOG = 64 << 20
# Pages of 4 KiB in the log before it is folded back, which flushes it and the file. Many jobs change the same few
# pages: with SQLite's default of 1,000 a queue spends half of its time on flushing them.
_FOLD_BACK_PAGES = 4000
# The driver's default is two minutes, in which nobody would learn why nothing goes on.
_CONNECT_LIMIT_S = 10
_ARGUMENTS: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "uri": True}


class Access(Enum):
    """What one may do with an open database.

    LOOK: read; creates no file and no table, and changes no byte. CHANGE: write to an existing database. MAKE: make
    tables where there are none, and upgrade older ones.
    """

    LOOK = "look"
    CHANGE = "change"
    MAKE = "make"


def made_url(database: str | Path) -> sa.URL:
    """The URL of a path, or of what --db takes. Raises StoreError."""
    text = str(database)
    if "://" not in text:
        return sa.URL.create("sqlite", database=str(Path(text).absolute()))
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise StoreError(f"{text!r} is neither a path nor a database URL") from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return url.set(drivername="sqlite", database=str(Path(url.database).absolute()))
    raise StoreError(f"{shown(url)}: runner keeps campaigns in SQLite files and in PostgreSQL only")


def refuse_other_file(file: Path, access: Access) -> None:
    """Refuse a SQLite file that is missing, that belongs to another program, or that is where SQLite loses data.

    Nothing is written, and no file is made beside it. Raises StoreError.
    """
    if access is not Access.LOOK:
        _refuse_network_filesystem(file)
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        if access is Access.MAKE:
            return
        raise StoreError(
            f"there is no database {file} here; name one with --db, or run a campaign first"
        ) from None
    except OSError:
        # SQLite will report the reason.
        return
    # Without a log nobody has the file open, and SQLite need not make one to read it.
    how = "mode=ro" if _has_log(file) else "immutable=1"
    with closing(sqlite3.connect(_uri(file, how), **_ARGUMENTS)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        tables = [row[0] for row in rows if not row[0].startswith("sqlite_")]
    if not tables and access is not Access.MAKE:
        raise StoreError(
            f"there is no campaign in the database {file}; run one first, or name another with --db"
        )
    if tables and not is_ours(tables):
        raise StoreError(
            f"{file} is another program's database (with the tables {', '.join(tables[:3])}"
            f"{' …' if len(tables) > 3 else ''}): nothing was changed; name another one with --db"
        )


def is_ours(tables: list[str]) -> bool:
    """Whether these are the tables of a campaign database, of whichever version."""
    return {"schema_version", "campaign", "job", "worker"} <= set(tables)


def made_engine(url: sa.URL, access: Access, synchronous: str) -> sa.Engine:
    """The engine, whose connections do no more than the access allows. Raises StoreError."""
    if url.get_backend_name() != "sqlite":
        options = {"postgresql_readonly": True} if access is Access.LOOK else {}
        try:
            limit = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_LIMIT_S}
            return sa.create_engine(url, pool_pre_ping=True, connect_args=limit, execution_options=options)
        except ModuleNotFoundError:
            raise StoreError("PostgreSQL needs the package psycopg: pip install 'runner[postgres]'") from None
    file = Path(shown(url))
    how = {Access.LOOK: _looking(file), Access.CHANGE: "mode=rw", Access.MAKE: "mode=rwc"}[access]
    pragmas = [f"busy_timeout = {BUSY_TIMEOUT_MS}", "cache_size = -65536"]
    if access is Access.LOOK:
        pragmas += ["query_only = 1"]
    else:
        pragmas += [f"synchronous = {synchronous}", f"journal_size_limit = {LARGEST_LOG}"]
        pragmas += [f"wal_autocheckpoint = {_FOLD_BACK_PAGES}"]

    def connect() -> sqlite3.Connection:
        if access is Access.MAKE:
            _make_private(file)
        connection: sqlite3.Connection = sqlite3.connect(_uri(file, how), **_ARGUMENTS)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        if access is not Access.LOOK:
            _use_log(connection)
        return connection

    return sa.create_engine(url, creator=connect)


def _make_private(file: Path) -> None:
    """Create a missing file, readable by its owner only; SQLite gives the files beside it the same mode.

    An existing one must not even be opened: when a process closes a file, it loses all its locks on it, also those of
    SQLite's connections. Another process then takes itself for the last one, and removes the log under them.
    """
    # If it exists, or cannot be made, SQLite goes on or reports why.
    with contextlib.suppress(OSError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _looking(file: Path) -> str:
    """The way for SQLite to open a file for reading only.

    SQLite keeps a log and shared memory beside a file, also for readers. If they exist, it may use them, and leaves
    them. If not, it makes them, and removes them at the end, if it has the right to. If it has not, nobody can be
    writing either.
    """
    if network_filesystem(file) is None and os.access(file.parent, os.W_OK):
        return "mode=ro" if _has_log(file) else "mode=rw"
    if not _has_log(file) or os.path.getsize(f"{file}-wal") == 0:
        return "mode=ro&immutable=1"
    return "mode=ro"


def _has_log(file: Path) -> bool:
    return os.path.exists(f"{file}-wal")


def _uri(file: Path, how: str) -> str:
    return f"file:{quote(str(file))}?{how}"


def _use_log(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead mode. SQLite does not wait for a lock here, whatever the timeout, so retry."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        time.sleep(0.01)


def _refuse_network_filesystem(database: Path) -> None:
    kind = network_filesystem(database)
    if kind is not None:
        raise StoreError(
            f"the database {database} would be on a network filesystem ({kind}), where SQLite loses data: "
            "name a local path with --db, or a PostgreSQL server with --db postgresql://…"
        )
