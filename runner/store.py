"""The database and its verbs: every SQL statement; one public method is one transaction.

The moves of a job (see the state diagram in README.md) are claim, complete, release, fail, reclaim,
retry and requeue. A move out of in_progress is guarded by id, worker, attempt and status: where no
row changes, the lease is lost, LeaseLost is raised, and the whole transaction is undone.

Statements that write are named constants in plain SQL that SQLite and PostgreSQL share; they run on
the driver's own connection, because compiling them anew at each call costs several times the
statement. Reading for people goes through SQLAlchemy Core.
"""

from __future__ import annotations

import json
import random
import re
import secrets
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import sqlalchemy as sa

from runner import schema
from runner.errors import CampaignError, LeaseLost, StoreError
from runner.host import Identity, is_gone, network_filesystem, this_process
from runner.job import (
    Added,
    Artifact,
    Checkpoint,
    Job,
    Lease,
    Outcome,
    Place,
    Policy,
    Progress,
    Status,
    canonical_json,
    content_key,
)

__all__ = ["Store"]

# The status is a literal everywhere: a bound one keeps the planner from the partial indexes.
# A worker that was declared lost, and a campaign that is not open, get nothing.
CLAIM = """
WITH ready AS MATERIALIZED (
     SELECT id FROM job
      WHERE campaign_id = :campaign AND status = 'pending' AND not_before_ts IS NULL
        AND EXISTS (SELECT 1 FROM campaign WHERE id = :campaign AND state = 'open')
        AND EXISTS (SELECT 1 FROM worker WHERE id = :worker AND state = 'live')
      ORDER BY priority DESC, crashes, id
      LIMIT :count {skip_locked})
UPDATE job
   SET status = 'in_progress', attempt = attempt + 1, worker_id = :worker, grab_ts = :now
 WHERE id IN (SELECT id FROM ready)
RETURNING priority, id, attempt, key, params, failures, crashes, created_ts
"""

_FENCE = "id = :job AND worker_id = :worker AND attempt = :attempt AND status = 'in_progress'"

