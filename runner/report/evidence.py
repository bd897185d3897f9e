"""Parses what the row of a failed attempt keeps: the page's console, times, the traceback."""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from runner.job import Phases
from runner.reasons import one_line

__all__ = ["Evidence", "own_frames", "read_evidence"]

# As run/settle.py writes them. Older versions also wrote the last picture's path, which evidence_of knows.
_CONSOLE, _PHASES, _PICTURE = "page console: ", "phases: ", "last frame: "
_FRAME = re.compile(r'  File "(.*?)", line \d+')
_LONGEST = 500
_OURS = Path(__file__).parents[1]
_EVENT_LOOP = Path(sysconfig.get_path("stdlib")) / "asyncio"


@dataclass(frozen=True)
class Evidence:
    """console: the page's last lines. trace: the lines of the traceback, or of the threads' stacks.

    phases: where the render's time went; None where that is not known.
    """

    console: tuple[str, ...] = ()
    trace: tuple[str, ...] = ()
    phases: Phases | None = None


def read_evidence(text: str | None) -> Evidence:
    """From the text in an attempt's row."""
    console: list[str] = []
    trace: list[str] = []
    phases = None
    for line in (text or "").splitlines():
        if not trace and line.startswith(_CONSOLE):
            console.append(one_line(line.removeprefix(_CONSOLE), _LONGEST))
        elif not trace and line.startswith(_PHASES):
            phases = Phases.from_text(line.removeprefix(_PHASES))
        elif trace or not line.startswith(_PICTURE):
            trace.append(line)
    return Evidence(tuple(console), own_frames(trace), phases)


def own_frames(trace: list[str]) -> tuple[str, ...]:
    """A traceback without the frames of runner and the event loop, unless these are all; each line is harmless."""
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
    # The examples count as the user's own code.
    return (path.is_relative_to(_OURS) and "examples" not in path.parts) or path.is_relative_to(_EVENT_LOOP)


def _harmless(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + one_line(line, _LONGEST)
