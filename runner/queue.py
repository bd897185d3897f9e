"""JobQueue: the class of Vuer's render tutorial, persistent; safe between threads, processes and restarts."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.errors import LeaseLost, RunnerError, WorldFault
from runner.job import Job, Lease, Policy, Status, canonical_json, content_key
from runner.reasons import error_line
from runner.store import Store, Worker

__all__ = ["JobQueue"]

_NONE_THERE = (None, None, None)
# Seconds between two checks whether a beat is due.
_LOOK_S = 0.5
# Seconds between two checks whether jobs that wait for a retry are ready, while other jobs are.
_PROMOTE_S = 0.5


class JobQueue(Mapping[str, dict[str, Any]]):
    """Jobs in a SQLite file (or PostgreSQL). Each is held by one taker at a time, and done once.

        queue = JobQueue("jobs.db", ttl=60)
        queue.append({"azimuth_deg": 30})
        job, mark_done, put_back = queue.take()

    database: a path or a URL. ttl: seconds after which house_keeping puts a job back that this process took and did not
    settle; also how long another process may be silent before its jobs are put back (a process that died on this
    machine is noticed at once). name: of the queue; one database can hold several. max_failures, max_crashes: when a
    job that fails is set aside.

    As a mapping it holds the unsettled jobs by key, like the tutorial's class, which deletes settled ones: len,
    iteration and `key in queue` see these alone. `queue[key]` also tells how a settled job ended. A job is a dict with
    status (None while it waits, as in the tutorial; "in_progress", "done", "failed"), created_ts, grab_ts (Unix
    seconds) and job_params. Adding the same params twice adds one job, so a script that fills its queue at each start
    goes on where it was.

    Raises StoreError when the database cannot be used.
    """

    def __init__(
        self,
        database: str | Path = "jobs.db",
        ttl: float = 5.0,
        *,
        name: str = "queue",
        max_failures: int = 3,
        max_crashes: int = 3,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self._database, self._ttl_s, self._name, self._monotonic = str(database), ttl, name, monotonic
        self._policy = Policy(max_failures=max_failures, max_crashes=max_crashes)
        self._mutex = threading.RLock()
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._store = Store(self._database)
        self._campaign_id = self._store.add_campaign(self._name, self._policy)
        self._worker = Worker(self._store, self._campaign_id, self._lease_s)
        self._leases: dict[str, tuple[Lease, float]] = {}
        self._promoted = float("-inf")
        self._stop = threading.Event()
        self._worker.take_back()
        atexit.register(_close, weakref.ref(self))
        threading.Thread(target=_keep_beating, args=(weakref.ref(self), self._stop), daemon=True).start()

    @property
    def _lease_s(self) -> float:
        # On a busy machine beats may come late: a shorter silence does not count as death.
        return max(self._ttl_s, 5.0)

    @property
    def store(self) -> Store:
        """The underlying store, for all that the queue itself does not offer; its reader reads it."""
        with self._mutex:
            if os.getpid() != self._pid:
                # A forked child must not touch, nor close, its parent's connection.
                _inherited.append(self._store)
                self._mutex = threading.RLock()
                self._open()
            return self._store

    def close(self) -> None:
        """Hand back all held jobs, and close the database."""
        with self._mutex:
            if not self._stop.is_set() and os.getpid() == self._pid:
                self._stop.set()
                # If the database is away, close it all the same, and do not hide why the caller ends.
                with self._store, contextlib.suppress(WorldFault):
                    self._worker.end()

    def __enter__(self) -> JobQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the tutorial's methods ------------------------------------------------------------------

    def append(self, job_params: Mapping[str, Any]) -> None:
        """Add one job. Raises CampaignError when the params are not JSON."""
        self.extend([job_params])

    def add(self, value: Mapping[str, Any], *, key: str | None = None) -> str:
        """Add one job, and return its key: the given one, or the one made from its params.

        As in zaku, value is the params. Adding the same params twice adds one job, too. Raises CampaignError when
        the params are not JSON, or the key stands for other params.
        """
        found = content_key(canonical_json(value)) if key is None else key
        self.extend([Job(value, key=key)])
        return found

    def extend(self, jobs: Iterable[Any]) -> int:
        """Add many jobs in one transaction: dicts of params, pairs (key, params), or Job. Returns how many were new."""
        return self.store.add(self._campaign_id, jobs).new

    def take(self, count: int | None = None) -> Any:
        """The next job as (job, mark_done, put_back), or (None, None, None) where none is ready.

        With a count, a list of up to so many such triples. mark_done raises LeaseLost when the job
        was put back meanwhile; put_back then does nothing, because it is back already.
        """
        triples = [
            (_as_dict(lease), _Settle(self._settle_done, lease), _Settle(self._settle_back, lease))
            for lease in self._claim(1 if count is None else count)
        ]
        if count is not None:
            return triples
        return triples[0] if triples else _NONE_THERE

    def mark_done(self, key: str) -> None:
        """Mark a job that this process took as done. Raises LeaseLost when it does not hold it."""
        self._settle_done(self._held(key))

    def mark_reset(self, key: str) -> None:
        """Make the job wait again, whether it is held by this process, failed or done.

        Raises KeyError for an unknown key, LeaseLost when another process holds the job.
        """
        if key in self._leases:
            self._settle_back(self._held(key))
            return
        status = self[key]["status"]
        if status == Status.FAILED.value:
            self.store.retry(self._campaign_id, [key])
        elif status == Status.DONE.value:
            self.store.requeue(self._campaign_id, [key])
        elif status == Status.IN_PROGRESS.value:
            raise LeaseLost(f"job {key} is held by another process, and only that process can put it back")

    def house_keeping(self) -> None:
        """Put back jobs that took longer than ttl, and those of dead processes."""
        self.unstale_tasks(self._ttl_s)

    def unstale_tasks(self, ttl: float = 300.0) -> None:
        """As in zaku: put back jobs that this process took more than ttl seconds ago, and those of dead processes."""
        store = self.store
        with self._mutex:
            late = self._monotonic() - ttl
            for lease in [lease for lease, taken in self._leases.values() if taken < late]:
                self._settle_back(lease)
        store.promote(self._campaign_id)
        self._worker.take_back()

    # -- as a context ----------------------------------------------------------------------------

    def claim(self) -> _Claim:
        """`with queue.claim() as job:` (or `async with`): done at its end, failed with its traceback when it raises.

        job is None where none is ready. The exception goes on after it was recorded.
        """
        return _Claim(self)

    @contextlib.contextmanager
    def pop(self) -> Iterator[dict[str, Any] | None]:
        """As in zaku: `with queue.pop() as params:`, like claim, but with the job's params only."""
        with self.claim() as job:
            yield None if job is None else job["job_params"]

    # -- the mapping -----------------------------------------------------------------------------

    def __getitem__(self, key: str) -> dict[str, Any]:
        row = self.store.reader.job(self._campaign_id, key)
        if row is None:
            raise KeyError(key)
        return {
            "status": None if row["status"] == Status.PENDING.value else row["status"],
            "created_ts": row["created_ts"],
            "grab_ts": row["grab_ts"],
            "job_params": row["params"],
        }

    def __contains__(self, key: object) -> bool:
        row = self.store.reader.job(self._campaign_id, key) if isinstance(key, str) else None
        return row is not None and row["status"] in (Status.PENDING.value, Status.IN_PROGRESS.value)

    def __iter__(self) -> Iterator[str]:
        return iter(self.store.reader.unsettled_keys(self._campaign_id))

    def __len__(self) -> int:
        return self.store.reader.progress(self._campaign_id).left

    # -- inside ----------------------------------------------------------------------------------

    def _claim(self, count: int) -> list[Lease]:
        store = self.store
        with self._mutex:
            now = self._monotonic()
            is_due = now >= self._promoted + _PROMOTE_S
            if is_due:
                self._promote(store)
            leases = self._worker.claim(count)
            # The jobs that are ready by now may be all that there are.
            if len(leases) < count and not is_due and self._promote(store):
                leases += self._worker.claim(count - len(leases))
            for lease in leases:
                self._leases[lease.key] = lease, now
            return leases

    def _promote(self, store: Store) -> int:
        self._promoted = self._monotonic()
        return store.promote(self._campaign_id)

    def _held(self, key: str) -> Lease:
        if key not in self._leases:
            raise LeaseLost(f"job {key} is not held by this process: take it first")
        return self._leases[key][0]

    def _settle_done(self, lease: Lease) -> None:
        self._forget(lease)
        # Without an outcome nothing is logged for it.
        self.store.complete(lease)

    def _settle_back(self, lease: Lease) -> None:
        self._forget(lease)
        try:
            self.store.release(lease)
        except LeaseLost:
            pass

    def _settle_failed(self, lease: Lease, error: BaseException) -> None:
        self._forget(lease)
        text = "".join(traceback.format_exception(error))
        self.store.fail(lease, error_line(error), text)

    def _forget(self, lease: Lease) -> None:
        with self._mutex:
            if lease.key in self._leases and self._leases[lease.key][0] is lease:
                del self._leases[lease.key]


