"""How a run ends from outside: terminals, shells and service managers."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys

import psutil
import pytest
from campaigns import PACED, assert_whole, done_count, write_colors
from clients import Tabs, link_in, start_for_tabs
from needs import missing
from processes import browsers_of, command, lines_of, run, start
from waiting import wait_until

from runner.store import Store

pytestmark = pytest.mark.usefixtures("browser_path")


def assert_handed_back(folder) -> None:
    """Jobs are done or pending, and nobody was charged."""
    with Store(folder / "runner.db") as store:
        assert {row["status"] for row in store.reader.jobs(1)} <= {"done", "pending"}
        assert not any(row["failures"] or row["crashes"] for row in store.reader.jobs(1))
        assert {row["outcome"] for row in store.reader.attempts(1)} <= {"released"}
        assert {row["state"] for row in store.reader.workers(1)} == {"ended"}


def on_a_terminal(folder, file) -> tuple[int, int]:
    """Start the run as the foreground program of a terminal of its own: (its pid, the terminal)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, command("run", file, "-n", "1"))
    os.set_blocking(terminal, False)
    return pid, terminal


def drained(terminal) -> bool:
    """Read what the terminal shows, so that nobody waits for it."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass
    return True


def exit_status(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def test_ctrl_c_on_a_terminal_reaches_everyone_and_charges_nobody(tmp_path):
    """The terminal signals all processes of the run at once, Playwright's driver too."""
    pid, terminal = on_a_terminal(tmp_path, write_colors(tmp_path, 3000))
    browsers = []
    try:
        wait_until(lambda: drained(terminal) and done_count(tmp_path) >= 5, "the first done jobs")
        browsers = psutil.Process(pid).children(recursive=True)
        os.write(terminal, b"\x03")
        statuses = []
        wait_until(
            lambda: (drained(terminal) and statuses.append(exit_status(pid))) or statuses[-1] is not None,
            "the end",
        )
    finally:
        os.close(terminal)
    assert statuses[-1] == 130
    assert not psutil.wait_procs(browsers, timeout=10)[1]
    assert_handed_back(tmp_path)


def test_a_terminal_that_closes_ends_the_run_in_order(tmp_path):
    """SIGHUP, and nowhere to write messages to any more."""
    pid, terminal = on_a_terminal(tmp_path, write_colors(tmp_path, 3000))
    try:
        wait_until(lambda: drained(terminal) and done_count(tmp_path) >= 5, "the first done jobs")
        browsers = psutil.Process(pid).children(recursive=True)
    finally:
        os.close(terminal)
    statuses = []
    wait_until(lambda: statuses.append(exit_status(pid)) or statuses[-1] is not None, "the end")
    assert statuses[-1] == 143
    assert not psutil.wait_procs(browsers, timeout=10)[1]
    assert_handed_back(tmp_path)


def test_a_closed_terminal_that_is_told_twice_ends_the_run_in_order_too(tmp_path):
    """The kernel sends SIGHUP, and the shell passes it on: nobody asked to stop at once."""
    process, lines = start_for_tabs(write_colors(tmp_path, 3000))
    wait_until(lambda: done_count(tmp_path) >= 5, "the first done jobs")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stopping: " in "".join(lines), "the first to be heard")
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 143, "".join(lines)
    assert_handed_back(tmp_path)


def test_under_nohup_a_closed_terminal_changes_nothing(tmp_path):
    """What nohup has made the process ignore is ignored."""
    if shutil.which("nohup") is None:
        missing("nohup")
    file = write_colors(tmp_path, 40, PACED)
    process = subprocess.Popen(
        ["nohup", *command("run", file, "--sessions", "0")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = lines_of(process)
    tabs = Tabs(lambda: link_in(lines), 1)
    wait_until(lambda: done_count(tmp_path) >= 5, "the first done jobs")
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 0, "".join(lines)
    tabs.close()
    assert_whole(tmp_path, 40)


def test_a_service_manager_stops_all_at_once(tmp_path):
    """systemd sends SIGTERM to every process of the unit, browsers first perhaps: nobody is charged."""
    process = start("run", write_colors(tmp_path, 3000), "-n", "1")
    lines = lines_of(process)
    wait_until(lambda: done_count(tmp_path) >= 5, "the first done jobs")
    browsers = browsers_of(process)
    for one in reversed(browsers):
        one.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143, "".join(lines)
    assert "Traceback" not in "".join(lines) and "xception" not in "".join(lines)
    assert not psutil.wait_procs(browsers, timeout=10)[1]
    assert_handed_back(tmp_path)


def test_what_a_killed_runner_left_is_ended_at_the_next_start(tmp_path):
    """Browsers that stand still outlive their runner; the next one finds and ends them, and their folders."""
    temporary = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    environment = os.environ | {"TMPDIR": temporary}
    file = write_colors(tmp_path, 40, PACED)
    process = subprocess.Popen(
        command("run", file, "-n", "1"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wait_until(lambda: done_count(tmp_path) >= 5, "the first done jobs")
    browsers = [one for one in browsers_of(process) if "--user-data-dir" in " ".join(one.cmdline())]
    for one in browsers:
        one.suspend()
    for one in [psutil.Process(process.pid), *browsers_of(process)]:
        if one not in browsers:
            one.kill()
    process.communicate()
    assert any(one.is_running() and one.status() == psutil.STATUS_STOPPED for one in browsers)
    again = run("run", file, "-n", "1", env=environment)
    assert again.returncode == 0, again.stderr
    assert "earlier runs left behind" in again.stderr
    assert not psutil.wait_procs(browsers, timeout=5)[1]
    assert not [name for name in os.listdir(temporary) if name.startswith("runner-browsers-")]
    shutil.rmtree(temporary)
    assert_whole(tmp_path, 40)
