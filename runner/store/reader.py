"""Reads a campaign database for people, reports and the log: the results of queries.py as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from runner.job import (
    Artifact,
    Checkpoint,
    Extent,
    Lease,
    Phases,
    Progress,
    ShardEnd,
    Source,
    Status,
    StoredBytes,
    metrics_from_json,
    with_marks,
)
from runner.machine import Identity, is_gone
from runner.store import queries
from runner.store.database import Access, Database
from runner.store.places import located
from runner.store.rows import (
    AttemptOfTabRow,
    AttemptRow,
    CampaignRow,
    EndedRow,
    EventRow,
    FailureRow,
    FileRow,
    JobBriefRow,
    JobRow,
    ResultRow,
    SessionRow,
    ShownJobRow,
    WholeJobRow,
    WorkerRow,
)
from runner.store.text import is_text

__all__ = ["Reader"]

_AT_ONCE = 10_000
# Fewer rows in a lot stay in the processor's caches: an eighth less time than with ten times as many.
_LOT = 1_000


class Reader:
    """Reads a campaign database. Rows are dicts by column name, typed in rows.py; times are Unix seconds.

    database: its place, as Database takes it, opened for looking only: nothing is created and no byte is changed. Or an
    open one, which this reader then closes.

    Raises StoreError when there is none, or it cannot be used.
    """

    def __init__(self, database: str | Path | Database):
        self.database = database if isinstance(database, Database) else Database(database, Access.LOOK)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- campaigns -------------------------------------------------------------------------------

    def campaigns(self) -> list[CampaignRow]:
        """All campaigns, in the order they were made."""
        return self._campaigns(queries.campaigns())

    def campaign(self, campaign_id: int) -> CampaignRow:
        """One campaign's row."""
        return self._campaigns(queries.campaigns(campaign_id=campaign_id))[0]

    def campaign_named(self, name: str) -> CampaignRow | None:
        """The row of the campaign of that name; None where there is none."""
        rows = self._campaigns(queries.campaigns(name=name))
        return rows[0] if rows else None

    def _campaigns(self, query: sa.Select[Any]) -> list[CampaignRow]:
        return [located(row, self.database.folder) for row in self._rows(query)]

    def progress(self, campaign_id: int) -> Progress:
        """Counts of the campaign's jobs, from counters: the cost does not grow with the number of jobs."""
        with self.database.read() as connection:
            counts = connection.execute(queries.progress(), {"campaign": campaign_id}).mappings().one()
        return Progress(**counts)

    def folders(self, campaign_id: int) -> dict[str, str]:
        """The places of the campaign's results folders, as HOST:PATH, by their ids."""
        return dict(self._tuples(queries.folders(campaign_id)))

    def log_cursor(self, campaign_id: int, folder_id: str) -> tuple[int, int] | None:
        """The last result in the metrics log of that folder, and the log's length in bytes; None: unknown."""
        rows = self._tuples(queries.log_cursor(campaign_id, folder_id))
        return rows[0] if rows else None

    def events(self, campaign_id: int) -> list[EventRow]:
        """The events of the campaign's runs, not of single jobs: ts, kind, message, worker_id; oldest first."""
        return self._rows(queries.events(campaign_id))

    def hidden_tabs(self, campaign_id: int, worker_ids: Sequence[int]) -> list[str]:
        """Names of those workers' tabs that are out of sight, and so slowed down by their browsers."""
        hidden: dict[str, None] = {}
        for _, kind, name in sorted(self._tuples(queries.sightings(campaign_id, worker_ids))):
            if kind == "hidden":
                hidden[name] = None
            else:
                hidden.pop(name, None)
        return list(hidden)

    def sources(self, campaign_id: int) -> list[Source]:
        """The files that the campaign's pictures were made from, each time that one was first used or had changed."""
        rows = self._tuples(queries.sources(campaign_id))
        return [Source(ts, *reversed(message.split(" ", 1))) for ts, message in rows]

    # -- jobs ------------------------------------------------------------------------------------

    def jobs(self, campaign_id: int, status: Status | None = None) -> list[JobRow]:
        """The campaign's jobs as dicts, params decoded, in the order they were added."""
        rows = self._rows(queries.jobs(campaign_id, status))
        return [row | {"params": json.loads(row["params"])} for row in rows]

    def job(self, campaign_id: int, key: str) -> JobRow | None:
        """One job's row by its key, params decoded; None where there is none."""
        row = self._row(queries.job_of_key(campaign_id, key)) if is_text(key) else None
        return None if row is None else row | {"params": json.loads(row["params"])}

    def key_of(self, job_id: int) -> str | None:
        """The key of the job with that id; None where there is none."""
        key: str | None = self._scalar(queries.key_of(job_id))
        return key

    def pending_attempts(self, job_ids: Sequence[int]) -> dict[int, int]:
        """How many attempts each of these jobs has had, for those that are pending; in the order of the given ids."""
        found: dict[int, int] = {}
        for at in range(0, len(job_ids), _AT_ONCE):
            found |= dict(self._tuples(queries.pending_attempts(job_ids[at : at + _AT_ONCE])))
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def next_ids(self, campaign_id: int, count: int) -> list[int]:
        """Ids of the pending jobs that are handed out next; those that wait for a retry come last."""
        rows = self._tuples(queries.next_ids(campaign_id, count))
        rows += self._tuples(queries.waiting_ids(campaign_id, count - len(rows)))
        return [job_id for (job_id,) in rows]

    def spread_ids(self, campaign_id: int, count: int) -> list[int]:
        """Ids of so many ready jobs, evenly spread over all of these in the order they were added."""
        ready = self._scalar(queries.count_ready(campaign_id)) or 0
        if not ready:
            return []
        query = queries.spread_ids(campaign_id, ready, min(ready, count))
        return [job_id for (job_id,) in self._tuples(query)]

    def keys_like(self, campaign_id: int, beginning: str, limit: int) -> list[str]:
        """Keys of the campaign's jobs that begin so, in no order."""
        query = queries.keys_like(campaign_id, beginning, limit)
        return [key for (key,) in self._tuples(query)] if is_text(beginning) else []

    def key_at(self, campaign_id: int, place: int) -> str | None:
        """The key of the job at that place in the order of adding, from 0; None where there is none."""
        key: str | None = self._scalar(queries.key_at(campaign_id, place))
        return key

    def place_of(self, job: JobRow) -> int:
        """How many of the campaign's jobs were added before that one."""
        count: int = self._scalar(queries.count_before(job["campaign_id"], job["id"]))
        return count

    def ready_before(self, job: JobRow) -> int:
        """How many ready jobs are handed out before that one."""
        order = (job["campaign_id"], job["priority"], job["crashes"], job["id"])
        count: int = self._scalar(queries.count_ready_before(*order))
        return count

    def keys_of(self, campaign_id: int, count: int = 10_000) -> Iterator[tuple[int, str, str, str]]:
        """Id, key, params (JSON) and status of all the campaign's jobs, read so many at a time."""
        after = 0
        while True:
            rows = self._tuples(queries.keys_after(campaign_id, after, count))
            yield from rows
            if len(rows) < count:
                return
            after = rows[-1][0]

    def last_job_id(self, campaign_id: int) -> int:
        """The highest id of the campaign's jobs; 0 where it has none."""
        return self._scalar(queries.last_job_id(campaign_id)) or 0

    def first_job_id(self, campaign_id: int) -> int:
        """The lowest id of the campaign's jobs; 0 where it has none."""
        return self._scalar(queries.first_job_id(campaign_id)) or 0

    def unsettled_keys(self, campaign_id: int) -> list[str]:
        """Keys of the jobs that are neither done nor failed, in the order they were added."""
        return [key for (key,) in self._tuples(queries.unsettled_keys(campaign_id))]

    def rows_after(
        self, campaign_id: int, after: int, count: int, status: Status | None = None
    ) -> list[WholeJobRow]:
        """The next `count` jobs after the id `after`, in the order they were added, with their results.

        Each has the columns of its row, params and metrics decoded, the browser and renderer of the tab that drew it
        (None where none is on record), and artifacts: the files of a done job as dicts, by name.
        """
        with self.database.read() as connection:
            query = queries.rows_after(campaign_id, after, count, status)
            rows: list[Any] = [dict(row) for row in connection.execute(query).mappings()]
            files: dict[int, list[Any]] = {
                row["id"]: [] for row in rows if row["status"] == Status.DONE.value
            }
            if files:
                query = queries.artifacts_between(min(files), max(files))
                for file in connection.execute(query).mappings():
                    if file["job_id"] in files:
                        files[file["job_id"]].append(dict(file))
        for row in rows:
            row["params"] = json.loads(row["params"])
            row["metrics"] = metrics_from_json(row["metrics"] or "{}", row.pop("marks"))
            # Sorted by Python, because databases sort text by their locales.
            row["artifacts"] = sorted(files.get(row["id"], []), key=lambda file: file["name"])
        return rows

    def results_after(self, campaign_id: int, after: int, count: int) -> list[ResultRow]:
        """The next `count` results after the id `after`, in the order in which jobs were done.

        Each has id, key, attempt, grab_ts, end_ts, params and metrics (decoded).
        """
        rows = self._tuples(queries.results_after(campaign_id, after, count))
        # Decode all in one text: starting the decoder for each would be most of the cost, and the log shares its
        # interpreter with the claims.
        params = json.loads("[" + ",".join([row[5] for row in rows]) + "]")
        metrics = json.loads("[" + ",".join([row[6] for row in rows]) + "]")
        return [
            {
                "id": row[0], "key": row[1], "attempt": row[2], "grab_ts": row[3], "end_ts": row[4],
                "params": of_params, "metrics": with_marks(of_metrics, row[7]),
            }
            for row, of_params, of_metrics in zip(rows, params, metrics)
        ]  # fmt: skip

    def suspects(self, campaign_id: int) -> list[tuple[str, str]]:
        """(key, suspicion) of the done jobs with a picture that may be wrong, in the order they were added."""
        return self._tuples(queries.suspects(campaign_id))

    def count_suspects(self, campaign_id: int) -> int:
        """How many done jobs have a picture that may be wrong."""
        count: int = self._scalar(queries.count_suspects(campaign_id))
        return count

    def suspicion_of(self, job_id: int) -> str | None:
        """Why a picture of that job may be wrong; None where there is no suspicion."""
        suspicion: str | None = self._scalar(queries.suspicion_of(job_id))
        return suspicion

    def done_times(self, campaign_id: int) -> Iterator[list[tuple[int, int | None, float, float]]]:
        """(id, session_id, grab_ts, end_ts) of the done jobs, a few thousand at a time, in no order."""
        return self._lots(queries.done_times(campaign_id))

    def whole_jobs(self, ids: Sequence[int]) -> list[ShownJobRow]:
        """The jobs with these ids, in the order they were added, with metrics, suspicion, session and files."""
        shown: list[ShownJobRow] = []
        for first in range(0, len(ids), _AT_ONCE):
            some = list(ids[first : first + _AT_ONCE])
            rows = self._rows(queries.whole_jobs(some))
            files: dict[int, list[tuple[Extent, str]]] = {}
            for job_id, kind, *where in self._tuples(queries.files_of(some)):
                files.setdefault(job_id, []).append((Extent(*where), kind))
            for row in rows:
                row["params"] = json.loads(row["params"])
                row["metrics"] = metrics_from_json(row["metrics"] or "{}", row.pop("marks"))
                row["phases"] = Phases.from_text(row["phases"])
                row["files"] = files.get(row["id"], [])
            shown += rows
        return sorted(shown, key=lambda row: row["id"])

    def neighbour_of(self, campaign_id: int, job_id: int) -> int | None:
        """The id of the last job before that one that is done and no suspect; None where there is none."""
        found: int | None = self._scalar(queries.neighbour_of(campaign_id, job_id))
        return found

    def checkpoint_of(self, lease: Lease) -> Checkpoint:
        """The checkpoint of earlier attempts at the job."""
        with self.database.read() as connection:
            row = connection.execute(queries.checkpoint_of(lease.job_id)).one_or_none()
            if row is None:
                return Checkpoint()
            files: Any = connection.execute(queries.artifacts_of(lease.job_id))
            artifacts = tuple(Artifact(*file) for file in files)
        return Checkpoint(row.step, artifacts, metrics_from_json(row.metrics, row.marks), row.scene)

    # -- attempts --------------------------------------------------------------------------------

    def attempts(self, campaign_id: int) -> list[AttemptRow]:
        """Attempts that did not end well, in order of their end, each with its job's key."""
        return self._rows(queries.attempts(campaign_id))

    def attempts_of(self, job_id: int) -> list[AttemptOfTabRow]:
        """One job's attempts that did not end well, in their order, each with its tab's name and renderer."""
        return self._rows(queries.attempts_of(job_id))

    def attempt_outcome(self, job_id: int, number: int) -> str | None:
        """failed, crashed, released or requeued; None for an attempt that is not on record."""
        outcome: str | None = self._scalar(queries.attempt_outcome(job_id, number))
        return outcome

    def attempts_in_lots(
        self, campaign_id: int
    ) -> Iterator[list[tuple[int, int | None, float, float, str, str | None]]]:
        """(job_id, session_id, grab_ts, end_ts, outcome, error) of the attempts that did not end well.

        A few thousand at a time, in no order.
        """
        return self._lots(queries.attempts_in_short(campaign_id))

    def traceback_of(self, job_id: int, number: int) -> str | None:
        """The evidence of that attempt's end: console lines, the last frame's file, the traceback."""
        text: str | None = self._scalar(queries.traceback_of(job_id, number))
        return text

    def failures(self, campaign_id: int) -> list[FailureRow]:
        """Failed jobs in short, in the order they were added."""
        return self._rows(queries.failures(campaign_id))

    def failures_in_lots(self, campaign_id: int) -> Iterator[list[tuple[int, str, str | None, int]]]:
        """(id, key, error, attempt) of the failed jobs, a few thousand at a time."""
        return self._lots(queries.failures(campaign_id))

    # -- files -----------------------------------------------------------------------------------

    def artifacts(self, campaign_id: int, limit: int | None = None) -> list[FileRow]:
        """Files of done jobs, each with its job's key, in the order of jobs and names."""
        return self._rows(queries.artifacts(campaign_id, limit))

    def files_between(
        self, campaign_id: int, first_id: int, last_id: int
    ) -> tuple[list[JobBriefRow], list[FileRow], list[EndedRow]]:
        """For these ids: the campaign's jobs (id, key, status, attempt), their files, and their attempts that failed.

        The attempts are (job_id, attempt, outcome), all that did not end well.
        """
        with self.database.read() as connection:
            rows: list[Any] = [
                [dict(row) for row in connection.execute(query).mappings()]
                for query in queries.jobs_files_and_ends(campaign_id, first_id, last_id)
            ]
        return rows[0], rows[1], rows[2]

    def shards(self, campaign_id: int) -> list[ShardEnd]:
        """The valid parts of the campaign's shards, by path."""
        return [ShardEnd(*row) for row in self._tuples(queries.shards(campaign_id))]

    def shards_here(self, campaign_id: int) -> list[ShardEnd]:
        """The same of those that are in no object store."""
        return [ShardEnd(*row) for row in self._tuples(queries.shards_here(campaign_id))]

    def shard_addresses(self, campaign_id: int, path: str | None = None) -> dict[str, str]:
        """The addresses of shards in an object store, by path; of one path, or of all."""
        return dict(self._tuples(queries.shard_addresses(campaign_id, path)))

    def stored_bytes(self, campaign_id: int) -> StoredBytes:
        """How much of the campaign's shards is in an object store, and how much on the disk."""
        return StoredBytes(*map(int, self._tuples(queries.stored_bytes(campaign_id))[0]))

    def recent_files_bytes(self, campaign_id: int, sample: int = 1000) -> tuple[int, int]:
        """How many of the jobs done last were counted, and the bytes that their files take, in blocks of 4 KiB."""
        jobs, blocks = self._tuples(queries.recent_files_blocks(campaign_id, sample))[0]
        return jobs, int(blocks) * 4096

    def sample_pictures(
        self, campaign_id: int, every: int, limit: int
    ) -> list[tuple[Extent, str, str | None]]:
        """(place, key, suspicion) of pictures, the first one of every n-th done job."""
        rows = self._tuples(queries.sample_pictures(campaign_id, every, limit))
        return [(Extent(*where), key, suspicion) for key, suspicion, *where in rows]

    # -- workers and browser tabs ----------------------------------------------------------------

    def workers(self, campaign_id: int) -> list[WorkerRow]:
        """The campaign's workers, oldest first."""
        return self._rows(queries.workers(campaign_id))

    def worker(self, worker_id: int) -> WorkerRow | None:
        """One worker's row; None for an unknown one."""
        row: WorkerRow | None = self._row(queries.worker_of(worker_id))
        return row

    def worker_state(self, worker_id: int) -> str | None:
        """live, ended or lost; None for an unknown worker."""
        state: str | None = self._scalar(queries.worker_state(worker_id))
        return state

    def live_workers(self, campaign_id: int) -> list[tuple[int, Identity, int]]:
        """(id, process, beat) of each worker that has neither ended nor been declared lost."""
        rows = self._tuples(queries.live_workers(campaign_id))
        return [(worker_id, Identity(*process), beat) for worker_id, beat, *process in rows]

    def ended_uncleanly(self) -> bool:
        """Whether a process that was at work here has died without signing off."""
        return any(is_gone(Identity(*process)) for process in self._tuples(queries.live_processes()))

    def sessions(self, campaign_id: int) -> list[SessionRow]:
        """The campaign's browser tabs, oldest first; client and settings decoded."""
        return [
            row | {"client": json.loads(row["client"]), "settings": json.loads(row["settings"])}
            for row in self._rows(queries.sessions(campaign_id))
        ]

    def session(self, session_id: int) -> tuple[str, str]:
        """The name of that browser tab, and its renderer; '' where it is unknown."""
        rows = self._tuples(queries.session_of(session_id))
        return rows[0] if rows else ("", "")

    def done_by_folder(self, campaign_id: int) -> dict[str, int]:
        """How many done jobs each of the campaign's folders holds, by place; empty if there is only one folder."""
        places = self.folders(campaign_id)
        if len(places) < 2:
            return {}
        counts = dict(self._tuples(queries.done_by_folder(campaign_id)))
        return {place: counts[folder_id] for folder_id, place in places.items() if folder_id in counts}

    def done_by_session(self, campaign_id: int) -> dict[int | None, int]:
        """How many done jobs each browser tab has drawn, by its id; None: no tab was recorded."""
        return dict(self._tuples(queries.done_by_session(campaign_id)))

    # -- what comes of a query -------------------------------------------------------------------

    def _rows(self, query: sa.Select[Any]) -> list[Any]:
        """As dicts by column name."""
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _lots(self, query: sa.Select[Any]) -> Iterator[list[Any]]:
        """Tuples, a few thousand at a time and in memory, all as of one moment."""
        with self.database.read() as connection:
            if not self.database.is_sqlite:
                rows = connection.execution_options(yield_per=_LOT).execute(query)
                yield from (list(map(tuple, lot)) for lot in rows.partitions())
                return
            # SQLite reads lazily. Take the driver's own rows: wrapping each one costs as much as reading it.
            cursor = connection.execute(query).cursor
            assert cursor is not None  # a SELECT has one
            while lot := cursor.fetchmany(_LOT):
                yield list(lot)

    def _row(self, query: sa.Select[Any]) -> Any:
        """The one row as a dict; None where there is none."""
        rows = self._rows(query)
        return rows[0] if rows else None

    def _tuples(self, query: sa.Select[Any]) -> list[Any]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def _scalar(self, query: sa.Select[Any]) -> Any:
        """The first column of the first row; None where there is none."""
        with self.database.read() as connection:
            return connection.execute(query).scalar()