_inherited: list[Store] = []


class _Settle:
    """The callback of one taken job; names its job where it is shown."""

    __slots__ = ("_lease", "_settle")

    def __init__(self, settle: Callable[[Lease], None], lease: Lease):
        self._settle, self._lease = settle, lease

    def __call__(self) -> None:
        self._settle(self._lease)

    def __repr__(self) -> str:
        return f"<{self._settle.__name__.strip('_')} of {self._lease}>"


class _Claim:
    """One job, for as long as its with block runs."""

    def __init__(self, queue: JobQueue):
        self._queue = queue
        self._lease: Lease | None = None

    def __enter__(self) -> dict[str, Any] | None:
        leases = self._queue._claim(1)
        self._lease = leases[0] if leases else None
        return _as_dict(self._lease) if self._lease else None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._lease is None:
            return
        if error is None:
            self._queue._settle_done(self._lease)
        elif isinstance(error, Exception):
            self._queue._settle_failed(self._lease, error)
        else:
            # Ctrl-C and cancellation are not the job's fault.
            self._queue._settle_back(self._lease)

    async def __aenter__(self) -> dict[str, Any] | None:
        claiming = asyncio.ensure_future(asyncio.to_thread(self.__enter__))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError as error:
            # The thread goes on: hand back what it claims, because no block will run that could do so.
            await claiming
            await self.__aexit__(type(error), error, None)
            raise

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Shielded: a cancelled task still hands its job back.
        await asyncio.shield(asyncio.to_thread(self.__exit__, kind, error, trace))


def _as_dict(lease: Lease) -> dict[str, Any]:
    return {
        "key": lease.key,
        "status": Status.IN_PROGRESS.value,
        "created_ts": lease.created_ts,
        "grab_ts": lease.grab_ts,
        "job_params": lease.params,
        "attempt": lease.attempt,
    }


def _keep_beating(queue: weakref.ref[JobQueue], stop: threading.Event) -> None:
    while not stop.wait(_LOOK_S):
        alive = queue()
        if alive is None or stop.is_set():
            return
        try:
            if alive._worker.is_due:
                alive._worker.beat()
        except RunnerError:
            # The database may be away for a while; the next take() raises that.
            pass
        del alive


def _close(queue: weakref.ref[JobQueue]) -> None:
    alive = queue()
    if alive is not None:
        alive.close()
