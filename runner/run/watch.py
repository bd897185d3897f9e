"""One worker process as its supervisor sees it: its messages, whether its loop turns, its memory, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runner.errors import WorldFault
from runner.job import Policy
from runner.machine import Guard
from runner.run.blame import Fault, FaultKind
from runner.run.board import Board, Running
from runner.run.ending import Ending
from runner.run.process import WorkerProcess
from runner.store import Worker

__all__ = ["Settled", "WorkerLife", "standstill_limit_s", "watch"]

_TICK_S = 0.1
_WEIGH_EVERY = 3
# How long a worker's loop may stand still: while jobs run, while the campaign is loaded, while it should stop.
_STILL_S, _LEAST_STILL_S, _LOADING_S, _STILL_WHEN_STOPPING_S = 30.0, 2.0, 300.0, 2.0
# How long a worker may take to end after it was told to stop, or has said that it is over.
_STOP_S, _EXIT_S, _LAST_WORDS_S = 15.0, 5.0, 1.0
# A worker that has done jobs may be harmed when so many others in a row have failed for the first time. Its browsers
# have been replaced meanwhile, and the run halts after some more.
_HARMED_AFTER, _FAILED_KEPT = 6, 200


def standstill_limit_s(policy: Policy) -> float:
    """How long one job's code may hold up all others: the campaign's own limits, or half a minute."""
    given = [limit_s for limit_s in (policy.timeout_s, policy.stall_s) if limit_s is not None]
    return max(min([_STILL_S, *given]), _LEAST_STILL_S)


class Settled(NamedTuple):
    """An attempt that has ended. grab_ts: when it was claimed. is_first: its job was not charged before."""

    grab_ts: float
    job_id: int
    attempt: int
    is_first: bool


@dataclass
class WorkerLife:
    """One worker process from its start to its end: what it has reported, and what it was told.

    fault_told, has_all_told, worker_id_told, draining_told, doors_told, elsewhere_told: what it was last told: the
    fault of the world, whether all jobs are in the database, its worker id, why no more jobs are begun, how many tabs
    the run's workers have, by their ports, and the others' tabs. shown: its own tabs, by its live page's address,
    unless it is the first worker. port: of its server, 0 while it has none. sessions: how many tabs it has; trouble:
    why they cannot work, ''. steps: for each running job with steps, its key, the steps finished, and all. alone: the
    job that is rendered alone now, 0 for none. is_silent: it sends no more messages. grown: how much its memory has
    grown while each job was running. open_files: how many files and sockets it holds open. done_ts: when the last of
    its done jobs was claimed; 0: none was. failed: its last failed attempts. is_harmed: one of its jobs may have left
    it so that others fail.
    """

    process: WorkerProcess
    worker: Worker
    worker_id_told: int
    memory_bytes: int
    has_all_told: bool
    fault_told: WorldFault | None = None
    draining_told: str = ""
    doors_told: dict[int, int] = field(default_factory=dict)
    elsewhere_told: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    shown: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    port: int = 0
    sessions: int = 0
    trouble: str = ""
    steps: list[tuple[str, int, int]] = field(default_factory=list)
    is_over: bool = False
    alone: int = 0
    is_silent: asyncio.Event = field(default_factory=asyncio.Event)
    grown: Counter[Running] = field(default_factory=Counter)
    open_files: int = 0
    done_ts: float = 0.0
    failed: deque[Settled] = field(default_factory=lambda: deque(maxlen=_FAILED_KEPT))
    is_harmed: bool = False

    def settled(self, attempt: Settled, error: str, harmers: Collection[int]) -> None:
        """Note how an attempt has ended. harmers: jobs after which others failed, in processes that were replaced."""
        if not error:
            self.done_ts = max(self.done_ts, attempt.grab_ts)
            return
        self.failed.append(attempt)
        failing = self.failing()
        jobs = {one.job_id for one in failing}
        in_a_row = len({one.job_id for one in failing if one.is_first})
        has_harmer = len(jobs) > 1 and not jobs.isdisjoint(harmers)
        self.is_harmed |= has_harmer or (self.done_ts > 0 and in_a_row >= _HARMED_AFTER)

    def failing(self) -> list[Settled]:
        """The failed attempts that were claimed after all of done jobs, in that order."""
        return sorted(one for one in self.failed if one.grab_ts > self.done_ts)

    async def last_words(self) -> None:
        """Take its last messages; a process that it has forked may keep its end of the channel open."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.is_silent.wait(), _LAST_WORDS_S)

    def send(self, kind: str, /, **values: Any) -> None:
        self.process.channel.send(kind, **values)

    def weigh(self) -> None:
        """Measure its memory, note whose code ran while it grew, and count its open files."""
        self.open_files = self.process.open_files()
        self.memory_bytes, before = self.process.memory_bytes(), self.memory_bytes
        for one in self.process.board.running():
            self.grown[one] += max(0, self.memory_bytes - before)

    def tell(self, fault: WorldFault | None, has_all: bool, draining: str) -> None:
        """Send changes: the world's fault, whether all jobs are there, its worker id, whether it drains."""
        if draining != self.draining_told:
            self.draining_told = draining
            self.send("drain", reason=draining)
        if has_all and not self.has_all_told:
            self.has_all_told = True
            self.send("all there")
        if fault is not self.fault_told:
            self.fault_told = fault
            if fault is None:
                self.send("well")
            else:
                self.send("fault", message=str(fault))
        if self.worker.id != self.worker_id_told:
            # It was taken for dead, because all processes here were held up for longer than the lease, and came back.
            self.worker_id_told = self.worker.id
            self.send("worker", id=self.worker.id)

    def tell_doors(self, doors: dict[int, int]) -> None:
        """Send changes: how many tabs the run's workers have, by the ports of their servers."""
        if doors != self.doors_told:
            self.doors_told = doors
            self.send("doors", doors=doors)

    def tell_elsewhere(self, tabs: dict[str, list[dict[str, Any]]]) -> None:
        """Tell it changes of the others' tabs, which the live page shows."""
        if tabs != self.elsewhere_told:
            self.elsewhere_told = tabs
            self.send("elsewhere", tabs=tabs)

    def seen(self, kind: FaultKind, limit_s: float, status: int = 0) -> Fault:
        """What happened to it, with the present evidence; takes a while."""
        running = self.process.board.running()
        grower = max(self.grown, key=lambda one: self.grown[one], default=None)
        if grower is not None and 2 * self.grown[grower] < self.memory_bytes:
            grower = None  # all of them together, or the memory that they keep
        return Fault(
            kind,
            running,
            self.process.stacks(),
            limit_s,
            kind is FaultKind.BLOCKED and self.process.is_starved(),
            status,
            self.memory_bytes,
            grower,
            self.open_files,
        )


