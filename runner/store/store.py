"""A campaign database and its verbs: each public method of Store is one transaction, unless it says otherwise."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.errors import LeaseLost
from runner.job import (
    Added,
    Checkpoint,
    Finished,
    Lease,
    Outcome,
    Place,
    Policy,
    Provenance,
    ShardEnd,
    Status,
)
from runner.machine import Identity, is_gone, this_process
from runner.store import adding, moves, statements
from runner.store.database import Access, Cursor, Database
from runner.store.reader import Reader
from runner.store.spool import Spool, SpooledJob
from runner.store.text import cleaned, cleaned_values, to_json

__all__ = ["Store"]


class Store:
    """A campaign database and all moves of its jobs. reader: reads it, and changes nothing.

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
        jitter: Callable[[], float] = random.SystemRandom().random,
    ):
        self.database = Database(database, access, synchronous=synchronous)
        self.reader = Reader(self.database)
        self.clock, self.monotonic, self.jitter = clock, monotonic, jitter
        # worker id → its beat, and since when, by the monotonic clock, it has not changed.
        self._seen: dict[int, tuple[int, float]] = {}

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- campaigns and their jobs ----------------------------------------------------------------

    def add_campaign(self, name: str, policy: Policy = Policy(), place: Place = Place()) -> int:
        """The id of the campaign of that name, created if need be; its policy is updated."""
        with self.database.write() as cursor:
            return adding.add_campaign(cursor, name, policy, place, self.database.folder, self.clock())

    def submit(
        self, name: str, jobs: Iterable[Any], policy: Policy = Policy(), place: Place = Place()
    ) -> tuple[int, Added]:
        """The campaign and all its jobs in one transaction: a refused job changes no row.

        Returns the campaign's id and what was new. Raises CampaignError as add does.
        """
        with Spool() as spool:
            spool.extend(jobs)
            with self.database.write() as cursor:
                now, folder = self.clock(), self.database.folder
                campaign_id = adding.add_campaign(cursor, name, policy, place, folder, now)
                return campaign_id, adding.add(cursor, campaign_id, spool, now)

    def add(self, campaign_id: int, jobs: Iterable[Any]) -> Added:
        """Add jobs (Job, dict of params, or pair of key and params); jobs with a known key stay as they are.

        All are read first, and then added in one transaction: a refused job changes no row, and making the jobs may
        take its time. Raises CampaignError for params that are not JSON, and for a key that already stands for other
        params.
        """
        with Spool() as spool:
            spool.extend(jobs)
            with self.database.write() as cursor:
                return adding.add(cursor, campaign_id, spool, self.clock())

    def add_batch(self, campaign_id: int, jobs: Sequence[SpooledJob]) -> int:
        """Add jobs, and return how many were new. Known keys stay as they are, whatever their params."""
        with self.database.write() as cursor:
            return adding.add_batch(cursor, campaign_id, jobs, self.clock())

    def prune(self, campaign_id: int, job_ids: Sequence[int]) -> int:
        """Remove the pending ones among the jobs with these ids, in short transactions; returns how many.

        All that is known of them goes, too.
        """
        count = 0
        for batch in adding.batches(job_ids):
            with self.database.write() as cursor:
                count += adding.prune(cursor, campaign_id, batch)
        return count

    def update(self, campaign_id: int, jobs: Sequence[SpooledJob]) -> int:
        """Give known jobs these params, by their keys, and have them rendered as if they were new.

        Results of done ones are forgotten. Jobs in progress, and those that already have these params, stay as they
        are. Returns how many were changed.
        """
        with self.database.write() as cursor:
            return moves.update(cursor, campaign_id, jobs)

    # -- workers and their browser tabs ----------------------------------------------------------

    def add_folder(self, campaign_id: int, folder_id: str, place: str) -> None:
        """Record a results folder of the campaign by its id. place: HOST:PATH, where it is now."""
        with self.database.write() as cursor:
            values = {"campaign": campaign_id, "folder": folder_id, "place": cleaned(place)}
            cursor.run(statements.ADD_FOLDER, values)

    def start_worker(
        self, campaign_id: int, identity: Identity | None = None, folder_id: str | None = None
    ) -> int:
        """Register this process as a worker of the campaign; returns its id. folder_id: where it keeps files.

        The id is random, never one that a lost commit could hand out again.
        """
        with self.database.write() as cursor:
            return self._start_worker(cursor, campaign_id, identity or this_process(), folder_id)

    def _start_worker(
        self, cursor: Cursor, campaign_id: int, identity: Identity, folder_id: str | None
    ) -> int:
        worker_id = secrets.randbits(62)
        values = {"worker": worker_id, "campaign": campaign_id, "now": self.clock(), "folder": folder_id}
        cursor.run(statements.START_WORKER, values | vars(identity))
        return worker_id

    def beat(self, worker_id: int) -> None:
        """Say that the worker lives. Raises LeaseLost if it was declared lost meanwhile."""
        with self.database.write() as cursor:
            if cursor.run(statements.BEAT, {"worker": worker_id, "now": self.clock()}).rowcount != 1:
                raise LeaseLost(
                    f"worker {worker_id} was silent for too long and its jobs were given to others"
                )

    def come_back(self, worker_id: int, campaign_id: int, folder_id: str | None = None) -> int:
        """A worker that was declared lost lives after all: its jobs are uncharged, and it is given a new id."""
        with self.database.write() as cursor:
            moves.uncharge_taken(cursor, campaign_id, worker_id)
            return self._start_worker(cursor, campaign_id, this_process(), folder_id)

    def end_worker(self, worker_id: int) -> int:
        """The worker stops: jobs that it still holds go back uncharged. Returns how many."""
        with self.database.write() as cursor:
            leases = moves.held(cursor, worker_id)
            for lease in leases:
                moves.release(cursor, lease, "the worker stopped", self.clock())
            cursor.run(statements.END_WORKER, {"worker": worker_id, "now": self.clock()})
        return len(leases)

    def held(self, worker_id: int) -> list[Lease]:
        """The leases that the worker holds, without their params."""
        with self.database.write() as cursor:
            return moves.held(cursor, worker_id)

    def reap(self, campaign_id: int, lease_s: float) -> int:
        """Take back the jobs of dead workers, one transaction for each; returns how many jobs.

        A worker is dead if its process is certainly gone (same host), or its beat has not changed for lease_s seconds
        of this store's monotonic clock: call this again and again. Clocks of two machines are never compared.
        """
        workers = self.reader.live_workers(campaign_id)
        now = self.monotonic()
        taken = 0
        silent_since = {}
        for worker_id, process, beat in workers:
            known = self._seen.get(worker_id)
            since = known[1] if known and known[0] == beat else now
            silent_since[worker_id] = (beat, since)
            if now - since >= lease_s or is_gone(process):
                with self.database.write() as cursor:
                    taken += moves.take_from(cursor, worker_id, beat, self.clock())
        self._seen = silent_since
        return taken

    def observe_anew(self) -> None:
        """Start watching other workers' silence anew, because the observer itself was held up."""
        self._seen = {}

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

    def write_events(
        self, campaign_id: int, worker_id: int, events: Sequence[tuple[float, str, str]]
    ) -> None:
        """Record events of a run, not of single jobs: (Unix seconds, kind, message), see schema.sql."""
        with self.database.write() as cursor:
            who = {"campaign": campaign_id, "worker": worker_id}
            for ts, kind, message in events:
                values = who | {"ts": ts, "kind": kind, "message": cleaned(message)}
                cursor.run(statements.WRITE_EVENT, values)

    # -- a worker's moves ------------------------------------------------------------------------

    def promote(self, campaign_id: int) -> int:
        """Make waiting jobs ready whose time has come; returns how many.

        A time further away than any possible wait means that the clock was set back; such jobs are ready, too.
        """
        with self.database.write() as cursor:
            return moves.promote(cursor, campaign_id, self.clock())

    def claim(
        self,
        worker_id: int,
        campaign_id: int,
        count: int = 1,
        session_id: int | None = None,
        job: tuple[int, int] | None = None,
        near: int | None = None,
    ) -> list[Lease]:
        """Take up to `count` pending jobs: highest priority first, then those that crashed least, then in order.

        session_id: the browser tab that will work on them, if any. job: only that one, by its id, and only after so
        many attempts, so that it is not taken again after another has taken it. near: the first ones from this id on,
        of the highest priority, that never crashed. An empty list means that no job is ready now. Raises LeaseLost if
        this worker was declared lost: start a new one.
        """
        with self.database.claiming() as cursor:
            leases = moves.claim(cursor, worker_id, campaign_id, count, session_id, self.clock(), job, near)
        if not leases:
            self._refuse_lost(worker_id)
        return leases

    def _refuse_lost(self, worker_id: int) -> None:
        state = self.reader.worker_state(worker_id)
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
        shards: Sequence[ShardEnd] = (),
    ) -> list[Lease]:
        """Complete several jobs of one worker, and claim its next ones, in one transaction.

        session_id: the browser tab that will work on the next ones. shards: the valid parts, on disk, of the shards
        with the jobs' files. Returns at most `claim` new leases. Raises LeaseLost if any lease is lost, and then
        changes nothing: complete them one by one to save the others.
        """
        if not settled:
            raise ValueError("complete_many needs at least one lease")
        first, now = settled[0][0], self.clock()
        with self.database.write() as cursor:
            moves.complete(cursor, settled, now, shards)
            if claim:
                return moves.claim(cursor, first.worker_id, first.campaign_id, claim, session_id, now)
        return []

    def adopt(self, lease: Lease, finished: Finished, shards: Sequence[ShardEnd] = ()) -> bool:
        """in_progress → done by an earlier attempt that had finished on disk, as the caller has verified.

        Only if nothing but a crash kept the database from knowing: it knows the attempt's worker, whose process is
        certainly gone without signing off, and has no other end of the attempt on record, neither failed, released nor
        requeued. Returns whether the job is done now; if not, it is still held. Raises LeaseLost.
        """
        if not self.may_adopt(lease.job_id, finished):
            return False
        with self.database.write() as cursor:
            moves.adopt(cursor, lease, finished, shards)
        return True

    def may_adopt(self, job_id: int, finished: Finished) -> bool:
        """Whether nothing but a crash kept the database from knowing that end; see adopt."""
        worker = self.reader.worker(finished.worker_id)
        if worker is None or worker["state"] != "lost":
            return False
        if not is_gone(Identity(worker["host"], worker["boot"], worker["pid"], worker["pid_start"])):
            # It may still be at work, and would remove its files when it learns that it lost the job.
            return False
        return self.reader.attempt_outcome(job_id, finished.attempt) in (None, "crashed")

    def move_shard(self, campaign_id: int, shard: ShardEnd, address: str) -> bool:
        """Record that the whole shard is in an object store under that address. A power cut cannot undo that.

        Returns False if the row had changed: another process may have written more of it, or moved it.
        """
        values = {"campaign": campaign_id, "address": address} | shard._asdict()
        with self.database.write() as cursor:
            is_moved: bool = cursor.run(statements.MOVE_SHARD, values).rowcount == 1
        self.database.make_durable()
        return is_moved

    def checkpoint(self, lease: Lease, checkpoint: Checkpoint) -> None:
        """Record the job's progress; the lease goes on. Raises LeaseLost.

        The artifacts are those that are new since the last checkpoint.
        """
        with self.database.write() as cursor:
            moves.checkpoint(cursor, lease, checkpoint)

    def release(self, lease: Lease, reason: str = "handed back") -> None:
        """in_progress → pending, charged nothing. Raises LeaseLost."""
        with self.database.write() as cursor:
            moves.release(cursor, lease, reason, self.clock())

    def fail(self, lease: Lease, error: str, traceback: str | None = None) -> Status:
        """The render raised: failures + 1; pending again after a wait, or failed when the budget is spent.

        Returns the job's new status. Raises LeaseLost.
        """
        with self.database.write() as cursor:
            return moves.fail(cursor, lease, error, traceback, self.clock(), self.jitter())

    def reclaim(self, lease: Lease, reason: str, evidence: str | None = None) -> Status:
        """The browser died under the job: crashes + 1; pending again, or failed when the limit is reached.

        Returns the job's new status. Raises LeaseLost.
        """
        with self.database.write() as cursor:
            return moves.reclaim(cursor, lease, reason, evidence, self.clock())

    def uncharge(self, campaign_id: int, attempts: Sequence[tuple[int, int]]) -> int:
        """Take back the charges of attempts, given by job id and number, because they were not the jobs' fault.

        A job that had failed by them is pending again. Returns how many attempts.
        """
        with self.database.write() as cursor:
            return moves.uncharge(cursor, campaign_id, attempts)

    # -- what operators do -----------------------------------------------------------------------

    def set_state(self, campaign_id: int, state: str) -> None:
        """open: jobs are handed out; paused, cancelled: none is, and jobs in flight may end."""
        with self.database.write() as cursor:
            cursor.run(statements.SET_STATE, {"campaign": campaign_id, "state": state})

    def retry(self, campaign_id: int, keys: Sequence[str] | None = None) -> int:
        """failed → pending, with fresh budgets; all failed jobs, or those named. Returns how many."""
        with self.database.write() as cursor:
            return moves.retry(cursor, campaign_id, keys)

    def requeue(self, campaign_id: int, keys: Sequence[str], reason: str = "the result was given up") -> int:
        """done → pending for the named jobs: their results are forgotten, and the log will be rebuilt.

        Returns how many.
        """
        with self.database.write() as cursor:
            return moves.requeue(cursor, campaign_id, keys, reason)

    # -- what the log keeps ----------------------------------------------------------------------

    def write_parameters(self, campaign_id: int, parameters: Mapping[str, Any]) -> None:
        """Record the content of parameters.pkl: a dict of JSON values."""
        with self.database.write() as cursor:
            values = {"campaign": campaign_id, "parameters": to_json(parameters)}
            cursor.run(statements.WRITE_PARAMETERS, values)

    def write_log_cursor(self, campaign_id: int, folder_id: str, logged_id: int, logged_bytes: int) -> None:
        """Record that the metrics log in that folder holds all results up to logged_id in its first logged_bytes."""
        with self.database.write() as cursor:
            values = {"campaign": campaign_id, "folder": folder_id}
            cursor.run(
                statements.WRITE_LOG_CURSOR, values | {"logged_id": logged_id, "logged_bytes": logged_bytes}
            )
