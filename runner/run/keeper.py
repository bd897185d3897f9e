"""Chores beside the rendering: beats, dead workers' jobs, waiting jobs, events, the log, clocks."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence

from runner.errors import WorldFault
from runner.machine import (
    ClockWatch,
    Guard,
    Identity,
    forecast,
    free_bytes,
    is_gone,
    is_plenty,
    job_bytes,
    size_text,
    this_process,
    world_fault,
)
from runner.results import MetricsLog, ResultsFolder
from runner.run.ending import Ending
from runner.run.say import say
from runner.store import Store, Worker

LEASE_S = 60.0
_HOUSEKEEPING_S = 0.5
_FORECAST_AFTER = 20


class Housekeeper:
    """Beats, takes back dead workers' jobs, makes waiting jobs ready, feeds the log, and watches the clocks.

    workers: the run's present workers. tells_forecast: of the room on the disk. most_bytes: the most that is ever on
    it. room: the free space on the disk of the results, if that matters; ''.
    """

    def __init__(
        self,
        store: Store,
        campaign_id: int,
        results: ResultsFolder,
        guard: Guard,
        workers: Callable[[], Sequence[Worker]],
        log: MetricsLog,
        min_free_bytes: int,
        tells_forecast: bool = True,
        most_bytes: float = math.inf,
    ):
        self._store, self._campaign_id, self._results, self._guard = store, campaign_id, results, guard
        self._workers, self._log, self._min_free_bytes = workers, log, min_free_bytes
        self.room = ""
        self._tells_forecast, self._most_bytes = tells_forecast, most_bytes
        self._job_bytes: float | None = None
        self._has_complained = False
        self._others: set[Identity] = set()
        self._stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def at_work(self, ending: Ending) -> AsyncIterator[None]:
        """Keep house while the block runs. A lasting error ends the run."""
        tasks = [asyncio.create_task(self._keep(ending)), asyncio.create_task(self._watch_clocks())]
        try:
            yield
        finally:
            self._stop.set()
            await asyncio.gather(*tasks)
            with contextlib.suppress(WorldFault):
                await asyncio.to_thread(self._write_events)

    async def _rest(self) -> bool:
        """Wait until the next round; returns whether there is one."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stop.wait(), _HOUSEKEEPING_S)
        return not self._stop.is_set()

    async def _keep(self, ending: Ending) -> None:
        chores = (
            self._keep_jobs,
            self._write_events,
            self._sync_log,
            self._look_at_room,
            self._look_for_others,
        )
        try:
            with contextlib.suppress(WorldFault, OSError):
                await asyncio.to_thread(self._look_for_others)
                await asyncio.to_thread(self._look_at_room)
            while await self._rest():
                await asyncio.to_thread(self._guard.look, *chores)
        except Exception as error:
            ending.fail(error)

    async def _watch_clocks(self) -> None:
        clocks, goes_on = ClockWatch(), True
        while goes_on:
            began = time.monotonic()
            goes_on = await self._rest()
            seen = clocks.look(overslept_s=time.monotonic() - began - _HOUSEKEEPING_S)
            if seen:
                self._guard.note("clock", seen)
                say(f"{seen}; no job is charged for it")

    def _keep_jobs(self) -> None:
        self._store.promote(self._campaign_id)
        workers = list(self._workers())
        due = [worker for worker in workers if worker.is_due or self._guard.fault is not None]
        for worker in due:
            worker.beat()
        for worker in due[:1]:
            worker.take_back()

    def _write_events(self) -> None:
        waiting = self._guard.events
        events = [waiting[index] for index in range(len(waiting))]
        workers = list(self._workers())
        if events and workers:
            self._store.write_events(self._campaign_id, workers[0].id, events)
            for _ in events:
                waiting.popleft()

    def _look_at_room(self) -> None:
        """Once a few jobs are done, forecast the disk space for the rest: said once, and shown where it is short."""
        progress = self._store.reader.progress(self._campaign_id)
        folder, least = self._results.folder, self._min_free_bytes
        if self._job_bytes is None and progress.done >= _FORECAST_AFTER:
            jobs, files_bytes = self._store.reader.recent_files_bytes(self._campaign_id)
            mean = files_bytes / max(1, jobs)
            self._job_bytes = job_bytes(mean)
            line = forecast(folder, progress.left, mean, least) if progress.left >= _FORECAST_AFTER else ""
            if line and self._tells_forecast:
                say(line)
        free = free_bytes(folder)
        needed = min(progress.left * (self._job_bytes or 0.0), self._most_bytes)
        is_short = not is_plenty(free, needed, least)
        self.room = f"{size_text(free)} free" if is_short else ""

    def _look_for_others(self) -> None:
        """Say when another run of the campaign is at work, and when it no longer is."""
        mine = this_process()
        live = self._store.reader.live_workers(self._campaign_id)
        others = {one for _, one, _ in live if one != mine and not is_gone(one)}
        for one in others - self._others:
            say(
                f"another run of {self._results.campaign_name} is at work: process {one.pid} on {one.host}; "
                "the two share its jobs, each job is rendered by one of them"
            )
        for one in self._others - others:
            say(f"the other run of {self._results.campaign_name}, process {one.pid} on {one.host}, has ended")
        self._others = others

    def _sync_log(self) -> None:
        try:
            self._log.sync()
        except Exception as error:
            if world_fault(error):
                raise
            # The database has everything: the log is brought up to date later.
            if not self._has_complained:
                say(f"the metrics log cannot be written now ({error}); rendering goes on")
                self._has_complained = True
