"""One campaign run: wires store, server, browsers, log, progress and signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.browsers import Limits, chosen_drivers, find_cards, find_drivers, temporary_place
from runner.campaign import Campaign, Submission, add_jobs, plan_submission, read_jobs
from runner.commands import Commands
from runner.errors import CampaignError, RunnerError, UsageError, WorldFault
from runner.exits import ExitStatus
from runner.job import Place, Source
from runner.machine import Guard, Probe, memory_bytes, probe_descriptors, probe_disk, world_fault
from runner.notices import Notices
from runner.reasons import error_line
from runner.results import LogMirror, MetricsLog, ResultsFolder
from runner.run.alarm import Alarm
from runner.run.breaker import Breaker
from runner.run.canary import Portions, render_in_portions
from runner.run.ending import End, Ending
from runner.run.farewell import told_end
from runner.run.keeper import LEASE_S, Housekeeper
from runner.run.process import WorkerProcess
from runner.run.progress import show_progress
from runner.run.say import ask, say
from runner.run.sheets import draw_sheets
from runner.run.signals import Signals
from runner.run.spec import WorkerSpec
from runner.run.supervisor import Supervisor
from runner.store import Reader, Store

# Below that a browser cannot keep its profile.
_LEAST_TEMPORARY_BYTES = 32 << 20


@dataclass(frozen=True)
class RunOptions:
    """How to run a campaign.

    sessions: headless browsers to start. database: a path or URL. results: the folder RESULTS.
    host, port: where the server listens; port 0 takes a free one.
    rasterizer: what the browsers draw with, or 'auto'.
    require_gpu: refuse to render in software. gpus: the cards to draw with, as all or 0,1.
    limits: when a browser has done enough.
    halt_share: the run halts when different jobs failed in this share of the last attempts; None: never.
    add: jobs are added also where that looks like a mistake. prune: pending jobs that the campaign no longer
    yields are taken out. worker_memory_bytes: a worker process that holds more is ended; None:
    half the machine's. notify: addresses that notices are sent to; they may hold secrets.
    show_progress: with a bar, or a line now and then.
    limit: at most so many jobs are taken, once each; None: all. canary: so many are rendered first, spread over all;
    where more of them than halt_share are bad, the run ends. order: 'added', or 'spread' over all of them.
    """

    sessions: int
    database: str
    results: Path
    host: str = "localhost"
    port: int = 0
    rasterizer: str = "auto"
    require_gpu: bool = False
    gpus: str | None = None
    limits: Limits = Limits()
    halt_share: float | None = 0.2
    log_root: str | None = None
    min_free_bytes: int = 0
    add: bool = False
    prune: bool = False
    worker_memory_bytes: int | None = None
    notify: Sequence[str] = field(default=(), repr=False)
    show_progress: bool = True
    limit: int | None = None
    canary: int = 0
    order: str = "added"


def run_campaign(campaign: Campaign, options: RunOptions, worker: WorkerProcess | None = None) -> ExitStatus:
    """Add the campaign's jobs, render until nothing is left, and say what happened.

    worker: a process that was started early, so that it imports meanwhile; it is the caller's to end.
    Raises a RunnerError for what the user can mend.
    """
    notices = Notices(options.notify, say)
    try:
        return _run_campaign(campaign, options, worker, notices)
    except Exception as error:
        notices.send(
            f"{campaign.name}: stopped", str(error) if isinstance(error, RunnerError) else error_line(error)
        )
        raise
    finally:
        notices.close()


def _run_campaign(
    campaign: Campaign, options: RunOptions, worker: WorkerProcess | None, notices: Notices
) -> ExitStatus:
    began = time.monotonic()
    drivers = _drivers_of(options)
    campaign.make_scene()
    guard = Guard(say, [probe_descriptors])
    with (
        Alarm(notices, campaign.name, guard).at_work() as alarm,
        guard.insist(Signals, say) as signals,
        # All the user's own code that adds jobs runs before the database is opened.
        guard.insist(read_jobs, campaign, say) as spool,
        guard.insist(Store, options.database) as store,
    ):
        _look_at_database(store, guard)
        commands = Commands(
            campaign.name, store.database.address, str(campaign.file), str(options.results), campaign.settings
        )
        submission = guard.insist(plan_submission, campaign, store.reader, spool, options.prune)
        _agree(submission, options, commands)
        place = Place(file=str(campaign.file), results=str(options.results))
        campaign_id, added = guard.insist(add_jobs, submission, store, place, say, options.prune)
        spool.close()
        _note_sources(campaign, guard.insist(store.reader.sources, campaign_id), guard)
        guard.insist(store.reap, campaign_id, LEASE_S)
        progress = guard.insist(store.reader.progress, campaign_id)
        say(
            f"{campaign.name}: {progress.total:,} jobs: {added.new:,} new, {progress.done:,} done, "
            f"{progress.failed:,} failed, {progress.left:,} left"
        )
        state = guard.insist(store.reader.campaign, campaign_id)["state"]
        if progress.left and state != "open":
            say(f"{campaign.name} is {state}; to let it go on: {commands.verb('resume')}")
            notices.send(f"{campaign.name}: is {state}", f"To let it go on: {commands.verb('resume')}")
            return ExitStatus.STOPPED
        results = ResultsFolder(options.results, campaign.name, campaign.code_sha256)
        alarm.know(commands, _written_to(store, results), options.min_free_bytes)
        with _logged(campaign, MetricsLog(store, campaign_id, results), options.log_root, guard) as log:
            status: ExitStatus | None = None
            if progress.left:
                earlier = guard.insist(_earlier_renderer, store.reader, campaign_id)
                one = Run(campaign, campaign_id, store, results, guard, options, earlier, drivers, notices)
                status = _render(one, log, signals, commands, worker)
                guard.probes = []
            if status is None:
                status = guard.insist(_status_of, store.reader, campaign_id)
        with _told("there is no new contact sheet"):
            draw_sheets(store.reader, campaign_id, results)
        with _told(f"how far it has come: {commands.verb('report')}"):
            told = told_end(
                store.reader, campaign_id, commands, results.folder, status, time.monotonic() - began
            )
            say(told)
            notices.send(*told.partition("\n")[::2])
        return status


def _drivers_of(options: RunOptions) -> list[str]:
    """The EGL drivers' files of the cards that were asked for; none where none were. Raises UsageError."""
    if options.gpus is None:
        return []
    if options.rasterizer not in ("auto", "egl"):
        raise UsageError(f"--gpus needs --rasterizer egl, not {options.rasterizer}")
    return chosen_drivers(options.gpus, find_cards(), find_drivers())


