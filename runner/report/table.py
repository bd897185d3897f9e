"""A campaign as rows and DataFrames, for notebooks, scripts and exports.

import runner

frame = runner.open("runner.db")["orbit"].to_frame()
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import UsageError
from runner.job import Extent, Progress, ShardEnd, Status
from runner.results import COLUMNS, FILES, ResultsFolder, Stored, Whose, moved_of, named
from runner.store import ArtifactRow, JobRow, Reader

if TYPE_CHECKING:
    import pandas

__all__ = ["COLUMNS", "Campaigns", "CampaignTable", "open_database"]

_CHUNK = 10_000


def open_database(database: str | Path = "runner.db") -> Campaigns:
    """Open the campaigns of a database (a path, or a URL) for reading, also while a run writes to it.

    It is closed by close(), at the end of a with block, or when it is no longer referred to. Nothing is created or
    changed. Raises StoreError when there is no such database.
    """
    return Campaigns(Reader(database))


class Campaigns(Mapping[str, "CampaignTable"]):
    """The campaigns of one database by name, in the order they were made."""

    def __init__(self, reader: Reader):
        self._reader = reader
        self.close = weakref.finalize(self, reader.close)

    def __enter__(self) -> Campaigns:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> CampaignTable:
        for row in self._reader.campaigns():
            if row["name"] == name:
                return CampaignTable(self, row)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter([row["name"] for row in self._reader.campaigns()])

    def __len__(self) -> int:
        return len(self._reader.campaigns())


class CampaignTable:
    """The jobs of one campaign.

    A job's row has, in this order: key, status ("pending", "in_progress", "done", "failed"), attempt,
    failures, crashes, priority, created_ts, grab_ts, done_ts (Unix seconds, UTC), duration_s, error,
    the browser and the WebGL renderer that drew it, then its params and its metrics by their names,
    and artifacts: a list of dicts with name, path (below the results folder), size in bytes, sha256
    and kind; of a file in a shard also start, the byte of path at which it begins. A param with the name of a column is
    found as params/NAME; a metric with the name of a column, or of a param with another value, as metrics/NAME. Rows
    come in the order in which the jobs were added.

    name: of the campaign. database: as --db takes it. results: the results folder of its last run, or None. remote: the
    URL of the object store to which that run's shards went, or None. moved: gives the address of a shard in an object
    store by the shard's path.
    """

    def __init__(self, campaigns: Campaigns, row: Mapping[str, Any]):
        self._campaigns = campaigns  # keeps the database open
        self._reader = campaigns._reader
        self._id = row["id"]
        self.name: str = row["name"]
        self.database = self._reader.database.address
        self.results = Path(row["results"]) if row["results"] else None
        self.remote: str | None = row["remote"]
        self.moved = moved_of(self._reader, self._id)

    @property
    def progress(self) -> Progress:
        """How many jobs there are, and how many of them are done, failed and in progress."""
        return self._reader.progress(self._id)

    def __len__(self) -> int:
        return self.progress.total

    def rows(self, status: str | None = None) -> Iterator[dict[str, Any]]:
        """Each job as a dict; with a status, only those in it.

        Jobs are read a few thousand at a time, each lot as of one moment; nothing is held open in between.
        """
        chosen = None if status is None else Status(status)
        after = 0
        while rows := self._reader.rows_after(self._id, after, _CHUNK, chosen):
            after = rows[-1]["id"]
            yield from map(_flat, rows)

    def shards(self) -> list[ShardEnd]:
        """The valid parts of the shards that hold the files of done jobs, if these are packed."""
        return self._reader.shards(self._id)

    def folders(self) -> dict[str, int]:
        """If each runner has its own results: how many done jobs each folder holds, by HOST:PATH."""
        return self._reader.done_by_folder(self._id)

    def job(self, key: str) -> JobRow | None:
        """One job's row in the database by its key, or None."""
        return self._reader.job(self._id, key)

    def read(self, key: str, name: str) -> bytes:
        """The bytes of the file that the job with that key has saved under that name, wherever they are.

        Raises UsageError where there is none, and where it differs from its record.
        """
        job = self._reader.job(self._id, key)
        rows = self._reader.rows_after(self._id, job["id"] - 1, 1) if job is not None else []
        file = next((file for row in rows for file in row["artifacts"] if file["name"] == name), None)
        if file is None:
            there = ", ".join(file["name"] for row in rows for file in row["artifacts"]) or "none"
            raise UsageError(f"{self.name}: there is no file {name!r} of job {key}; its files: {there:.200}")
        extent = Extent(file["path"], file["start"], file["size"])
        stored = Stored.of(self.results or Path(), extent, self.moved)
        here = ResultsFolder(self.results or Path(), self.name)
        elsewhere = Whose(self._reader, self._id, here).elsewhere(rows[0]["worker_id"])
        fault = stored.fault(file["sha256"])
        if fault == "missing" and elsewhere:
            raise UsageError(f"{self.name}: {name} of job {key} is not here, but below {elsewhere}")
        if fault is not None:
            raise UsageError(f"{self.name}: {name} of job {key} is {fault}, in {stored}")
        return stored.read_bytes()

    def status_of(self, key: str) -> str:
        """The status of one job by its key; empty where there is no such job."""
        job = self.job(key)
        return "" if job is None else job["status"]

    def failures(self) -> list[tuple[str, str]]:
        """(key, reason) of the failed jobs."""
        return list(self.iter_failures())

    def iter_failures(self) -> Iterator[tuple[str, str]]:
        """The same, with a few thousand in memory at a time."""
        for lot in self._reader.failures_in_lots(self._id):
            yield from ((key, error or "") for _, key, error, _ in lot)

    def suspects(self) -> list[str]:
        """Keys of the done jobs that may be wrong."""
        return [key for key, _ in self._reader.suspects(self._id)]

    def to_frame(self, status: str | None = None) -> pandas.DataFrame:
        """All jobs as one DataFrame; it takes about 3 GB for a million jobs with a file each."""
        return _frame(self.rows(status))

    def iter_frames(self, chunk: int = 100_000, status: str | None = None) -> Iterator[pandas.DataFrame]:
        """The jobs as DataFrames of up to `chunk` rows, for campaigns that are too large for one.

        A chunk has a column when one of its jobs has it.
        """
        rows = self.rows(status)
        while len(frame := _frame(rows, chunk)):
            yield frame


def _frame(rows: Iterator[dict[str, Any]], most: int | None = None) -> pandas.DataFrame:
    """Built by columns: a million dicts would take several times the memory."""
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, FILES)}
    for count, row in enumerate(rows):
        for name in row:
            if name not in columns:
                columns[name] = [None] * count
        for name, values in columns.items():
            values.append(row.get(name))
        if count + 1 == most:
            break
    files = columns.pop(FILES)
    return pd.DataFrame(columns | {FILES: files})


def _flat(job: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a job as CampaignTable gives it."""
    is_done = job["status"] == Status.DONE.value
    row = {name: job.get(name) for name in COLUMNS}
    row["done_ts"] = job["end_ts"] if is_done else None
    row["duration_s"] = job["end_ts"] - job["grab_ts"] if is_done else None
    row |= named(job["params"], job["metrics"])
    row[FILES] = [_told(file) for file in job["artifacts"]]
    return row


def _told(file: ArtifactRow) -> dict[str, Any]:
    told: dict[str, Any] = {"name": file["name"], "path": file["path"], "size": file["size"]}
    told |= {"sha256": file["sha256"], "kind": file["kind"]}
    return told if file["start"] is None else told | {"start": file["start"]}
