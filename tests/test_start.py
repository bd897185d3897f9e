"""Runs that are started in a world that fails: they wait and go on; what does not pass is refused."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from campaigns import GOOD, assert_nobody_was_charged, assert_whole, write_colors
from clients import start_for_tabs
from processes import STARTED, lines_of, run, start, within
from waiting import wait_until

from runner.errors import StoreError, StoreUnavailable
from runner.store import Store
from runner.store.refusals import cannot_use

# `runner` that tells when it is about to add jobs, and waits so many milliseconds for another's lock.
TELLING = """
import sys
from runner.store import database, opening, store
database.BUSY_TIMEOUT_MS = opening.BUSY_TIMEOUT_MS = int(sys.argv.pop(1))
add_campaign = store.Store.add_campaign
def tell(*arguments):
    print("adding jobs", file=sys.stderr, flush=True)
    return add_campaign(*arguments)
store.Store.add_campaign = tell
from runner.cli import main
main()
"""


@pytest.fixture
def empty(tmp_path) -> Path:
    """A campaign without jobs: a run that could begin ends with 4, and needs no browser for it."""
    file = tmp_path / "empty.py"
    file.write_text(GOOD.replace('yield {"x": 1}', "yield from ()"))
    return file


def fill(disk: Path) -> Path:
    """Fill the disk up; returns the file that does."""
    with open(disk / "filler", "wb", buffering=0) as opened, pytest.raises(OSError):
        while True:
            opened.write(bytes(4096))
    return disk / "filler"


def start_telling(patience_ms: int, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", TELLING, str(patience_ms), "run", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    STARTED.append(process)
    return process


def locked(database: Path) -> sqlite3.Connection:
    """Another program's connection, which holds the write lock."""
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def wait_for_pause(process: subprocess.Popen, lines: list[str]) -> None:
    wait_until(
        lambda: "paused, no job is charged" in "".join(lines) or process.poll() is not None, "the pause"
    )
    assert process.poll() is None, "".join(lines)


def assert_goes_on(process: subprocess.Popen, lines: list[str], status: int) -> None:
    """One line when the pause began, one when it ended, and the run to its end."""
    assert process.wait(timeout=120) == status, "".join(lines)
    wait_until(lambda: "going on after" in "".join(lines), "the end of the pause")
    assert "".join(lines).count("paused, ") == "".join(lines).count("going on after") == 1, "".join(lines)


@pytest.mark.parametrize("what", ["database", "results"])
def test_a_full_disk_is_waited_for(tmp_path, small_disk, what):
    """Under the database or the files: said, charged to nobody, reported, and over once there is room."""
    file = write_colors(tmp_path, 20)
    option, name = {"database": ("--db", "runner.db"), "results": ("--results", "results")}[what]
    filler = fill(small_disk)
    process, lines = start_for_tabs(file, "--min-free", 0, option, small_disk / name)
    wait_for_pause(process, lines)
    filler.unlink()
    assert_goes_on(process, lines, 0)
    (tmp_path / name).symlink_to(small_disk / name)
    assert_whole(tmp_path, 20)
    assert_nobody_was_charged(tmp_path)
    report = within("report", "--db", tmp_path / "runner.db")
    assert "pause " in report.stdout and "full" in report.stdout


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.slow
def test_a_lock_that_outlasts_sqlites_patience_is_waited_for(tmp_path, empty, is_new):
    """Another program holds the database, at its making or when jobs are added: over with the lock."""
    if not is_new:
        Store(tmp_path / "runner.db").close()
    other = locked(tmp_path / "runner.db")
    process = start_telling(200, empty)
    lines = lines_of(process)
    wait_for_pause(process, lines)
    assert "another program holds it locked" in "".join(lines)
    other.execute("ROLLBACK")
    other.close()
    assert_goes_on(process, lines, 4)


def test_a_server_that_is_away_is_waited_for(empty, distant_server):
    """No PostgreSQL at the other end yet: a run waits for it, while what only reads says so at once."""
    distant_server.cut()
    process = start("run", empty, "--db", distant_server.url)
    lines = lines_of(process)
    wait_for_pause(process, lines)
    status = within("status", "--db", distant_server.url)
    assert status.exit_code == 2 and len(status.stderr.splitlines()) == 1
    distant_server.join()
    assert_goes_on(process, lines, 4)


@pytest.mark.slow
def test_descriptors_that_have_run_out_are_waited_for(tmp_path, empty):
    """A limit that is too low for a database: said, and over as soon as somebody raises it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (16, hard))
    process = start("run", empty, preexec_fn=few)
    lines = lines_of(process)
    wait_for_pause(process, lines)
    assert "ulimit -n" in "".join(lines)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert_goes_on(process, lines, 4)


def test_sqlites_one_word_for_two_faults_is_told_apart(tmp_path):
    """It cannot open a file for want of descriptors, which passes, and of a folder, which does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    error = sqlite3.OperationalError("unable to open database file")
    url = sa.make_url(f"sqlite:///{tmp_path}/runner.db")
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, hard))
    try:
        of_descriptors = cannot_use(url, error, is_opening=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(of_descriptors, StoreUnavailable) and "ulimit -n" in str(of_descriptors)
    of_a_folder = cannot_use(sa.make_url(f"sqlite:///{tmp_path}/no/runner.db"), error, is_opening=True)
    assert type(of_a_folder) is StoreError and "folder is missing" in str(of_a_folder)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("failed: Connection refused", StoreUnavailable),
        ('socket "/run/.s.PGSQL.5432" failed: No such file or directory', StoreUnavailable),
        ("connection timeout expired", StoreUnavailable),
        ("failed: FATAL:  the database system is starting up", StoreUnavailable),
        ("failed: FATAL:  sorry, too many clients already", StoreUnavailable),
        ("failed to resolve host 'db': [Errno -3] Temporary failure in name resolution", StoreUnavailable),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", StoreError),
        ('failed: FATAL:  password authentication failed for user "x"', StoreError),
        ("failed: fe_sendauth: no password supplied", StoreError),
        ('failed: FATAL:  no pg_hba.conf entry for host "::1", user "x", database "y"', StoreError),
        ('failed: FATAL:  role "x" does not exist', StoreError),
        ('failed: FATAL:  permission denied for database "y"', StoreError),
        ('socket "/run/.s.PGSQL.5432" failed: Permission denied', StoreError),
    ],
)
def test_a_server_that_may_come_back_is_told_from_a_wrong_url(words, kind):
    """At the start; once a database was in use, whatever its server says may pass."""
    psycopg = pytest.importorskip("psycopg")
    url = sa.make_url("postgresql+psycopg://x@db/y")
    assert type(cannot_use(url, psycopg.OperationalError(words), is_opening=True)) is kind
    assert type(cannot_use(url, psycopg.OperationalError(words))) is StoreUnavailable


