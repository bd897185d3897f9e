"""The exit statuses: what the end of a command means to a script."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """What a command's end means to a script."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    STOPPED = 3
    NOTHING_TO_DO = 4
    UNFINISHED = 8
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """Its meaning, in words."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitStatus.DONE: "all jobs are done",
    ExitStatus.SOME_FAILED: "finished, but some jobs failed (verify: damage was found; doctor: fix something; "
    "preview: the job failed, or may be wrong)",
    ExitStatus.USAGE: "usage, or a file that cannot be used",
    ExitStatus.STOPPED: "stopped: paused, cancelled, halted (also by a canary), no browser could be started, or "
    "join found no run",
    ExitStatus.NOTHING_TO_DO: "there are no jobs",
    ExitStatus.UNFINISHED: "unfinished (status --exit-status, run --limit, run --max-hours, join; run: files "
    "wait for an object store)",
    ExitStatus.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitStatus.TERMINATED: "terminated",
}
