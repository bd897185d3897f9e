"""A campaign database in SQLite or PostgreSQL: where it is, its connection, its doors, its errors in one line.

Whoever writes goes through one door and holds the write lock from the start; whoever reads has one
snapshot and blocks nobody.
"""

from __future__ import annotations

import errno
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from runner.errors import StoreError, StoreUnavailable, WorldFault
from runner.machine import network_filesystem, probe_descriptors, probe_disk, world_fault
from runner.store import schema

__all__ = ["Cursor", "Database"]

_PRAGMAS = (
    "busy_timeout = {busy_timeout_ms}",
    "synchronous = {synchronous}",
    "journal_size_limit = {largest_log}",
    "cache_size = -65536",
)
# SQLite's busy handler is unfair: with 5 s, eight processes met "database is locked".
_BUSY_TIMEOUT_MS = 60_000
# The driver's own is two minutes, in which nobody would hear why nothing goes on.
_CONNECT_LIMIT_S = 10
_LARGEST_LOG = 64 << 20
_LOOK_AT_LOG_EVERY = 1000


class Database:
    """An open database; made with its tables where there is none yet.

    Safe to share between threads; open one in each process. database: a path, or a sqlite:// or
    postgresql:// URL. synchronous: SQLite's pragma; NORMAL or FULL.

    Raises StoreError when the database cannot be used.
    """

    def __init__(self, database: str | Path, *, synchronous: str = "NORMAL"):
        self.url = _url(database)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.file = Path(self.url.database) if self.is_sqlite and self.url.database else None
        self._lock = threading.RLock()
        if self.file is not None:
            _refuse_network_filesystem(self.file)
        self._engine = _engine(self.url, synchronous)
        self._raw: Any = None
        self._writes = 0
        try:
            self._connect()
            self._create_tables()
        except _driver_errors() as error:
            self.close()
            raise _cannot_use(self.url, error, is_opening=True) from error
        except StoreError:
            self.close()
            raise

    @property
    def address(self) -> str:
        """What --db names it by, from any folder; a password is not shown."""
        return _shown(self.url).replace("postgresql+psycopg://", "postgresql://", 1)

    @property
    def folder(self) -> Path | None:
        """The folder of a SQLite database."""
        return None if self.file is None else self.file.parent

    def _connect(self) -> None:
        self._raw = self._engine.raw_connection()
        self._driver = self._raw.driver_connection
        if not self.is_sqlite:
            self._driver.autocommit = True
        # One for all: each claim or completion would make its own at a cost that can be measured.
        self._cursor = Cursor(self._driver.cursor(), self.is_sqlite)

    def _writing(self) -> Cursor:
        """The cursor to write with, of a new connection where the server has dropped the old one."""
        if not self.is_sqlite and self._driver.closed:
            if self._raw.is_valid:
                self._raw.invalidate()
            self._connect()
        return self._cursor

    def close(self) -> None:
        """Let go of the database; SQLite folds its write-ahead log into the file."""
        if self._raw is not None:
            self._raw.close()
        self._engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[Cursor]:
        """The one door for writing: a transaction that starts by taking the write lock."""
        with self._lock:
            try:
                self._writing().run("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
                try:
                    yield self._cursor
                    self._cursor.run("COMMIT")
                except BaseException:
                    # SQLite has rolled back by itself when the disk was full, and a server that went away,
                    # too.
                    if self._driver.in_transaction if self.is_sqlite else not self._driver.closed:
                        self._cursor.run("ROLLBACK")
                    raise
            except _driver_errors() as error:
                raise _cannot_use(self.url, error) from error
            self._bound_log()

    @contextmanager
    def write_one(self) -> Iterator[Cursor]:
        """The same for a single statement, which is a transaction by itself."""
        with self._lock:
            try:
                yield self._writing()
            except _driver_errors() as error:
                raise _cannot_use(self.url, error) from error

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """The one door for reading: one snapshot, which blocks no writer."""
        try:
            with self._engine.connect() as connection:
                if self.is_sqlite:
                    connection.exec_driver_sql("BEGIN")
                yield connection
        except _driver_errors() as error:
            raise _cannot_use(self.url, error) from error

    def _bound_log(self) -> None:
        """Now and then fold SQLite's write-ahead log back: readers that overlap keep it from starting anew."""
        self._writes += 1
        if not self.is_sqlite or self._writes % _LOOK_AT_LOG_EVERY:
            return
        log = Path(f"{self.url.database}-wal")
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            # Readers that are at work are waited for; one that stays is let be until the next look.
            self._driver.execute("PRAGMA busy_timeout = 1000")
            self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._driver.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")

    def check(self) -> None:
        """Look through a SQLite file for damage, as after a crash of the machine. Raises StoreError."""
        if self.is_sqlite:
            with self.read() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
            if found != ["ok"]:
                raise StoreError(
                    f"the database {_shown(self.url)} is damaged ({'; '.join(found)}): restore a copy, or "
                    "save what is left with 'sqlite3 OLD .recover | sqlite3 NEW'"
                )

    def _create_tables(self) -> None:
        """Make the tables where there are none, and refuse those of another version."""
        with self._engine.connect() as connection:
            version = self._version(connection)
            if version is None:
                # Two processes may find none at the same time: the lock lets one make them.
                lock = "BEGIN IMMEDIATE" if self.is_sqlite else "SELECT pg_advisory_xact_lock(7266737)"
                connection.exec_driver_sql(lock)
                version = self._version(connection)
            if version is None:
                version = schema.VERSION
                schema.metadata.create_all(connection)
                connection.execute(schema.schema_version.insert(), {"version": version})
                connection.commit()
        if version != schema.VERSION:
            raise StoreError(
                f"{_shown(self.url)} was written by another version of runner (schema {version}, this one "
                f"knows {schema.VERSION}): install that version, or name another database with --db"
            )

    def _version(self, connection: sa.Connection) -> int | None:
        if not sa.inspect(connection).has_table("schema_version"):
            return None
        version: int | None = connection.execute(sa.select(schema.schema_version.c.version)).scalar()
        return version


class Cursor:
    """A driver's cursor that takes named statements and dicts of values."""

    _compiled: dict[tuple[str, bool], str] = {}

    def __init__(self, cursor: Any, is_sqlite: bool):
        self._cursor = cursor
        self._is_sqlite = is_sqlite

    def _native(self, statement: str) -> str:
        native = self._compiled.get((statement, self._is_sqlite))
        if native is None:
            # SQLite has one writer at a time, so nothing is ever locked by another.
            skip_locked = "" if self._is_sqlite else "FOR UPDATE SKIP LOCKED"
            native = statement.replace("{skip_locked}", skip_locked)
            if not self._is_sqlite:
                native = _WORDS.sub(_for_psycopg, native)
            self._compiled[statement, self._is_sqlite] = native
        return native

    def run(self, statement: str, values: Mapping[str, Any] | None = None) -> Any:
        if values is None:
            return self._cursor.execute(statement)
        return self._cursor.execute(self._native(statement), values)

    def run_many(self, statement: str, rows: Sequence[Any]) -> int:
        """Run for each row, a dict or a tuple as the statement has it; returns how many rows changed in all."""
        self._cursor.executemany(self._native(statement), rows)
        changed: int = self._cursor.rowcount
        return changed


# Quoted text and casts stand for themselves; the rest of what psycopg has another spelling for.
_WORDS = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|::|:(?P<name>[A-Za-z_]\w*)|\?|%""")


def _for_psycopg(word: re.Match[str]) -> str:
    if word["name"]:
        return f"%({word['name']})s"
    return "%s" if word[0] == "?" else word[0].replace("%", "%%")


def _url(database: str | Path) -> sa.URL:
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
    raise StoreError(f"{_shown(url)}: runner keeps campaigns in SQLite files and in PostgreSQL only")


def _engine(url: sa.URL, synchronous: str) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        try:
            limit = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_LIMIT_S}
            return sa.create_engine(url, pool_pre_ping=True, connect_args=limit)
        except ModuleNotFoundError:
            raise StoreError("PostgreSQL needs the package psycopg: pip install 'runner[postgres]'") from None
    engine = sa.create_engine(url, connect_args={"isolation_level": None, "check_same_thread": False})

    values = {
        "synchronous": synchronous,
        "busy_timeout_ms": _BUSY_TIMEOUT_MS,
        "largest_log": _LARGEST_LOG,
    }

    @sa.event.listens_for(engine, "connect")
    def set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute("PRAGMA " + pragma.format(**values))
        _use_log(connection)

    return engine


def _use_log(connection: sqlite3.Connection) -> None:
    """Write-ahead mode. SQLite does not wait for another's lock here, whatever the timeout: ask for it instead."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
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


def _shown(url: sa.URL) -> str:
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


# What may pass by itself.
_PASSING = ("disk is full", "is locked", "disk I/O error", _CANNOT_OPEN)
# What PostgreSQL, or the way to it, goes on saying of a wrong URL or account. Of one in use, it may pass.
_LASTING = (
    "authentication failed", "no password supplied", "pg_hba.conf", "does not exist", "permission denied",
    "not permitted", "service not known", "no address associated", "invalid port number", "invalid response",
    "ssl was required", "certificate verify failed",
)  # fmt: skip


def _cannot_use(url: sa.URL, error: Exception, is_opening: bool = False) -> StoreError:
    cause = getattr(error, "orig", None) or error
    reason = str(cause).strip().split("\n")[0]
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(cause, psycopg.OperationalError):
        may_pass = not is_opening or not any(part in str(cause).lower() for part in _LASTING)
    else:
        may_pass = any(part in reason for part in _PASSING)
    if _CANNOT_OPEN in reason:
        fault = _fault_in_opening(Path(_shown(url)))
        may_pass, reason = not is_opening or fault is not None, str(fault or reason)
    for part, told in _REASONS.items():
        if part in reason:
            reason = told
    kind = StoreUnavailable if may_pass else StoreError
    return kind(f"cannot use the database {_shown(url)}: {reason}")


def _fault_in_opening(file: Path) -> WorldFault | None:
    """Why SQLite cannot open it, of which it says but one thing; None where that will not pass."""
    try:
        probe_descriptors()
        for there in filter(Path.exists, (file, Path(f"{file}-wal"), Path(f"{file}-shm"))):
            open(there, "r+b").close()
        file.parent.stat()
        probe_disk(file.parent)()
    except OSError as error:
        return None if error.errno == errno.EROFS else world_fault(error)
    return WorldFault("it could not be opened a moment ago")


def _driver_errors() -> tuple[type[Exception], ...]:
    psycopg = sys.modules.get("psycopg")
    errors = (sqlite3.DatabaseError, sa.exc.DBAPIError)
    return (*errors, psycopg.Error) if psycopg else errors


def _refuse_network_filesystem(database: Path) -> None:
    kind = network_filesystem(database)
    if kind is not None:
        raise StoreError(
            f"the database {database} would lie on a network filesystem ({kind}), where SQLite loses data: "
            "name a local path with --db, or a PostgreSQL server with --db postgresql://…"
        )
