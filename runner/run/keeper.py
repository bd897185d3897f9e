"""What is done beside the rendering: beats, dead workers' jobs, waiting jobs, events, the log, clocks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

from runner.errors import LeaseLost, WorldFault
from runner.machine import ClockWatch, forecast, world_fault
from runner.results import MetricsLog
from runner.run.context import RunContext
from runner.run.crew import Crew
from runner.run.say import say

LEASE_S = 60.0
_HOUSEKEEPING_S = 0.5
_FORECAST_AFTER = 20


class Housekeeper:
    """A thread that beats, takes back dead workers' jobs, makes waiting jobs ready, and feeds the log.

    A thread, so that a render function that blocks the event loop is not taken for dead. Another one does
    nothing but sleep, by which it sees when this process is not let run.
    """

    def __init__(self, context: RunContext, crew: Crew, log: MetricsLog, min_free_bytes: int):
        self._context, self._crew, self._log, self._min_free_bytes = context, crew, log, min_free_bytes
        self._loop = asyncio.get_running_loop()
        self._has_forecast = False
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=act, name=f"runner-{name}", daemon=True)
            for name, act in (("housekeeper", self._keep), ("clock", self._watch_clocks))
        ]
        self._last_beat = time.monotonic()
        self._complained = False

    async def __aenter__(self) -> Housekeeper:
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        with contextlib.suppress(WorldFault):
            await asyncio.to_thread(self._write_events)

    def _keep(self) -> None:
        try:
            with contextlib.suppress(WorldFault, OSError):
                self._tell_forecast()
            while not self._stop.wait(_HOUSEKEEPING_S):
                self._context.guard.look(
                    self._keep_jobs, self._write_events, self._sync_log, self._tell_forecast
                )
        except Exception as error:
            self._loop.call_soon_threadsafe(self._context.ending.fail, error)

    def _watch_clocks(self) -> None:
        clocks, is_over = ClockWatch(), False
        while not is_over:
            began = time.monotonic()
            is_over = self._stop.wait(_HOUSEKEEPING_S)
            seen = clocks.look(overslept_s=time.monotonic() - began - _HOUSEKEEPING_S)
            if seen:
                self._context.guard.note("clock", seen)
                say(f"{seen}; no job is charged for it")

    def _keep_jobs(self) -> None:
        context, store = self._context, self._context.store
        store.promote(context.campaign_id)
        if context.guard.fault is None and time.monotonic() < self._last_beat + LEASE_S / 6:
            return
        # A lost lease shows at the next claim, which starts a new worker.
        with contextlib.suppress(LeaseLost):
            store.beat(self._crew.worker_id)
        if time.monotonic() > self._last_beat + LEASE_S / 2:
            # What held this one up may have held up the others.
            store.observe_anew()
        self._last_beat = time.monotonic()
        store.reap(context.campaign_id, LEASE_S)

    def _write_events(self) -> None:
        context, waiting = self._context, self._context.guard.events
        events = [waiting[index] for index in range(len(waiting))]
        if events:
            context.store.write_events(context.campaign_id, self._crew.worker_id, events)
            for _ in events:
                waiting.popleft()

    def _tell_forecast(self) -> None:
        """What the jobs left will take on the disk, once a few are done that tell."""
        context, results = self._context, self._context.results
        progress = None if self._has_forecast else context.store.progress(context.campaign_id)
        if progress is not None and progress.done >= _FORECAST_AFTER:
            self._has_forecast = True
            if progress.left < _FORECAST_AFTER:
                return
            jobs, files_bytes = context.store.recent_files_bytes(context.campaign_id)
            say(forecast(results.folder, progress.left, files_bytes / max(1, jobs), self._min_free_bytes))

    def _sync_log(self) -> None:
        try:
            self._log.sync()
        except Exception as error:
            if world_fault(error):
                raise
            # The database has it all: the log is brought up to date later.
            if not self._complained:
                say(f"the metrics log cannot be written now ({error}); rendering goes on")
                self._complained = True
