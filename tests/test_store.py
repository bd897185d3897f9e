"""The moves of a job, its workers and counters, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import random
import threading
import time

import pytest

from runner.errors import CampaignError, LeaseLost, StoreError
from runner.job import Added, Artifact, Job, Outcome, Policy, Progress, Provenance, Status
from runner.machine import this_process
from runner.store import Cursor, Store, moves

POLICY = Policy(max_failures=3, max_crashes=3, backoff_s=10.0, backoff_max_s=60.0)


@pytest.fixture
def campaign_id(store):
    campaign_id, _added = store.submit("night", [{"n": n} for n in range(5)], POLICY)
    return campaign_id


@pytest.fixture
def worker_id(store, campaign_id):
    return store.start_worker(campaign_id)


def claim_one(store, worker_id, campaign_id):
    (lease,) = store.claim(worker_id, campaign_id)
    return lease


def statuses(store, campaign_id):
    return [row["status"] for row in store.reader.jobs(campaign_id)]


def test_a_group_is_completed_with_as_many_statements_as_one_job(store, campaign_id, worker_id, monkeypatch):
    """Other processes wait for their turn meanwhile: each job's own question and answer would be theirs to wait for."""
    asked = []
    for name in ("run", "run_many"):
        real = getattr(Cursor, name)
        monkeypatch.setattr(Cursor, name, lambda *of, real=real: (asked.append(of[1]), real(*of))[1])
    counts = []
    for count in (1, 4):
        leases = store.claim(worker_id, campaign_id, count)
        asked.clear()
        file = Artifact("rgb.jpg", "rgb.jpg", 1, "0" * 64, "image/jpeg")
        store.complete_many([(lease, Outcome((file,), {"n": lease.job_id})) for lease in leases])
        counts.append(len(asked))
    assert len(leases) == 4 and counts[0] == counts[1]
    assert len(store.reader.results_after(campaign_id, 0, 10)) == 5


def test_adding_twice_adds_once(store, campaign_id):
    """A job whose key is known stays as it is, so that the same command can be given again."""
    assert store.add(campaign_id, [{"n": 4}, {"n": 5}]) == Added(new=1, known=1)
    assert store.reader.progress(campaign_id).total == 6


def test_equal_params_are_one_job_whatever_their_order(store, campaign_id):
    """The key is a hash of the content, not of how it was written."""
    store.add(campaign_id, [{"a": 1, "b": [2.5, None]}])
    assert store.add(campaign_id, [{"b": [2.5, None], "a": 1}]) == Added(new=0, known=1)


@pytest.mark.parametrize("bad", [{"x": float("nan")}, {"x": object()}, ["x"], {1: 2}, {"x": [{1: 2}]}])
def test_params_that_are_not_json_change_no_row(store, campaign_id, bad):
    """A refused job takes the whole submission with it."""
    with pytest.raises(CampaignError):
        store.add(campaign_id, [{"good": True}, bad])
    assert store.reader.progress(campaign_id).total == 5


def test_one_key_for_two_params_changes_no_row(store, campaign_id):
    """A key names one thing, within one submission and across submissions."""
    with pytest.raises(CampaignError, match="'left'"):
        store.add(campaign_id, [("left", {"x": 1}), ("left", {"x": 2})])
    store.add(campaign_id, [("left", {"x": 1})])
    with pytest.raises(CampaignError, match="'left'"):
        store.add(campaign_id, [{"fine": 1}, ("left", {"x": 2})])
    assert store.reader.progress(campaign_id).total == 6


def test_claims_come_by_priority_and_then_in_order(store, campaign_id, worker_id):
    """Higher priority first, otherwise the order in which jobs were added."""
    store.add(campaign_id, [Job({"n": "first"}, priority=2), Job({"n": "second"}, priority=2)])
    leases = store.claim(worker_id, campaign_id, count=4)
    assert [lease.params["n"] for lease in leases] == ["first", "second", 0, 1]
    assert {lease.attempt for lease in leases} == {1}


