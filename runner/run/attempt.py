"""One attempt at a job: its render, until it ends or its time is up."""

from __future__ import annotations

import asyncio
import time
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from runner.frame import Frame
from runner.job import Lease, Phases, Policy
from runner.results import RenderJob
from runner.run.context import Limits, RunContext, TabSession
from runner.run.leftovers import Leftovers
from runner.run.life import CURRENT, Life, Standing, place_of_task, standing_of

__all__ = ["Attempt", "render"]

# How long a render, and tasks that it has left running, may take to end after being cancelled.
_GRACE_S, _GRACE_WHEN_STOPPING_S = 5.0, 1.0
_ASK_AGAIN_S = 0.5


@dataclass(frozen=True)
class Attempt:
    """The result of one render.

    error: what it raised, or asyncio.CancelledError if it was cancelled, because it was overdue or its tab or run
    ended. overdue: what took too long; ''. strays: the tasks that it left running, by their places; ''. has_ended: all
    its code has ended. took_s: seconds; phases: where they went. last_frame: what the tab showed. standing: where its
    render waited when its time was up.
    """

    session: TabSession
    lease: Lease
    files: RenderJob
    error: BaseException | None
    overdue: str
    strays: str
    has_ended: bool
    took_s: float
    last_frame: Frame | None
    standing: Standing = Standing()
    phases: Phases | None = None

    @property
    def is_good(self) -> bool:
        return self.error is None and not self.overdue and not self.strays


async def render(
    context: RunContext, session: TabSession, lease: Lease, files: RenderJob, life: Life
) -> Attempt:
    """Call the campaign's render function; it is cancelled when its time is up, its tab is gone, or the run stops."""
    began = time.monotonic()
    waited_s, asked_s = session.waited_s, session.asked_s
    session.last_frame = None
    session.begin_job(files.scene, files.seed if context.campaign.deterministic else None, lease.key)
    leftovers = Leftovers(lease.key, context.campaign.space, context.home)
    own = copy_context()
    own.run(CURRENT.set, life)
    task = own.run(asyncio.create_task, context.campaign.render_job(context.view(session, life.check), files))
    ends: set[asyncio.Future[Any]] = {task, session.end, context.ending.stopping}
    limits = _OwnLimits(context.limits, lease, context.campaign.policy)
    overdue = await _in_time(ends, files, limits)
    took_s = time.monotonic() - began
    for kind, told in leftovers.told(life.chance).items():
        context.guard.tell(kind, told, once=kind)
    waited_s = session.waited_s - waited_s
    # Several frames may be asked for at once.
    phases = Phases(waited_s, max(0.0, min(session.asked_s - asked_s, took_s) - waited_s), took_s)
    cancelled = asyncio.CancelledError("render was cancelled")
    error: BaseException | None = None
    standing = Standing()
    if task.done():
        overdue = ""
    else:
        error = cancelled
        if overdue:
            file = context.campaign.file
            standing = standing_of(task, file.parent if file is not None else None)
            overdue += f", at {standing.place}" if standing.place else ""
            if session.is_hidden or session.held_s:
                overdue += "; its tab was out of sight, and browsers slow such tabs down"
        await _cancel([task], context)
    # Code that still runs may use nothing any more.
    life.is_over = True
    strays = life.strays(task)
    places = "; ".join(sorted(map(place_of_task, strays))[:5])
    await _cancel(strays, context)
    has_ended = task.done() and not any(not stray.done() for stray in strays)
    if not has_ended:
        life.bury()
    if task.done():
        error = cancelled if task.cancelled() else task.exception() or error
    shown = session.last_frame
    return Attempt(session, lease, files, error, overdue, places, has_ended, took_s, shown, standing, phases)


async def _cancel(tasks: list[asyncio.Task[Any]], context: RunContext) -> None:
    """Cancel the tasks; those that go on after several tries are left alone."""
    began = time.monotonic()
    left: set[asyncio.Task[Any]] = set(tasks)
    while left:
        grace_s = _GRACE_WHEN_STOPPING_S if context.ending.stopping.done() else _GRACE_S
        if time.monotonic() - began > grace_s:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_ASK_AGAIN_S)


class _OwnLimits:
    """The limits of one attempt."""

    def __init__(self, limits: Limits, lease: Lease, policy: Policy):
        self.attempt, self.step = limits.attempt, limits.step
        self._is_second_chance = lease.failures > 0 or policy.max_failures == 1

    @property
    def attempt_s(self) -> float:
        return self.attempt.s_for(self._is_second_chance)

    @property
    def step_s(self) -> float:
        return self.step.s_for(self._is_second_chance)


async def _in_time(ends: set[asyncio.Future[Any]], files: RenderJob, limits: _OwnLimits) -> str:
    """Wait until one of them is done, or the time is up; returns what took too long, or ''.

    Time in which this process was held up, or the machine slept, does not count: each turn of the loop counts for a
    second at most.
    """
    spent_s = still_s = 0.0
    steps = 0
    while True:
        limits_s = [limits.attempt_s - spent_s]
        if files.steps_finished is not None:
            if files.steps_finished > steps:
                limits.step.learn(still_s / (files.steps_finished - steps))
                steps, still_s = files.steps_finished, 0.0
            left_s = limits.step_s - still_s
            limits_s = [*(limits_s if limits.attempt.is_given else []), left_s]
            if left_s <= 0.0:
                return f"no step ended within {limits.step_s:g} s{limits.step.origin('stall_s')}"
        if min(limits_s) <= 0.0:
            return f"no end after {limits.attempt_s:g} s{limits.attempt.origin('timeout_s')}"
        turn_s = min(1.0, *limits_s)
        done, _ = await asyncio.wait(ends, timeout=turn_s, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return ""
        spent_s += turn_s
        still_s += turn_s
