"""The moves of jobs, each within an open transaction: the changes by a claim and by the end of an attempt.

The moves (see the state diagram in runner/docs/design.md) are claim, complete, release, fail, reclaim, retry and
requeue; update is one of the last two with other params. A move out of in_progress is guarded by id, worker, attempt
and status: if no row changes, the lease is lost, LeaseLost is raised, and the whole transaction is undone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from runner.errors import LeaseLost, StoreError
from runner.job import Checkpoint, Finished, Lease, Outcome, ShardEnd, Status, metrics_to_json
from runner.store import statements
from runner.store.database import Cursor
from runner.store.spool import SpooledJob
from runner.store.text import TRACE_BYTES, cleaned, cleaned_or_none

__all__ = [
    "adopt",
    "checkpoint",
    "claim",
    "complete",
    "fail",
    "held",
    "promote",
    "reclaim",
    "release",
    "requeue",
    "retry",
    "take_from",
    "uncharge",
    "uncharge_taken",
    "update",
]

_DECODE = json.JSONDecoder().raw_decode
_DEAD = "the runner process died while it held this job"

# -- into the hands of a worker ------------------------------------------------------------------


def claim(
    cursor: Cursor,
    worker_id: int,
    campaign_id: int,
    count: int,
    session_id: int | None,
    now: float,
    job: tuple[int, int] | None = None,
    near: int | None = None,
) -> list[Lease]:
    """pending → in_progress, for up to `count` jobs; for one, by its id and attempts; or for those from an id on."""
    values = {"worker": worker_id, "session": session_id, "campaign": campaign_id, "now": now}
    if job is not None:
        one = {"job": job[0], "attempt": job[1]}
        rows = cursor.run(statements.CLAIM_ONE, values | one).fetchall()
    elif near is not None:
        rows = cursor.run(statements.CLAIM_NEAR, values | {"at": near}).fetchall()
    elif count == 1:
        rows = cursor.run(statements.CLAIM, values).fetchall()
    else:
        rows = cursor.run(statements.CLAIM_MANY, values | {"count": count}).fetchall()
        # RETURNING promises no order.
        rows.sort(key=lambda row: (-row[0], row[6], row[1]))
    # Faster than json.loads, which would look for space around the JSON; canonical JSON has none.
    params = [_DECODE(row[4])[0] for row in rows]
    return [
        Lease(
            job_id,
            campaign_id,
            worker_id,
            attempt,
            key,
            decoded,
            failures,
            crashes,
            created_ts,
            now,
            session_id,
        )
        for (_, job_id, attempt, key, _, failures, crashes, created_ts), decoded in zip(rows, params)
    ]


def held(cursor: Cursor, worker_id: int) -> list[Lease]:
    """The jobs that the worker holds, without their params."""
    rows = cursor.run(statements.HELD_BY, {"worker": worker_id}).fetchall()
    return [
        Lease(job_id, campaign_id, worker_id, attempt, key, {}, *charges_and_times)
        for job_id, campaign_id, attempt, key, *charges_and_times in rows
    ]


def promote(cursor: Cursor, campaign_id: int, now: float) -> int:
    """Make waiting jobs ready whose time has come; returns how many."""
    latest = now + _policy(cursor, campaign_id)["backoff_max_s"] + 1.0
    values = {"campaign": campaign_id, "now": now, "latest": latest}
    count: int = cursor.run(statements.PROMOTE, values).rowcount
    return count


# -- out of in_progress --------------------------------------------------------------------------


def complete(
    cursor: Cursor,
    settled: Sequence[tuple[Lease, Outcome | None]],
    now: float,
    shards: Sequence[ShardEnd] = (),
) -> None:
    """in_progress → done, for jobs of one campaign. shards: their valid parts from now on."""
    first = settled[0][0]
    fences = [(now, lease.job_id, lease.worker_id, lease.attempt) for lease, _ in settled]
    if cursor.run_many(statements.COMPLETE, fences) != len(settled):
        whose = first if len(settled) == 1 else f"one of {len(settled)} jobs, {first} the first,"
        raise LeaseLost(f"{whose} is no longer held by this worker; nothing was recorded")
    _write_shards(cursor, first.campaign_id, shards)
    _write_outcomes(cursor, [(lease, outcome) for lease, outcome in settled if outcome is not None])
    cursor.run(statements.COUNT_DONE, {"campaign": first.campaign_id, "count": len(settled)})


def adopt(cursor: Cursor, lease: Lease, finished: Finished, shards: Sequence[ShardEnd] = ()) -> None:
    """in_progress → done by an earlier attempt that had finished."""
    times = {"grab_ts": finished.grab_ts, "end_ts": finished.end_ts, "session": finished.session_id}
    _move(cursor, statements.ADOPT, lease, times)
    _write_shards(cursor, lease.campaign_id, shards)
    _write_outcomes(cursor, [(lease, finished.outcome)])
    cursor.run(statements.COUNT_DONE, {"campaign": lease.campaign_id, "count": 1})


def checkpoint(cursor: Cursor, lease: Lease, reached: Checkpoint) -> None:
    """No move: the lease goes on, and the job's progress is written."""
    metrics, marks = metrics_to_json(reached.metrics)
    _move(cursor, statements.HOLD, lease)
    values = {"job": lease.job_id, "step": reached.step, "metrics": metrics, "marks": marks}
    cursor.run(statements.WRITE_CHECKPOINT, values | {"scene": reached.scene})
    for artifact in reached.artifacts:
        cursor.run(statements.WRITE_ARTIFACT, values | vars(artifact))


