"""A campaign database in SQLite or PostgreSQL: its connection, its tables, and its two doors.

Whoever writes goes through one door and holds the write lock from the start; whoever reads has one
snapshot and blocks nobody.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from runner.errors import StoreError
from runner.store import migrations, schema
from runner.store.opening import (
    BUSY_TIMEOUT_MS,
    LARGEST_LOG,
    Access,
    is_ours,
    made_engine,
    made_url,
    refuse_other_file,
)
from runner.store.refusals import cannot_use, driver_errors, shown

__all__ = ["Access", "Cursor", "Database"]

_LOOK_AT_LOG_EVERY = 1000


class Database:
    """An open database.

    Safe to share between threads; open one in each process. database: a path, or a sqlite:// or
    postgresql:// URL. access: how far this one may go. synchronous: SQLite's pragma; NORMAL or FULL.

    news: what was done to the tables when it was opened, in one line; empty for nothing that one must know.

    Raises StoreError when the database cannot be used.
    """

    def __init__(self, database: str | Path, access: Access = Access.MAKE, *, synchronous: str = "NORMAL"):
        self.url = made_url(database)
        self.access = access
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.file = Path(shown(self.url)) if self.is_sqlite else None
        self.news = ""
        self._engine: sa.Engine | None = None
        self._door: _Door | None = None
        self._claims: _Door | None = None
        self._writes = 0
        try:
            if self.file is not None:
                refuse_other_file(self.file, access)
            self._engine = made_engine(self.url, access, synchronous)
            if access is not Access.LOOK:
                self._door = _Door(self._engine, self.is_sqlite)
                # SQLite lets one write at a time anyway.
                self._claims = self._door if self.is_sqlite else _Door(self._engine, False)
                self._door.cursor()
            self._settle_tables()
        except driver_errors() as error:
            self.close()
            raise cannot_use(self.url, error, is_opening=True, may_write=access is not Access.LOOK) from error
        except StoreError:
            self.close()
            raise

    @property
    def address(self) -> str:
        """What --db names it by, from any folder; a password is not shown."""
        return shown(self.url).replace("postgresql+psycopg://", "postgresql://", 1)

    @property
    def folder(self) -> Path | None:
        """The folder of a SQLite database."""
        return None if self.file is None else self.file.parent

    def close(self) -> None:
        """Let go of the database; SQLite folds its write-ahead log into the file."""
        for door in (self._door, self._claims):
            if door is not None:
                door.close()
        if self._engine is not None:
            self._engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self) -> _Transaction:
        """The one door for writing: a transaction that starts by taking the write lock."""
        assert self._door is not None, "whoever only looks does not write"
        return _Transaction(self, self._door)

    def claiming(self) -> _Statement:
        """The door for claims, each a single statement, which is a transaction by itself.

        On PostgreSQL it has a connection of its own, so that a claim waits for no completion. It is flushed all the
        same: a claim that a crash of the server took back would give its number, and so its folder, to another.
        """
        assert self._claims is not None, "whoever only looks does not write"
        return _Statement(self, self._claims)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """The one door for reading: one snapshot, which blocks no writer."""
        try:
            with self._connection() as connection:
                if self.is_sqlite:
                    connection.exec_driver_sql("BEGIN")
                yield connection
        except driver_errors() as error:
            raise cannot_use(self.url, error) from error

    def _bound_log(self, door: _Door) -> None:
        """Now and then fold SQLite's write-ahead log back: readers that overlap keep it from starting anew."""
        self._writes += 1
        if not self.is_sqlite or self._writes % _LOOK_AT_LOG_EVERY:
            return
        log = Path(f"{self.url.database}-wal")
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            # Readers that are at work are waited for; one that stays is let be until the next look.
            door.driver.execute("PRAGMA busy_timeout = 1000")
            door.driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            door.driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")

    def make_durable(self) -> None:
        """See that no power cut takes back what was committed. Raises OSError.

        SQLite folds its log into the file with a flush; what is still in the log is flushed with the log.
        """
        log = Path(f"{self.url.database}-wal")
        if self.is_sqlite and log.exists():
            descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def check(self) -> None:
        """Look through a SQLite file for damage, as after a crash of the machine. Raises StoreError."""
        if self.is_sqlite:
            with self.read() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
            if found != ["ok"]:
                raise StoreError(
                    f"the database {shown(self.url)} is damaged ({'; '.join(found)}): restore a copy, or "
                    "save what is left with 'sqlite3 OLD .recover | sqlite3 NEW'"
                )

    def _settle_tables(self) -> None:
        """Make the tables where there are none, bring older ones along, or say what is to be done."""
        with self._connection() as connection:
            version = self._version(connection)
            if self.access is Access.MAKE and (
                version is None or migrations.OLDEST <= version < schema.VERSION
            ):
                # Of two processes that find it so at the same time, the lock lets one do it.
                lock = "BEGIN IMMEDIATE" if self.is_sqlite else "SELECT pg_advisory_xact_lock(7266737)"
                connection.exec_driver_sql(lock)
                version = self._version(connection)
                if version is None:
                    schema.metadata.create_all(connection)
                    connection.execute(schema.schema_version.insert(), {"version": schema.VERSION})
                elif version < schema.VERSION:
                    migrations.bring_along(connection, version, self.file)
                    self.news = self._brought_along(version)
                connection.commit()
                version = schema.VERSION
        if version != schema.VERSION:
            raise StoreError(self._refused(version))

    def _brought_along(self, version: int) -> str:
        line = (
            f"{self.address} was written by an older version of runner: its tables are now those of this one"
        )
        return (
            line if self.file is None else f"{line}; as it was, it is kept in {migrations.copy_of(self.file)}"
        )

    def _refused(self, version: int | None) -> str:
        if version is None:
            return f"there is no campaign in the database {self.address}; run one first"
        if migrations.OLDEST <= version < schema.VERSION:
            return (
                f"{self.address} was written by an older version of runner: run its campaign "
                "(`runner run FILE`), which brings its tables along"
                + ("" if self.file is None else " after a copy beside it")
            )
        return (
            f"{self.address} was written by another version of runner (schema {version}, this one knows "
            f"{schema.VERSION}): install that version, or name another database with --db"
        )

    def _version(self, connection: sa.Connection) -> int | None:
        """None where none of our tables is. Raises StoreError for those of another program."""
        tables = sa.inspect(connection).get_table_names()
        if is_ours(tables):
            version: int | None = connection.execute(sa.select(schema.schema_version.c.version)).scalar()
            return version
        others = sorted(set(tables) & set(schema.metadata.tables))
        if others:
            raise StoreError(
                f"{self.address} has tables of another program ({', '.join(others)}): nothing was changed; "
                "name another database with --db"
            )
        return None

    def _connection(self) -> sa.Connection:
        assert self._engine is not None  # it is set unless opening failed
        return self._engine.connect()


