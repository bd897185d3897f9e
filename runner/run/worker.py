"""A worker process: it serves the tabs, and renders with them until no job is left or it must stop."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from runner.browsers import BrowserPool, Launcher
from runner.browsers import Limits as BrowserLimits
from runner.campaign import Campaign, load_campaign
from runner.errors import WorldFault
from runner.job import Lease, Source
from runner.machine import is_loopback
from runner.results import PackedResults, ResultsFolder
from runner.run.agenda import Agenda
from runner.run.board import Board
from runner.run.chance import notice_seeds
from runner.run.channel import Channel, Message
from runner.run.company import Company
from runner.run.context import Limits, RunContext
from runner.run.crew import Crew
from runner.run.ending import Ending
from runner.run.limits import TimeLimit
from runner.run.live import Live
from runner.run.spec import WorkerSpec
from runner.sessions import BaseScene, Joiners, Server, Session, keep_arrays, session_view
from runner.store import Store
from runner.tabs import PERSON

__all__ = ["serve"]

_BEAT_S, _TELL_S, _TELL_SETTLED_S = 0.1, 0.25, 0.1
_TABS_AWAY_S = 5.0
_LOOK_AGAIN_S = 0.1
_LOOK_AT_SHARDS_S = 5.0


async def serve(
    channel: Channel,
    board: Board,
    spec: WorkerSpec,
    orders: asyncio.Queue[Message],
    launcher: Launcher | None = None,
) -> None:
    """Work by the spec, and by the orders that come meanwhile; tells the supervisor how it ended.

    launcher: one that was started ahead.
    """
    outpost = _Outpost(channel, spec.suspects)
    ending = Ending(spec.has_all)
    beating = asyncio.create_task(_beat(board))
    obeying = asyncio.create_task(_obey(orders, outpost, ending))
    try:
        await _Worker(channel, board, spec, outpost, ending, launcher).work()
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
        elif order["is"] == "drain":
            ending.drain(order["reason"])
        elif order["is"] == "fault":
            outpost.fault = WorldFault(order["message"])
        elif order["is"] == "well":
            outpost.fault = None
        elif order["is"] == "all there":
            ending.has_all = True
        elif order["is"] == "worker":
            outpost.worker_ids.put_nowait(order["id"])
        elif order["is"] == "suspects":
            outpost.company.suspect(order["jobs"])
        elif order["is"] == "doors":
            outpost.doors.clear()
            outpost.doors.update({int(port): tabs for port, tabs in order["doors"].items()})
        elif order["is"] == "elsewhere":
            outpost.elsewhere.clear()
            outpost.elsewhere.update(order["tabs"])


class _Outpost:
    """The run's guard in a worker process: it reports faults to the supervisor, which says when they are over.

    company: which jobs may run together. doors: how many tabs each of the run's worker processes has, by its port;
    elsewhere: the tabs of the others, for the live page.
    """

    def __init__(self, channel: Channel, suspects: Sequence[int]):
        self.fault: WorldFault | None = None
        self.worker_ids: asyncio.Queue[int] = asyncio.Queue()
        self.company = Company(suspects, tell=lambda job_id: channel.send("alone", job=job_id))
        self.doors: dict[int, int] = {}
        self.elsewhere: dict[str, list[dict[str, Any]]] = {}
        self._channel = channel
        self._told: set[str] = set()

    def note(self, kind: str, message: str, *, once: str = "", ts: float | None = None) -> None:
        if self._is_new(once):
            ts = time.time() if ts is None else ts
            self._channel.send("event", ts=ts, kind=kind, message=message, once=once)

    def tell(self, kind: str, message: str, *, once: str = "") -> None:
        if self._is_new(once):
            self._channel.send("tell", kind=kind, message=message, once=once)

    def say(self, line: str, once: str = "") -> None:
        """A line for people."""
        if self._is_new(once):
            self._channel.send("say", line=line, once=once)

    def _is_new(self, once: str) -> bool:
        """Whether to report it: the supervisor compares workers, but a later job here may report the same again."""
        is_new = once not in self._told
        self._told |= {once} - {""}
        return is_new

    def pause(self, fault: WorldFault) -> None:
        if self.fault is None:
            self.fault = fault
            self._channel.send("pause", message=str(fault))

    async def come_back(self, worker_id: int) -> int:
        """A new id for the worker, which was taken for dead."""
        self._channel.send("lost")
        while (new_id := await self.worker_ids.get()) == worker_id:
            pass
        return new_id


class _Settled:
    """Reports ended attempts to the supervisor: failed ones at once, others ten times a second."""

    def __init__(self, channel: Channel):
        self._channel = channel
        self._untold: list[tuple[float, int, int, bool, str]] = []
        self._told_at = -_TELL_SETTLED_S

    def add(self, lease: Lease, error: str) -> None:
        """Add an ended attempt. error: why it failed, or ''."""
        if not self._untold:
            next_s = self._told_at + _TELL_SETTLED_S - time.monotonic()
            asyncio.get_running_loop().call_later(max(next_s, 0.0), self.tell)
        is_first = not (lease.failures or lease.crashes)
        self._untold.append((lease.grab_ts, lease.job_id, lease.attempt, is_first, error))
        if error:
            self.tell()

    def tell(self) -> None:
        """Report all that have ended so far."""
        if self._untold:
            self._channel.send("settled", attempts=self._untold)
            self._untold, self._told_at = [], time.monotonic()


class _Worker:
    def __init__(
        self,
        channel: Channel,
        board: Board,
        spec: WorkerSpec,
        outpost: _Outpost,
        ending: Ending,
        launcher: Launcher | None,
    ):
        self._channel, self._board, self._spec = channel, board, spec
        self._outpost, self._ending, self._launcher = outpost, ending, launcher

    async def work(self) -> None:
        """Serve the tabs until no job is left, or it must stop."""
        spec, ending = self._spec, self._ending
        keep_arrays()
        notice_seeds()
        campaign = load_campaign(spec.file, spec.settings)
        if campaign.sources is not None:
            campaign.sources.listen(spec.sources, self._note_source)
        store = await self._open_store()
        if store is None:
            return
        with store:
            of = (spec.results, campaign.name, campaign.code_sha256)
            results = PackedResults(*of, spec.shard_bytes) if spec.is_packed else ResultsFolder(*of)
            limits = Limits(
                TimeLimit(campaign.policy.timeout_s, spec.attempts_known),
                TimeLimit(campaign.policy.stall_s, spec.steps_known),
            )
            company = self._outpost.company
            settled = _Settled(self._channel)

            def on_settled(lease: Lease, error: str) -> None:
                company.clear(lease.job_id)
                settled.add(lease, error)

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
            jobs = None if spec.jobs is None else dict(spec.jobs)
            agenda = Agenda(jobs, spec.order == "spread", spec.share.which, spec.share.of)
            crew = Crew(context, spec.worker_id, self._outpost.come_back, company, agenda)
            closing = asyncio.create_task(_close_shards(results, spec.shard_age_s))
            try:
                await crew.take_over()
                await self._serve(campaign, crew, limits)
            finally:
                closing.cancel()
                settled.tell()

    async def _serve(self, campaign: Campaign, crew: Crew, limits: Limits) -> None:
        spec, ending = self._spec, self._ending
        pool = BrowserPool(
            spec.share.sessions,
            self._outpost.say,
            self._outpost,
            spec.rasterizer,
            spec.require_gpu,
            BrowserLimits(spec.renders, spec.memory_bytes),
            spec.earlier_renderer,
            spec.found_rasterizer,
            spec.drivers,
            spec.share.first_session,
            launcher=self._launcher,
        )
        live = Live(
            spec.database,
            spec.campaign_id,
            Path(spec.results),
            lambda: server.sessions,
            crew.rendering,
            pool.resting,
            self._outpost.elsewhere,
            lambda: str(self._outpost.fault or ""),
            self._outpost.say,
        )
        joiners = Joiners(
            campaign.name,
            lambda: next((one.renderer for one in server.sessions if one.renderer), spec.earlier_renderer),
            crew.standing,
        )
        server = Server(
            _welcome(crew.work, self._outpost),
            spec.host,
            spec.port,
            campaign.assets,
            spec.token,
            self._outpost.say,
            spec.cert,
            spec.key,
            spec.names,
            live,
            self._outpost.doors,
            spec.plain_page,
            joiners,
            spec.tab_lease_s,
            BaseScene(campaign.make_scene),
        )
        await server.start()
        is_for_people = not (spec.share.sessions and is_loopback(spec.host))
        link = server.link(is_shown=spec.is_shown) if is_for_people else ""
        self._channel.send("begun", port=server.port, link=link, live=server.live_link())
        browsers = asyncio.create_task(pool.run(server))
        finished = asyncio.create_task(ending.finished.wait())
        telling = asyncio.create_task(self._tell(server, pool, crew, limits, live))
        watching = asyncio.create_task(crew.watch())
        informing = asyncio.create_task(joiners.tell_standing())
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
            informing.cancel()
            await server.stop(ending.reason, ending.finished.is_set())
            live.close()
            browsers.cancel()
            await asyncio.gather(browsers, return_exceptions=True)

    async def _open_store(self) -> Store | None:
        """The database; None when the run stops before it can be opened."""
        while not self._ending.stopping.done():
            try:
                return await asyncio.to_thread(Store, self._spec.database)
            except WorldFault as fault:
                self._outpost.pause(fault)
            while self._outpost.fault is not None and not self._ending.stopping.done():
                await asyncio.wait({self._ending.stopping}, timeout=_LOOK_AGAIN_S)
        return None

    async def _tell(self, server: Server, pool: BrowserPool, crew: Crew, limits: Limits, live: Live) -> None:
        """Tell the supervisor now and then how many tabs there are, why they cannot work, and what was found out."""
        sightings = _Sightings(self._outpost)
        while True:
            sightings.look(server.sessions)
            trouble = ""
            try:
                pool.probe()
                if not self._spec.share.sessions:
                    _probe_tabs(crew)
            except WorldFault as fault:
                trouble = str(fault)
            known = {"attempts_known": limits.attempt.known, "steps_known": limits.step.known}
            found = {"found_rasterizer": pool.found_rasterizer, "drivers": pool.drivers}
            self._channel.send(
                "state",
                sessions=len(server.sessions),
                trouble=trouble,
                known=known,
                found=found if pool.found_rasterizer else {},
                steps=crew.steps(),
                # The first worker shows its own tabs itself.
                shown={server.own_live_link(): live.tabs()} if self._spec.share.which else {},
            )
            await asyncio.sleep(_TELL_S)

    def _note_source(self, source: Source) -> None:
        what = f"{source.digest} {source.name}"
        self._outpost.note("source", what, ts=source.ts)


async def _close_shards(results: ResultsFolder, age_s: float) -> None:
    """Close each shard when it is that old, whether or not jobs come."""
    while age_s and isinstance(results, PackedResults):
        await asyncio.sleep(min(age_s, _LOOK_AT_SHARDS_S))
        await asyncio.to_thread(results.close_older_than, age_s)


class _Sightings:
    """Reports tabs that go out of sight, and tabs that come back."""

    def __init__(self, outpost: _Outpost):
        self._outpost = outpost
        self._hidden: dict[str, str] = {}

    def look(self, sessions: Iterable[Session]) -> None:
        """Report changes."""
        now = {one.id: one.name for one in sessions if one.is_hidden or one.held_s}
        for tab, name in now.items():
            if tab not in self._hidden:
                self._outpost.note("hidden", name)
                self._outpost.say(
                    f"{name} is out of sight, and browsers slow such tabs down: bring it to the front"
                )
        for tab, name in self._hidden.items():
            if tab not in now:
                self._outpost.note("seen", name)
        self._hidden = now


def _probe_tabs(crew: Crew) -> None:
    """Raises WorldFault while all earlier tabs are gone: their machine sleeps, or the network is away."""
    since = crew.idle_since
    if since is not None and time.monotonic() - since > _TABS_AWAY_S:
        raise WorldFault("no tab is connected any more: open this run's link again, or wake its machine")


def _welcome(
    work: Callable[[Session], Awaitable[None]], outpost: _Outpost
) -> Callable[[Session], Awaitable[None]]:
    """Start the work of pages that can do it; one line if the web client is not the one known here."""

    async def welcome(session: Session) -> None:
        if session.refused:
            # The pool reports its own tabs.
            if session.owner is PERSON:
                outpost.say(f"{session.name} cannot render: {session.refused}")
            return
        changed = session.changed_parts()
        if changed:
            parts = ", ".join(f"{name} {version}" for name, version in changed.items())
            told = f"Vuer's web client has changed ({parts}): look at the first frames before you trust them"
            outpost.say(told, once="client")
        await work(session)

    return welcome