COMPLETE = f"""
UPDATE job SET status = 'done', end_ts = :now, error = NULL WHERE {_FENCE}
"""
RELEASE = f"""
UPDATE job SET status = 'pending', worker_id = NULL, end_ts = :now WHERE {_FENCE}
"""
FAIL = f"""
UPDATE job
   SET status = :status, worker_id = NULL, end_ts = :now, not_before_ts = :not_before,
       failures = failures + :failures, crashes = crashes + :crashes, error = :error
 WHERE {_FENCE}
"""
WRITE_ATTEMPT = """
INSERT INTO attempt (job_id, attempt, worker_id, outcome, error, traceback, grab_ts, end_ts)
VALUES (:job, :attempt, :worker, :outcome, :error, :traceback, :grab_ts, :now)
"""
COUNT_DONE = "UPDATE campaign SET done = done + :count WHERE id = :campaign"
COUNT_FAILED = "UPDATE campaign SET failed = failed + :count WHERE id = :campaign"
COUNT_TOTAL = "UPDATE campaign SET total = total + :count WHERE id = :campaign"
# Results are read in the order of their ids: on PostgreSQL, where a later id may be committed
# first, the lock makes completing transactions of one campaign take turns.
LOCK_RESULTS = "SELECT pg_advisory_xact_lock(:campaign)"
WRITE_RESULT = """
INSERT INTO result (campaign_id, job_id, metrics) VALUES (:campaign, :job, :metrics)
"""
WRITE_ARTIFACT = """
INSERT INTO artifact (job_id, name, path, size, sha256, kind)
VALUES (:job, :name, :path, :size, :sha256, :kind)
ON CONFLICT (job_id, name) DO UPDATE
   SET path = excluded.path, size = excluded.size, sha256 = excluded.sha256, kind = excluded.kind
"""
HOLD = f"UPDATE job SET worker_id = worker_id WHERE {_FENCE}"
WRITE_CHECKPOINT = """
INSERT INTO checkpoint (job_id, step, metrics) VALUES (:job, :step, :metrics)
ON CONFLICT (job_id) DO UPDATE SET step = excluded.step, metrics = excluded.metrics
"""
FORGET_CHECKPOINT = "DELETE FROM checkpoint WHERE job_id = :job"
FORGET_STEP_ARTIFACTS = "DELETE FROM artifact WHERE job_id = :job"
SET_STATE = "UPDATE campaign SET state = :state WHERE id = :campaign"
PROMOTE = """
UPDATE job SET not_before_ts = NULL
 WHERE campaign_id = :campaign AND not_before_ts IS NOT NULL
   AND (not_before_ts <= :now OR not_before_ts > :latest)
"""
ADD_JOB = """
INSERT INTO job (campaign_id, key, params, priority, created_ts)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (campaign_id, key) DO NOTHING
"""
PARAMS_OF = "SELECT params FROM job WHERE campaign_id = :campaign AND key = :key"
ADD_CAMPAIGN = """
INSERT INTO campaign
       (name, max_failures, max_crashes, backoff_s, backoff_max_s, file, results, created_ts)
VALUES (:name, :max_failures, :max_crashes, :backoff_s, :backoff_max_s, :file, :results, :now)
ON CONFLICT (name) DO UPDATE
   SET max_failures = excluded.max_failures, max_crashes = excluded.max_crashes,
       backoff_s = excluded.backoff_s, backoff_max_s = excluded.backoff_max_s,
       file = COALESCE(excluded.file, campaign.file),
       results = COALESCE(excluded.results, campaign.results)
RETURNING id
"""
START_WORKER = """
INSERT INTO worker (id, campaign_id, host, boot, pid, pid_start, started_ts, beat_ts)
VALUES (:worker, :campaign, :host, :boot, :pid, :pid_start, :now, :now)
"""
BEAT = """
UPDATE worker SET beat = beat + 1, beat_ts = :now WHERE id = :worker AND state = 'live'
"""
END_WORKER = """
UPDATE worker SET state = 'ended', beat_ts = :now WHERE id = :worker AND state = 'live'
"""
LIVE_WORKERS = """
SELECT id, host, boot, pid, pid_start, beat FROM worker WHERE campaign_id = :campaign AND state = 'live'
"""
LOSE_WORKER = """
UPDATE worker SET state = 'lost' WHERE id = :worker AND state = 'live' AND beat = :beat
"""
HELD_BY = """
SELECT id, attempt, key, failures, crashes, created_ts, grab_ts FROM job
 WHERE worker_id = :worker AND status = 'in_progress'
"""
POLICY_OF = """
SELECT max_failures, max_crashes, backoff_s, backoff_max_s FROM campaign WHERE id = :campaign
"""
RETRY = """
UPDATE job SET status = 'pending', failures = 0, crashes = 0, error = NULL
 WHERE campaign_id = :campaign AND status = 'failed'
"""
RETRY_ONE = RETRY + " AND key = :key"
REQUEUE = """
UPDATE job SET status = 'pending', worker_id = NULL, failures = 0, crashes = 0
 WHERE campaign_id = :campaign AND key = :key AND status = 'done'
"""
FORGET_RESULT = """
DELETE FROM result WHERE job_id = (SELECT id FROM job WHERE campaign_id = :campaign AND key = :key)
"""
FORGET_ARTIFACTS = """
DELETE FROM artifact WHERE job_id = (SELECT id FROM job WHERE campaign_id = :campaign AND key = :key)
"""
RESET_LOG = "UPDATE campaign SET logged_id = 0, logged_bytes = 0 WHERE id = :campaign"
WRITE_LOG_CURSOR = """
UPDATE campaign SET logged_id = :logged_id, logged_bytes = :logged_bytes WHERE id = :campaign
"""
UNLOGGED = """
SELECT result.id, result.metrics, job.key, job.params, job.attempt, job.grab_ts, job.end_ts
  FROM result JOIN job ON job.id = result.job_id
 WHERE result.id > :after AND result.campaign_id = :campaign
 ORDER BY result.id LIMIT :count
"""

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = {synchronous}",
    "busy_timeout = {busy_timeout_ms}",
    "journal_size_limit = {largest_log}",
    "cache_size = -65536",
)


# SQLite's busy handler is unfair: with 5 s, eight processes met "database is locked".
_BUSY_TIMEOUT_MS = 60_000
_LARGEST_LOG = 64 << 20
_LOOK_AT_LOG_EVERY = 1000


