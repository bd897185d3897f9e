"""Worker: a process's life on a campaign, the same for a run and for JobQueue."""

from __future__ import annotations

import pytest

from runner.errors import LeaseLost
from runner.job import Policy
from runner.store import Store, Worker


@pytest.fixture
def worker(store) -> Worker:
    """At work on a campaign of two jobs, each of which one crash would set aside."""
    campaign_id, _ = store.submit("c", [{"n": 1}, {"n": 2}], Policy(max_crashes=1))
    return Worker(store, campaign_id, lease_s=10.0)


def declare_lost(worker_id: int, database_url: str, clock, monotonic) -> None:
    """As another process does that has seen no beat for longer than the lease."""
    with Store(database_url, clock=clock, monotonic=monotonic) as other:
        other.reap(1, lease_s=10.0)
        monotonic.now += 11.0
        other.reap(1, lease_s=10.0)
        assert other.reader.worker_state(worker_id) == "lost"


def test_one_that_was_declared_lost_ends_and_is_charged_nothing(
    store, worker, database_url, clock, monotonic
):
    """Suspended, and told to end as it wakes up: what was taken from it is as before it took it."""
    worker.claim()
    declare_lost(worker.id, database_url, clock, monotonic)
    assert store.reader.progress(1).failed == 1
    worker.end()
    progress = store.reader.progress(1)
    assert (progress.failed, progress.left) == (0, 2)
    assert sorted(row["state"] for row in store.reader.workers(1)) == ["ended", "lost"]


def test_one_that_has_ended_stays_ended(store, worker):
    """A beat or a claim that comes late, from another thread, brings no worker back that nobody would end."""
    worker.claim(2)
    assert worker.end() == 2
    ended = worker.id
    worker.beat()
    with pytest.raises(LeaseLost):
        worker.claim()
    assert worker.id == ended
    assert [row["state"] for row in store.reader.workers(1)] == ["ended"]
