"""Reading a campaign database: every query for people, reports and the log; none changes a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from runner.job import (
    Artifact,
    Checkpoint,
    Lease,
    Progress,
    Source,
    Status,
    metrics_from_json,
    with_marks,
)
from runner.machine import Identity, is_gone
from runner.store import schema
from runner.store.database import Access, Database
from runner.store.places import located
from runner.store.rows import (
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
    WholeJobRow,
    WorkerRow,
)
from runner.store.text import is_text

__all__ = ["Reader"]

_Self = TypeVar("_Self", bound="Reader")


class Reader:
    """What a campaign database tells. Rows are dicts by column name, typed in rows.py; times are Unix seconds.

    database: where it is, as Database takes it, to be opened for looking only: nothing is made and no byte is
    changed. Or one that is open, which is then this reader's to close.

    Raises StoreError when there is none, or it cannot be used.
    """

    def __init__(self, database: str | Path | Database):
        self.database = database if isinstance(database, Database) else Database(database, Access.LOOK)

    @property
    def address(self) -> str:
        """What --db names the database by, from any folder; a password is not shown."""
        return self.database.address

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database."""
        return self.database.file

    def check(self) -> None:
        """Look through a SQLite file for damage, as after a crash of the machine. Raises StoreError."""
        self.database.check()

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, query: sa.Select[Any]) -> list[Any]:
        """As dicts by column name."""
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _row(self, query: sa.Select[Any]) -> Any:
        """The one row as a dict; None where there is none."""
        rows = self._rows(query)
        return rows[0] if rows else None

    def campaigns(self) -> list[CampaignRow]:
        """All campaigns, in the order they were made."""
        return self._campaigns(sa.select(schema.campaign).order_by(schema.campaign.c.id))

    def campaign(self, campaign_id: int) -> CampaignRow:
        """One campaign's row."""
        return self._campaigns(sa.select(schema.campaign).where(schema.campaign.c.id == campaign_id))[0]

    def campaign_named(self, name: str) -> CampaignRow | None:
        """The row of the campaign of that name; None where there is none."""
        rows = self._campaigns(sa.select(schema.campaign).where(schema.campaign.c.name == name))
        return rows[0] if rows else None

    def _campaigns(self, query: sa.Select[Any]) -> list[CampaignRow]:
        return [located(row, self.database.folder) for row in self._rows(query)]

    def keys_of(self, campaign_id: int, count: int = 10_000) -> Iterator[tuple[int, str, str, str]]:
        """Id, key, params (JSON) and status of all the campaign's jobs, read so many at a time."""
        job = schema.job
        query = sa.select(job.c.id, job.c.key, job.c.params, job.c.status)
        # The + 0 is told of in rows_after.
        query = query.where(job.c.campaign_id + 0 == campaign_id).order_by(job.c.id).limit(count)
        after = 0
        while True:
            with self.database.read() as connection:
                rows = connection.execute(query.where(job.c.id > after)).fetchall()
            yield from map(tuple, rows)
            if len(rows) < count:
                return
            after = rows[-1][0]

    def key_of(self, job_id: int) -> str | None:
        """The key of the job with that id; None where there is none."""
        with self.database.read() as connection:
            return connection.execute(sa.select(schema.job.c.key).where(schema.job.c.id == job_id)).scalar()

    def progress(self, campaign_id: int) -> Progress:
        """Counts of the campaign's jobs, from counters: the cost does not grow with the jobs."""
        with self.database.read() as connection:
            return Progress(
                **connection.execute(_progress_query(), {"campaign": campaign_id}).mappings().one()
            )

    def jobs(self, campaign_id: int, status: Status | None = None) -> list[JobRow]:
        """The campaign's jobs as dicts, params decoded, in the order they were added."""
        query = sa.select(schema.job).where(schema.job.c.campaign_id == campaign_id)
        if status is not None:
            query = query.where(schema.job.c.status == sa.literal_column(f"'{status.value}'"))
        return [
            row | {"params": json.loads(row["params"])} for row in self._rows(query.order_by(schema.job.c.id))
        ]

    def rows_after(
        self, campaign_id: int, after: int, count: int, status: Status | None = None
    ) -> list[WholeJobRow]:
        """The next `count` jobs behind the id `after`, in the order they were added, with what they came to.

        Each has the columns of its row, params and metrics decoded, the browser and renderer of the tab that
        drew it (None where none is on record), and artifacts: the files of a done job as dicts, by name.
        """
        job, result, session, artifact = schema.job, schema.result, schema.session, schema.artifact
        # The + 0 keeps SQLite from finding the campaign's jobs by key and sorting them all for each call.
        here = (job.c.campaign_id + 0 == campaign_id) & (job.c.id > after)
        if status is not None:
            here &= job.c.status == status.value
        query = (
            sa.select(job, result.c.metrics, result.c.marks, session.c.browser, session.c.renderer)
            .outerjoin(result, result.c.job_id == job.c.id)
            .outerjoin(session, session.c.id == job.c.session_id)
            .where(here)
            .order_by(job.c.id)
            .limit(count)
        )
        with self.database.read() as connection:
            rows: list[Any] = [dict(row) for row in connection.execute(query).mappings()]
            files: dict[int, list[Any]] = {
                row["id"]: [] for row in rows if row["status"] == Status.DONE.value
            }
            if files:
                span = artifact.c.job_id.between(min(files), max(files))
                for file in connection.execute(sa.select(artifact).where(span)).mappings():
                    if file["job_id"] in files:
                        files[file["job_id"]].append(dict(file))
        for row in rows:
            row["params"] = json.loads(row["params"])
            row["metrics"] = metrics_from_json(row["metrics"] or "{}", row.pop("marks"))
            # By Python's order of text, which is that of no database's locale.
            row["artifacts"] = sorted(files.get(row["id"], []), key=lambda file: file["name"])
        return rows

    def job(self, campaign_id: int, key: str) -> JobRow | None:
        """One job's row by its key, params decoded; None where there is none."""
        job = schema.job
        if not is_text(key):
            return None
        query = sa.select(job).where(job.c.campaign_id == campaign_id, job.c.key == key)
        row = self._row(query)
        return None if row is None else row | {"params": json.loads(row["params"])}

    def unsettled_keys(self, campaign_id: int) -> list[str]:
        """Keys of the jobs that are neither done nor failed, in the order they were added."""
        job = schema.job
        query = sa.select(job.c.key).where(
            job.c.campaign_id == campaign_id, job.c.status.in_(["pending", "in_progress"])
        )
        with self.database.read() as connection:
            return list(connection.execute(query.order_by(job.c.id)).scalars())

    def checkpoint_of(self, lease: Lease) -> Checkpoint:
        """How far earlier attempts of the job have come."""
        checkpoint, artifact = schema.checkpoint, schema.artifact
        with self.database.read() as connection:
            query = sa.select(checkpoint.c.step, checkpoint.c.metrics, checkpoint.c.marks, checkpoint.c.scene)
            row = connection.execute(query.where(checkpoint.c.job_id == lease.job_id)).one_or_none()
            if row is None:
                return Checkpoint()
            columns = [artifact.c[name] for name in ("name", "path", "size", "sha256", "kind")]
            files = connection.execute(sa.select(*columns).where(artifact.c.job_id == lease.job_id))
            artifacts = tuple(Artifact(*file) for file in files)
        return Checkpoint(row.step, artifacts, metrics_from_json(row.metrics, row.marks), row.scene)

    def attempts(self, campaign_id: int) -> list[AttemptRow]:
        """Attempts that ended otherwise than well, in order of their end, each with its job's key."""
        query = (
            sa.select(schema.attempt, schema.job.c.key)
            .join(schema.job, schema.job.c.id == schema.attempt.c.job_id)
            .where(schema.job.c.campaign_id == campaign_id)
            .order_by(schema.attempt.c.end_ts)
        )
        return self._rows(query)

    def events(self, campaign_id: int) -> list[EventRow]:
        """What befell the campaign's runs rather than a job: ts, kind, message, worker_id; oldest first."""
        event = schema.event
        columns = (event.c.ts, event.c.kind, event.c.message, event.c.worker_id)
        query = sa.select(*columns).where(event.c.campaign_id == campaign_id, event.c.kind != "source")
        return self._rows(query.order_by(event.c.id))

    def sources(self, campaign_id: int) -> list[Source]:
        """The files that the campaign's pictures were made of, each time one was first used or another than before."""
        event = schema.event
        query = sa.select(event.c.ts, event.c.message).where(event.c.campaign_id == campaign_id)
        query = query.where(event.c.kind == "source").order_by(event.c.id)
        with self.database.read() as connection:
            rows = connection.execute(query).fetchall()
        return [Source(ts, *reversed(message.split(" ", 1))) for ts, message in rows]

    def failures(self, campaign_id: int) -> list[FailureRow]:
        """Failed jobs: key, error, and the traceback of the last attempt."""
        job, attempt = schema.job, schema.attempt
        query = (
            sa.select(job.c.key, job.c.error, attempt.c.traceback)
            .outerjoin(attempt, (attempt.c.job_id == job.c.id) & (attempt.c.attempt == job.c.attempt))
            .where(job.c.campaign_id == campaign_id, job.c.status == sa.literal_column("'failed'"))
            .order_by(job.c.id)
        )
        return self._rows(query)

    def suspects(self, campaign_id: int) -> list[tuple[str, str]]:
        """(key, suspicion) of the done jobs with a picture that may be wrong, in the order they were added."""
        job, result = schema.job, schema.result
        query = (
            sa.select(job.c.key, result.c.suspicion)
            .join(job, job.c.id == result.c.job_id)
            .where(result.c.campaign_id == campaign_id, result.c.suspicion.is_not(None))
            .order_by(job.c.id)
        )
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def done_times(self, campaign_id: int) -> list[tuple[str, float, float]]:
        """(key, grab_ts, end_ts) of the done jobs."""
        job = schema.job
        query = sa.select(job.c.key, job.c.grab_ts, job.c.end_ts)
        query = query.where(job.c.campaign_id == campaign_id, job.c.status == "done")
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def artifacts(self, campaign_id: int, limit: int | None = None) -> list[FileRow]:
        """Files of done jobs, each with its job's key, in the order of jobs and names."""
        query = (
            sa.select(schema.artifact, schema.job.c.key, schema.job.c.status)
            .join(schema.job, schema.job.c.id == schema.artifact.c.job_id)
            .where(schema.job.c.campaign_id == campaign_id, schema.job.c.status == "done")
            .order_by(schema.artifact.c.job_id, schema.artifact.c.name)
            .limit(limit)
        )
        return self._rows(query)

    def files_between(
        self, campaign_id: int, first_id: int, last_id: int
    ) -> tuple[list[JobBriefRow], list[FileRow], list[EndedRow]]:
        """Of the campaign's jobs with these ids: id, key, status and attempt; all their files; and the
        attempts (job_id, attempt, outcome) that ended otherwise than well."""
        job, artifact, attempt = schema.job, schema.artifact, schema.attempt
        # The + 0 is told of in rows_after: by key, each thousand would read all of the campaign's jobs.
        mine = (job.c.campaign_id + 0 == campaign_id, job.c.id >= first_id, job.c.id <= last_id)
        jobs = sa.select(job.c.id, job.c.key, job.c.status, job.c.attempt).where(*mine).order_by(job.c.id)
        files = (
            sa.select(artifact, job.c.key, job.c.status)
            .join(job, job.c.id == artifact.c.job_id)
            .where(*mine, artifact.c.job_id >= first_id, artifact.c.job_id <= last_id)
            .order_by(artifact.c.job_id, artifact.c.name)
        )
        ended = (
            sa.select(attempt.c.job_id, attempt.c.attempt, attempt.c.outcome)
            .join(job, job.c.id == attempt.c.job_id)
            .where(*mine, attempt.c.job_id >= first_id, attempt.c.job_id <= last_id)
        )
        with self.database.read() as connection:
            rows: list[Any] = [
                [dict(row) for row in connection.execute(query).mappings()] for query in (jobs, files, ended)
            ]
        return rows[0], rows[1], rows[2]

    def count_files(self, campaign_id: int) -> int:
        """How many files the campaign's done jobs have."""
        job, artifact = schema.job, schema.artifact
        query = (
            sa.select(sa.func.count())
            .select_from(artifact)
            .join(job, job.c.id == artifact.c.job_id)
            .where(job.c.campaign_id == campaign_id, job.c.status == "done")
        )
        with self.database.read() as connection:
            return connection.execute(query).scalar() or 0

    def recent_files_bytes(self, campaign_id: int, sample: int = 1000) -> tuple[int, int]:
        """How many of the jobs done last were looked at, and what their files take in blocks of 4 KiB, in bytes."""
        result, artifact = schema.result, schema.artifact
        recent = (
            sa.select(result.c.job_id)
            .where(result.c.campaign_id == campaign_id)
            .order_by(result.c.id.desc())
            .limit(sample)
            .subquery()
        )
        blocks = sa.func.sum((artifact.c.size + 4095) // 4096)
        query = sa.select(sa.func.count(recent.c.job_id.distinct()), sa.func.coalesce(blocks, 0)).select_from(
            recent.outerjoin(artifact, artifact.c.job_id == recent.c.job_id)
        )
        with self.database.read() as connection:
            jobs, count = connection.execute(query).one()
            return jobs, int(count) * 4096

    def last_job_id(self, campaign_id: int) -> int:
        """The highest id of the campaign's jobs; 0 where it has none."""
        job = schema.job
        with self.database.read() as connection:
            query = sa.select(sa.func.max(job.c.id)).where(job.c.campaign_id == campaign_id)
            return connection.execute(query).scalar() or 0

    def sample_pictures(self, campaign_id: int, every: int, limit: int) -> list[str]:
        """Paths of pictures, one a job, of every so many done jobs."""
        job, artifact = schema.job, schema.artifact
        query = (
            sa.select(sa.func.min(artifact.c.path))
            .join(job, job.c.id == artifact.c.job_id)
            .where(
                job.c.campaign_id == campaign_id,
                job.c.status == "done",
                job.c.id % every == 0,
                artifact.c.kind.like("image/%"),
            )
            .group_by(job.c.id)
            .order_by(job.c.id)
            .limit(limit)
        )
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def workers(self, campaign_id: int) -> list[WorkerRow]:
        """The campaign's workers, oldest first."""
        query = (
            sa.select(schema.worker)
            .where(schema.worker.c.campaign_id == campaign_id)
            .order_by(schema.worker.c.started_ts)
        )
        return self._rows(query)

    def sessions(self, campaign_id: int) -> list[SessionRow]:
        """The campaign's browser tabs, oldest first; client and settings decoded."""
        session = schema.session
        query = sa.select(session).where(session.c.campaign_id == campaign_id)
        return [
            row | {"client": json.loads(row["client"]), "settings": json.loads(row["settings"])}
            for row in self._rows(query.order_by(session.c.started_ts))
        ]

    def done_by_session(self, campaign_id: int) -> dict[int | None, int]:
        """How many done jobs each browser tab has drawn, by its id; None: no tab was recorded."""
        job = schema.job
        query = sa.select(job.c.session_id, sa.func.count()).group_by(job.c.session_id)
        query = query.where(job.c.campaign_id == campaign_id, job.c.status == "done")
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def ended_uncleanly(self) -> bool:
        """Whether a process that was at work here is gone without having signed off."""
        worker = schema.worker
        columns = [worker.c[name] for name in ("host", "boot", "pid", "pid_start")]
        query = sa.select(*columns).where(worker.c.state == sa.literal_column("'live'"))
        with self.database.read() as connection:
            return any(is_gone(Identity(*row)) for row in connection.execute(query))

    def log_cursor(self, campaign_id: int) -> tuple[int, int]:
        """Up to which result the metrics log is written, and its length in bytes then."""
        columns = schema.campaign.c
        query = sa.select(columns.logged_id, columns.logged_bytes).where(columns.id == campaign_id)
        with self.database.read() as connection:
            logged_id, logged_bytes = connection.execute(query).one()
            return logged_id, logged_bytes

    def results_after(self, campaign_id: int, after: int, count: int) -> list[ResultRow]:
        """The next `count` results behind the id `after`, in the order in which jobs were done.

        Of each: id, key, attempt, grab_ts, end_ts, params and metrics (decoded).
        """
        result, job = schema.result, schema.job
        query = (
            sa.select(
                result.c.id,
                job.c.key,
                job.c.attempt,
                job.c.grab_ts,
                job.c.end_ts,
                job.c.params,
                result.c.metrics,
                result.c.marks,
            )
            .join(job, job.c.id == result.c.job_id)
            .where(result.c.id > after, result.c.campaign_id == campaign_id)
            .order_by(result.c.id)
            .limit(count)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).fetchall()
        # One text for all: starting the decoder for each would be most of the cost, and the log shares
        # its interpreter with the claims.
        params = json.loads("[" + ",".join([row[5] for row in rows]) + "]")
        metrics = json.loads("[" + ",".join([row[6] for row in rows]) + "]")
        return [
            {
                "id": row[0], "key": row[1], "attempt": row[2], "grab_ts": row[3], "end_ts": row[4],
                "params": of_params, "metrics": with_marks(of_metrics, row[7]),
            }
            for row, of_params, of_metrics in zip(rows, params, metrics)
        ]  # fmt: skip

    def live_workers(self, campaign_id: int) -> list[tuple[int, Identity, int]]:
        """(id, process, beat) of each worker that has neither ended nor been declared lost."""
        worker = schema.worker
        query = sa.select(
            worker.c.id, worker.c.beat, worker.c.host, worker.c.boot, worker.c.pid, worker.c.pid_start
        ).where(worker.c.campaign_id == campaign_id, worker.c.state == sa.literal_column("'live'"))
        with self.database.read() as connection:
            return [(row[0], Identity(*row[2:]), row[1]) for row in connection.execute(query)]

    def worker(self, worker_id: int) -> WorkerRow | None:
        """One worker's row; None for an unknown one."""
        row: WorkerRow | None = self._row(sa.select(schema.worker).where(schema.worker.c.id == worker_id))
        return row

    def attempt_outcome(self, job_id: int, number: int) -> str | None:
        """failed, crashed, released or requeued; None for an attempt that is not on record."""
        attempt = schema.attempt
        query = sa.select(attempt.c.outcome).where(attempt.c.job_id == job_id, attempt.c.attempt == number)
        with self.database.read() as connection:
            return connection.execute(query).scalar()

    def worker_state(self, worker_id: int) -> str | None:
        """live, ended or lost; None for an unknown worker."""
        query = sa.select(schema.worker.c.state).where(schema.worker.c.id == worker_id)
        with self.database.read() as connection:
            return connection.execute(query).scalar()


@cache
def _progress_query() -> sa.Select[Any]:
    # Asked several times a second, and costlier to build than to run.
    job, worker, campaign = schema.job, schema.worker, schema.campaign
    this: sa.BindParameter[int] = sa.bindparam("campaign")
    # By way of the live workers, who hold all of them: the index of running jobs is the only way.
    running = (
        sa.select(sa.func.count())
        .select_from(worker)
        .join(job, job.c.worker_id == worker.c.id)
        .where(
            worker.c.campaign_id == this,
            worker.c.state == sa.literal_column("'live'"),
            job.c.status == sa.literal_column("'in_progress'"),
        )
        .scalar_subquery()
    )
    counts = (campaign.c.total, campaign.c.done, campaign.c.failed, running.label("in_progress"))
    return sa.select(*counts).where(campaign.c.id == this)
