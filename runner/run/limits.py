"""How long an attempt may take: as given, or as the campaign's own attempts have shown."""

from __future__ import annotations

from collections import deque
from statistics import median

__all__ = ["TimeLimit"]

_KNOWN_FROM, _TIMES = 20, 20.0
_GENEROUS_S, _LEAST_S = 600.0, 30.0


class TimeLimit:
    """The limit of one attempt, or of one step of it, in seconds.

    given_s: by the campaign. Where it gives none: ten minutes at first, and once twenty have ended well,
    twenty times their median, but not less than half a minute.
    """

    def __init__(self, given_s: float | None):
        self.is_given = given_s is not None
        self._given_s = given_s
        self._durations_s: deque[float] = deque(maxlen=200)
        self._learnt_s = _GENEROUS_S

    def learn(self, duration_s: float) -> None:
        """One has ended well after that time."""
        self._durations_s.append(duration_s)
        count = len(self._durations_s)
        if count >= _KNOWN_FROM and (count == _KNOWN_FROM or count % _KNOWN_FROM == 0):
            self._learnt_s = max(_TIMES * median(self._durations_s), _LEAST_S)

    @property
    def s(self) -> float:
        return self._learnt_s if self._given_s is None else self._given_s
