"""The metrics log holds each done job once, whatever happens to the process that writes it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from campaigns import complete_jobs, read_metrics
from processes import run

from runner.job import Outcome, Place
from runner.results import MetricsLog, ResultsFolder, metrics
from runner.results.metrics import record_of
from runner.store import Store


@pytest.fixture
def results(tmp_path):
    return ResultsFolder(tmp_path / "results", "night")


@pytest.fixture
def log(store, results):
    campaign_id = store.add_campaign("night")
    complete_jobs(store, campaign_id, 20)
    log = MetricsLog(store, campaign_id, results)
    yield log
    log.close()


def assert_logged(results, count):
    metrics = read_metrics(results.root, "night")
    assert list(metrics["n"]) == list(range(count))
    assert list(metrics["twice"]) == [2 * n for n in range(count)]


def test_ml_logger_reads_one_record_a_done_job(log, store, results):
    """read_metrics shows params, metrics, key, attempt and times; read_params the campaign's own."""
    assert log.sync() == 20
    assert log.sync() == 0
    assert_logged(results, 20)
    complete_jobs(store, 1, 5, first=20)
    assert log.sync() == 5
    assert_logged(results, 25)
    metrics = read_metrics(results.root, "night")
    assert {"key", "attempt", "grab_ts", "done_ts", "duration_s"} <= set(metrics.columns)
    log.log_params(campaign={"name": "night"}, settings={"count": "5"})
    log.log_params(campaign={"name": "night"}, settings={})
    from ml_logger import ML_Logger

    assert ML_Logger(root=str(results.root), prefix="night").read_params("campaign.name") == "night"


@pytest.mark.parametrize("damage", ["torn", "garbage", "short", "gone", "empty"])
def test_a_damaged_log_is_mended(log, store, results, damage):
    """ML-Logger cannot read a file with a torn tail; the database knows what belongs there."""
    log.sync()
    path = results.folder / "metrics.pkl"
    whole = path.read_bytes()
    if damage == "torn":
        path.write_bytes(whole + pickle.dumps({"n": 20, "text": "x" * 500})[:-7])
    elif damage == "garbage":
        path.write_bytes(whole + b"\x80\x04garbage")
    elif damage == "short":
        path.write_bytes(whole[:-3])
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"")
    complete_jobs(store, 1, 3, first=20)
    log.sync()
    assert_logged(results, 23)


def test_a_second_process_leaves_the_log_to_the_first(log, store, results):
    """Two writers make the file unreadable: the lock lets one in."""
    log.sync()
    other = MetricsLog(store, 1, results)
    complete_jobs(store, 1, 3, first=20)
    assert other.sync() == 0
    log.close()
    assert other.sync() == 3
    other.close()
    assert_logged(results, 23)


def test_a_requeued_job_is_logged_once(log, store, results):
    """When a done job is rendered again, its old record goes."""
    log.sync()
    key = store.reader.jobs(1)[3]["key"]
    store.requeue(1, [key])
    worker_id = store.start_worker(1)
    store.complete(store.claim(worker_id, 1)[0], Outcome((), {"twice": 6}))
    log.sync()
    metrics = read_metrics(results.root, "night")
    assert sorted(metrics["n"]) == list(range(20))
    assert dict(zip(metrics["n"], metrics["attempt"]))[3] == 2


def test_no_value_hides_another():
    """One rule of names, for metrics.pkl and every table: a metric that repeats its param is that param."""
    row = {"key": "k", "attempt": 1, "grab_ts": 1.0, "end_ts": 3.0}
    params = {"key": 5, "x": 1, "params/key": 6, "status": "lit", "azimuth": 90, "on": True}
    metrics = {"x": 1.0, "azimuth": 91.5, "key": 7, "on": 1, "metrics/x": 8, "y": 2}
    record = record_of(row | {"params": params, "metrics": metrics})
    assert record == {
        "key": "k", "attempt": 1, "grab_ts": 1.0, "done_ts": 3.0, "duration_s": 2.0,
        "params/key": 5, "x": 1, "params/params/key": 6, "params/status": "lit", "azimuth": 90, "on": True,
        "metrics/azimuth": 91.5, "metrics/key": 7, "metrics/on": 1, "metrics/metrics/x": 8, "y": 2,
    }  # fmt: skip