class _Door:
    """A connection to write with, for one thread at a time: whoever has the lock. driver: the driver's own.

    It is made when it is first asked for.
    """

    def __init__(self, engine: sa.Engine, is_sqlite: bool):
        self.lock = threading.RLock()
        self.driver: Any = None
        self._engine, self._is_sqlite = engine, is_sqlite
        self._raw: Any = None

    def cursor(self) -> Cursor:
        """The one cursor of the connection, of a new one where the server has dropped the old one."""
        if self._raw is None or (not self._is_sqlite and self.driver.closed):
            if self._raw is not None and self._raw.is_valid:
                self._raw.invalidate()
            self._connect()
        return self._cursor

    def _connect(self) -> None:
        self._raw = self._engine.raw_connection()
        self.driver = self._raw.driver_connection
        if not self._is_sqlite:
            self.driver.autocommit = True
        # One for all: each claim or completion would make its own at a cost that can be measured.
        self._cursor = Cursor(self.driver.cursor(), self._is_sqlite)

    @property
    def is_in_transaction(self) -> bool:
        """SQLite has rolled back by itself when the disk was full, and a server that went away, too."""
        return bool(self.driver.in_transaction if self._is_sqlite else not self.driver.closed)

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()


class _Statement:
    """A door that is held for one statement. A class, for a generator would cost each claim and completion more."""

    __slots__ = ("_cursor", "_database", "_door")

    def __init__(self, database: Database, door: _Door):
        self._database, self._door = database, door
        self._cursor: Cursor

    def __enter__(self) -> Cursor:
        self._door.lock.acquire()
        try:
            self._cursor = self._door.cursor()
            self._begin()
        except BaseException as error:
            self._door.lock.release()
            self._tell(error)
            raise
        return self._cursor

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self._end(is_good=error is None)
        except BaseException as failure:
            self._tell(failure)
            raise
        finally:
            self._door.lock.release()
        if error is not None:
            self._tell(error)

    def _begin(self) -> None:
        """What comes first."""

    def _end(self, is_good: bool) -> None:
        """What comes last, also where something was raised meanwhile."""

    def _tell(self, error: BaseException) -> None:
        """Raises what the driver has raised as what it is to people."""
        if isinstance(error, driver_errors()):
            raise cannot_use(self._database.url, error) from error


class _Transaction(_Statement):
    """A door that is held for a transaction: written at the end, undone where anything was raised."""

    __slots__ = ()

    def _begin(self) -> None:
        self._cursor.run("BEGIN IMMEDIATE" if self._cursor.is_sqlite else "BEGIN")

    def _end(self, is_good: bool) -> None:
        if not is_good:
            self._undo()
            return
        try:
            self._cursor.run("COMMIT")
        except BaseException:
            self._undo()
            raise
        self._database._bound_log(self._door)

    def _undo(self) -> None:
        if self._door.is_in_transaction:
            self._cursor.run("ROLLBACK")


class Cursor:
    """A driver's cursor that takes named statements and dicts of values."""

    # As the driver takes them, by whether it is SQLite's.
    _compiled: dict[bool, dict[str, str]] = {True: {}, False: {}}

    def __init__(self, cursor: Any, is_sqlite: bool):
        self._cursor = cursor
        self.is_sqlite = is_sqlite
        self._known = self._compiled[is_sqlite]

    def _compile(self, statement: str) -> str:
        # SQLite has one writer at a time, so nothing is ever locked by another.
        native = statement.replace("{skip_locked}", "" if self.is_sqlite else "FOR UPDATE SKIP LOCKED")
        if not self.is_sqlite:
            native = _WORDS.sub(_for_psycopg, native)
        self._known[statement] = native
        return native

    def run(self, statement: str, values: Mapping[str, Any] | None = None) -> Any:
        if values is None:
            return self._cursor.execute(statement)
        return self._cursor.execute(self._known.get(statement) or self._compile(statement), values)

    def run_many(self, statement: str, rows: Sequence[Any]) -> int:
        """Run for each row, a dict or a tuple as the statement has it; returns how many rows changed in all."""
        self._cursor.executemany(self._known.get(statement) or self._compile(statement), rows)
        changed: int = self._cursor.rowcount
        return changed


# Quoted text and casts stand for themselves; the rest of what psycopg has another spelling for.
_WORDS = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|::|:(?P<name>[A-Za-z_]\w*)|\?|%""")


def _for_psycopg(word: re.Match[str]) -> str:
    if word["name"]:
        return f"%({word['name']})s"
    return "%s" if word[0] == "?" else word[0].replace("%", "%%")