def test_a_claim_shows_in_the_row(store, campaign_id, worker_id, clock):
    """A job in progress says who holds it, since when, and in which attempt."""
    lease = claim_one(store, worker_id, campaign_id)
    row = store.reader.jobs(campaign_id)[0]
    assert row["status"] == "in_progress"
    assert (row["worker_id"], row["grab_ts"], row["attempt"]) == (worker_id, clock.now, 1)
    assert lease.grab_ts == clock.now


def test_nothing_to_claim_is_an_empty_list(store, campaign_id, worker_id):
    """None there is a value, not an error."""
    store.claim(worker_id, campaign_id, count=10)
    assert store.claim(worker_id, campaign_id) == []


def test_complete_records_artifacts_and_metrics(store, campaign_id, worker_id):
    """Done means that the row, its files and its metrics were written together."""
    lease = claim_one(store, worker_id, campaign_id)
    artifact = Artifact("rgb.jpg", "night/0/rgb.jpg", 12, "ab" * 32, "image/jpeg")
    store.complete(lease, Outcome((artifact,), {"mean": 0.5}))
    assert statuses(store, campaign_id)[0] == "done"
    (row,) = store.reader.artifacts(campaign_id)
    assert (row["key"], row["size"], row["sha256"]) == (lease.key, 12, "ab" * 32)
    (record,) = store.reader.results_after(campaign_id, 0, 10)
    assert record["metrics"] == {"mean": 0.5} and record["params"] == {"n": 0}


def test_a_failure_waits_longer_each_time_and_is_set_aside_at_the_limit(store, campaign_id, worker_id, clock):
    """failures + 1 with a doubling wait; failed, with its reason, when the budget is spent."""
    first = claim_one(store, worker_id, campaign_id)
    others = store.claim(worker_id, campaign_id, count=10)
    lease = first
    for wait_s in (10.0, 20.0):
        assert store.fail(lease, "boom", "Traceback …") == Status.PENDING
        assert store.claim(worker_id, campaign_id) == []
        clock.now += wait_s - 0.1
        assert store.promote(campaign_id) == 0
        clock.now += 0.2
        assert store.promote(campaign_id) == 1
        lease = claim_one(store, worker_id, campaign_id)
    assert (lease.attempt, lease.failures) == (3, 2)
    assert store.fail(lease, "boom", "Traceback …") == Status.FAILED
    assert store.reader.progress(campaign_id) == Progress(5, 0, 1, len(others))
    assert store.reader.jobs(campaign_id)[0]["error"] == "boom"
    assert [row["outcome"] for row in store.reader.attempts(campaign_id)] == ["failed"] * 3


def test_a_job_may_fail_as_often_as_one_likes(store, clock):
    """The wait stays at its cap, also where doubling it on would be no number any more."""
    campaign_id, _ = store.submit(
        "stubborn", [{}], Policy(max_failures=5000, backoff_s=1.0, backoff_max_s=60.0)
    )
    lease = claim_one(store, store.start_worker(campaign_id), campaign_id)
    with store.database.write() as cursor:
        cursor.run("UPDATE job SET failures = 4000")
    assert store.fail(lease._replace(failures=4000), "boom") == Status.PENDING
    assert store.reader.jobs(campaign_id)[0]["not_before_ts"] == clock.now + 60.0


def test_wall_clocks_that_jump_by_a_day_lose_nothing(database_url):
    """Three workers whose clocks are a day apart and jump between the moves do each job once."""
    day_s = 86_400.0
    chance = random.Random(3)
    clocks = [lambda: time.time() + chance.choice((-day_s, 0.0, day_s)) for _ in range(3)]
    stores = [Store(database_url, clock=clock) for clock in clocks]
    campaign_id, _ = stores[0].submit("jumps", [{"n": n} for n in range(60)], POLICY)
    crew = [(store, store.start_worker(campaign_id)) for store in stores]
    done = []
    while stores[0].reader.progress(campaign_id).left:
        store, worker_id = chance.choice(crew)
        for lease in store.claim(worker_id, campaign_id, count=2):
            if lease.failures == 0 and chance.random() < 0.3:
                store.fail(lease, "unlucky")
            elif chance.random() < 0.2:
                store.release(lease)
            else:
                store.complete(lease, Outcome())
                done.append(lease.key)
        store.beat(worker_id)
        # Each sees the others' jobs, beats and waits by its own clock.
        assert store.reap(campaign_id, lease_s=30.0) == 0
        store.promote(campaign_id)
    assert len(done) == len(set(done)) == 60
    assert [record["key"] for record in stores[1].reader.results_after(campaign_id, 0, 100)] == done
    for store in stores:
        store.close()


