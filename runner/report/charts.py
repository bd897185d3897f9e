"""The data for the page's charts: rates, a lane for each browser, marks, job times; all in bins (NumPy)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.reasons import one_line
from runner.report.timings import Timings
from runner.store import EventRow, SessionRow, WorkerRow

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Hours", "Lane", "Mark", "Spread", "Stop", "hours_of", "spread_of"]

_BINS, _MARKS = 240, 300
_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
# Runs further apart than this are two nights; the last night is drawn.
_GAP_S = 12 * 3600.0


@dataclass(frozen=True)
class Lane:
    """One browser and its replacements: for each bin, the share of time at work, and how many tries failed.

    began_ts: when each of its tabs began, in Unix seconds.
    """

    name: str
    busy: tuple[float, ...]
    failed: tuple[int, ...]
    began_ts: tuple[float, ...]


@dataclass(frozen=True)
class Mark:
    """An event of the run at that time (Unix seconds)."""

    ts: float
    kind: str
    message: str


@dataclass(frozen=True)
class Stop:
    """A pause, from when to when (Unix seconds), and why."""

    from_ts: float
    to_ts: float
    message: str


@dataclass(frozen=True)
class Hours:
    """The last night in bins of bin_s seconds from start_ts on: how many jobs were done, how many tries failed."""

    start_ts: float
    bin_s: float
    done: tuple[int, ...]
    failed: tuple[int, ...]
    lanes: tuple[Lane, ...]
    marks: tuple[Mark, ...]
    stops: tuple[Stop, ...]


@dataclass(frozen=True)
class Spread:
    """A histogram of job times: counts between edges_s (seconds), and how many took longer than the last edge."""

    edges_s: tuple[float, ...]
    counts: tuple[int, ...]
    longer: int


def hours_of(
    done: Timings,
    failed: Timings,
    workers: Sequence[WorkerRow],
    sessions: Sequence[SessionRow],
    events: Sequence[EventRow],
    name_of: Callable[[int | None], str],
) -> Hours | None:
    """The last night; None where nothing is known of it. done, failed: of jobs, and of tries that failed."""
    import numpy as np

    start_ts, end_ts = _last_night(workers, np.concatenate((done.end_ts, failed.end_ts)))
    if end_ts <= start_ts:
        return None
    bin_s = next((width for width in _WIDTHS_S if (end_ts - start_ts) / width <= _BINS), _WIDTHS_S[-1])
    edges = start_ts + bin_s * np.arange(int((end_ts - start_ts) // bin_s) + 2)
    began: dict[str, list[float]] = {}
    for row in sessions:
        began.setdefault(_lane_name(name_of(row["id"])), []).append(row["started_ts"])
    lanes = []
    for name, times in sorted(began.items(), key=lambda item: _in_numbers(item[0])):
        worked, broken = (_of_lane(timings, name, name_of) for timings in (done, failed))
        busy = _busy_share(done, worked, edges) + _busy_share(failed, broken, edges)
        lanes.append(
            Lane(
                name,
                tuple(round(float(share), 3) for share in np.minimum(busy, 1.0)),
                _counts(failed.end_ts[broken], edges),
                tuple(ts for ts in times if start_ts <= ts <= edges[-1]),
            )
        )
    return Hours(
        start_ts=start_ts,
        bin_s=float(bin_s),
        done=_counts(done.end_ts, edges),
        failed=_counts(failed.end_ts, edges),
        lanes=tuple(lane for lane in lanes if any(lane.busy) or lane.began_ts),
        marks=tuple(_marks(events, start_ts, end_ts)),
        stops=tuple(_stops(events, start_ts, end_ts)),
    )


def spread_of(done: Timings) -> Spread | None:
    """The histogram of job times; None without any."""
    import numpy as np

    if not len(done):
        return None
    most_s = 1.02 * done.quantile_s(0.99) or 1.0
    counts, edges = np.histogram(done.took_s, bins=40, range=(0.0, most_s))
    longer = int((done.took_s > most_s).sum())
    return Spread(tuple(round(float(edge), 5) for edge in edges), tuple(map(int, counts)), longer)


def _last_night(workers: Sequence[WorkerRow], ends: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Its start and end. ends: of all attempts."""
    spans = sorted((worker["started_ts"], worker["beat_ts"]) for worker in workers)
    if not spans:
        return (float(ends.min()), float(ends.max())) if len(ends) else (0.0, 0.0)
    start_ts, end_ts = spans[0]
    for began, seen in spans[1:]:
        start_ts = began if began - end_ts > _GAP_S else start_ts
        end_ts = max(end_ts, seen)
    # Jobs may end after the last beat.
    return start_ts, max(end_ts, float(ends.max())) if len(ends) else end_ts


def _lane_name(session: str) -> str:
    """browser-2 of browser-2.3 and of another run's browser-2 (2)."""
    return session.split(" (")[0].split(".")[0]


def _in_numbers(name: str) -> tuple[int, str]:
    return len(name), name


def _of_lane(timings: Timings, name: str, name_of: Callable[[int | None], str]) -> np.ndarray[Any, Any]:
    """Which of the times belong to that lane's sessions."""
    import numpy as np

    wanted = np.array([_lane_name(name_of(session)) == name for session in timings.session_ids], bool)
    return wanted[timings.sessions] if len(timings) else np.array([], bool)


def _counts(ends: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]) -> tuple[int, ...]:
    import numpy as np

    return tuple(map(int, np.histogram(ends, edges)[0]))


def _busy_share(
    timings: Timings, chosen: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The share of each bin that was spent at work."""
    import numpy as np

    ends = np.sort(timings.end_ts[chosen])
    begins = np.sort(timings.end_ts[chosen] - timings.took_s[chosen])

    def since(times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """At each edge, the summed seconds since all times before it."""
        counts = np.searchsorted(times, edges)
        sums = np.concatenate(([0.0], np.cumsum(times - edges[0])))
        return np.asarray(counts * (edges - edges[0]) - sums[counts])

    share: np.ndarray[Any, Any] = np.diff(since(begins) - since(ends)) / (edges[1] - edges[0])
    return share


def _marks(events: Iterable[EventRow], start_ts: float, end_ts: float) -> list[Mark]:
    """At most a few hundred, evenly thinned."""
    marks = [
        Mark(event["ts"], event["kind"], one_line(event["message"], 160))
        for event in events
        if start_ts <= event["ts"] <= end_ts and event["kind"] not in ("pause", "resume")
    ]
    every = -(-len(marks) // _MARKS) or 1
    return marks[::every]


def _stops(events: Iterable[EventRow], start_ts: float, end_ts: float) -> list[Stop]:
    stops = []
    began: EventRow | None = None
    for event in events:
        if event["kind"] == "pause" and began is None:
            began = event
        elif event["kind"] == "resume" and began is not None:
            stops.append(Stop(began["ts"], event["ts"], one_line(began["message"], 160)))
            began = None
    if began is not None:
        stops.append(Stop(began["ts"], end_ts, one_line(began["message"], 160)))
    return [stop for stop in stops if stop.to_ts >= start_ts and stop.from_ts <= end_ts][-_MARKS:]
