"""What was finished on disk when a crash took the last commits is taken over, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from campaigns import PACED, assert_whole, done_count, write_colors
from clients import run_for_tabs, start_for_tabs
from waiting import wait_until

from runner.errors import LeaseLost
from runner.machine import this_process
from runner.results import MANIFEST, RenderJob, ResultsFolder

FILE_SHA256 = "ab" * 32


class Night:
    """One job whose first attempt finished on disk and died before the database knew."""

    def __init__(self, store, folder):
        self.store = store
        self.results = ResultsFolder(folder, "night", FILE_SHA256)
        self.campaign_id, _ = store.submit("night", [("cup", {"n": 1})])
        gone = dataclasses.replace(this_process(), pid_start="of an earlier process")
        self.dead = store.start_worker(self.campaign_id, gone)
        (self.lease,) = store.claim(self.dead, self.campaign_id)
        with ThreadPoolExecutor(1) as writer:
            files = RenderJob(self.lease, self.results, writer)
            files.save("rgb.bin", b"picture")
            files.save("views/left.bin", b"other picture")
            files.log(psnr=31.5)
            self.outcome = files.finish()

    def take_up(self):
        """The next worker's claim of the job, after the dead one was noticed."""
        self.store.reap(self.campaign_id, lease_s=60.0)
        (lease,) = self.store.claim(self.store.start_worker(self.campaign_id), self.campaign_id)
        return lease


@pytest.fixture
def night(store, tmp_path):
    return Night(store, tmp_path / "results")


def test_a_finished_attempt_is_taken_over_as_it_was(night):
    """Files, metrics and times are those of the attempt that rendered; counters and log know the job."""
    lease = night.take_up()
    finished = night.results.left_behind(lease)
    assert all(map(night.results.is_whole, finished.outcome.artifacts))
    assert night.store.adopt(lease, finished)
    (job,) = night.store.reader.jobs(night.campaign_id)
    assert (job["status"], job["grab_ts"]) == ("done", night.lease.grab_ts)
    assert [row["path"] for row in night.store.reader.artifacts(night.campaign_id)] == [
        "night/jobs/0000/cup/rgb.bin", "night/jobs/0000/cup/views/left.bin"
    ]  # fmt: skip
    (record,) = night.store.reader.results_after(night.campaign_id, 0, 10)
    assert record["metrics"] == {"psnr": 31.5}
    assert night.store.reader.progress(night.campaign_id).done == 1


@pytest.mark.parametrize("change", ["params", "file", "key", "version", "torn", "gone"])
def test_what_another_job_or_campaign_file_left_does_not_count(night, change):
    """Only a result of the very same params under the very same campaign file is taken over."""
    lease, results = night.take_up(), night.results
    path = results.folder_of(night.lease) / MANIFEST
    if change == "params":
        lease = lease._replace(params={"n": 2})
    elif change == "file":
        results = ResultsFolder(results.root, "night", "cd" * 32)
    elif change == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    elif change == "gone":
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | {change: "other"}))
    assert results.left_behind(lease) is None


def test_a_file_that_changed_is_seen(night):
    """The hash decides, not the name nor the size."""
    (night.results.root / night.outcome.artifacts[0].path).write_bytes(b"PICTURE")
    finished = night.results.left_behind(night.take_up())
    assert [night.results.is_whole(artifact) for artifact in finished.outcome.artifacts] == [False, True]


@pytest.mark.parametrize("end", ["fail", "release", "requeue"])
def test_an_attempt_whose_end_is_known_is_not_taken_over(night, end):
    """A result that was given up, by a person or by the render, stays given up."""
    if end == "requeue":
        night.store.complete(night.lease, night.outcome)
        night.store.requeue(night.campaign_id, ["cup"])
    elif end == "release":
        night.store.release(night.lease)
    else:
        night.store.fail(night.lease, "ValueError")
        night.store.clock.now += 3600.0
        night.store.promote(night.campaign_id)
    lease = night.take_up()
    assert lease.attempt == 2
    assert not night.store.adopt(lease, night.results.left_behind(lease))
    night.store.complete(lease)


def test_the_files_of_a_worker_that_may_still_live_are_left_to_it(night):
    """A suspended process removes its files when it learns that it lost the job."""
    store = night.store
    far = dataclasses.replace(this_process(), host="far")
    for identity in (this_process(), far):
        worker_id = store.start_worker(night.campaign_id, identity)
        lease = night.take_up()
        finished = dataclasses.replace(night.results.left_behind(lease), worker_id=worker_id)
        assert not store.adopt(lease, finished)
        store.release(lease)
    unknown = dataclasses.replace(finished, worker_id=12345)
    assert not store.adopt(night.take_up(), unknown)


def test_a_job_that_was_lost_meanwhile_is_not_taken_over(night):
    """The fence holds here too."""
    lease = night.take_up()
    night.store.release(lease)
    with pytest.raises(LeaseLost):
        night.store.adopt(lease, night.results.left_behind(lease))
    assert night.store.reader.progress(night.campaign_id).done == 0


@pytest.mark.slow
def test_a_power_cut_that_takes_commits_back_costs_no_rendering(tmp_path):
    """SIGKILL, and a database as it was some jobs ago: what is on disk whole is not rendered again."""
    count = 24
    tell = f"open({str(tmp_path / 'rendered')!r}, 'a').write(job.key + chr(10))"
    file = write_colors(tmp_path, count, f"{tell}\n    {PACED}")
    process, _ = start_for_tabs(file)
    database, snapshot = tmp_path / "runner.db", tmp_path / "snapshot.db"
    wait_until(lambda: done_count(tmp_path) >= 4, "the first jobs")
    with sqlite3.connect(database) as source, sqlite3.connect(snapshot) as target:
        source.backup(target)
    source.close(), target.close()
    wait_until(lambda: done_count(tmp_path) >= 16, "more jobs")
    process.kill()
    process.wait()
    for name in ("runner.db", "runner.db-wal", "runner.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    snapshot.rename(database)
    end = run_for_tabs(file)
    assert end.returncode == 0, end.stderr
    assert_whole(tmp_path, count)
    keys = (tmp_path / "rendered").read_text().split()
    assert len(set(keys)) == count
    # One was in flight when it was killed.
    assert len(keys) <= count + 1
    assert "had been finished before a crash, and were not rendered again" in end.stderr