def test_a_clock_set_back_does_not_make_a_job_wait_for_ever(store, campaign_id, worker_id, clock):
    """A retry time further away than any wait can be is treated as come."""
    store.fail(claim_one(store, worker_id, campaign_id), "boom")
    clock.now -= 86_400.0
    assert store.promote(campaign_id) == 1


def test_release_charges_nothing(store, campaign_id, worker_id):
    """A job handed back can be claimed at once, and only its attempt number has grown."""
    store.release(claim_one(store, worker_id, campaign_id))
    again = claim_one(store, worker_id, campaign_id)
    assert (again.params, again.attempt, again.failures, again.crashes) == ({"n": 0}, 2, 0, 0)


def test_a_crashed_job_goes_last_and_is_set_aside_at_the_limit(store, campaign_id, worker_id):
    """Crashes are charged apart from failures, and a poison job does not go first again."""
    assert store.reclaim(claim_one(store, worker_id, campaign_id), "tab died") == Status.PENDING
    leases = store.claim(worker_id, campaign_id, count=10)
    assert [lease.params["n"] for lease in leases] == [1, 2, 3, 4, 0]
    for _ in range(2):
        poison = leases[-1]
        assert (poison.failures, poison.crashes) == (0, poison.attempt - 1)
        status = store.reclaim(poison, "tab died")
        leases = store.claim(worker_id, campaign_id)
    assert status == Status.FAILED and leases == []


@pytest.mark.parametrize("settle", ["complete", "release", "fail", "reclaim"])
def test_a_late_settle_changes_nothing(store, campaign_id, worker_id, settle):
    """Whoever lost the lease, by attempt or by worker, is told so and undoes nothing."""
    stale = claim_one(store, worker_id, campaign_id)
    store.release(stale)
    current = claim_one(store, worker_id, campaign_id)
    impostor = current._replace(worker_id=store.start_worker(campaign_id))
    before = (
        store.reader.jobs(campaign_id),
        store.reader.progress(campaign_id),
        store.reader.attempts(campaign_id),
    )
    for lease in (stale, impostor):
        with pytest.raises(LeaseLost):
            arguments = {"complete": (Outcome(),), "release": ()}.get(settle, ("late",))
            getattr(store, settle)(lease, *arguments)
    after = (
        store.reader.jobs(campaign_id),
        store.reader.progress(campaign_id),
        store.reader.attempts(campaign_id),
    )
    assert after == before
    assert store.reader.results_after(campaign_id, 0, 10) == []
    store.complete(current)


def test_a_done_job_cannot_be_settled_again(store, campaign_id, worker_id):
    """The move out of in_progress is made once."""
    lease = claim_one(store, worker_id, campaign_id)
    store.complete(lease, Outcome())
    with pytest.raises(LeaseLost):
        store.complete(lease, Outcome())
    assert store.reader.progress(campaign_id).done == 1


def test_a_dead_process_gives_its_jobs_back_at_once(store, campaign_id, worker_id):
    """On the same host and boot, a process that is gone needs no lease to run out."""
    nobody = dataclasses.replace(this_process(), pid_start="0")
    dead = store.start_worker(campaign_id, nobody)
    held = store.claim(dead, campaign_id, count=2)
    assert store.reap(campaign_id, lease_s=3600.0) == 2
    assert [row["crashes"] for row in store.reader.jobs(campaign_id)] == [1, 1, 0, 0, 0]
    with pytest.raises(LeaseLost):
        store.complete(held[0], Outcome())
    assert store.reader.progress(campaign_id).in_progress == 0


