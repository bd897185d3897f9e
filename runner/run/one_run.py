"""One campaign run: wires store, server, browsers, log, progress and signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.browsers import BrowserPool, Limits
from runner.campaign import Campaign, Submission, add_jobs, plan_submission, read_jobs
from runner.commands import Commands
from runner.errors import CampaignError, RunnerError, UsageError, WorldFault
from runner.exits import ExitStatus
from runner.job import Place, Source
from runner.machine import Guard, Probe, probe_descriptors, probe_disk, world_fault
from runner.results import LogMirror, MetricsLog, ResultsFolder, contact_sheet
from runner.run.breaker import Breaker
from runner.run.context import Limits as RenderLimits
from runner.run.context import RunContext
from runner.run.crew import Crew
from runner.run.ending import End, Ending
from runner.run.farewell import say_end
from runner.run.keeper import LEASE_S, Housekeeper
from runner.run.limits import TimeLimit
from runner.run.progress import show_progress
from runner.run.say import ask, say
from runner.run.signals import Signals
from runner.store import Store
from runner.tabs import PERSON

if TYPE_CHECKING:
    from runner.sessions import Session

_SHEET_TILES = 100
_TABS_AWAY_S = 5.0
# Below that a browser cannot keep its profile.
_LEAST_TEMPORARY_BYTES = 32 << 20


@dataclass(frozen=True)
class RunOptions:
    """How to run a campaign.

    sessions: headless browsers to start. database: a path or URL. results: the folder RESULTS.
    host, port: where the server listens; port 0 takes a free one.
    rasterizer: what the browsers draw with, or 'auto'.
    require_gpu: refuse to render in software. limits: when a browser has done enough.
    halt_share: the run halts when different jobs failed in this share of the last attempts; None: never.
    add: jobs are added also where that looks like a mistake. prune: pending jobs that the campaign no longer
    yields are taken out.
    """

    sessions: int
    database: str
    results: Path
    host: str = "localhost"
    port: int = 0
    rasterizer: str = "auto"
    require_gpu: bool = False
    limits: Limits = Limits()
    halt_share: float | None = 0.2
    log_root: str | None = None
    min_free_bytes: int = 0
    add: bool = False
    prune: bool = False


def run_campaign(campaign: Campaign, options: RunOptions) -> ExitStatus:
    """Add the campaign's jobs, render until nothing is left, and say what happened.

    Raises a RunnerError for what the user can mend.
    """
    began = time.monotonic()
    campaign.make_scene()
    guard = Guard(say, [probe_descriptors])
    with (
        guard.insist(Signals, say) as signals,
        # All the user's own code that adds jobs runs before the database is opened.
        guard.insist(read_jobs, campaign, say) as spool,
        guard.insist(Store, options.database) as store,
    ):
        if store.database.news:
            say(store.database.news)
        if store.file is not None:
            guard.probes.append(probe_disk(store.file.parent))
        if guard.insist(store.ended_uncleanly):
            say("an earlier run ended without signing off; looking through the database")
            guard.insist(store.check)
        commands = Commands(
            campaign.name, store.address, str(campaign.file), str(options.results), campaign.settings
        )
        submission = guard.insist(plan_submission, campaign, store, spool, options.prune)
        _agree(submission, options, commands)
        place = Place(file=str(campaign.file), results=str(options.results))
        campaign_id, added = guard.insist(add_jobs, submission, store, place, say, options.prune)
        spool.close()
        _note_sources(campaign, guard.insist(store.sources, campaign_id), guard)
        guard.insist(store.reap, campaign_id, LEASE_S)
        progress = guard.insist(store.progress, campaign_id)
        say(
            f"{campaign.name}: {progress.total:,} jobs: {added.new:,} new, {progress.done:,} done, "
            f"{progress.failed:,} failed, {progress.left:,} left"
        )
        state = guard.insist(store.campaign, campaign_id)["state"]
        if progress.left and state != "open":
            say(f"{campaign.name} is {state}; to let it go on: {commands.verb('resume')}")
            return ExitStatus.STOPPED
        results = ResultsFolder(options.results, campaign.name, campaign.code_sha256)
        log = MetricsLog(store, campaign_id, results)
        mirror = LogMirror(log, options.log_root, say) if options.log_root else None
        guard.insist(_log_params, campaign, log)
        if mirror:
            mirror.start()
        try:
            status: ExitStatus | None = None
            if progress.left:
                worker_id = guard.insist(store.start_worker, campaign_id)
                earlier = guard.insist(_earlier_renderer, store, campaign_id)
                one = _Run(campaign, campaign_id, store, results, guard, options)
                status = asyncio.run(one.work(worker_id, earlier, log, signals, commands))
                guard.probes = []
            if status is None:
                status = guard.insist(_status_of, store, campaign_id)
            with _told("the metrics log is brought up to date by the next run"):
                log.sync()
            if mirror:
                mirror.close()
        finally:
            log.close()
        with _told("there is no new contact sheet"):
            _draw_contact_sheet(store, campaign_id, results)
        with _told(f"how far it has come: {commands.verb('report')}"):
            say_end(store, campaign_id, commands, results.folder, status, time.monotonic() - began)
        return status


def _agree(submission: Submission, options: RunOptions, commands: Commands) -> None:
    """Say what adding the jobs means, and ask where it looks like a mistake. Raises CampaignError without a yes."""
    for line in submission.lines:
        say(line)
    if submission.doubt and not options.add and not ask(f"{submission.doubt}. Add them all the same?"):
        earlier = submission.earlier_settings
        as_before = "" if earlier is None else replace(commands, settings=earlier).run()
        raise CampaignError(
            f"{submission.doubt}. No row was changed. "
            + (f"To go on as before: {as_before}. " if as_before else "")
            + f"To go on with them all the same: {commands.run('--add')}"
        )


def _note_sources(campaign: Campaign, known: list[Source], guard: Guard) -> None:
    """Keep for the report which files are used, whenever one is another than was used last."""

    def note(source: Source) -> None:
        guard.events.append((source.ts, "source", f"{source.digest} {source.name}"))

    if campaign.sources is not None:
        campaign.sources.listen({source.name: source.digest for source in known}, note)


def _log_params(campaign: Campaign, log: MetricsLog) -> None:
    try:
        log.log_params(
            campaign={"name": campaign.name, "file": str(campaign.file), **vars(campaign.policy)},
            settings=campaign.settings,
        )
    except OSError as error:
        if world_fault(error) is not None and error.errno != errno.EROFS:
            raise
        raise UsageError(
            f"cannot write in {log.folder} ({(error.strerror or str(error)).lower()}): "
            "name another folder with --results"
        ) from None


def _earlier_renderer(store: Store, campaign_id: int) -> str:
    """What drew the campaign's pictures last, as WebGL names it; ''."""
    renderers = [session["renderer"] for session in store.sessions(campaign_id) if session["renderer"]]
    return "".join(renderers[-1:])


