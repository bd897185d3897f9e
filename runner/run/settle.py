"""Settles an attempt: its job's move, the evidence, the charge."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from runner.errors import LeaseLost, SessionGone, WorldFault
from runner.job import Outcome
from runner.machine import world_fault
from runner.run.attempt import Attempt
from runner.run.commit import Committer, NotKept
from runner.run.context import RunContext
from runner.run.threads import Threads
from runner.run.verdict import AttemptEnd, Move, Verb, verdict

__all__ = ["Settler"]

_SHUTDOWN_S = 0.5


class Settler:
    """Makes the move that an attempt's end calls for."""

    def __init__(self, context: RunContext, threads: Threads):
        self._context, self._threads = context, threads
        self._committer = Committer(context.store, context.results, threads)
        self._tabs_lost: Counter[int] = Counter()
        self._faults: Counter[int] = Counter()

    async def settle(self, attempt: Attempt) -> None:
        """Make the move that the attempt's end calls for."""
        lease, store = attempt.lease, self._context.store
        is_done: bool | None = None
        try:
            move = self._judge(attempt, await self._end_of(attempt))
            is_done = await self._make(move, attempt)
        except LeaseLost:
            row = await self._threads.store(store.reader.job, lease.campaign_id, lease.key)
            if row and (row["status"], row["worker_id"], row["attempt"]) == ("done", *lease[2:4]):
                return  # The answer to a commit was lost, but it was written all the same.
            # Another worker has the job now; this attempt's files are in a folder of their own.
            await self._threads.wait_for(attempt.files.abandon)
        if is_done and attempt.files.steps_finished is None:
            self._context.limits.attempt.learn(attempt.took_s)
        if is_done is not None:
            # An error in keeping its files is not the tab's fault.
            error = "" if is_done else move.reason or "its files could not be kept"
            attempt.session.owner.settled(lease.job_id, error, attempt.took_s)

    async def _end_of(self, attempt: Attempt) -> AttemptEnd:
        """How the attempt ended, once that is known."""
        end = AttemptEnd(
            attempt.error,
            attempt.overdue,
            suspicion=attempt.files.suspicion,
            strays=attempt.strays,
            has_ended=attempt.has_ended,
            has_forked=self._context.take_fork(attempt.lease.job_id),
        )
        if attempt.error is None:
            return end
        self._faults[attempt.lease.job_id] += world_fault(attempt.error) is not None
        session, stopping = attempt.session, self._context.ending.stopping
        if session.closed.done() and not stopping.done():
            ends: set[asyncio.Future[Any]] = {session.end, stopping}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        tab = session.end.result() if session.end.done() else None
        if tab is not None and tab.is_crash:
            # Whatever ended the browser may end this process, too, a moment later: a shutdown, systemd, a terminal.
            await asyncio.wait({stopping}, timeout=_SHUTDOWN_S)
        if tab is not None or isinstance(attempt.error, SessionGone):
            self._tabs_lost[attempt.lease.job_id] += 1
        return replace(
            end,
            tab=tab,
            tab_name=session.name,
            tabs_lost=self._tabs_lost[attempt.lease.job_id],
            faults=self._faults[attempt.lease.job_id],
            # Whatever makes the run drain may have ended the browser, too.
            stopping=self._context.ending.reason
            or (self._context.ending.draining if tab is not None else ""),
        )

    def _judge(self, attempt: Attempt, end: AttemptEnd) -> Move:
        move = verdict(attempt.lease, self._context.campaign.policy, end)
        if move.spoils_tab:
            attempt.session.is_spoiled = True
            if not end.overdue:
                attempt.session.owner.retire(move.reason)
        return move

    async def _make(self, move: Move, attempt: Attempt) -> bool | None:
        """Make the move; returns whether the job is done now, or None if that says nothing about the browser."""
        store, lease = self._context.store, attempt.lease
        if move.verb is Verb.COMPLETE:
            return await self._complete(attempt)
        await self._threads.wait_for(attempt.files.abandon)
        if move.verb is Verb.RELEASE:
            if isinstance(move.error, WorldFault):
                self._context.guard.pause(move.error)
            await self._threads.store(store.release, lease, move.reason)
            return None
        await self._charge(move, attempt)
        return False if move.tells_of_tab else None

    async def _complete(self, attempt: Attempt) -> bool | None:
        lease, results = attempt.lease, self._context.results
        outcome: Outcome | None = None
        try:
            finish = attempt.files.finish
            finished = finish() if attempt.files.finishes_at_once else await self._threads.wait_for(finish)
            outcome = replace(finished, phases=attempt.phases)
            await self._committer.complete(lease, outcome)
        except LeaseLost:
            raise
        except NotKept as error:
            return await self._make(self._judge(attempt, AttemptEnd(error.__cause__)), attempt)
        except Exception as error:
            if outcome is None:
                return await self._make(self._judge(attempt, AttemptEnd(error)), attempt)
            raise
        if results.has_leftovers(lease, outcome):
            await self._threads.wait_for(partial(results.clean_up, lease, outcome))
        self._context.on_settled(lease, "")
        if attempt.strays:
            self._context.guard.note("stray", f"{lease} left running {attempt.strays}; it was cancelled")
        return True

    async def _charge(self, move: Move, attempt: Attempt) -> None:
        """Charge the job, with the evidence."""
        context, lease = self._context, attempt.lease
        charge = context.store.fail if move.verb is Verb.FAIL else context.store.reclaim
        evidence = await self._threads.wait_for(lambda: self._evidence(attempt))
        if move.error is not None:
            evidence.append("".join(traceback.format_exception(move.error)))
        elif attempt.standing.stack:
            evidence.append(attempt.standing.stack)
        await self._threads.store(charge, lease, move.reason, "\n".join(evidence) or None)
        context.on_settled(lease, move.reason)

    def _evidence(self, attempt: Attempt) -> list[str]:
        """The last lines and the last picture of the page; the picture goes into a file."""
        lines = [f"page console: {line}" for line in attempt.session.owner.console()]
        if attempt.phases is not None:
            lines.append(f"phases: {attempt.phases.to_text()}")
        # A disk that accepts no picture is reported elsewhere.
        with contextlib.suppress(OSError):
            if attempt.last_frame:
                self._context.results.keep_evidence(attempt.lease, attempt.last_frame)
        return lines
