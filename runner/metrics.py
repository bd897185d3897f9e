"""The metrics log of a campaign, brought from the database into the folder that ML-Logger reads.

    parameters.pkl      the campaign's parameters
    metrics.pkl         one record a done job, in the order in which they were done

The database is the truth: both can be written anew from its rows at any time.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import threading
from pathlib import Path
from typing import Any, Mapping

from runner.results import RECORD_FIELDS, ResultsFolder
from runner.store import Store

__all__ = ["MetricsLog", "record_of"]

# Without a user, importing ML-Logger prints a line to stdout, also from a campaign file (0.10.24).
os.environ.setdefault("ML_LOGGER_USER", "runner")


class MetricsLog:
    """Brings the records of done jobs from the database into metrics.pkl, each once and in order.

    ML-Logger has no lock, no fsync, and cannot read a file with a torn tail (0.10.24 and 0.10.36).
    So one process at a time appends (a lock file), the database holds up to which result and byte
    the file is good, and whatever lies behind that byte is cut off before the next append. A file
    that is too short is written anew. Safe to call from any thread.
    """

    def __init__(self, store: Store, campaign_id: int, results: ResultsFolder):
        self._store, self._campaign_id = store, campaign_id
        self._folder = results.folder
        self._prefix = results.campaign_name
        self._logger = _ml_logger(results.root, results.campaign_name)
        self._path = results.folder / "metrics.pkl"
        self._lock_file = None
        self._mutex = threading.Lock()

    def log_params(self, **sections: Mapping[str, Any]) -> None:
        """Write parameters.pkl anew, so that ML-Logger's read_params shows it; one dict a section."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = f".parameters.{os.getpid()}.tmp"
        self._logger.log_data(
            {name: dict(section) for name, section in sections.items()}, temporary, overwrite=True
        )
        (self._folder / temporary).replace(self._folder / "parameters.pkl")

    def sync(self, batch: int = 500) -> int:
        """Append what is new; returns how many records. Another process that holds the lock does it instead."""
        with self._mutex:
            if not self._lock():
                return 0
            count = 0
            logged_id, good_bytes = self._repair()
            while records := self._store.results_after(self._campaign_id, logged_id, batch):
                logged_id, good_bytes = self._append(records, good_bytes)
                count += len(records)
            return count

    def close(self) -> None:
        """Let another process write the log."""
        with self._mutex:
            if self._lock_file:
                self._lock_file.close()
                self._lock_file = None

    def _lock(self) -> bool:
        if self._lock_file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock_file = open(self._folder / ".metrics.lock", "w")
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock_file.close()
                return False
            self._lock_file = lock_file
        return True

    def _repair(self) -> tuple[int, int]:
        """Make the file and the cursor in the database agree; returns the cursor."""
        logged_id, good_bytes = self._store.log_cursor(self._campaign_id)
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < good_bytes:
            logged_id = good_bytes = 0
            self._store.write_log_cursor(self._campaign_id, 0, 0)
        if size > good_bytes:
            os.truncate(self._path, good_bytes)
        return logged_id, good_bytes

    def _append(self, rows: list[dict[str, Any]], good_bytes: int) -> tuple[int, int]:
        content = b"".join(pickle.dumps(record_of(row), protocol=4) for row in rows)
        self._logger.client.log_buffer(f"{self._prefix}/metrics.pkl", buf=content, overwrite=False)
        with open(self._path, "rb") as file:
            os.fdatasync(file.fileno())
        cursor = rows[-1]["id"], good_bytes + len(content)
        self._store.write_log_cursor(self._campaign_id, *cursor)
        return cursor


def record_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """One job's record: key, attempt, times (Unix seconds; duration_s in seconds), then params and metrics.

    A param that has the name of one of the record's own columns is found as params/NAME.
    """
    record = {
        "key": row["key"],
        "attempt": row["attempt"],
        "grab_ts": row["grab_ts"],
        "done_ts": row["end_ts"],
        "duration_s": row["end_ts"] - row["grab_ts"],
    }
    for name, value in row["params"].items():
        record[f"params/{name}" if name in RECORD_FIELDS else name] = value
    return record | row["metrics"]


def _ml_logger(root: Path, prefix: str) -> Any:
    # Its import fails at a relative root (0.10.24).
    if not os.path.isabs(os.environ.get("ML_LOGGER_ROOT", "/")):
        os.environ["ML_LOGGER_ROOT"] = str(root)
    from ml_logger import ML_Logger

    return ML_Logger(root=str(root), prefix=prefix)
