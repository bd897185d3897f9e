"""The supervisor: has a worker process render, watches it, and sees that one job's code cannot stop the others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner import errors
from runner.errors import LeaseLost, RunnerError, WorldFault
from runner.job import Lease, Policy
from runner.machine import Guard
from runner.run.blame import Fault, FaultKind, culprit, reason
from runner.run.board import Board, Running
from runner.run.breaker import Breaker
from runner.run.channel import Message
from runner.run.ending import End, Ending
from runner.run.keeper import LEASE_S
from runner.run.process import WorkerProcess
from runner.run.say import say
from runner.run.spec import WorkerSpec
from runner.run.stacks import with_thread_last
from runner.run.threads import Threads
from runner.store import Store, Worker

__all__ = ["Supervisor", "standstill_limit_s"]

_TICK_S = 0.1
_WEIGH_EVERY = 3
# How long a worker's loop may stand still: while jobs run, while the campaign is loaded, while it is to stop.
_STILL_S, _LEAST_STILL_S, _LOADING_S, _STILL_WHEN_STOPPING_S = 30.0, 2.0, 300.0, 2.0
# How long a worker may take to end that was told to stop, or has said that it is over.
_STOP_S, _EXIT_S, _LAST_WORDS_S = 15.0, 5.0, 1.0
_FRUITLESS_LIVES = 3


def standstill_limit_s(policy: Policy) -> float:
    """How long one job's code may hold up all others: the campaign's own limits, or half a minute."""
    given = [limit_s for limit_s in (policy.timeout_s, policy.stall_s) if limit_s is not None]
    return max(min([_STILL_S, *given]), _LEAST_STILL_S)


@dataclass
class _Life:
    """One worker process from its start to its end, as it tells of itself and is told.

    grown: by how much its memory has grown while each job was running. alone: the job that is rendered alone
    now, 0 for none. is_silent: it can say no more.
    """

    process: WorkerProcess
    worker: Worker
    worker_id_told: int
    memory_bytes: int
    has_all_told: bool
    fault_told: WorldFault | None = None
    has_begun: bool = False
    is_over: bool = False
    settled: int = 0
    alone: int = 0
    is_silent: asyncio.Event = field(default_factory=asyncio.Event)
    grown: Counter[Running] = field(default_factory=Counter)

    def weigh(self) -> None:
        """See what it holds in memory, and while whose code ran it came to more."""
        self.memory_bytes, before = self.process.memory_bytes(), self.memory_bytes
        for one in self.process.board.running():
            self.grown[one] += max(0, self.memory_bytes - before)

    def tell(self, fault: WorldFault | None, has_all: bool) -> None:
        """Say what has changed: whether the world is at fault, all jobs are there, and as which worker it claims."""
        if has_all and not self.has_all_told:
            self.has_all_told = True
            self.process.channel.send("all there")
        if fault is not self.fault_told:
            self.fault_told = fault
            if fault is None:
                self.process.channel.send("well")
            else:
                self.process.channel.send("fault", message=str(fault))
        if self.worker.id != self.worker_id_told:
            # It was taken for dead, for nothing here was let run for longer than the lease, and came back.
            self.worker_id_told = self.worker.id
            self.process.channel.send("worker", id=self.worker.id)


class _Stillness:
    """For how long a worker's event loop has stood still."""

    def __init__(self, board: Board):
        self._board, self._beats = board, -1
        self._looked, self._still_s = time.monotonic(), 0.0

    def look(self, now: float) -> float:
        """In seconds. Time in which this process was not let run is nobody's."""
        looked, beats = self._looked, self._beats
        self._looked, self._beats = now, self._board.beats
        self._still_s = self._still_s + min(now - looked, 2 * _TICK_S) if self._beats == beats else 0.0
        return self._still_s


