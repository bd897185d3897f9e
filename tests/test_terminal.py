"""What a run shows while it goes on: a bar or lines, on whatever terminal; and what is printed meanwhile is kept."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import GOOD, PACED, write_colors
from clients import start_for_tabs
from processes import lines_of, run, start, within
from terminals import Terminal
from waiting import wait_until

from runner.job import Progress
from runner.run.life import standing_of
from runner.run.pace import Pace, left_text
from runner.run.progress import Live, line_of
from runner.store import Store

# Each way of printing that a render has.
NOISE = """
    import logging, os, sys
    print("printed", job.key, end="", flush=True)
    print(" to its end")
    print("on stderr", file=sys.stderr)
    logging.warning("logged")
    os.system("echo by a child")
    os.write(2, b"by a library\\n")
    for step in job.steps(4):
        await asyncio.sleep(0.3)
"""


@pytest.fixture
def file(tmp_path) -> Path:
    """A campaign of one job, that renders nothing without a tab."""
    file = tmp_path / "good.py"
    file.write_text(GOOD)
    return file


# -- what is printed -------------------------------------------------------------------------------


@pytest.mark.usefixtures("browser_path")
def test_what_a_render_prints_is_in_the_runs_log_and_not_in_the_bar(tmp_path):
    """However it prints: each line with its time and job; the terminal shows the bars, and where the log is."""
    file = write_colors(tmp_path, 3, NOISE)
    terminal = Terminal("run", file, "--sessions", "1", "--verbose", LC_ALL="C")
    assert terminal.end() == 0
    (log,) = (tmp_path / "results" / "colors").glob("runs/*/run.log")
    kept = log.read_text()
    with Store(tmp_path / "runner.db") as store:
        keys = [row["key"] for row in store.reader.jobs(1)]
    for key in keys:
        assert re.search(rf"^\d{{4}}-\d\d-\d\dT\S+ \[{key}\] printed {key} to its end$", kept, re.MULTILINE)
    for noise in ("on stderr", "WARNING:root:logged", "by a child", "by a library"):
        assert kept.count(noise) == 3 and noise not in terminal.text
    assert "printed" not in terminal.text.replace(f"output that jobs print goes to {log}", "")
    assert f"log            {log}" in terminal.text and "starting 1 browser" in terminal.text
    # What it said is there as well, and the bars are drawn with letters where the locale has no others.
    assert "colors: all 3 jobs are done" in kept and "█" not in terminal.text
    assert re.search(r" \d+%\|[ #0-9]+\| 0/3 done, \d session", terminal.text)
    assert re.search(r"[0-9a-f]{24} \|[ #0-9]+\| [0-4]/4 steps", terminal.text)


def test_lines_keep_their_job_and_their_whole(tmp_path):
    """Half a line of one job is ended before another's; what is written over and over comes once; all comes out."""
    code = (
        "import sys, pathlib\n"
        "from types import SimpleNamespace as Lease\n"
        "from runner.run.life import CURRENT, Life\n"
        "from runner.run.run_log import end_lines, keep_printed\n"
        "told = []\n"
        "keep_printed(pathlib.Path(sys.argv[1]), lambda: told.append(1))\n"
        "print('before any job')\n"
        "for key in ('a', 'b', 'a'):\n"
        "    CURRENT.set(Life(Lease(job_id=1, attempt=1, key=key)))\n"
        "    print('half of', key, end='', flush=True)\n"
        "for percent in range(100):\n"
        "    print(f'\\r{percent} %', end='', flush=True)\n"
        "print()\n"
        "print('the last', end='')\n"
        "end_lines()\n"
        "assert told == [1]\n"
    )
    log = tmp_path / "run.log"
    end = subprocess.run([sys.executable, "-c", code, str(log)], capture_output=True, text=True)
    assert (end.returncode, end.stdout, end.stderr) == (0, "", ""), log.read_text()
    lines = [line.split(" ", 1)[1] for line in log.read_text().splitlines()]
    assert lines == ["before any job", "[a] half of a", "[b] half of b", "[a] 99 %", "[a] the last"]