def _render(
    one: Run, log: MetricsLog, signals: Signals, commands: Commands, worker: WorkerProcess | None
) -> ExitStatus | None:
    """Render all that is left, or as many as were asked for; those of the canary first. Returns as Run.work does."""
    options, workers = one.options, iter([worker])

    def render(job_ids: Sequence[int] | None, breaker: Breaker | None) -> ExitStatus | None:
        return asyncio.run(one.work(log, signals, commands, next(workers, None), job_ids, breaker))

    portions = Portions(options.canary, options.limit, options.halt_share)
    status, why = render_in_portions(one.store, one.campaign_id, portions, one.results.root, commands, render)
    if why:
        one.notices.send(*why.partition("\n")[::2])
    return status


def _look_at_database(store: Store, guard: Guard) -> None:
    """Say what was done to it as it was opened, watch its disk, and look through it where it may be damaged."""
    if store.database.news:
        say(store.database.news)
    if store.database.file is not None:
        guard.probes.append(probe_disk(store.database.file.parent))
    if guard.insist(store.reader.ended_uncleanly):
        say("an earlier run ended without signing off; looking through the database")
        guard.insist(store.database.check)


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


@contextlib.contextmanager
def _logged(campaign: Campaign, log: MetricsLog, log_root: str | None, guard: Guard) -> Iterator[MetricsLog]:
    """The log, and its copy on a server, begun with the campaign's params and brought up to date at the end."""
    mirror = LogMirror(log, log_root, say) if log_root else None
    guard.insist(_log_params, campaign, log)
    if mirror:
        mirror.start()
    try:
        yield log
        with _told("the metrics log is brought up to date by the next run"):
            log.sync()
        if mirror:
            mirror.close()
    finally:
        log.close()


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


def _earlier_renderer(store: Reader, campaign_id: int) -> str:
    """What drew the campaign's pictures last, as WebGL names it; ''."""
    renderers = [session["renderer"] for session in store.sessions(campaign_id) if session["renderer"]]
    return "".join(renderers[-1:])


