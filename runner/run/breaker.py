"""Decides when so many attempts fail that the run should halt."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection

from runner.reasons import common_reason, normalized


class Breaker:
    """Decides when so many of the last attempts failed that the run should halt.

    share: of the last WINDOW attempts; None never halts. It counts different failed jobs, so neither one bad job with
    many attempts nor a handful of bad jobs halts the run: with a share of 20 %, ten failing jobs among the first ten
    do, nine do not.
    """

    WINDOW = 50

    def __init__(self, share: float | None):
        self._share = share
        self._last: deque[tuple[int, int, str]] = deque(maxlen=self.WINDOW)
        self._has_tripped = False

    def add(self, job_id: int, attempt: int, error: str = "") -> str:
        """Count an attempt, with its error if it failed; returns why to stop, or ''."""
        self._last.append((job_id, attempt, error))
        if self._share is None or not error:
            return ""
        failed = [error for _, _, error in self._last if error]
        if len({job for job, _, error in self._last if error}) < self._share * self.WINDOW:
            return ""
        if not self._has_tripped:
            # Attempts that fail before the run has stopped are added, however many.
            self._has_tripped, self._last = True, deque(self._last)
        most, times = Counter(map(normalized, failed)).most_common(1)[0]
        alike = "all" if times == len(failed) else f"{times} of them"
        reason = common_reason(error for error in failed if normalized(error) == most)
        return f"{len(failed)} of the last {len(self._last)} attempts failed, {alike} with {reason}"

    def forget(self, attempts: Collection[tuple[int, int]]) -> None:
        """These were not the jobs' fault."""
        if not self._has_tripped:
            kept = (one for one in self._last if one[:2] not in attempts)
            self._last = deque(kept, maxlen=self.WINDOW)

    def charged(self) -> list[tuple[int, int]]:
        """The failed ones among the last attempts: job id and number."""
        return [(job, attempt) for job, attempt, error in self._last if error]
