"""The plain, frozen data that the layers exchange; no I/O."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from runner.errors import CampaignError


class Status(str, Enum):
    """Where a job stands. The values are what the database holds."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Policy:
    """How a campaign treats its jobs.

    max_failures: a job is set aside after its render raised this many times.
    max_crashes: a job is set aside after its browser or process died this many times.
    backoff_s: wait before the second attempt, in seconds; doubles with each failure.
    backoff_max_s: the longest such wait, in seconds.
    timeout_s: limit of one attempt, in seconds; None: see limits.TimeLimit.
    stall_s: limit of one step of a job of many steps, in seconds; None: likewise.
    on_suspect: what becomes of a job with a picture that may be wrong (all of one colour, or the same
    bytes as the one before): 'keep' marks it, 'retry' tries again and marks it if the last attempt is
    no better, 'fail' counts it as a failure.
    on_stray: what becomes of a job that left tasks running that it had not awaited: 'fail' or 'warn'.
    """

    max_failures: int = 3
    max_crashes: int = 3
    backoff_s: float = 1.0
    backoff_max_s: float = 600.0
    timeout_s: float | None = None
    stall_s: float | None = None
    on_suspect: str = "keep"
    on_stray: str = "fail"


def canonical_json(params: Mapping[str, Any]) -> str:
    """The single text for equal params: sorted keys, no spaces, no NaN.

    Raises CampaignError when params is not a mapping from strings to JSON values.
    """
    if not isinstance(params, Mapping):
        raise CampaignError(f"a job's params must be a dict, got {type(params).__name__}: {params!r:.80}")
    try:
        text = _ENCODE(params)
    except (TypeError, ValueError, RecursionError) as error:
        raise CampaignError(
            f"a job's params are not JSON ({error}): {_short(params)}. "
            "Use numbers, strings, booleans, None, lists and dicts; "
            "convert NumPy's values with .tolist(), and NaN, such as an empty cell of a table, to None"
        ) from None
    _refuse_other_names(params)
    return text


def _short(params: Mapping[str, Any]) -> str:
    """What they are, as far as Python writes them."""
    try:
        return f"{dict(params)!r:.120}"
    except (ValueError, RecursionError):
        return f"those named {list(params)!r:.120}"


def _refuse_other_names(value: Any) -> None:
    """Refuse names that are not strings: json.dumps turns {1: …} into {"1": …}, and two jobs would look like one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise CampaignError(f"a job's param names must be strings: {value!r:.120}")
            if isinstance(inner, (dict, list, tuple)):
                _refuse_other_names(inner)
    else:
        for inner in value:
            if isinstance(inner, (dict, list, tuple)):
                _refuse_other_names(inner)


_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def content_key(params_json: str) -> str:
    """The key of a job without a given one: blake2b-128 of its canonical JSON, as 32 hex digits."""
    return hashlib.blake2b(params_json.encode(), digest_size=16).hexdigest()


def seed_of(campaign_name: str, key: str) -> int:
    """The seed of a job's randomness, of 32 bits: the same each time, on every machine."""
    name = f"{campaign_name}\0{key}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "big")


def metrics_to_json(metrics: Mapping[str, Any]) -> tuple[str, str | None]:
    """A job's metrics as a row stores them: an object of JSON values, and its marks.

    JSON cannot express NaN and infinities: they become null, and the marks, also an object, name each of them ("NaN",
    "Infinity", "-Infinity"). Marks are None where there are no such numbers.
    """
    try:
        return _ENCODE_METRICS(dict(metrics)), None
    except ValueError:
        marks = {
            name: _ENCODE_ANY(value)
            for name, value in metrics.items()
            if isinstance(value, float) and not math.isfinite(value)
        }
        plain = {name: None if name in marks else value for name, value in metrics.items()}
        return _ENCODE_METRICS(plain), _ENCODE_METRICS(marks)


def metrics_from_json(metrics: str, marks: str | None) -> dict[str, Any]:
    """The inverse of metrics_to_json; NaN and infinities are floats again."""
    values: dict[str, Any] = json.loads(metrics)
    return with_marks(values, marks)


def with_marks(metrics: dict[str, Any], marks: str | None) -> dict[str, Any]:
    """Decoded metrics with NaN and infinities restored from the marks."""
    if marks is not None:
        metrics |= {name: float(number) for name, number in json.loads(marks).items()}
    return metrics


_ENCODE_METRICS = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_ENCODE_ANY = json.JSONEncoder().encode


@dataclass(frozen=True)
class Job:
    """One unit of rendering, as a campaign's jobs function yields it.

    params: a dict of JSON values.
    key: the job's name within its campaign; None means a hash of the params.
    priority: higher goes first.
    """

    params: Mapping[str, Any]
    key: str | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        if type(self.priority) is not int or not -(1 << 31) <= self.priority < 1 << 31:
            raise CampaignError(f"a job's priority is an integer of 32 bits, got {self.priority!r:.80}")

    @classmethod
    def of(cls, value: Any) -> Job:
        """Make a Job from whatever a jobs function may yield: a Job, a dict of params, or a pair (key, params)."""
        if isinstance(value, Job):
            return value
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Mapping):
            if not isinstance(value[0], str):
                raise CampaignError(f"a job's key is text, got {value[0]!r:.80}: write str({value[0]!r:.80})")
            return cls(params=value[1], key=value[0])
        return cls(params=value)


