"""The summary of a campaign. Text, JSON, CSV, Markdown and the page are all made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from runner.job import Progress
from runner.store import CampaignRow

__all__ = [
    "PARTS",
    "ChangedSource",
    "Counts",
    "Disk",
    "Durations",
    "Event",
    "Failures",
    "Run",
    "Session",
    "Since",
    "Slow",
    "Summary",
    "Suspect",
    "Tries",
]

# Pictures may differ where one of these differs.
PARTS = {
    "renderer": "WebGL renderer",
    "browser": "browser",
    "client": "web client",
    "vuer": "Vuer's version",
    "runner": "runner's version",
    "file_sha256": "campaign file (sha256)",
}


@dataclass(frozen=True)
class Durations:
    """How long the done jobs took, in seconds."""

    median: float
    p95: float
    longest: float
    longest_key: str


@dataclass(frozen=True)
class Slow:
    """One of the slowest jobs: when it was added, claimed and done (Unix seconds), at which attempt.

    parts: seconds by where they went, as from Phases.parts; empty if unknown.
    """

    key: str
    took_s: float
    created_ts: float
    grab_ts: float
    end_ts: float
    attempt: int
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """The last run alone: when it began and was last seen (Unix seconds), and what it has done."""

    started_ts: float
    seen_ts: float
    done: int
    jobs_per_s: float | None


@dataclass(frozen=True)
class Disk:
    """Bytes of all results, estimated from the last ones; of the jobs that are left, likewise; free on that disk."""

    used: int
    left: int
    free: int


@dataclass(frozen=True)
class Event:
    """An event of the runs, and how often it happened; times in Unix seconds.

    is_routine: a browser was replaced in good time, as planned.
    """

    kind: str
    message: str
    count: int
    first_ts: float
    last_ts: float
    is_routine: bool = False


@dataclass(frozen=True)
class ChangedSource:
    """A file that pictures are made from has changed: when (Unix seconds), and the jobs done before and after."""

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
    """Failed jobs with one reason; key, example and traceback are of the first of them.

    sessions: in how many browser tabs it came up; one means a bad browser, all a bad scene. evidence: the absolute path
    of a last picture.
    """

    reason: str
    count: int
    sessions: int
    key: str
    example: str
    traceback: tuple[str, ...]
    evidence: str | None


@dataclass(frozen=True)
class Tries:
    """Attempts that failed or crashed for one reason, also of jobs that were done later; by_session: by its name."""

    reason: str
    count: int
    by_session: Mapping[str, int]


@dataclass(frozen=True)
class Session:
    """A browser tab: when it began (Unix seconds), how many jobs it has done, how many of its attempts failed."""

    name: str
    started_ts: float
    done: int
    tries: int


@dataclass(frozen=True)
class Since:
    """Changes since the last look, at made_ts (Unix seconds): differences of counts, reasons that came and went."""

    made_ts: float
    done: int
    failed: int
    suspects: int
    new_reasons: tuple[str, ...]
    gone_reasons: tuple[str, ...]


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
class Stored:
    """How much of a campaign's files is in an object store, in so many shards, and how much waits on the disk."""

    shards: int
    stored_bytes: int
    waiting_bytes: int


@dataclass(frozen=True)
class Summary(Counts):
    """Everything the report says about one campaign; times in seconds, paths absolute, None where there is nothing.

    looked_in: where the results should be. folders: if each runner has its own results, the number of done jobs in each
    folder, by HOST:PATH. drawn_with: for each of PARTS, how many done jobs each value has drawn. attempts: those that
    did not end well, by outcome. done_after_retry: done jobs that had failed before. failures, tries: the most frequent
    reasons; failure_reasons: how many there are in all. next: commands to type, in this order. remote: the object store
    to which the last run's files went; stored: how much is in one. made_ts: the time of this summary. version: of these
    fields and their meaning.
    """

    file: str | None
    looked_in: str | None
    results: str | None
    contact_sheet: str | None
    suspects_sheet: str | None
    failures_sheet: str | None
    log: str | None
    made_ts: float
    done_after_retry: int
    runs: int
    last_run: Run | None
    active_s: float
    jobs_per_s: float | None
    duration_s: Durations | None
    slowest: tuple[Slow, ...]
    disk: Disk | None
    attempts: Mapping[str, int]
    drawn_with: Mapping[str, Mapping[str, int]]
    changed_sources: tuple[ChangedSource, ...]
    events: tuple[Event, ...]
    sessions: tuple[Session, ...]
    suspects: tuple[Suspect, ...]
    failures: tuple[Failures, ...]
    failure_reasons: int
    tries: tuple[Tries, ...]
    next: tuple[str, ...]
    since: Since | None = None
    remote: str | None = None
    stored: Stored | None = None
    folders: Mapping[str, int] = field(default_factory=dict)
    version: int = 2

    @property
    def left(self) -> int:
        return self.pending + self.in_progress

    @property
    def verdict(self) -> str:
        """The state in one line."""
        if not self.total:
            return f"{self.campaign}: no jobs"
        if self.left:
            state = "unfinished" if self.state == "open" else self.state
            return f"{self.campaign}: {state}, {self.left:,} of {self.total:,} jobs are left"
        if self.failed:
            return f"{self.campaign}: finished, but {self.failed:,} of {self.total:,} jobs failed"
        verdict = f"{self.campaign}: all {self.total:,} jobs are done"
        is_waiting = self.remote and self.stored and self.stored.waiting_bytes
        return f"{verdict}, but not all of their files are in {self.remote}" if is_waiting else verdict

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """A small table for notebooks."""
        rate = "" if self.jobs_per_s is None else f"{self.jobs_per_s:.2f} jobs/s"
        rows = [
            ("done", f"{self.done:,} of {self.total:,}"),
            ("failed", f"{self.failed:,}"),
            ("left", f"{self.left:,}" + ("" if self.state == "open" else f" ({self.state})")),
            ("may be wrong", f"{len(self.suspects):,}"),
            ("rate", rate),
            ("results", self.results or ""),
            *((f"{group.count:,} failed", group.reason) for group in self.failures[:5]),
        ]
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(told)}</td></tr>" for name, told in rows if told
        )
        return f"<table><caption>{escape(self.campaign)}</caption>{cells}</table>"