class _Stillness:
    """For how long a worker's event loop has stood still."""

    def __init__(self, board: Board):
        self._board, self._beats = board, -1
        self._looked, self._still_s = time.monotonic(), 0.0

    def look(self, now: float) -> float:
        """In seconds. Time in which this process was held up does not count."""
        looked, beats = self._looked, self._beats
        self._looked, self._beats = now, self._board.beats
        self._still_s = self._still_s + min(now - looked, 2 * _TICK_S) if self._beats == beats else 0.0
        return self._still_s


async def watch(
    life: WorkerLife,
    world: Guard,
    ending: Ending,
    has_all: Callable[[], bool],
    still_limit_s: float,
    memory_bytes: int,
) -> Fault | None:
    """Wait for its end; None when it ended in order, else what happened to it. It may still live then.

    world: its fault is told to the worker. has_all: whether all jobs are in the database. still_limit_s: how long its
    loop may stand still; memory_bytes: how much it may hold. It may have three quarters of the
    files open that a process can.
    """
    process, stopping = life.process, ending.stopping
    stillness = _Stillness(process.board)
    told_at, over_at, ticks = 0.0, 0.0, 0
    while True:
        await asyncio.sleep(_TICK_S)
        now = time.monotonic()
        still_s, ticks = stillness.look(now), ticks + 1
        status = process.poll()
        if status is not None:
            await life.last_words()
            return None if life.is_over else life.seen(FaultKind.DIED, still_limit_s, status)
        life.tell(world.fault, has_all(), ending.draining)
        if life.is_over:
            over_at = over_at or now
            if now - over_at > _EXIT_S:
                return None
            continue
        if stopping.done():
            if not told_at:
                told_at = now
                life.send("stop", reason=stopping.result().reason)
            if still_s > _STILL_WHEN_STOPPING_S or now - told_at > _STOP_S:
                return Fault(FaultKind.STOPPED)
            continue
        is_blocked = still_s > (still_limit_s if life.port else _LOADING_S)
        if is_blocked or ticks % _WEIGH_EVERY == 0:
            life.weigh()
            # A job that fills the memory may block the loop by that.
            if life.memory_bytes > memory_bytes:
                return await asyncio.to_thread(life.seen, FaultKind.GREW, still_limit_s)
            # Before it has none left for the next picture. The worker has inherited this process's limit.
            if life.open_files > 0.75 * resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
                return await asyncio.to_thread(life.seen, FaultKind.LEAKED, still_limit_s)
        if is_blocked:
            return await asyncio.to_thread(life.seen, FaultKind.BLOCKED, still_limit_s)
        if life.is_harmed:
            return Fault(FaultKind.HARMED)
