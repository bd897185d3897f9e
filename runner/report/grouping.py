"""Failures and attempts by what they have in common: their reason, told alike, and the sessions they befell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from runner.reasons import normalized, one_line

__all__ = ["Group", "Tried", "failed_groups"]

_FIRST = 5
# job_id, session_id, grab_ts, end_ts, outcome, error
_Attempt: TypeAlias = tuple[int, "int | None", float, float, str, "str | None"]


@dataclass
class Group:
    """Failed jobs with one normalized reason: how many, the first (id, key, error, attempt), whether all are alike."""

    count: int = 0
    first: list[tuple[int, str, str, int]] = field(default_factory=list)
    is_one_text: bool = True

    @property
    def reason(self) -> str:
        """As it stands where all are the same."""
        error = self.first[0][2]
        return one_line(error) if self.is_one_text else normalized(error)


def failed_groups(lots: Iterable[list[tuple[int, str, str | None, int]]]) -> dict[str, Group]:
    """By their normalized reason, the most frequent first; lots: (id, key, error, attempt) of failed jobs."""
    groups: dict[str, Group] = {}
    for lot in lots:
        for job_id, key, error, attempt in lot:
            text = error or ""
            reason = normalized(text)
            group = groups.get(reason)
            if group is None:
                group = groups[reason] = Group()
            group.count += 1
            if len(group.first) < _FIRST:
                group.first.append((job_id, key, text, attempt))
            group.is_one_text &= text == group.first[0][2]
    return dict(sorted(groups.items(), key=lambda item: -item[1].count))


class Tried:
    """Counts attempts while they are read: by outcome; those that failed or crashed by normalized reason and session.

    by_reason: reason → session id → count.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.by_reason: dict[str, Counter[int | None]] = {}

    def charged(self, lots: Iterable[list[_Attempt]]) -> Iterator[list[_Attempt]]:
        """The same lots, with those alone that failed or crashed."""
        last_error, by_session = None, self._of("")
        for lot in lots:
            self.outcomes.update([row[4] for row in lot])
            kept = [row for row in lot if row[4] in ("failed", "crashed")]
            for row in kept:
                # The next one often failed alike.
                if row[5] != last_error:
                    last_error = row[5]
                    by_session = self._of(normalized(last_error or ""))
                by_session[row[1]] += 1
            yield kept

    def _of(self, reason: str) -> Counter[int | None]:
        found = self.by_reason.get(reason)
        if found is None:
            found = self.by_reason[reason] = Counter()
        return found

    def named(self, name_of: Callable[[int | None], str]) -> dict[str, Counter[str]]:
        """reason → name of the session → count; the most frequent reasons and sessions first."""
        named: dict[str, Counter[str]] = {}
        for reason, by_id in sorted(self.by_reason.items(), key=lambda item: -item[1].total()):
            for session_id, count in by_id.most_common():
                named.setdefault(reason, Counter())[name_of(session_id)] += count
        return named
