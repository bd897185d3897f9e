"""Artifacts on disk, written whole or not at all; and the metrics log that ML-Logger reads.

The folder of a campaign, RESULTS/CAMPAIGN/, is an ML-Logger prefix:

    parameters.pkl      the campaign's parameters
    metrics.pkl         one record a done job, in the order in which they were done
    jobs/0000/KEY/      the files of a job; 0000 counts thousands of jobs, KEY~2 is its second attempt

The database is the truth: a file without a row is never trusted, and metrics.pkl can be written
anew from the rows at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import pickle
import shutil
import threading
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping
from urllib.parse import quote

from runner.errors import ArtifactError
from runner.frames import Frame
from runner.job import Artifact, Checkpoint, Lease, Outcome
from runner.store import Store

__all__ = ["JobFiles", "MetricsLog", "ResultsFolder"]

# Without a user, importing ML-Logger prints a line to stdout, also from a campaign file (0.10.24).
os.environ.setdefault("ML_LOGGER_USER", "runner")

_JOBS_PER_FOLDER = 1000
# How often a job of many steps records how far it is, at most.
RECORD_EVERY_S = 1.0
_IMAGE_KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
# The columns that every record has beside the job's own params and metrics.
RECORD_FIELDS = ("key", "attempt", "grab_ts", "done_ts", "duration_s")


class ResultsFolder:
    """RESULTS, and in it the folder of one campaign."""

    def __init__(self, root: str | Path, campaign_name: str):
        self.root = Path(root).absolute()
        self.campaign_name = campaign_name
        self.folder = self.root / campaign_name

    def folder_of(self, lease: Lease) -> Path:
        """The folder of one attempt. A late writer of an older attempt cannot touch a newer one's files."""
        name = _folder_name(lease.key)
        if lease.attempt > 1:
            name = f"{name}~{lease.attempt}"
        return self.folder / "jobs" / f"{lease.job_id // _JOBS_PER_FOLDER:04d}" / name

    def write(self, lease: Lease, name: str, content: bytes, kind: str) -> Artifact:
        """Write one file durably: temporary name, fsync, rename, fsync of the folder.

        Returns its description. Raises ArtifactError for a name that is taken or leaves the folder.
        """
        folder = self.folder_of(lease)
        path = folder / checked_name(name)
        _make_durable_folder(path.parent, self.root)
        temporary = path.with_name(f".{path.name}.{lease.worker_id:x}.tmp")
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _fsync_folder(path.parent)
        return Artifact(
            name=name,
            path=path.relative_to(self.root).as_posix(),
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            kind=kind,
        )

    def discard(self, lease: Lease) -> None:
        """Remove what an attempt that came to nothing has left."""
        shutil.rmtree(self.folder_of(lease), ignore_errors=True)

    def is_whole(self, artifact: Artifact) -> bool:
        """Whether the file is there with its size and hash."""
        try:
            content = (self.root / artifact.path).read_bytes()
        except OSError:
            return False
        return len(content) == artifact.size and hashlib.sha256(content).hexdigest() == artifact.sha256


