"""Holds all yielded jobs before any is added, in memory or on disk, and compares them with the stored ones."""

from __future__ import annotations

import sys
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress, islice
from typing import Any, NamedTuple

from runner.errors import CampaignError
from runner.job import Job, canonical_json, content_key

__all__ = ["Comparison", "Spool", "SpooledJob", "compare", "two_params"]

_IN_MEMORY_BYTES = 16 << 20
_BATCH = 1000


class SpooledJob(NamedTuple):
    """A job as it is stored; params: canonical JSON."""

    key: str
    params: str
    priority: int


class Spool:
    """The yielded jobs in their order, to be read again and again. Beyond some size they are in a temporary file.

    Yielding them may take long, use a network, or start processes: no transaction is open meanwhile. For each job two
    numbers stay in memory, the hashes of its key and of its params.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)
        self._lines: list[str] = []
        self.keys, self.params = array("q"), array("q")
        # 1 for a job with a given key; 0 if the key is a hash of its params.
        self.is_named = bytearray()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all of it."""
        self._file.close()

    def __len__(self) -> int:
        return len(self.keys)

    def extend(self, jobs: Iterable[Any]) -> Spool:
        """Take all of them: Job, dict of params, or pair of key and params. Raises CampaignError for anything else."""
        for value in jobs:
            self.append(value)
        return self

    def append(self, value: Any) -> None:
        """Take one more. Raises CampaignError."""
        # The usual case is a dict, a million times: no Job is made of it.
        job = None if isinstance(value, dict) else Job.of(value)
        params = canonical_json(value if job is None else job.params)
        is_named = job is not None and job.key is not None
        key = _checked_key(job.key) if job is not None and job.key is not None else content_key(params)
        # Canonical JSON has no line breaks and no tabs, and keys are printable.
        self._lines.append(f"{key}\t{0 if job is None else job.priority}\t{params}\n")
        self.keys.append(hash(key))
        self.params.append(hash(params))
        self.is_named.append(is_named)
        if len(self._lines) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._file.write("".join(self._lines).encode())
        self._lines.clear()

    def __iter__(self) -> Iterator[SpooledJob]:
        self._flush()
        self._file.seek(0)
        for line in self._file:
            key, priority, params = line.decode().rstrip("\n").split("\t", 2)
            yield SpooledJob(key, params, int(priority))

    def batches(self, is_wanted: bytes, count: int) -> Iterator[list[SpooledJob]]:
        """The wanted jobs, so many at a time. is_wanted: a byte for each job."""
        wanted = compress(self, is_wanted)
        while batch := list(islice(wanted, count)):
            yield batch

    def at(self, number: int) -> SpooledJob:
        """The job at that place in the order of yielding, from 0."""
        return next(islice(iter(self), number, None))


def _checked_key(key: str) -> str:
    if not key or len(key) > 200 or not key.isprintable():
        raise CampaignError(f"a job's key must be 1 to 200 printable characters, got {key!r:.80}")
    return key


def two_params(key: str, one: str, other: str) -> CampaignError:
    """The error for one key with two different params, each canonical JSON."""
    return CampaignError(
        f"the key {key!r} stands for two different params: {one:.100} and {other:.100}. Give one of them another key"
    )


@dataclass(frozen=True)
class Comparison:
    """The yielded jobs compared with the campaign's.

    yielded, distinct: jobs, and keys among them. new: keys that the campaign does not have; unnamed_new: those of them
    that are a hash of the params. changed: known keys that come with other params than the stored ones, by the status
    of their jobs. gone: jobs of the campaign that were not yielded, by their status; gone_pending: ids of the pending
    ones. stored: jobs of the campaign. Examples are places in the spool, or ids of jobs; None where there is none.
    is_wanted, is_changed: for each yielded job, whether it must be added, and whether its params have changed.
    """

    yielded: int
    distinct: int
    stored: int = 0
    new: int = 0
    unnamed_new: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    gone: Counter[str] = field(default_factory=Counter)
    gone_pending: tuple[int, ...] = ()
    repeat_example: int | None = None
    changed_example: int | None = None
    gone_example: int | None = None
    is_wanted: bytes = b""
    is_changed: bytes = b""

    @property
    def repeats(self) -> int:
        return self.yielded - self.distinct


def compare(spool: Spool, stored: Iterable[tuple[int, str, str, str]]) -> Comparison:
    """Compare the yielded jobs with the stored ones, each of which is given as id, key, params and status.

    It compares hashes, so that a million jobs take no more than some ten megabytes: two jobs with the same 64-bit hash
    of their keys are counted wrong, but added all the same, because their params differ. Raises CampaignError if one
    key was yielded for two different params.
    """
    # It takes long to import, and a queue does not need it.
    import numpy as np

    keys, params = np.frombuffer(spool.keys, "q"), np.frombuffer(spool.params, "q")
    distinct, first, place = np.unique(keys, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[place] != np.arange(len(keys)))
    clashes = repeats[params[repeats] != params[first[place[repeats]]]]
    if len(clashes):
        one, other = spool.at(int(first[place[clashes[0]]])), spool.at(int(clashes[0]))
        raise two_params(one.key, one.params, other.params)
    ids, stored_keys, stored_params, statuses = array("q"), array("q"), array("q"), []
    for job_id, key, text, status in stored:
        ids.append(job_id)
        stored_keys.append(hash(key))
        stored_params.append(hash(text))
        statuses.append(sys.intern(status))
    there = np.frombuffer(stored_keys, "q")
    order = np.argsort(there)
    found = np.searchsorted(there, distinct, sorter=order)
    rows = order[np.minimum(found, len(order) - 1)] if len(order) else np.zeros(len(distinct), int)
    is_known = there[rows] == distinct if len(order) else np.zeros(len(distinct), bool)
    is_changed = is_known.copy()
    is_changed[is_known] = np.frombuffer(stored_params, "q")[rows[is_known]] != params[first[is_known]]
    is_wanted = np.zeros(len(keys), bool)
    is_wanted[first[~is_known | is_changed]] = True
    comes_changed = np.zeros(len(keys), bool)
    comes_changed[first[is_changed]] = True
    new = first[~is_known]
    gone = np.flatnonzero(np.isin(there, distinct, invert=True))
    return Comparison(
        yielded=len(keys),
        distinct=len(distinct),
        stored=len(ids),
        new=len(new),
        unnamed_new=int((np.frombuffer(spool.is_named, "B")[new] == 0).sum()),
        changed=Counter(statuses[number] for number in rows[is_changed]),
        gone=Counter(statuses[number] for number in gone),
        gone_pending=tuple(ids[number] for number in gone if statuses[number] == "pending"),
        repeat_example=int(repeats[0]) if len(repeats) else None,
        changed_example=int(first[is_changed].min()) if is_changed.any() else None,
        gone_example=ids[int(gone[0])] if len(gone) else None,
        is_wanted=is_wanted.tobytes(),
        is_changed=comes_changed.tobytes(),
    )
