"""The world fails: runs pause, charge nobody, go on by themselves, and say so."""

from __future__ import annotations

import errno
import resource
import sqlite3
import threading

import pytest
from waiting import Clock

from runner.errors import StoreUnavailable, WorldFault
from runner.machine import ClockWatch, Guard, probe_descriptors, probe_disk, world_fault
from runner.run.breaker import Breaker
from runner.store import Store


def test_a_full_disk_is_the_worlds_fault_and_a_missing_file_is_the_jobs():
    """Faults are told by errno and through causes; everything else is charged to the job."""
    full = OSError(errno.ENOSPC, "No space left on device", "/x/y.jpg")
    assert "/x/y.jpg" in str(world_fault(full))
    wrapped = ValueError("no picture")
    wrapped.__cause__ = full
    assert isinstance(world_fault(wrapped), WorldFault)
    assert world_fault(FileNotFoundError(errno.ENOENT, "no", "cup.obj")) is None
    assert world_fault(ValueError("disk is full")) is None


def test_a_pause_is_said_once_when_it_begins_and_once_when_it_ends():
    """Two lines and two events for a pause, however many meet the fault."""
    lines, is_well, now = [], threading.Event(), Clock(0.0)

    def probe() -> None:
        if not is_well.is_set():
            raise WorldFault("the disk is full")

    guard = Guard(lines.append, [probe], clock=Clock(1e9), monotonic=now)
    for _ in range(3):
        guard.look()
        guard.pause(WorldFault("the disk is full"))
        now.now += 1.0
    is_well.set()
    guard.look()
    assert guard.fault is None
    assert [line.split(":")[0] for line in lines] == ["paused, no job is charged", "going on after 3 s"]
    assert [kind for _, kind, _ in guard.events] == ["pause", "resume"]


def test_a_fault_that_comes_back_at_once_is_waited_for_longer():
    """Probes that see nothing do not make a run stumble again and again over it; a job that is done ends the row."""
    now = Clock(0.0)
    guard = Guard(lambda line: None, [], monotonic=now)
    waits = []
    for _ in range(10):
        guard.pause(WorldFault("it is full again"))
        began = now.now
        while guard.fault is not None:
            now.now += 0.5
            guard.look()
        waits.append(now.now - began)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    guard.prove_well()
    for again in ("after a job was done", "much later"):
        guard.pause(WorldFault(again))
        now.now += 0.5
        guard.look()
        assert guard.fault is None
        now.now += 61.0


def test_what_a_run_cannot_begin_without_is_tried_until_the_world_lets_it():
    """Two faults are one pause; an error that is no fault of the world goes through at once."""
    lines, faults = [], [WorldFault("the disk is full"), OSError(errno.ENOSPC, "No space left on device")]

    def act(answer: int) -> int:
        if faults:
            raise faults.pop(0)
        return answer

    guard = Guard(lines.append, [])
    assert guard.insist(act, 42) == 42
    assert [line.split(" ")[0] for line in lines] == ["paused,", "going"]
    for error in (PermissionError(errno.EACCES, "no"), ValueError("no")):
        faults.append(error)
        with pytest.raises(type(error)):
            guard.insist(act, 42)


def test_descriptors_that_run_out_are_seen_and_come_back():
    """The probe fails at the limit of open files, and not below it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, hard))
    try:
        with pytest.raises(OSError) as error:
            probe_descriptors()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "ulimit -n" in str(world_fault(error.value))
    probe_descriptors()


def test_the_disk_probe_leaves_nothing_behind(tmp_path):
    """It writes a file to see that it can, and asks for room that is not there."""
    probe_disk(tmp_path)()
    assert not list(tmp_path.iterdir())
    with pytest.raises(WorldFault, match="make room"):
        probe_disk(tmp_path, 1 << 60)()


def test_a_locked_database_is_unavailable_and_then_goes_on(tmp_path):
    """Another program's lock is a fault of the world, and the store works as soon as it is gone."""
    with Store(tmp_path / "test.db") as store:
        store.database._door.driver.execute("PRAGMA busy_timeout = 50")
        other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            store.add_campaign("a")
        other.execute("ROLLBACK")
        other.close()
        assert store.add_campaign("a") == 1


def test_a_database_that_is_being_made_elsewhere_is_waited_for(tmp_path):
    """Another program's lock on a new file, at the moment it is opened, costs time and nothing else."""
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(1.0, lambda: other.execute("ROLLBACK"))
    release.start()
    with Store(tmp_path / "test.db") as store:
        assert store.add_campaign("a") == 1
    release.join()
    other.close()


def test_a_server_that_drops_its_connections_is_unavailable_and_then_goes_on(postgres_url):
    """PostgreSQL restarted, or the network gone for a while: the store connects again by itself."""
    import psycopg

    with Store(postgres_url) as store:
        store.add_campaign("dropped")
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
        with pytest.raises(StoreUnavailable):
            store.add_campaign("dropped")
        campaign_id = store.add_campaign("dropped")
        worker_id = store.start_worker(campaign_id)
        assert store.claim(worker_id, campaign_id) == []


@pytest.mark.parametrize("leap_s, seen", [(3600.0, "slept"), (-3600.0, "set back"), (0.5, "")])
def test_sleep_and_clock_changes_are_seen(leap_s, seen):
    """The wall clock is compared with the monotonic one; a small correction does not count."""
    wall, monotonic = Clock(1e9), Clock(0.0)
    watch = ClockWatch(wall, monotonic)
    wall.now += 10.0 + leap_s
    monotonic.now += 10.0
    assert seen in watch.look() and bool(watch.look()) is False


def test_a_process_that_was_stopped_is_seen():
    """A wait that took much longer than meant."""
    watch = ClockWatch(Clock(0.0), Clock(0.0))
    assert "held up for 300 s" in watch.look(overslept_s=300.0)


def test_the_breaker_trips_at_its_share_of_different_jobs():
    """Ten jobs that fail alike trip 20 % of 50, after any number of good ones; one bad job never does."""
    for good in (0, 5, 200):
        breaker = Breaker(0.2)
        assert not any(breaker.add(job, 1) for job in range(good))
        reasons = [breaker.add(1000 + job, 1, "ValueError: no cup.obj") for job in range(10)]
        assert reasons[:9] == [""] * 9
        assert "all with ValueError: no cup.obj" in reasons[9]
        assert breaker.charged() == [(1000 + job, 1) for job in range(10)]
        # Until the run has stopped, more of them fail.
        assert all(breaker.add(1010 + job, 1, "ValueError: no cup.obj") for job in range(100))
        assert breaker.charged() == [(1000 + job, 1) for job in range(110)]
    one_bad_job, never, sparse = Breaker(0.2), Breaker(None), Breaker(0.2)
    assert not any(one_bad_job.add(7, attempt, "ValueError: no") for attempt in range(1, 100))
    assert not any(never.add(job, 1, "ValueError: no") for job in range(100))
    assert not any(sparse.add(job, 1, "ValueError: no" if job % 6 == 0 else "") for job in range(600))
