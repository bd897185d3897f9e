"""The moves of jobs: one public method is one transaction.

The moves (see the state diagram in README.md) are claim, complete, release, fail, reclaim, retry and
requeue. A move out of in_progress is guarded by id, worker, attempt and status: where no row changes,
the lease is lost, LeaseLost is raised, and the whole transaction is undone.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import Any, TypeVar

from runner.errors import CampaignError, LeaseLost
from runner.job import (
    Added,
    Checkpoint,
    Finished,
    Lease,
    Outcome,
    Place,
    Policy,
    Provenance,
    Status,
    metrics_to_json,
)
from runner.machine import Identity, is_gone, this_process
from runner.store import statements
from runner.store.database import Access, Cursor, Database
from runner.store.places import kept
from runner.store.reader import Reader
from runner.store.spool import Spool, SpooledJob, two_params
from runner.store.text import (
    TRACE_BYTES,
    cleaned,
    cleaned_or_none,
    cleaned_values,
    is_text,
    to_json,
)

__all__ = ["Store"]


_Item = TypeVar("_Item")
# Jobs that are added in one transaction: it is over within some tenths of a second.
_BATCH = 10_000
_DEAD = "the runner process died while it held this job"


class Store(Reader):
    """A campaign database and all moves of its jobs.

    The clocks are arguments so that tests need no sleep: `clock` gives Unix seconds (shown to people,
    and compared only with times this same machine wrote), `monotonic` decides how long another worker
    has been silent. For the rest see Database.

    Raises StoreError when the database cannot be used.
    """

    def __init__(
        self,
        database: str | Path,
        *,
        access: Access = Access.MAKE,
        synchronous: str = "NORMAL",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ):
        super().__init__(Database(database, access, synchronous=synchronous))
        self.clock, self.monotonic, self.jitter = clock, monotonic, jitter
        # worker id → its beat, and since when, by the monotonic clock, it has stood still.
        self._seen: dict[int, tuple[int, float]] = {}

    # -- campaigns and their jobs ----------------------------------------------------------------

    def add_campaign(self, name: str, policy: Policy = Policy(), place: Place = Place()) -> int:
        """The id of the campaign of that name, made if need be; its policy is brought up to date."""
        with self.database.write() as cursor:
            return self._add_campaign(cursor, name, policy, place)

    def _add_campaign(self, cursor: Cursor, name: str, policy: Policy, place: Place) -> int:
        for text in (name, place.file, place.results):
            if text is not None and not is_text(text):
                raise CampaignError(
                    f"{cleaned(text)} has bytes that are no text, which no database holds: rename it"
                )
        values = {
            "name": name,
            "max_failures": policy.max_failures,
            "max_crashes": policy.max_crashes,
            "backoff_s": policy.backoff_s,
            "backoff_max_s": policy.backoff_max_s,
            "file": kept(place.file, self.database.folder),
            "results": kept(place.results, self.database.folder),
            "now": self.clock(),
        }
        campaign_id: int = cursor.run(statements.ADD_CAMPAIGN, values).fetchall()[0][0]
        return campaign_id

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
        with Spool() as spool:
            spool.extend(jobs)
            with self.database.write() as cursor:
                campaign_id = self._add_campaign(cursor, name, policy, place)
                return campaign_id, self._add(cursor, campaign_id, spool)

    def add(self, campaign_id: int, jobs: Iterable[Any]) -> Added:
        """Add jobs (Job, dict of params, or pair of key and params); those whose key is known stay as they are.

        They are read to the end first, and then added in one transaction: a refused job changes no row, and
        what makes the jobs may take its time. Raises CampaignError for params that are not JSON, and for a key
        that already stands for other params.
        """
        with Spool() as spool:
            spool.extend(jobs)
            with self.database.write() as cursor:
                return self._add(cursor, campaign_id, spool)

    def _add(self, cursor: Cursor, campaign_id: int, spool: Spool) -> Added:
        new = 0
        named = iter(spool.is_named)
        for batch in _batches(spool):
            inserted = self._insert(cursor, campaign_id, batch)
            of_batch = [job for job, is_named in zip(batch, named) if is_named]
            if inserted < len(batch):
                self._refuse_changed_params(cursor, campaign_id, of_batch)
            new += inserted
        cursor.run(statements.COUNT_TOTAL, {"campaign": campaign_id, "count": new})
        return Added(new=new, known=len(spool) - new)

    def _insert(self, cursor: Cursor, campaign_id: int, jobs: Sequence[SpooledJob]) -> int:
        now = self.clock()
        rows = [(campaign_id, job.key, job.params, job.priority, now) for job in jobs]
        return cursor.run_many(statements.ADD_JOB, rows)

    def _refuse_changed_params(self, cursor: Cursor, campaign_id: int, named: list[SpooledJob]) -> None:
        for job in named:
            values = {"campaign": campaign_id, "key": job.key}
            stored = cursor.run(statements.PARAMS_OF, values).fetchall()[0][0]
            if stored != job.params:
                raise two_params(job.key, stored, job.params)

    def add_spooled(self, campaign_id: int, spool: Spool, is_wanted: bytes) -> int:
        """Add those of the jobs that are wanted, a byte for each, in short transactions; returns how many were new.

        Where it is interrupted, some are there: whoever calls it again adds the others. A key that is known
        stays as it is, whatever its params.
        """
        new = 0
        for batch in _batches(compress(spool, is_wanted)):
            with self.database.write() as cursor:
                inserted = self._insert(cursor, campaign_id, batch)
                cursor.run(statements.COUNT_TOTAL, {"campaign": campaign_id, "count": inserted})
            new += inserted
        return new

    def prune(self, campaign_id: int, job_ids: Sequence[int]) -> int:
        """Take out jobs, named by their ids, that are pending, with all that is known of them; returns how many."""
        count = 0
        for batch in _batches(job_ids):
            with self.database.write() as cursor:
                taken = [
                    {"job": job_id}
                    for job_id in batch
                    if cursor.run(statements.PRUNE, {"campaign": campaign_id, "job": job_id}).rowcount
                ]
                for forget in statements.FORGET_JOB:
                    cursor.run_many(forget, taken)
                cursor.run(statements.COUNT_TOTAL, {"campaign": campaign_id, "count": -len(taken)})
            count += len(taken)
        return count

    # -- workers -------------------------------------------------------------------------------

    def start_worker(self, campaign_id: int, identity: Identity | None = None) -> int:
        """Register this process as a worker of the campaign; returns its id.

        The id is random, never one that a lost commit could hand out again.
        """
        with self.database.write() as cursor:
            return self._start_worker(cursor, campaign_id, identity or this_process())

    def _start_worker(self, cursor: Cursor, campaign_id: int, identity: Identity) -> int:
        worker_id = secrets.randbits(62)
        values = {"worker": worker_id, "campaign": campaign_id, "now": self.clock()}
        cursor.run(statements.START_WORKER, values | vars(identity))
        return worker_id

    def start_session(self, worker_id: int, campaign_id: int, provenance: Provenance) -> int:
        """Register a browser tab of the worker's; returns its id, random as a worker's is."""
        session_id = secrets.randbits(62)
        values = {"session": session_id, "worker": worker_id, "campaign": campaign_id, "now": self.clock()}
        values |= cleaned_values(vars(provenance)) | {
            "client": to_json(provenance.client),
            "settings": to_json(provenance.settings),
        }
        with self.database.write() as cursor:
            cursor.run(statements.START_SESSION, values)
        return session_id

    def beat(self, worker_id: int) -> None:
        """Say that the worker lives. Raises LeaseLost when it was declared lost meanwhile."""
        with self.database.write() as cursor:
            if cursor.run(statements.BEAT, {"worker": worker_id, "now": self.clock()}).rowcount != 1:
                raise LeaseLost(
                    f"worker {worker_id} was silent for too long and its jobs were given to others"
                )

    def end_worker(self, worker_id: int) -> int:
        """The worker stops: what it still holds goes back uncharged. Returns how many jobs that were."""
        with self.database.write() as cursor:
            held = cursor.run(statements.HELD_BY, {"worker": worker_id}).fetchall()
            for job_id, attempt, _key, _failures, _crashes, _created_ts, grab_ts in held:
                self._release(cursor, job_id, worker_id, attempt, grab_ts, "the worker stopped")
            cursor.run(statements.END_WORKER, {"worker": worker_id, "now": self.clock()})
        return len(held)

    def held(self, campaign_id: int, worker_id: int) -> list[Lease]:
        """The leases that the worker holds, without their params."""
        with self.database.write() as cursor:
            rows = cursor.run(statements.HELD_BY, {"worker": worker_id}).fetchall()
        return [
            Lease(job_id, campaign_id, worker_id, attempt, key, {}, *charges_and_times)
            for job_id, attempt, key, *charges_and_times in rows
        ]

    def reap(self, campaign_id: int, lease_s: float) -> int:
        """Take back the jobs of dead workers; returns how many jobs that were.

        Dead is a worker whose process is certainly gone (same host), or whose beat stood still for
        lease_s seconds of this store's monotonic clock: call it again and again. No two machines'
        clocks are compared.
        """
        workers = self.live_workers(campaign_id)
        now = self.monotonic()
        taken = 0
        silent_since = {}
        for worker_id, process, beat in workers:
            known = self._seen.get(worker_id)
            since = known[1] if known and known[0] == beat else now
            silent_since[worker_id] = (beat, since)
            if now - since >= lease_s or is_gone(process):
                taken += self._take_from(campaign_id, worker_id, beat)
        self._seen = silent_since
        return taken

    def observe_anew(self) -> None:
        """Begin anew to watch how long other workers are silent: the observer itself was held up."""
        self._seen = {}

    def _take_from(self, campaign_id: int, worker_id: int, beat: int) -> int:
        with self.database.write() as cursor:
            # A beat since we looked means that it lives after all.
            if cursor.run(statements.LOSE_WORKER, {"worker": worker_id, "beat": beat}).rowcount != 1:
                return 0
            held = cursor.run(statements.HELD_BY, {"worker": worker_id}).fetchall()
            for job_id, attempt, key, *charges_and_times in held:
                lease = Lease(job_id, campaign_id, worker_id, attempt, key, {}, *charges_and_times)
                self._reclaim(cursor, lease, _DEAD)
        return len(held)

    def write_events(
        self, campaign_id: int, worker_id: int, events: Sequence[tuple[float, str, str]]
    ) -> None:
        """Record what befell a run rather than a job: (Unix seconds, kind, message), see schema.sql."""
        with self.database.write() as cursor:
            who = {"campaign": campaign_id, "worker": worker_id}
            for ts, kind, message in events:
                cursor.run(
                    statements.WRITE_EVENT, who | {"ts": ts, "kind": kind, "message": cleaned(message)}
                )

    # -- moves ---------------------------------------------------------------------------------

    def claim(
        self, worker_id: int, campaign_id: int, count: int = 1, session_id: int | None = None
    ) -> list[Lease]:
        """Take up to `count` pending jobs: highest priority first, then those that crashed least, then in order.

        session_id: the browser tab that will work on them, if one will.
        An empty list means that nothing is ready now. Raises LeaseLost when this worker was
        declared lost: start a new one.
        """
        with self.database.write_one() as cursor:
            leases = self._claim(cursor, worker_id, campaign_id, count, session_id)
        if not leases:
            self._refuse_lost(worker_id)
        return leases

    def _claim(
        self, cursor: Cursor, worker_id: int, campaign_id: int, count: int, session_id: int | None
    ) -> list[Lease]:
        now = self.clock()
        values = {
            "worker": worker_id,
            "session": session_id,
            "campaign": campaign_id,
            "count": count,
            "now": now,
        }
        rows = cursor.run(statements.CLAIM, values).fetchall()
        if len(rows) > 1:
            # RETURNING promises no order.
            rows.sort(key=lambda row: (-row[0], row[6], row[1]))
        # One text for all: starting the decoder costs more than decoding a job's params.
        params = json.loads("[" + ",".join([row[4] for row in rows]) + "]")
        return [
            Lease(
                row[1],
                campaign_id,
                worker_id,
                row[2],
                row[3],
                decoded,
                row[5],
                row[6],
                row[7],
                now,
                session_id,
            )
            for row, decoded in zip(rows, params)
        ]

    def _refuse_lost(self, worker_id: int) -> None:
        state = self.worker_state(worker_id)
        if state != "live":
            raise LeaseLost(f"worker {worker_id} is {state or 'unknown'}: start a new worker")

    def complete(self, lease: Lease, outcome: Outcome | None = None) -> None:
        """in_progress → done, with its artifacts and metrics. Raises LeaseLost.

        Without an outcome only the move is written: nothing will be logged for the job.
        """
        self.complete_many([(lease, outcome)])

    def complete_many(
        self,
        settled: Sequence[tuple[Lease, Outcome | None]],
        *,
        claim: int = 0,
        session_id: int | None = None,
    ) -> list[Lease]:
        """Complete several jobs of one worker, and claim its next ones, in one transaction.

        session_id: the browser tab that will work on the next ones.
        Returns the `claim` or fewer new leases. Raises LeaseLost when any lease is lost, and then
        changes nothing: complete them one by one to save the others.
        """
        if not settled:
            raise ValueError("complete_many needs at least one lease")
        now = self.clock()
        first = settled[0][0]
        campaign = {"campaign": first.campaign_id}
        with self.database.write() as cursor:
            if not self.database.is_sqlite and any(outcome is not None for _, outcome in settled):
                cursor.run(statements.LOCK_RESULTS, campaign)
            fences = [(now, lease.job_id, lease.worker_id, lease.attempt) for lease, _ in settled]
            if cursor.run_many(statements.COMPLETE, fences) != len(settled):
                whose = first if len(settled) == 1 else f"one of {len(settled)} jobs, {first} the first,"
                raise LeaseLost(f"{whose} is no longer held by this worker; nothing was recorded")
            for lease, outcome in settled:
                if outcome is not None:
                    self._write_outcome(cursor, lease, outcome)
            cursor.run(statements.COUNT_DONE, campaign | {"count": len(settled)})
            if claim:
                return self._claim(cursor, first.worker_id, first.campaign_id, claim, session_id)
        return []

    def _write_outcome(self, cursor: Cursor, lease: Lease, outcome: Outcome) -> None:
        metrics, marks = metrics_to_json(outcome.metrics)
        values = {"campaign": lease.campaign_id, "job": lease.job_id, "metrics": metrics, "marks": marks}
        cursor.run(statements.WRITE_RESULT, values | {"suspicion": cleaned(outcome.suspicion) or None})
        if outcome.has_checkpoint:
            cursor.run(statements.FORGET_CHECKPOINT, values)
            cursor.run(statements.FORGET_STEP_ARTIFACTS, values)
        for artifact in outcome.artifacts:
            cursor.run(statements.WRITE_ARTIFACT, {"job": lease.job_id} | vars(artifact))

    def adopt(self, lease: Lease, finished: Finished) -> bool:
        """in_progress → done by an earlier attempt that had finished on disk, as the caller has verified.

        Only where the database would have known, had it not been for a crash: this database knows the
        attempt's worker, whose process is certainly gone without having signed off, and does not know
        the attempt as one that ended: not as failed, released or requeued. Returns whether the job is
        done now; else it is still held. Raises LeaseLost.
        """
        if not self._is_unknown_end(lease.job_id, finished):
            return False
        times = {"grab_ts": finished.grab_ts, "end_ts": finished.end_ts, "session": finished.session_id}
        with self.database.write() as cursor:
            if not self.database.is_sqlite:
                cursor.run(statements.LOCK_RESULTS, {"campaign": lease.campaign_id})
            self._move(cursor, statements.ADOPT, _fence_of(lease) | times, lease)
            self._write_outcome(cursor, lease, finished.outcome)
            cursor.run(statements.COUNT_DONE, {"campaign": lease.campaign_id, "count": 1})
        return True

    def _is_unknown_end(self, job_id: int, finished: Finished) -> bool:
        worker = self.worker(finished.worker_id)
        if worker is None or worker["state"] != "lost":
            return False
        if not is_gone(Identity(worker["host"], worker["boot"], worker["pid"], worker["pid_start"])):
            # It may still be at work, and would remove its files once it learns that it lost the job.
            return False
        return self.attempt_outcome(job_id, finished.attempt) in (None, "crashed")

    def checkpoint(self, lease: Lease, checkpoint: Checkpoint) -> None:
        """Record how far the job has come; the lease goes on. Raises LeaseLost.

        The artifacts are those that are new since the last checkpoint.
        """
        metrics, marks = metrics_to_json(checkpoint.metrics)
        with self.database.write() as cursor:
            self._move(cursor, statements.HOLD, _fence_of(lease), lease)
            values = {"job": lease.job_id, "step": checkpoint.step, "metrics": metrics, "marks": marks}
            cursor.run(statements.WRITE_CHECKPOINT, values | {"scene": checkpoint.scene})
            for artifact in checkpoint.artifacts:
                cursor.run(statements.WRITE_ARTIFACT, values | vars(artifact))

    def release(self, lease: Lease, reason: str = "handed back") -> None:
        """in_progress → pending, charged nothing. Raises LeaseLost."""
        with self.database.write() as cursor:
            self._release(cursor, lease.job_id, lease.worker_id, lease.attempt, lease.grab_ts, reason)

    def _release(
        self,
        cursor: Cursor,
        job_id: int,
        worker_id: int,
        attempt: int,
        grab_ts: float,
        reason: str,
    ) -> None:
        values = {"job": job_id, "worker": worker_id, "attempt": attempt, "now": self.clock()}
        self._move(cursor, statements.RELEASE, values, f"job {job_id} (attempt {attempt})")
        history = {"outcome": "released", "error": cleaned(reason), "traceback": None, "grab_ts": grab_ts}
        cursor.run(statements.WRITE_ATTEMPT, values | history)

    def fail(self, lease: Lease, error: str, traceback: str | None = None) -> Status:
        """The render raised: failures + 1; pending again after a wait, or failed when the budget is spent.

        Returns the job's new status. Raises LeaseLost.
        """
        with self.database.write() as cursor:
            policy = self._policy(cursor, lease.campaign_id)
            spent = lease.failures + 1 >= policy["max_failures"]
            # Beyond 2**64 a power would only overflow.
            wait_s = min(policy["backoff_s"] * 2.0 ** min(lease.failures, 64), policy["backoff_max_s"])
            # Jitter spreads the retries of jobs that failed together.
            not_before = None if spent else self.clock() + wait_s * (0.5 + 0.5 * self.jitter())
            return self._set_aside(cursor, lease, "failed", error, traceback, spent, not_before)

    def reclaim(self, lease: Lease, reason: str, evidence: str | None = None) -> Status:
        """The browser died under the job: crashes + 1; pending again, or failed when the limit is reached.

        Returns the job's new status. Raises LeaseLost.
        """
        with self.database.write() as cursor:
            return self._reclaim(cursor, lease, reason, evidence)

    def _reclaim(self, cursor: Cursor, lease: Lease, reason: str, evidence: str | None = None) -> Status:
        spent = lease.crashes + 1 >= self._policy(cursor, lease.campaign_id)["max_crashes"]
        return self._set_aside(cursor, lease, "crashed", reason, evidence, spent, None)

    def _set_aside(
        self,
        cursor: Cursor,
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
            "error": cleaned(error),
            "now": self.clock(),
        }
        self._move(cursor, statements.FAIL, values, lease)
        evidence = cleaned_or_none(traceback, TRACE_BYTES)
        history = {"outcome": outcome, "traceback": evidence, "grab_ts": lease.grab_ts}
        cursor.run(statements.WRITE_ATTEMPT, values | history)
        if spent:
            cursor.run(statements.COUNT_FAILED, {"campaign": lease.campaign_id, "count": 1})
        return status

    def _move(self, cursor: Cursor, statement: str, values: Mapping[str, Any], lease: Lease | str) -> None:
        """The one way out of in_progress: nothing changed means that the lease is lost."""
        if cursor.run(statement, values).rowcount != 1:
            raise LeaseLost(f"{lease} is no longer held by this worker; its result was discarded")

    def _policy(self, cursor: Cursor, campaign_id: int) -> dict[str, float]:
        row = cursor.run(statements.POLICY_OF, {"campaign": campaign_id}).fetchall()[0]
        return dict(zip(("max_failures", "max_crashes", "backoff_s", "backoff_max_s"), row)) | {
            "campaign": campaign_id
        }

    def uncharge(self, campaign_id: int, attempts: Sequence[tuple[int, int]]) -> int:
        """Take back what attempts, named by job id and number, were charged with: it was not the jobs' doing.

        A job that they had made failed is pending again. Returns how many attempts that were.
        """
        with self.database.write() as cursor:
            return self._uncharge(cursor, campaign_id, attempts)

    def _uncharge(self, cursor: Cursor, campaign_id: int, attempts: Sequence[tuple[int, int]]) -> int:
        count = 0
        for job_id, attempt in attempts:
            values: dict[str, Any] = {"job": job_id, "attempt": attempt}
            found = cursor.run(statements.OUTCOME_OF, values).fetchall()
            if not found:
                continue
            outcome, status = found[0]
            values |= {"failures": int(outcome == "failed"), "crashes": int(outcome == "crashed")}
            changed = cursor.run(statements.UNCHARGE_JOB, values).rowcount
            cursor.run(statements.UNCHARGE_ATTEMPT, values)
            if changed and status == "failed":
                cursor.run(statements.COUNT_FAILED, {"campaign": campaign_id, "count": -1})
            count += 1
        return count

    def come_back(self, worker_id: int, campaign_id: int) -> int:
        """A worker that was declared lost lives after all: its jobs are uncharged, and it is given a new id."""
        with self.database.write() as cursor:
            taken = cursor.run(statements.TAKEN_FROM, {"worker": worker_id, "error": _DEAD}).fetchall()
            self._uncharge(cursor, campaign_id, taken)
            return self._start_worker(cursor, campaign_id, this_process())

    def promote(self, campaign_id: int) -> int:
        """Make waiting jobs ready whose time has come; returns how many.

        A time further away than any wait can be means that the clock was set back: it has come too.
        """
        with self.database.write() as cursor:
            now = self.clock()
            latest = now + self._policy(cursor, campaign_id)["backoff_max_s"] + 1.0
            values = {"campaign": campaign_id, "now": now, "latest": latest}
            count: int = cursor.run(statements.PROMOTE, values).rowcount
        return count

    def set_state(self, campaign_id: int, state: str) -> None:
        """open: jobs are handed out; paused, cancelled: none is, and what is in flight may end."""
        with self.database.write() as cursor:
            cursor.run(statements.SET_STATE, {"campaign": campaign_id, "state": state})

    def retry(self, campaign_id: int, keys: Sequence[str] | None = None) -> int:
        """failed → pending, with fresh budgets; all failed jobs, or those named. Returns how many."""
        with self.database.write() as cursor:
            campaign = {"campaign": campaign_id}
            if keys is not None:
                moved = [cursor.run(statements.RETRY_ONE, campaign | {"key": key}).rowcount for key in keys]
            else:
                moved = [cursor.run(statements.RETRY, campaign).rowcount]
            count: int = sum(moved)
            cursor.run(statements.COUNT_FAILED, campaign | {"count": -count})
        return count

    def requeue(self, campaign_id: int, keys: Sequence[str], reason: str = "the result was given up") -> int:
        """done → pending for the jobs named: their results are forgotten, the log is to be rebuilt.

        Returns how many jobs that were.
        """
        count = 0
        with self.database.write() as cursor:
            for key in keys:
                values = {"campaign": campaign_id, "key": key, "reason": cleaned(reason)}
                cursor.run(statements.WRITE_REQUEUED, values)
                if cursor.run(statements.REQUEUE, values).rowcount == 1:
                    cursor.run(statements.FORGET_RESULT, values)
                    cursor.run(statements.FORGET_ARTIFACTS, values)
                    count += 1
            if count:
                cursor.run(statements.COUNT_DONE, {"campaign": campaign_id, "count": -count})
                cursor.run(statements.RESET_LOG, {"campaign": campaign_id})
        return count

    def write_parameters(self, campaign_id: int, parameters: Mapping[str, Any]) -> None:
        """Record what parameters.pkl tells: a dict of JSON values."""
        with self.database.write() as cursor:
            values = {"campaign": campaign_id, "parameters": to_json(parameters)}
            cursor.run(statements.WRITE_PARAMETERS, values)

    def write_log_cursor(self, campaign_id: int, logged_id: int, logged_bytes: int) -> None:
        """Record that the metrics log holds all results up to logged_id in its first logged_bytes."""
        with self.database.write() as cursor:
            values = {"campaign": campaign_id, "logged_id": logged_id, "logged_bytes": logged_bytes}
            cursor.run(statements.WRITE_LOG_CURSOR, values)


def _fence_of(lease: Lease) -> dict[str, int]:
    return {"job": lease.job_id, "worker": lease.worker_id, "attempt": lease.attempt}


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
