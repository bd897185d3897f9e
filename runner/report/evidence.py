"""Parses what the row of a failed attempt keeps: the page's console, times, the traceback."""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from runner.job import Phases
from runner.reasons import one_line

__all__ = ["Evidence", "end_of_own", "own_frames", "read_evidence"]

# As run/settle.py writes them. Older versions also wrote the last picture's path, which evidence_of knows.
_CONSOLE, _PHASES, _PICTURE = "page console: ", "phases: ", "last frame: "
_FRAME = re.compile(r'  File "(.*?)", line \d+')
_LONGEST = 500
_OURS = Path(__file__).parents[1]
_STANDARD = Path(sysconfig.get_path("stdlib"))
_EVENT_LOOP = _STANDARD / "asyncio"
# Where session.add @ … is defined.
_NOTATION = ("site-packages", "vuer", "server.py")


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
    """A traceback without the frames of runner, Vuer's notation and the event loop, unless these are all.

    Each line is harmless.
    """
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
    is_runner = path.is_relative_to(_OURS) and "examples" not in path.parts
    return is_runner or path.is_relative_to(_EVENT_LOOP) or path.parts[-3:] == _NOTATION


def end_of_own(trace: tuple[str, ...], most: int) -> tuple[str, ...]:
    """The last lines, at most so many; where they show libraries alone, the user's innermost line and the error."""
    starts = [at for at, line in enumerate(trace) if _FRAME.match(line)]
    own = [at for at in starts if not _is_installed(trace[at])]
    if not own or own[-1] >= len(trace) - most:
        return trace[-most:]
    end = next((at for at in starts if at > own[-1]), len(trace) - 1)
    return (*trace[own[-1] : min(end, own[-1] + most - 1)], trace[-1])


def _is_installed(line: str) -> bool:
    frame = _FRAME.match(line)
    path = Path(frame[1] if frame else "")
    return path.is_relative_to(_STANDARD) or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def _harmless(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + one_line(line, _LONGEST)
