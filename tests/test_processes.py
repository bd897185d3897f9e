"""Several processes share a queue: each job once, through kills and suspensions, on both databases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.store import Store

ROOT = Path(__file__).parents[1]

WORKER = """
import sys
from runner.store import Store
with Store(sys.argv[1]) as store:
    campaign_id = store.add_campaign("shared")
    worker_id = store.start_worker(campaign_id)
    while leases := store.claim(worker_id, campaign_id, count=5):
        for lease in leases:
            store.complete(lease)
            print(lease.key)
    store.end_worker(worker_id)
"""


@pytest.mark.slow
def test_four_processes_do_four_thousand_jobs_once(database_url):
    """No job is lost and none is done by two."""
    with Store(database_url) as store:
        campaign_id, _ = store.submit("shared", ({"n": n} for n in range(4000)))
        workers = [
            subprocess.Popen([sys.executable, "-c", WORKER, database_url], stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        done = [worker.communicate()[0].split() for worker in workers]
        assert all(worker.returncode == 0 for worker in workers)
        keys = [key for part in done for key in part]
        assert len(keys) == len(set(keys)) == 4000
        assert store.reader.progress(campaign_id).done == 4000
        assert {row["attempt"] for row in store.reader.jobs(campaign_id)} == {1}


SLEEPER = """
import sys
from runner.errors import LeaseLost
from runner.store import Store
with Store(sys.argv[1]) as store:
    campaign_id = store.add_campaign("shared")
    worker_id = store.start_worker(campaign_id)
    (lease,) = store.claim(worker_id, campaign_id)
    print("claimed", flush=True)
    sys.stdin.readline()
    for settle in (lambda: store.complete(lease), lambda: store.beat(worker_id)):
        try:
            settle()
            print("accepted", flush=True)
        except LeaseLost:
            print("refused", flush=True)
"""


def test_a_suspended_process_loses_its_job_and_learns_so(database_url, monotonic):
    """SIGSTOP past the lease: another does the job; after SIGCONT the late result changes nothing."""
    with Store(database_url, monotonic=monotonic) as store:
        campaign_id, _ = store.submit("shared", [{"n": 1}])
        sleeper = subprocess.Popen(
            [sys.executable, "-c", SLEEPER, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert sleeper.stdout.readline() == "claimed\n"
        sleeper.send_signal(signal.SIGSTOP)
        worker_id = store.start_worker(campaign_id)
        assert store.reap(campaign_id, lease_s=5.0) == 0
        monotonic.now += 6.0
        store.beat(worker_id)
        assert store.reap(campaign_id, lease_s=5.0) == 1
        (lease,) = store.claim(worker_id, campaign_id)
        sleeper.send_signal(signal.SIGCONT)
        answers, _ = sleeper.communicate("go on\n", timeout=30)
        assert answers.split() == ["refused", "refused"]
        assert store.reader.jobs(campaign_id)[0]["status"] == "in_progress"
        store.complete(lease)
        assert store.reader.progress(campaign_id).done == 1


@pytest.mark.parametrize(
    ("database_url", "rounds"), [("sqlite", 50), ("postgresql", 10)], indirect=["database_url"]
)
@pytest.mark.slow
def test_a_storm_of_kills_loses_nothing(database_url, rounds):
    """Claiming and completing processes are SIGKILLed at random; the rows are right in the end."""
    storm = [sys.executable, str(ROOT / "scripts" / "crash_queue.py")]
    end = subprocess.run(
        [*storm, "--rounds", str(rounds), "--database", database_url],
        capture_output=True, text=True, timeout=200, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert end.returncode == 0, end.stdout + end.stderr
    assert "each done exactly once" in end.stdout
