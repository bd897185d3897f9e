"""Runs all checks, in an order in which an early failure explains the later ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.doctor import drawing, limits, places, software
from runner.doctor.check import Check, State
from runner.doctor.trial import Trial, check_trial, trial_with
from runner.errors import UsageError
from runner.notices import Notices, shown_address

__all__ = ["Subject", "examine"]


@dataclass(frozen=True)
class Subject:
    """What a run would be given. sessions: browsers at once; 0: none is looked for, started or tried.

    database: a path or URL. results: the folder. notify: addresses, to each of which a test is sent. remote: the URL
    of an object store; ''.
    """

    sessions: int
    database: str
    results: Path
    notify: Sequence[str] = field(default=(), repr=False)
    remote: str = ""


def examine(subject: Subject, tell: Callable[[str], None]) -> Iterator[Check]:
    """Check everything, and yield each check as soon as it is done. tell: told about steps that take long."""
    yield software.check_python()
    yield software.check_packages()
    yield software.check_sqlite(is_used=places.file_of(subject.database) is not None)
    yield places.check_database(subject.database)
    yield places.check_results(subject.results)
    if subject.remote:
        yield places.check_remote(subject.remote)
    yield places.check_room(subject.database, subject.results)
    yield limits.check_open_files()
    yield limits.check_shared_memory()
    yield limits.check_sleep()
    if subject.sessions:
        yield limits.check_memory(subject.sessions)
        yield from _drawn(subject.sessions, tell)
    for url in subject.notify:
        yield _notice(url)


def _drawn(sessions: int, tell: Callable[[str], None]) -> Iterator[Check]:
    for check in (drawing.check_browser, drawing.check_driver):
        needed = check()
        yield needed
        if needed.state is State.FAIL:
            yield drawing.check_cards(None)
            return
    trials = []
    for rasterizer in ("native" if sys.platform == "darwin" else "egl", "swiftshader"):
        tell(f"rendering 15 pictures with {rasterizer} …")
        trials.append(trial_with(rasterizer))
    yield drawing.check_cards(trials[0].renderer)
    for trial in trials:
        yield check_trial(trial)
    yield _any_that_draws(trials)
    best = next((trial for trial in trials if not trial.trouble), None)
    if best is not None:
        tell(f"starting {sessions} browsers at once …")
        yield drawing.check_together(sessions, best.rasterizer, best.renderer)


def _any_that_draws(trials: list[Trial]) -> Check:
    drawing_ones = [trial.rasterizer for trial in trials if not trial.trouble]
    if not drawing_ones:
        fix = "on Debian, 'apt-get install libegl1 libgl1-mesa-dri' adds what draws, or name another RUNNER_BROWSER"
        return Check("rasterizer", State.FAIL, "none draws here", fix)
    return Check("rasterizer", State.OK, f"a run takes {drawing_ones[0]}")


def _notice(url: str) -> Check:
    told: list[str] = []
    try:
        notices = Notices([url], told.append)
    except UsageError as error:
        return Check("notice", State.FAIL, str(error), "correct the address, or install what is missing")
    notices.send("runner doctor: a test", "This is a test. Notices of runs will come here.")
    if notices.close():
        found = told[0] if told else f"a notice to {shown_address(url)} could not be sent"
        return Check("notice", State.FAIL, found, "check the address, and that the network reaches it")
    return Check("notice", State.OK, f"{shown_address(url)} accepted a test notice: check that it arrived")
