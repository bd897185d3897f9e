"""Tells a browser's failures from the jobs' own by comparing with the other browsers."""

from __future__ import annotations

from collections import defaultdict, deque

from runner.reasons import normalized

__all__ = ["Record"]

_LAST = 6
# One other browser that fails alike may be chance.
_ALIKE = 2


class Record:
    """What became of the last attempts in each of a run's browsers, by the number of its slot."""

    def __init__(self) -> None:
        self._last: defaultdict[int, deque[str]] = defaultdict(lambda: deque(maxlen=_LAST))
        # The slots where each job that is not done has failed.
        self._failed_in: defaultdict[int, set[int]] = defaultdict(set)

    def done(self, slot: int, job_id: int) -> None:
        """A job is done."""
        self._last[slot].append("")
        self._failed_in.pop(job_id, None)

    def tells(self, slot: int, job_id: int, error: str) -> bool:
        """Note a failed attempt; returns whether it counts against that browser.

        It does not when the job has also failed in another browser, or when half or more of the others' last jobs
        failed for the same reason: then the job or the scene is at fault.
        """
        kind = normalized(error)
        others = [one for number, last in self._last.items() if number != slot for one in last]
        alike = others.count(kind)
        is_common = alike >= _ALIKE and 2 * alike >= len(others)
        has_failed_elsewhere = bool(self._failed_in[job_id] - {slot})
        self._last[slot].append(kind)
        self._failed_in[job_id].add(slot)
        return not (is_common or has_failed_elsewhere)
