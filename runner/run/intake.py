"""How a campaign's jobs get into the database: before the rendering, or, if they are many, beside it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from runner.campaign import (
    Campaign,
    Submission,
    add_jobs,
    is_as_before,
    plan_submission,
    read_jobs,
)
from runner.commands import Commands
from runner.errors import StoreError, WorldFault
from runner.exits import ExitStatus
from runner.job import Place
from runner.machine import Guard
from runner.run.ending import Ending
from runner.run.keeper import LEASE_S
from runner.run.options import RunOptions
from runner.run.say import say
from runner.run.start import agree, parameters_of
from runner.store import Reader, Spool, Store

__all__ = ["Intake"]

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")
# Reading, comparing or adding fewer jobs takes about a second, and is done before anything is rendered.
MANY = 100_000
# Claims wait for each transaction: it takes a few hundredths of a second, and an equally long pause follows it.
_BESIDE_OTHERS = 1000
_LOOK_AGAIN_S = 0.1


class _RunIsOver(Exception):
    """The run is over: add no more jobs."""


class Intake:
    """Reads a campaign's jobs, compares them with the database, and adds the new ones.

    If many jobs are known, and the campaign's files and settings are those of its last run, the run begins with the
    known jobs, and the reading goes on beside it. Otherwise all jobs are read and compared first; if many are new, they
    are added beside the run. All are compared before one is added, so that a refused job changes no row.

    ended: done when all jobs are there, or has the error; cancelled when no more are added.
    """

    def __init__(self, campaign: Campaign, options: RunOptions, guard: Guard):
        self.ended: Future[None] = Future()
        self._campaign, self._options, self._guard = campaign, options, guard
        self._stack = contextlib.ExitStack()
        self._is_over = threading.Event()
        self._spool: Spool | None = None
        # The work that is left to do beside the run.
        self._rest: Callable[[], None] | None = None

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def has_all(self) -> bool:
        """Whether all jobs are there."""
        return self.ended.done() and not self.ended.cancelled() and self.ended.exception() is None

    def read(self) -> None:
        """Read the jobs that must be known before anything is rendered. No database is made. Raises CampaignError."""
        if not self._guard.insist(self._goes_on_at_once):
            self._spool = self._stack.enter_context(self._guard.insist(read_jobs, self._campaign, say))

    def begin(self, store: Store, commands: Commands) -> int:
        """Add the jobs that must be there before anything is rendered, and report; returns the campaign's id.

        Raises CampaignError.
        """
        campaign, guard, options = self._campaign, self._guard, self._options
        plan = None
        if self._spool is not None:
            changes = options.prune, options.update
            plan = guard.insist(plan_submission, campaign, store.reader, self._spool, *changes)
            agree(plan, options.add, commands)
        place = Place(str(campaign.file), str(options.results), options.remote or None)
        # Its settings are kept from the first moment: whatever ends this start, the next one is compared with them.
        campaign_id = guard.insist(store.add_campaign, campaign.name, campaign.policy, place)
        guard.insist(store.write_parameters, campaign_id, parameters_of(campaign))
        new = coming = 0
        told = ""
        is_open = guard.insist(store.reader.campaign, campaign_id)["state"] == "open"
        if plan is None:
            self._rest = partial(self._read_and_add, store, commands, place)
            told = f"; the jobs of {campaign.file} are read meanwhile"
        elif is_open and self._may_wait and plan.comparison.new > MANY:
            self._rest = partial(self._add, plan, store, place)
            new = coming = plan.comparison.new
            told = "; the new ones are added meanwhile"
        else:
            new = guard.insist(add_jobs, plan, store, place, say)[1].new
            self.ended.set_result(None)
            self._stack.close()
        guard.insist(store.reap, campaign_id, LEASE_S)
        progress = guard.insist(store.reader.progress, campaign_id)
        say(
            f"{campaign.name}: {progress.total + coming:,} jobs: {new:,} new, {progress.done:,} done, "
            f"{progress.failed:,} failed, {progress.left + coming:,} left{told}"
        )
        return campaign_id

    def beside(self, render: Callable[[], ExitStatus]) -> ExitStatus:
        """Call render, and do the remaining work meanwhile; returns render's result.

        render then runs in another thread, because the user's own code, which yields the jobs, must stay in this one.
        """
        if self._rest is None:
            return render()
        with ThreadPoolExecutor(1, thread_name_prefix="runner-run") as threads:
            status = threads.submit(render)
            status.add_done_callback(lambda _: self._is_over.set())
            try:
                self._rest()
                self.ended.set_result(None)
            except _RunIsOver:
                say(
                    f"{self._campaign.name}: the run ended before all that {self._campaign.file} yields was added: "
                    "the next start adds the others"
                )
            except Exception as error:
                # The run learns of it, hands back jobs in flight, and raises it.
                self.ended.set_exception(error)
            finally:
                self.ended.cancel()
            return status.result()

    def heed(self, ending: Ending, loop: asyncio.AbstractEventLoop) -> None:
        """End the run if the jobs cannot all be added. loop: the run's."""

        def hear(coming: Future[None]) -> None:
            # The run may be over, and its loop closed.
            with contextlib.suppress(RuntimeError):
                if coming.cancelled():
                    loop.call_soon_threadsafe(ending.stop, "no more jobs are added")
                elif isinstance(error := coming.exception(), Exception):
                    loop.call_soon_threadsafe(ending.fail, error)

        self.ended.add_done_callback(hear)

    # -- beside the run --------------------------------------------------------------------------

    @property
    def _may_wait(self) -> bool:
        """Whether no option needs to know all jobs first."""
        options = self._options
        return not (
            options.prune or options.update or options.canary or options.limit or options.order == "spread"
        )

    def _goes_on_at_once(self) -> bool:
        """Whether the campaign is unchanged since its last run, has jobs left, and too many of them to read first."""
        if not self._may_wait:
            return False
        try:
            with Reader(self._options.database) as store:
                row = store.campaign_named(self._campaign.name)
                return (
                    row is not None
                    and row["state"] == "open"
                    and row["total"] > MANY
                    and store.progress(row["id"]).left > 0
                    and is_as_before(self._campaign, store, row)
                )
        except WorldFault:
            raise
        except StoreError:
            # There is none, or opening it will report the error.
            return False

    def _read_and_add(self, store: Store, commands: Commands, place: Place) -> None:
        campaign = self._campaign
        spool = self._stack.enter_context(self._insist(read_jobs, campaign, say, self._go_on))
        plan = self._insist(plan_submission, campaign, store.reader, spool)
        agree(plan, self._options.add, commands, may_ask=False)
        self._add(plan, store, place)

    def _add(self, plan: Submission, store: Store, place: Place) -> None:
        if plan.comparison.is_wanted.count(1):
            self._insist(add_jobs, plan, store, place, say, _BESIDE_OTHERS, self._go_on)
        new, yielded = plan.comparison.new, plan.comparison.yielded
        say(
            f"{self._campaign.name}: all {yielded:,} jobs of {self._campaign.file} are added, {new:,} of them new"
        )

    def _insist(
        self, act: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        """Call act, and return its result; while the world is at fault, which the run checks, wait."""
        while True:
            self._go_on()
            if self._guard.fault is None:
                try:
                    return act(*arguments, **named)
                except WorldFault as fault:
                    self._guard.pause(fault)
            self._is_over.wait(_LOOK_AGAIN_S)

    def _go_on(self, rest_s: float = 0.0) -> None:
        """Give others their turn for so long. Raises _RunIsOver once the run is over."""
        if self._is_over.wait(rest_s) if rest_s else self._is_over.is_set():
            raise _RunIsOver