# -- the bar ---------------------------------------------------------------------------------------


def test_nothing_is_said_of_a_rate_that_is_not_known():
    """Neither at the start, nor after a pause; two long jobs are enough after a while."""
    pace = Pace()
    for second in range(20):
        pace.look(float(second), 0, 100)
        assert (pace.rate, pace.left_s) == (None, None)
    for second in range(20, 31):
        pace.look(float(second), 2 * (second - 19), 100 - 2 * (second - 19))
    assert pace.rate == pytest.approx(2.0, rel=0.15) and pace.left_s == pytest.approx(78 / 2, rel=0.15)
    pace.look(31.0, 22, 78, is_standing=True)
    assert (pace.rate, pace.left_s) == (None, None)
    slow = Pace()
    slow.look(0.0, 0, 10)
    slow.look(50.0, 1, 9)
    assert slow.rate is None
    slow.look(100.0, 2, 8)
    assert slow.rate == pytest.approx(1 / 50) and slow.left_s == pytest.approx(400)


def test_what_was_long_ago_no_longer_counts():
    """A run that has become slow says so within two minutes."""
    pace = Pace()
    for second in range(1000):
        pace.look(float(second), 10 * second, 50_000)
    for second in range(1000, 1130):
        pace.look(float(second), 10_000 + second - 1000, 50_000)
    assert pace.rate == pytest.approx(1.0, rel=0.1)


def test_the_expected_end_is_a_duration_and_a_time_of_day():
    """With its weekday where it is far away."""
    assert re.fullmatch(r"12 min left \(\d\d:\d\d\)", left_text(720.0))
    assert re.fullmatch(r"48 s left \(\d\d:\d\d\)", left_text(48.0))
    assert re.fullmatch(r"30\.0 h left \(\w+ \d\d:\d\d\)", left_text(108_000.0))


@pytest.mark.parametrize("columns", [24, 40, 60, 80, 200])
def test_a_narrow_terminal_loses_what_matters_least(columns):
    """The counts are always there; then failures and the expected end, the disk, the rate, sessions, retries."""
    pace = Pace()
    for second in range(100):
        pace.look(float(second), 7 * second, 1_000)
    live = Live(sessions=4, charged=30, room="3.1 GiB free")
    progress = Progress(total=1_000_000, done=12_345, failed=6, in_progress=4)
    line = line_of(progress, live, 24, pace, columns)
    assert len(line) <= columns and line.startswith("12,345/1,000,000")
    whole = line_of(progress, live, 24, pace)
    assert all(part in whole for part in line.split(", "))
    assert ("6 failed" in line) == (columns >= 40) and ("24 retried" in line) == (columns >= 200)


@pytest.mark.slow
def test_on_a_pipe_a_run_says_now_and_then_how_far_it_is(tmp_path):
    """Lines that stand by themselves: no bar, no block, no escape."""
    process, lines = start_for_tabs(write_colors(tmp_path, 1000, PACED))
    wait_until(lambda: any("/1,000 done" in line for line in lines), "a line about its progress")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not any(bad in "".join(lines) for bad in ("%|", "\x1b", "█"))


@pytest.mark.slow
def test_a_run_that_is_paused_says_so_where_one_looks(file):
    """The bar begins with it, status and report name it, and a run that is started then; so does SIGUSR1."""
    terminal = Terminal("run", file, "--sessions", "0", columns=60)
    wait_until(lambda: "open this link" in terminal.text, "the run")
    database = file.parent / "runner.db"
    assert within("pause", "--db", database).exit_code == 0
    wait_until(lambda: "good is paused: no job is begun" in terminal.text, "the line")
    wait_until(lambda: any(line.startswith("paused: 0/1 done") for line in terminal.lines()), "the bar")
    terminal.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "good: paused: 0/1 done, 0 sessions" in terminal.text, "the answer")
    for verb in ("status", "report"):
        assert "good: paused" in within(verb, "--db", database).stdout
    assert '"state": "paused"' in within("status", "--json", "--db", database).stdout
    assert within("cancel", "--db", database).exit_code == 0
    assert terminal.end() == 3 and "it is cancelled" in terminal.text
    assert all(len(line) <= 60 for line in terminal.lines() if " done, " in line and "good:" not in line)
    again = run("run", file, "--sessions", "0")
    assert again.returncode == 3 and "good is cancelled; to let it go on" in again.stderr


