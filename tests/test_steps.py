"""Jobs of many steps go on at the first unfinished step, and keep what the finished ones made."""

from __future__ import annotations

import signal
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from campaigns import number_of, write_colors
from clients import run_for_tabs, start_for_tabs
from waiting import Clock, wait_until

from runner.errors import ArtifactError, LeaseLost, UsageError
from runner.job import Checkpoint
from runner.results import RenderJob, ResultsFolder
from runner.store import Store


class Bench:
    """One stepped job in a store, attempt after attempt."""

    def __init__(self, store, folder):
        self.store = store
        self.results = ResultsFolder(folder, "night")
        self.campaign_id, _ = store.submit("night", [{"n": 1}])
        self.worker_id = store.start_worker(self.campaign_id)
        self.monotonic = Clock(0.0)
        self.checkpoints = 0

    def attempt(self, writer):
        (self.lease,) = self.store.claim(self.worker_id, self.campaign_id)

        def persist(make) -> Future:
            future = Future()
            try:
                self.store.checkpoint(self.lease, make())
                self.checkpoints += 1
                future.set_result(None)
            except LeaseLost as error:
                future.set_exception(error)
            return future

        checkpoint = self.store.reader.checkpoint_of(self.lease)
        return RenderJob(self.lease, self.results, writer, checkpoint, persist, self.monotonic)

    def work(self, job, until, seconds_a_step=2.0):
        """Do steps up to (not including) `until`, each with a file and a metric; returns those done."""
        done = []
        for step in job.steps(10):
            if step == until:
                break
            job.save(f"{step}.txt", f"step {step} of attempt {job.attempt}")
            job.log(**{f"m{step}": step})
            done.append(step)
            self.monotonic.now += seconds_a_step
        return done


@pytest.fixture
def bench(store, tmp_path):
    return Bench(store, tmp_path / "results")


@pytest.fixture
def writer():
    with ThreadPoolExecutor(1) as writer:
        yield writer


def test_the_next_attempt_begins_at_the_first_unfinished_step(bench, writer):
    """Files and metrics of finished steps are kept; in the end the job has all of them, once."""
    assert bench.work(bench.attempt(writer), until=4) == [0, 1, 2, 3]
    bench.store.reclaim(bench.lease, "the browser died")
    second = bench.attempt(writer)
    assert bench.work(second, until=None) == [4, 5, 6, 7, 8, 9]
    bench.store.complete(bench.lease, second.finish())
    contents = {
        row["name"]: (bench.results.root / row["path"]).read_text()
        for row in bench.store.reader.artifacts(bench.campaign_id)
    }
    assert contents == {f"{n}.txt": f"step {n} of attempt {1 if n < 4 else 2}" for n in range(10)}
    (record,) = bench.store.reader.results_after(bench.campaign_id, 0, 9)
    assert record["metrics"] == {f"m{n}": n for n in range(10)}
    assert bench.store.reader.checkpoint_of(bench.lease) == Checkpoint()


def test_a_step_that_was_not_ended_is_done_again(bench, writer):
    """A step counts when the loop asks for the next one, not before."""
    job = bench.attempt(writer)
    for _step in job.steps(["left", "right"]):
        break
    job.abandon()
    bench.store.release(bench.lease)
    assert list(bench.attempt(writer).steps(["left", "right"])) == ["left", "right"]


def test_fast_steps_are_recorded_at_most_once_a_second(bench, writer):
    """The database is not written at each step of a job that has thousands."""
    job = bench.attempt(writer)
    for _ in job.steps(5000):
        bench.monotonic.now += 0.001
    assert 4 <= bench.checkpoints <= 6


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_kept_file_that_is_not_whole_is_made_again(bench, writer, damage):
    """What finished steps made is verified before it is relied on."""
    bench.work(bench.attempt(writer), until=4)
    bench.store.reclaim(bench.lease, "the browser died")
    path = next(bench.results.folder.rglob("2.txt"))
    path.write_text("other") if damage == "changed" else path.unlink()
    job = bench.attempt(writer)
    assert bench.work(job, until=None) == list(range(10))
    bench.store.complete(bench.lease, job.finish())
    rows = bench.store.reader.artifacts(bench.campaign_id)
    assert len(rows) == 10 and all("~2" in row["path"] for row in rows)


