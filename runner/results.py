"""What jobs produce, on disk: files written whole or not at all, beside a manifest that tells what they are.

    RESULTS/CAMPAIGN/jobs/0000/KEY/         the files of a job; 0000 counts thousands of jobs
    RESULTS/CAMPAIGN/jobs/0000/KEY~2/       those of its second attempt
    …/KEY/.result.json                      the attempt's manifest, written last

The database is the truth: a file without a row is never trusted by itself. The manifest is for the one
case in which the database knows less than the disk: a power cut took back its last commits, or the
process was killed between the last file and the commit. See Store.adopt.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import time
import unicodedata
from concurrent.futures import Executor, Future
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Iterable, Iterator
from urllib.parse import quote

from runner.errors import ArtifactError
from runner.frames import RAW, Frame
from runner.job import Artifact, Checkpoint, Finished, Lease, Outcome, canonical_json

__all__ = ["JOBS_PER_FOLDER", "MANIFEST", "RECORD_FIELDS", "JobFiles", "ResultsFolder"]

MANIFEST = ".result.json"
_MANIFEST_VERSION = 1
JOBS_PER_FOLDER = 1000
# How often a job of many steps records how far it is, at most.
RECORD_EVERY_S = 1.0
_IMAGE_KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
# The columns that every record has beside the job's own params and metrics.
RECORD_FIELDS = ("key", "attempt", "grab_ts", "done_ts", "duration_s")


class ResultsFolder:
    """RESULTS, and in it the folder of one campaign.

    file_sha256: of the campaign file; what another version of it has left behind is not taken up.
    """

    def __init__(self, root: str | Path, campaign_name: str, file_sha256: str | None = None):
        self.root = Path(root).absolute()
        self.campaign_name = campaign_name
        self.folder = self.root / campaign_name
        self._file_sha256 = file_sha256

    def folder_of(self, lease: Lease, attempt: int | None = None) -> Path:
        """The folder of one attempt. A late writer of an older attempt cannot touch a newer one's files."""
        return self.attempt_folder(lease.job_id, lease.key, attempt or lease.attempt)

    def attempt_folder(self, job_id: int, key: str, attempt: int) -> Path:
        """The folder of one attempt at the job of that id and key."""
        name = _folder_name(key)
        if attempt > 1:
            name = f"{name}~{attempt}"
        return self.folder / "jobs" / f"{job_id // JOBS_PER_FOLDER:04d}" / name

    def write(self, lease: Lease, name: str, content: bytes, kind: str) -> Artifact:
        """Write one file: temporary name, fsync, rename. Its name is on disk for sure after settle.

        Returns its description. Raises ArtifactError for a name that leaves the folder.
        """
        folder = self.folder_of(lease)
        path = folder / checked_name(name)
        _make_durable_folder(folder.parent, self.root)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_file(path, content, f"{lease.worker_id:x}")
        return Artifact(
            name=name,
            path=path.relative_to(self.root).as_posix(),
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            kind=kind,
        )

    def settle(self, lease: Lease, names: Iterable[str]) -> None:
        """Make sure that the files of these names outlive a power cut: fsync the folders that name them."""
        folder = self.folder_of(lease)
        inner = {parent for name in names for parent in PurePosixPath(name).parents}
        for path in sorted((folder / parent for parent in inner), key=lambda path: -len(path.parts)):
            _fsync_folder(path)
        _fsync_folder(folder.parent)

    def seal(self, lease: Lease, outcome: Outcome, names: Iterable[str]) -> None:
        """Write the attempt's manifest, last of all, and make everything outlive a power cut.

        names: of the files that this attempt has written.
        """
        manifest = {
            "version": _MANIFEST_VERSION,
            "campaign": self.campaign_name,
            "file_sha256": self._file_sha256,
            "key": lease.key,
            "params": lease.params,
            "attempt": lease.attempt,
            "worker_id": lease.worker_id,
            "session_id": lease.session_id,
            "grab_ts": lease.grab_ts,
            "end_ts": time.time(),
            "metrics": dict(outcome.metrics),
            "suspicion": outcome.suspicion,
            "artifacts": [dataclasses.asdict(artifact) for artifact in outcome.artifacts],
        }
        path = self.folder_of(lease) / MANIFEST
        _write_file(path, json.dumps(manifest).encode(), f"{lease.worker_id:x}")
        self.settle(lease, [*names, MANIFEST])

    def left_behind(self, lease: Lease) -> Finished | None:
        """What an attempt at this very job had finished on disk, as its manifest tells; the newest one.

        Looks at this attempt's folder, too: a power cut takes back claims, and their numbers are
        given out again. None where there is no such manifest, and where its key, params or campaign
        file differ. Its files are still to be looked at: is_whole.
        """
        for attempt in range(lease.attempt, 0, -1):
            try:
                manifest = json.loads((self.folder_of(lease, attempt) / MANIFEST).read_bytes())
                if self._is_of(manifest, lease):
                    return _finished(manifest)
            except (OSError, ValueError, KeyError, TypeError):
                # None there, or none that this version wrote whole.
                continue
        return None

    def _is_of(self, manifest: dict[str, Any], lease: Lease) -> bool:
        same = {
            "version": _MANIFEST_VERSION,
            "campaign": self.campaign_name,
            "file_sha256": self._file_sha256,
            "key": lease.key,
        }
        if any(manifest[name] != value for name, value in same.items()):
            return False
        return canonical_json(manifest["params"]) == canonical_json(lease.params)

    def keep_evidence(self, lease: Lease, frame: Frame) -> str | None:
        """Keep the last picture of an attempt that failed; returns its path below the results, for people."""
        ending = next((ending for ending, kind in _IMAGE_KINDS.items() if kind == frame.kind), None)
        if ending is None:
            return None
        path = self.folder / "evidence" / f"{_folder_name(lease.key)}~{lease.attempt}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frame.data)
        return path.relative_to(self.root).as_posix()

    def discard(self, lease: Lease) -> None:
        """Remove what an attempt that came to nothing has left."""
        shutil.rmtree(self.folder_of(lease), ignore_errors=True)

    def is_whole(self, artifact: Artifact) -> bool:
        """Whether the file is there, can be read, and has its size and hash."""
        return self.fault_of(artifact.path, artifact.size, artifact.sha256) is None

    def fault_of(self, path: str, size: int, sha256: str) -> str | None:
        """What is wrong with a file, path being relative to RESULTS: missing, changed, unreadable, or None."""
        try:
            with open(self.root / path, "rb") as file:
                if os.fstat(file.fileno()).st_size != size:
                    return "changed"
                content = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    content.update(chunk)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return "missing"
        except OSError:
            return "unreadable"
        return None if content.hexdigest() == sha256 else "changed"