@dataclass(frozen=True)
class _Run:
    """What is rendered, where to, and how."""

    campaign: Campaign
    campaign_id: int
    store: Store
    results: ResultsFolder
    guard: Guard
    options: RunOptions

    async def work(
        self, worker_id: int, earlier_renderer: str, log: MetricsLog, signals: Signals, commands: Commands
    ) -> ExitStatus | None:
        """Render; the exit status, or None where it is as the rows tell."""
        # Vuer takes most of a second to import; the commands that only read go without it.
        from runner.sessions import Server

        options, guard, ending = self.options, self.guard, Ending()
        pool = BrowserPool(
            options.sessions,
            say,
            guard,
            options.rasterizer,
            options.require_gpu,
            options.limits,
            earlier_renderer,
        )
        policy = self.campaign.policy
        limits = RenderLimits(TimeLimit(policy.timeout_s), TimeLimit(policy.stall_s))
        context = RunContext(self.campaign, self.campaign_id, self.store, self.results, guard, limits, ending)
        crew = Crew(context, worker_id, Breaker(options.halt_share))
        server = Server(_welcome(crew.work), options.host, options.port, self.campaign.assets)
        await server.start()
        if not options.sessions:
            say(f"open this link in a browser, in as many tabs as you like:\n{server.link()}")
        guard.probes = self._probes(pool, crew, ending)
        browsers = asyncio.create_task(pool.run(server))
        finished = asyncio.create_task(ending.finished.wait())
        shown = asyncio.create_task(
            show_progress(self.store, self.campaign_id, commands, lambda: len(server.sessions))
        )
        try:
            with signals.ending(ending):
                async with Housekeeper(context, crew, log, options.min_free_bytes):
                    ends: set[asyncio.Future[Any]] = {browsers, finished, ending.stopping}
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                    ending.stop("the run was stopped")
                    await crew.stopped()
                if crew.adopted:
                    say(
                        f"{crew.adopted:,} jobs had been finished before a crash, and were not rendered again"
                    )
        finally:
            finished.cancel()
            shown.cancel()
            await server.stop()
            if not browsers.done():
                browsers.cancel()
            await asyncio.gather(shown, return_exceptions=True)
            with contextlib.suppress(asyncio.CancelledError):
                await browsers
        return _status_of_end(ending, signals)

    def _probes(self, pool: BrowserPool, crew: Crew, ending: Ending) -> list[Probe]:
        """What sees whether the world lets the run go on."""
        folders = [self.results.folder]
        if self.store.file is not None:
            folders.append(self.store.file.parent)
        probes = [probe_descriptors, *(probe_disk(folder, self.options.min_free_bytes) for folder in folders)]
        if not self.options.sessions:
            return [*probes, _probe_tabs(crew, ending)]
        return [*probes, pool.probe, probe_disk(Path(tempfile.gettempdir()), _LEAST_TEMPORARY_BYTES)]


