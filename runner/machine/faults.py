"""Tells faults of the world from a job's own failures, and probes whether they are over."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from runner.errors import WorldFault
from runner.machine.disk import size_text

# A probe raises WorldFault, or an OSError that means one, as long as its part of the world is at fault.
Probe = Callable[[], None]
_OS_FAULTS = {
    errno.ENOSPC: "the disk is full: make room on it",
    errno.EDQUOT: "the disk quota is used up: make room",
    errno.EMFILE: "this process is out of file descriptors: raise 'ulimit -n'",
    errno.ENFILE: "the machine is out of file descriptors: end what holds them",
    errno.EIO: "the disk reports input/output errors",
    errno.EROFS: "the disk is mounted read-only",
    errno.ESTALE: "the network disk has gone away",
    errno.ENOMEM: "the machine is out of memory",
}


def world_fault(error: BaseException | None) -> WorldFault | None:
    """The fault of the world behind an exception; None where it is the job's own."""
    seen = set()
    # Causes may form a cycle.
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, WorldFault):
            return error
        if isinstance(error, OSError) and error.errno in _OS_FAULTS:
            where = f" ({error.filename})" if error.filename else ""
            return WorldFault(_OS_FAULTS[error.errno] + where)
        error = error.__cause__
    return None


def probe_disk(folder: Path, least_bytes: int = 0) -> Probe:
    """Fails while the folder's disk accepts no file, or has less than least_bytes left."""

    def probe() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        there = os.statvfs(folder)
        if there.f_bavail * there.f_frsize < least_bytes:
            raise WorldFault(
                f"the disk of {folder} has less than {size_text(least_bytes)} left: make room on it"
            )
        file = folder / f".probe.{os.getpid()}.tmp"
        try:
            with open(file, "wb") as opened:
                opened.write(bytes(65536))
                opened.flush()
                os.fsync(opened.fileno())
        finally:
            file.unlink(missing_ok=True)

    return probe


def probe_descriptors() -> None:
    """Fails while this process cannot open some more files."""
    opened = []
    try:
        for _ in range(16):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for descriptor in opened:
            os.close(descriptor)