def _finished(manifest: dict[str, Any]) -> Finished:
    artifacts = tuple(Artifact(**artifact) for artifact in manifest["artifacts"])
    times = {name: manifest[name] for name in ("grab_ts", "end_ts")}
    ids = {name: manifest[name] for name in ("attempt", "worker_id", "session_id")}
    # Steps that were recorded on the way have served.
    return Finished(outcome=Outcome(artifacts, manifest["metrics"], True, manifest["suspicion"]), **ids, **times)


class JobFiles:
    """What a render function holds: its job's params, and where its files and metrics go.

    params: the job's params, a dict. key: its name. attempt: counts from 1.

    steps_finished: by this attempt; None for a job that has no steps.

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
        self.steps_finished: int | None = None
        self._kept = {artifact.name: artifact for artifact in checkpoint.artifacts}
        self._metrics: dict[str, Any] = dict(checkpoint.metrics)
        self._suspicions: list[str] = []
        self._written: dict[str, Future[Artifact]] = {}
        self._names = _Names(self._kept)
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
        self.steps_finished = 0
        for number in range(self._finished, len(items)):
            yield items[number]
            self._finished = number + 1
            self.steps_finished += 1
            self._record()

    def _record(self) -> None:
        if self._recording is not None:
            if not self._recording.done():
                return
            self._recording.result()
        if self._persist is None or self._monotonic() < self._next_record:
            return
        self._next_record = self._monotonic() + RECORD_EVERY_S
        new = list(self._written.items())[self._recorded :]
        self._recorded = len(self._written)
        step, metrics = self._finished, dict(self._metrics)

        def make() -> Checkpoint:
            artifacts = tuple(future.result() for _, future in new)
            if new:
                self._results.settle(self._lease, [name for name, _ in new])
            return Checkpoint(step, artifacts, metrics)

        self._recording = self._persist(make)

    def save(self, name: str, content: Any) -> None:
        """Keep a file under this name: a Frame, bytes, text, a NumPy array, or a dict or list (as JSON).

        Arrays go by the name's ending: .npy any array; .png, .jpg, .webp uint8 images of shape
        (height, width) or (height, width, 3 or 4); .png also uint16 of shape (height, width), and
        floats of that shape, which are depth in metres: kept in millimetres, 16 bits, 0 where nothing
        is. The file counts once the job is done. Raises ArtifactError for a name that is taken (upper and lower case
        are one, as on some disks), leaves the folder, or belies the content.
        """
        data, kind = encode(checked_name(name), content)
        if isinstance(content, Frame) and content.suspicion:
            self._suspicions.append(f"{name}: {content.suspicion}")
        try:
            self._names.take(name)
        except ArtifactError as error:
            raise ArtifactError(f"job {self.key}: {error}; name one differently") from None
        self._written[name] = self._writer.submit(self._results.write, self._lease, name, data, kind)

    @property
    def suspicion(self) -> str:
        """Which of the frames saved may be wrong though they are whole, and why; empty for most jobs."""
        return "; ".join(self._suspicions[:5])

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
        """Wait until all files are on disk, for good; what the attempt hands over. Raises what writing raised."""
        new = {name: future.result() for name, future in self._written.items()}
        if self._recording is not None:
            self._recording.result()
        outcome = Outcome(
            artifacts=tuple((self._kept | new).values()),
            metrics=self._metrics,
            has_checkpoint=bool(self._recording or self._finished),
            suspicion=self.suspicion,
        )
        if new:
            self._results.seal(self._lease, outcome, new)
        return outcome

    def abandon(self) -> None:
        """Remove what was written, unless finished steps were recorded: their files are kept for them."""
        for future in self._written.values():
            future.cancel() or future.exception()
        if self._recording is not None:
            self._recording.exception()
        elif self._written:
            self._results.discard(self._lease)


class _Names:
    """The names of one attempt's files; no two of them may meet on any disk.

    kept: names that earlier attempts have used, which this one may use again.
    """

    def __init__(self, kept: Iterable[str]):
        self._files = {_folded(name): name for name in kept}
        self._again = set(self._files.values())
        self._folders = {parent for file in self._files for parent in _parents(file)}

    def take(self, name: str) -> None:
        """Raises ArtifactError for a name that is another's, and for a file where a folder is needed."""
        file = _folded(name)
        other = self._files.get(file)
        if other is not None and other not in self._again:
            same = "two files were saved as" if other == name else f"{other!r} would be one file on some disks with"
            raise ArtifactError(f"{same} {name!r}")
        inside = next((self._files[parent] for parent in _parents(file) if parent in self._files), None)
        if inside is not None or file in self._folders:
            raise ArtifactError(f"{inside or name!r} cannot be both a file and a folder")
        self._again.discard(name)
        self._files[file] = name
        self._folders.update(_parents(file))


