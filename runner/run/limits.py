"""How long an attempt may take: as given, or as learnt from the campaign's own attempts."""

from __future__ import annotations

from collections import deque
from statistics import median

__all__ = ["TimeLimit"]

_KNOWN_FROM, _TIMES = 20, 20.0
_GENEROUS_S, _LEAST_S = 600.0, 30.0


class TimeLimit:
    """The limit of one attempt, or of one step of it, in seconds.

    given_s: by the campaign. Without it: ten minutes at first; once twenty have ended well, twenty times their median,
    but at least half a minute, and twice that for a job that has failed before or would now fail for good: it may
    honestly take longer.

    known: what an earlier one has learnt.
    """

    def __init__(self, given_s: float | None, known: tuple[int, float] = (0, 0.0)):
        self.is_given = given_s is not None
        self._given_s = given_s
        count, median_s = known
        self._durations_s: deque[float] = deque([median_s] * count, maxlen=200)
        self._learnt_from = count
        self._learnt_s = max(_TIMES * median_s, _LEAST_S) if count >= _KNOWN_FROM else _GENEROUS_S

    def learn(self, duration_s: float) -> None:
        """Learn that one has ended well after that time."""
        self._durations_s.append(duration_s)
        self._learnt_from += 1
        if self._learnt_from % _KNOWN_FROM == 0:
            self._learnt_s = max(_TIMES * median(self._durations_s), _LEAST_S)

    @property
    def known(self) -> tuple[int, float]:
        """From how many it has learnt, and the median of their times, in seconds."""
        return len(self._durations_s), median(self._durations_s or (0.0,))

    @property
    def s(self) -> float:
        return self._learnt_s if self._given_s is None else self._given_s

    def s_for(self, is_second_chance: bool) -> float:
        """The limit, for a job that has failed before or would fail for good, or for another."""
        return self.s * 2.0 if is_second_chance and not self.is_given else self.s

    def origin(self, name: str) -> str:
        """How a limit was learnt, and how to give one; '' for one that was given."""
        if self.is_given:
            return ""
        count = len(self._durations_s)
        known = (
            f"learnt from {count} that ended well, after {median(self._durations_s):.2g} s by their median"
            if count >= _KNOWN_FROM
            else f"as long as fewer than {_KNOWN_FROM} have ended well"
        )
        return f" (a limit {known}; Campaign({name}=…) gives one)"
