"""What the end of a command means to a script: its exit status."""

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
