"""When and for how long the done jobs were worked at, as columns of numbers: 28 bytes a job (NumPy)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Timings"]


class Timings:
    """For each done job: its id, the place of its session in session_ids, how long it took, when it ended.

    lots: rows that begin with id, session_id, grab_ts, end_ts, as the store gives them. Times are in seconds.
    """

    def __init__(self, lots: Iterable[Sequence[tuple[Any, ...]]]):
        import numpy as np

        places: dict[int | None, int] = {}
        ids, sessions = [np.array([], np.int64)], [np.array([], np.int32)]
        took_s, end_ts = [np.array([])], [np.array([])]
        for lot in lots:
            ids.append(np.array([row[0] for row in lot], np.int64))
            sessions.append(np.array([places.setdefault(row[1], len(places)) for row in lot], np.int32))
            end_ts.append(np.array([row[3] for row in lot], np.float64))
            took_s.append(end_ts[-1] - np.array([row[2] for row in lot], np.float64))
        # One after the other: of ten million jobs there is room for one column twice.
        self.ids, self.sessions = _whole(ids), _whole(sessions)
        self.took_s, self.end_ts = _whole(took_s), _whole(end_ts)
        self.session_ids = list(places)

    def __len__(self) -> int:
        return len(self.ids)

    def quantile_s(self, share: float) -> float:
        """The time within which that share of the jobs was done."""
        import numpy as np

        return float(np.quantile(self.took_s, share))

    def slowest(self, count: int) -> list[tuple[int, float]]:
        """(id, seconds) of the jobs that took longest, the longest first."""
        import numpy as np

        count = min(count, len(self))
        if not count:
            return []
        last = np.argpartition(self.took_s, len(self) - count)[len(self) - count :]
        return sorted(((int(self.ids[at]), float(self.took_s[at])) for at in last), key=lambda one: -one[1])

    def ended_before(self, ts: float) -> int:
        """How many jobs had been done by then."""
        return int((self.end_ts < ts).sum())

    def jobs_also_in(self, other: Timings) -> int:
        """How many different jobs are in both."""
        import numpy as np

        # A bit for each id is many times faster than sets.
        last = max(int(one.ids.max(initial=0)) for one in (self, other))
        here, there = np.zeros(last + 1, bool), np.zeros(last + 1, bool)
        here[self.ids] = there[other.ids] = True
        return int((here & there).sum())

    def done_by_session(self) -> dict[int | None, int]:
        """How many each session has done, by its id."""
        import numpy as np

        counts = np.bincount(self.sessions, minlength=len(self.session_ids))
        return {session: int(count) for session, count in zip(self.session_ids, counts)}

    def steady_spread(self, count: int) -> list[int]:
        """Ids of at most so many jobs, evenly spread; most stay the same while more are done."""
        import numpy as np

        every = 1
        while len(self) > count * every:
            every *= 2
        return [int(one) for one in np.sort(self.ids)[::every]]

    def spread(self, count: int) -> list[int]:
        """Ids of so many jobs, evenly spread over those that are done in the order in which they were added."""
        import numpy as np

        if not len(self):
            return []
        places = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(np.int64))
        return [int(one) for one in np.sort(self.ids)[places]]


def _whole(parts: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """The column whose parts these are, which are let go of."""
    import numpy as np

    whole: np.ndarray[Any, Any] = np.concatenate(parts)
    parts.clear()
    return whole