@dataclass(frozen=True)
class Run:
    """What is rendered, where to, and how."""

    campaign: Campaign
    campaign_id: int
    store: Store
    results: ResultsFolder
    guard: Guard
    options: RunOptions
    earlier_renderer: str
    drivers: list[str]
    notices: Notices

    async def work(
        self,
        log: MetricsLog,
        signals: Signals,
        commands: Commands,
        worker: WorkerProcess | None,
        job_ids: Sequence[int] | None = None,
        breaker: Breaker | None = None,
    ) -> ExitStatus | None:
        """Render; the exit status, or None where it is as the rows tell. job_ids: only those jobs, once each."""
        store, campaign_id, options, guard = self.store, self.campaign_id, self.options, self.guard
        ending, token = Ending(), secrets.token_urlsafe(24)
        assert self.campaign.file is not None
        supervisor = Supervisor(
            store,
            campaign_id,
            self.campaign.policy,
            guard,
            ending,
            breaker or Breaker(options.halt_share),
            lambda: self._spec(token, job_ids),
            self.campaign.file.parent,
            options.worker_memory_bytes or memory_bytes() // 2,
        )
        guard.probes = self._probes(supervisor)
        keeper = Housekeeper(
            store,
            campaign_id,
            self.results,
            guard,
            lambda: supervisor.worker,
            log,
            options.min_free_bytes,
            options.show_progress,
        )
        shown = asyncio.create_task(
            show_progress(store.reader, campaign_id, commands, lambda: supervisor.sessions)
            if options.show_progress
            else asyncio.sleep(0)
        )
        try:
            with signals.ending(ending):
                async with keeper.at_work(ending):
                    await supervisor.work(worker, WorkerProcess)
        finally:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
        if supervisor.adopted:
            say(f"{supervisor.adopted:,} jobs had been finished before a crash, and were not rendered again")
        return _status_of_end(ending, signals, commands, self.notices)

    def _spec(self, token: str, job_ids: Sequence[int] | None) -> WorkerSpec:
        options, sources = self.options, self.campaign.sources
        return WorkerSpec(
            file=str(self.campaign.file),
            settings=self.campaign.settings,
            database=options.database,
            results=str(options.results),
            campaign_id=self.campaign_id,
            worker_id=0,  # the supervisor knows it
            sources=sources.current() if sources is not None else {},
            sessions=options.sessions,
            host=options.host,
            port=options.port,
            token=token,
            rasterizer=options.rasterizer,
            require_gpu=options.require_gpu,
            renders=options.limits.renders,
            memory_bytes=options.limits.memory_bytes,
            earlier_renderer=self.earlier_renderer,
            drivers=self.drivers,
            job_ids=job_ids,
            order=options.order,
        )

    def _probes(self, supervisor: Supervisor) -> list[Probe]:
        """What sees whether the world lets the run go on."""
        least_bytes = self.options.min_free_bytes
        folders = _written_to(self.store, self.results)
        probes = [probe_descriptors, *(probe_disk(folder, least_bytes) for folder in folders)]
        if self.options.sessions:
            probes.append(probe_disk(temporary_place(), _LEAST_TEMPORARY_BYTES))

        def probe_tabs() -> None:
            if supervisor.trouble:
                raise WorldFault(supervisor.trouble)

        return [*probes, probe_tabs]


def _written_to(store: Store, results: ResultsFolder) -> list[Path]:
    """The folders whose disks must have room."""
    return [results.folder, *([store.database.file.parent] if store.database.file is not None else [])]


def _status_of_end(
    ending: Ending, signals: Signals, commands: Commands, notices: Notices
) -> ExitStatus | None:
    """How a run ends that was stopped, None where the rows tell. Raises what it failed with."""
    stop = ending.stopping.result()
    if signals.status is not None:
        return signals.status
    if stop.error is not None:
        raise stop.error
    if stop.end is End.HALTED:
        told = (
            f"{stop.reason}. None of them was charged. Mend it and give the same command again; "
            f"to render what can be rendered: {commands.run('--halt', 'never')}"
        )
        say(told)
        notices.send(f"{commands.campaign}: halted", told)
        return ExitStatus.STOPPED
    return None


def _status_of(store: Reader, campaign_id: int) -> ExitStatus:
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