def test_steps_are_asked_for_once(bench, writer):
    """A second loop would find all its steps finished: it is refused."""
    job = bench.attempt(writer)
    assert list(job.steps(2)) == [0, 1]
    with pytest.raises(UsageError, match="make it one loop"):
        list(job.steps(2))


def test_a_lost_lease_ends_the_steps(bench, writer):
    """An attempt whose job was given to another stops at its next step and records nothing."""
    job = bench.attempt(writer)
    steps = job.steps(10)
    next(steps)
    bench.store.reclaim(bench.lease, "taken away")
    with pytest.raises(LeaseLost):
        for _ in steps:
            bench.monotonic.now += 2.0
    assert bench.store.reader.checkpoint_of(bench.lease) == Checkpoint()


def test_steps_that_are_counted_anew_begin_anew(bench, writer):
    """enumerate(job.steps(…)) after a crash: no earlier file is replaced, it is said, and the next attempt has all."""

    def work(job, until=None):
        for number, step in enumerate(job.steps(8)):
            if step == until:
                break
            job.save(f"{number}.txt", f"step {step}")
            bench.monotonic.now += 2.0

    work(bench.attempt(writer), until=4)
    bench.store.reclaim(bench.lease, "the browser died")
    job = bench.attempt(writer)
    with pytest.raises(ArtifactError, match=r"'0.txt' is the file of a step .* begins at the first step"):
        work(job)
    job.abandon()
    bench.store.release(bench.lease)
    job = bench.attempt(writer)
    work(job)
    bench.store.complete(bench.lease, job.finish())
    contents = {
        row["name"]: (bench.results.root / row["path"]).read_text()
        for row in bench.store.reader.artifacts(bench.campaign_id)
    }
    assert contents == {f"{n}.txt": f"step {n}" for n in range(8)}
    assert len(list(bench.results.folder.rglob("*.txt"))) == 8


def test_a_file_may_be_saved_again_by_the_next_attempt(bench, writer):
    """What stands before the loop runs in each attempt; its newest file counts."""
    job = bench.attempt(writer)
    job.save("config.txt", "first")
    bench.work(job, until=3)
    bench.store.reclaim(bench.lease, "the browser died")
    job = bench.attempt(writer)
    job.save("config.txt", "second")
    bench.work(job, until=None)
    bench.store.complete(bench.lease, job.finish())
    (config,) = [row for row in bench.store.reader.artifacts(1) if row["name"] == "config.txt"]
    assert (bench.results.root / config["path"]).read_text() == "second"


@pytest.mark.slow
def test_a_killed_run_goes_on_within_its_job(tmp_path):
    """SIGKILL in the middle of a stepped job: the next run does not begin it anew."""
    body = """
    for step in job.steps(8):
        await asyncio.sleep(0.6)
        job.save(f"step-{step}.txt", str(job.attempt))"""
    file = write_colors(tmp_path, 1, body)
    process, _ = start_for_tabs(file)
    recorded = 0

    def step() -> int:
        nonlocal recorded
        recorded = number_of(tmp_path, "SELECT max(step) FROM checkpoint")
        return recorded

    wait_until(lambda: step() >= 3, "three recorded steps")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run_for_tabs(file).returncode == 0
    with Store(tmp_path / "runner.db") as store:
        artifacts = {row["name"]: row for row in store.reader.artifacts(1)}
    attempts = [(tmp_path / "results" / artifacts[f"step-{n}.txt"]["path"]).read_text() for n in range(8)]
    assert attempts[:recorded] == ["1"] * recorded and attempts[-1] == "2"
