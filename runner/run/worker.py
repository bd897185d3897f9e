"""What a worker process does: it serves the tabs, and renders with them until no job is left or it must stop."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from runner.browsers import BrowserPool
from runner.browsers import Limits as BrowserLimits
from runner.campaign import Campaign, load_campaign
from runner.errors import WorldFault
from runner.job import Source
from runner.machine import is_loopback
from runner.results import PackedResults, ResultsFolder
from runner.run.agenda import Agenda
from runner.run.board import Board
from runner.run.channel import Channel, Message
from runner.run.company import Company
from runner.run.context import Limits, RunContext
from runner.run.crew import Crew
from runner.run.ending import Ending
from runner.run.limits import TimeLimit
from runner.run.live import Live
from runner.run.spec import WorkerSpec
from runner.sessions import Server, Session, session_view
from runner.store import Store
from runner.tabs import PERSON

__all__ = ["serve"]

_BEAT_S, _TELL_S, _TELL_SETTLED_S = 0.1, 0.25, 0.1
_TABS_AWAY_S = 5.0
_LOOK_AGAIN_S = 0.1


async def serve(channel: Channel, board: Board, spec: WorkerSpec, orders: asyncio.Queue[Message]) -> None:
    """Work as the spec says, and as the orders do that come meanwhile; tells the supervisor how it ended."""
    outpost = _Outpost(channel)
    ending = Ending(spec.has_all)
    beating = asyncio.create_task(_beat(board))
    obeying = asyncio.create_task(_obey(orders, outpost, ending))
    try:
        await _Worker(channel, board, spec, outpost, ending).work()
    except Exception as error:
        ending.fail(error)
    finally:
        obeying.cancel()
        beating.cancel()
    failure = ending.stopping.result().error if ending.stopping.done() else None
    if failure is not None:
        trace = "".join(traceback.format_exception(failure))
        channel.send("failed", kind=type(failure).__name__, message=str(failure), trace=trace)


async def _beat(board: Board) -> None:
    while True:
        board.beat()
        await asyncio.sleep(_BEAT_S)


async def _obey(orders: asyncio.Queue[Message], outpost: _Outpost, ending: Ending) -> None:
    while True:
        order = await orders.get()
        if order["is"] == "stop":
            ending.stop(order["reason"])
        elif order["is"] == "fault":
            outpost.fault = WorldFault(order["message"])
        elif order["is"] == "well":
            outpost.fault = None
        elif order["is"] == "all there":
            ending.has_all = True
        elif order["is"] == "worker":
            outpost.worker_ids.put_nowait(order["id"])


class _Outpost:
    """The run's guard, as a worker process has it: faults are told to the supervisor, which says when they are over."""

    def __init__(self, channel: Channel):
        self.fault: WorldFault | None = None
        self.worker_ids: asyncio.Queue[int] = asyncio.Queue()
        self._channel = channel

    def note(self, kind: str, message: str, ts: float | None = None) -> None:
        self._channel.send("event", ts=time.time() if ts is None else ts, kind=kind, message=message)

    def tell(self, kind: str, message: str) -> None:
        self.note(kind, message)
        self._channel.send("say", line=message)

    def pause(self, fault: WorldFault) -> None:
        if self.fault is None:
            self.fault = fault
            self._channel.send("pause", message=str(fault))

    async def come_back(self, worker_id: int) -> int:
        """Another id for the worker, which was taken for dead."""
        self._channel.send("lost")
        while (new_id := await self.worker_ids.get()) == worker_id:
            pass
        return new_id


class _Settled:
    """Tells the supervisor of attempts that have ended: of one that failed at once, of others ten times a second."""

    def __init__(self, channel: Channel):
        self._channel = channel
        self._untold: list[tuple[int, int, str]] = []
        self._told_at = -_TELL_SETTLED_S

    def add(self, job_id: int, attempt: int, error: str) -> None:
        """That attempt has ended; error: why it failed, or ''."""
        if not self._untold:
            next_s = self._told_at + _TELL_SETTLED_S - time.monotonic()
            asyncio.get_running_loop().call_later(max(next_s, 0.0), self.tell)
        self._untold.append((job_id, attempt, error))
        if error:
            self.tell()

    def tell(self) -> None:
        """Tell of all that have ended so far."""
        if self._untold:
            self._channel.send("settled", attempts=self._untold)
            self._untold, self._told_at = [], time.monotonic()


