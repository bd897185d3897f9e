"""World faults: told apart from a job's own failures, and what pauses a run until they are over."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any, Callable, TypeVar

from runner.disk import size_text
from runner.errors import WorldFault

__all__ = ["Breaker", "ClockWatch", "Guard", "Probe", "probe_descriptors", "probe_disk", "world_fault"]

# Raises WorldFault, or an OSError that tells of one, as long as its part of the world is at fault.
Probe = Callable[[], None]
_Result = TypeVar("_Result")

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
_LONGEST_WAIT_S = 60.0
_CALM_S = 60.0
_LEAP_S = 5.0
_PROBE_EVERY_S = 5.0
_LOOK_AGAIN_S = 0.5


def world_fault(error: BaseException | None) -> WorldFault | None:
    """The fault of the world behind an exception; None where it is the job's own."""
    while error is not None:
        if isinstance(error, WorldFault):
            return error
        if isinstance(error, OSError) and error.errno in _OS_FAULTS:
            where = f" ({error.filename})" if error.filename else ""
            return WorldFault(_OS_FAULTS[error.errno] + where)
        error = error.__cause__
    return None


def probe_disk(folder: Path, least_bytes: int = 0) -> Probe:
    """Fails while the folder's disk takes no file, or has less than least_bytes left."""

    def probe() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        there = os.statvfs(folder)
        if there.f_bavail * there.f_frsize < least_bytes:
            raise WorldFault(f"the disk of {folder} has less than {size_text(least_bytes)} left: make room on it")
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


class Guard:
    """Whether the world lets the run go on. Anyone may report a fault; a round of probes ends the pause.

    A fault that comes back soon after it was over is waited for longer each time, up to a minute.

    say: takes a line for people: one when a pause begins, one when it ends.
    Safe to share between threads.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        probes: list[Probe],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self.probes = probes
        self.fault: WorldFault | None = None
        # (Unix seconds, kind, message), for the database, when it can be written.
        self.events: deque[tuple[float, str, str]] = deque()
        self._say, self._clock, self._monotonic = say, clock, monotonic
        self._lock = threading.Lock()
        self._began = self._ended = float("-inf")
        self._wait_s = 0.5
        self._next_probes = float("-inf")

    def note(self, kind: str, message: str) -> None:
        """Keep an event for the report."""
        self.events.append((self._clock(), kind, message))

    def pause(self, fault: WorldFault) -> None:
        """The world is at fault: no job is begun until a round of probes finds it well."""
        with self._lock:
            if self.fault is not None:
                return
            soon = self._monotonic() - self._ended < _CALM_S
            self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S) if soon else 0.5
            self._began = self._monotonic()
            self.fault = fault
        self.note("pause", str(fault))
        self._say(f"paused, no job is charged: {fault}")

    def look(self, *chores: Callable[[], None]) -> None:
        """One round: the run's own chores, and the probes, which are spared for a while when all is well.

        A fault pauses; a round without one ends the pause.
        """
        probes: list[Probe] = []
        if self.fault is not None or self._monotonic() >= self._next_probes:
            self._next_probes = self._monotonic() + _PROBE_EVERY_S
            probes = self.probes
        try:
            for act in (*probes, *chores):
                act()
        except (WorldFault, OSError) as error:
            fault = world_fault(error)
            if fault is None:
                raise
            self.pause(fault)
            return
        with self._lock:
            lasted_s = self._monotonic() - self._began
            if self.fault is None or lasted_s < self._wait_s:
                return
            fault, self.fault = self.fault, None
            self._ended = self._monotonic()
        self.note("resume", f"after {lasted_s:.1f} s: {fault}")
        self._say(f"going on after {lasted_s:.0f} s: {fault} (no longer)")

    def insist(self, act: Callable[..., _Result], *arguments: Any) -> _Result:
        """What act returns, without which a run cannot begin or end: tried until the world lets it be done."""
        returned: list[_Result] = []
        while not returned:
            if self.fault is not None:
                time.sleep(_LOOK_AGAIN_S)
            self.look(lambda: returned.append(act(*arguments)))
        return returned[0]


class Breaker:
    """Tells when so many of the last attempts failed that the night is better not spent on the rest.

    share: of the last WINDOW attempts; None never trips. What counts is how many different jobs
    failed, so that one bad job with many attempts stops nobody, and neither does a campaign's bad
    handful: a tenth failing job among the first ten trips a share of 20 %, the ninth does not.
    """

    WINDOW = 50

    def __init__(self, share: float | None):
        self._share = share
        self._last: deque[tuple[int, int, str]] = deque(maxlen=self.WINDOW)

    def add(self, job_id: int, attempt: int, error: str = "") -> str:
        """Count an attempt, with its error if it failed; returns why to stop, or ''."""
        self._last.append((job_id, attempt, error))
        if self._share is None or not error:
            return ""
        failed = [error for _, _, error in self._last if error]
        if len({job for job, _, error in self._last if error}) < self._share * self.WINDOW:
            return ""
        most, times = Counter(failed).most_common(1)[0]
        alike = "all" if times == len(failed) else f"{times} of them"
        return f"{len(failed)} of the last {len(self._last)} attempts failed, {alike} with {most}"

    def charged(self) -> list[tuple[int, int]]:
        """The failed ones among the last attempts: job id and number."""
        return [(job, attempt) for job, attempt, error in self._last if error]


class ClockWatch:
    """Sees that the machine slept, that its clock was set, and that this process stood still.

    Compares the wall clock with the monotonic one, which on Linux stands still while the machine
    sleeps, and a wait with how long it was meant to take. Nothing that is decided here depends on
    the wall clock: this is for the report.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self._clock, self._monotonic = clock, monotonic
        self._offset_s = clock() - monotonic()

    def look(self, overslept_s: float = 0.0) -> str:
        """What was seen since the last look, in a line; '' for nothing.

        overslept_s: how much longer than meant the last wait took, in seconds.
        """
        offset_s = self._clock() - self._monotonic()
        leap_s, self._offset_s = offset_s - self._offset_s, offset_s
        if leap_s > _LEAP_S:
            return f"the machine slept for {leap_s:.0f} s, or its clock was set forward by that"
        if leap_s < -_LEAP_S:
            return f"the machine's clock was set back by {-leap_s:.0f} s"
        if overslept_s > _LEAP_S:
            return f"this process was not let run for {overslept_s:.0f} s"
        return ""
