"""Adds campaigns and jobs, and removes jobs, within an open transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from runner.errors import CampaignError
from runner.job import Added, Place, Policy
from runner.store import statements
from runner.store.database import Cursor
from runner.store.places import kept
from runner.store.spool import Spool, SpooledJob, two_params
from runner.store.text import cleaned, is_text

__all__ = ["add", "add_batch", "add_campaign", "batches", "prune"]

_Item = TypeVar("_Item")
# How many jobs are added in one transaction, which takes a few tenths of a second.
_BATCH = 10_000


def batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """In batches for one transaction each."""
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def add_campaign(
    cursor: Cursor, name: str, policy: Policy, place: Place, folder: Path | None, now: float
) -> int:
    """The id of the campaign of that name, created if need be. folder: the database's own."""
    for text in (name, place.file, place.results, place.remote):
        if text is not None and not is_text(text):
            raise CampaignError(
                f"{cleaned(text)} has bytes that are not text, and a database holds only text: rename it"
            )
    values = {
        "name": name,
        "max_failures": policy.max_failures,
        "max_crashes": policy.max_crashes,
        "backoff_s": policy.backoff_s,
        "backoff_max_s": policy.backoff_max_s,
        "file": kept(place.file, folder),
        "results": kept(place.results, folder),
        "remote": place.remote,
        "now": now,
    }
    campaign_id: int = cursor.run(statements.ADD_CAMPAIGN, values).fetchall()[0][0]
    return campaign_id


def add(cursor: Cursor, campaign_id: int, spool: Spool, now: float) -> Added:
    """Add the jobs in the spool. Raises CampaignError for a named key that stands for other params."""
    new = 0
    named = iter(spool.is_named)
    for batch in batches(spool):
        inserted = _insert(cursor, campaign_id, batch, now)
        of_batch = [job for job, is_named in zip(batch, named) if is_named]
        if inserted < len(batch):
            _refuse_changed_params(cursor, campaign_id, of_batch)
        new += inserted
    # Last, because it locks the campaign's row until the transaction ends.
    cursor.run(statements.COUNT_TOTAL, {"campaign": campaign_id, "count": new})
    return Added(new=new, known=len(spool) - new)


def add_batch(cursor: Cursor, campaign_id: int, jobs: Sequence[SpooledJob], now: float) -> int:
    """Add jobs; known keys stay as they are, whatever their params. Returns how many jobs were new."""
    new = _insert(cursor, campaign_id, jobs, now)
    cursor.run(statements.COUNT_TOTAL, {"campaign": campaign_id, "count": new})
    return new


def _insert(cursor: Cursor, campaign_id: int, jobs: Sequence[SpooledJob], now: float) -> int:
    rows = [(campaign_id, job.key, job.params, job.priority, now) for job in jobs]
    return cursor.run_many(statements.ADD_JOB, rows)


def _refuse_changed_params(cursor: Cursor, campaign_id: int, named: Sequence[SpooledJob]) -> None:
    for job in named:
        values = {"campaign": campaign_id, "key": job.key}
        stored = cursor.run(statements.KNOWN_JOB, values).fetchall()[0][1]
        if stored != job.params:
            raise two_params(job.key, stored, job.params)


def prune(cursor: Cursor, campaign_id: int, job_ids: Sequence[int]) -> int:
    """Remove the pending ones among these jobs, with all that is known of them; returns how many."""
    taken = [
        {"job": job_id}
        for job_id in job_ids
        if cursor.run(statements.PRUNE, {"campaign": campaign_id, "job": job_id}).rowcount
    ]
    for forget in statements.FORGET_JOB:
        cursor.run_many(forget, taken)
    cursor.run(statements.COUNT_TOTAL, {"campaign": campaign_id, "count": -len(taken)})
    return len(taken)
