"""Runners that a scheduler starts: they come again while jobs are left, and stop when none is, or when told to."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from needs import missing
from processes import within
from waiting import wait_until

from runner.cluster import Shift, submit
from runner.errors import UsageError

# In place of `runner run`: writes down what it was called with, and ends with the next of the statuses.
STAND_IN = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
statuses = (folder / "statuses").read_text().split()
with open(folder / "calls", "a") as calls:
    print(*sys.argv[2:], file=calls)
if statuses[len((folder / "calls").read_text().splitlines()) - 1] == "waits":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (folder / "waits").write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)
sys.exit(int(statuses[len((folder / "calls").read_text().splitlines()) - 1]))
"""


@pytest.fixture
def shift(tmp_path):
    if importlib.util.find_spec("submitit") is None:
        missing("submitit")
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    command = (sys.executable, str(tmp_path / "stand_in.py"), str(tmp_path))
    return Shift(command, "runner-test", hours=0.5, folder=str(tmp_path / "logs"), cluster="local")


def submit_elsewhere(shift: Shift) -> str:
    """By a process that ends then, as `runner slurm` does; the job's id."""
    code = f"from runner.cluster import Shift, submit; print(*submit({shift}, 1))"
    told = Path(shift.folder).with_name("told")
    # Not by a pipe: what it starts would keep that open.
    with open(told, "w") as file:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=file, stderr=file)
    return told.read_text().strip()


def test_a_cloudpickle_that_cannot_is_named(shift, monkeypatch):
    """ML-Logger pins one of 2020, which fails under Python 3.14 with an IndexError."""

    def dumps(what):
        raise IndexError("tuple index out of range")

    monkeypatch.setattr("cloudpickle.dumps", dumps)
    with pytest.raises(UsageError, match=r"cannot write what submitit needs.*pip install -U cloudpickle"):
        submit(shift, 1)
    assert not Path(shift.folder).exists()


def calls_of(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []


def said(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted((folder / "logs").glob("*/*_log.*")))


def results_of(folder: Path) -> int:
    return len(list((folder / "logs").glob("*/*_result.pkl")))


def test_a_shift_submits_itself_again_while_jobs_are_left(shift, tmp_path):
    """Until the run ends with another status than 8; it is told to end before the scheduler ends it."""
    (tmp_path / "statuses").write_text("8 8 0")
    job_id = submit_elsewhere(shift)
    wait_until(lambda: results_of(tmp_path) == 3, "three shifts")
    assert calls_of(tmp_path) == ["--max-hours 0.45 --grace 30"] * 3
    assert said(tmp_path).count("jobs are left: the next job of the scheduler is") == 2 and job_id in str(
        list((tmp_path / "logs").iterdir())
    )


def test_a_run_that_cannot_go_on_is_not_begun_again(shift, tmp_path):
    """A halt, a pause, a mistake, or a signal: the scheduler's job has failed, with the status in its log."""
    (tmp_path / "statuses").write_text("3 0")
    submit_elsewhere(shift)
    wait_until(lambda: results_of(tmp_path) == 1, "the shift's end")
    assert len(calls_of(tmp_path)) == 1 and "the run ended with 3" in said(tmp_path)


def test_a_shift_whose_node_is_taken_away_comes_again(shift, tmp_path):
    """The run is told to end, and waited for; the signal that says so ends nothing by itself."""
    (tmp_path / "statuses").write_text("waits 0")
    scheduler = psutil.Process(int(submit_elsewhere(shift)))
    wait_until((tmp_path / "waits").exists, "the run")
    run = int((tmp_path / "waits").read_text())
    # As Slurm does: to all that runs there.
    for process in reversed(scheduler.children(recursive=True)):
        process.send_signal(signal.SIGUSR2)
    wait_until(lambda: results_of(tmp_path) == 1, "the second shift's end")
    assert calls_of(tmp_path) == ["--max-hours 0.45 --grace 30"] * 2
    assert not psutil.pid_exists(run) and "Requeued" in said(tmp_path)


def test_what_a_scheduler_does_not_take_is_said_in_one_line(shift):
    """Also where there is no scheduler at all."""
    slurm = Shift(shift.command, "runner-test", 1.0, shift.folder, "slurm", parameters={"slurm_no_such": "1"})
    with pytest.raises(UsageError, match="slurm does not accept the job"):
        submit(slurm, 1)


def test_several_runners_need_a_server(tmp_path):
    """A SQLite file is refused by its name before anything is submitted; one runner may have it."""
    file = tmp_path / "night.py"
    assert within("init", file).exit_code == 0
    refused = within("slurm", file, "-n", "3", "--hours", "1")
    assert (
        refused.exit_code == 2 and f"cannot share the SQLite file {tmp_path / 'runner.db'}" in refused.output
    )
    wrong = within("slurm", file, "--hours", "1", "--slurm", "partition", "--db", "postgresql://host/none")
    assert wrong.exit_code == 2 and "write NAME=VALUE" in wrong.output
    odd = within("slurm", file, "--hours", "1", "--", "--sesions", "4")
    assert odd.exit_code == 2 and "No such option" in odd.output and "--sesions" in odd.output
    assert not (tmp_path / "results").exists()
