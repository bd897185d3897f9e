"""How a run ends: why it stops, said once, and heard by all who wait for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum

from runner.reasons import error_line

__all__ = ["End", "Ending"]


class End(str, Enum):
    """What makes a run stop before its jobs are all done."""

    STOPPED = "stopped"
    HALTED = "halted"
    FAILED = "failed"


@dataclass(frozen=True)
class Stop:
    """Why a run stops. error: what failed, where it is not a job's fault and does not pass."""

    end: End
    reason: str
    error: Exception | None = None


class Ending:
    """Whether a run goes on.

    finished: no job is left to be begun, and none is in flight. draining: why no more jobs are begun, while those in
    flight end by themselves; ''. stopping: done when what is in flight is to be handed back, uncharged, and no more
    to be taken. has_all: whether all jobs are in the database; else it is not the end that none is left. grace_s: for
    how long SIGTERM lets those in flight go on, in seconds.
    """

    def __init__(self, has_all: bool = True, grace_s: float = 0.0) -> None:
        self.has_all, self.grace_s = has_all, grace_s
        self.draining = ""
        self.finished = asyncio.Event()
        self.stopping: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()

    def drain(self, reason: str) -> None:
        """Begin no more jobs; the run is over when those in flight have ended."""
        self.draining = self.draining or reason

    def stop(self, reason: str, end: End = End.STOPPED, error: Exception | None = None) -> None:
        """Hand back what is in flight, uncharged, and take no more; the first who says why is believed."""
        if not self.stopping.done():
            self.stopping.set_result(Stop(end, reason, error))

    def fail(self, error: Exception) -> None:
        """Something failed that is not a job's fault and does not pass: the run stops, and raises it."""
        self.stop(error_line(error), End.FAILED, error)

    @property
    def reason(self) -> str:
        """Why the run stops; '' while it does not."""
        return self.stopping.result().reason if self.stopping.done() else ""