def test_another_boot_of_this_host_means_dead(store, campaign_id):
    """After a reboot the old pid numbers mean nothing."""
    before_reboot = dataclasses.replace(this_process(), boot="another-boot")
    dead = store.start_worker(campaign_id, before_reboot)
    store.claim(dead, campaign_id)
    assert store.reap(campaign_id, lease_s=3600.0) == 1


def test_a_far_worker_is_lost_when_its_beat_stands_still(store, campaign_id, monotonic, clock):
    """Elsewhere the observer's own monotonic clock decides, never two machines' wall clocks."""
    far = store.start_worker(campaign_id, dataclasses.replace(this_process(), host="far"))
    store.claim(far, campaign_id)
    assert store.reap(campaign_id, lease_s=30.0) == 0
    clock.now += 86_400.0
    monotonic.now += 29.0
    assert store.reap(campaign_id, lease_s=30.0) == 0
    store.beat(far)
    monotonic.now += 29.0
    assert store.reap(campaign_id, lease_s=30.0) == 0
    clock.now -= 2 * 86_400.0
    monotonic.now += 30.0
    assert store.reap(campaign_id, lease_s=30.0) == 1


def test_a_lost_worker_is_told_so(store, campaign_id, monotonic):
    """A worker that was only slow learns at its next beat or claim that it must start anew."""
    far = store.start_worker(campaign_id, dataclasses.replace(this_process(), host="far"))
    store.reap(campaign_id, lease_s=30.0)
    monotonic.now += 31.0
    store.reap(campaign_id, lease_s=30.0)
    with pytest.raises(LeaseLost):
        store.beat(far)
    with pytest.raises(LeaseLost):
        store.claim(far, campaign_id)


def test_a_worker_that_stops_hands_back_what_it_holds(store, campaign_id, worker_id):
    """A graceful end charges nothing."""
    store.claim(worker_id, campaign_id, count=2)
    assert store.end_worker(worker_id) == 2
    assert statuses(store, campaign_id) == ["pending"] * 5
    assert {row["outcome"] for row in store.reader.attempts(campaign_id)} == {"released"}


def test_retry_gives_failed_jobs_a_fresh_budget(store, campaign_id, worker_id):
    """failed → pending for the operator; the attempt number keeps growing."""
    for _ in range(3):
        lease = claim_one(store, worker_id, campaign_id)
        while store.fail(lease, "boom") == Status.PENDING:
            store.clock.now += 100.0
            store.promote(campaign_id)
            lease = claim_one(store, worker_id, campaign_id)
    keys = [row["key"] for row in store.reader.jobs(campaign_id, Status.FAILED)]
    assert store.retry(campaign_id, [keys[1]]) == 1
    assert store.retry(campaign_id) == 2
    assert store.reader.progress(campaign_id) == Progress(total=5, done=0, failed=0, in_progress=0)
    again = claim_one(store, worker_id, campaign_id)
    assert (again.attempt, again.failures) == (4, 0)


def test_requeue_forgets_the_result(store, campaign_id, worker_id):
    """done → pending: the old result is gone, and the log is to be written anew."""
    lease = claim_one(store, worker_id, campaign_id)
    store.complete(lease, Outcome((Artifact("a", "a", 1, "00", "text/plain"),), {"x": 1}))
    store.add_folder(campaign_id, "one", "here:/results")
    store.write_log_cursor(campaign_id, "one", 1, 100)
    assert store.requeue(campaign_id, [lease.key, "unknown"]) == 1
    assert store.reader.progress(campaign_id).done == 0
    assert store.reader.artifacts(campaign_id) == [] and store.reader.results_after(campaign_id, 0, 9) == []
    assert store.reader.log_cursor(campaign_id, "one") == (0, 0)
    store.complete(claim_one(store, worker_id, campaign_id), Outcome())