class Lease(NamedTuple):
    """A worker's claim on a job. (worker_id, attempt) is the fence: only its holder may settle the job."""

    job_id: int
    campaign_id: int
    worker_id: int
    attempt: int
    key: str
    params: dict[str, Any]
    failures: int
    crashes: int
    created_ts: float
    grab_ts: float
    session_id: int | None = None

    def __str__(self) -> str:
        return f"job {self.key} (attempt {self.attempt})"


@dataclass(frozen=True)
class Artifact:
    """A file that a job produced.

    path: relative to the results folder, with forward slashes.
    size: bytes. sha256: hex. kind: a media type such as image/jpeg.
    start: the byte in path at which it begins, if path is a shard of many files; None: path is the file itself.
    """

    name: str
    path: str
    size: int
    sha256: str
    kind: str
    start: int | None = None

    @property
    def extent(self) -> Extent:
        return Extent(self.path, self.start, self.size)


class Extent(NamedTuple):
    """Where a file's bytes are stored: path, start and size as in its Artifact."""

    path: str
    start: int | None
    size: int


class ShardEnd(NamedTuple):
    """The valid part of a shard: its first `size` bytes hold the files of so many jobs.

    path: relative to the results folder, with forward slashes.
    """

    path: str
    size: int
    jobs: int


class StoredBytes(NamedTuple):
    """How many bytes of a campaign are in an object store, in how many shards, and how many are still on the disk."""

    shards: int
    moved: int
    waiting: int


@dataclass(frozen=True)
class Phases:
    """Where the time of an attempt's render went, in seconds.

    waited_s: pictures waited for files that the scene loads. drawn_s: the rest of the time from asking for pictures to
    getting them. rendered_s: the whole render.
    """

    waited_s: float
    drawn_s: float
    rendered_s: float

    def to_text(self) -> str:
        """As it is stored."""
        return f"{self.waited_s:.4g} {self.drawn_s:.4g} {self.rendered_s:.4g}"

    @classmethod
    def from_text(cls, text: str | None) -> Phases | None:
        """From the stored text; None where nothing was stored."""
        return cls(*map(float, text.split())) if text else None

    def parts(self, took_s: float) -> dict[str, float]:
        """Seconds by where they went. took_s: from claim to end. The rest of the render is its own code."""
        code_s = max(0.0, self.rendered_s - self.waited_s - self.drawn_s)
        settled_s = max(0.0, took_s - self.rendered_s)
        parts = {"assets": self.waited_s, "drawing": self.drawn_s, "code": code_s, "settling": settled_s}
        return {name: round(seconds, 4) for name, seconds in parts.items()}


@dataclass(frozen=True)
class Outcome:
    """What a finished attempt hands over: its files and its metrics (numbers, strings, booleans, None).

    has_checkpoint: the job has a checkpoint, to be removed when it is done. suspicion: which of its pictures may be
    wrong though they are whole, and why; '' for most. phases: where the render's time went; None if unknown.
    """

    artifacts: tuple[Artifact, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    has_checkpoint: bool = False
    suspicion: str = ""
    phases: Phases | None = None


@dataclass(frozen=True)
class Finished:
    """An attempt that has finished on disk, whether or not the database knows it; times in Unix seconds."""

    outcome: Outcome
    attempt: int
    worker_id: int
    session_id: int | None
    grab_ts: float
    end_ts: float


@dataclass(frozen=True)
class Checkpoint:
    """How far a job of many steps has come: finished steps, their files, and the metrics so far.

    scene: the scene that the steps have made, as a text; None where it cannot be expressed.
    """

    step: int = 0
    artifacts: tuple[Artifact, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    scene: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a campaign was read from and where its files go; absolute paths, for people and reports.

    remote: the URL of an object store to which shards go from the results folder, where there is one.
    """

    file: str | None = None
    results: str | None = None
    remote: str | None = None


@dataclass(frozen=True)
class Provenance:
    """What a browser tab's pictures were drawn with.

    name: of the tab. browser: its user agent. renderer: as WebGL names it. client: versions of the web
    client's parts. runner, vuer: versions of the packages. file_sha256: of the campaign file.
    settings: the values that the user gave with --set.
    """

    name: str
    browser: str = ""
    renderer: str = ""
    client: Mapping[str, Any] = field(default_factory=dict)
    runner: str = ""
    vuer: str = ""
    file_sha256: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Source(NamedTuple):
    """A file that pictures were made from, as it was when it was first used.

    ts: when, in Unix seconds. name: its path below the campaign's folder. digest: a hash of its content.
    """

    ts: float
    name: str
    digest: str


@dataclass(frozen=True)
class Added:
    """The result of adding jobs: new ones, and those the campaign already had."""

    new: int
    known: int


@dataclass(frozen=True)
class Progress:
    """Counts of one campaign's jobs; pending includes jobs that wait for a retry."""

    total: int
    done: int
    failed: int
    in_progress: int

    @property
    def pending(self) -> int:
        return self.total - self.done - self.failed - self.in_progress

    @property
    def left(self) -> int:
        """Jobs that are neither done nor failed."""
        return self.total - self.done - self.failed
