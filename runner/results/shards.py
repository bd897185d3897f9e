"""Shards: tar files of many jobs, readable by WebDataset, each written by one process, and read back after a crash.

    RESULTS/CAMPAIGN/shards/WORKER-PID-0001.tar

A job is a sample: a member ID.NAME for each of its files, and at last ID.json, which describes them and holds all that
the job's rows would hold. WORKER and PID, in hex, are those of the process that writes it, which holds a lock on it
(flock) as long as it lives. No name is used twice. A tar file needs no end: each recorded byte stays where it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import count
from pathlib import Path
from typing import IO, Any

from runner.job import Artifact, Extent, ShardEnd
from runner.results.columns import MANIFEST_FIELD
from runner.results.folder import ResultsFolder, fsync, make_durable_folder

__all__ = [
    "FOLDER",
    "SIDECAR",
    "Sample",
    "Shard",
    "ended_shard",
    "is_at_rest",
    "member_name",
    "sample_name",
    "samples_behind",
    "told",
    "writer_of",
]

FOLDER = "shards"
SIDECAR = "json"
_BLOCK = 512
# The numbers of this process's shards. None is used twice, because a shard that is no longer here may be in an object
# store.
_NUMBERS = count(1)


def sample_name(job_id: int, attempt: int) -> str:
    """The beginning of the names of a sample's members; no two attempts share one."""
    return f"{job_id:08d}" if attempt == 1 else f"{job_id:08d}-{attempt}"


def member_name(sample: str, name: str) -> str:
    """A file's name in its shard. Files of a sample differ after the first dot, so a folder becomes a dot."""
    return f"{sample}.{name.replace('/', '.')}"


def told(results: ResultsFolder, file: Mapping[str, Any], attempt: int) -> str:
    """The place of a file, for people. file: its row. A shard comes with the member's name for 'tar -xOf'."""
    path = results.stored(Extent(file["path"], file["start"], file["size"])).where
    if file["start"] is None:
        return path
    return f"{path}:{member_name(sample_name(file['job_id'], attempt), file['name'])}"


class Shard:
    """A shard that this process writes, and nobody else as long as it is open.

    root: RESULTS. jobs: how many samples are in its first `size` bytes. worker_id: of the worker for which it was
    begun. began: when, by the monotonic clock. After an OSError it must be given up.
    """

    def __init__(self, root: Path, campaign_name: str, worker_id: int):
        self.worker_id = worker_id
        self.size = self.jobs = 0
        self.began = time.monotonic()
        self._flushed = 0
        folder = root / campaign_name / FOLDER
        make_durable_folder(folder, root)
        self.file, self._opened = _begin(folder, f"{worker_id:x}-{os.getpid():x}")
        fsync(folder)
        self._path = self.file.relative_to(root).as_posix()

    @property
    def end(self) -> ShardEnd:
        """The valid part, once it is flushed."""
        return ShardEnd(self._path, self.size, self.jobs)

    def append(self, sample: str, files: Sequence[tuple[Artifact, bytes]], sidecar: bytes) -> list[Artifact]:
        """Write a sample; returns its files as stored there."""
        placed, at = [], self.size
        parts: list[bytes] = []
        for artifact, content in files:
            header = _header(member_name(sample, artifact.name), len(content))
            start = at + len(header)
            placed.append(
                Artifact(artifact.name, self._path, len(content), artifact.sha256, artifact.kind, start)
            )
            parts += [header, content, _padding(len(content))]
            at = start + len(content) + len(parts[-1])
        parts += [_header(f"{sample}.{SIDECAR}", len(sidecar)), sidecar, _padding(len(sidecar))]
        unwritten = memoryview(b"".join(parts))
        self.size += len(unwritten)
        while unwritten:
            unwritten = unwritten[self._opened.write(unwritten) :]
        self.jobs += 1
        return placed

    def flush(self) -> None:
        """Make all that was appended durable."""
        getattr(os, "fdatasync", os.fsync)(self._opened.fileno())
        self._flushed = self.size

    def close(self) -> None:
        """Close it; what was not flushed is cut off."""
        with contextlib.suppress(OSError):
            self._opened.close()
        with contextlib.suppress(OSError):
            if not self._flushed:
                self.file.unlink()
            elif self._flushed < self.file.stat().st_size:
                os.truncate(self.file, self._flushed)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _begin(folder: Path, writer: str) -> tuple[Path, FileIO]:
    """Make a new file, which is locked before anybody can see it."""
    for number in _NUMBERS:
        file = folder / f"{writer}-{number:04d}.tar"
        if file.exists():
            continue
        unseen = folder / f".{file.name}.tmp"
        # Without a buffer: a process that a job forks would write its copy of the buffer at its own end.
        opened = open(unseen, "wb", buffering=0)
        with contextlib.suppress(OSError):
            # On a disk without locks only workers' rows tell who lives.
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unseen.rename(file)
        return file, opened
    raise AssertionError  # numbers do not end


def writer_of(file: Path) -> int | None:
    """The id of the worker for which a shard was begun; None for a file that is not ours."""
    with contextlib.suppress(ValueError):
        worker, _pid, _number = file.name.removeprefix(".").split(".")[0].split("-")
        return int(worker, 16)
    return None


@contextlib.contextmanager
def ended_shard(file: Path) -> Iterator[IO[bytes] | None]:
    """The shard, open for reading and cutting, while nobody else uses it; None if its writer lives, or it is gone."""
    try:
        opened = open(file, "r+b")
    except FileNotFoundError:
        yield None
        return
    with opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        yield opened


def is_at_rest(file: Path, size: int) -> bool:
    """Whether that shard has exactly so many bytes, and nobody will write to it."""
    try:
        with open(file, "rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return os.fstat(opened.fileno()).st_size == size
    except OSError:
        return False


@dataclass(frozen=True)
class Sample:
    """A whole sample that was read back. end: the byte of the shard behind it."""

    manifest: Mapping[str, Any]
    end: int


def samples_behind(opened: IO[bytes], path: str, size: int) -> Iterator[Sample]:
    """The samples behind that byte of a shard, as long as they are whole: each file has its size and hash."""
    opened.seek(size)
    with contextlib.suppress(tarfile.TarError, ValueError, KeyError, TypeError), _opened_tar(opened) as tar:
        found: dict[str, Artifact] = {}
        for member in tar:
            reader = tar.extractfile(member)
            content = reader.read() if reader is not None else b""
            if len(content) < member.size:
                return
            if not member.name.endswith(f".{SIDECAR}") or member.name.count(".") > 1:
                digest = hashlib.sha256(content).hexdigest()
                found[member.name] = Artifact("", path, member.size, digest, "", member.offset_data)
                continue
            told = json.loads(content)
            sample = member.name.removesuffix(f".{SIDECAR}")
            artifacts = [_as_lies(sample, file, found) for file in told["artifacts"]]
            manifest = told[MANIFEST_FIELD] | {"artifacts": artifacts}
            found = {}
            end = member.offset_data + member.size + len(_padding(member.size))
            if end > os.fstat(opened.fileno()).st_size:
                return
            yield Sample(manifest, end)


def _opened_tar(opened: IO[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=opened, mode="r:")


def _as_lies(sample: str, told: Mapping[str, Any], found: Mapping[str, Artifact]) -> dict[str, Any]:
    """A manifest's file in the shard. Raises ValueError where it differs from the manifest."""
    there = found[member_name(sample, told["name"])]
    if (there.size, there.sha256) != (told["size"], told["sha256"]):
        raise ValueError(f"{told['name']} is not whole")
    return vars(there) | {"name": told["name"], "kind": told["kind"]}
