"""Holds all yielded jobs before any is added, in memory or on disk, and compares them with the stored ones."""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress, islice
from typing import Any, NamedTuple

from runner.errors import CampaignError
from runner.job import Job, Status, canonical_json, content_key

__all__ = ["Comparison", "Spool", "SpooledJob", "compare", "two_params"]

_IN_MEMORY_BYTES = 16 << 20
_BATCH = 1000
_STATUSES = [status.value for status in Status]


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
    # np.unique would do the same in three times the memory.
    order = np.argsort(keys, kind="stable")
    distinct = keys[order]
    is_first = np.ones(len(keys), bool)
    np.not_equal(distinct[1:], distinct[:-1], out=is_first[1:])
    if not is_first.all():
        _refuse_two_params(spool, params, order, is_first)
    first, distinct = order[is_first], distinct[is_first]
    repeats = order[~is_first]
    del order, is_first
    ids, stored_keys, stored_params, statuses = array("q"), array("q"), array("q"), bytearray()
    for job_id, key, text, status in stored:
        ids.append(job_id)
        stored_keys.append(hash(key))
        stored_params.append(hash(text))
        statuses.append(_STATUSES.index(status))
    there = np.frombuffer(stored_keys, "q")
    # For each stored job its place among the distinct keys, and for each of these the stored job.
    place = np.minimum(np.searchsorted(distinct, there), max(len(distinct) - 1, 0))
    is_gone = distinct[place] != there if len(distinct) else np.ones(len(there), bool)
    rows = np.full(len(distinct), -1)
    rows[place[~is_gone]] = np.flatnonzero(~is_gone)
    del place
    is_known = rows >= 0
    is_changed = is_known.copy()
    is_changed[is_known] = np.frombuffer(stored_params, "q")[rows[is_known]] != params[first[is_known]]
    is_wanted = np.zeros(len(keys), bool)
    is_wanted[first[~is_known | is_changed]] = True
    comes_changed = np.zeros(len(keys), bool)
    comes_changed[first[is_changed]] = True
    new = first[~is_known]
    gone = np.flatnonzero(is_gone)
    return Comparison(
        yielded=len(keys),
        distinct=len(distinct),
        stored=len(ids),
        new=len(new),
        unnamed_new=int((np.frombuffer(spool.is_named, "B")[new] == 0).sum()),
        changed=Counter(_STATUSES[statuses[number]] for number in rows[is_changed]),
        gone=Counter(_STATUSES[statuses[number]] for number in gone),
        gone_pending=tuple(ids[number] for number in gone if _STATUSES[statuses[number]] == Status.PENDING),
        repeat_example=int(repeats.min()) if len(repeats) else None,
        changed_example=int(first[is_changed].min()) if is_changed.any() else None,
        gone_example=ids[int(gone[0])] if len(gone) else None,
        is_wanted=is_wanted.tobytes(),
        is_changed=comes_changed.tobytes(),
    )


def _refuse_two_params(spool: Spool, params: Any, order: Any, is_first: Any) -> None:
    """order: the jobs by their keys, and then as they were yielded; is_first: of its key, in that order."""
    sorted_params = params[order]
    is_other = ~is_first
    is_other[1:] &= sorted_params[1:] != sorted_params[:-1]
    if not is_other.any():
        return
    other = int(order[is_other].min())
    there = int((order == other).argmax())
    one = int(order[: there + 1][is_first[: there + 1]][-1])
    first, second = spool.at(one), spool.at(other)
    raise two_params(second.key, first.params, second.params)
