"""What jobs produce, on disk: files written whole or not at all, beside a manifest that tells what they are.

    RESULTS/CAMPAIGN/jobs/0000/KEY/         the files of a job; 0000 counts thousands of jobs
    RESULTS/CAMPAIGN/jobs/0000/KEY~2/       those of its second attempt
    …/KEY/.result.json                      the attempt's manifest, written last
    RESULTS/CAMPAIGN/runs/START/run.log     what a run has said, and what was printed meanwhile
    RESULTS/CAMPAIGN/aside/0000/KEY/        files that no longer belong to a job, under other names

Once a job is done, jobs/ holds its files and no others of its names.

The database is the truth: a file without a row is never trusted by itself. The manifest is for the one
case in which the database knows less than the disk: a power cut took back its last commits, or the
process was killed between the last file and the commit. See Store.adopt.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from runner.frame import Frame
from runner.job import Artifact, Finished, Lease, Outcome, canonical_json, metrics_to_json, with_marks
from runner.results.encode import IMAGE_KINDS
from runner.results.names import checked_name

MANIFEST = ".result.json"
RUN_LOG = "run.log"
_MANIFEST_VERSION = 1
JOBS_PER_FOLDER = 1000


class ResultsFolder:
    """RESULTS, and in it the folder of one campaign.

    file_sha256: of the campaign file; what another version of it has left behind is not taken up.
    """

    def __init__(self, root: str | Path, campaign_name: str, file_sha256: str | None = None):
        self.root = Path(root).absolute()
        self.campaign_name = campaign_name
        self.folder = self.root / campaign_name
        self._file_sha256 = file_sha256

    def new_run_folder(self, now_ts: float) -> Path:
        """Make a folder for what a run that begins now leaves of itself, such as runs/20261127T230501Z."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ts))
        for number in count(1):
            folder = self.folder / "runs" / (stamp if number == 1 else f"{stamp}-{number}")
            with contextlib.suppress(FileExistsError):
                make_results(self.root)
                folder.mkdir(parents=True)
                return folder
        raise AssertionError  # numbers do not end

    def run_logs(self) -> list[Path]:
        """What the runs have said and printed, a file each, the oldest first."""
        return sorted(self.folder.glob(f"runs/*/{RUN_LOG}"))

    def folder_of(self, lease: Lease, attempt: int | None = None) -> Path:
        """The folder of one attempt. A late writer of an older attempt cannot touch a newer one's files."""
        return self.attempt_folder(lease.job_id, lease.key, attempt or lease.attempt)

    def attempt_folder(self, job_id: int, key: str, attempt: int) -> Path:
        """The folder of one attempt at the job of that id and key."""
        name = _folder_name(key)
        if attempt > 1:
            name = f"{name}~{attempt}"
        return self.folder / f"jobs/{job_id // JOBS_PER_FOLDER:04d}/{name}"

    def write(self, lease: Lease, name: str, content: bytes, kind: str) -> Artifact:
        """Write one file: temporary name, fsync, rename. Its name is on disk for sure after settle.

        Returns its description. Raises ArtifactError for a name that leaves the folder.
        """
        folder = self.folder_of(lease)
        path = folder / checked_name(name)
        if not self.root.is_dir():
            make_results(self.root)
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
        metrics, marks = metrics_to_json(outcome.metrics)
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
            "metrics": json.loads(metrics),
            "marks": marks,
            "suspicion": outcome.suspicion,
            "artifacts": [vars(artifact) for artifact in outcome.artifacts],
        }
        path = self.folder_of(lease) / MANIFEST
        _write_file(path, json.dumps(manifest, allow_nan=False).encode(), f"{lease.worker_id:x}")
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

    def keep_evidence(self, lease: Lease, frame: Frame) -> None:
        """Keep the last picture of an attempt that failed, where evidence_of finds it; not of bare pixels."""
        ending = next((ending for ending, kind in IMAGE_KINDS.items() if kind == frame.kind), None)
        if ending is None:
            return
        path = self.folder / "evidence" / f"{_folder_name(lease.key)}~{lease.attempt}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frame.data)

    def evidence_of(self, key: str, attempt: int) -> Path | None:
        """The last picture of that attempt at the job of that key, if one was kept."""
        stem = self.folder / "evidence" / f"{_folder_name(key)}~{attempt}"
        kept = (stem.with_name(stem.name + ending) for ending in IMAGE_KINDS)
        return next((path for path in kept if path.exists()), None)

    def discard(self, lease: Lease) -> None:
        """Remove what an attempt that came to nothing has left."""
        shutil.rmtree(self.folder_of(lease), ignore_errors=True)

    def remove_earlier(self, lease: Lease, kept: Iterable[Artifact], with_finished: bool = True) -> None:
        """Remove what earlier attempts at the job have left, such as kills leave, but for the files that it keeps.

        with_finished: also of attempts that had finished, as one has whose job is to be done again.
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
    return Finished(
        outcome=Outcome(
            artifacts, with_marks(manifest["metrics"], manifest.get("marks")), True, manifest["suspicion"]
        ),
        **ids,
        **times,
    )


def _folder_name(key: str) -> str:
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
    """Remove those of a folder and the folders below it that hold nothing."""
    for parent, _folders, _names in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(parent)


def make_results(root: Path) -> None:
    """Make the folder RESULTS where there is none, for its owner alone; one that is there stays as open as it is."""
    root.parent.mkdir(parents=True, exist_ok=True)
    root.mkdir(mode=0o700, exist_ok=True)


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
