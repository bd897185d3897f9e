"""Groups failures and attempts by their normalized reason, and counts the sessions in which they happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nlargest
from typing import TypeAlias

from runner.reasons import normalized, one_line

__all__ = ["Group", "Tried", "failed_groups"]

_FIRST = 5
# job_id, session_id, grab_ts, end_ts, outcome, error
_Attempt: TypeAlias = tuple[int, "int | None", float, float, str, "str | None"]


@dataclass(slots=True)
class Group:
    """Failed jobs with one normalized reason: the first (id, key, error, attempt), how many, whether all are equal."""

    first: list[tuple[int, str, str, int]]
    count: int = 1
    is_one_text: bool = True

    @property
    def reason(self) -> str:
        """The reason itself where all are equal."""
        error = self.first[0][2]
        return one_line(error) if self.is_one_text else normalized(error)


def failed_groups(lots: Iterable[list[tuple[int, str, str | None, int]]]) -> dict[str, Group]:
    """Groups by normalized reason, the most frequent first. lots: (id, key, error, attempt) of failed jobs."""
    groups: dict[str, Group] = {}
    for lot in lots:
        for job_id, key, error, attempt in lot:
            text = error or ""
            reason = normalized(text)
            group = groups.get(reason)
            if group is None:
                groups[reason] = Group([(job_id, key, text, attempt)])
                continue
            group.count += 1
            if len(group.first) < _FIRST:
                group.first.append((job_id, key, text, attempt))
            group.is_one_text &= text == group.first[0][2]
    return dict(sorted(groups.items(), key=lambda item: -item[1].count))


class Tried:
    """Counts attempts while they are read: by outcome; failed and crashed ones also by reason and session id.

    by_reason: normalized reason → session id → count. There are many when each failure has its own reason.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.by_session: Counter[int | None] = Counter()
        self.by_reason: dict[str, dict[int | None, int]] = {}

    def charged(self, lots: Iterable[list[_Attempt]]) -> Iterator[list[_Attempt]]:
        """The same lots, with only those attempts that failed or crashed."""
        for lot in lots:
            self.outcomes.update([row[4] for row in lot])
            kept = [row for row in lot if row[4] in ("failed", "crashed")]
            self.by_session.update([row[1] for row in kept])
            for row in kept:
                reason = normalized(row[5] or "")
                counts = self.by_reason.get(reason)
                if counts is None:
                    counts = self.by_reason[reason] = {}
                counts[row[1]] = counts.get(row[1], 0) + 1
            yield kept

    def most_frequent(self, count: int) -> list[tuple[str, dict[int | None, int]]]:
        """The most frequent of by_reason, at most so many."""
        return nlargest(count, self.by_reason.items(), key=lambda item: sum(item[1].values()))