class Store:
    """A campaign database in SQLite (a path, or a sqlite:// URL) or PostgreSQL (a postgresql:// URL).

    Safe to share between threads; open one in each process. The clocks are arguments so that tests
    need no sleep: `clock` gives Unix seconds (shown to people, and compared only with times this
    same machine wrote), `monotonic` decides how long another worker has been silent.

    Raises StoreError when the database cannot be used.
    """

    def __init__(
        self,
        database: str | Path,
        *,
        synchronous: str = "NORMAL",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ):
        self.url = _url(database)
        self.clock, self.monotonic, self.jitter = clock, monotonic, jitter
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._lock = threading.RLock()
        self._seen: dict[int, tuple[int, float]] = {}
        if self.is_sqlite:
            _refuse_network_filesystem(Path(self.url.database))
        self._engine = _engine(self.url, synchronous)
        self._writes = 0
        try:
            self._raw = self._engine.raw_connection()
            self._driver = self._raw.driver_connection
            if not self.is_sqlite:
                self._driver.autocommit = True
            self._create_tables()
        except _driver_errors() as error:
            self._engine.dispose()
            raise _cannot_use(self.url, error) from error
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the database; SQLite folds its write-ahead log into the file."""
        self._raw.close()
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- doors ---------------------------------------------------------------------------------

    @contextmanager
    def _write(self) -> Iterator[_Cursor]:
        """The one door for writing: a transaction that starts by taking the write lock."""
        with self._lock:
            cursor = _Cursor(self._driver.cursor(), self.is_sqlite)
            with self._told_in_one_line():
                cursor.run("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
                try:
                    yield cursor
                    cursor.run("COMMIT")
                except BaseException:
                    # SQLite has rolled back by itself when the disk was full.
                    if not self.is_sqlite or self._driver.in_transaction:
                        cursor.run("ROLLBACK")
                    raise
            self._bound_log()

    @contextmanager
    def _told_in_one_line(self) -> Iterator[None]:
        """What the database itself reports, as a StoreError that says what to do."""
        try:
            yield
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

    def ended_uncleanly(self) -> bool:
        """Whether a process that was at work here is gone without having signed off."""
        worker = schema.worker
        columns = [worker.c[name] for name in ("host", "boot", "pid", "pid_start")]
        query = sa.select(*columns).where(worker.c.state == sa.literal_column("'live'"))
        with self.read() as connection:
            return any(is_gone(Identity(*row)) for row in connection.execute(query))

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

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """The one door for reading: one snapshot, which blocks no writer."""
        with self._told_in_one_line(), self._engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection

    def _create_tables(self) -> None:
        with self._engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7266737)")
            if sa.inspect(connection).has_table("schema_version"):
                version = connection.execute(sa.select(schema.schema_version.c.version)).scalar()
                connection.rollback()
                if version != schema.VERSION:
                    raise StoreError(
                        f"{_shown(self.url)} was written by another version of runner (schema "
                        f"{version}, this one knows {schema.VERSION}): install that version, or "
                        "name another database with --db"
                    )
                return
            schema.metadata.create_all(connection)
            connection.execute(schema.schema_version.insert(), {"version": schema.VERSION})
            connection.commit()

    # -- campaigns and their jobs ----------------------------------------------------------------

    def add_campaign(self, name: str, policy: Policy = Policy(), place: Place = Place()) -> int:
        """The id of the campaign of that name, made if need be; its policy is brought up to date."""
        with self._write() as cursor:
            return self._add_campaign(cursor, name, policy, place)

    def _add_campaign(self, cursor: _Cursor, name: str, policy: Policy, place: Place) -> int:
        values = {
            "name": name,
            "max_failures": policy.max_failures,
            "max_crashes": policy.max_crashes,
            "backoff_s": policy.backoff_s,
            "backoff_max_s": policy.backoff_max_s,
            "now": self.clock(),
        } | vars(place)
        return cursor.run(ADD_CAMPAIGN, values).fetchall()[0][0]

    def submit(
        self,
        name: str,
        jobs: Iterable[Any],
        policy: Policy = Policy(),
        place: Place = Place(),
    ) -> tuple[int, Added]:
        """The campaign and all its jobs in one transaction: a refused job changes no row.

        Returns the campaign's id and what was new. Raises CampaignError as add does.
        """
        with self._write() as cursor:
            campaign_id = self._add_campaign(cursor, name, policy, place)
            return campaign_id, self._add(cursor, campaign_id, jobs)

    def add(self, campaign_id: int, jobs: Iterable[Any]) -> Added:
        """Add jobs (Job, dict of params, or pair of key and params); those whose key is known stay as they are.

        All in one transaction: a refused job changes no row. Raises CampaignError for params that
        are not JSON, and for a key that already stands for other params.
        """
        with self._write() as cursor:
            return self._add(cursor, campaign_id, jobs)

    def _add(self, cursor: _Cursor, campaign_id: int, jobs: Iterable[Any]) -> Added:
        new = known = 0
        now = self.clock()
        for batch in _batches(jobs, 10_000):
            rows, named = [], []
            for value in batch:
                # A dict is the usual case, and by the million: no Job is made of it.
                job = None if isinstance(value, dict) else Job.of(value)
                params = canonical_json(value if job is None else job.params)
                if job is None or job.key is None:
                    key = content_key(params)
                else:
                    key = _checked_key(job.key)
                    named.append((key, params))
                rows.append((campaign_id, key, params, 0 if job is None else job.priority, now))
            inserted = cursor.run_many(ADD_JOB, rows)
            if inserted < len(rows):
                self._refuse_changed_params(cursor, campaign_id, named)
            new += inserted
            known += len(rows) - inserted
        cursor.run(COUNT_TOTAL, {"campaign": campaign_id, "count": new})
        return Added(new=new, known=known)

    def _refuse_changed_params(
        self, cursor: _Cursor, campaign_id: int, named: list[tuple[str, str]]
    ) -> None:
        for key, params in named:
            stored = cursor.run(PARAMS_OF, {"campaign": campaign_id, "key": key}).fetchall()[0][0]
            if stored != params:
                raise CampaignError(
                    f"the key {key!r} stands for two different params: "
                    f"{stored:.100} and {params:.100}. Give one of them another key"
                )

    # -- workers -------------------------------------------------------------------------------

    def start_worker(self, campaign_id: int, identity: Identity | None = None) -> int:
        """Register this process as a worker of the campaign; returns its id.

        The id is random, never one that a lost commit could hand out again.
        """
        identity = identity or this_process()
        worker_id = secrets.randbits(62)
        values = {"worker": worker_id, "campaign": campaign_id, "now": self.clock()}
        with self._write() as cursor:
            cursor.run(START_WORKER, values | vars(identity))
        return worker_id

    def beat(self, worker_id: int) -> None:
        """Say that the worker lives. Raises LeaseLost when it was declared lost meanwhile."""
        with self._write() as cursor:
            if cursor.run(BEAT, {"worker": worker_id, "now": self.clock()}).rowcount != 1:
                raise LeaseLost(
                    f"worker {worker_id} was silent for too long and its jobs were given to others"
                )

    def end_worker(self, worker_id: int) -> int:
        """The worker stops: what it still holds goes back uncharged. Returns how many jobs that were."""
        with self._write() as cursor:
            held = cursor.run(HELD_BY, {"worker": worker_id}).fetchall()
            for job_id, attempt, _key, _failures, _crashes, _created_ts, grab_ts in held:
                self._release(cursor, job_id, worker_id, attempt, grab_ts, "the worker stopped")
            cursor.run(END_WORKER, {"worker": worker_id, "now": self.clock()})
        return len(held)

    def reap(self, campaign_id: int, lease_s: float) -> int:
        """Take back the jobs of dead workers; returns how many jobs that were.

        Dead is a worker whose process is certainly gone (same host), or whose beat stood still for
        lease_s seconds of this store's monotonic clock: call it again and again. No two machines'
        clocks are compared.
        """
        with self.read() as connection:
            workers = connection.execute(sa.text(LIVE_WORKERS), {"campaign": campaign_id}).fetchall()
        now = self.monotonic()
        taken = 0
        silent_since = {}
        for worker_id, host, boot, pid, pid_start, beat in workers:
            known = self._seen.get(worker_id)
            since = known[1] if known and known[0] == beat else now
            silent_since[worker_id] = (beat, since)
            if now - since >= lease_s or is_gone(Identity(host, boot, pid, pid_start)):
                taken += self._take_from(campaign_id, worker_id, beat)
        self._seen = silent_since
        return taken

    def _take_from(self, campaign_id: int, worker_id: int, beat: int) -> int:
        with self._write() as cursor:
            # A beat since we looked means that it lives after all.
            if cursor.run(LOSE_WORKER, {"worker": worker_id, "beat": beat}).rowcount != 1:
                return 0
            held = cursor.run(HELD_BY, {"worker": worker_id}).fetchall()
            for job_id, attempt, key, *charges_and_times in held:
                lease = Lease(job_id, campaign_id, worker_id, attempt, key, {}, *charges_and_times)
                self._reclaim(cursor, lease, "the runner process died while it held this job")
        return len(held)

    # -- moves ---------------------------------------------------------------------------------

    def claim(self, worker_id: int, campaign_id: int, count: int = 1) -> list[Lease]:
        """Take up to `count` pending jobs: highest priority first, then those that crashed least, then in order.

        An empty list means that nothing is ready now. Raises LeaseLost when this worker was
        declared lost: start a new one.
        """
        with self._lock, self._told_in_one_line():
            # One statement is one transaction.
            leases = self._claim(_Cursor(self._driver.cursor(), self.is_sqlite), worker_id, campaign_id, count)
        if not leases:
            self._refuse_lost(worker_id)
        return leases

    def _claim(self, cursor: _Cursor, worker_id: int, campaign_id: int, count: int) -> list[Lease]:
        now = self.clock()
        values = {"worker": worker_id, "campaign": campaign_id, "count": count, "now": now}
        rows = cursor.run(CLAIM, values).fetchall()
        if len(rows) > 1:
            # RETURNING promises no order.
            rows.sort(key=lambda row: (-row[0], row[6], row[1]))
        return [
            Lease(
                job_id, campaign_id, worker_id, attempt, key, _DECODE(params), failures, crashes, created_ts, now
            )
            for _priority, job_id, attempt, key, params, failures, crashes, created_ts in rows
        ]

    def _refuse_lost(self, worker_id: int) -> None:
        with self.read() as connection:
            state = connection.execute(
                sa.select(schema.worker.c.state).where(schema.worker.c.id == worker_id)
            ).scalar()
        if state != "live":
            raise LeaseLost(f"worker {worker_id} is {state or 'unknown'}: start a new worker")

    def complete(self, lease: Lease, outcome: Outcome | None = None) -> None:
        """in_progress → done, with its artifacts and metrics. Raises LeaseLost.

        Without an outcome only the move is written: nothing will be logged for the job.
        """
        self.complete_many([(lease, outcome)])

    def complete_many(
        self, settled: Sequence[tuple[Lease, Outcome | None]], *, claim: int = 0
    ) -> list[Lease]:
        """Complete several jobs of one worker, and claim its next ones, in one transaction.

        Returns the `claim` or fewer new leases. Raises LeaseLost when any lease is lost, and then
        changes nothing: complete them one by one to save the others.
        """
        if not settled:
            raise ValueError("complete_many needs at least one lease")
        now = self.clock()
        first = settled[0][0]
        campaign = {"campaign": first.campaign_id}
        with self._write() as cursor:
            if not self.is_sqlite and any(outcome is not None for _, outcome in settled):
                cursor.run(LOCK_RESULTS, campaign)
            fences = [
                {"job": lease.job_id, "worker": lease.worker_id, "attempt": lease.attempt, "now": now}
                for lease, _ in settled
            ]
            if cursor.run_many(COMPLETE, fences) != len(settled):
                whose = first if len(settled) == 1 else f"one of {len(settled)} jobs, {first} the first,"
                raise LeaseLost(f"{whose} is no longer held by this worker; nothing was recorded")
            for lease, outcome in settled:
                if outcome is not None:
                    self._write_outcome(cursor, lease, outcome)
            cursor.run(COUNT_DONE, campaign | {"count": len(settled)})
            if claim:
                return self._claim(cursor, first.worker_id, first.campaign_id, claim)
        return []

    def _write_outcome(self, cursor: _Cursor, lease: Lease, outcome: Outcome) -> None:
        metrics = json.dumps(dict(outcome.metrics), separators=(",", ":"))
        values = {"campaign": lease.campaign_id, "job": lease.job_id, "metrics": metrics}
        cursor.run(WRITE_RESULT, values)
        if outcome.has_checkpoint:
            cursor.run(FORGET_CHECKPOINT, values)
            cursor.run(FORGET_STEP_ARTIFACTS, values)
        for artifact in outcome.artifacts:
            cursor.run(WRITE_ARTIFACT, {"job": lease.job_id} | vars(artifact))

    def checkpoint(self, lease: Lease, checkpoint: Checkpoint) -> None:
        """Record how far the job has come; the lease goes on. Raises LeaseLost.

        The artifacts are those that are new since the last checkpoint.
        """
        metrics = json.dumps(dict(checkpoint.metrics), separators=(",", ":"))
        with self._write() as cursor:
            self._move(cursor, HOLD, _fence_of(lease), lease)
            values = {"job": lease.job_id, "step": checkpoint.step, "metrics": metrics}
            cursor.run(WRITE_CHECKPOINT, values)
            for artifact in checkpoint.artifacts:
                cursor.run(WRITE_ARTIFACT, values | vars(artifact))

    def release(self, lease: Lease, reason: str = "handed back") -> None:
        """in_progress → pending, charged nothing. Raises LeaseLost."""
        with self._write() as cursor:
            self._release(
                cursor, lease.job_id, lease.worker_id, lease.attempt, lease.grab_ts, reason
            )

    def _release(
        self,
        cursor: _Cursor,
        job_id: int,
        worker_id: int,
        attempt: int,
        grab_ts: float,
        reason: str,
    ) -> None:
        values = {"job": job_id, "worker": worker_id, "attempt": attempt, "now": self.clock()}
        self._move(cursor, RELEASE, values, f"job {job_id} (attempt {attempt})")
        history = {"outcome": "released", "error": reason, "traceback": None, "grab_ts": grab_ts}
        cursor.run(WRITE_ATTEMPT, values | history)

    def fail(self, lease: Lease, error: str, traceback: str | None = None) -> Status:
        """The render raised: failures + 1; pending again after a wait, or failed when the budget is spent.

        Returns the job's new status. Raises LeaseLost.
        """
        with self._write() as cursor:
            policy = self._policy(cursor, lease.campaign_id)
            spent = lease.failures + 1 >= policy["max_failures"]
            wait_s = min(policy["backoff_s"] * 2**lease.failures, policy["backoff_max_s"])
            # Jitter spreads the retries of jobs that failed together.
            not_before = None if spent else self.clock() + wait_s * (0.5 + 0.5 * self.jitter())
            return self._set_aside(cursor, lease, "failed", error, traceback, spent, not_before)

    def reclaim(self, lease: Lease, reason: str) -> Status:
        """The browser died under the job: crashes + 1; pending again, or failed when the limit is reached.

        Returns the job's new status. Raises LeaseLost.
        """
        with self._write() as cursor:
            return self._reclaim(cursor, lease, reason)

    def _reclaim(self, cursor: _Cursor, lease: Lease, reason: str) -> Status:
        spent = lease.crashes + 1 >= self._policy(cursor, lease.campaign_id)["max_crashes"]
        return self._set_aside(cursor, lease, "crashed", reason, None, spent, None)

    def _set_aside(
        self,
        cursor: _Cursor,
        lease: Lease,
        outcome: str,
        error: str,
        traceback: str | None,
        spent: bool,
        not_before: float | None,
    ) -> Status:
        status = Status.FAILED if spent else Status.PENDING
        values = _fence_of(lease) | {
            "status": status.value,
            "not_before": not_before,
            "failures": int(outcome == "failed"),
            "crashes": int(outcome == "crashed"),
            "error": error,
            "now": self.clock(),
        }
        self._move(cursor, FAIL, values, lease)
        history = {"outcome": outcome, "traceback": traceback, "grab_ts": lease.grab_ts}
        cursor.run(WRITE_ATTEMPT, values | history)
        if spent:
            cursor.run(COUNT_FAILED, {"campaign": lease.campaign_id, "count": 1})
        return status

    def _move(self, cursor: _Cursor, statement: str, values: Mapping, lease: Lease | str) -> None:
        """The one way out of in_progress: nothing changed means that the lease is lost."""
        if cursor.run(statement, values).rowcount != 1:
            raise LeaseLost(f"{lease} is no longer held by this worker; its result was discarded")

    def _policy(self, cursor: _Cursor, campaign_id: int) -> dict[str, float]:
        row = cursor.run(POLICY_OF, {"campaign": campaign_id}).fetchall()[0]
        return dict(zip(("max_failures", "max_crashes", "backoff_s", "backoff_max_s"), row)) | {
            "campaign": campaign_id
        }

    def promote(self, campaign_id: int) -> int:
        """Make waiting jobs ready whose time has come; returns how many.

        A time further away than any wait can be means that the clock was set back: it has come too.
        """
        with self._write() as cursor:
            now = self.clock()
            latest = now + self._policy(cursor, campaign_id)["backoff_max_s"] + 1.0
            values = {"campaign": campaign_id, "now": now, "latest": latest}
            return cursor.run(PROMOTE, values).rowcount

    def set_state(self, campaign_id: int, state: str) -> None:
        """open: jobs are handed out; paused, cancelled: none is, and what is in flight may end."""
        with self._write() as cursor:
            cursor.run(SET_STATE, {"campaign": campaign_id, "state": state})

    def retry(self, campaign_id: int, keys: Sequence[str] | None = None) -> int:
        """failed → pending, with fresh budgets; all failed jobs, or those named. Returns how many."""
        with self._write() as cursor:
            campaign = {"campaign": campaign_id}
            if keys is not None:
                count = sum(cursor.run(RETRY_ONE, campaign | {"key": key}).rowcount for key in keys)
            else:
                count = cursor.run(RETRY, campaign).rowcount
            cursor.run(COUNT_FAILED, campaign | {"count": -count})
        return count

    def requeue(self, campaign_id: int, keys: Sequence[str]) -> int:
        """done → pending for the jobs named: their results are forgotten, the log is to be rebuilt.

        Returns how many jobs that were.
        """
        count = 0
        with self._write() as cursor:
            for key in keys:
                values = {"campaign": campaign_id, "key": key}
                if cursor.run(REQUEUE, values).rowcount == 1:
                    cursor.run(FORGET_RESULT, values)
                    cursor.run(FORGET_ARTIFACTS, values)
                    count += 1
            if count:
                cursor.run(COUNT_DONE, {"campaign": campaign_id, "count": -count})
                cursor.run(RESET_LOG, {"campaign": campaign_id})
        return count

    # -- the log's cursor ------------------------------------------------------------------------

    def log_cursor(self, campaign_id: int) -> tuple[int, int]:
        """Up to which result the metrics log is written, and its length in bytes then."""
        columns = schema.campaign.c
        query = sa.select(columns.logged_id, columns.logged_bytes).where(columns.id == campaign_id)
        with self.read() as connection:
            return tuple(connection.execute(query).one())

    def write_log_cursor(self, campaign_id: int, logged_id: int, logged_bytes: int) -> None:
        """Record that the metrics log holds all results up to logged_id in its first logged_bytes."""
        with self._write() as cursor:
            values = {"campaign": campaign_id, "logged_id": logged_id, "logged_bytes": logged_bytes}
            cursor.run(WRITE_LOG_CURSOR, values)

    def results_after(self, campaign_id: int, after: int, count: int) -> list[dict[str, Any]]:
        """The next `count` results behind the id `after`, in the order in which jobs were done."""
        values = {"campaign": campaign_id, "after": after, "count": count}
        with self.read() as connection:
            rows = connection.execute(sa.text(UNLOGGED), values).mappings().fetchall()
        return [
            dict(row) | {"metrics": json.loads(row["metrics"]), "params": json.loads(row["params"])}
            for row in rows
        ]

    # -- reading ---------------------------------------------------------------------------------

    def campaigns(self) -> list[dict[str, Any]]:
        """All campaigns, in the order they were made."""
        with self.read() as connection:
            rows = connection.execute(sa.select(schema.campaign).order_by(schema.campaign.c.id))
            return [dict(row) for row in rows.mappings()]

    def campaign(self, campaign_id: int) -> dict[str, Any]:
        """One campaign's row."""
        with self.read() as connection:
            query = sa.select(schema.campaign).where(schema.campaign.c.id == campaign_id)
            return dict(connection.execute(query).mappings().one())

    def progress(self, campaign_id: int) -> Progress:
        """Counts of the campaign's jobs, from counters: the cost does not grow with the jobs."""
        job, worker, campaign = schema.job, schema.worker, schema.campaign
        # By way of the live workers, who hold all of them: the index of running jobs is the only way.
        running = (
            sa.select(sa.func.count())
            .select_from(worker)
            .join(job, job.c.worker_id == worker.c.id)
            .where(
                worker.c.campaign_id == campaign_id,
                worker.c.state == sa.literal_column("'live'"),
                job.c.status == sa.literal_column("'in_progress'"),
            )
            .scalar_subquery()
        )
        query = sa.select(
            campaign.c.total, campaign.c.done, campaign.c.failed, running.label("in_progress")
        ).where(campaign.c.id == campaign_id)
        with self.read() as connection:
            return Progress(**connection.execute(query).mappings().one())

    def jobs(self, campaign_id: int, status: Status | None = None) -> list[dict[str, Any]]:
        """The campaign's jobs as dicts, params decoded, in the order they were added."""
        query = sa.select(schema.job).where(schema.job.c.campaign_id == campaign_id)
        if status is not None:
            query = query.where(schema.job.c.status == sa.literal_column(f"'{status.value}'"))
        with self.read() as connection:
            rows = connection.execute(query.order_by(schema.job.c.id)).mappings().fetchall()
        return [dict(row) | {"params": json.loads(row["params"])} for row in rows]

    def job(self, campaign_id: int, key: str) -> dict[str, Any] | None:
        """One job's row by its key, params decoded; None where there is none."""
        job = schema.job
        query = sa.select(job).where(job.c.campaign_id == campaign_id, job.c.key == key)
        with self.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else dict(row) | {"params": json.loads(row["params"])}

    def unsettled_keys(self, campaign_id: int) -> list[str]:
        """Keys of the jobs that are neither done nor failed, in the order they were added."""
        job = schema.job
        query = sa.select(job.c.key).where(
            job.c.campaign_id == campaign_id, job.c.status.in_(["pending", "in_progress"])
        )
        with self.read() as connection:
            return list(connection.execute(query.order_by(job.c.id)).scalars())

    def checkpoint_of(self, lease: Lease) -> Checkpoint:
        """How far earlier attempts of the job have come."""
        checkpoint, artifact = schema.checkpoint, schema.artifact
        with self.read() as connection:
            query = sa.select(checkpoint.c.step, checkpoint.c.metrics)
            row = connection.execute(query.where(checkpoint.c.job_id == lease.job_id)).one_or_none()
            if row is None:
                return Checkpoint()
            columns = [artifact.c[name] for name in ("name", "path", "size", "sha256", "kind")]
            files = connection.execute(sa.select(*columns).where(artifact.c.job_id == lease.job_id))
            artifacts = tuple(Artifact(*file) for file in files)
        return Checkpoint(row.step, artifacts, json.loads(row.metrics))

    def attempts(self, campaign_id: int) -> list[dict[str, Any]]:
        """Attempts that ended otherwise than well, in order of their end, each with its job's key."""
        query = (
            sa.select(schema.attempt, schema.job.c.key)
            .join(schema.job, schema.job.c.id == schema.attempt.c.job_id)
            .where(schema.job.c.campaign_id == campaign_id)
            .order_by(schema.attempt.c.end_ts)
        )
        with self.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def failures(self, campaign_id: int) -> list[dict[str, Any]]:
        """Failed jobs: key, error, and the traceback of the last attempt."""
        job, attempt = schema.job, schema.attempt
        query = (
            sa.select(job.c.key, job.c.error, attempt.c.traceback)
            .outerjoin(attempt, (attempt.c.job_id == job.c.id) & (attempt.c.attempt == job.c.attempt))
            .where(job.c.campaign_id == campaign_id, job.c.status == sa.literal_column("'failed'"))
            .order_by(job.c.id)
        )
        with self.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def done_times(self, campaign_id: int) -> list[tuple[str, float, float]]:
        """(key, grab_ts, end_ts) of the done jobs."""
        job = schema.job
        query = sa.select(job.c.key, job.c.grab_ts, job.c.end_ts)
        query = query.where(job.c.campaign_id == campaign_id, job.c.status == "done")
        with self.read() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def artifacts(self, campaign_id: int, limit: int | None = None) -> list[dict[str, Any]]:
        """Files of done jobs, each with its job's key, in the order of jobs and names."""
        query = (
            sa.select(schema.artifact, schema.job.c.key)
            .join(schema.job, schema.job.c.id == schema.artifact.c.job_id)
            .where(schema.job.c.campaign_id == campaign_id, schema.job.c.status == "done")
            .order_by(schema.artifact.c.job_id, schema.artifact.c.name)
            .limit(limit)
        )
        with self.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

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
        with self.read() as connection:
            return list(connection.execute(query).scalars())

    def workers(self, campaign_id: int) -> list[dict[str, Any]]:
        """The campaign's workers, oldest first."""
        query = (
            sa.select(schema.worker)
            .where(schema.worker.c.campaign_id == campaign_id)
            .order_by(schema.worker.c.started_ts)
        )
        with self.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


