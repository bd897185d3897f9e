"""A run of several worker processes is one run: each job once, one link, one end, whatever becomes of one of them."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from campaigns import PACED, assert_nobody_was_charged, assert_whole, done_count, write_colors
from clients import Tabs, link_in
from processes import browsers_of, lines_of, run, start, within
from waiting import wait_until

from runner.job import seed_of
from runner.report import summarize
from runner.results import ResultsFolder
from runner.run.share import shares_of
from runner.store import Store

COUNT = 60


def workers_of(process) -> list[psutil.Process]:
    """The worker processes, the oldest first."""
    found = []
    for one in browsers_of(process):
        with contextlib.suppress(psutil.Error):
            if "runner.run.worker_process" in " ".join(one.cmdline()):
                found.append(one)
    return sorted(found, key=lambda one: (one.create_time(), one.pid))


@pytest.fixture
def night(tmp_path):
    """Starts a run of two worker processes, and as many tabs that draw nothing as are asked for."""
    opened = []

    def begin(*options, count=COUNT, body="pass", policy="", tabs=4) -> SimpleNamespace:
        file = write_colors(tmp_path, count, body, policy)
        process = start("run", file, "--sessions", "0", "--workers", "2", *options)
        lines = lines_of(process)
        opened.append(Tabs(lambda: link_in(lines), tabs))
        return SimpleNamespace(file=file, process=process, lines=lines, tabs=opened[-1])

    yield begin
    for tabs in opened:
        tabs.close()


@contextlib.contextmanager
def rows(folder: Path):
    with Store(folder / "runner.db") as store:
        yield store.reader


def test_sessions_are_shared_evenly():
    """One process for four sessions, as far as there are cores; each has its own numbers of browsers."""
    assert [share.sessions for share in shares_of(2, 1)] == [2]
    assert [(share.first_session, share.sessions) for share in shares_of(7, 3)] == [(1, 3), (4, 2), (6, 2)]
    assert len(shares_of(2, 8)) == 2 and len(shares_of(0, 8)) == 8
    assert len(shares_of(0)) == 1 and len(shares_of(1)) == 1


@pytest.mark.slow
def test_two_workers_are_one_run(night, tmp_path):
    """Each job once and whole; tabs are spread evenly; what is said, noted and counted of a run is so once."""
    one = night(
        count=200,
        body="job.log(seed=job.seed, session=session.name); print('hello', job.key)",
        policy=", isolate=False",
    )
    assert one.process.wait(timeout=120) == 0, "".join(one.lines)
    assert_whole(tmp_path, 200)
    ports = list(one.tabs.ports.values())
    assert sorted(map(ports.count, set(ports))) == [2, 2]
    assert min(one.tabs.answers.values()) > 5
    said = "".join(one.lines)
    for what in (
        "?ws=",
        "watch it in",
        "output that jobs print",
        "client has changed",
        "all 200 jobs are done",
    ):
        assert said.count(what) == 1, said
    with rows(tmp_path) as reader:
        summary = summarize(reader, reader.campaigns()[0])
        assert (summary.runs, len(summary.sessions)) == (1, 4)
        assert [event.kind for event in summary.events] == ["order"] and summary.events[0].count == 1
        assert [source.name for source in reader.sources(1)] == ["colors.py"]
        assert len({row["worker_id"] for row in reader.jobs(1)}) == 2
        folder = ResultsFolder(tmp_path / "results", "colors").id
        assert folder and {row["folder"] for row in reader.workers(1)} == {folder}
        records = reader.results_after(1, 0, 200)
        assert all(row["metrics"]["seed"] == seed_of("colors", row["key"]) for row in records)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_worker_that_is_killed_is_replaced_alone(night, tmp_path, request, kind):
    """The other one goes on as if nothing had been; no job is lost, done twice, or charged; tabs come back."""
    options = [] if kind == "sqlite" else ["--db", request.getfixturevalue("postgres_database_url")]
    one = night(*options, count=150, body=PACED)
    wait_until(lambda: min(one.tabs.answers[number] for number in range(4)) >= 3, "work in both")
    victim, _ = workers_of(one.process)
    victim.kill()
    assert one.process.wait(timeout=120) == 0, "".join(one.lines)
    said = "".join(one.lines)
    assert said.count("the worker process was ended: it ended the worker process (SIGKILL)") == 1, said
    assert said.count("?ws=") == 1
    if kind == "sqlite":
        assert_whole(tmp_path, 150)
        assert_nobody_was_charged(tmp_path)
        with rows(tmp_path) as reader:
            assert summarize(reader, reader.campaigns()[0]).runs == 1
    else:
        with Store(options[1]) as store:
            assert [row["status"] for row in store.reader.jobs(1)] == ["done"] * 150
            assert len(store.reader.results_after(1, 0, 1000)) == 150
            assert not any(row["crashes"] or row["failures"] for row in store.reader.jobs(1))


@pytest.mark.slow
def test_a_job_that_ends_its_worker_is_charged_and_nobody_else(night, tmp_path):
    """Whichever worker takes it: its thread is known or, where it is not, it is rendered alone until it is."""
    body = "import os\n    if job.params['number'] == 7: await asyncio.to_thread(os._exit, 3)"
    one = night(body=f"{PACED}\n    {body}", policy=", max_crashes=1")
    assert one.process.wait(timeout=120) == 1, "".join(one.lines)
    with rows(tmp_path) as reader:
        failed = [row["params"]["number"] for row in reader.jobs(1) if row["status"] != "done"]
        charged = {row["key"] for row in reader.attempts(1) if row["outcome"] != "released"}
        assert failed == [7] and len(charged) == 1
        assert not any(row["crashes"] for row in reader.jobs(1) if row["status"] == "done")


@pytest.mark.slow
def test_ctrl_c_ends_all_workers_and_charges_nobody(night, tmp_path):
    """One signal to the run: what is in flight anywhere is handed back, and no process is left."""
    one = night(count=3000)
    wait_until(lambda: done_count(tmp_path) >= 20, "the first done jobs")
    children = browsers_of(one.process)
    assert len(workers_of(one.process)) == 2
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(timeout=60) == 130, "".join(one.lines)
    assert not psutil.wait_procs(children, timeout=5)[1]
    assert_nobody_was_charged(tmp_path)
    with rows(tmp_path) as reader:
        assert {row["status"] for row in reader.jobs(1)} <= {"done", "pending"}
        assert {row["state"] for row in reader.workers(1)} == {"ended"}


@pytest.mark.slow
def test_a_pause_and_a_cancel_hold_for_all_workers(night, tmp_path):
    """While it is paused neither begins a job; once it is cancelled both end, and the run with them."""
    one = night(count=3000)
    wait_until(lambda: done_count(tmp_path) >= 20, "the first done jobs")
    database = ("--db", tmp_path / "runner.db")
    assert within("pause", *database).exit_code == 0
    with rows(tmp_path) as reader:
        wait_until(lambda: reader.progress(1).in_progress == 0, "the end of what was in flight")
    done = done_count(tmp_path)
    wait_until(lambda: "is paused" in "".join(one.lines), "the word of it")
    assert done_count(tmp_path) == done
    assert within("resume", *database).exit_code == 0
    wait_until(lambda: done_count(tmp_path) > done + 20, "more done jobs")
    assert within("cancel", *database).exit_code == 0
    assert one.process.wait(timeout=60) == 3, "".join(one.lines)
    assert_nobody_was_charged(tmp_path)


@pytest.mark.slow
def test_a_limit_is_that_of_the_run(night, tmp_path):
    """Two workers take as many jobs as were asked for, each once, though some fail and could be tried again."""
    body = "assert job.params['number'] % 10, 'a tenth fails'"
    one = night("--limit", "40", body=body, policy=", backoff_s=0.0")
    assert one.process.wait(timeout=60) == 8, "".join(one.lines)
    with rows(tmp_path) as reader:
        taken = [row for row in reader.jobs(1) if row["attempt"]]
        assert len(taken) == 40 and {row["attempt"] for row in taken} == {1}
        assert [row["params"]["number"] for row in taken] == list(range(40))
        assert reader.progress(1).done == 36
    # The tenth that failed waits for its next try like all others.
    assert "24 left" in "".join(one.lines)


@pytest.mark.slow
def test_failures_of_all_workers_halt_the_run(night, tmp_path):
    """The breaker counts what both tell, and no attempt of either is charged."""
    one = night(count=400, body="assert False, 'the scene is bad'", policy=", max_failures=1", tabs=6)
    assert one.process.wait(timeout=60) == 3, "".join(one.lines)
    assert "".join(one.lines).count("halted: ") == 1
    assert_nobody_was_charged(tmp_path)


def test_two_workers_with_browsers(tmp_path, browser_path):
    """Real tabs: what draws is found once, browsers have numbers of their own, and every picture is its job's."""
    # No browser goes on before the other one is there.
    together = """here = __import__("pathlib").Path(__file__).parent
    (here / session.name).touch()
    while len(list(here.glob("browser-*"))) < 2:
        await asyncio.sleep(0.05)
"""
    end = run("run", write_colors(tmp_path, COUNT, together), "--sessions", "2", "--workers", "2")
    assert end.returncode == 0, end.stderr
    assert_whole(tmp_path, COUNT)
    assert end.stderr.count("rendering ") == 1 and "2 browsers for 2 worker processes" in end.stderr
    with rows(tmp_path) as reader:
        assert {row["name"] for row in reader.sessions(1)} == {"browser-1", "browser-2"}
        assert len({row["worker_id"] for row in reader.jobs(1)}) == 2
        assert {row["state"] for row in reader.workers(1)} == {"ended"}
