"""Decides what happens to a job after an attempt, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from runner.errors import FrameError, SessionGone
from runner.job import Lease, Policy
from runner.machine import world_fault
from runner.reasons import error_line
from runner.tabs import TabEnd

__all__ = ["AttemptEnd", "Move", "Verb", "verdict"]

# A fault of the world that one job's own code meets so often, while the run finds the world well, is its own: it may
# write to another disk, or raise what looks like one.
_MOST_FAULTS = 6


class Verb(str, Enum):
    """What happens to the job: see the state diagram in runner/docs/design.md."""

    COMPLETE = "complete"
    RELEASE = "release"
    FAIL = "fail"
    RECLAIM = "reclaim"


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended.

    error: what the render, or the keeping of its files, raised; asyncio.CancelledError where it was cancelled.
    overdue: what took too long; ''. tab: how the tab ended, where it did; tab_name: its name, for people.
    tabs_lost: how many tabs this job has lost, with this one. faults: how often its own code has met what looks like a
    fault of the world, with this time. stopping: why the run stops; ''. suspicion:
    which picture may be wrong, and why; ''. strays: the tasks that it left running, by their places; ''.
    has_ended: nothing of its code goes on. has_forked: a process that it forked came back into the runner.
    """

    error: BaseException | None = None
    overdue: str = ""
    tab: TabEnd | None = None
    tab_name: str = ""
    tabs_lost: int = 0
    stopping: str = ""
    suspicion: str = ""
    strays: str = ""
    has_ended: bool = True
    has_forked: bool = False
    faults: int = 0


@dataclass(frozen=True)
class Move:
    """What must be done after an attempt.

    reason: for the job's row. error: its traceback is evidence; a WorldFault pauses the run. spoils_tab: the page must
    be reloaded before another job. tells_of_tab: the browser may have failed, rather than the job's own code.
    """

    verb: Verb
    reason: str = ""
    error: BaseException | None = None
    spoils_tab: bool = False
    tells_of_tab: bool = False


def verdict(lease: Lease, policy: Policy, end: AttemptEnd) -> Move:
    """Decide what happens to the job whose attempt ended so."""
    if end.error is None and not end.overdue:
        return _of_a_whole_one(lease, policy, end)
    if end.stopping:
        return Move(Verb.RELEASE, end.stopping)
    if end.tab is not None or isinstance(end.error, SessionGone):
        return _of_a_lost_tab(policy, end)
    if end.overdue:
        # The page may still be busy with it.
        goes_on = "" if end.has_ended else "; it did not end when it was cancelled"
        return Move(Verb.FAIL, f"TimeoutError: {end.overdue}{goes_on}", spoils_tab=True, tells_of_tab=True)
    fault = world_fault(end.error)
    if fault is not None and end.faults < _MOST_FAULTS:
        return Move(Verb.RELEASE, str(fault), error=fault)
    assert end.error is not None
    again = "" if fault is None else f" ({end.faults} times, and the run has found the world well each time)"
    return Move(
        Verb.FAIL,
        error_line(end.error) + again,
        error=end.error,
        spoils_tab=not end.has_ended,
        tells_of_tab=isinstance(end.error, FrameError),
    )


def _of_a_whole_one(lease: Lease, policy: Policy, end: AttemptEnd) -> Move:
    if end.has_forked:
        return Move(
            Verb.FAIL, "ForkError: a process that render forked went on in runner: end it with os._exit"
        )
    if end.strays and (policy.on_stray == "fail" or not end.has_ended):
        goes_on = "" if end.has_ended else ", and did not end when it was cancelled"
        reason = f"StrayTask: render had ended and left running {end.strays}{goes_on}; await what it starts"
        return Move(Verb.FAIL, reason, spoils_tab=not end.has_ended)
    is_last = lease.failures + 1 >= policy.max_failures
    if end.suspicion and (policy.on_suspect == "fail" or (policy.on_suspect == "retry" and not is_last)):
        error = FrameError(f"the picture may be wrong: {end.suspicion}")
        return Move(Verb.FAIL, error_line(error), error=error, tells_of_tab=True)
    return Move(Verb.COMPLETE)


def _of_a_lost_tab(policy: Policy, end: AttemptEnd) -> Move:
    """A crash if the browser died; otherwise nobody's fault, up to a limit."""
    # If its tab did not end, the page is there, but cannot draw any more.
    spoils_tab = end.tab is None
    if end.tab is not None and end.tab.is_crash:
        return Move(Verb.RECLAIM, f"crash: {end.tab.reason}")
    if end.tabs_lost >= policy.max_crashes:
        return Move(Verb.RECLAIM, f"crash: its tab was lost {end.tabs_lost} times", spoils_tab=spoils_tab)
    reason = end.tab.reason if end.tab is not None else str(end.error)
    return Move(Verb.RELEASE, f"{end.tab_name}: {reason}", spoils_tab=spoils_tab)