def _status_of_end(ending: Ending, signals: Signals) -> ExitStatus | None:
    """How a run ends that was stopped, None where the rows tell. Raises what it failed with."""
    stop = ending.stopping.result()
    if signals.status is not None:
        return signals.status
    if stop.error is not None:
        raise stop.error
    if stop.end is End.HALTED:
        say(
            f"{stop.reason}. None of them was charged. Mend it and give the same command again, "
            "or add '--halt never' to render what can be rendered"
        )
        return ExitStatus.STOPPED
    return None


def _probe_tabs(crew: Crew, ending: Ending) -> Probe:
    """Fails while all tabs that there were are gone: their machine sleeps, or the network is away."""

    def probe() -> None:
        since = crew.idle_since
        if since is not None and time.monotonic() - since > _TABS_AWAY_S and not ending.finished.is_set():
            raise WorldFault("no tab is connected any more: open this run's link again, or wake its machine")

    return probe


def _welcome(work: Callable[[Session], Awaitable[None]]) -> Callable[[Session], Awaitable[None]]:
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


def _status_of(store: Store, campaign_id: int) -> ExitStatus:
    progress = store.progress(campaign_id)
    if progress.left:
        is_cancelled = store.campaign(campaign_id)["state"] == "cancelled"
        return ExitStatus.STOPPED if is_cancelled else ExitStatus.UNFINISHED
    if progress.failed:
        return ExitStatus.SOME_FAILED
    return ExitStatus.DONE if progress.total else ExitStatus.NOTHING_TO_DO


@contextlib.contextmanager
def _told(consequence: str) -> Iterator[None]:
    """What the disk refuses at the very end is said, and changes nothing of what was done."""
    try:
        yield
    except Exception as error:
        if isinstance(error, RunnerError) and not isinstance(error, WorldFault):
            raise
        say(f"{consequence} ({error})")


def _draw_contact_sheet(store: Store, campaign_id: int, results: ResultsFolder) -> None:
    done = store.progress(campaign_id).done
    pictures = store.sample_pictures(campaign_id, every=max(1, done // _SHEET_TILES), limit=_SHEET_TILES)
    if pictures:
        contact_sheet([results.root / path for path in pictures], results.folder / "contact_sheet.jpg")
