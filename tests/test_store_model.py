"""Random sequences of the store's moves, against a model of plain Python that tells what must come of them."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runner.errors import LeaseLost
from runner.job import Added, Job, Lease, Outcome, Policy, Progress, Status, canonical_json, content_key
from runner.machine import this_process

BACKOFF_S, BACKOFF_MAX_S = 10.0, 15.0
LEASE_S = 30.0
DAY_S = 86_400.0
PICK = st.integers(0, 1000)  # which of the things at hand, modulo how many there are
SETTLES = ["complete", "log", "release", "fail", "fail", "fail", "reclaim", "reclaim"]
NAMES = itertools.count()


@dataclass
class ModelJob:
    """What the row of one job must say."""

    key: str
    priority: int
    order: int
    status: Status = Status.PENDING
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    worker_id: int | None = None
    not_before_ts: float | None = None

    def claim_order(self) -> tuple[int, int, int]:
        return -self.priority, self.crashes, self.order


@dataclass
class ModelWorker:
    """What the row of one worker must say, and since when the store's monotonic clock saw that beat."""

    gone: bool
    state: str = "live"
    beat: int = 0
    seen: tuple[int, float] | None = None


def job_of(n: int) -> Job:
    return Job({"n": n}, priority=n % 3 - 1)


class StoreMachine(RuleBasedStateMachine):
    """One campaign of a store whose clocks stand still unless a rule moves them."""

    def __init__(self, store, clock, monotonic):
        super().__init__()
        self.store, self.clock, self.monotonic = store, clock, monotonic
        self.clock.now, self.monotonic.now = 1_000_000.0, 50.0
        self.jobs: dict[str, ModelJob] = {}
        self.workers: dict[int, ModelWorker] = {}
        self.held: list[Lease] = []
        self.stale: list[Lease] = []
        self.results: list[str] = []
        self.history: list[tuple[str, int, str]] = []
        self.attempts_seen: dict[str, int] = {}

    # What the model knows of the moves.

    def ready(self) -> list[ModelJob]:
        jobs = [job for job in self.jobs.values() if job.status == Status.PENDING]
        jobs = [job for job in jobs if job.not_before_ts is None]
        return sorted(jobs, key=ModelJob.claim_order)

    def waiting(self) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.not_before_ts is not None]

    def count(self, status: Status) -> int:
        return sum(job.status == status for job in self.jobs.values())

    def keys(self, status: Status) -> list[str]:
        return [job.key for job in self.jobs.values() if job.status == status]

    def take(self, worker_id: int, leases: list[Lease], count: int) -> None:
        """The model claims, and the leases must be what it claimed, in its order."""
        expected = self.ready()[:count]
        assert [lease.key for lease in leases] == [job.key for job in expected]
        for lease, job in zip(leases, expected):
            job.status, job.worker_id, job.attempt = Status.IN_PROGRESS, worker_id, job.attempt + 1
            assert (lease.worker_id, lease.attempt) == (worker_id, job.attempt)
            assert (lease.failures, lease.crashes) == (job.failures, job.crashes)
        self.held += leases

    def let_go(self, lease: Lease) -> ModelJob:
        self.held.remove(lease)
        self.stale.append(lease)
        return self.jobs[lease.key]

    def done(self, lease: Lease, outcome: Outcome | None) -> None:
        self.let_go(lease).status = Status.DONE
        if outcome is not None:
            self.results.append(lease.key)

    def back(self, lease: Lease, outcome: str) -> ModelJob:
        """The job of the lease is pending again, or failed when its budget is spent."""
        job = self.let_go(lease)
        job.failures += outcome == "failed"
        job.crashes += outcome == "crashed"
        spent = {
            "failed": job.failures >= self.policy.max_failures,
            "crashed": job.crashes >= self.policy.max_crashes,
            "released": False,
        }[outcome]
        job.status, job.worker_id = Status.FAILED if spent else Status.PENDING, None
        self.history.append((job.key, job.attempt, outcome))
        return job

    def live(self) -> list[int]:
        return [worker_id for worker_id, worker in self.workers.items() if worker.state == "live"]

    def stopped(self, worker_id: int, state: str) -> None:
        """A worker that is no more is told so whatever it tries, and stopping it again does nothing."""
        self.workers[worker_id].state = state
        with pytest.raises(LeaseLost):
            self.store.claim(worker_id, self.campaign_id)
        with pytest.raises(LeaseLost):
            self.store.beat(worker_id)
        assert self.store.end_worker(worker_id) == 0

    # The moves, each on the store and on the model. The preconditions keep moves that would change
    # nothing from crowding out the others.

    @initialize(max_failures=st.sampled_from([2, 3, 1]), max_crashes=st.sampled_from([2, 3, 1]))
    def begin(self, max_failures, max_crashes):
        self.policy = Policy(max_failures, max_crashes, BACKOFF_S, BACKOFF_MAX_S)
        self.campaign_id = self.store.add_campaign(f"night {next(NAMES)}", self.policy)
        self.add(range(6))
        self.start_worker({})
        self.start_worker({"host": "far"})

    @precondition(lambda self: len(self.ready()) < 4)
    @rule(numbers=st.lists(st.integers(0, 11), min_size=1, max_size=6))
    def add(self, numbers):
        new = 0
        for n in numbers:
            job = job_of(n)
            key = content_key(canonical_json(job.params))
            if key not in self.jobs:
                self.jobs[key] = ModelJob(key, job.priority, len(self.jobs))
                new += 1
        added = self.store.add(self.campaign_id, map(job_of, numbers))
        assert added == Added(new=new, known=len(numbers) - new)

    @precondition(lambda self: len(self.live()) < 2)
    @rule(changes=st.sampled_from([{}, {}, {"host": "far"}, {"host": "far"}, {"pid_start": "0"}]))
    def start_worker(self, changes):
        identity = dataclasses.replace(this_process(), **changes)
        worker_id = self.store.start_worker(self.campaign_id, identity)
        self.workers[worker_id] = ModelWorker(gone="pid_start" in changes)

    @precondition(lambda self: self.live())
    @rule(pick=PICK, count=st.integers(1, 3))
    def claim(self, pick, count):
        worker_id = self.live()[pick % len(self.live())]
        self.take(worker_id, self.store.claim(worker_id, self.campaign_id, count), count)

    # One rule for all of a job's way: the generator leaves whole rules out of a run.
    @precondition(lambda self: self.live())
    @rule(pick=PICK, settles=st.lists(st.sampled_from(SETTLES), min_size=1, max_size=5))
    def work(self, pick, settles):
        for settle in settles:
            if not self.held:
                self.claim(pick, 3)
            if self.held:
                self.settle(self.held[pick % len(self.held)], settle)
            if self.waiting():
                self.promote(BACKOFF_MAX_S if pick % 2 else 0.0)

    def settle(self, lease, settle):
        if settle == "complete":
            self.store.complete(lease)
            self.done(lease, None)
        elif settle == "log":
            self.store.complete(lease, Outcome((), {"mean": 0.5}))
            self.done(lease, Outcome())
        elif settle == "release":
            self.store.release(lease)
            self.back(lease, "released")
        elif settle == "reclaim":
            status = self.store.reclaim(lease, "tab died")
            assert status == self.back(lease, "crashed").status
        else:
            status = self.store.fail(lease, "boom", "Traceback …")
            job = self.back(lease, "failed")
            assert status == job.status
            if status == Status.PENDING:
                wait_s = min(BACKOFF_S * 2 ** (job.failures - 1), BACKOFF_MAX_S)
                job.not_before_ts = self.clock.now + wait_s

    @precondition(lambda self: self.held)
    @rule(pick=PICK, count=st.integers(1, 3), claim=st.integers(0, 3))
    def complete_many_and_claim(self, pick, count, claim):
        worker_id = self.held[pick % len(self.held)].worker_id
        leases = [lease for lease in self.held if lease.worker_id == worker_id][:count]
        # The results are in the order in which they were handed over.
        leases.reverse()
        claimed = self.store.complete_many([(lease, Outcome()) for lease in leases], claim=claim)
        for lease in leases:
            self.done(lease, Outcome())
        self.take(worker_id, claimed, claim)

    @precondition(lambda self: self.stale)
    @rule(pick=PICK, settle=st.sampled_from(["complete", "release", "fail", "reclaim"]))
    def settle_too_late(self, pick, settle):
        lease = self.stale[pick % len(self.stale)]
        arguments = {"complete": (Outcome(),), "release": ()}.get(settle, ("late",))
        with pytest.raises(LeaseLost):
            getattr(self.store, settle)(lease, *arguments)

    @precondition(lambda self: self.stale and self.held)
    @rule(pick=PICK, claim=st.integers(0, 2), stale_first=st.booleans())
    def complete_many_with_one_too_late(self, pick, claim, stale_first):
        pair = [self.held[pick % len(self.held)], self.stale[pick % len(self.stale)]]
        if stale_first:
            pair.reverse()
        with pytest.raises(LeaseLost):
            self.store.complete_many([(lease, Outcome()) for lease in pair], claim=claim)

    @precondition(lambda self: self.waiting())
    @rule(seconds=st.sampled_from([0.0, BACKOFF_S, BACKOFF_MAX_S, 100.0, DAY_S, -5.0, -DAY_S]))
    def promote(self, seconds):
        self.clock.now += seconds
        latest = self.clock.now + BACKOFF_MAX_S + 1.0
        due = [job for job in self.waiting() if not self.clock.now < job.not_before_ts <= latest]
        assert self.store.promote(self.campaign_id) == len(due)
        for job in due:
            job.not_before_ts = None

    @precondition(lambda self: any(self.workers[worker_id].seen for worker_id in self.live()))
    @rule()
    def beat(self):
        for worker_id in self.live()[:1]:
            self.store.beat(worker_id)
            self.workers[worker_id].beat += 1

    @precondition(lambda self: len(self.held) > 1)
    @rule(pick=PICK)
    def end_worker(self, pick):
        worker_id = self.held[pick % len(self.held)].worker_id
        leases = [lease for lease in self.held if lease.worker_id == worker_id]
        assert self.store.end_worker(worker_id) == len(leases)
        for lease in leases:
            self.back(lease, "released")
        self.stopped(worker_id, "ended")

    @precondition(lambda self: self.live())
    @rule(silence_s=st.sampled_from([0.0, LEASE_S - 1.0, LEASE_S]))
    def reap(self, silence_s):
        self.monotonic.now += silence_s
        lost, taken = [], 0
        for worker_id in self.live():
            worker = self.workers[worker_id]
            if worker.seen is None or worker.seen[0] != worker.beat:
                worker.seen = worker.beat, self.monotonic.now
            if worker.gone or self.monotonic.now - worker.seen[1] >= LEASE_S:
                lost.append(worker_id)
        for lease in [lease for lease in self.held if lease.worker_id in lost]:
            self.back(lease, "crashed")
            taken += 1
        assert self.store.reap(self.campaign_id, LEASE_S) == taken
        for worker_id in lost:
            self.stopped(worker_id, "lost")

    @precondition(lambda self: self.keys(Status.FAILED))
    @rule(pick=PICK, all_of_them=st.booleans())
    def retry(self, pick, all_of_them):
        failed = self.keys(Status.FAILED)
        chosen = failed if all_of_them else [failed[pick % len(failed)]]
        # Naming a job that did not fail is no error and moves nothing.
        named = None if all_of_them else chosen + self.keys(Status.DONE)[:1] + ["unknown"]
        assert self.store.retry(self.campaign_id, named) == len(chosen)
        for key in chosen:
            job = self.jobs[key]
            job.status, job.failures, job.crashes = Status.PENDING, 0, 0

    @precondition(lambda self: self.keys(Status.DONE))
    @rule(pick=PICK)
    def requeue(self, pick):
        done = self.keys(Status.DONE)
        key = done[pick % len(done)]
        assert self.store.requeue(self.campaign_id, [key, *self.keys(Status.FAILED), "unknown"]) == 1
        job = self.jobs[key]
        self.history.append((key, job.attempt, "requeued"))
        job.status, job.worker_id, job.failures, job.crashes = Status.PENDING, None, 0, 0
        self.results = [done_key for done_key in self.results if done_key != key]

    # What holds after every move.

    @invariant()
    def rows_are_as_the_model_has_them(self):
        rows = self.store.reader.jobs(self.campaign_id)
        names = ["key", "status", "attempt", "failures", "crashes", "worker_id", "not_before_ts"]
        expected = [[getattr(job, name) for name in names] for job in self.jobs.values()]
        assert [[row[name] for name in names] for row in rows] == expected

    @invariant()
    def counters_are_the_counts_of_the_rows(self):
        expected = Progress(
            total=len(self.jobs),
            done=self.count(Status.DONE),
            failed=self.count(Status.FAILED),
            in_progress=self.count(Status.IN_PROGRESS),
        )
        assert self.store.reader.progress(self.campaign_id) == expected

    @invariant()
    def each_result_is_there_once_and_in_order(self):
        records = self.store.reader.results_after(self.campaign_id, 0, 1000)
        assert [record["key"] for record in records] == self.results

    @invariant()
    def every_attempt_that_ended_badly_is_on_record(self):
        attempts = self.store.reader.attempts(self.campaign_id)
        recorded = [(row["key"], row["attempt"], row["outcome"]) for row in attempts]
        assert sorted(recorded) == sorted(self.history)

    @invariant()
    def only_live_workers_hold_jobs(self):
        states = {row["id"]: row["state"] for row in self.store.reader.workers(self.campaign_id)}
        assert states == {worker_id: worker.state for worker_id, worker in self.workers.items()}
        for row in self.store.reader.jobs(self.campaign_id, Status.IN_PROGRESS):
            assert states[row["worker_id"]] == "live"

    @invariant()
    def attempt_numbers_never_shrink(self):
        attempts = {row["key"]: row["attempt"] for row in self.store.reader.jobs(self.campaign_id)}
        for key, attempt in self.attempts_seen.items():
            assert attempts[key] >= attempt
        self.attempts_seen = attempts


@pytest.mark.slow
def test_the_store_does_what_the_model_says(store, clock, monotonic):
    """Whatever the order of the moves, rows, counters, results and history are those of the model."""
    sizes = (60, 40) if store.database.is_sqlite else (12, 30)
    run_state_machine_as_test(
        lambda: StoreMachine(store, clock, monotonic),
        settings=settings(
            max_examples=sizes[0],
            stateful_step_count=sizes[1],
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
