"""How fast a run is, and when it will be over; silent as long as that is unknown."""

from __future__ import annotations

import time
from collections import deque

__all__ = ["Pace", "left_text", "rate_text"]

_WINDOW_S = 120.0
# With so many jobs, and after so many seconds, a rate is more than chance.
_LEAST_JOBS, _LEAST_S = 5, 3.0
_LEAST_JOBS_IN_LONG, _LONG_S = 2, 60.0


class Pace:
    """How fast jobs have been settled in the last two minutes. Times are in seconds, by a monotonic clock.

    rate: jobs a second; left_s: how long the rest will take. None as long as that is unknown.
    """

    def __init__(self) -> None:
        self.rate: float | None = None
        self.left_s: float | None = None
        self._seen: deque[tuple[float, int]] = deque()

    def look(self, now: float, settled: int, left: int, is_standing: bool = False) -> None:
        """Note the progress. is_standing: paused, by people or by the machine; that time does not count."""
        if is_standing:
            self._seen.clear()
            self.rate = self.left_s = None
            return
        # The time before the first job is for the browsers' start.
        if len(self._seen) == 1 and self._seen[0][1] == settled:
            self._seen.clear()
        self._seen.append((now, settled))
        while len(self._seen) > 2 and now - self._seen[1][0] > _WINDOW_S:
            self._seen.popleft()
        since, before = self._seen[0]
        count, spent_s = settled - before, now - since
        is_known = (count >= _LEAST_JOBS and spent_s >= _LEAST_S) or (
            count >= _LEAST_JOBS_IN_LONG and spent_s >= _LONG_S
        )
        self.rate = count / spent_s if is_known else None
        self.left_s = left / self.rate if self.rate else None


def rate_text(rate: float) -> str:
    """The rate, in the unit in which it has a few digits."""
    if rate >= 1.0:
        return f"{rate:.1f}/s"
    return f"{rate * 60:.1f}/min" if rate * 60 >= 1.0 else f"{rate * 3600:.1f}/h"


def left_text(left_s: float, now_ts: float | None = None) -> str:
    """How long it will take, and the local time at its end, as in `12 min left (03:14)`."""
    now_ts = time.time() if now_ts is None else now_ts
    end = time.localtime(now_ts + left_s)
    is_today = end[:3] == time.localtime(now_ts)[:3]
    clock = time.strftime("%H:%M" if is_today or left_s < 43_200 else "%a %H:%M", end)
    if left_s < 90:
        duration = f"{left_s:.0f} s"
    elif left_s < 5400:
        duration = f"{left_s / 60:.0f} min"
    else:
        duration = f"{left_s / 3600:.1f} h"
    return f"{duration} left ({clock})"
