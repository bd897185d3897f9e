"""One job among those that a campaign yields: by its key, by its place, or by chance."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from runner.campaign.campaign import Campaign
from runner.errors import UsageError
from runner.job import Job, canonical_json, content_key

__all__ = ["Choice", "pick_job"]

_SHOWN = 5


@dataclass(frozen=True)
class Choice:
    """Which job is meant. At most one of these is given; without any, it is the first job.

    key: a job's key, or its beginning, if no other key begins so. index: its place among the jobs, from 0; below 0,
    from the end. is_random: any of them.
    """

    key: str | None = None
    index: int | None = None
    is_random: bool = False

    def __post_init__(self) -> None:
        if (self.key is not None) + (self.index is not None) + self.is_random > 1:
            raise UsageError("give one of --key, --index and --random: each of them names a job")


def pick_job(campaign: Campaign, choice: Choice) -> Job:
    """The chosen job, with its key. Only as many jobs are read as needed. Raises UsageError where there is none."""
    jobs = _jobs_of(campaign)
    if choice.key is not None:
        return _by_key(campaign, jobs, choice.key)
    if choice.is_random:
        found, count = _any_of(jobs)
    else:
        found, count = _at(jobs, choice.index or 0)
    if found is None:
        what = f"{count:,} jobs, the last is --index {count - 1}" if count else "no jobs"
        raise UsageError(f"{campaign.file} yields {what}")
    return found


def _jobs_of(campaign: Campaign) -> Iterator[Job]:
    for value in campaign.iterate_jobs():
        job = Job.of(value)
        params = canonical_json(job.params)
        yield Job(job.params, job.key or content_key(params), job.priority)


def _by_key(campaign: Campaign, jobs: Iterator[Job], key: str) -> Job:
    alike: list[Job] = []
    for job in jobs:
        assert job.key is not None  # _jobs_of has given each job a key
        if job.key == key:
            return job
        if job.key.startswith(key) and all(job.key != other.key for other in alike):
            alike.append(job)
    if not alike:
        raise UsageError(f"{campaign.file} yields no job whose key is {key!r}, or begins like it")
    if len(alike) > 1:
        raise UsageError(
            f"{len(alike):,} jobs have a key that begins with {key!r}; give more of it: "
            + ", ".join(str(job.key) for job in alike[:_SHOWN])
        )
    return alike[0]


def _any_of(jobs: Iterator[Job]) -> tuple[Job | None, int]:
    """A random one of them, and how many there are."""
    found, count = None, 0
    for count, job in enumerate(jobs, 1):
        if random.randrange(count) == 0:
            found = job
    return found, count


def _at(jobs: Iterator[Job], index: int) -> tuple[Job | None, int]:
    """The job at that place, counted from 0 or from the end, or else how many jobs there are."""
    count = 0
    if index >= 0:
        for count, job in enumerate(jobs, 1):
            if count > index:
                return job, count
        return None, count
    last: deque[tuple[int, Job]] = deque(enumerate(jobs, 1), maxlen=-index)
    count = last[-1][0] if last else 0
    return (last[0][1] if count >= -index else None), count
