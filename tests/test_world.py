"""Real runs in a world that fails for a while: nobody is charged, and the campaign goes on by itself."""

from __future__ import annotations

import signal
import sqlite3
import subprocess

import pytest
from campaigns import assert_whole, lines_of, run, start, write_colors
from conftest import wait_until
from test_run import browsers_of, done_count

from runner.store import Store

pytestmark = pytest.mark.usefixtures("browser_path")


def assert_nobody_was_charged(folder) -> None:
    with Store(folder / "runner.db") as store:
        assert not any(row["failures"] or row["crashes"] for row in store.jobs(1))
        assert {row["outcome"] for row in store.attempts(1)} <= {"released"}


def test_a_full_disk_pauses_the_campaign(small_disk):
    """Database and results on a disk that fills up: a pause, no charge, and the end of it when there is room."""
    file = write_colors(small_disk, 120)
    process = start("run", file)
    lines = lines_of(process)
    wait_until(lambda: done_count(small_disk) >= 5, "the first done jobs")
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as opened, pytest.raises(OSError):
        while True:
            opened.write(bytes(4096))
    wait_until(lambda: "paused, no job is charged" in "".join(lines), "the pause")
    filler.unlink()
    assert process.wait(timeout=120) == 0, "".join(lines)
    assert "going on after" in "".join(lines)
    assert_whole(small_disk, 120)
    assert_nobody_was_charged(small_disk)
    report = run("report", "--db", small_disk / "runner.db")
    assert "pause " in report.stdout and "full" in report.stdout


def test_a_locked_database_holds_the_campaign_up(tmp_path):
    """Another program that locks the database for a while costs time and nothing else."""
    file = write_colors(tmp_path, 60)
    process = start("run", file)
    lines = lines_of(process)
    wait_until(lambda: done_count(tmp_path) >= 5, "the first done jobs")
    other = sqlite3.connect(tmp_path / "runner.db", isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    held = other.execute("SELECT done FROM campaign").fetchone()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=4)
    assert other.execute("SELECT done FROM campaign").fetchone() == held
    other.execute("ROLLBACK")
    other.close()
    assert process.wait(timeout=120) == 0, "".join(lines)
    assert_whole(tmp_path, 60)
    assert_nobody_was_charged(tmp_path)


def test_a_machine_that_sleeps_charges_nobody(tmp_path):
    """Runner and browsers stand still for longer than a job may take, and go on: no attempt is timed out."""
    file = write_colors(tmp_path, 60, policy=", timeout_s=4")
    process = start("run", file)
    lines = lines_of(process)
    wait_until(lambda: done_count(tmp_path) >= 5, "the first done jobs")
    everyone = [*browsers_of(process), process]
    for one in everyone:
        one.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=8)
    for one in everyone:
        one.send_signal(signal.SIGCONT)
    assert process.wait(timeout=120) == 0, "".join(lines)
    assert "this process was not let run for" in "".join(lines)
    assert_whole(tmp_path, 60)
    assert_nobody_was_charged(tmp_path)
