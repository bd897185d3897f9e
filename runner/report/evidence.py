"""What is kept of an attempt that failed, taken apart: the page's console, its last picture, the traceback."""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from runner.reasons import one_line

__all__ = ["Evidence", "own_frames", "read_evidence"]

# As run/settle.py writes them.
_CONSOLE, _PICTURE = "page console: ", "last frame: "
# Vuer's page says so each time: it asks the net for what it does not need, and its text knows not all of a font.
_NOISE = re.compile(r"fonts\.g(oogleapis|static)\.com|cdn\.jsdelivr\.net|unsupported G(POS|SUB) table")
_FRAME = re.compile(r'  File "(.*?)", line \d+')
_LONGEST = 500
_OURS = Path(__file__).parents[1]
_EVENT_LOOP = Path(sysconfig.get_path("stdlib")) / "asyncio"


@dataclass(frozen=True)
class Evidence:
    """console: what the page printed last. picture: what it showed last, a path below the results; None where none
    is kept. trace: the lines of the traceback, or of the threads' stacks."""

    console: tuple[str, ...] = ()
    picture: str | None = None
    trace: tuple[str, ...] = ()


def read_evidence(text: str | None) -> Evidence:
    """From the text that an attempt's row has."""
    console: list[str] = []
    trace: list[str] = []
    picture = None
    for line in (text or "").splitlines():
        if not trace and line.startswith(_CONSOLE):
            if not _NOISE.search(line):
                console.append(one_line(line.removeprefix(_CONSOLE), _LONGEST))
        elif not trace and line.startswith(_PICTURE):
            picture = line.removeprefix(_PICTURE)
        else:
            trace.append(line)
    return Evidence(tuple(console), picture, own_frames(trace))


def own_frames(trace: list[str]) -> tuple[str, ...]:
    """A traceback without the frames of runner and the event loop, where others are left; each line is harmless."""
    kept: list[str] = []
    is_ours, has_own = False, False
    for line in trace:
        frame = _FRAME.match(line)
        if frame:
            is_ours = _is_ours(frame[1])
            has_own = has_own or not is_ours
        elif not line.startswith("    "):
            is_ours = False
        if not is_ours:
            kept.append(line)
    return tuple(_harmless(line) for line in (kept if has_own else trace))


def _is_ours(file: str) -> bool:
    path = Path(file)
    # The examples are there to be the user's own.
    return (path.is_relative_to(_OURS) and "examples" not in path.parts) or path.is_relative_to(_EVENT_LOOP)


def _harmless(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + one_line(line, _LONGEST)