class JobFiles:
    """What a render function holds: its job's params, and where its files and metrics go.

    params: the job's params, a dict. key: its name. attempt: counts from 1.

    checkpoint: how far earlier attempts have come. persist: takes a function that returns a
    Checkpoint once its files are on disk, records it, and returns a future.
    """

    def __init__(
        self,
        lease: Lease,
        results: ResultsFolder,
        writer: Executor,
        checkpoint: Checkpoint = Checkpoint(),
        persist: Callable[[Callable[[], Checkpoint]], Future] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self.params = lease.params
        self.key = lease.key
        self.attempt = lease.attempt
        self._lease, self._results, self._writer = lease, results, writer
        self._persist, self._monotonic = persist, monotonic
        if not all(map(results.is_whole, checkpoint.artifacts)):
            # A kept file is gone or changed: what it showed must be rendered again.
            checkpoint = Checkpoint()
        self._finished = checkpoint.step
        self._kept = {artifact.name: artifact for artifact in checkpoint.artifacts}
        self._metrics: dict[str, Any] = dict(checkpoint.metrics)
        self._written: dict[str, Future[Artifact]] = {}
        self._recorded = 0
        self._recording: Future | None = None
        self._next_record = 0.0

    def steps(self, steps: int | Iterable[Any]) -> Iterator[Any]:
        """The steps that are not finished yet: of range(steps), or of the items given.

            for step in job.steps(100): …

        A step is finished when the loop asks for the next one. What is finished is recorded, with
        the files and metrics so far, at most once a second; after a crash the next attempt begins
        at the first step that was not recorded, and keeps the files of those that were, once their
        hashes were compared. Raises LeaseLost when the job was given to another meanwhile.
        """
        items = range(steps) if isinstance(steps, int) else list(steps)
        for number in range(self._finished, len(items)):
            yield items[number]
            self._finished = number + 1
            self._record()

    def _record(self) -> None:
        if self._recording is not None:
            if not self._recording.done():
                return
            self._recording.result()
        if self._persist is None or self._monotonic() < self._next_record:
            return
        self._next_record = self._monotonic() + RECORD_EVERY_S
        new = list(self._written.values())[self._recorded :]
        self._recorded = len(self._written)
        step, metrics = self._finished, dict(self._metrics)
        self._recording = self._persist(
            lambda: Checkpoint(step, tuple(future.result() for future in new), metrics)
        )

    def save(self, name: str, content: Any) -> None:
        """Keep a file under this name: a Frame, bytes, text, a NumPy array, or a dict or list (as JSON).

        Arrays go by the name's ending: .npy any array; .png, .jpg, .webp uint8 images of shape
        (height, width) or (height, width, 3 or 4). The file counts once the job is done.
        Raises ArtifactError for a name that is taken, leaves the folder, or belies the content.
        """
        checked_name(name)
        if name in self._written:
            raise ArtifactError(f"job {self.key}: two files were saved as {name!r}; name one differently")
        data, kind = encode(name, content)
        self._written[name] = self._writer.submit(self._results.write, self._lease, name, data, kind)

    def log(self, **metrics: Any) -> None:
        """Keep metrics for this job's record: numbers, strings, booleans or None, by name.

        Raises ArtifactError for other values, and for the names of params and of the record's own
        columns (key, attempt, grab_ts, done_ts, duration_s).
        """
        for name, value in metrics.items():
            if name in RECORD_FIELDS or name in self.params:
                raise ArtifactError(
                    f"job {self.key}: the metric {name!r} would hide the job's own {name!r}; rename it"
                )
            value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
            if not (value is None or isinstance(value, (bool, int, float, str))):
                raise ArtifactError(
                    f"job {self.key}: the metric {name!r} is a {type(value).__name__}; "
                    "log numbers, strings, booleans or None, and save() what is larger"
                )
            self._metrics[name] = value

    def finish(self) -> Outcome:
        """Wait until all files are on disk; what the attempt hands over. Raises what writing raised."""
        new = {name: future.result() for name, future in self._written.items()}
        if self._recording is not None:
            self._recording.result()
        return Outcome(
            artifacts=tuple((self._kept | new).values()),
            metrics=self._metrics,
            has_checkpoint=bool(self._recording or self._finished),
        )

    def abandon(self) -> None:
        """Remove what was written, unless finished steps were recorded: their files are kept for them."""
        for future in self._written.values():
            future.cancel() or future.exception()
        if self._recording is not None:
            self._recording.exception()
        elif self._written:
            self._results.discard(self._lease)


def checked_name(name: str) -> str:
    """The name, if it stays within its folder. Raises ArtifactError."""
    parts = name.split("/") if isinstance(name, str) else []
    bad = (
        not parts
        or any(part in ("", ".", "..") or part.startswith(".") or len(part) > 200 for part in parts)
        or "\\" in name
        or not name.isprintable()
    )
    if bad:
        raise ArtifactError(
            f"a file cannot be named {name!r:.100}: use letters and digits, folders with '/', "
            "no leading '.' and no '..'"
        )
    return name


def encode(name: str, content: Any) -> tuple[bytes, str]:
    """The bytes to store and their media type. Raises ArtifactError where name and content disagree."""
    ending = os.path.splitext(name)[1].lower()
    if isinstance(content, Frame):
        expected = _IMAGE_KINDS.get(ending)
        if expected != content.kind:
            right = content.kind.removeprefix("image/").replace("jpeg", "jpg")
            raise ArtifactError(f"{name!r} would hold a {content.kind} picture: name it .{right}")
        return content.data, content.kind
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content), _IMAGE_KINDS.get(ending, "application/octet-stream")
    if isinstance(content, str):
        return content.encode(), "text/plain"
    if isinstance(content, (dict, list)):
        try:
            return json.dumps(content, indent=1).encode(), "application/json"
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"{name!r} cannot be written as JSON: {error}") from None
    if hasattr(content, "__array__"):
        return _encode_array(name, ending, content)
    raise ArtifactError(
        f"{name!r}: cannot save a {type(content).__name__}; give a frame, bytes, text, an array, "
        "or a dict or list"
    )


def _encode_array(name: str, ending: str, content: Any) -> tuple[bytes, str]:
    import numpy as np
    from PIL import Image

    array = np.asarray(content)
    buffer = io.BytesIO()
    if ending == ".npy":
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue(), "application/x-npy"
    if ending not in _IMAGE_KINDS:
        raise ArtifactError(f"{name!r}: name an array .npy, or .png, .jpg or .webp if it is an image")
    if array.dtype != np.uint8:
        raise ArtifactError(f"{name!r}: an image needs uint8, not {array.dtype}; use .npy to keep it exactly")
    try:
        Image.fromarray(array).save(buffer, format=_IMAGE_KINDS[ending].removeprefix("image/"))
    except (TypeError, ValueError, OSError) as error:
        raise ArtifactError(f"{name!r}: an array of shape {array.shape} is no image ({error})") from None
    return buffer.getvalue(), _IMAGE_KINDS[ending]