def release(cursor: Cursor, lease: Lease, reason: str, now: float) -> None:
    """in_progress → pending, charged nothing."""
    values = _move(cursor, statements.RELEASE, lease, {"now": now})
    history = {"outcome": "released", "error": cleaned(reason), "traceback": None, "grab_ts": lease.grab_ts}
    cursor.run(statements.WRITE_ATTEMPT, values | history)


def fail(
    cursor: Cursor, lease: Lease, error: str, traceback: str | None, now: float, jitter: float
) -> Status:
    """failures + 1: → pending after a wait, or → failed when the budget is spent."""
    policy = _policy(cursor, lease.campaign_id)
    spent = lease.failures + 1 >= policy["max_failures"]
    # A power beyond 2**64 would only overflow.
    wait_s = min(policy["backoff_s"] * 2.0 ** min(lease.failures, 64), policy["backoff_max_s"])
    # Jitter spreads the retries of jobs that failed together.
    not_before = None if spent else now + wait_s * (0.5 + 0.5 * jitter)
    return _set_aside(cursor, lease, "failed", error, traceback, spent, now, not_before)


def reclaim(cursor: Cursor, lease: Lease, reason: str, evidence: str | None, now: float) -> Status:
    """crashes + 1: → pending, or → failed when the limit is reached."""
    spent = lease.crashes + 1 >= _policy(cursor, lease.campaign_id)["max_crashes"]
    return _set_aside(cursor, lease, "crashed", reason, evidence, spent, now)


def take_from(cursor: Cursor, worker_id: int, beat: int, now: float) -> int:
    """Declare the worker lost, unless it has beaten since, and reclaim its jobs; returns how many."""
    if cursor.run(statements.LOSE_WORKER, {"worker": worker_id, "beat": beat}).rowcount != 1:
        return 0
    leases = held(cursor, worker_id)
    for lease in leases:
        reclaim(cursor, lease, _DEAD, None, now)
    return len(leases)


def _set_aside(
    cursor: Cursor,
    lease: Lease,
    outcome: str,
    error: str,
    traceback: str | None,
    spent: bool,
    now: float,
    not_before: float | None = None,
) -> Status:
    status = Status.FAILED if spent else Status.PENDING
    changes = {
        "status": status.value,
        "not_before": not_before,
        "failures": int(outcome == "failed"),
        "crashes": int(outcome == "crashed"),
        "error": cleaned(error),
        "now": now,
    }
    values = _move(cursor, statements.FAIL, lease, changes)
    evidence = cleaned_or_none(traceback, TRACE_BYTES)
    history = {"outcome": outcome, "traceback": evidence, "grab_ts": lease.grab_ts}
    cursor.run(statements.WRITE_ATTEMPT, values | history)
    if spent:
        cursor.run(statements.COUNT_FAILED, {"campaign": lease.campaign_id, "count": 1})
    return status