def _folded(name: str) -> str:
    """What disks that ignore case, or compose accents, make of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _parents(name: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(name).parents[:-1]]


def checked_name(name: str) -> str:
    """The name, if it stays within its folder. Raises ArtifactError."""
    parts = name.split("/") if isinstance(name, str) else []
    bad = (
        not parts
        or not name.isprintable()
        or any(not part or part.startswith(".") or len(part.encode()) > 200 for part in parts)
        or "\\" in name
        or len(name.encode()) > 800
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
    if isinstance(content, Frame) and content.kind == RAW:
        return _encode_array(name, ending, content.array)
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
    if hasattr(content, "__array__") or hasattr(content, "__array_interface__"):
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
    if ending == ".png" and array.dtype in (np.float32, np.float64) and array.ndim == 2:
        array = _millimetres(array)
    is_deep = ending == ".png" and array.dtype == np.uint16 and array.ndim == 2
    if array.dtype != np.uint8 and not is_deep:
        raise ArtifactError(f"{name!r}: an image needs uint8, not {array.dtype}; use .npy to keep it exactly")
    try:
        options = {"quality": 95} if ending != ".webp" else {"lossless": True}
        Image.fromarray(array).save(buffer, format=_IMAGE_KINDS[ending].removeprefix("image/"), **options)
    except (TypeError, ValueError, OSError) as error:
        raise ArtifactError(f"{name!r}: an array of shape {array.shape} is no image ({error})") from None
    return buffer.getvalue(), _IMAGE_KINDS[ending]


def _millimetres(depth: Any) -> Any:
    """Depth in metres as a 16-bit image in millimetres, 0 where nothing is, or nothing nearer than 65.535 m.

    So ROS has it (REP 118), and most readers of depth images.
    """
    import numpy as np

    millimetres = np.round(depth * 1000.0)
    known = np.isfinite(millimetres) & (millimetres > 0) & (millimetres <= 65535)
    return np.where(known, millimetres, 0).astype(np.uint16)


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


def _write_file(path: Path, content: bytes, owner: str) -> None:
    temporary = path.with_name(f".{path.name.removeprefix('.')}.{owner}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
