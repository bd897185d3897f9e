"""Groups failures and attempts by their normalized reason, and counts the sessions in which they happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nlargest
from typing import TypeAlias

from runner.reasons import normalized, one_line

__all__ = ["Failed", "Group", "Tried"]

_FIRST, _LARGEST = 5, 1_000
# id, key, error, attempt
_Failure: TypeAlias = tuple[int, str, "str | None", int]
# job_id, session_id, grab_ts, end_ts, outcome, error
_Attempt: TypeAlias = tuple[int, "int | None", float, float, str, "str | None"]


@dataclass(frozen=True)
class Group:
    """Failed jobs with one normalized reason: how many, the first of them, whether all texts are equal."""

    normalized: str
    count: int
    first: tuple[_Failure, ...]
    is_one_text: bool

    @property
    def reason(self) -> str:
        """The reason itself where all are equal."""
        return one_line(self.first[0][2] or "") if self.is_one_text else self.normalized


class Failed:
    """Groups failed jobs by normalized reason.

    reasons: how many there are. largest: the most frequent ones, at most a thousand.
    """

    def __init__(self, lots: Iterable[list[_Failure]]):
        # Where each job has its own reason, an object for each would cost more than reading the rows.
        counts: dict[str, int] = {}
        first: dict[str, _Failure] = {}
        more: dict[str, list[_Failure]] = {}
        differing: set[str] = set()
        for lot in lots:
            for row in lot:
                reason = normalized(row[2] or "")
                count = counts.get(reason, 0)
                counts[reason] = count + 1
                if not count:
                    first[reason] = row
                    continue
                if row[2] != first[reason][2]:
                    differing.add(reason)
                if count < _FIRST:
                    more.setdefault(reason, []).append(row)
        self.reasons = len(counts)
        self.largest = [
            Group(reason, count, (first[reason], *more.get(reason, ())), reason not in differing)
            for reason, count in nlargest(_LARGEST, counts.items(), key=lambda item: item[1])
        ]


class Tried:
    """Counts attempts while they are read: by outcome; failed and crashed ones also by reason and session id."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        # By normalized reason and session. There are many when each failure has its own reason.
        self._counts: Counter[tuple[str, int | None]] = Counter()

    def charged(self, lots: Iterable[list[_Attempt]]) -> Iterator[list[_Attempt]]:
        """The same lots, with only those attempts that failed or crashed."""
        for lot in lots:
            self.outcomes.update([row[4] for row in lot])
            kept = [row for row in lot if row[4] in ("failed", "crashed")]
            self._counts.update([(normalized(row[5] or ""), row[1]) for row in kept])
            yield kept

    @property
    def by_session(self) -> Counter[int | None]:
        """How many of these each session had, by its id."""
        totals: Counter[int | None] = Counter()
        for (_, session_id), tries in self._counts.items():
            totals[session_id] += tries
        return totals

    def most_frequent(self, count: int) -> list[str]:
        """The most frequent reasons, at most so many."""
        totals: dict[str, int] = {}
        for (reason, _), tries in self._counts.items():
            totals[reason] = totals.get(reason, 0) + tries
        return nlargest(count, totals, key=totals.__getitem__)

    def sessions_of(self, reasons: Iterable[str]) -> dict[str, dict[int | None, int]]:
        """How many tries each session had of each of these reasons, by its id."""
        found: dict[str, dict[int | None, int]] = {reason: {} for reason in reasons}
        for (reason, session_id), tries in self._counts.items():
            if reason in found:
                found[reason][session_id] = tries
        return found
