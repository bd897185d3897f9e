"""The supervisor: runs worker processes, sums up their reports, and keeps one job's code from stopping others."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner import errors
from runner.errors import LeaseLost, RunnerError, WorldFault
from runner.job import Lease, Policy
from runner.machine import Guard
from runner.run.blame import Fault, FaultKind, culprit, reason
from runner.run.board import Running
from runner.run.breaker import Breaker
from runner.run.channel import Message
from runner.run.ending import End, Ending
from runner.run.keeper import LEASE_S
from runner.run.process import WorkerProcess
from runner.run.say import say
from runner.run.share import Share
from runner.run.spec import WorkerSpec
from runner.run.stacks import with_thread_last
from runner.run.threads import Threads
from runner.run.watch import Settled, WorkerLife, standstill_limit_s, watch
from runner.store import Store, Worker

__all__ = ["Supervisor"]

_FRUITLESS_LIVES = 3


@dataclass
class _Post:
    """The place of one worker process after the other in the run. known: what each leaves to the next."""

    share: Share
    known: dict[str, Any] = field(default_factory=dict)
    life: WorkerLife | None = None


class Supervisor:
    """Lets worker processes render until the run ends; if one of them ends before, another takes its place.

    spec: gives the spec for a worker with that share, without what the run finds out. shares: of each worker process.
    folder: with the user's own code; results_id: of the results folder. memory_bytes: a worker that holds more is
    ended. jobs: the only ones to render, and how many attempts each had before, or None. on_link: called with the link
    for people's own tabs, if they may come; on_live: with the live page's, once it is served. has_all: whether all jobs
    are in the database. workers: the ids of the present workers. adopted: jobs that had been finished before a crash.
    charged: attempts that failed.
    """

    def __init__(
        self,
        store: Store,
        campaign_id: int,
        policy: Policy,
        guard: Guard,
        ending: Ending,
        breaker: Breaker,
        spec: Callable[[Share], WorkerSpec],
        shares: Sequence[Share],
        folder: Path,
        results_id: str,
        memory_bytes: int,
        jobs: Mapping[int, int] | None = None,
        on_link: Callable[[str], object] = say,
        on_live: Callable[[str], object] = lambda link: None,
        has_all: Callable[[], bool] = lambda: True,
    ):
        self._has_all = has_all
        self.adopted = self.charged = 0
        self.workers: list[Worker] = []
        self._has_printed = self._has_told_link = False
        self._link = ""
        # How many worker processes have ended since a job was last settled, or was in flight in one of them.
        self._fruitless = 0
        self._store, self._campaign_id, self._policy = store, campaign_id, policy
        self._guard, self._ending, self._breaker = guard, ending, breaker
        self._spec, self._folder, self._memory_bytes = spec, folder, memory_bytes
        self._results_id = results_id
        self._jobs = None if jobs is None else dict(jobs)
        self._on_link, self._on_live = on_link, on_live
        self._threads = Threads(guard, ending)
        self._limit_s = standstill_limit_s(policy)
        self._posts = [_Post(share) for share in shares]
        # The first worker's findings for all, once it has them: then the others begin.
        self._found: dict[str, Any] = {}
        self._has_begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sources: dict[str, str] = {}
        self._beating: asyncio.Task[None] | None = None
        # Suspected jobs, and how often each was alone when a worker ended for an unknown reason.
        self._suspects: set[int] = set()
        self._unexplained: Counter[int] = Counter()
        # Jobs after which others failed, until a process was replaced.
        self._harmers: set[int] = set()

    @property
    def _lives(self) -> list[WorkerLife]:
        return [post.life for post in self._posts if post.life is not None]

    @property
    def sessions(self) -> int:
        """How many tabs there are."""
        return sum(life.sessions for life in self._lives)

    @property
    def trouble(self) -> str:
        """Why no tab can work, or ''."""
        return "" if self.sessions else next((life.trouble for life in self._lives if life.trouble), "")

    @property
    def steps(self) -> list[tuple[str, int, int]]:
        """For each running job with steps: its key, the steps finished, and all."""
        return [one for life in self._lives for one in life.steps]

    async def work(self, process: WorkerProcess | None, start: Callable[[], WorkerProcess]) -> None:
        """Let workers render until the run ends. process: one that was started already."""
        keeping = [
            asyncio.create_task(self._keep(post, process if post is self._posts[0] else None, start))
            for post in self._posts
        ]
        try:
            await asyncio.gather(*keeping)
        finally:
            self._ending.stop("the run was stopped")
            await asyncio.gather(*keeping, return_exceptions=True)
            await self._sign_off()

    async def _keep(
        self, post: _Post, process: WorkerProcess | None, start: Callable[[], WorkerProcess]
    ) -> None:
        """Keep one worker process after the other at work there, until one ends in order or the run stops."""
        try:
            process = process or start()
            if post is not self._posts[0]:
                # It chooses the rasterizer, and reports it.
                ends: set[asyncio.Future[Any]] = {self._has_begun, self._ending.stopping}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await self._keep_at_work(post, process, start)
        except Exception as error:
            self._ending.fail(error)
        finally:
            self._let_others_begin()

    async def _keep_at_work(
        self, post: _Post, process: WorkerProcess, start: Callable[[], WorkerProcess]
    ) -> None:
        while True:
            try:
                if self._ending.stopping.done() or self._ending.draining:
                    return
                life = await self._begin(post, process)
                limits = self._limit_s, self._memory_bytes
                fault = await watch(life, self._guard, self._ending, self._has_all, *limits)
            finally:
                post.life = None
                await asyncio.to_thread(process.end)
            if fault is None:
                return
            has_suspects = await self._assign_blame(life, fault)
            self._fruitless = 0 if has_suspects else self._fruitless + 1
            if self._ending.stopping.done() or self._ending.draining:
                return
            if self._fruitless >= _FRUITLESS_LIVES * len(self._posts):
                raise RunnerError(
                    f"a worker process ended {self._fruitless} times before a job was done; the last one "
                    f"{reason(fault, None, self._folder)}"
                )
            process = start()

    async def _begin(self, post: _Post, process: WorkerProcess) -> WorkerLife:
        worker = await self._threads.store(Worker, self._store, self._campaign_id, LEASE_S, self._results_id)
        self.workers.append(worker)
        spec = self._spec(post.share)
        life = post.life = WorkerLife(process, worker, worker.id, process.memory_bytes(), spec.has_all)
        loop = asyncio.get_running_loop()
        process.channel.listen(
            lambda message: loop.call_soon_threadsafe(self._hear, post, life, message),
            on_end=lambda: loop.call_soon_threadsafe(life.is_silent.set),
        )
        spec = replace(
            spec,
            worker_id=worker.id,
            suspects=sorted(self._suspects),
            jobs=None if self._jobs is None else list(self._jobs.items()),
            **self._found,
        )
        life.send("go", spec=replace(spec, **post.known).to_json())
        return life

    async def _sign_off(self) -> None:
        """When no worker is left, take back charges if need be, and record the workers' end."""
        stop = self._ending.stopping.result()

        def last() -> None:
            if stop.end is End.HALTED:
                self._store.uncharge(self._campaign_id, self._breaker.charged())
            for worker in self.workers:
                worker.end()

        with contextlib.suppress(WorldFault):
            await self._threads.store(last)
        await self._threads.close()

    # -- what workers say ------------------------------------------------------------------------

    def _hear(self, post: _Post, life: WorkerLife, message: Message) -> None:
        kind = message.pop("is")
        if kind == "say":
            if self._guard.is_new(message["once"]):
                say(message["line"])
        elif kind == "tell":
            self._guard.tell(message["kind"], message["message"], once=message["once"])
        elif kind == "event":
            self._on_event(message)
        elif kind == "state":
            self._on_state(post, life, message)
        elif kind == "settled":
            self._fruitless = 0
            for *ended, error in message["attempts"]:
                one = Settled(*ended)
                self._suspects.discard(one.job_id)
                life.settled(one, error, self._harmers)
                if not error:
                    self._guard.prove_well()
                self._count(one.job_id, one.attempt, error, may_halt=not life.is_harmed)
        elif kind == "printed":
            self._on_printed()
        elif kind == "alone":
            life.alone = message["job"]
        elif kind == "pause":
            self._guard.pause(WorldFault(message["message"]))
        elif kind == "begun":
            self._on_begun(post, life, message["port"], message["link"], message["live"])
        elif kind == "lost":
            # The next beat shows it, too, but that may take a while.
            self._beating = asyncio.create_task(self._beat(life))
        elif kind == "adopted":
            self.adopted += message["count"]
        elif kind == "failed":
            self._ending.fail(_error_of(message))
        elif kind == "over":
            life.is_over = True

    def _on_event(self, message: Message) -> None:
        if message["kind"] == "source":
            # Each worker reads the files for itself.
            digest, _, name = message["message"].partition(" ")
            if self._sources.get(name) == digest:
                return
            self._sources[name] = digest
        self._guard.note(message["kind"], message["message"], once=message["once"], ts=message["ts"])

    def _on_state(self, post: _Post, life: WorkerLife, message: Message) -> None:
        life.sessions, life.trouble, life.steps = message["sessions"], message["trouble"], message["steps"]
        life.shown = message["shown"]
        post.known |= message["known"]
        if message["found"] and not self._found:
            self._found = message["found"]
            self._let_others_begin()
        self._tell_doors()

    def _on_begun(self, post: _Post, life: WorkerLife, port: int, link: str, live: str) -> None:
        is_first = post is self._posts[0] and "port" not in post.known
        life.port = post.known["port"] = port
        if is_first:
            self._on_live(live)
        if not post.share.sessions:
            self._let_others_begin()
        if not link:
            return
        self._tell_doors()
        self._link = self._link or link  # the first worker's
        if all("port" in post.known for post in self._posts) and not self._has_told_link:
            self._has_told_link = True
            self._on_link(self._link)

    def _tell_doors(self) -> None:
        """Tell the first worker, which people's links lead to, how many tabs each worker has, and what they do."""
        first = self._posts[0].life
        if first is not None and len(self._posts) > 1:
            there = [one for one in self._lives if one.port and not one.is_over]
            first.tell_doors({one.port: one.sessions for one in there})
            first.tell_elsewhere({link: tabs for one in there for link, tabs in one.shown.items()})

    def _let_others_begin(self) -> None:
        if not self._has_begun.done():
            self._has_begun.set_result(None)

    def _on_printed(self) -> None:
        if not self._has_printed:
            self._has_printed = True
            say(f"output that jobs print goes to {self._spec(self._posts[0].share).log}")

    async def _beat(self, life: WorkerLife) -> None:
        with contextlib.suppress(WorldFault):
            await self._threads.store(life.worker.beat)

    def _count(self, job_id: int, attempt: int, error: str, may_halt: bool = True) -> None:
        """Count an attempt; one failure too many halts the run, and none of them counts."""
        self.charged += bool(error)
        why = self._breaker.add(job_id, attempt, error) if may_halt else ""
        if why and not self._ending.stopping.done():
            self._ending.stop(f"halted: {why}", End.HALTED)
            self._guard.note("halt", why)

    # -- whose fault it is -----------------------------------------------------------------------

    async def _assign_blame(self, life: WorkerLife, fault: Fault) -> bool:
        """Charge the job whose code ended the worker, and hand the others back. The worker is dead.

        Returns whether one of the jobs is known to have done it, or may have.
        """
        onwards = "the other jobs go on"
        try:
            leases = await self._threads.store(self._store.held, life.worker.id)
            in_flight = [lease for lease in leases if life.alone in (0, lease.job_id)]
            who = culprit(fault, is_alone=len(in_flight) == 1)
            guilty = next((one for one in in_flight if _is_of(one, who)), None)
            why = reason(fault, who if guilty is not None else None, self._folder)
            if guilty is not None:
                self._suspects.discard(guilty.job_id)
                await self._charge(guilty, fault, who, why)
            elif fault.kind is FaultKind.HARMED:
                why += await self._forgive(life)
            elif fault.kind is not FaultKind.STOPPED:
                await self._suspect(in_flight, why)
                if len(in_flight) > 1:
                    which = f"it is not known which of {len(in_flight)} jobs did it"
                    onwards = f"{which}, so each of them is rendered alone"
            await self._hand_back(life, [lease for lease in leases if lease is not guilty])
        except WorldFault:
            # The database is away, and the run stops: the next run finds them.
            return False
        if fault.kind is not FaultKind.STOPPED:
            whose = f"{guilty} {why}" if guilty is not None else f"the worker process was ended: it {why}"
            self._guard.note("worker", whose)
            say(f"{whose}; another one is started, and {onwards}")
        return bool(in_flight)

    async def _hand_back(self, life: WorkerLife, leases: list[Lease]) -> None:
        """Let its worker sign off, which hands back the jobs that it held."""
        self._may_be_taken_again((lease.job_id, lease.attempt) for lease in leases)
        await self._threads.store(life.worker.end)
        self.workers.remove(life.worker)

    def _may_be_taken_again(self, attempts: Iterable[tuple[int, int]]) -> None:
        """The jobs of these attempts, by id and number, as far as they are of a list of which each is taken once."""
        for job_id, attempt in attempts:
            if self._jobs is not None and job_id in self._jobs:
                self._jobs[job_id] = attempt

    async def _charge(self, lease: Lease, fault: Fault, who: Running | None, why: str) -> None:
        # Blocking is charged like a time-out, the rest like a browser's death.
        is_blocked = fault.kind is FaultKind.BLOCKED
        charge: Callable[[Lease, str, str | None], Any] = (
            self._store.fail if is_blocked else self._store.reclaim
        )
        error = why if is_blocked else f"crash: it {why}"
        with contextlib.suppress(LeaseLost):
            stacks = with_thread_last(fault.stacks, who.thread) if who is not None else fault.stacks
            await self._threads.store(charge, lease, error, stacks or None)
            self._count(lease.job_id, lease.attempt, error)

    async def _forgive(self, life: WorkerLife) -> str:
        """The first job that failed since others were done may have harmed the process; later ones are not charged.

        Whether it did shows when it fails again, and another one after it: the process is replaced then at once, until
        it has failed for good. Returns its name.
        """
        await life.last_words()
        failing = life.failing()
        if not failing:
            return ""
        known = (place for place, one in enumerate(failing) if one.job_id in self._harmers)
        place = next(known, 0)
        harmer, later = failing[place].job_id, [(one.job_id, one.attempt) for one in failing[place + 1 :]]
        whether = "once more" if harmer in self._harmers else "or one before it"
        self._harmers.add(harmer)
        await self._threads.store(self._store.uncharge, self._campaign_id, later)
        self._breaker.forget(later)
        self.charged -= len(later)
        self._may_be_taken_again(later)
        return f" by job {await self._threads.store(self._store.reader.key_of, harmer)}, {whether}"

    async def _suspect(self, leases: list[Lease], why: str) -> None:
        """It is not known which of them did it: render each alone. One that was alone again and again is charged."""
        self._suspects |= {lease.job_id for lease in leases}
        for life in self._lives:
            # Do this before any of them is handed back, and may be taken elsewhere.
            life.send("suspects", jobs=sorted(self._suspects))
        if len(leases) != 1:
            return
        (lease,) = leases
        self._unexplained[lease.job_id] += 1
        times = self._unexplained[lease.job_id]
        # One time may be the effect of all jobs before it in that process.
        if times >= max(2, self._policy.max_crashes):
            error = f"crash: {times} times a worker process ended while it alone was in flight; the last one {why}"
            with contextlib.suppress(LeaseLost):
                await self._threads.store(self._store.reclaim, lease, error)
                self._count(lease.job_id, lease.attempt, error)


def _is_of(lease: Lease, who: Running | None) -> bool:
    return who is not None and (lease.job_id, lease.attempt) == (who.job_id, who.attempt)


def _error_of(message: Message) -> Exception:
    """The worker's error."""
    kind = getattr(errors, message["kind"], None)
    if isinstance(kind, type) and issubclass(kind, RunnerError):
        return kind(message["message"])
    say(message["trace"].rstrip())
    return RunnerError(f"the worker process failed: {message['kind']}: {message['message']}")
