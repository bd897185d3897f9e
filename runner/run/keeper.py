"""What is done beside the rendering: beats, dead workers' jobs, waiting jobs, events, the log, clocks."""

from __future__ import annotations

import contextlib
import threading
import time

from runner.errors import LeaseLost, WorldFault
from runner.machine import ClockWatch, forecast, world_fault
from runner.results import MetricsLog
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

    def __init__(self, crew: Crew, log: MetricsLog, min_free_bytes: int):
        self._crew, self._log, self._min_free_bytes = crew, log, min_free_bytes
        self._has_forecast = False
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=act, name=f"runner-{name}", daemon=True)
            for name, act in (("housekeeper", self._keep), ("clock", self._watch_clocks))
        ]
        self._last_beat = time.monotonic()
        self._complained = False

    def __enter__(self) -> Housekeeper:
        with contextlib.suppress(WorldFault, OSError):
            self._tell_forecast()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(WorldFault):
            self._write_events()

    def _keep(self) -> None:
        try:
            while not self._stop.wait(_HOUSEKEEPING_S):
                self._crew.guard.look(
                    self._keep_jobs, self._write_events, self._sync_log, self._tell_forecast
                )
        except Exception as error:
            self._crew.fail(error)

    def _watch_clocks(self) -> None:
        clocks, is_over = ClockWatch(), False
        while not is_over:
            began = time.monotonic()
            is_over = self._stop.wait(_HOUSEKEEPING_S)
            seen = clocks.look(overslept_s=time.monotonic() - began - _HOUSEKEEPING_S)
            if seen:
                self._crew.guard.note("clock", seen)
                say(f"{seen}; no job is charged for it")

    def _keep_jobs(self) -> None:
        crew, store = self._crew, self._crew.store
        store.promote(crew.campaign_id)
        if crew.guard.fault is None and time.monotonic() < self._last_beat + LEASE_S / 6:
            return
        # A lost lease shows at the next claim, which starts a new worker.
        with contextlib.suppress(LeaseLost):
            store.beat(crew.worker_id)
        if time.monotonic() > self._last_beat + LEASE_S / 2:
            # What held this one up may have held up the others.
            store.observe_anew()
        self._last_beat = time.monotonic()
        store.reap(crew.campaign_id, LEASE_S)

    def _write_events(self) -> None:
        crew = self._crew
        events = [crew.guard.events[index] for index in range(len(crew.guard.events))]
        if events:
            crew.store.write_events(crew.campaign_id, crew.worker_id, events)
            for _ in events:
                crew.guard.events.popleft()

    def _tell_forecast(self) -> None:
        """What the jobs left will take on the disk, once a few are done that tell."""
        crew = self._crew
        progress = None if self._has_forecast else crew.store.progress(crew.campaign_id)
        if progress is not None and progress.done >= _FORECAST_AFTER:
            self._has_forecast = True
            if progress.left < _FORECAST_AFTER:
                return
            jobs, files_bytes = crew.store.recent_files_bytes(crew.campaign_id)
            say(
                forecast(crew.results.folder, progress.left, files_bytes / max(1, jobs), self._min_free_bytes)
            )

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