@pytest.mark.slow
def test_a_dumb_terminal_gets_lines(file):
    """What cannot move its cursor is written no bar."""
    terminal = Terminal("run", file, "--sessions", "0", TERM="dumb")
    wait_until(lambda: "0/1 done" in terminal.text, "a line about its progress")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "%|" not in terminal.text and not re.search(r"\r(?!\n)", terminal.text)


@pytest.mark.slow
def test_sigusr1_ends_nothing_at_any_moment(tmp_path):
    """Also while jobs are read, before a run is under way."""
    file = tmp_path / "good.py"
    file.write_text(
        GOOD.replace('    yield {"x": 1}', '    import time\n    time.sleep(5)\n    yield {"x": 1}')
    )
    process = start("run", file, "--sessions", "0")
    lines = lines_of(process)
    wait_until(lambda: any("reading the jobs" in line for line in lines), "the jobs being read")
    process.send_signal(signal.SIGUSR1)
    wait_until(lambda: any("the run is starting" in line for line in lines), "the answer")
    wait_until(lambda: any("open this link" in line for line in lines), "the run")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130


# -- who else is there, and what is refused --------------------------------------------------------


@pytest.mark.slow
def test_two_runs_of_one_campaign_tell_of_each_other(file):
    """Each names the other's process; who stays says when the other has ended."""
    first, second = (start("run", file, "--sessions", "0") for _ in range(2))
    said = {process: lines_of(process) for process in (first, second)}
    for one, other in ((first, second), (second, first)):
        there = f"another run of good is at work: process {other.pid} on "
        wait_until(lambda one=one, there=there: any(there in line for line in said[one]), there)
    end = within("status", "--db", file.parent / "runner.db")
    assert f"process {first.pid} on" in end.stdout and f"process {second.pid} on" in end.stdout
    second.send_signal(signal.SIGINT)
    assert second.wait(60) == 130
    gone = f"the other run of good, process {second.pid} on "
    wait_until(lambda: any(gone in line for line in said[first]), gone)
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130
    assert "no run is at work" in within("status", "--db", file.parent / "runner.db").stdout


@pytest.mark.slow
def test_a_start_that_is_refused_leaves_no_database(file, port):
    """Neither where the results cannot be written, nor where the port is taken."""
    (file.parent / "taken").write_text("a file")
    with socket.socket() as other:
        other.bind(("localhost", port))
        other.listen()
        for arguments, why in (
            (("--results", file.parent / "taken" / "below"), "cannot write in"),
            (("--port", port), f"cannot listen on localhost:{port}"),
        ):
            end = run("run", file, "--sessions", "0", *arguments)
            assert end.returncode == 2 and why in end.stderr, end.stderr
            assert not (file.parent / "runner.db").exists()


# -- where a render stands -------------------------------------------------------------------------


def test_a_render_that_waits_is_told_by_its_own_lines():
    """The user's frames alone, from the render function to the line that waits; not asyncio's, nor runner's."""

    async def inner() -> None:
        await asyncio.sleep(60)  # it waits here

    async def render() -> None:
        await inner()

    async def look():
        task = asyncio.create_task(render())
        await asyncio.sleep(0)
        found = standing_of(task, Path(__file__).parent)
        task.cancel()
        return found

    standing = asyncio.run(look())
    lines = Path(__file__).read_text().splitlines()
    waits_at = next(number for number, line in enumerate(lines, 1) if line.endswith("# it waits here"))
    assert standing.place == f"{__file__}:{waits_at}"
    assert re.findall(r"in (\w+)", standing.stack) == ["render", "inner"]