def _move(
    cursor: Cursor, statement: str, lease: Lease, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The only way out of in_progress: if nothing changed, the lease is lost. Returns the values that were sent."""
    values = {"job": lease.job_id, "worker": lease.worker_id, "attempt": lease.attempt, **(changes or {})}
    if cursor.run(statement, values).rowcount != 1:
        raise LeaseLost(f"{lease} is no longer held by this worker; its result was discarded")
    return values


def _write_outcomes(cursor: Cursor, outcomes: Sequence[tuple[Lease, Outcome]]) -> None:
    """What jobs of one campaign have left. Results come last, for they are written in turn with other processes."""
    if not outcomes:
        return
    for lease, outcome in outcomes:
        if outcome.has_checkpoint:
            cursor.run(statements.FORGET_CHECKPOINT, {"job": lease.job_id})
            cursor.run(statements.FORGET_STEP_ARTIFACTS, {"job": lease.job_id})
    artifacts = [
        {"job": lease.job_id} | vars(artifact)
        for lease, outcome in outcomes
        for artifact in outcome.artifacts
    ]
    if artifacts:
        cursor.run_many(statements.WRITE_ARTIFACT, artifacts)
    results = [_result_of(lease, outcome) for lease, outcome in outcomes]
    if not cursor.is_sqlite:
        cursor.run(statements.LOCK_RESULTS, {"campaign": outcomes[0][0].campaign_id})
    cursor.run_many(statements.WRITE_RESULT, results)


def _result_of(lease: Lease, outcome: Outcome) -> dict[str, Any]:
    metrics, marks = metrics_to_json(outcome.metrics)
    return {
        "campaign": lease.campaign_id,
        "job": lease.job_id,
        "metrics": metrics,
        "marks": marks,
        "suspicion": cleaned(outcome.suspicion) or None,
        "phases": outcome.phases.to_text() if outcome.phases is not None else None,
    }


def _write_shards(cursor: Cursor, campaign_id: int, shards: Sequence[ShardEnd]) -> None:
    for shard in shards:
        if cursor.run(statements.WRITE_SHARD, {"campaign": campaign_id} | shard._asdict()).rowcount != 1:
            raise StoreError(
                f"{shard.path} is in an object store, and can take no more jobs: nothing was recorded"
            )


def _policy(cursor: Cursor, campaign_id: int) -> dict[str, float]:
    row = cursor.run(statements.POLICY_OF, {"campaign": campaign_id}).fetchall()[0]
    return dict(zip(("max_failures", "max_crashes", "backoff_s", "backoff_max_s"), row))


# -- taken back ----------------------------------------------------------------------------------


def uncharge(cursor: Cursor, campaign_id: int, attempts: Sequence[tuple[int, int]]) -> int:
    """Take back the charges of attempts, given by job id and number; failed → pending; returns how many attempts."""
    count = 0
    for job_id, attempt in attempts:
        values: dict[str, Any] = {"job": job_id, "attempt": attempt}
        found = cursor.run(statements.OUTCOME_OF, values).fetchall()
        if not found:
            continue
        outcome, status = found[0]
        values |= {"failures": int(outcome == "failed"), "crashes": int(outcome == "crashed")}
        changed = cursor.run(statements.UNCHARGE_JOB, values).rowcount
        cursor.run(statements.UNCHARGE_ATTEMPT, values)
        if changed and status == "failed":
            cursor.run(statements.COUNT_FAILED, {"campaign": campaign_id, "count": -1})
        count += 1
    return count


def uncharge_taken(cursor: Cursor, campaign_id: int, worker_id: int) -> None:
    """The same for jobs that were taken from a worker that was declared lost and lives."""
    taken = cursor.run(statements.TAKEN_FROM, {"worker": worker_id, "error": _DEAD}).fetchall()
    uncharge(cursor, campaign_id, taken)


def retry(cursor: Cursor, campaign_id: int, keys: Sequence[str] | None) -> int:
    """failed → pending, with fresh budgets; those named, or all; returns how many."""
    campaign = {"campaign": campaign_id}
    if keys is not None:
        moved = [cursor.run(statements.RETRY_ONE, campaign | {"key": key}).rowcount for key in keys]
    else:
        moved = [cursor.run(statements.RETRY, campaign).rowcount]
    count: int = sum(moved)
    cursor.run(statements.COUNT_FAILED, campaign | {"count": -count})
    return count


def requeue(cursor: Cursor, campaign_id: int, keys: Sequence[str], reason: str) -> int:
    """done → pending for those named: their results are forgotten, the log will be rebuilt; returns how many."""
    count = 0
    for key in keys:
        values = {"campaign": campaign_id, "key": key, "reason": cleaned(reason)}
        cursor.run(statements.WRITE_REQUEUED, values)
        if cursor.run(statements.REQUEUE, values).rowcount == 1:
            cursor.run(statements.FORGET_RESULT, values)
            cursor.run(statements.FORGET_ARTIFACTS, values)
            count += 1
    if count:
        cursor.run(statements.COUNT_DONE, {"campaign": campaign_id, "count": -count})
        cursor.run(statements.RESET_LOGS, {"campaign": campaign_id})
    return count


def update(cursor: Cursor, campaign_id: int, jobs: Sequence[SpooledJob]) -> int:
    """pending, failed or done → pending with other params and fresh budgets; returns how many. In progress: no move."""
    changed: dict[str, list[tuple[int, SpooledJob]]] = {status.value: [] for status in Status}
    for job in jobs:
        named = {"campaign": campaign_id, "key": job.key}
        for job_id, params, status in cursor.run(statements.KNOWN_JOB, named).fetchall():
            if params != job.params:
                changed[status].append((job_id, job))
    retry(cursor, campaign_id, [job.key for _, job in changed["failed"]])
    requeue(cursor, campaign_id, [job.key for _, job in changed["done"]], "its params were changed")
    count = 0
    for status in ("pending", "failed", "done"):
        for job_id, job in changed[status]:
            values = {"job": job_id, "params": job.params}
            # If it was taken meanwhile, its steps belong to another attempt.
            if cursor.run(statements.UPDATE_PARAMS, values).rowcount:
                cursor.run(statements.FORGET_CHECKPOINT, values)
                cursor.run(statements.FORGET_STEP_ARTIFACTS, values)
                count += 1
    return count