def assert_refused(*arguments: object) -> None:
    """Exit 2 with one line about it, and no pause."""
    end = run("run", *arguments, timeout_s=30)
    assert end.returncode == 2, end.stderr
    assert end.stderr.splitlines()[-1].startswith("runner: cannot ") and "paused" not in end.stderr


def test_a_place_that_never_will_be_is_refused_at_once(tmp_path, empty, small_disk):
    """No such folder, a file in its place, and a read-only disk, for the database and for the files."""
    (tmp_path / "notes").write_text("my notes")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for folder in (tmp_path / "nowhere", tmp_path / "notes", small_disk):
        assert_refused(empty, "--db", folder / "runner.db")
    for folder in (tmp_path / "notes", small_disk):
        assert_refused(empty, "--results", folder / "results")


def test_a_server_that_never_will_let_us_in_is_refused_at_once(empty, postgres_url):
    """A wrong password, a database that it does not have, and a port that there is not."""
    url = sa.make_url(postgres_url)
    for wrong in ({"username": "locked", "password": "wrong"}, {"database": "nowhere"}):
        assert_refused(empty, "--db", url.set(**wrong).render_as_string(hide_password=False))
    assert_refused(empty, "--db", "postgresql://x@localhost:99999/y")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
@pytest.mark.parametrize("fault", ["full", "locked"])
def test_a_signal_ends_the_wait_at_once(tmp_path, small_disk, empty, fault, number, status):
    """Between two looks, and also while SQLite itself waits for a lock and lets no handler run."""
    database = small_disk / "runner.db"
    if fault == "full":
        fill(small_disk)
    else:
        Store(database).close()
        other = locked(database)
    process = start_telling(60_000, empty, "--db", database)
    lines = lines_of(process)
    if fault == "full":
        wait_for_pause(process, lines)
    else:
        wait_until(lambda: "adding jobs" in "".join(lines), "the attempt to add jobs")
    process.send_signal(number)
    assert process.wait(timeout=10) == status
    assert "Traceback" not in "".join(lines)
    if fault == "locked":
        other.close()


@pytest.mark.slow
def test_a_signal_to_a_process_that_the_campaign_forked_is_none_to_the_run(tmp_path):
    """multiprocessing ends its workers by SIGTERM: they end, and the run goes on."""
    forking = """import multiprocessing, time
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    worker.terminate()
    worker.join()
    print("ended by", -worker.exitcode)
    yield from ()"""
    file = tmp_path / "forking.py"
    file.write_text(GOOD.replace('yield {"x": 1}', forking))
    end = run("run", file, timeout_s=50)
    assert end.returncode == 4, end.stderr
    assert end.stdout == "ended by 15\n"


@pytest.mark.slow
def test_a_browser_that_does_not_start_ends_the_run_by_name(tmp_path):
    """Exit 3 and one line about it, though the browsers belong to another process; no job is charged."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    end = run(
        "run", write_colors(tmp_path, 1), env=os.environ | {"RUNNER_BROWSER": str(broken)}, timeout_s=60
    )
    assert end.returncode == 3, end.stderr
    assert f"runner: {broken} did not start" in end.stderr and "Traceback" not in end.stderr
    assert_nobody_was_charged(tmp_path)


def test_what_was_started_ahead_for_a_run_that_is_refused_is_ended(tmp_path):
    """The browsers' driver starts while the campaign is loaded; of a file with a mistake no process and folder stay."""
    file = tmp_path / "late.py"
    # A socket's path would be too long below tmp_path.
    with tempfile.TemporaryDirectory() as temporary:
        file.write_text(
            "import pathlib, time\n"
            f"while not list(pathlib.Path({temporary!r}).glob('runner-browsers-*/*')):\n"
            "    time.sleep(0.02)\n"
            "raise ValueError('a mistake')\n"
        )
        process = start("run", file, environment={"TMPDIR": temporary})
        _, told = process.communicate(timeout=60)
        assert process.returncode == 2 and "a mistake" in told
        assert not list(Path(temporary).glob("runner-browsers-*"))
        assert not [one for one in psutil.process_iter() if temporary in command_line(one)]


def command_line(process: psutil.Process) -> str:
    """With its environment, in which a driver has its folder; '' of one that is gone, or another user's."""
    try:
        return " ".join([*process.cmdline(), *process.environ().values()])
    except psutil.Error:
        return ""
