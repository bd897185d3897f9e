"""The folder that ML-Logger reads: parameters, and one record for each done job, copied from the database.

    parameters.pkl      the campaign's parameters
    metrics.pkl         one record a done job, in the order in which they were done
    .charts.yml         what ML-Logger's dashboard shows; yours once it is there
    README.md           a list of the files; yours once it is there

The database is the truth: all these files can be rewritten from its rows at any time.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from runner.commands import Commands
from runner.records import load
from runner.results.columns import RECORD_COLUMNS, named
from runner.results.folder import ResultsFolder, make_results
from runner.store import Reader, Store

__all__ = ["MetricsLog", "record_of"]

# Without a user name, importing ML-Logger prints a line to stdout, even in a campaign file (0.10.24).
os.environ.setdefault("ML_LOGGER_USER", "runner")

METRICS = "metrics.pkl"
PARAMETERS = "parameters.pkl"
# The dashboard's own format: a chart of each number, pictures by a pattern (ml-dash 0.3).
_CHARTS = """\
charts:
- {yKey: duration_s, xKey: done_ts}
- {type: image, glob: contact_sheet.jpg}
"""
_README = """\
# %(name)s

Written by runner. `parameters.pkl` and `metrics.pkl` are ML-Logger's:
`ML_Logger(root=…, prefix="%(name)s").read_params()` and `.read_metrics()`. The files of each job are in
`jobs/`, in a folder named by its key, or packed into the tar files in `shards/`;
`contact_sheet.jpg` shows up to 100 of the pictures.
"""


class MetricsLog:
    """Copies the records of done jobs from the database into metrics.pkl, each once and in order.

    ML-Logger has no lock and no fsync, and cannot read a file with a torn tail (0.10.24 and 0.10.36). So one process at
    a time appends (a lock file), the database knows up to which result and byte the file is valid, and all after that
    byte is cut off before the next append. A file that is too short is rewritten. Safe to call from any thread.
    """

    def __init__(self, store: Store, campaign_id: int, results: ResultsFolder):
        self._store, self._campaign_id = store, campaign_id
        self.folder, self.prefix = results.folder, results.campaign_name
        self._root, self._results = results.root, results
        self._folder_id = ""
        self._path = self.folder / METRICS
        self._lock_file: IO[str] | None = None
        self._mutex = threading.Lock()
        # How often the file was started anew; copies must then start anew, too.
        self.edition = 0

    def command(self, *more: object) -> str:
        """The command that brings it up to date."""
        return Commands(self.prefix, self._store.database.address).verb("log", *more)

    def log_params(self, **sections: Mapping[str, Any]) -> None:
        """Record the campaign's parameters, one dict of JSON values a section, for read_params to show."""
        self._store.write_parameters(
            self._campaign_id, {name: dict(section) for name, section in sections.items()}
        )
        self.write_params()

    def write_params(self) -> None:
        """Rewrite parameters.pkl from the database, and create the files beside it that are missing."""
        parameters = self._store.reader.campaign(self._campaign_id)["parameters"]
        self._write(PARAMETERS, pickle.dumps(json.loads(parameters or "{}"), protocol=4))
        for name, text in ((".charts.yml", _CHARTS), ("README.md", _README % {"name": self.prefix})):
            if not (self.folder / name).exists():
                self._write(name, text.encode())

    def sync(self, batch: int = 500) -> int:
        """Append new records; returns how many. If another process holds the lock, that one does it."""
        with self._mutex:
            if not self._lock():
                return 0
            count = 0
            logged_id, good_bytes = self._repair()
            while records := self._store.reader.results_after(self._campaign_id, logged_id, batch):
                logged_id, good_bytes = self._append(records, good_bytes)
                count += len(records)
            return count

    def rebuild(self) -> int | None:
        """Rewrite all of it from the database; returns how many records, or None while another process writes it."""
        with self._mutex:
            if not self._lock():
                return None
            self._write_cursor(0, 0)
        self.write_params()
        return self.sync()

    def read(self, start: int, most_bytes: int) -> tuple[int, bytes]:
        """The edition of metrics.pkl, and whole records from its byte `start` on, about most_bytes at most.

        Empty while another process writes the log.
        """
        with self._mutex:
            _, good_bytes = self.cursor()
            if self._lock_file is None or start >= good_bytes or not self._path.exists():
                return self.edition, b""
            with open(self._path, "rb") as file:
                file.seek(start)
                while file.tell() < min(good_bytes, start + most_bytes):
                    load(file)
                end = file.tell()
                file.seek(start)
                return self.edition, file.read(end - start)

    def cursor(self) -> tuple[int, int]:
        """The last result in the file, and the file's length in bytes."""
        return self._store.reader.log_cursor(self._campaign_id, self._folder_id) or (0, 0)

    def _write_cursor(self, logged_id: int, good_bytes: int) -> None:
        self._store.write_log_cursor(self._campaign_id, self._folder_id, logged_id, good_bytes)

    def close(self) -> None:
        """Let another process write the log."""
        with self._mutex:
            if self._lock_file:
                self._lock_file.close()
                self._lock_file = None

    def _lock(self) -> bool:
        if self._lock_file is None:
            self._make_folder()
            lock_file = open(self.folder / ".metrics.lock", "w")
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock_file.close()
                return False
            self._folder_id = self._results.named()
            self._store.add_folder(self._campaign_id, self._folder_id, self._results.place)
            self._lock_file = lock_file
        return True

    def _repair(self) -> tuple[int, int]:
        """Make the file and the cursor in the database agree; returns the cursor."""
        logged_id, good_bytes = self.cursor()
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < good_bytes:
            logged_id = good_bytes = 0
            self._write_cursor(0, 0)
        if size and not good_bytes:
            self.edition += 1
        if size > good_bytes:
            os.truncate(self._path, good_bytes)
        return logged_id, good_bytes

    def _append(self, rows: Sequence[Mapping[str, Any]], good_bytes: int) -> tuple[int, int]:
        content = b"".join(_pickled(record_of(row)) for row in rows)
        append(self._path, content)
        with open(self._path, "rb") as file:
            getattr(os, "fdatasync", os.fsync)(file.fileno())
        cursor = rows[-1]["id"], good_bytes + len(content)
        self._write_cursor(*cursor)
        return cursor

    def _make_folder(self) -> None:
        make_results(self._root)
        self.folder.mkdir(exist_ok=True)

    def _write(self, name: str, content: bytes) -> None:
        self._make_folder()
        temporary = self.folder / f".{name.removeprefix('.')}.{os.getpid()}.tmp"
        temporary.write_bytes(content)
        temporary.replace(self.folder / name)


