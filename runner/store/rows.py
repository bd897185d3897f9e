"""Rows as they leave the store: the type of each column, for readers and type checkers. Times are Unix seconds."""

from __future__ import annotations

from typing import Any, TypedDict

from runner.job import Extent, Phases

__all__ = [
    "ArtifactRow",
    "AttemptOfTabRow",
    "AttemptRow",
    "CampaignRow",
    "EndedRow",
    "EventRow",
    "FailureRow",
    "FileRow",
    "JobBriefRow",
    "JobRow",
    "ResultRow",
    "SessionRow",
    "ShownJobRow",
    "WholeJobRow",
    "WorkerRow",
    "first_picture",
]


class CampaignRow(TypedDict):
    """A campaign; see schema.sql."""

    id: int
    name: str
    state: str
    max_failures: int
    max_crashes: int
    backoff_s: float
    backoff_max_s: float
    total: int
    done: int
    failed: int
    file: str | None
    results: str | None
    parameters: str | None
    created_ts: float
    remote: str | None


class JobRow(TypedDict):
    """A job, its params decoded; see schema.sql."""

    id: int
    campaign_id: int
    key: str
    params: dict[str, Any]
    status: str
    priority: int
    attempt: int
    failures: int
    crashes: int
    worker_id: int | None
    session_id: int | None
    created_ts: float
    not_before_ts: float | None
    grab_ts: float | None
    end_ts: float | None
    error: str | None


class ArtifactRow(TypedDict):
    """A file of a job; see schema.sql."""

    job_id: int
    name: str
    path: str
    size: int
    sha256: str
    kind: str
    start: int | None


class WholeJobRow(JobRow):
    """A job with its results: its metrics, its files by name, and the tab that drew it.

    browser and renderer are None where no tab is on record; there are files for a done job only.
    """

    metrics: dict[str, Any]
    browser: str | None
    renderer: str | None
    artifacts: list[ArtifactRow]


class WorkerRow(TypedDict):
    """A runner process; see schema.sql."""

    id: int
    campaign_id: int
    host: str
    boot: str
    pid: int
    pid_start: str
    beat: int
    state: str
    started_ts: float
    beat_ts: float
    folder: str | None


class SessionRow(TypedDict):
    """A browser tab, client and settings decoded; see schema.sql."""

    id: int
    campaign_id: int
    worker_id: int
    name: str
    browser: str
    renderer: str
    client: dict[str, Any]
    runner: str
    vuer: str
    file_sha256: str | None
    settings: dict[str, Any]
    started_ts: float


class EndedRow(TypedDict):
    """The end of an attempt that did not end well."""

    job_id: int
    attempt: int
    outcome: str


class AttemptRow(EndedRow):
    """The same, with its job's key; see schema.sql."""

    worker_id: int
    session_id: int | None
    error: str | None
    traceback: str | None
    grab_ts: float
    end_ts: float
    key: str


class AttemptOfTabRow(EndedRow):
    """An attempt, and the name and renderer of its tab; None where none is on record."""

    worker_id: int
    error: str | None
    traceback: str | None
    grab_ts: float
    end_ts: float
    session: str | None
    renderer: str | None


class EventRow(TypedDict):
    """An event of a run, not of a single job."""

    ts: float
    kind: str
    message: str
    worker_id: int


class ShownJobRow(JobRow):
    """A job with all that is shown of it: metrics, suspicion, its tab's name, and its files' places and kinds.

    phases: where the time of a done one went.
    """

    metrics: dict[str, Any]
    suspicion: str | None
    phases: Phases | None
    session: str | None
    files: list[tuple[Extent, str]]


def first_picture(row: ShownJobRow) -> Extent | None:
    """The place of its first file that is a picture."""
    return next((extent for extent, kind in row["files"] if kind.startswith("image/")), None)


class FailureRow(TypedDict):
    """A failed job, in short."""

    id: int
    key: str
    error: str | None
    attempt: int


class JobBriefRow(TypedDict):
    """A job in brief."""

    id: int
    key: str
    status: str
    attempt: int


class FileRow(ArtifactRow):
    """A file with its job's key and status, and the worker that did the job."""

    key: str
    status: str
    worker_id: int | None


class ResultRow(TypedDict):
    """A done job, its params and metrics decoded; id: of the result; it grows as jobs are done."""

    id: int
    key: str
    attempt: int
    grab_ts: float
    end_ts: float
    params: dict[str, Any]
    metrics: dict[str, Any]
