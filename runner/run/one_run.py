"""One campaign run: wires store, server, browsers, log, progress and signals."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner.browsers import drivers_of, temporary_place
from runner.campaign import Campaign
from runner.commands import Commands
from runner.errors import RunnerError, WorldFault
from runner.exits import ExitStatus
from runner.machine import Guard, Probe, is_loopback, memory_bytes, probe_descriptors, probe_disk, size_text
from runner.notices import Notices
from runner.patience import told_while
from runner.reasons import error_line
from runner.report import span
from runner.results import RUN_LOG, LogMirror, MetricsLog, ResultsFolder, moved_of
from runner.run.alarm import Alarm
from runner.run.breaker import Breaker
from runner.run.canary import Portions, render_in_portions
from runner.run.ending import End, Ending
from runner.run.farewell import status_of_rows, told_end
from runner.run.intake import Intake
from runner.run.keeper import Housekeeper
from runner.run.mover import Mover
from runner.run.options import RunOptions
from runner.run.process import WorkerProcess
from runner.run.progress import JobSteps, Live, ProgressView, Screen, screen_of
from runner.run.run_log import RunLog
from runner.run.say import said_to, say, terminal
from runner.run.share import Share, shares_of
from runner.run.sheets import draw_sheets
from runner.run.signals import Interrupts, Signals
from runner.run.spec import WorkerSpec
from runner.run.start import (
    earlier_renderer_of,
    look_at_database,
    look_at_remote,
    note_sources,
    parameters_of,
    refuse_another_databases,
    refuse_early,
    warn_of_network,
    writing_in,
)
from runner.run.supervisor import Supervisor
from runner.run.token import kept_token, new_token
from runner.store import Store

# With less room a browser cannot keep its profile.
_LEAST_TEMPORARY_BYTES = 32 << 20
# The size and age at which a shard goes to an object store: at most this much is lost with this machine.
_SHARD_BYTES, _SHARD_AGE_S = 256 << 20, 300.0


def run_campaign(
    campaign: Campaign,
    options: RunOptions,
    worker: WorkerProcess | None = None,
    signals: Callable[[Callable[[str], None]], Interrupts] = Signals,
) -> ExitStatus:
    """Add the campaign's jobs, render until nothing is left, and say what happened.

    worker: a process that was started early, so that it imports meanwhile; the caller ends it. signals: makes the
    object that ends the run from outside; takes a function that says a line. Raises a RunnerError for mistakes that the
    user can fix.
    """
    notices = Notices(options.notify, say)
    try:
        return _run_campaign(campaign, options, worker, signals, notices)
    except Exception as error:
        notices.send(
            f"{campaign.name}: stopped", str(error) if isinstance(error, RunnerError) else error_line(error)
        )
        raise
    finally:
        notices.close()


def _run_campaign(
    campaign: Campaign,
    options: RunOptions,
    worker: WorkerProcess | None,
    signals: Callable[[Callable[[str], None]], Interrupts],
    notices: Notices,
) -> ExitStatus:
    began_ts, began = time.time(), time.monotonic()
    drivers = drivers_of(options.gpus, options.rasterizer)
    campaign.make_scene()
    guard = Guard(say, [probe_descriptors])
    results = ResultsFolder(options.results, campaign.name, campaign.code_sha256)
    with (
        Alarm(notices, campaign.name, guard).at_work() as alarm,
        guard.insist(signals, say) as interrupts,
        Intake(campaign, options, guard) as intake,
    ):
        intake.read()
        away = guard.insist(refuse_early, results.folder, options)
        with guard.insist(Store, options.database) as store:
            refuse_another_databases(results, store.database.file)
            look_at_database(store, guard)
            guard.insist(look_at_remote, store.reader, campaign.name, options, away)
            commands = Commands(
                campaign.name,
                store.database.address,
                str(campaign.file),
                str(options.results),
                campaign.settings,
                options.remote or None,
            )
            campaign_id = intake.begin(store, commands)
            results = ResultsFolder(
                options.results, campaign.name, campaign.code_sha256, moved_of(store.reader, campaign_id)
            )
            note_sources(campaign, guard.insist(store.reader.sources, campaign_id), guard)
            progress = guard.insist(store.reader.progress, campaign_id)
            state = guard.insist(store.reader.campaign, campaign_id)["state"]
            if progress.left and state != "open":
                say(f"{campaign.name} is {state}; to let it go on: {commands.verb('resume')}")
                notices.send(f"{campaign.name}: is {state}", f"To let it go on: {commands.verb('resume')}")
                return ExitStatus.STOPPED
            alarm.know(commands, _written_to(store, results), options.min_free_bytes)
            one = Run(
                campaign,
                campaign_id,
                store,
                results,
                guard,
                options,
                commands,
                drivers,
                notices,
                began_ts,
                began,
                is_packed=options.pack or bool(options.remote) or campaign.results == "shards",
                on_live=alarm.know_link,
                intake=intake,
                token=guard.insist(_token, store, options),
            )
            has_left = progress.left > 0 or not intake.has_all
            with one.kept_log(is_needed=has_left):
                return intake.beside(lambda: one.to_its_end(interrupts, worker, has_left))


@contextlib.contextmanager
def _logged(campaign: Campaign, log: MetricsLog, log_root: str | None, guard: Guard) -> Iterator[MetricsLog]:
    """The log, and its copy on a server: begun with the campaign's params, and brought up to date at the end."""
    mirror = LogMirror(log, log_root, say) if log_root else None
    guard.insist(_log_params, campaign, log)
    if mirror:
        mirror.start()
    try:
        yield log
        with (
            _told("the metrics log is brought up to date by the next run"),
            told_while(lambda: say("bringing the metrics log up to date")),
        ):
            log.sync()
        if mirror:
            mirror.close()
    finally:
        log.close()


