"""A campaign database in SQLite or PostgreSQL: its connection, its tables, and its two doors.

Writing goes through one door and holds the write lock from the start; reading has one snapshot and blocks nobody.
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
    postgresql:// URL. access: what this connection may do. synchronous: SQLite's pragma; NORMAL or FULL.

    news: what opening it has done to the tables, in one line; '' for nothing worth knowing.

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
        """Its address for --db, from any folder; without the password."""
        return shown(self.url).replace("postgresql+psycopg://", "postgresql://", 1)

    @property
    def folder(self) -> Path | None:
        """The folder of a SQLite database."""
        return None if self.file is None else self.file.parent

    def close(self) -> None:
        """Close the database; SQLite folds its write-ahead log into the file."""
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
        """The door for claims. Each is a single statement, which is a transaction by itself.

        On PostgreSQL it has a connection of its own, so that a claim waits for no completion. Claims are still flushed:
        if a crash of the server took one back, its number, and so its folder, would go to another.
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
        """Now and then fold SQLite's write-ahead log back: overlapping readers keep it from starting anew."""
        self._writes += 1
        if not self.is_sqlite or self._writes % _LOOK_AT_LOG_EVERY:
            return
        log = Path(f"{self.url.database}-wal")
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            # Wait for working readers; one that stays longer is left until the next time.
            door.driver.execute("PRAGMA busy_timeout = 1000")
            door.driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            door.driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")

    def make_durable(self) -> None:
        """Make all commits survive a power cut. Raises OSError.

        SQLite folds its log into the file with a flush; the rest is flushed with the log.
        """
        log = Path(f"{self.url.database}-wal")
        if self.is_sqlite and log.exists():
            descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def check(self) -> None:
        """Check a SQLite file for damage, as after a crash of the machine. Raises StoreError."""
        if self.is_sqlite:
            with self.read() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
            if found != ["ok"]:
                raise StoreError(
                    f"the database {shown(self.url)} is damaged ({'; '.join(found)}): restore a copy, or "
                    "save what is left with 'sqlite3 OLD .recover | sqlite3 NEW'"
                )

    def _settle_tables(self) -> None:
        """Make the tables if there are none, upgrade older ones, or say what to do."""
        with self._connection() as connection:
            version = self._version(connection)
            if self.access is Access.MAKE and (
                version is None or migrations.OLDEST <= version < schema.VERSION
            ):
                # If two processes find this at the same time, the lock lets one of them do it.
                lock = "BEGIN IMMEDIATE" if self.is_sqlite else "SELECT pg_advisory_xact_lock(7266737)"
                connection.exec_driver_sql(lock)
                version = self._version(connection)
                if version is None:
                    schema.create_tables(connection)
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
            f"{self.address} was written by an older version of runner: its tables were upgraded to this one"
        )
        return (
            line if self.file is None else f"{line}; the old state is kept in {migrations.copy_of(self.file)}"
        )

    def _refused(self, version: int | None) -> str:
        if version is None:
            return f"there is no campaign in the database {self.address}; run one first"
        if migrations.OLDEST <= version < schema.VERSION:
            return (
                f"{self.address} was written by an older version of runner: run its campaign "
                "(`runner run FILE`), which upgrades its tables"
                + ("" if self.file is None else " after a copy beside it")
            )
        return (
            f"{self.address} was written by another version of runner (schema {version}, this one knows "
            f"{schema.VERSION}): install that version, or name another database with --db"
        )

    def _version(self, connection: sa.Connection) -> int | None:
        """None where none of our tables exist. Raises StoreError for those of another program."""
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
    """A connection for writing, used by one thread at a time, under a lock. driver: the driver's own.

    It is opened when it is first needed.
    """

    def __init__(self, engine: sa.Engine, is_sqlite: bool):
        self.lock = threading.RLock()
        self.driver: Any = None
        self._engine, self._is_sqlite = engine, is_sqlite
        self._raw: Any = None

    def cursor(self) -> Cursor:
        """The only cursor of the connection, or of a new connection if the server has dropped the old one."""
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
        # One for all: a new one for each claim or completion has a measurable cost.
        self._cursor = Cursor(self.driver.cursor(), self._is_sqlite)

    @property
    def is_in_transaction(self) -> bool:
        """SQLite rolls back by itself when the disk is full, and so does a server that went away."""
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
        """Run for each row, a dict or a tuple as the statement needs it; returns how many rows changed in all."""
        self._cursor.executemany(self._known.get(statement) or self._compile(statement), rows)
        changed: int = self._cursor.rowcount
        return changed


# Skip quoted text and casts; translate the rest that psycopg spells differently.
_WORDS = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|::|:(?P<name>[A-Za-z_]\w*)|\?|%""")


def _for_psycopg(word: re.Match[str]) -> str:
    if word["name"]:
        return f"%({word['name']})s"
    return "%s" if word[0] == "?" else word[0].replace("%", "%%")
