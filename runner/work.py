"""One tab's loop: claim, render, record, settle."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections import Counter
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, Callable, Mapping, Protocol

from runner import __version__
from runner.campaign import Campaign
from runner.errors import FrameError, LeaseLost, SessionGone, WorldFault
from runner.guard import Breaker, Guard, world_fault
from runner.job import Checkpoint, Finished, Lease, Provenance
from runner.pool import BrowserPool
from runner.results import JobFiles, ResultsFolder
from runner.store import Store

__all__ = ["Crew"]

_IDLE_S = 0.1
# Attempts of one tab that may be on their way to disk while the next is rendered.
_SETTLING_AT_ONCE = 3
_SHUTDOWN_S = 0.5


class _Session(Protocol):
    """What the loop needs of a session; runner.session.Session has it."""

    name: str
    browser: str
    renderer: str
    client: Mapping[str, Any]
    closed: asyncio.Future[str]
    is_spoiled: bool
    settle_s: float
    set: Any


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
        self._pool = pool
        self._tabs_lost: Counter[int] = Counter()
        self._looking = asyncio.Lock()
        # One thread for the database keeps its waits off the event loop; files are written beside it.
        self._database = ThreadPoolExecutor(1, thread_name_prefix="runner-store")
        self._writer: Executor = ThreadPoolExecutor(4, thread_name_prefix="runner-files")
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

    async def work(self, session: _Session) -> None:
        """Work through jobs with this tab until none is left, the tab is gone, or the run stops."""
        self._busy += 1
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
                lease = await self._claim(session_id)
                if lease is None:
                    await _until_at_most(settling, 0)
                    lease = await self._look_for_work(session, session_id)
                if lease is not None:
                    settling |= await self._attempt(session, lease)
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
                self._idle.set()

    async def _look_for_work(self, session: _Session, session_id: int) -> Lease | None:
        """Jobs wait for their retry or for the campaign to go on, or are in other hands: look again and again.

        One tab at a time does, so that many that idle cost no more than one. None when it is time to stop.
        """
        async with self._looking:
            while not (self.stopping.done() or self._is_over(session) or self.guard.fault or self.finished.is_set()):
                lease = await self._claim(session_id)
                if lease is not None:
                    return lease
                row = await self._store(self.store.campaign, self.campaign_id)
                if row["done"] + row["failed"] == row["total"] or row["state"] == "cancelled":
                    self.finished.set()
                else:
                    await asyncio.wait({self.stopping, session.closed}, timeout=_IDLE_S)
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

    async def _claim(self, session_id: int) -> Lease | None:
        try:
            leases = await self._store(self.store.claim, self.worker_id, self.campaign_id, 1, session_id)
        except LeaseLost:
            # This process was suspended for longer than the lease: it goes on as a new worker.
            self.worker_id = await self._store(self.store.come_back, self.worker_id, self.campaign_id)
            return None
        return leases[0] if leases else None

    async def _attempt(self, session: _Session, lease: Lease) -> set[asyncio.Task]:
        """Render the job; settles what came of it, or returns the task that does so while the tab goes on."""
        files, left_behind = await self._files_of(lease)
        if left_behind is not None and await self._adopt(lease, left_behind):
            return set()
        began = time.monotonic()
        render = asyncio.create_task(self.campaign.render_job(session, files))
        limit_s = self.campaign.policy.timeout_s
        await _wait_for_any({render, session.closed, self.stopping}, limit_s)
        finished = render.done()
        if not finished:
            render.cancel()
            await asyncio.wait({render})
        rendered_s = time.monotonic() - began
        if finished and not render.cancelled() and render.exception() is None:
            # The files' way to disk is no reason for the tab to wait.
            return {asyncio.create_task(self._settle(session, lease, files, render, finished, rendered_s))}
        await self._settle(session, lease, files, render, finished, rendered_s)
        return set()

    async def _settle(
        self,
        session: _Session,
        lease: Lease,
        files: JobFiles,
        render: asyncio.Task,
        finished: bool,
        rendered_s: float,
    ) -> None:
        """Make the move that the attempt's end calls for."""
        limit_s = self.campaign.policy.timeout_s
        error = None if render.cancelled() else render.exception()
        is_done: bool | None = None
        try:
            if finished and error is None and not render.cancelled():
                is_done = await self._complete(lease, files)
            else:
                await self._run(files.abandon)
                if self.stopping.done():
                    await self._store(self.store.release, lease, self.stopping.result())
                elif session.closed.done() or isinstance(error, SessionGone):
                    await self._lose_tab(session, lease, error)
                elif not finished:
                    # The page may still be busy with it.
                    session.is_spoiled = True
                    await self._charge(self.store.fail, lease, f"TimeoutError: no end after {limit_s:g} s")
                    is_done = False
                else:
                    is_done = await self._fail(lease, error or asyncio.CancelledError("render was cancelled"))
        except LeaseLost:
            row = await self._store(self.store.job, lease.campaign_id, lease.key)
            if row and (row["status"], row["worker_id"], row["attempt"]) == ("done", *lease[2:4]):
                return  # A commit whose answer was lost on the way was written all the same.
            # Another worker has the job now; this attempt's files lie in a folder of their own.
            await self._run(files.abandon)
        if is_done is not None:
            self._pool.settled(session.name, lease.job_id, is_done, rendered_s)

    async def _lose_tab(self, session: _Session, lease: Lease, error: BaseException | None) -> None:
        """The tab went away under the job: a crash where its browser died; else nobody's fault, to a limit."""
        reason = session.closed.result() if session.closed.done() else str(error)
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
            await self._charge(self.store.reclaim, lease, f"crash: {end.reason}")
        elif times >= self.campaign.policy.max_crashes:
            await self._charge(self.store.reclaim, lease, f"crash: its tab was lost {times} times")
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

    async def _files_of(self, lease: Lease) -> tuple[JobFiles, Finished | None]:
        def persist(make: Callable[[], Checkpoint]) -> Future:
            return self._database.submit(lambda: self.store.checkpoint(lease, make()))

        checkpoint = Checkpoint()
        if lease.attempt > 1:
            checkpoint = await self._store(self.store.checkpoint_of, lease)
        return await self._run(
            lambda: (
                JobFiles(lease, self.results, self._writer, checkpoint, persist),
                self.results.left_behind(lease),
            )
        )

    async def _complete(self, lease: Lease, files: JobFiles) -> bool | None:
        """Whether the job is done now; None where neither it nor the browser is to blame."""
        is_last = lease.failures + 1 >= self.campaign.policy.max_failures
        on_suspect = self.campaign.policy.on_suspect
        if files.suspicion and (on_suspect == "fail" or on_suspect == "retry" and not is_last):
            await self._run(files.abandon)
            return await self._fail(lease, FrameError(f"the picture may be wrong: {files.suspicion}"))
        try:
            outcome = await self._run(files.finish)
        except LeaseLost:
            raise
        except Exception as error:
            await self._run(files.abandon)
            return await self._fail(lease, error)
        await self._store(self.store.complete, lease, outcome)
        self._breaker.add(lease.job_id, lease.attempt)
        return True

    async def _fail(self, lease: Lease, error: BaseException) -> bool | None:
        fault = world_fault(error)
        if fault is not None:
            self.guard.pause(fault)
            await self._store(self.store.release, lease, str(fault))
            return None
        text = "".join(traceback.format_exception(error))
        await self._charge(self.store.fail, lease, _one_line(error), text)
        return False

    async def _charge(self, move: Callable[..., Any], lease: Lease, error: str, *more: str) -> None:
        """Charge the job, unless this is one failure too many: then the run halts, and none of them counts."""
        await self._store(move, lease, error, *more)
        reason = self._breaker.add(lease.job_id, lease.attempt, error)
        if reason and not self.halted:
            self.halted = reason
            self.guard.note("halt", reason)
            await self._store(self.store.uncharge, self.campaign_id, self._breaker.charged())
            self.stop(f"halted: {reason}")

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
        return await asyncio.get_running_loop().run_in_executor(None, function)


async def _until_at_most(tasks: set[asyncio.Task], count: int) -> None:
    """Take those that have ended out of the set, and wait while it holds more. Raises what they raised."""
    while True:
        for task in [task for task in tasks if task.done()]:
            tasks.discard(task)
            task.result()
        if len(tasks) <= count:
            return
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _wait_for_any(ends: set[asyncio.Future], limit_s: float) -> None:
    """Until one of them is done, or limit_s of running time have passed.

    Time in which this process was not let run, or the machine slept, is nobody's time: each turn of
    the loop counts for a second at most.
    """
    spent_s = 0.0
    while spent_s < limit_s:
        turn_s = min(1.0, limit_s - spent_s)
        done, _ = await asyncio.wait(ends, timeout=turn_s, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return
        spent_s += turn_s


def _one_line(error: BaseException) -> str:
    """TypeName: first line of the message."""
    message = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {message}"[:500] if message else type(error).__name__