FORK = multiprocessing.get_context("fork")


def forked(work: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process that does that, in milliseconds: what takes long to import is imported here."""
    import ml_logger  # noqa: F401

    process = FORK.Process(target=work, args=arguments)
    process.start()
    return process


def feed(folder: Path, told: Connection) -> None:
    """Complete jobs and feed the log, until nothing is left."""
    store = Store(folder / "runner.db")
    campaign_id = store.add_campaign("night")
    log = MetricsLog(store, campaign_id, ResultsFolder(folder / "results", "night"))
    worker_id = store.start_worker(campaign_id)
    store.reap(campaign_id, 60.0)
    while leases := store.claim(worker_id, campaign_id, count=3):
        for lease in leases:
            store.complete(lease, Outcome((), {"pad": "x" * 3000}))
        log.sync()
        told.send_bytes(b"synced")


@pytest.mark.slow
def test_kills_at_random_moments_leave_each_record_once(tmp_path):
    """SIGKILL the process that feeds the log again and again; in the end the log is exact."""
    with Store(tmp_path / "runner.db") as store:
        campaign_id = store.add_campaign("night")
        store.add(campaign_id, ({"n": n} for n in range(1500)))
    chance = random.Random(11)
    for _ in range(10):
        heard, told = FORK.Pipe(duplex=False)
        process = forked(feed, tmp_path, told)
        told.close()
        for _ in range(chance.randrange(1, 30)):
            heard.recv_bytes()
        time.sleep(chance.random() * 0.01)
        process.kill()
        process.join()
        heard.close()
        assert process.exitcode == -signal.SIGKILL
    results = ResultsFolder(tmp_path / "results", "night")
    with Store(tmp_path / "runner.db") as store:
        store.reap(campaign_id, 60.0)
        log = MetricsLog(store, campaign_id, results)
        log.sync()
        log.close()
        done = {row["key"] for row in store.reader.jobs(campaign_id) if row["status"] == "done"}
    metrics = read_metrics(results.root, "night")
    assert len(metrics) == len(done) > 10 and set(metrics["key"]) == done


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(instant: str, folder: Path) -> None:
    """Die in one's second sync: after so many bytes of a write, or before or after a step."""
    store = Store(folder / "runner.db")
    log = MetricsLog(store, 1, ResultsFolder(folder / "results", "night"))
    worker_id = store.start_worker(1)
    for lease in store.claim(worker_id, 1, count=10):
        store.complete(lease, Outcome((), {"pad": "x" * 2000}))
    log.sync(batch=4)
    for lease in store.claim(worker_id, 1, count=10):
        store.complete(lease, Outcome((), {"pad": "x" * 2000}))
    step, _, when = instant.partition(":")
    owner = {"append": metrics, "fdatasync": os, "write_log_cursor": store, "truncate": os}[step]
    real = getattr(owner, step)

    def act(*arguments, **options):
        if when.isdigit():
            arguments = arguments[0], arguments[1][: int(when)]
        if when == "before":
            die()
        real(*arguments, **options)
        die()

    setattr(owner, step, act)
    if step == "truncate":
        with open(folder / "results/night/metrics.pkl", "ab") as file:
            file.write(b"torn")
    log.sync(batch=4)


@pytest.mark.parametrize(
    "instant",
    [
        "append:before", "append:1", "append:2100", "append:4000", "append:after", "fdatasync:before",
        "fdatasync:after", "write_log_cursor:before", "write_log_cursor:after", "truncate:before", "truncate:after",
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_kill_at_each_step_of_a_sync_leaves_each_record_once(tmp_path, instant):
    """SIGKILL before, amid and after each thing that the writer does; the next one makes it exact."""
    with Store(tmp_path / "runner.db") as store:
        store.submit("night", ({"n": n} for n in range(20)))
    process = forked(die_at, instant, tmp_path)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with Store(tmp_path / "runner.db") as store:
        log = MetricsLog(store, 1, ResultsFolder(tmp_path / "results", "night"))
        log.sync()
        log.close()
    assert list(read_metrics(tmp_path / "results", "night")["n"]) == list(range(20))


@pytest.mark.slow
def test_the_whole_folder_can_be_written_anew(tmp_path):
    """Whatever was lost or changed: `runner log --rebuild` writes it from the database, and ML-Logger reads it."""
    results = ResultsFolder(tmp_path / "results", "night")
    with Store(tmp_path / "runner.db") as store:
        campaign_id = store.add_campaign("night", place=Place(results=str(results.root)))
        complete_jobs(store, campaign_id, 20)
        log = MetricsLog(store, campaign_id, results)
        log.log_params(campaign={"name": "night", "timeout_s": 60.0}, settings={"seed": "7"})
        log.sync()
        assert run("log", "--rebuild", "--db", tmp_path / "runner.db").returncode == 2  # it is being written
        log.close()
    kept = (results.folder / "README.md").read_text() + "mine"
    (results.folder / "README.md").write_text(kept)
    size = (results.folder / "metrics.pkl").stat().st_size
    (results.folder / "metrics.pkl").write_bytes(b"\x80" * size)
    (results.folder / "parameters.pkl").unlink()
    end = run("log", "--rebuild", "--db", tmp_path / "runner.db")
    assert end.returncode == 0 and "20 records" in end.stderr and end.stdout == ""
    assert_logged(results, 20)
    from ml_logger import ML_Logger

    logger = ML_Logger(root=str(results.root), prefix="night")
    assert logger.read_params("settings.seed") == "7" and logger.read_params("campaign.timeout_s") == 60.0
    assert len(logger.load_pkl("metrics.pkl")) == 20
    assert (results.folder / "README.md").read_text() == kept


def test_ml_loggers_glob_finds_the_files_of_jobs(store, results):
    """Metrics and files are under one prefix, as ML-Logger's users expect."""
    campaign_id = store.add_campaign("night")
    store.add(campaign_id, [("cup", {"n": 1})])
    lease = store.claim(store.start_worker(campaign_id), campaign_id)[0]
    results.write(lease, "rgb.jpg", b"picture", "image/jpeg")
    MetricsLog(store, campaign_id, results).log_params(campaign={})
    from ml_logger import ML_Logger

    logger = ML_Logger(root=str(results.root), prefix="night")
    assert logger.glob("jobs/*/*/rgb.jpg") == ["jobs/0000/cup/rgb.jpg"]
    assert "charts:" in logger.load_text(".charts.yml")


@pytest.mark.slow
def test_nothing_is_printed_and_nothing_is_sent(tmp_path):
    """The log disturbs no progress bar and no output, and without --log-root opens no connection."""
    script = """
import socket, sys
def refuse(*_):
    raise AssertionError("a connection was opened")
socket.socket.connect = refuse
from runner.job import Outcome
from runner.results import MetricsLog
from runner.results import ResultsFolder
from runner.store import Store
with Store(sys.argv[1] + "/runner.db") as store:
    campaign_id, _ = store.submit("night", [{"n": 1}])
    store.complete(store.claim(store.start_worker(campaign_id), campaign_id)[0], Outcome((), {"x": 1}))
    log = MetricsLog(store, campaign_id, ResultsFolder(sys.argv[1] + "/results", "night"))
    log.log_params(campaign={})
    assert log.sync() == 1
    log.close()
"""
    environment = {name: value for name, value in os.environ.items() if name != "ML_LOGGER_USER"}
    end = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, tmp_path],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (end.returncode, end.stdout, end.stderr) == (0, "", "")
