"""A run that drains begins no more jobs and lets those in flight end: when its hours are over, or at SIGTERM."""

from __future__ import annotations

import signal

import pytest
from campaigns import number_of, write_colors
from clients import start_for_tabs
from processes import run
from waiting import wait_until

from runner.store import Store


@pytest.mark.slow
def test_a_run_whose_hours_are_over_ends_with_8_and_says_what_is_left(tmp_path):
    """So does a run to which no tab has come; hours that are no number are refused."""
    file = write_colors(tmp_path, 3000)
    end = run("run", file, "--sessions", "0", "--max-hours", "0.0001")
    assert end.returncode == 8, end.stderr
    assert "are over: jobs in flight may end, no other is begun" in end.stderr and "3,000 left" in end.stderr
    assert run("run", file, "--max-hours", "0").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("grace_s", [60, 1])
def test_sigterm_lets_jobs_in_flight_end_within_their_grace(tmp_path, grace_s):
    """Those that end are done; those that do not are handed back; nobody is charged."""
    gate = tmp_path / "gate"
    body = f"while not __import__('os').path.exists({str(gate)!r}): await asyncio.sleep(0.02)"
    process, lines = start_for_tabs(write_colors(tmp_path, 3000, body), "--grace", grace_s, tabs=2)
    in_flight = "SELECT count(*) FROM job WHERE status = 'in_progress'"
    wait_until(lambda: number_of(tmp_path, in_flight) == 2, "two jobs in flight")
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: "may end within" in "".join(lines), "the signal to be heard")
    if grace_s == 60:
        gate.touch()
    assert process.wait(timeout=50) == 143, "".join(lines)
    with Store(tmp_path / "runner.db") as store:
        progress, attempts = store.reader.progress(1), store.reader.attempts(1)
        rows = store.reader.jobs(1)
    # Before its order to drain comes, a worker may begin some more.
    assert 2 <= progress.done < 3000 if grace_s == 60 else progress.done == 0
    assert progress.in_progress == 0
    assert [row["outcome"] for row in attempts] == [] if grace_s == 60 else ["released"] * 2
    assert not any(row["failures"] or row["crashes"] for row in rows)
