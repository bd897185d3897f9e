"""What the end of an attempt calls for: the rules of blame, without a browser and without a database."""

from __future__ import annotations

import asyncio
import errno

import pytest

from runner.errors import FrameError, SessionGone, StoreUnavailable
from runner.job import Lease, Policy
from runner.run.verdict import AttemptEnd, Verb, verdict
from runner.tabs import TabEnd

LEASE = Lease(1, 1, 1, 1, "cup", {}, failures=0, crashes=0, created_ts=0.0, grab_ts=0.0)
DIED, CLOSED = TabEnd("the browser died", is_crash=True), TabEnd("its tab was closed")
CANCELLED = asyncio.CancelledError("render was cancelled")
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("end", "verb", "reason"),
    [
        (AttemptEnd(), Verb.COMPLETE, ""),
        (AttemptEnd(ValueError("no such mesh\nfor the cup")), Verb.FAIL, "ValueError: no such mesh"),
        (AttemptEnd(CANCELLED), Verb.FAIL, "CancelledError: render was cancelled"),
        (AttemptEnd(CANCELLED, overdue="no end after 2 s"), Verb.FAIL, "TimeoutError: no end after 2 s"),
        (AttemptEnd(CANCELLED, tab=DIED), Verb.RECLAIM, "crash: the browser died"),
        (AttemptEnd(CANCELLED, tab=CLOSED, tab_name="mine"), Verb.RELEASE, "mine: its tab was closed"),
        (AttemptEnd(SessionGone("WebGL"), tab_name="mine"), Verb.RELEASE, "mine: WebGL"),
        (AttemptEnd(CANCELLED, tab=CLOSED, tabs_lost=3), Verb.RECLAIM, "crash: its tab was lost 3 times"),
        (AttemptEnd(CANCELLED, stopping="Ctrl-C"), Verb.RELEASE, "Ctrl-C"),
        (AttemptEnd(FULL), Verb.RELEASE, "the disk is full: make room on it"),
        (AttemptEnd(FULL, faults=5), Verb.RELEASE, "the disk is full: make room on it"),
        (
            AttemptEnd(FULL, faults=6),
            Verb.FAIL,
            "OSError: [Errno 28] No space left on device (6 times, and the run has found the world well each time)",
        ),
        (AttemptEnd(StoreUnavailable("locked")), Verb.RELEASE, "locked"),
    ],
)
def test_blame_goes_to_whom_it_should(end, verb, reason):
    """A job pays for what it raised and for its time, a browser's death is a crash, and the world pays nobody's."""
    move = verdict(LEASE, Policy(), end)
    assert (move.verb, move.reason) == (verb, reason)


def test_a_run_that_stops_charges_nobody_for_what_broke_on_the_way():
    """Ctrl-C, and browsers that it killed too: what was in flight goes back; what was whole is kept."""
    for end in (AttemptEnd(CANCELLED, "", DIED, "x", 5, "stopped"), AttemptEnd(FULL, stopping="stopped")):
        assert verdict(LEASE, Policy(), end).verb is Verb.RELEASE
    assert verdict(LEASE, Policy(), AttemptEnd(stopping="stopped")).verb is Verb.COMPLETE


def test_only_a_page_that_is_still_there_is_spoiled():
    """One that may be busy with an overdue render, or cannot draw any more: not one that has gone."""
    spoiled = [AttemptEnd(CANCELLED, overdue="no end"), AttemptEnd(SessionGone("WebGL"))]
    sound = [AttemptEnd(), AttemptEnd(ValueError("x")), AttemptEnd(CANCELLED, tab=DIED)]
    assert all(verdict(LEASE, Policy(), end).spoils_tab for end in spoiled)
    assert not any(verdict(LEASE, Policy(), end).spoils_tab for end in sound)


def test_a_jobs_own_error_tells_nothing_of_the_browser():
    """A bad picture and an end that does not come may be its doing; what the job's own code raises is not."""
    of_tab = [
        AttemptEnd(FrameError("cut off")),
        AttemptEnd(CANCELLED, overdue="no end after 2 s"),
    ]
    own = [AttemptEnd(ValueError("x")), AttemptEnd(SystemExit(1)), AttemptEnd(strays="stray at /c.py:7")]
    assert all(verdict(LEASE, Policy(), end).tells_of_tab for end in of_tab)
    assert not any(verdict(LEASE, Policy(), end).tells_of_tab for end in own)


@pytest.mark.parametrize(
    ("on_suspect", "failures", "verb"),
    [
        ("keep", 0, Verb.COMPLETE),
        ("retry", 0, Verb.FAIL),
        ("retry", 2, Verb.COMPLETE),
        ("fail", 2, Verb.FAIL),
    ],
)
def test_a_picture_that_may_be_wrong_is_treated_as_the_campaign_says(on_suspect, failures, verb):
    """Kept and marked, tried again as long as there are tries, or a failure."""
    end = AttemptEnd(suspicion="rgb.jpg: all of one colour")
    move = verdict(LEASE._replace(failures=failures), Policy(on_suspect=on_suspect), end)
    assert move.verb is verb
    assert (verb is Verb.FAIL) == isinstance(move.error, FrameError)


def test_an_error_that_cannot_say_what_it_is_fails_its_job_all_the_same():
    """A user's own class whose text raises, and a cause that leads back to itself."""

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    error = Mute()
    error.__cause__ = error
    assert verdict(LEASE, Policy(), AttemptEnd(error)).reason == "Mute"


STRAY = "stray at /c.py:7"


@pytest.mark.parametrize(
    ("end", "on_stray", "verb", "reason"),
    [
        (
            AttemptEnd(strays=STRAY),
            "fail",
            Verb.FAIL,
            f"StrayTask: render had ended and left running {STRAY};",
        ),
        (AttemptEnd(strays=STRAY), "warn", Verb.COMPLETE, ""),
        (AttemptEnd(strays=STRAY, has_ended=False), "warn", Verb.FAIL, "StrayTask: "),
        (AttemptEnd(ValueError("x"), strays=STRAY), "fail", Verb.FAIL, "ValueError: x"),
        (AttemptEnd(has_forked=True), "fail", Verb.FAIL, "ForkError: "),
        (
            AttemptEnd(CANCELLED, "no end after 2 s", has_ended=False),
            "fail",
            Verb.FAIL,
            "TimeoutError: no end after 2 s; it did not end when it was cancelled",
        ),
        (AttemptEnd(CANCELLED, stopping="Ctrl-C", has_ended=False), "fail", Verb.RELEASE, "Ctrl-C"),
        (AttemptEnd(SystemExit(1)), "fail", Verb.FAIL, "SystemExit: 1"),
    ],
)
def test_what_a_render_leaves_behind_is_charged_to_it(end, on_stray, verb, reason):
    """Tasks, a forked process, code that does not end; its own error comes first, and a stop charges nobody."""
    move = verdict(LEASE, Policy(on_stray=on_stray), end)
    assert move.verb is verb and move.reason.startswith(reason)
    if verb is Verb.FAIL:
        assert move.spoils_tab == (not end.has_ended or bool(end.overdue))
