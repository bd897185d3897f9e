"""All tabs of one run, working through its campaign: each claims a job and renders it; settling goes on beside."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from importlib.metadata import version
from typing import Any, TypeAlias

from runner import __version__
from runner.errors import LeaseLost, SessionGone
from runner.job import Checkpoint, Finished, Lease, Provenance
from runner.joining import Standing
from runner.machine import world_fault
from runner.results import RenderJob, recover
from runner.run.agenda import Agenda
from runner.run.attempt import Attempt, render
from runner.run.company import Company
from runner.run.context import RunContext, TabSession
from runner.run.life import Life
from runner.run.settle import Settler
from runner.run.threads import Threads

__all__ = ["Crew"]

_IDLE_S, _LONGEST_IDLE_S = 0.1, 0.5
# So many attempts of one tab may be on their way to disk while the next is rendered.
_SETTLING_AT_ONCE = 8
_Taken: TypeAlias = tuple[Lease, Finished | None]


class Crew:
    """All tabs of one run, working through one campaign as one worker.

    The loop itself is never cancelled: a claim that has begun is always settled. Only the user's render is cancelled,
    when its time is up, its tab is gone, or the run stops.

    come_back: gives a new id to a worker that was taken for dead. company: which jobs may run together. agenda: which
    jobs are taken. adopted: how many jobs had been finished before a crash. idle_since: when the last tab went away, by
    the monotonic clock; None before the first tab and while there is one. rendering: what each tab does.
    """

    def __init__(
        self,
        context: RunContext,
        worker_id: int,
        come_back: Callable[[int], Awaitable[int]],
        company: Company | None = None,
        agenda: Agenda | None = None,
    ):
        self.adopted = 0
        self.idle_since: float | None = None
        self.worker_id = worker_id
        self._context, self._company = context, company or Company()
        self._agenda = agenda or Agenda()
        self._threads = Threads(context.guard, context.ending)
        self._settler = Settler(context, self._threads)
        self._come_back = come_back
        self._looking = asyncio.Lock()
        # The job that each tab renders now, and since when, by the monotonic clock.
        self.rendering: dict[TabSession, tuple[RenderJob, float]] = {}
        if not context.campaign.isolate:
            context.guard.note(
                "order", "isolate=False: pictures depend on the order of the jobs in their tab", once="order"
            )
        self._busy = self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def take_over(self) -> None:
        """Before the first job, adopt jobs that killed processes have packed into shards without recording them."""
        context = self._context

        def take() -> int:
            try:
                return recover(context.store, context.campaign_id, self.worker_id, context.results)
            except OSError as error:
                raise world_fault(error) or error from error

        # If this worker was taken for dead meanwhile, another one takes over.
        with contextlib.suppress(LeaseLost):
            self.adopted += await self._threads.store(take)

    async def stopped(self) -> None:
        """Wait until no tab holds a job. The supervisor ends the worker itself."""
        await self._idle.wait()
        await self._threads.close()
        self._context.results.close()

    def steps(self) -> list[tuple[str, int, int]]:
        """For each running job with steps: its key, how many steps are finished, and of how many."""
        return [(job.key, *job.steps_of) for job, _ in self.rendering.values() if job.steps_of is not None]

    async def standing(self) -> Standing:
        """How far the campaign is. Raises WorldFault."""
        reader, campaign_id, fault = (
            self._context.store.reader,
            self._context.campaign_id,
            self._context.guard.fault,
        )

        def look() -> Standing:
            progress, row = reader.progress(campaign_id), reader.campaign(campaign_id)
            return Standing(**vars(progress), state=row["state"], fault="" if fault is None else str(fault))

        return await asyncio.to_thread(look)

    async def watch(self) -> None:
        """Notice the campaign's end while no tab does so: there is none yet, or none any more, or none may work."""
        while True:
            await asyncio.sleep(_LONGEST_IDLE_S)
            if self._idle.is_set() or self._context.guard.fault is not None:
                await self._look_for_end()

    async def work(self, session: TabSession) -> None:
        """Work through jobs with this tab until none is left, the tab is gone, or the run stops."""
        context, ending = self._context, self._context.ending
        if ending.stopping.done():
            return  # it came when the others had done everything
        self._busy += 1
        self.idle_since = None
        self._idle.clear()
        settling: set[asyncio.Task[None]] = set()
        try:
            session_id = await self._threads.store(
                context.store.start_session, self.worker_id, context.campaign_id, self._provenance(session)
            )
            session.settle_s = context.campaign.settle_s
            if context.campaign.deterministic:
                session.begin_job(seed=0)  # for elements of the scene itself that depend on chance
            if context.campaign.isolate:
                session.set_base(context.campaign.make_scene())
                # The first picture of a large scene may take long.
                self._tell_remarks(session)
            else:
                session.set @ context.campaign.make_scene()
            while not (ending.stopping.done() or _is_over(session)):
                if context.guard.fault is not None:
                    await self._rest(session, _IDLE_S)
                    continue
                taken = await self._take(session_id)
                if taken is None:
                    await _until_at_most(settling, 0)
                    taken = await self._look_for_work(session, session_id)
                if taken is not None:
                    async with self._company.of(taken[0].job_id):
                        settling |= await self._attempt(session, *taken)
                    await _until_at_most(settling, _SETTLING_AT_ONCE)
                elif ending.finished.is_set():
                    return
        except SessionGone:
            pass
        except Exception as error:
            # The database or the scene failed, not a job: no tab can go on.
            ending.fail(error)
        finally:
            for end in await asyncio.gather(*settling, return_exceptions=True):
                if isinstance(end, Exception):
                    ending.fail(end)
            self._busy -= 1
            if not self._busy:
                self.idle_since = time.monotonic()
                self._idle.set()

    async def _rest(self, session: TabSession, limit_s: float) -> None:
        """Wait that long, or until the run stops or the tab is gone."""
        ends: set[asyncio.Future[Any]] = {self._context.ending.stopping, session.closed}
        await asyncio.wait(ends, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)

    async def _look_for_work(self, session: TabSession, session_id: int) -> _Taken | None:
        """No job is ready: they wait for a retry or a paused campaign, or other workers have them. Look again, ever
        less often.

        Only one tab at a time looks, so that many idle tabs cost no more than one. None when it is time to stop.
        """
        context, ending = self._context, self._context.ending
        wait_s = _IDLE_S
        async with self._looking:
            while not (
                ending.stopping.done()
                or _is_over(session)
                or context.guard.fault is not None
                or ending.finished.is_set()
            ):
                taken = await self._take(session_id)
                if taken is not None:
                    return taken
                await self._look_for_end()
                if not ending.finished.is_set():
                    await self._rest(session, wait_s)
                    wait_s = min(1.1 * wait_s, _LONGEST_IDLE_S)
        return None

    async def _look_for_end(self) -> None:
        row = await self._threads.store(self._context.store.reader.campaign, self._context.campaign_id)
        is_over = row["state"] == "cancelled" or self._agenda.is_spent or self._context.ending.draining
        is_all_settled = self._context.ending.has_all and row["done"] + row["failed"] == row["total"]
        # Otherwise jobs in flight would be handed back.
        if is_all_settled or (is_over and not self._in_flight):
            self._context.ending.finished.set()

    def _provenance(self, session: TabSession) -> Provenance:
        return Provenance(
            name=session.name,
            browser=session.browser,
            renderer=session.renderer,
            client=session.client,
            runner=__version__,
            vuer=version("vuer"),
            file_sha256=self._context.campaign.file_sha256,
            settings=self._context.campaign.settings,
        )

    async def _take(self, session_id: int) -> _Taken | None:
        """The next job, and what an earlier attempt at it may have left on disk; None: no job is ready."""
        store, campaign_id = self._context.store, self._context.campaign_id
        if self._context.ending.draining:
            return None

        def claim() -> _Taken | None:
            leases = self._agenda.claim(store, self.worker_id, campaign_id, session_id)
            return (leases[0], self._context.results.left_behind(leases[0])) if leases else None

        # Count it from now on: a tab that sees no job in flight takes that for the end.
        self._in_flight += 1
        taken: _Taken | None = None
        try:
            taken = await self._threads.claim(claim)
        except LeaseLost:
            # This process was suspended for longer than the lease: it goes on as a new worker.
            self.worker_id = await self._come_back(self.worker_id)
        finally:
            self._in_flight -= taken is None
        return taken

    async def _attempt(
        self, session: TabSession, lease: Lease, left_behind: Finished | None
    ) -> set[asyncio.Task[None]]:
        """Render the job and settle its result, or return the task that settles it while the tab goes on."""
        if left_behind is not None and await self._adopt(lease, left_behind):
            self._in_flight -= 1
            return set()
        life = Life(lease, self._tell_of_code)
        files = await self._files_of(session, lease, life)
        self.rendering[session] = files, time.monotonic()
        try:
            attempt = await render(self._context, session, lease, files, life)
        finally:
            del self.rendering[session]
        session.owner.rendered()
        if session.lasting:
            after = f"after job {lease.key} and each like it"
            told = f"the page is loaded anew {after}: {session.lasting}"
            self._context.guard.tell("page", told, once="lasting")
        self._tell_remarks(session)
        settling = asyncio.create_task(self._settle(attempt))
        if not attempt.is_good or self._company.is_suspect(lease.job_id):
            await settling
            return set()
        # The tab need not wait for the files to reach the disk.
        return {settling}

    def _tell_of_code(self, kind: str, what: str) -> None:
        """Report what a job's code did: what came too late of each job, all else once."""
        if kind == "late":
            self._context.guard.note(kind, what)
        else:
            self._context.guard.tell(kind, what, once=kind)

    def _tell_remarks(self, session: TabSession) -> None:
        """Report the session's remarks on the scene, each kind once."""
        for kind, reason in session.remarks.items():
            self._context.guard.tell("page", reason, once=kind)

    async def _settle(self, attempt: Attempt) -> None:
        try:
            await self._settler.settle(attempt)
        finally:
            self._in_flight -= 1

    async def _adopt(self, lease: Lease, finished: Finished) -> bool:
        """Adopt an attempt that had finished before a crash kept the database from knowing."""
        results = self._context.results
        if not await self._threads.wait_for(lambda: all(map(results.is_whole, finished.outcome.artifacts))):
            return False
        store, kept = self._context.store, finished.outcome.artifacts
        try:
            if not await self._threads.store(store.may_adopt, lease.job_id, finished):
                return False
            # Clean up before completing it, so that a kill in between leaves no file that no row names.
            await self._threads.wait_for(lambda: results.remove_earlier(lease, kept))
            is_done = await self._threads.store(store.adopt, lease, finished)
        except LeaseLost:
            return True
        self.adopted += is_done
        return is_done

    async def _files_of(self, session: TabSession, lease: Lease, life: Life) -> RenderJob:
        store, results, writer = self._context.store, self._context.results, self._threads.writer

        def persist(make: Callable[[], Checkpoint]) -> Future[None]:
            return self._threads.submit(lambda: store.checkpoint(lease, make()))

        is_isolated = self._context.campaign.isolate
        checkpoint = Checkpoint()
        if lease.attempt > 1:
            checkpoint = await self._threads.store(store.reader.checkpoint_of, lease)

        def make() -> RenderJob:
            return RenderJob(
                lease,
                results,
                writer,
                checkpoint,
                persist,
                check=life.check,
                scene=session.kept_scene if is_isolated else lambda: None,
                can_show=session.can_show if is_isolated else lambda scene: True,
            )

        # Reads and compares the files that it names.
        return await self._threads.wait_for(make) if checkpoint.step else make()


def _is_over(session: TabSession) -> bool:
    return session.closed.done() or session.is_spoiled or bool(session.owner.retired)


async def _until_at_most(tasks: set[asyncio.Task[None]], count: int) -> None:
    """Remove ended tasks from the set, and wait while it holds more than that. Raises what they raised."""
    while True:
        for task in [task for task in tasks if task.done()]:
            tasks.discard(task)
            task.result()
        if len(tasks) <= count:
            return
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