def _log_params(campaign: Campaign, log: MetricsLog) -> None:
    with writing_in(log.folder):
        log.log_params(**parameters_of(campaign))


@dataclass
class Run:
    """What is rendered, where to, and how. began_ts: Unix seconds; began: by the monotonic clock.

    is_packed: the files of done jobs are packed into shards. on_live: called with the live page's link once it is
    served. token: of its server; live_link: the link from then on. intake: goes on adding jobs; None if all are there.
    """

    campaign: Campaign
    campaign_id: int
    store: Store
    results: ResultsFolder
    guard: Guard
    options: RunOptions
    commands: Commands
    drivers: list[str]
    notices: Notices
    began_ts: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)
    is_packed: bool = False
    log_file: Path | None = None
    earlier_renderer: str = ""
    on_live: Callable[[str], object] = lambda link: None
    token: str = field(default_factory=new_token)
    live_link: str = ""
    intake: Intake | None = None
    mover: Mover | None = None

    @property
    def has_all(self) -> bool:
        return self.intake is None or self.intake.has_all

    @property
    def screen(self) -> Screen:
        return self.options.screen or screen_of(terminal())

    @contextlib.contextmanager
    def kept_log(self, is_needed: bool) -> Iterator[None]:
        """Keep the run's messages, and all that is printed meanwhile, in a file of its own."""
        with contextlib.ExitStack() as stack:
            # A disk that accepts no file is reported elsewhere.
            with contextlib.suppress(OSError):
                if is_needed:
                    log = RunLog(self.results.new_run_folder(self.began_ts) / RUN_LOG)
                    stack.callback(log.close)
                    self.log_file = log.path
                    stack.enter_context(said_to(log, self.options.owns_streams))
            yield

    def to_its_end(self, signals: Interrupts, worker: WorkerProcess | None, has_left: bool) -> ExitStatus:
        """Render the remaining jobs, and report the result."""
        with self._moving() as self.mover:
            return self._to_its_end(signals, worker, has_left)

    def _moving(self) -> contextlib.AbstractContextManager[Mover | None]:
        """Moves shards to an object store while the block runs, if they go to one."""
        options = self.options
        if not options.remote:
            return contextlib.nullcontext()
        of = (self.store, self.campaign_id, self.results, options.remote, self.guard)
        return Mover(*of, options.spool_bytes)

    def _to_its_end(self, signals: Interrupts, worker: WorkerProcess | None, has_left: bool) -> ExitStatus:
        store, campaign_id, guard, commands = self.store, self.campaign_id, self.guard, self.commands
        status: ExitStatus | None = None
        log = MetricsLog(store, campaign_id, self.results)
        with _logged(self.campaign, log, self.options.log_root, guard):
            if has_left:
                self.earlier_renderer = guard.insist(earlier_renderer_of, store.reader, campaign_id)
                status = self._render(log, signals, worker)
                guard.probes = []
            if status is None:
                status = guard.insist(status_of_rows, store.reader, campaign_id)
        with (
            _told("there is no new contact sheet"),
            told_while(lambda: say("drawing the contact sheet")),
        ):
            draw_sheets(store.reader, campaign_id, self.results)
        # Until more is known.
        waits = "" if self.mover is None else f"what waits in {self.results.folder}"
        with _told("what waits on the disk is moved by the next run"):
            waits = self._finish_moving(signals)
        if waits and status in (ExitStatus.DONE, ExitStatus.SOME_FAILED):
            status = ExitStatus.UNFINISHED
        with _told(f"how far it has come: {commands.verb('report')}"):
            took_s = time.monotonic() - self.began
            folder = self.results.folder
            told = told_end(store.reader, campaign_id, commands, folder, self.log_file, status, took_s, waits)
            say(told)
            self.notices.send(*told.partition("\n")[::2])
        return status

    def _finish_moving(self, signals: Interrupts) -> str:
        """Move all that is left, unless the run was ended from outside; returns what is left and why, or ''."""
        mover = self.mover
        if mover is None:
            return ""
        waiting = mover.finish() if signals.status is None else mover.waiting_bytes
        if not waiting:
            return ""
        why = (
            mover.trouble
            or "another process is at work on it, or it differs from its record: see runner verify"
        )
        if signals.status is not None:
            why = "the run was ended before"
        return f"{size_text(waiting)} wait in {self.results.folder} for {mover.url}: {why}"

    def _render(
        self, log: MetricsLog, signals: Interrupts, worker: WorkerProcess | None
    ) -> ExitStatus | None:
        """Render all that is left, or as many as were asked for, the canary's first. Returns the same as work."""
        options, workers = self.options, iter([worker])
        warn_of_network(options)

        def render(jobs: Mapping[int, int] | None, breaker: Breaker | None) -> ExitStatus | None:
            return asyncio.run(self.work(log, signals, next(workers, None), jobs, breaker))

        portions = Portions(options.canary, options.limit, options.halt_share, options.order == "spread")
        status, why = render_in_portions(
            self.store, self.campaign_id, portions, self.results, self.commands, render
        )
        if why:
            self.notices.send(*why.partition("\n")[::2])
        return status

    async def work(
        self,
        log: MetricsLog,
        signals: Interrupts,
        worker: WorkerProcess | None,
        jobs: Mapping[int, int] | None = None,
        breaker: Breaker | None = None,
    ) -> ExitStatus | None:
        """Render; returns the exit status, or None if the rows decide. jobs: see render_in_portions."""
        store, campaign_id, options, guard = self.store, self.campaign_id, self.options, self.guard
        ending = Ending(grace_s=options.grace_s)
        shares = shares_of(options.sessions, options.workers)
        assert self.campaign.file is not None
        supervisor = Supervisor(
            store,
            campaign_id,
            self.campaign.policy,
            guard,
            ending,
            breaker or Breaker(options.halt_share),
            self._spec,
            shares,
            self.campaign.file.parent,
            guard.insist(self._named_results),
            options.worker_memory_bytes or memory_bytes() // 2 // len(shares),
            jobs,
            self._tell_link,
            self._know_live,
            lambda: self.has_all,
        )
        guard.probes = self._probes(supervisor)
        keeper = Housekeeper(
            store,
            campaign_id,
            self.results,
            guard,
            lambda: supervisor.workers,
            log,
            options.min_free_bytes,
            options.show_progress and not options.remote,
            options.spool_bytes if options.remote else math.inf,
        )
        view = ProgressView(
            lambda: (store.reader.progress(campaign_id), store.reader.campaign(campaign_id)["state"]),
            self.campaign.name,
            self.commands.verb("resume"),
            lambda: _live(supervisor, keeper, guard),
            self.screen,
            options.verbose,
        )
        loop = asyncio.get_running_loop()
        if self.intake is not None:
            self.intake.heed(ending, loop)
        signals.tell = lambda: loop.call_soon_threadsafe(view.tell)
        if options.longest_s is not None:
            left_s = self.began + options.longest_s - time.monotonic()
            loop.call_later(max(0.0, left_s), self._drain, ending)
        if options.sessions and options.show_progress:
            among = "" if len(shares) == 1 else f" for {len(shares)} worker processes"
            say(f"starting {options.sessions} browser{'' if options.sessions == 1 else 's'}{among} …")
        shown = asyncio.create_task(view.show() if options.show_progress else asyncio.sleep(0))
        try:
            with signals.ending(ending):
                async with keeper.at_work(ending):
                    await supervisor.work(
                        worker, lambda: WorkerProcess(options.rasterizer if options.sessions else "")
                    )
        finally:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
        if supervisor.adopted:
            say(f"{supervisor.adopted:,} jobs had been finished before a crash, and were not rendered again")
        return _status_of_end(ending, signals, self.commands, self.notices)

    def _named_results(self) -> str:
        """The id of the results folder, which the database knows from now on."""
        with writing_in(self.results.folder):
            results_id = self.results.named()
        self.store.add_folder(self.campaign_id, results_id, self.results.place)
        return results_id

    def _drain(self, ending: Ending) -> None:
        """Begin no more jobs: its time is up."""
        assert self.options.longest_s is not None
        if not (ending.draining or ending.stopping.done()):
            say(f"{span(self.options.longest_s)} are over: jobs in flight may end, no other is begun")
            ending.drain("its time was up")

    def _tell_link(self, link: str) -> None:
        """Say the link for a person's own tabs."""
        if not self.options.is_shown:
            say(f"open this link in a browser, in as many tabs as you like:\n{link}")
            if not is_loopback(self.options.host):
                outlives = "" if self.options.port else " (with --port the link outlives this run)"
                say(
                    f"or have browsers on another machine render for it: runner join 'LINK' --sessions 4{outlives}"
                )
            return
        say(f"opening a tab of your browser; if none opens, open this link:\n{link}")
        # A text browser in this terminal would block the run.
        threading.Thread(target=_open_tab, args=(link,), daemon=True).start()

    def _know_live(self, link: str) -> None:
        """The live page is served; said once, because later portions use the same link."""
        if self.options.show_progress and link != self.live_link:
            say(f"watch it in a browser: {link}")
        self.live_link = link
        self.on_live(link)

    def _spec(self, share: Share) -> WorkerSpec:
        """The spec for the worker with that share; the supervisor fills in the rest."""
        options, sources = self.options, self.campaign.sources
        # The first worker serves the live page, also for later portions of the jobs.
        kept = 0 if share.which else urlsplit(self.live_link).port or 0
        return WorkerSpec(
            file=str(self.campaign.file),
            settings=self.campaign.settings,
            database=options.database,
            results=str(options.results),
            campaign_id=self.campaign_id,
            sources=sources.current() if sources is not None else {},
            host=options.host,
            port=options.port + share.which if options.port else kept,
            token=self.token,
            rasterizer=options.rasterizer,
            require_gpu=options.require_gpu,
            renders=options.limits.renders,
            memory_bytes=options.limits.memory_bytes,
            earlier_renderer=self.earlier_renderer,
            log=str(self.log_file or ""),
            drivers=self.drivers,
            order=options.order,
            cert=options.cert,
            key=options.key,
            names=options.allow_hosts,
            share=share,
            is_shown=options.is_shown,
            is_packed=self.is_packed,
            has_all=self.has_all,
            plain_page=options.plain_page,
            **self._shards(),
            tab_lease_s=options.tab_lease_s,
        )

    def _shards(self) -> dict[str, Any]:
        """The largest size and age of a shard that goes to an object store, so that open ones hold back little."""
        options = self.options
        if not options.remote:
            return {}
        workers = len(shares_of(options.sessions, options.workers))
        return {
            "shard_bytes": min(_SHARD_BYTES, max(1, options.spool_bytes // (8 * workers))),
            "shard_age_s": _SHARD_AGE_S,
        }

    def _probes(self, supervisor: Supervisor) -> list[Probe]:
        """The probes that check whether the world lets the run go on."""
        least_bytes = self.options.min_free_bytes
        folders = _written_to(self.store, self.results)
        probes = [probe_descriptors, *(probe_disk(folder, least_bytes) for folder in folders)]
        if self.mover is not None:
            probes.append(self.mover.probe)
        if self.options.sessions:
            probes.append(probe_disk(temporary_place(), _LEAST_TEMPORARY_BYTES))

        def probe_tabs() -> None:
            if supervisor.trouble:
                raise WorldFault(supervisor.trouble)

        return [*probes, probe_tabs]


def _open_tab(link: str) -> None:
    if not webbrowser.open(link):
        say("no browser could be started here; open the link above yourself")


def _written_to(store: Store, results: ResultsFolder) -> list[Path]:
    """The folders whose disks must have room."""
    return [results.folder, *([store.database.file.parent] if store.database.file is not None else [])]


def _token(store: Store, options: RunOptions) -> str:
    """The token. If the link is for others, it is the same as in the last run."""
    if options.sessions and is_loopback(options.host):
        return new_token()
    file = store.database.file
    place = options.results / ".token" if file is None else file.with_name(f"{file.name}.token")
    with writing_in(place.parent):
        return kept_token(place)


def _live(supervisor: Supervisor, keeper: Housekeeper, guard: Guard) -> Live:
    fault = "" if guard.fault is None else str(guard.fault)
    steps = [JobSteps(*one) for one in supervisor.steps]
    return Live(supervisor.sessions, supervisor.charged, fault, keeper.room, steps)


def _status_of_end(
    ending: Ending, signals: Interrupts, commands: Commands, notices: Notices
) -> ExitStatus | None:
    """The exit status of a run that was stopped; None if the rows decide. Raises what it failed with."""
    stop = ending.stopping.result()
    if signals.status is not None:
        return signals.status
    if stop.error is not None:
        raise stop.error
    if stop.end is End.HALTED:
        told = (
            f"{stop.reason}. None of them was charged. Fix it and give the same command again; to render the other "
            f"jobs anyway: {commands.run('--halt', 'never')}"
        )
        say(told)
        notices.send(f"{commands.campaign}: halted", told)
        return ExitStatus.STOPPED
    return None


@contextlib.contextmanager
def _told(consequence: str) -> Iterator[None]:
    """Report an error of the disk at the very end; it does not change what was done."""
    try:
        yield
    except Exception as error:
        if isinstance(error, RunnerError) and not isinstance(error, WorldFault):
            raise
        say(f"{consequence} ({error})")
