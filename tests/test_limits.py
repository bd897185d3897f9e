"""How long an attempt may take, and what is kept of one that took too long."""

from __future__ import annotations

import pytest
from campaigns import write_colors
from clients import run_for_tabs
from processes import run

from runner.results import ResultsFolder
from runner.run.limits import TimeLimit
from runner.store import Store


def test_a_limit_is_learnt_from_the_campaigns_own_median():
    """Generous while nothing is known, then twenty times the median, and never less than half a minute."""
    limit = TimeLimit(None)
    assert limit.s == 600.0
    for _ in range(19):
        limit.learn(10.0)
    assert limit.s == 600.0
    limit.learn(10_000.0)
    assert limit.s == 200.0
    for _ in range(200):
        limit.learn(0.05)
    assert limit.s == 30.0


def test_what_was_learnt_is_handed_on():
    """The next worker process of a run knows what the last one knew, and learns on."""
    earlier = TimeLimit(None)
    for _ in range(25):
        earlier.learn(10.0)
    limit = TimeLimit(None, earlier.known)
    assert limit.s == 200.0 and limit.origin("timeout_s") == earlier.origin("timeout_s")
    assert TimeLimit(None, TimeLimit(None).known).s == 600.0
    for _ in range(195):
        limit.learn(20.0)
    assert limit.s == 400.0


def test_a_limit_that_is_given_is_kept():
    """What the campaign says is not overruled by what it shows."""
    limit = TimeLimit(5.0)
    for _ in range(50):
        limit.learn(100.0)
    assert limit.s == 5.0


def test_a_learnt_limit_is_doubled_for_a_second_chance_and_says_where_it_comes_from():
    """A given one is neither; as long as little is known, it says that."""
    learnt, given = TimeLimit(None), TimeLimit(5.0)
    assert "as long as fewer than 20 have ended well" in learnt.origin("timeout_s")
    for _ in range(20):
        learnt.learn(3.0)
    assert (learnt.s_for(False), learnt.s_for(True)) == (60.0, 120.0)
    assert learnt.origin("timeout_s") == (
        " (a limit learnt from 20 that ended well, after 3 s by their median; Campaign(timeout_s=…) gives one)"
    )
    assert (given.s_for(True), given.origin("timeout_s")) == (5.0, "")


@pytest.mark.slow
def test_a_step_that_takes_too_long_is_a_failure_and_slow_steps_are_none(tmp_path):
    """Where steps go on, the job may take as long as it likes; the evidence of one that does not is kept."""
    body = (
        'for step in job.steps(4): await asyncio.sleep(60 if job.params["number"] == 1 and step == 2 else 1)'
    )
    file = write_colors(tmp_path, 2, body, ", max_failures=1, stall_s=2.5")
    end = run_for_tabs(file)
    assert end.returncode == 1, end.stderr
    with Store(tmp_path / "runner.db") as store:
        errors = [row["error"] for row in store.reader.jobs(1)]
        assert errors[0] is None and errors[1].startswith("TimeoutError: no step ended within 2.5 s, at ")
        (attempt,) = store.reader.attempts(1)
    picture = ResultsFolder(tmp_path / "results", "colors").evidence_of(attempt["key"], attempt["attempt"])
    assert picture is not None and picture.stat().st_size > 100


@pytest.mark.usefixtures("browser_path")
def test_what_the_page_said_last_is_kept_with_a_failed_attempt(tmp_path):
    """The console's last lines stand before the traceback."""
    # A radius that is no number makes places that are none, of which three.js complains.
    body = """session.upsert @ Sphere(key="odd", args=["wide", 8, 8])
    await session.grab("ego")"""
    file = write_colors(tmp_path, 1, body, ", max_failures=1")
    assert run("run", file, "-n", "1").returncode == 1
    with Store(tmp_path / "runner.db") as store:
        (attempt,) = store.reader.attempts(1)
    lines = attempt["traceback"].splitlines()
    assert lines[-1].startswith("runner.errors.FrameError: THREE.BufferGeometry")
    assert any(line.startswith("page console: error: THREE") for line in lines)