def test_threads_share_a_store_and_each_job_runs_once(store):
    """Four threads on one store claim every job exactly once."""
    campaign_id, _ = store.submit("threads", ({"n": n} for n in range(200)))
    worker_id = store.start_worker(campaign_id)
    seen, errors = [], []

    def work():
        try:
            while leases := store.claim(worker_id, campaign_id):
                store.complete(leases[0], Outcome())
                seen.append(leases[0].key)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(seen) == len(set(seen)) == 200
    assert store.reader.progress(campaign_id).done == 200


def test_on_a_server_a_claim_waits_for_no_completion(postgres_database_url):
    """While a transaction of this process is open, the next job is claimed; a dropped connection is made anew."""
    with Store(postgres_database_url) as store:
        campaign_id, _ = store.submit("night", ({"n": n} for n in range(3)))
        worker_id = store.start_worker(campaign_id)
        (first,) = store.claim(worker_id, campaign_id)
        with store.database.write() as cursor:
            moves.complete(cursor, [(first, Outcome())], 1.0)
            (second,) = store.claim(worker_id, campaign_id)
        store.database._claims.driver.close()
        (third,) = store.claim(worker_id, campaign_id)
        store.complete_many([(second, Outcome()), (third, Outcome())])
        assert store.reader.progress(campaign_id).done == 3


