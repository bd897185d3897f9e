"""One tab's loop: claim, render, record, settle."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol

from runner import __version__
from runner.browsers import BrowserPool
from runner.campaign import Campaign
from runner.errors import FrameError, LeaseLost, SessionGone, WorldFault
from runner.frame import Frame
from runner.job import Checkpoint, Finished, Lease, Outcome, Provenance
from runner.machine import Guard, world_fault
from runner.results import RenderJob, ResultsFolder
from runner.run.breaker import Breaker
from runner.run.limits import TimeLimit
from runner.store import Store

__all__ = ["Crew"]

_IDLE_S, _LONGEST_IDLE_S = 0.1, 0.5
# Attempts of one tab that may be on their way to disk while the next is rendered.
_SETTLING_AT_ONCE = 8
_SHUTDOWN_S = 0.5
_Taken = tuple[Lease, Finished | None]


class _Session(Protocol):
    """What the loop needs of a session; runner.session.Session has it."""

    name: str
    browser: str
    renderer: str
    client: Mapping[str, Any]
    closed: asyncio.Future[str]
    is_spoiled: bool
    last_frame: Frame | None
    settle_s: float
    set: Any


@dataclass(frozen=True)
class _Attempt:
    """What came of one render: its task has ended, or was cancelled when overdue, or by the end of its tab or run."""

    session: _Session
    lease: Lease
    files: RenderJob
    render: asyncio.Task
    is_finished: bool
    overdue: str
    took_s: float
    last_frame: Frame | None

    @property
    def error(self) -> BaseException | None:
        return None if self.render.cancelled() else self.render.exception()

    @property
    def is_good(self) -> bool:
        return self.is_finished and not self.render.cancelled() and self.error is None


class Crew:
    """All sessions of one run, working through one campaign as one worker.

    The loop itself is never cancelled: a claim that has begun is always settled. Only the user's
    render is, when its time is up, its tab is gone, or the run stops.

    pool: the browsers that this run started. Only the death of one of them is charged to the job it held,
    for people may close their tabs as they like; but a job that loses its tab again and again is charged.
    breaker: tells when so many attempts fail that the run is halted, and those are charged to nobody.
    guard: while it has a fault no job is begun, and what a fault broke is handed back uncharged.
    """

    def __init__(
        self,
        campaign: Campaign,
        campaign_id: int,
        store: Store,
        results: ResultsFolder,
        pool: BrowserPool,
        guard: Guard,
        breaker: Breaker,
    ):
        self.campaign, self.campaign_id = campaign, campaign_id
        self.store, self.results = store, results
        self.worker_id = store.start_worker(campaign_id)
        self.error: Exception | None = None
        self.adopted = 0
        self.finished = asyncio.Event()
        self.stopping: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.guard = guard
        self.halted = ""
        self._breaker = breaker
        self._attempt_limit = TimeLimit(campaign.policy.timeout_s)
        self._step_limit = TimeLimit(campaign.policy.stall_s)
        self._pool = pool
        self._tabs_lost: Counter[int] = Counter()
        self._looking = asyncio.Lock()
        # One thread for the database keeps its waits off the event loop; files are written beside it.
        self._database = ThreadPoolExecutor(1, thread_name_prefix="runner-store")
        self._writer: Executor = ThreadPoolExecutor(8, thread_name_prefix="runner-files")
        # They wait for the disk: the loop's own threads, which decode frames, must not wait behind them.
        self._settlers: Executor = ThreadPoolExecutor(32, thread_name_prefix="runner-settle")
        # When the last of the sessions that there were went away; None before the first and while one is
        # here.
        self.idle_since: float | None = None
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def stop(self, reason: str) -> None:
        """Hand back what is in flight, uncharged, and take no more."""
        if not self.stopping.done():
            self.stopping.set_result(reason)

    def fail(self, error: Exception) -> None:
        """Something failed that is no job's fault and does not pass: the run stops, and raises it. From any thread."""
        self.error = self.error or error
        self.stopping.get_loop().call_soon_threadsafe(self.stop, _one_line(error))

    async def stopped(self) -> None:
        """Wait until no session holds a job, then sign off."""
        await self._idle.wait()
        with contextlib.suppress(WorldFault):
            await self._store(self.store.end_worker, self.worker_id)
        self._database.shutdown()
        self._writer.shutdown()
        self._settlers.shutdown()

    async def work(self, session: _Session) -> None:
        """Work through jobs with this tab until none is left, the tab is gone, or the run stops."""
        if self.stopping.done():
            return  # it came when the others had done it all
        self._busy += 1
        self.idle_since = None
        self._idle.clear()
        settling: set[asyncio.Task] = set()
        try:
            session_id = await self._store(
                self.store.start_session, self.worker_id, self.campaign_id, self._provenance(session)
            )
            session.settle_s = self.campaign.settle_s
            session.set @ self.campaign.make_scene()
            while not (self.stopping.done() or self._is_over(session)):
                if self.guard.fault is not None:
                    await asyncio.wait({self.stopping, session.closed}, timeout=_IDLE_S)
                    continue
                taken = await self._take(session_id)
                if taken is None:
                    await _until_at_most(settling, 0)
                    taken = await self._look_for_work(session, session_id)
                if taken is not None:
                    settling |= await self._attempt(session, *taken)
                    await _until_at_most(settling, _SETTLING_AT_ONCE)
                elif self.finished.is_set():
                    return
        except SessionGone:
            pass
        except Exception as error:
            # The database or the scene failed, not a job: no session can go on.
            self.fail(error)
        finally:
            for end in await asyncio.gather(*settling, return_exceptions=True):
                if isinstance(end, Exception):
                    self.fail(end)
            self._busy -= 1
            if not self._busy:
                self.idle_since = time.monotonic()
                self._idle.set()

    async def _look_for_work(self, session: _Session, session_id: int) -> _Taken | None:
        """Jobs wait for their retry or for the campaign to go on, or are in other hands: look again, ever more seldom.

        One tab at a time does, so that many that idle cost no more than one. None when it is time to stop.
        """
        wait_s = _IDLE_S
        async with self._looking:
            while not (
                self.stopping.done() or self._is_over(session) or self.guard.fault or self.finished.is_set()
            ):
                taken = await self._take(session_id)
                if taken is not None:
                    return taken
                row = await self._store(self.store.campaign, self.campaign_id)
                if row["done"] + row["failed"] == row["total"] or row["state"] == "cancelled":
                    self.finished.set()
                else:
                    await asyncio.wait({self.stopping, session.closed}, timeout=wait_s)
                    wait_s = min(1.1 * wait_s, _LONGEST_IDLE_S)
        return None

    def _is_over(self, session: _Session) -> bool:
        return session.closed.done() or session.is_spoiled or bool(self._pool.retired(session.name))

    def _provenance(self, session: _Session) -> Provenance:
        return Provenance(
            name=session.name,
            browser=session.browser,
            renderer=session.renderer,
            client=session.client,
            runner=__version__,
            vuer=version("vuer"),
            file_sha256=self.campaign.file_sha256,
            settings=self.campaign.settings,
        )

    async def _take(self, session_id: int) -> _Taken | None:
        """The next job, and what an earlier attempt at it may have left behind on disk; None: none is ready."""

        def claim() -> _Taken | None:
            leases = self.store.claim(self.worker_id, self.campaign_id, 1, session_id)
            return (leases[0], self.results.left_behind(leases[0])) if leases else None

        try:
            return await self._store(claim)
        except LeaseLost:
            # This process was suspended for longer than the lease: it goes on as a new worker.
            self.worker_id = await self._store(self.store.come_back, self.worker_id, self.campaign_id)
            return None

    async def _attempt(
        self, session: _Session, lease: Lease, left_behind: Finished | None
    ) -> set[asyncio.Task]:
        """Render the job; settles what came of it, or returns the task that does so while the tab goes on."""
        if left_behind is not None and await self._adopt(lease, left_behind):
            return set()
        files = await self._files_of(lease)
        began = time.monotonic()
        session.last_frame = None
        render = asyncio.create_task(self.campaign.render_job(session, files))
        overdue = await self._in_time({render, session.closed, self.stopping}, files)
        is_finished = render.done()
        if not is_finished:
            render.cancel()
            await asyncio.wait({render})
        took_s = time.monotonic() - began
        attempt = _Attempt(session, lease, files, render, is_finished, overdue, took_s, session.last_frame)
        if attempt.is_good:
            # The files' way to disk is no reason for the tab to wait.
            return {asyncio.create_task(self._settle(attempt))}
        await self._settle(attempt)
        return set()

    async def _settle(self, attempt: _Attempt) -> None:
        """Make the move that the attempt's end calls for."""
        session, lease, files, error = attempt.session, attempt.lease, attempt.files, attempt.error
        is_done: bool | None = None
        try:
            if attempt.is_good:
                is_done = await self._complete(attempt)
            else:
                await self._run(files.abandon)
                if self.stopping.done():
                    await self._store(self.store.release, lease, self.stopping.result())
                elif session.closed.done() or isinstance(error, SessionGone):
                    await self._lose_tab(attempt)
                elif attempt.overdue:
                    # The page may still be busy with it.
                    session.is_spoiled = True
                    await self._charge(self.store.fail, attempt, f"TimeoutError: {attempt.overdue}")
                    is_done = False
                else:
                    is_done = await self._fail(
                        attempt, error or asyncio.CancelledError("render was cancelled")
                    )
        except LeaseLost:
            row = await self._store(self.store.job, lease.campaign_id, lease.key)
            if row and (row["status"], row["worker_id"], row["attempt"]) == ("done", *lease[2:4]):
                return  # A commit whose answer was lost on the way was written all the same.
            # Another worker has the job now; this attempt's files lie in a folder of their own.
            await self._run(files.abandon)
        if is_done and files.steps_finished is None:
            self._attempt_limit.learn(attempt.took_s)
        if is_done is not None:
            self._pool.settled(session.name, lease.job_id, is_done, attempt.took_s)

    async def _in_time(self, ends: set[asyncio.Future], files: RenderJob) -> str:
        """Wait until one of them is done, or the time is up; returns what was too long, or ''.

        Time in which this process was not let run, or the machine slept, is nobody's time: each turn
        of the loop counts for a second at most.
        """
        spent_s = still_s = 0.0
        steps = 0
        while True:
            limits_s = [self._attempt_limit.s - spent_s]
            if files.steps_finished is not None:
                if files.steps_finished > steps:
                    self._step_limit.learn(still_s / (files.steps_finished - steps))
                    steps, still_s = files.steps_finished, 0.0
                left_s = self._step_limit.s - still_s
                limits_s = [*(limits_s if self._attempt_limit.is_given else []), left_s]
                if left_s <= 0.0:
                    return f"no step ended within {self._step_limit.s:g} s"
            if min(limits_s) <= 0.0:
                return f"no end after {self._attempt_limit.s:g} s"
            turn_s = min(1.0, *limits_s)
            done, _ = await asyncio.wait(ends, timeout=turn_s, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return ""
            spent_s += turn_s
            still_s += turn_s

    async def _lose_tab(self, attempt: _Attempt) -> None:
        """The tab went away under the job: a crash where its browser died; else nobody's fault, to a limit."""
        session, lease = attempt.session, attempt.lease
        reason = session.closed.result() if session.closed.done() else str(attempt.error)
        if not session.closed.done():
            # The page is there, but cannot draw any more.
            session.is_spoiled = True
            self._pool.retire(session.name, reason)
        end = await self._pool.end_of(session.name) if session.closed.done() else None
        if end is not None and end.is_crash:
            # What ends the browser may end this process too, a moment later: a shutdown, systemd, a terminal.
            await asyncio.wait({self.stopping}, timeout=_SHUTDOWN_S)
        self._tabs_lost[lease.job_id] += 1
        times = self._tabs_lost[lease.job_id]
        if self.stopping.done():
            await self._store(self.store.release, lease, self.stopping.result())
        elif end is not None and end.is_crash:
            await self._charge(self.store.reclaim, attempt, f"crash: {end.reason}")
        elif times >= self.campaign.policy.max_crashes:
            await self._charge(self.store.reclaim, attempt, f"crash: its tab was lost {times} times")
        else:
            await self._store(self.store.release, lease, f"{session.name}: {end.reason if end else reason}")

    async def _adopt(self, lease: Lease, finished: Finished) -> bool:
        """Take over what an attempt had finished before a crash kept the database from knowing."""
        if not await self._run(lambda: all(map(self.results.is_whole, finished.outcome.artifacts))):
            return False
        try:
            is_done = await self._store(self.store.adopt, lease, finished)
        except LeaseLost:
            return True
        self.adopted += is_done
        return is_done

    async def _files_of(self, lease: Lease) -> RenderJob:
        def persist(make: Callable[[], Checkpoint]) -> Future:
            return self._database.submit(lambda: self.store.checkpoint(lease, make()))

        if lease.attempt == 1:
            return RenderJob(lease, self.results, self._writer, persist=persist)
        checkpoint = await self._store(self.store.checkpoint_of, lease)
        # The files that it names are read and compared.
        return await self._run(lambda: RenderJob(lease, self.results, self._writer, checkpoint, persist))

    async def _complete(self, attempt: _Attempt) -> bool | None:
        """Whether the job is done now; None where neither it nor the browser is to blame."""
        lease, files = attempt.lease, attempt.files
        is_last = lease.failures + 1 >= self.campaign.policy.max_failures
        on_suspect = self.campaign.policy.on_suspect
        if files.suspicion and (on_suspect == "fail" or (on_suspect == "retry" and not is_last)):
            await self._run(files.abandon)
            return await self._fail(attempt, FrameError(f"the picture may be wrong: {files.suspicion}"))
        outcome: Outcome | None = None

        def finish() -> None:
            nonlocal outcome
            outcome = files.finish()
            self.store.complete(lease, outcome)

        try:
            await self._run(finish)
        except LeaseLost:
            raise
        except Exception as error:
            if outcome is None:
                await self._run(files.abandon)
                return await self._fail(attempt, error)
            # The files are there; the database may be written later.
            await self._store(self.store.complete, lease, outcome)
        if lease.attempt > 1 and outcome is not None:
            # Files of a job that was done before are kept until now.
            await self._run(partial(self.results.remove_earlier, lease, outcome))
        self._breaker.add(lease.job_id, lease.attempt)
        return True

    async def _fail(self, attempt: _Attempt, error: BaseException) -> bool | None:
        fault = world_fault(error)
        if fault is not None:
            self.guard.pause(fault)
            await self._store(self.store.release, attempt.lease, str(fault))
            return None
        text = "".join(traceback.format_exception(error))
        await self._charge(self.store.fail, attempt, _one_line(error), text)
        return False

    async def _charge(self, move: Callable[..., Any], attempt: _Attempt, error: str, text: str = "") -> None:
        """Charge the job, unless this is one failure too many: then the run halts, and none of them counts."""
        lease = attempt.lease
        evidence = await self._run(lambda: self._evidence(attempt))
        await self._store(move, lease, error, "\n".join(filter(None, (evidence, text))) or None)
        reason = self._breaker.add(lease.job_id, lease.attempt, error)
        if reason and not self.halted:
            self.halted = reason
            self.guard.note("halt", reason)
            await self._store(self.store.uncharge, self.campaign_id, self._breaker.charged())
            self.stop(f"halted: {reason}")

    def _evidence(self, attempt: _Attempt) -> str:
        """What the page said and showed last, in lines; the picture goes into a file."""
        lines = [f"page console: {line}" for line in self._pool.console(attempt.session.name)]
        # A disk that takes no picture is told of elsewhere.
        with contextlib.suppress(OSError):
            path = attempt.last_frame and self.results.keep_evidence(attempt.lease, attempt.last_frame)
            lines += [f"last frame: {path}"] if path else []
        return "\n".join(lines)

    async def _store(self, verb: Callable[..., Any], *arguments: Any) -> Any:
        """Run one of the store's verbs; while the database is at fault, again and again until it is not."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._database, verb, *arguments)
            except WorldFault as fault:
                self.guard.pause(fault)
                while self.guard.fault is not None and not self.stopping.done():
                    await asyncio.wait({self.stopping}, timeout=_IDLE_S)
                if self.guard.fault is not None:
                    raise

    async def _run(self, function: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._settlers, function)


async def _until_at_most(tasks: set[asyncio.Task], count: int) -> None:
    """Take those that have ended out of the set, and wait while it holds more. Raises what they raised."""
    while True:
        for task in [task for task in tasks if task.done()]:
            tasks.discard(task)
            task.result()
        if len(tasks) <= count:
            return
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


def _one_line(error: BaseException) -> str:
    """TypeName: first line of the message."""
    message = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {message}"[:500] if message else type(error).__name__