class Supervisor:
    """Has worker processes render, one after the other, until the run ends.

    spec: what the first worker is told, but for its id. folder: where the user's own code lies.
    memory_bytes: a worker that holds more is ended. on_link: told the link for a person's own tabs, where no browsers
    are started; on_live: the live page's, once it is served. has_all: whether all jobs are in the database. sessions:
    how many tabs there are. trouble: what keeps the worker's tabs from work; ''. adopted: jobs that had been finished
    before a crash. charged: attempts that failed. steps: of each job of many steps that is being rendered, its key,
    the steps finished, and all.
    """

    def __init__(
        self,
        store: Store,
        campaign_id: int,
        policy: Policy,
        guard: Guard,
        ending: Ending,
        breaker: Breaker,
        spec: Callable[[], WorkerSpec],
        folder: Path,
        memory_bytes: int,
        on_link: Callable[[str], object] = say,
        on_live: Callable[[str], object] = lambda link: None,
        has_all: Callable[[], bool] = lambda: True,
    ):
        self._has_all = has_all
        self.sessions = self.adopted = self.charged = 0
        self.steps: list[tuple[str, int, int]] = []
        self._has_printed = False
        self.worker: Worker | None = None
        self.trouble = ""
        self._store, self._campaign_id, self._policy = store, campaign_id, policy
        self._guard, self._ending, self._breaker = guard, ending, breaker
        self._spec, self._folder, self._memory_bytes = spec, folder, memory_bytes
        self._on_link, self._on_live = on_link, on_live
        self._threads = Threads(guard, ending)
        self._limit_s = standstill_limit_s(policy)
        # What a worker leaves to the next one.
        self._known: dict[str, Any] = {}
        self._beating: asyncio.Task[None] | None = None
        # Jobs of which one did it, and how often each was alone when a worker ended, and nobody knew why.
        self._suspects: set[int] = set()
        self._unexplained: Counter[int] = Counter()

    async def work(self, process: WorkerProcess | None, start: Callable[[], WorkerProcess]) -> None:
        """Have workers render until the run ends. process: one that was started already."""
        fruitless = 0
        try:
            while True:
                life = await self._begin(process or start())
                process = None
                try:
                    fault = await self._watch(life)
                finally:
                    await asyncio.to_thread(life.process.end)
                if fault is None:
                    break
                has_suspects = await self._assign_blame(life, fault)
                fruitless = 0 if has_suspects or life.settled else fruitless + 1
                if self._ending.stopping.done():
                    break
                if fruitless >= _FRUITLESS_LIVES:
                    raise RunnerError(
                        f"the worker process ended {fruitless} times before it had done a job; the last one "
                        f"{reason(fault, None, self._folder)}"
                    )
        except Exception as error:
            self._ending.fail(error)
        finally:
            self._ending.stop("the run was stopped")
            await self._sign_off()

    async def _begin(self, process: WorkerProcess) -> _Life:
        self.worker = await self._threads.store(Worker, self._store, self._campaign_id, LEASE_S)
        spec = self._spec()
        life = _Life(process, self.worker, self.worker.id, process.memory_bytes(), spec.has_all)
        loop = asyncio.get_running_loop()
        process.channel.listen(
            lambda message: loop.call_soon_threadsafe(self._hear, life, message),
            on_end=lambda: loop.call_soon_threadsafe(life.is_silent.set),
        )
        spec = replace(spec, worker_id=self.worker.id, suspects=sorted(self._suspects), **self._known)
        process.channel.send("go", spec=spec.to_json())
        return life

    async def _sign_off(self) -> None:
        """What is written when no worker is left: charges that are taken back, and the worker's end."""
        stop = self._ending.stopping.result()

        def last() -> None:
            if stop.end is End.HALTED:
                self._store.uncharge(self._campaign_id, self._breaker.charged())
            if self.worker is not None:
                self.worker.end()

        self.sessions = 0
        with contextlib.suppress(WorldFault):
            await self._threads.store(last)
        await self._threads.close()

    # -- what the worker says --------------------------------------------------------------------

    def _hear(self, life: _Life, message: Message) -> None:
        kind = message.pop("is")
        if kind == "say":
            say(message["line"])
        elif kind == "state":
            self.sessions, self.trouble = message["sessions"], message["trouble"]
            self.steps = message["steps"]
            self._known |= message["known"]
        elif kind == "settled":
            life.settled += len(message["attempts"])
            for job_id, attempt, error in message["attempts"]:
                self._suspects.discard(job_id)
                self._count(job_id, attempt, error)
        elif kind == "printed":
            self._on_printed()
        elif kind == "alone":
            life.alone = message["job"]
        elif kind == "event":
            self._guard.events.append((message["ts"], message["kind"], message["message"]))
        elif kind == "pause":
            self._guard.pause(WorldFault(message["message"]))
        elif kind == "begun":
            self._on_begun(life, message["port"], message["link"], message["live"])
        elif kind == "lost":
            # The next beat shows it, too, but that may be a while.
            self._beating = asyncio.create_task(self._beat(life))
        elif kind == "adopted":
            self.adopted += message["count"]
        elif kind == "failed":
            self._ending.fail(_error_of(message))
        elif kind == "over":
            life.is_over = True

    def _on_begun(self, life: _Life, port: int, link: str, live: str) -> None:
        is_first = "port" not in self._known
        life.has_begun, self._known["port"] = True, port
        if is_first and link:
            self._on_link(link)
        if is_first:
            self._on_live(live)

    def _on_printed(self) -> None:
        if not self._has_printed:
            self._has_printed = True
            say(f"what jobs print goes to {self._spec().log}")

    async def _beat(self, life: _Life) -> None:
        with contextlib.suppress(WorldFault):
            await self._threads.store(life.worker.beat)

    def _count(self, job_id: int, attempt: int, error: str) -> None:
        """Count an attempt; one failure too many halts the run, and none of them counts."""
        self.charged += bool(error)
        why = self._breaker.add(job_id, attempt, error)
        if why and not self._ending.stopping.done():
            self._ending.stop(f"halted: {why}", End.HALTED)
            self._guard.note("halt", why)

    # -- what is seen of it ----------------------------------------------------------------------

    async def _watch(self, life: _Life) -> Fault | None:
        """Wait for its end; None when it ended in order, else what befell it. It may live on then."""
        process, stopping = life.process, self._ending.stopping
        stillness = _Stillness(process.board)
        told_at, over_at, ticks = 0.0, 0.0, 0
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            still_s, ticks = stillness.look(now), ticks + 1
            status = process.poll()
            if status is not None:
                # What it said last is heard first; what it has forked may hold its end of the line.
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(life.is_silent.wait(), _LAST_WORDS_S)
                return None if life.is_over else self._seen(life, FaultKind.DIED, status=status)
            life.tell(self._guard.fault, self._has_all())
            if life.is_over:
                over_at = over_at or now
                if now - over_at > _EXIT_S:
                    return None
                continue
            if stopping.done():
                if not told_at:
                    told_at = now
                    process.channel.send("stop", reason=stopping.result().reason)
                if still_s > _STILL_WHEN_STOPPING_S or now - told_at > _STOP_S:
                    return Fault(FaultKind.STOPPED)
                continue
            is_blocked = still_s > (self._limit_s if life.has_begun else _LOADING_S)
            if is_blocked or ticks % _WEIGH_EVERY == 0:
                life.weigh()
                # Who fills the memory may block the loop by it.
                if life.memory_bytes > self._memory_bytes:
                    return await asyncio.to_thread(self._seen, life, FaultKind.GREW)
            if is_blocked:
                return await asyncio.to_thread(self._seen, life, FaultKind.BLOCKED)

    def _seen(self, life: _Life, kind: FaultKind, status: int = 0) -> Fault:
        running = life.process.board.running()
        grower = max(life.grown, key=lambda one: life.grown[one], default=None)
        if grower is not None and 2 * life.grown[grower] < life.memory_bytes:
            grower = None  # all of them together, or what they keep
        return Fault(
            kind,
            running,
            life.process.stacks(),
            self._limit_s,
            kind is FaultKind.BLOCKED and life.process.is_starved(),
            status,
            life.memory_bytes,
            grower,
        )

    # -- whose fault it is -----------------------------------------------------------------------

    async def _assign_blame(self, life: _Life, fault: Fault) -> bool:
        """Charge the job whose code did it, and hand the others back. The worker is dead.

        Returns whether one of them is known to have done it, or may have.
        """
        try:
            leases = await self._threads.store(self._store.held, life.worker.id)
            in_flight = [lease for lease in leases if life.alone in (0, lease.job_id)]
            who = culprit(fault, is_alone=len(in_flight) == 1)
            guilty = next((one for one in in_flight if _is_of(one, who)), None)
            why = reason(fault, who if guilty is not None else None, self._folder)
            if guilty is not None:
                self._suspects.discard(guilty.job_id)
                await self._charge(guilty, fault, who, why)
            elif fault.kind is not FaultKind.STOPPED:
                await self._suspect(in_flight, why)
            await self._threads.store(life.worker.end)
        except WorldFault:
            # Not to be had, and the run stops: the next one finds them.
            return False
        if fault.kind is not FaultKind.STOPPED:
            whose = f"{guilty} {why}" if guilty is not None else f"the worker process was ended: it {why}"
            self._guard.note("worker", whose)
            onwards = "the other jobs go on"
            if guilty is None and len(in_flight) > 1:
                onwards = (
                    f"which of {len(in_flight)} jobs did it is not known, so each of them is rendered alone"
                )
            say(f"{whose}; another one is started, and {onwards}")
        return bool(in_flight)

    async def _charge(self, lease: Lease, fault: Fault, who: Running | None, why: str) -> None:
        # What blocked is charged as what took too long, the rest as what a browser's death is.
        is_blocked = fault.kind is FaultKind.BLOCKED
        charge: Callable[[Lease, str, str | None], Any] = (
            self._store.fail if is_blocked else self._store.reclaim
        )
        error = why if is_blocked else f"crash: it {why}"
        with contextlib.suppress(LeaseLost):
            stacks = with_thread_last(fault.stacks, who.thread) if who is not None else fault.stacks
            await self._threads.store(charge, lease, error, stacks or None)
            self._count(lease.job_id, lease.attempt, error)

    async def _suspect(self, leases: list[Lease], why: str) -> None:
        """Nobody knows which of them did it: each is to be rendered alone. One that was again and again pays."""
        self._suspects |= {lease.job_id for lease in leases}
        if len(leases) != 1:
            return
        (lease,) = leases
        self._unexplained[lease.job_id] += 1
        times = self._unexplained[lease.job_id]
        # Once may be what all jobs before it have left in that process together.
        if times >= max(2, self._policy.max_crashes):
            error = f"crash: {times} times a worker process ended while it alone was in flight; the last one {why}"
            with contextlib.suppress(LeaseLost):
                await self._threads.store(self._store.reclaim, lease, error)
                self._count(lease.job_id, lease.attempt, error)


def _is_of(lease: Lease, who: Running | None) -> bool:
    return who is not None and (lease.job_id, lease.attempt) == (who.job_id, who.attempt)


def _error_of(message: Message) -> Exception:
    """What the worker failed with."""
    kind = getattr(errors, message["kind"], None)
    if isinstance(kind, type) and issubclass(kind, RunnerError):
        return kind(message["message"])
    say(message["trace"].rstrip())
    return RunnerError(f"the worker process failed: {message['kind']}: {message['message']}")
