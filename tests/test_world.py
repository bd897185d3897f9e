"""Real runs in a world that fails for a while: nobody is charged, and the campaign goes on by itself."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess

import psutil
import pytest
from campaigns import PACED, assert_nobody_was_charged, assert_whole, done_count, number_of, write_colors
from clients import Tabs, link_in, start_for_tabs
from processes import browsers_of, lines_of, start, within
from waiting import wait_until

from runner.store import Store

pytestmark = pytest.mark.slow


def test_a_full_disk_pauses_the_campaign(small_disk):
    """Database and results on a disk that fills up: a pause, no charge, and the end of it when there is room."""
    file = write_colors(small_disk, 80, PACED)
    process, lines = start_for_tabs(file, "--min-free", 0, tabs=2)
    wait_until(lambda: done_count(small_disk) >= 5, "the first done jobs")
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as opened, pytest.raises(OSError):
        while True:
            opened.write(bytes(4096))
    wait_until(lambda: "paused, no job is charged" in "".join(lines), "the pause")
    filler.unlink()
    assert process.wait(timeout=120) == 0, "".join(lines)
    assert "going on after" in "".join(lines)
    assert_whole(small_disk, 80)
    assert_nobody_was_charged(small_disk)
    report = within("report", "--db", small_disk / "runner.db")
    assert "pause " in report.stdout and "full" in report.stdout


@pytest.mark.parametrize("what", ["database", "results"])
def test_a_full_disk_under_a_part_pauses_the_campaign_too(tmp_path, small_disk, what):
    """Only the database, or only the files and the log, on the disk that fills up: the same pause."""
    file = write_colors(tmp_path, 40, PACED)
    database, results = tmp_path / "runner.db", tmp_path / "results"
    if what == "database":
        database = small_disk / "runner.db"
    else:
        results = small_disk / "results"
        (tmp_path / "results").symlink_to(results)
    places = ["--db", database, "--results", results]
    process, lines = start_for_tabs(file, "--min-free", 0, *places)
    wait_until(lambda: done_count(database.parent) >= 5, "the first done jobs")
    with open(small_disk / "filler", "wb", buffering=0) as opened, pytest.raises(OSError):
        while True:
            opened.write(bytes(4096))
    wait_until(lambda: "paused, no job is charged" in "".join(lines), "the pause")
    (small_disk / "filler").unlink()
    assert process.wait(timeout=120) == 0, "".join(lines)
    if what == "database":
        (tmp_path / "runner.db").symlink_to(database)
    assert_whole(tmp_path, 40)
    assert_nobody_was_charged(tmp_path)


def test_less_room_than_the_floor_pauses_the_campaign(tmp_path, small_disk):
    """--min-free stops before the disk is full, says so, and goes on by itself; the forecast had warned."""
    count = 300
    file = write_colors(tmp_path, count, PACED)
    results = small_disk / "results"
    (tmp_path / "results").symlink_to(results)
    (small_disk / "filler").write_bytes(bytes(2 << 20))
    process, lines = start_for_tabs(file, "--min-free", "4M", "--results", results, tabs=3)
    wait_until(lambda: "the run will pause until you make room" in "".join(lines), "the forecast", 120)
    (small_disk / "more").write_bytes(bytes(3 << 20))
    wait_until(lambda: "has less than 4.0 MiB left" in "".join(lines), "the pause", 120)
    in_flight = "SELECT count(*) FROM job WHERE status = 'in_progress'"
    wait_until(lambda: number_of(tmp_path, in_flight) == 0, "the jobs in flight to end")
    assert done_count(tmp_path) < count and shutil.disk_usage(small_disk).free > 0
    for name in ("filler", "more"):
        (small_disk / name).unlink()
    assert process.wait(timeout=120) == 0, "".join(lines)
    assert_whole(tmp_path, count)
    assert_nobody_was_charged(tmp_path)


def test_a_locked_database_holds_the_campaign_up(tmp_path):
    """Another program that locks the database for a while costs time and nothing else."""
    file = write_colors(tmp_path, 40, PACED)
    process, lines = start_for_tabs(file)
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
    assert_whole(tmp_path, 40)
    assert_nobody_was_charged(tmp_path)


def test_a_server_that_goes_away_holds_the_campaign_up(tmp_path, distant_server):
    """PostgreSQL gone in mid-run: a pause, which Ctrl-C ends with 130; the next run waits and goes on."""
    file = write_colors(tmp_path, 50, PACED)
    with Store(distant_server.url) as store:
        process, lines = start_for_tabs(file, "--db", distant_server.url)
        wait_until(lambda: any(row["done"] >= 5 for row in store.reader.campaigns()), "the first done jobs")
    distant_server.cut()
    wait_until(lambda: "paused, no job is charged" in "".join(lines), "the pause")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130, "".join(lines)
    assert "Traceback" not in "".join(lines)
    process, lines = start_for_tabs(file, "--db", distant_server.url)
    wait_until(lambda: "paused, no job is charged" in "".join(lines), "the pause")
    distant_server.join()
    assert process.wait(timeout=120) == 0, "".join(lines)
    with Store(distant_server.url) as store:
        rows = store.reader.jobs(1)
        assert [row["status"] for row in rows] == ["done"] * 50
        assert not any(row["failures"] for row in rows)
        assert len(store.reader.results_after(1, 0, 1000)) == 50


def test_a_machine_that_sleeps_charges_nobody(tmp_path, browser_path):
    """Runner and browsers stand still for longer than a job may take, and go on: no attempt is timed out."""
    file = write_colors(tmp_path, 40, PACED, policy=", timeout_s=4")
    process = start("run", file, "-n", "1")
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
    assert "this process was held up for" in "".join(lines)
    assert_whole(tmp_path, 40)
    assert_nobody_was_charged(tmp_path)


def test_browsers_that_cannot_be_started_any_more_pause_the_campaign(tmp_path, browser_path):
    """An upgrade that breaks the browser for a while: a pause that says so, and the campaign goes on by itself."""
    broken, wrapper = tmp_path / "broken", tmp_path / "browser"
    wrapper.write_text(f'#!/bin/sh\n[ -e "{broken}" ] && exit 1\nexec "{browser_path}" "$@"\n')
    wrapper.chmod(0o755)
    file = write_colors(tmp_path, 40, PACED)
    process = start("run", file, "-n", "1", environment={"RUNNER_BROWSER": str(wrapper)})
    lines = lines_of(process)
    wait_until(lambda: done_count(tmp_path) >= 5, "the first done jobs")
    broken.touch()
    for one in browsers_of(process):
        with contextlib.suppress(psutil.Error):
            if "--user-data-dir" in " ".join(one.cmdline()):
                one.kill()
    wait_until(lambda: "paused, no job is charged: no browser can be started" in "".join(lines), "the pause")
    broken.unlink()
    assert process.wait(timeout=120) == 0, "".join(lines)
    assert "going on after" in "".join(lines)
    assert_whole(tmp_path, 40)
    with Store(tmp_path / "runner.db") as store:
        assert sum(row["crashes"] + row["failures"] for row in store.reader.jobs(1)) <= 1


def test_tabs_that_go_away_pause_the_campaign(tmp_path):
    """The machine with the tabs sleeps, or the network is away: said, charged to nobody, and over with the next tab."""
    file = write_colors(tmp_path, 40, PACED)
    process = start("run", file, "--sessions", "0")
    lines = lines_of(process)
    tabs = Tabs(lambda: link_in(lines), 1)
    wait_until(lambda: done_count(tmp_path) >= 5, "the first done jobs")
    tabs.close()
    wait_until(lambda: "paused, no job is charged: no tab is connected" in "".join(lines), "the pause")
    tabs = Tabs(lambda: link_in(lines), 1)
    assert process.wait(timeout=120) == 0, "".join(lines)
    tabs.close()
    assert "going on after" in "".join(lines)
    assert_whole(tmp_path, 40)
    assert_nobody_was_charged(tmp_path)
