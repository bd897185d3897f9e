"""The morning report: what happened, why, and which command to type next."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from runner.commands import Commands
from runner.job import Progress, Source
from runner.reasons import common_reason, normalized, one_line
from runner.store import CampaignRow, EventRow, FailureRow, Reader

__all__ = [
    "PARTS",
    "ChangedSource",
    "Counts",
    "Durations",
    "Event",
    "Failures",
    "Summary",
    "Suspect",
    "summarize",
]

# Pictures may differ where one of these does.
PARTS = {
    "renderer": "WebGL renderer",
    "browser": "browser",
    "client": "web client",
    "vuer": "Vuer's version",
    "runner": "runner's version",
    "file_sha256": "campaign file (sha256)",
}
# The end of a traceback is the user's own line.
_TRACEBACK_LINES = 4


@dataclass(frozen=True)
class Durations:
    """How long the done jobs took, in seconds."""

    median: float
    p95: float
    longest: float
    longest_key: str


@dataclass(frozen=True)
class Event:
    """What befell the runs, as often as it did; times in Unix seconds."""

    kind: str
    message: str
    count: int
    first_ts: float
    last_ts: float


@dataclass(frozen=True)
class ChangedSource:
    """A file that pictures are made of changed: when (Unix seconds), and how many jobs were done before and after."""

    name: str
    ts: float
    before: int
    after: int


@dataclass(frozen=True)
class Suspect:
    """A done job with a picture that may be wrong."""

    key: str
    reason: str


@dataclass(frozen=True)
class Failures:
    """Failed jobs with one reason; key, example and traceback are of the first of them."""

    reason: str
    count: int
    key: str
    example: str
    traceback: tuple[str, ...]


@dataclass(frozen=True)
class Counts:
    """How far a campaign is. state: open, paused or cancelled."""

    campaign: str
    state: str
    total: int
    done: int
    failed: int
    in_progress: int
    pending: int

    @classmethod
    def of(cls, campaign: CampaignRow, progress: Progress) -> Counts:
        """campaign: its row."""
        p = progress
        counts = (p.total, p.done, p.failed, p.in_progress, p.pending)
        return cls(campaign["name"], campaign["state"], *counts)

    def __str__(self) -> str:
        state = "" if self.state == "open" else f"{self.state}, "
        return (
            f"{self.campaign}: {state}{self.done:,} of {self.total:,} done, {self.failed:,} failed, "
            f"{self.in_progress:,} in progress, {self.pending:,} pending"
        )


@dataclass(frozen=True)
class Summary(Counts):
    """Everything the report says of one campaign; times in seconds, paths absolute, None where there is nothing.

    looked_in: where the results should be. drawn_with: of each of PARTS, how many done jobs each value has drawn.
    attempts: those that ended otherwise than well, by outcome. next: commands to type, in this order.
    version: of what these fields are and mean.
    """

    file: str | None
    looked_in: str | None
    results: str | None
    contact_sheet: str | None
    runs: int
    active_s: float
    jobs_per_s: float | None
    duration_s: Durations | None
    attempts: Mapping[str, int]
    drawn_with: Mapping[str, Mapping[str, int]]
    changed_sources: tuple[ChangedSource, ...]
    events: tuple[Event, ...]
    suspects: tuple[Suspect, ...]
    failures: tuple[Failures, ...]
    next: tuple[str, ...]
    version: int = 1

    @property
    def left(self) -> int:
        return self.pending + self.in_progress

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return asdict(self)


def summarize(store: Reader, campaign: CampaignRow) -> Summary:
    """Look at one campaign; campaign: its row."""
    campaign_id = campaign["id"]
    progress = store.progress(campaign_id)
    counts = Counts.of(campaign, progress)
    workers = store.workers(campaign_id)
    done_times = store.done_times(campaign_id)
    active_s = _union_s([(worker["started_ts"], worker["beat_ts"]) for worker in workers])
    return Summary(
        **vars(counts),
        file=campaign["file"],
        looked_in=str(Path(campaign["results"], campaign["name"])) if campaign["results"] else None,
        results=_existing(campaign["results"], campaign["name"]),
        contact_sheet=_existing(campaign["results"], campaign["name"], "contact_sheet.jpg"),
        runs=len(workers),
        active_s=round(active_s, 3),
        jobs_per_s=round(progress.done / active_s, 3) if active_s else None,
        duration_s=_durations(done_times),
        attempts=dict(Counter(attempt["outcome"] for attempt in store.attempts(campaign_id)).most_common()),
        drawn_with=_drawn_with(store, campaign_id),
        changed_sources=_changed_sources(
            store.sources(campaign_id), sorted(end_ts for _, _, end_ts in done_times)
        ),
        events=_group_events(store.events(campaign_id)),
        suspects=tuple(Suspect(key, one_line(reason)) for key, reason in store.suspects(campaign_id)),
        failures=_group_failures(store.failures(campaign_id)),
        next=_next_commands(campaign["state"], progress, Commands.of(campaign, store.database.address)),
    )


def _durations(times: list[tuple[str, float, float]]) -> Durations | None:
    if not times:
        return None
    seconds = [end_ts - grab_ts for _, grab_ts, end_ts in times]
    longest = max(range(len(seconds)), key=seconds.__getitem__)
    p95 = quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return Durations(round(median(seconds), 4), round(p95, 4), round(seconds[longest], 4), times[longest][0])


def _drawn_with(store: Reader, campaign_id: int) -> dict[str, dict[str, int]]:
    sessions: dict[int, Mapping[str, Any]] = {row["id"]: row for row in store.sessions(campaign_id)}
    drawn_with: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
    for session_id, count in store.done_by_session(campaign_id).items():
        session: Mapping[str, Any] = sessions.get(session_id or 0, {})
        for part, counts in drawn_with.items():
            value = session.get(part)
            if isinstance(value, dict):
                value = ", ".join(f"{name} {version}" for name, version in sorted(value.items()))
            if value is not None:
                counts[value] += count
    return {part: dict(counts.most_common()) for part, counts in drawn_with.items()}


def _changed_sources(sources: list[Source], ends: list[float]) -> tuple[ChangedSource, ...]:
    """Those that changed once jobs were done; ends: of the done jobs, in their order."""
    last: dict[str, str] = {}
    changes = []
    for source in sources:
        before = bisect_left(ends, source.ts)
        if last.setdefault(source.name, source.digest) != source.digest and before:
            changes.append(ChangedSource(source.name, source.ts, before, len(ends) - before))
        last[source.name] = source.digest
    return tuple(changes)


def _group_events(rows: list[EventRow]) -> tuple[Event, ...]:
    """By kind and message, in the order in which each first came."""
    groups: dict[tuple[str, str], list[EventRow]] = {}
    for row in rows:
        groups.setdefault((row["kind"], normalized(row["message"])), []).append(row)
    return tuple(
        Event(
            kind, common_reason(row["message"] for row in group), len(group), group[0]["ts"], group[-1]["ts"]
        )
        for (kind, _), group in groups.items()
    )


def _group_failures(rows: list[FailureRow]) -> tuple[Failures, ...]:
    """By their normalized reason, the most frequent first."""
    groups: dict[str, list[FailureRow]] = {}
    for row in rows:
        groups.setdefault(normalized(row["error"] or ""), []).append(row)
    return tuple(
        Failures(
            reason=common_reason(row["error"] or "" for row in group),
            count=len(group),
            key=group[0]["key"],
            example=one_line(group[0]["error"] or ""),
            traceback=tuple(
                map(one_line, (group[0]["traceback"] or "").strip().splitlines()[-_TRACEBACK_LINES:])
            ),
        )
        for group in sorted(groups.values(), key=lambda group: -len(group))
    )


def _next_commands(state: str, progress: Progress, commands: Commands) -> tuple[str, ...]:
    following = []
    if progress.failed:
        following.append(commands.verb("retry"))
    if state != "open" and (progress.failed or progress.left):
        following.append(commands.verb("resume"))
    if commands.file and (progress.failed or progress.left):
        following.append(commands.run())
    return tuple(following)


def _existing(results: str | None, *parts: str) -> str | None:
    path = Path(results, *parts) if results else None
    return str(path) if path and path.exists() else None


def _union_s(spans: list[tuple[float, float]]) -> float:
    """The length of the union of time spans: overlapping runs count once."""
    total = 0.0
    until = float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
