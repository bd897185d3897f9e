"""The files of jobs on disk: written whole or not at all, with a manifest that describes them.

This is the layout of the results, and the first of two ways to store the files of jobs: each as a file of its own. The
other way is in packed.py.

    RESULTS/CAMPAIGN/jobs/0000/KEY/         the files of a job; 0000 counts thousands of jobs
    RESULTS/CAMPAIGN/jobs/0000/KEY~2/       those of its second attempt
    …/KEY/.result.json                      the attempt's manifest, named when all its files are
    RESULTS/CAMPAIGN/.folder                the id by which the database knows this folder, wherever it is moved
    RESULTS/CAMPAIGN/runs/START/run.log     what a run has said, and what was printed meanwhile
    RESULTS/CAMPAIGN/aside/0000/KEY/        files that no longer belong to a job, under other names

Once a job is done, jobs/ holds its files and no others of its names.

The database is the truth: a file without a row is never trusted by itself. The manifest is for the one
case in which the database knows less than the disk: the process was killed between the last file and the commit, or
the database is an older copy of itself. See Store.adopt. Files and their names are flushed before the row is written.
The manifest is not, and so the row is flushed, too, a moment later: a power cut takes both of what ended just then.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from runner.frame import Frame
from runner.job import (
    Artifact,
    Extent,
    Finished,
    Lease,
    Outcome,
    ShardEnd,
    canonical_json,
    metrics_to_json,
    with_marks,
)
from runner.results.encode import IMAGE_KINDS
from runner.results.names import checked_name
from runner.results.stored import Moved, Stored, nowhere

MANIFEST = ".result.json"
RUN_LOG = "run.log"
_ID = ".folder"
_DATABASE = ".database"
_MANIFEST_VERSION = 1
JOBS_PER_FOLDER = 1000
# What one attempt may hold in memory.
_MOST_HELD = 16 << 20


@dataclass(frozen=True)
class Held(Artifact):
    """A file that lies nowhere yet."""

    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Kept:
    """A finished attempt whose files are on disk for good. shard: the valid part of the shard that holds them."""

    lease: Lease
    outcome: Outcome
    shard: ShardEnd | None = None


class ResultsFolder:
    """RESULTS, and in it the folder of one campaign, whose jobs' files are each a file of their own.

    What an attempt saves is in memory until it has finished; files of steps, and those of an attempt that saves very
    much, go to disk as they are saved. record makes sure of the files of steps, and seal and keep of all.
    file_sha256: of the campaign file; what another version of it has left behind is not taken up.
    moved: where shards are that are no longer in RESULTS.
    is_record_flushed: what is kept beside an attempt's files outlives a power cut. Where it does not, the rows must.
    seals_at_once: seal does nothing that takes time.
    """

    is_record_flushed = seals_at_once = False

    def __init__(
        self, root: str | Path, campaign_name: str, file_sha256: str | None = None, moved: Moved = nowhere
    ):
        self.root = Path(root).absolute()
        self.campaign_name = campaign_name
        # The name of a queue, or one in a database from elsewhere, may be any text.
        self.folder = self.root / folder_name(campaign_name)
        self._file_sha256 = file_sha256
        self._moved = moved
        # By the job's id: what its attempt holds in memory.
        self._held: dict[int, int] = {}

    @property
    def id(self) -> str:
        """The id by which the database knows this folder; '' where it has none yet."""
        try:
            return (self.folder / _ID).read_text("ascii").strip()[:100]
        except (OSError, ValueError):
            return ""

    def named(self) -> str:
        """The same; the folder is created, and given an id, if need be. Raises OSError."""
        if not self.id:
            make_results(self.root)
            self.folder.mkdir(exist_ok=True)
            fresh = self.folder / f"{_ID}.{os.getpid()}.tmp"
            fresh.write_text(f"{secrets.token_hex(16)}\n")
            try:
                os.link(fresh, self.folder / _ID)
            except FileExistsError:
                pass  # another process named it first
            except OSError:
                # Some disks have no links.
                os.replace(fresh, self.folder / _ID)
            fresh.unlink(missing_ok=True)
        return self.id

    def other_database(self, file: Path) -> Path | None:
        """Another database file than this one, still there, whose jobs have their files here; else None."""
        try:
            other = Path((self.folder / _DATABASE).read_text().strip())
            return other if other.is_file() and not other.samefile(file) else None
        except (OSError, ValueError):
            return None

    def note_database(self, file: Path) -> None:
        """From now on the files here are those of this database."""
        with contextlib.suppress(OSError):
            (self.folder / _DATABASE).write_text(f"{file}\n")

    @property
    def place(self) -> str:
        """Where RESULTS is, for people on other machines."""
        return f"{socket.gethostname()}:{self.root}"

    def new_run_folder(self, now_ts: float) -> Path:
        """Make a folder for the logs of a run that begins now, such as runs/20261127T230501Z."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ts))
        for number in count(1):
            folder = self.folder / "runs" / (stamp if number == 1 else f"{stamp}-{number}")
            with contextlib.suppress(FileExistsError):
                make_results(self.root)
                folder.mkdir(parents=True)
                return folder
        raise AssertionError  # numbers do not end

    def run_logs(self) -> list[Path]:
        """The log files of the runs, the oldest first."""
        return sorted(self.folder.glob(f"runs/*/{RUN_LOG}"))

    def folder_of(self, lease: Lease, attempt: int | None = None) -> Path:
        """The folder of one attempt. A late writer of an older attempt cannot touch a newer attempt's files."""
        return self.attempt_folder(lease.job_id, lease.key, attempt or lease.attempt)

    def attempt_folder(self, job_id: int, key: str, attempt: int) -> Path:
        """The folder of one attempt at the job of that id and key."""
        name = folder_name(key)
        if attempt > 1:
            name = f"{name}~{attempt}"
        return self.folder / f"jobs/{job_id // JOBS_PER_FOLDER:04d}/{name}"

    def save(
        self, lease: Lease, name: str, content: bytes, kind: str, writer: Executor, has_steps: bool = False
    ) -> Future[Artifact]:
        """Save one file of a running attempt. writer: whose threads may write it. has_steps: record may follow.

        Raises ArtifactError for a name that leaves the folder.
        """
        held = self._held.get(lease.job_id, 0) + len(content)
        if has_steps or held > _MOST_HELD:
            return writer.submit(self.write, lease, name, content, kind)
        self._held[lease.job_id] = held
        digest = hashlib.sha256(content).hexdigest()
        saved: Future[Artifact] = Future()
        saved.set_result(Held(checked_name(name), "", len(content), digest, kind, content=content))
        return saved

    def write(self, lease: Lease, name: str, content: bytes, kind: str) -> Artifact:
        """Write one file, and flush it. Its name is on disk for sure after record or seal.

        Returns its description. Raises ArtifactError for a name that leaves the folder.
        """
        digest = hashlib.sha256(content).hexdigest()
        placed = self._written(
            lease, Held(checked_name(name), "", len(content), digest, kind, content=content)
        )
        fsync(self.root / placed.path)
        return placed

    def _written(self, lease: Lease, held: Held) -> Artifact:
        """Write a file under a temporary name, and give it its own; it is not flushed."""
        folder = self.folder_of(lease)
        path = folder / held.name
        make_durable_folder(folder.parent, self.root)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_file(path, held.content, f"{lease.worker_id:x}")
        place = path.relative_to(self.root).as_posix()
        return Artifact(held.name, place, held.size, held.sha256, held.kind)

    def record(self, lease: Lease, artifacts: Sequence[Artifact]) -> tuple[Artifact, ...]:
        """Make these files of a running attempt survive a power cut; returns them as stored."""
        artifacts = self._placed(lease, artifacts)
        self._flush_names(lease, [artifact.name for artifact in artifacts])
        return artifacts

    def _placed(self, lease: Lease, artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
        """The files as they lie: those that are in memory are written, and flushed."""
        return tuple(
            self.write(lease, artifact.name, artifact.content, artifact.kind)
            if isinstance(artifact, Held)
            else artifact
            for artifact in artifacts
        )

    def _flush_names(self, lease: Lease, names: Iterable[str]) -> None:
        """Flush the folders that name them."""
        folder = self.folder_of(lease)
        inner = {parent for name in names for parent in PurePosixPath(name).parents}
        for path in sorted((folder / parent for parent in inner), key=lambda path: -len(path.parts)):
            fsync(path)
        fsync(folder.parent)

    def seal(self, lease: Lease, outcome: Outcome, names: Iterable[str]) -> Outcome:
        """The attempt has finished: write what it holds in memory, and its manifest; returns it with its files' places.

        names: of the files that this attempt has saved. Raises ArtifactError for files that cannot lie together.
        """
        placed = [
            self._written(lease, artifact) if isinstance(artifact, Held) else artifact
            for artifact in outcome.artifacts
        ]
        self._held.pop(lease.job_id, None)
        new = [now.path for now, before in zip(placed, outcome.artifacts) if now is not before]
        outcome = replace(outcome, artifacts=tuple(placed))
        manifest = json.dumps(self.manifest(lease, outcome), allow_nan=False).encode()
        _write_file(self.folder_of(lease) / MANIFEST, manifest, f"{lease.worker_id:x}")
        # Now that all have their names: where a filesystem keeps a journal, the first flush takes the names along.
        for path in new:
            fsync(self.root / path)
        self._flush_names(lease, names)
        # Including finished attempts: their rows are gone, since the job is to be done again.
        self.remove_earlier(lease, outcome.artifacts)
        return outcome

    def manifest(self, lease: Lease, outcome: Outcome) -> dict[str, Any]:
        """The data beside the files of an attempt, as JSON values: all that its rows would hold."""
        metrics, marks = metrics_to_json(outcome.metrics)
        return {
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
            "metrics": json.loads(metrics),
            "marks": marks,
            "suspicion": outcome.suspicion,
            "artifacts": [vars(artifact) for artifact in outcome.artifacts],
        }

    def keep(self, finished: Sequence[tuple[Lease, Outcome]]) -> list[Kept | Exception]:
        """Make the files of finished attempts durable, with one flush for all where possible.

        Returns for each the data to record, or the error.
        """
        return [Kept(lease, outcome) for lease, outcome in finished]

    def has_leftovers(self, lease: Lease, outcome: Outcome) -> bool:
        """Whether something must be cleaned up after that attempt's rows are written. outcome: as from finish."""
        return lease.attempt > 1

    def clean_up(self, lease: Lease, outcome: Outcome) -> None:
        """Remove the files that attempts at a done job have left beside the files in its rows."""
        self.remove_earlier(lease, outcome.artifacts)

    def close(self) -> None:
        """End the keeping of files."""

    def left_behind(self, lease: Lease) -> Finished | None:
        """The newest attempt at this very job that had finished on disk, by its manifest.

        This attempt's own folder is searched, too: a power cut takes back claims, and their numbers are used again.
        None where there is no such manifest, or its key, params or campaign file differ. Its files must still be
        checked: is_whole.
        """
        for attempt in range(lease.attempt, 0, -1):
            try:
                manifest = json.loads((self.folder_of(lease, attempt) / MANIFEST).read_bytes())
                if self.is_of(manifest, lease.key, lease.params):
                    return finished_of(manifest)
            except (OSError, ValueError, KeyError, TypeError):
                # There is none, or none that this version wrote whole.
                continue
        return None

    def is_of(self, manifest: Mapping[str, Any], key: str, params: Mapping[str, Any]) -> bool:
        """Whether that manifest is from this very job and the same campaign file."""
        same = {
            "version": _MANIFEST_VERSION,
            "campaign": self.campaign_name,
            "file_sha256": self._file_sha256,
            "key": key,
        }
        if any(manifest[name] != value for name, value in same.items()):
            return False
        return canonical_json(manifest["params"]) == canonical_json(params)

    def keep_evidence(self, lease: Lease, frame: Frame) -> None:
        """Keep the last picture of a failed attempt where evidence_of finds it; bare pixels are not kept."""
        ending = next((ending for ending, kind in IMAGE_KINDS.items() if kind == frame.kind), None)
        if ending is None:
            return
        path = self.folder / "evidence" / f"{folder_name(lease.key)}~{lease.attempt}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frame.data)

    def evidence_of(self, key: str, attempt: int) -> Path | None:
        """The last picture of that attempt at the job with that key, if one was kept."""
        stem = self.folder / "evidence" / f"{folder_name(key)}~{attempt}"
        kept = (stem.with_name(stem.name + ending) for ending in IMAGE_KINDS)
        return next((path for path in kept if path.exists()), None)

    def discard(self, lease: Lease) -> None:
        """Remove the files of an attempt that failed or was handed back."""
        self._held.pop(lease.job_id, None)
        shutil.rmtree(self.folder_of(lease), ignore_errors=True)

    def remove_earlier(self, lease: Lease, kept: Iterable[Artifact], with_finished: bool = True) -> None:
        """Remove the files that earlier attempts at the job have left, after a kill for example, except those that it
        keeps.

        with_finished: also of attempts that had finished, if the job is to be done again.
        """
        paths = {self.root / artifact.path for artifact in kept}
        for attempt in range(1, lease.attempt):
            folder = self.folder_of(lease, attempt)
            if with_finished or not (folder / MANIFEST).exists():
                for file in files_below(folder):
                    if file not in paths:
                        file.unlink(missing_ok=True)
                remove_empty(folder)

    def is_whole(self, artifact: Artifact) -> bool:
        """Whether the file exists, can be read, and has its size and hash."""
        return self.stored(artifact.extent).fault(artifact.sha256) is None

    def stored(self, extent: Extent) -> Stored:
        """Its stored bytes."""
        return Stored.of(self.root, extent, self._moved)

    def fault_of(self, file: Mapping[str, Any]) -> str | None:
        """The fault of a file compared with its row: missing, changed, unreadable, or None."""
        return self.stored(Extent(file["path"], file.get("start"), file["size"])).fault(file["sha256"])


def finished_of(manifest: Mapping[str, Any]) -> Finished:
    """The attempt that the manifest describes. Raises an error for a missing part."""
    artifacts = tuple(Artifact(**artifact) for artifact in manifest["artifacts"])
    times = {name: manifest[name] for name in ("grab_ts", "end_ts")}
    ids = {name: manifest[name] for name in ("attempt", "worker_id", "session_id")}
    # Recorded steps are no longer needed.
    return Finished(
        outcome=Outcome(
            artifacts, with_marks(manifest["metrics"], manifest.get("marks")), True, manifest["suspicion"]
        ),
        **ids,
        **times,
    )


def folder_name(key: str) -> str:
    """The key as one folder name: percent-encoded, and shortened by a hash where it is too long.

    '~' is encoded too, because it sets the attempt apart.
    """
    name = (
        quote(key, safe=" +,=@()[]").replace("~", "%7E").replace(".", "%2E", 1 if key.startswith(".") else 0)
    )
    if len(name) > 120:
        name = f"{name[:80]}-{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"
    return name


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and below it."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)


def remove_empty(folder: Path) -> None:
    """Remove a folder and the folders below it where they are empty."""
    for parent, _folders, _names in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(parent)


def make_results(root: Path) -> None:
    """Make the folder RESULTS if it is missing, for its owner alone. An existing one keeps its permissions."""
    root.parent.mkdir(parents=True, exist_ok=True)
    root.mkdir(mode=0o700, exist_ok=True)


def make_durable_folder(folder: Path, root: Path) -> None:
    """Make a folder below root that survives a power cut."""
    if not root.is_dir():
        make_results(root)
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        if new.is_relative_to(root):
            fsync(new.parent)


def _write_file(path: Path, content: bytes, owner: str) -> None:
    temporary = path.with_name(f".{path.name.removeprefix('.')}.{owner}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
    temporary.replace(path)


def fsync(path: Path) -> None:
    """What a file holds, or what was made, renamed or removed in a folder, outlives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
