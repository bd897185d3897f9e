"""One attempt at a job: its render, within its time, until it ends or must."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from runner.frame import Frame
from runner.job import Lease
from runner.results import RenderJob
from runner.run.context import Limits, RunContext, TabSession

__all__ = ["Attempt", "render"]


@dataclass(frozen=True)
class Attempt:
    """What came of one render.

    error: what it raised, or asyncio.CancelledError where it was cancelled: when it was overdue, or by the
    end of its tab or run. overdue: what took too long; ''. took_s: seconds. last_frame: what the tab showed.
    """

    session: TabSession
    lease: Lease
    files: RenderJob
    error: BaseException | None
    overdue: str
    took_s: float
    last_frame: Frame | None

    @property
    def is_good(self) -> bool:
        return self.error is None and not self.overdue


async def render(context: RunContext, session: TabSession, lease: Lease, files: RenderJob) -> Attempt:
    """Call the campaign's render function; it is cancelled when its time is up, its tab is gone, or the run stops."""
    began = time.monotonic()
    session.last_frame = None
    session.begin_job()
    task = asyncio.create_task(context.campaign.render_job(session, files))
    ends: set[asyncio.Future[Any]] = {task, session.end, context.ending.stopping}
    overdue = await _in_time(ends, files, context.limits)
    cancelled = asyncio.CancelledError("render was cancelled")
    error: BaseException | None = None
    if task.done():
        overdue = ""
    else:
        error = cancelled
        task.cancel()
        await asyncio.wait({task})
    error = cancelled if task.cancelled() else task.exception() or error
    took_s = time.monotonic() - began
    return Attempt(session, lease, files, error, overdue, took_s, session.last_frame)


async def _in_time(ends: set[asyncio.Future[Any]], files: RenderJob, limits: Limits) -> str:
    """Wait until one of them is done, or the time is up; returns what was too long, or ''.

    Time in which this process was not let run, or the machine slept, is nobody's time: each turn
    of the loop counts for a second at most.
    """
    spent_s = still_s = 0.0
    steps = 0
    while True:
        limits_s = [limits.attempt.s - spent_s]
        if files.steps_finished is not None:
            if files.steps_finished > steps:
                limits.step.learn(still_s / (files.steps_finished - steps))
                steps, still_s = files.steps_finished, 0.0
            left_s = limits.step.s - still_s
            limits_s = [*(limits_s if limits.attempt.is_given else []), left_s]
            if left_s <= 0.0:
                return f"no step ended within {limits.step.s:g} s"
        if min(limits_s) <= 0.0:
            return f"no end after {limits.attempt.s:g} s"
        turn_s = min(1.0, *limits_s)
        done, _ = await asyncio.wait(ends, timeout=turn_s, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return ""
        spent_s += turn_s
        still_s += turn_s