def append(path: Path, content: bytes) -> None:
    """Write to the end of the log, as ML-Logger does: to import that takes a second and as much memory as all else."""
    with open(path, "ab") as file:
        file.write(content)


def is_exact(
    store: Reader,
    campaign_id: int,
    results: ResultsFolder,
    on_looked: Callable[[int], Any] = lambda count: None,
) -> bool:
    """Whether metrics.pkl holds the very records of the database, up to where it was written.

    on_looked: called with how many more were compared. For a folder that the database does not know, that end is
    unknown.
    """
    logged_id, good_bytes = store.log_cursor(campaign_id, results.id) or (None, None)
    after = 0
    try:
        with open(results.folder / METRICS, "rb") as file:
            while rows := store.results_after(campaign_id, after, 1000):
                for row in rows:
                    if row["id"] > logged_id if logged_id is not None else not file.peek(1):
                        return good_bytes is None or file.tell() == good_bytes
                    if not _is_next(file, record_of(row)):
                        return False
                after = rows[-1]["id"]
                on_looked(len(rows))
            return not file.read(1) if good_bytes is None else file.tell() == good_bytes
    except FileNotFoundError:
        return not good_bytes
    except Exception:
        # Damaged bytes may make pickle raise anything.
        return False


def _is_next(file: IO[bytes], record: dict[str, Any]) -> bool:
    """Whether that record comes next in the file; moves behind it."""
    start, content = file.tell(), _pickled(record)
    if file.read(len(content)) == content:
        return True
    # Another version may have written the same record in other bytes.
    file.seek(start)
    return _is_same(load(file), record)


def _is_same(found: Any, value: Any) -> bool:
    """Whether they are equal; NaN equals itself, and 1 does not equal True."""
    if type(found) is not type(value):
        return False
    if isinstance(value, dict):
        return list(found) == list(value) and all(_is_same(found[name], value[name]) for name in value)
    if isinstance(value, list):
        return len(found) == len(value) and all(map(_is_same, found, value))
    return bool(found == value or (found != found and value != value))


def _pickled(record: Mapping[str, Any]) -> bytes:
    return pickle.dumps(record, protocol=4)


def record_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """One job's record: key, attempt, times (Unix seconds; duration_s in seconds), then params and metrics.

    They have the same names as in every table and export: see named.
    """
    times = (row["grab_ts"], row["end_ts"], row["end_ts"] - row["grab_ts"])
    record = dict(zip(RECORD_COLUMNS, (row["key"], row["attempt"], *times)))
    return record | named(row["params"], row["metrics"])