def _folder_name(key: str) -> str:
    """The key as one folder name: percent-encoded, and shortened by a hash where it is too long.

    '~' is encoded too, because it sets the attempt apart.
    """
    name = quote(key, safe=" +,=@()[]").replace("~", "%7E").replace(".", "%2E", 1 if key.startswith(".") else 0)
    if len(name) > 120:
        name = f"{name[:80]}-{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"
    return name


def _make_durable_folder(folder: Path, root: Path) -> None:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        if new.is_relative_to(root):
            _fsync_folder(new.parent)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class MetricsLog:
    """Brings the records of done jobs from the database into metrics.pkl, each once and in order.

    ML-Logger has no lock, no fsync, and cannot read a file with a torn tail (0.10.24 and 0.10.36).
    So one process at a time appends (a lock file), the database holds up to which result and byte
    the file is good, and whatever lies behind that byte is cut off before the next append. A file
    that is too short is written anew. Safe to call from any thread.
    """

    def __init__(self, store: Store, campaign_id: int, results: ResultsFolder):
        self._store, self._campaign_id = store, campaign_id
        self._folder = results.folder
        self._prefix = results.campaign_name
        self._logger = _ml_logger(results.root, results.campaign_name)
        self._path = results.folder / "metrics.pkl"
        self._lock_file = None
        self._mutex = threading.Lock()

    def log_params(self, **sections: Mapping[str, Any]) -> None:
        """Write parameters.pkl anew, so that ML-Logger's read_params shows it; one dict a section."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = f".parameters.{os.getpid()}.tmp"
        self._logger.log_data(
            {name: dict(section) for name, section in sections.items()}, temporary, overwrite=True
        )
        (self._folder / temporary).replace(self._folder / "parameters.pkl")

    def sync(self, batch: int = 500) -> int:
        """Append what is new; returns how many records. Another process that holds the lock does it instead."""
        with self._mutex:
            if not self._lock():
                return 0
            count = 0
            logged_id, good_bytes = self._repair()
            while records := self._store.results_after(self._campaign_id, logged_id, batch):
                logged_id, good_bytes = self._append(records, good_bytes)
                count += len(records)
            return count

    def close(self) -> None:
        """Let another process write the log."""
        with self._mutex:
            if self._lock_file:
                self._lock_file.close()
                self._lock_file = None

    def _lock(self) -> bool:
        if self._lock_file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock_file = open(self._folder / ".metrics.lock", "w")
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock_file.close()
                return False
            self._lock_file = lock_file
        return True

    def _repair(self) -> tuple[int, int]:
        """Make the file and the cursor in the database agree; returns the cursor."""
        logged_id, good_bytes = self._store.log_cursor(self._campaign_id)
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < good_bytes:
            logged_id = good_bytes = 0
            self._store.write_log_cursor(self._campaign_id, 0, 0)
        if size > good_bytes:
            os.truncate(self._path, good_bytes)
        return logged_id, good_bytes

    def _append(self, rows: list[dict[str, Any]], good_bytes: int) -> tuple[int, int]:
        content = b"".join(pickle.dumps(record_of(row), protocol=4) for row in rows)
        self._logger.client.log_buffer(f"{self._prefix}/metrics.pkl", buf=content, overwrite=False)
        with open(self._path, "rb") as file:
            os.fdatasync(file.fileno())
        cursor = rows[-1]["id"], good_bytes + len(content)
        self._store.write_log_cursor(self._campaign_id, *cursor)
        return cursor


def record_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """One job's record: key, attempt, times (Unix seconds; duration_s in seconds), then params and metrics.

    A param that has the name of one of the record's own columns is found as params/NAME.
    """
    record = {
        "key": row["key"],
        "attempt": row["attempt"],
        "grab_ts": row["grab_ts"],
        "done_ts": row["end_ts"],
        "duration_s": row["end_ts"] - row["grab_ts"],
    }
    for name, value in row["params"].items():
        record[f"params/{name}" if name in RECORD_FIELDS else name] = value
    return record | row["metrics"]


def _ml_logger(root: Path, prefix: str) -> Any:
    # Its import fails at a relative root (0.10.24).
    if not os.path.isabs(os.environ.get("ML_LOGGER_ROOT", "/")):
        os.environ["ML_LOGGER_ROOT"] = str(root)
    from ml_logger import ML_Logger

    return ML_Logger(root=str(root), prefix=prefix)