_DECODE = json.JSONDecoder().decode


class _Cursor:
    """A driver's cursor that takes named statements of this module and dicts of values."""

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
                native = re.sub(r":(\w+)", r"%(\1)s", native).replace("?", "%s")
            self._compiled[statement, self._is_sqlite] = native
        return native

    def run(self, statement: str, values: Mapping[str, Any] | None = None) -> Any:
        if values is None:
            return self._cursor.execute(statement)
        return self._cursor.execute(self._native(statement), values)

    def run_many(self, statement: str, rows: Sequence[Any]) -> int:
        """Run for each row, a dict or a tuple as the statement has it; returns how many rows changed in all."""
        self._cursor.executemany(self._native(statement), rows)
        return self._cursor.rowcount


def _fence_of(lease: Lease) -> dict[str, int]:
    return {"job": lease.job_id, "worker": lease.worker_id, "attempt": lease.attempt}


def _checked_key(key: str) -> str:
    if not key or len(key) > 200 or not key.isprintable():
        raise CampaignError(
            f"a job's key must be 1 to 200 printable characters, got {key!r:.80}"
        )
    return key


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _url(database: str | Path) -> sa.URL:
    text = str(database)
    if "://" not in text:
        return sa.URL.create("sqlite", database=str(Path(text).absolute()))
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise StoreError(f"{text!r} is neither a path nor a database URL") from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return url.set(drivername="sqlite", database=str(Path(url.database).absolute()))
    raise StoreError(f"{_shown(url)}: runner keeps campaigns in SQLite files and in PostgreSQL only")


def _engine(url: sa.URL, synchronous: str) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        try:
            return sa.create_engine(url, pool_pre_ping=True)
        except ModuleNotFoundError:
            raise StoreError(
                "PostgreSQL needs the package psycopg: pip install 'runner[postgres]'"
            ) from None
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

    return engine


def _shown(url: sa.URL) -> str:
    return url.database if url.get_backend_name() == "sqlite" else url.render_as_string()


_REASONS = {
    "file is not a database": "the file is not a database; name another one with --db",
    "unable to open database file": "its folder is missing or may not be written to; "
    "name another place with --db",
    "readonly": "it may not be written to; name another place with --db",
    "database or disk is full": "the disk is full; make room and give the same command again",
    "database is locked": "another program holds it locked; end that program and give the same command again",
    "malformed": "it is damaged; restore a copy, or save what is left with 'sqlite3 OLD .recover | sqlite3 NEW'",
}


def _cannot_use(url: sa.URL, error: Exception) -> StoreError:
    reason = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    for part, told in _REASONS.items():
        if part in reason:
            reason = told
    return StoreError(f"cannot use the database {_shown(url)}: {reason}")


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
