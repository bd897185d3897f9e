"""How a run ends: the reason is set once, and all who wait for it are woken."""

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
    """Why a run stops. error: a lasting failure that is no job's fault."""

    end: End
    reason: str
    error: Exception | None = None


class Ending:
    """Whether a run goes on.

    finished: no job is left to begin, and none is in flight. draining: why no more jobs are begun, while those in
    flight end by themselves; ''. stopping: done when jobs in flight should be handed back, uncharged, and no more be
    taken. has_all: whether all jobs are in the database; until then, having none left is not the end. grace_s: how long
    SIGTERM lets jobs in flight go on, in seconds.
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
        """Hand back jobs in flight, uncharged, and take no more. The first reason given counts."""
        if not self.stopping.done():
            self.stopping.set_result(Stop(end, reason, error))

    def fail(self, error: Exception) -> None:
        """A lasting failure that is no job's fault: the run stops, and raises it."""
        self.stop(error_line(error), End.FAILED, error)

    @property
    def reason(self) -> str:
        """Why the run stops; '' while it does not."""
        return self.stopping.result().reason if self.stopping.done() else ""
