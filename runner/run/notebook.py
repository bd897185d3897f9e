"""A run from Python: runner.run(campaign) in scripts and notebooks, await runner.arun(campaign) in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from runner.campaign import Campaign, file_of, load_campaign
from runner.errors import UsageError
from runner.exits import ExitStatus
from runner.report import Summary, summarize
from runner.run.ending import Ending
from runner.run.one_run import run_campaign
from runner.run.options import RunOptions, places
from runner.run.process import early_worker
from runner.run.say import say
from runner.store import Reader

__all__ = ["arun", "run"]

_MIN_FREE_BYTES = 256 << 20
# A run writes to this process's streams, so there is one at a time.
_one_at_a_time = threading.Lock()


def run(
    campaign: Campaign | str | Path,
    *,
    sessions: int = 2,
    settings: Mapping[str, Any] | None = None,
    database: str | Path | None = None,
    results: str | Path | None = None,
    **options: Any,
) -> Summary:
    """Do what `runner run` does, and return what the report says of the campaign.

    campaign: its file, or the Campaign that was imported from it.
    settings: the values for --set.
    database, results: beside the file, unless they are given. results may be the URL of an object store.
    options: further ones of runner.run.RunOptions.

    The processes that render read the file, so a campaign that is only in a notebook's cell is refused. An interrupt
    hands back jobs in flight, and is raised once that is done. Raises RunnerError where the command would print one;
    failed jobs are in the summary.
    """
    job = _Job(campaign, sessions, settings, database, results, options)
    with ThreadPoolExecutor(1, thread_name_prefix="runner-run") as threads:
        future = threads.submit(job.work)
        while True:
            try:
                return future.result()
            except KeyboardInterrupt:
                job.interrupts.stop()
                future.exception()
                # Not with all the lines of the wait for it.
                raise KeyboardInterrupt from None


async def arun(
    campaign: Campaign | str | Path,
    *,
    sessions: int = 2,
    settings: Mapping[str, Any] | None = None,
    database: str | Path | None = None,
    results: str | Path | None = None,
    **options: Any,
) -> Summary:
    """Like run, in an event loop that goes on meanwhile. When it is cancelled, jobs in flight are handed back."""
    job = _Job(campaign, sessions, settings, database, results, options)
    with ThreadPoolExecutor(1, thread_name_prefix="runner-run") as threads:
        future = asyncio.get_running_loop().run_in_executor(threads, job.work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            job.interrupts.stop()
            await asyncio.wait({future})
            raise


class _Job:
    """One run, for a thread of its own. Raises CampaignError for a campaign without a file."""

    def __init__(
        self,
        campaign: Campaign | str | Path,
        sessions: int,
        settings: Mapping[str, Any] | None,
        database: str | Path | None,
        results: str | Path | None,
        options: Mapping[str, Any],
    ):
        self.interrupts = _Interrupts()
        self._file = file_of(campaign)
        self._settings = {name: _as_text(value) for name, value in (settings or {}).items()}
        beside = self._file.parent
        self._options = RunOptions(
            sessions=sessions,
            database=str(database or beside / "runner.db"),
            **places(results, beside) | {"min_free_bytes": _MIN_FREE_BYTES} | dict(options),
        )

    def work(self) -> Summary:
        """Render, and look at the result."""
        if not _one_at_a_time.acquire(blocking=False):
            raise UsageError(
                "a run is already under way in this process: wait for its end, or start another process"
            )
        try:
            # A worker process ends with the thread that has started it.
            with early_worker(self._options.rasterizer if self._options.sessions else "") as worker:
                campaign = load_campaign(self._file, self._settings)
                run_campaign(campaign, self._options, worker, lambda say: self.interrupts)
            with Reader(self._options.database) as reader:
                row = reader.campaign_named(campaign.name)
                assert row is not None  # the run has made it
                return summarize(reader, row)
        finally:
            _one_at_a_time.release()


class _Interrupts:
    """Lets the caller end such a run from outside, as Signals does for a command."""

    def __init__(self) -> None:
        self.status: ExitStatus | None = None
        self.tell: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._under_way: tuple[Ending, asyncio.AbstractEventLoop] | None = None

    def __enter__(self) -> _Interrupts:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @contextlib.contextmanager
    def ending(self, ending: Ending) -> Iterator[None]:
        """A run is under way; stop ends it in order."""
        with self._lock:
            self._under_way = ending, asyncio.get_running_loop()
            if self.status is not None:
                ending.stop("the run was interrupted")
        try:
            yield
        finally:
            with self._lock:
                self._under_way = None

    def stop(self) -> None:
        """Hand back jobs in flight; from any thread."""
        with self._lock:
            self.status = ExitStatus.INTERRUPTED
            if self._under_way is not None:
                say("stopping: jobs in flight are handed back")
                ending, loop = self._under_way
                loop.call_soon_threadsafe(ending.stop, "the run was interrupted")


def _as_text(value: Any) -> str:
    """As one would write it after --set NAME=."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