def test_a_file_that_is_no_database_is_refused_unchanged(tmp_path):
    """One clear line, and the file stays as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("my notes, " * 1000)
    with pytest.raises(StoreError, match="not a database"):
        Store(path)
    assert path.read_text() == "my notes, " * 1000


def test_a_database_of_another_version_is_refused(tmp_path):
    """A newer schema is not touched."""
    path = tmp_path / "new.db"
    with Store(path) as store, store.database.write() as cursor:
        cursor.run("UPDATE schema_version SET version = 99")
    with pytest.raises(StoreError, match="another version"):
        Store(path)


def test_a_missing_folder_is_said_in_one_line(tmp_path):
    """No traceback for a mistyped path."""
    with pytest.raises(StoreError, match="folder is missing"):
        Store(tmp_path / "nowhere" / "runner.db")


@pytest.mark.parametrize("url", ["mysql://localhost/x", "://"])
def test_other_databases_are_refused(url):
    """Only SQLite and PostgreSQL keep campaigns."""
    with pytest.raises(StoreError):
        Store(url)


def test_each_attempt_is_linked_to_the_tab_that_drew_it(store, campaign_id, worker_id):
    """Browser, renderer and versions of a done job, and of an attempt that went wrong, are on record."""
    drawn_with = Provenance(
        name="browser-1", browser="Chromium/156", renderer="ANGLE (SwiftShader)", client={"three": "182"},
        runner="0.1", vuer="0.1.6", file_sha256="ab" * 32, settings={"seed": "7"},
    )  # fmt: skip
    first = store.start_session(worker_id, campaign_id, drawn_with)
    second = store.start_session(worker_id, campaign_id, dataclasses.replace(drawn_with, name="browser-2"))
    leases = store.claim(worker_id, campaign_id, 2, session_id=first)
    store.fail(leases[0], "ValueError")
    store.complete(leases[1])
    store.complete_many([(claim_one(store, worker_id, campaign_id), None)], claim=1, session_id=second)
    rows = {row["id"]: row for row in store.reader.sessions(campaign_id)}
    assert {name: rows[first][name] for name in vars(drawn_with)} == vars(drawn_with)
    assert rows[second]["name"] == "browser-2" and rows[second]["worker_id"] == worker_id
    (attempt,) = store.reader.attempts(campaign_id)
    assert attempt["session_id"] == first
    assert [row["session_id"] for row in store.reader.jobs(campaign_id)] == [first, first, None, second, None]
    assert store.reader.done_by_session(campaign_id) == {first: 1, None: 1}


def test_a_requeued_job_tells_why(store, campaign_id, worker_id):
    """The good attempt that was given up is on record like those that were not good."""
    lease = claim_one(store, worker_id, campaign_id)
    store.complete(lease)
    assert store.requeue(campaign_id, [lease.key], "rgb.jpg is missing") == 1
    (attempt,) = store.reader.attempts(campaign_id)
    assert (attempt["attempt"], attempt["outcome"], attempt["error"]) == (1, "requeued", "rgb.jpg is missing")
    assert claim_one(store, worker_id, campaign_id).attempt == 2


def test_uncharged_attempts_cost_their_jobs_nothing(store):
    """What was charged by mistake is taken back: budgets, statuses and counters are as before."""
    campaign_id = store.add_campaign("c", Policy(max_failures=1, max_crashes=2))
    store.add(campaign_id, [{"n": n} for n in range(4)])
    worker_id = store.start_worker(campaign_id)
    failed, crashed, done, other = store.claim(worker_id, campaign_id, 4)
    store.fail(failed, "ValueError: no")
    store.reclaim(crashed, "its browser died")
    store.complete(done)
    store.fail(other, "ValueError: its own")
    assert store.reader.progress(campaign_id).failed == 2
    attempts = [(lease.job_id, lease.attempt) for lease in (failed, crashed, done)]
    assert store.uncharge(campaign_id, attempts) == 2
    assert store.uncharge(campaign_id, attempts) == 0
    rows = {row["id"]: row for row in store.reader.jobs(campaign_id)}
    assert [rows[lease.job_id]["status"] for lease in (failed, crashed, done, other)] == [
        "pending", "pending", "done", "failed"
    ]  # fmt: skip
    assert not any(
        rows[lease.job_id]["failures"] or rows[lease.job_id]["crashes"] for lease in (failed, crashed)
    )
    assert (store.reader.progress(campaign_id).failed, store.reader.progress(campaign_id).done) == (1, 1)
    assert {
        row["outcome"] for row in store.reader.attempts(campaign_id) if row["job_id"] != other.job_id
    } == {"released"}


def test_a_worker_that_was_only_silent_costs_its_jobs_nothing(store, monotonic):
    """A machine that slept through its lease takes back what its jobs were charged with, and goes on."""
    campaign_id = store.add_campaign("c")
    store.add(campaign_id, [{"n": n} for n in range(2)])
    elsewhere = dataclasses.replace(this_process(), host="another")
    worker_id = store.start_worker(campaign_id, elsewhere)
    slept, died = store.claim(worker_id, campaign_id, 2)
    store.reclaim(died, "its browser died")
    store.reap(campaign_id, 60.0)
    monotonic.now += 61.0
    assert store.reap(campaign_id, 60.0) == 1
    with pytest.raises(LeaseLost):
        store.claim(worker_id, campaign_id, 0)
    again = store.come_back(worker_id, campaign_id)
    assert again != worker_id
    crashes = {row["id"]: row["crashes"] for row in store.reader.jobs(campaign_id)}
    assert crashes == {slept.job_id: 0, died.job_id: 1}
    assert len(store.claim(again, campaign_id, 2)) == 2


def test_an_observer_that_was_held_up_calls_nobody_dead(store, monotonic):
    """Silence counts from when it could look again: a locked database or a sleep held up everyone."""
    campaign_id = store.add_campaign("c")
    store.add(campaign_id, [{"n": 1}])
    worker_id = store.start_worker(campaign_id, dataclasses.replace(this_process(), host="another"))
    store.claim(worker_id, campaign_id)
    store.reap(campaign_id, 60.0)
    monotonic.now += 300.0
    store.observe_anew()
    assert store.reap(campaign_id, 60.0) == 0
    monotonic.now += 60.0
    assert store.reap(campaign_id, 60.0) == 1


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT :hours || '12:30'::text", "SELECT %(hours)s || '12:30'::text"),
        ("SELECT 'it''s 50% of :n', ?", "SELECT 'it''s 50%% of :n', %s"),
        (
            'SELECT "odd:name" FROM job WHERE id % 2 = :one',
            'SELECT "odd:name" FROM job WHERE id %% 2 = %(one)s',
        ),
    ],
)
def test_only_values_are_taken_for_values(statement, expected):
    """Quoted text and casts reach PostgreSQL as they are written; its driver gets the values' names."""
    assert Cursor(None, is_sqlite=False)._compile(statement) == expected