class _Worker:
    def __init__(self, channel: Channel, board: Board, spec: WorkerSpec, outpost: _Outpost, ending: Ending):
        self._channel, self._board, self._spec = channel, board, spec
        self._outpost, self._ending = outpost, ending

    def _say(self, line: str) -> None:
        self._channel.send("say", line=line)

    async def work(self) -> None:
        """Serve the tabs until no job is left, or it must stop."""
        spec, ending = self._spec, self._ending
        campaign = load_campaign(spec.file, spec.settings)
        if campaign.sources is not None:
            campaign.sources.listen(spec.sources, self._note_source)
        store = await self._open_store()
        if store is None:
            return
        with store:
            kind = PackedResults if spec.is_packed else ResultsFolder
            results = kind(spec.results, campaign.name, campaign.code_sha256)
            limits = Limits(
                TimeLimit(campaign.policy.timeout_s, spec.attempts_known),
                TimeLimit(campaign.policy.stall_s, spec.steps_known),
            )
            company = Company(spec.suspects, tell=lambda job_id: self._channel.send("alone", job=job_id))
            settled = _Settled(self._channel)

            def on_settled(job_id: int, attempt: int, error: str) -> None:
                company.clear(job_id)
                settled.add(job_id, attempt, error)

            context = RunContext(
                campaign,
                spec.campaign_id,
                store,
                results,
                self._outpost,
                limits,
                ending,
                view=session_view,
                take_fork=self._board.take_fork,
                on_settled=on_settled,
            )
            agenda = Agenda(spec.job_ids, spec.order == "spread")
            crew = Crew(context, spec.worker_id, self._outpost.come_back, company, agenda)
            try:
                await crew.take_over()
                await self._serve(campaign, crew, limits)
            finally:
                settled.tell()

    async def _serve(self, campaign: Campaign, crew: Crew, limits: Limits) -> None:
        spec, ending = self._spec, self._ending
        pool = BrowserPool(
            spec.sessions,
            self._say,
            self._outpost,
            spec.rasterizer,
            spec.require_gpu,
            BrowserLimits(spec.renders, spec.memory_bytes),
            spec.earlier_renderer,
            spec.found_rasterizer,
            spec.drivers,
        )
        live = Live(
            spec.database,
            spec.campaign_id,
            Path(spec.results),
            lambda: server.sessions,
            crew.rendering,
            pool.resting,
            lambda: str(self._outpost.fault or ""),
            self._say,
        )
        server = Server(
            _welcome(crew.work, self._say),
            spec.host,
            spec.port,
            campaign.assets,
            spec.token,
            self._say,
            spec.cert,
            spec.key,
            spec.names,
            live,
        )
        await server.start()
        is_for_people = not (spec.sessions and is_loopback(spec.host))
        link = server.link(is_shown=spec.is_shown) if is_for_people else ""
        self._channel.send("begun", port=server.port, link=link, live=server.live_link())
        browsers = asyncio.create_task(pool.run(server))
        finished = asyncio.create_task(ending.finished.wait())
        telling = asyncio.create_task(self._tell(server, pool, crew, limits))
        watching = asyncio.create_task(crew.watch())
        try:
            ends: set[asyncio.Future[Any]] = {browsers, watching, finished, ending.stopping}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for failed in (browsers, watching):
                failure = failed.exception() if failed.done() else None
                if isinstance(failure, Exception):
                    ending.fail(failure)
            ending.stop("the run was stopped")
            await crew.stopped()
            self._channel.send("adopted", count=crew.adopted)
        finally:
            finished.cancel()
            telling.cancel()
            watching.cancel()
            await server.stop()
            live.close()
            browsers.cancel()
            await asyncio.gather(browsers, return_exceptions=True)

    async def _open_store(self) -> Store | None:
        """The database; None when the run stops before it can be had."""
        while not self._ending.stopping.done():
            try:
                return await asyncio.to_thread(Store, self._spec.database)
            except WorldFault as fault:
                self._outpost.pause(fault)
            while self._outpost.fault is not None and not self._ending.stopping.done():
                await asyncio.wait({self._ending.stopping}, timeout=_LOOK_AGAIN_S)
        return None

    async def _tell(self, server: Server, pool: BrowserPool, crew: Crew, limits: Limits) -> None:
        """Tell the supervisor, now and then, how many tabs there are, what keeps them from work, and what is known."""
        while True:
            trouble = ""
            try:
                pool.probe()
                if not self._spec.sessions:
                    _probe_tabs(crew)
            except WorldFault as fault:
                trouble = str(fault)
            known = {
                "found_rasterizer": pool.found_rasterizer,
                "drivers": pool.drivers if pool.found_rasterizer else self._spec.drivers,
                "attempts_known": limits.attempt.known,
                "steps_known": limits.step.known,
            }
            self._channel.send(
                "state", sessions=len(server.sessions), trouble=trouble, known=known, steps=crew.steps()
            )
            await asyncio.sleep(_TELL_S)

    def _note_source(self, source: Source) -> None:
        self._outpost.note("source", f"{source.digest} {source.name}", source.ts)


def _probe_tabs(crew: Crew) -> None:
    """Raises WorldFault while all tabs that there were are gone: their machine sleeps, or the network is away."""
    since = crew.idle_since
    if since is not None and time.monotonic() - since > _TABS_AWAY_S:
        raise WorldFault("no tab is connected any more: open this run's link again, or wake its machine")


def _welcome(
    work: Callable[[Session], Awaitable[None]], say: Callable[[str], None]
) -> Callable[[Session], Awaitable[None]]:
    """The work, for pages that can do it, and one line when the web client is not the one known here."""
    said = False

    async def welcome(session: Session) -> None:
        nonlocal said
        if session.refused:
            # The pool tells of its own.
            if session.owner is PERSON:
                say(f"{session.name} cannot render: {session.refused}")
            return
        changed = session.changed_parts()
        if changed and not said:
            said = True
            parts = ", ".join(f"{name} {version}" for name, version in changed.items())
            say(f"Vuer's web client has changed ({parts}): look at the first frames before you trust them")
        await work(session)

    return welcome
