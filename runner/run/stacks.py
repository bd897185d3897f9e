"""Reads the stacks that faulthandler writes, to find where in the user's own code a thread was."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

__all__ = ["crashed_thread", "place_in", "signal_told", "with_thread_last"]

_THREAD = re.compile(r"(Current thread|Thread) 0x([0-9a-f]+)")
_FRAME = re.compile(r'  File "(.*)", line (\d+)(.*)')
_FATAL = re.compile(r"Fatal Python error: (.*)")
_PACKAGE = str(Path(__file__).parents[1])


def place_in(stacks: str, thread: int, folder: Path) -> str:
    """FILE:LINE, the user's innermost line in that thread's last stack; '' if unknown.

    The user's own code is in the folder, or else is neither Python's, nor installed, nor ours.
    """
    frames = _frames_of(stacks, thread)
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")] + [
        _PACKAGE
    ]
    own = [
        place
        for place in frames
        if Path(place[0]).is_relative_to(folder) and "site-packages" not in Path(place[0]).parts
    ]
    others = [place for place in frames if not any(Path(place[0]).is_relative_to(one) for one in installed)]
    for found in (own, others, frames):
        if found:
            return f"{found[0][0]}:{found[0][1]}"
    return ""


def crashed_thread(stacks: str) -> int | None:
    """The thread in which a fatal error happened, if one was reported."""
    fatal = _FATAL.search(stacks)
    if fatal is None:
        return None
    for kind, number in _THREAD.findall(stacks[fatal.end() :]):
        if kind == "Current thread":
            return int(number, 16)
    return None


def signal_told(stacks: str) -> str:
    """The name of the fatal error, or ''."""
    found = _FATAL.search(stacks)
    return found[1] if found else ""


def with_thread_last(stacks: str, thread: int) -> str:
    """The stacks, and after them that thread's again, in the order of a traceback: the innermost line last."""
    lines = [
        f'  File "{file}", line {line}{where}' for file, line, where in reversed(_frames_of(stacks, thread))
    ]
    return (
        "\n".join([stacks.rstrip(), "", "The job's thread (most recent call last):", *lines])
        if lines
        else stacks
    )


def _frames_of(stacks: str, thread: int) -> list[tuple[str, int, str]]:
    """The last stack of that thread, innermost first."""
    frames: list[tuple[str, int, str]] = []
    is_its_own = False
    for line in stacks.splitlines():
        header, frame = _THREAD.match(line), _FRAME.match(line)
        if header:
            is_its_own = int(header[2], 16) == thread
            frames = [] if is_its_own else frames
        elif frame and is_its_own:
            frames.append((frame[1], int(frame[2]), frame[3]))
        elif not frame:
            is_its_own = False
    return frames
