"""Shows a run's progress: a bar on a terminal or in a notebook, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from runner.errors import WorldFault
from runner.job import Progress
from runner.run.pace import Pace, left_text, rate_text
from runner.run.say import say, terminal

__all__ = ["JobSteps", "Live", "ProgressView", "Screen", "line_of", "screen_of"]

_PLAIN_LINE_EVERY_S, _BAR_EVERY_S, _LOOK_EVERY_S = 30.0, 0.25, 1.0
_FIRST_PLAIN_LINE_S = 5.0
_NOTEBOOK_COLUMNS = 100
_WIDE_COLUMNS, _LEAST_BAR_COLUMNS = 90, 14


class Screen(Enum):
    """The ways to show a run's progress."""

    BAR = "a bar on a terminal"
    NOTEBOOK = "a bar in a notebook"
    LINES = "plain lines"


def screen_of(stream: Any) -> Screen:
    """The best way for that stream."""
    if "ipykernel" in sys.modules and not stream.isatty():
        return Screen.NOTEBOOK
    return Screen.BAR if stream.isatty() and os.environ.get("TERM") != "dumb" else Screen.LINES


@dataclass(frozen=True)
class JobSteps:
    """A running job with steps: how many of them are finished."""

    key: str
    finished: int
    total: int


@dataclass(frozen=True)
class Live:
    """The run's own state. sessions: browser tabs. charged: attempts of this run that failed.

    fault: what keeps it from work now; ''. room: the free space on the disk, if that matters; ''.
    """

    sessions: int
    charged: int
    fault: str = ""
    room: str = ""
    steps: Sequence[JobSteps] = ()


def line_of(progress: Progress, live: Live, retried: int, pace: Pace, columns: int | None = None) -> str:
    """The progress in so many columns; what matters least is left out first."""
    rate, left_s = pace.rate, pace.left_s
    # The parts in their order, each with its importance.
    parts = [
        (f"{progress.done:,}/{progress.total:,} done", 0),
        (f"{progress.failed:,} failed" if progress.failed else "", 1),
        (f"{retried:,} retried" if retried > 0 else "", 6),
        (rate_text(rate) if rate is not None else "", 4),
        (f"{live.sessions} session{'' if live.sessions == 1 else 's'}", 5),
        (live.room, 3),
        (left_text(left_s) if left_s is not None and progress.left else "", 2),
    ]
    kept = [part for part in parts if part[0]]
    while columns is not None and len(", ".join(text for text, _ in kept)) > columns and len(kept) > 1:
        kept.remove(max(kept, key=lambda part: part[1]))
    return ", ".join(text for text, _ in kept)


class ProgressView:
    """Shows a run's progress until it is cancelled, and says so when somebody pauses or cancels the campaign.

    look: gives the progress of the campaign of that name, and its state; it may raise WorldFault. resume: the command
    that lets a paused one go on. live: gives the run's own state. with_steps: a bar for each job of many steps, too.
    """

    def __init__(
        self,
        look: Callable[[], tuple[Progress, str]],
        campaign: str,
        resume: str,
        live: Callable[[], Live],
        screen: Screen,
        with_steps: bool = False,
    ):
        self._look_at_it, self._campaign, self._resume = look, campaign, resume
        self._live, self._screen = live, screen
        self._with_steps = with_steps and screen is not Screen.LINES
        self._pace = Pace()
        self._state = "open"
        self._progress, _ = look()
        self._failed_before = self._progress.failed
        self._step_bars: dict[str, Any] = {}

    def tell(self) -> None:
        """Say how far it is, for SIGUSR1."""
        say(f"{self._campaign}: {self._standing()}{self._line()}")

    async def show(self) -> None:
        """Show it until this is cancelled."""
        bar = None if self._screen is Screen.LINES else self._new_bar()
        next_line = time.monotonic() + _FIRST_PLAIN_LINE_S
        try:
            while True:
                await asyncio.sleep(_LOOK_EVERY_S if bar is None else _BAR_EVERY_S)
                await self._look()
                if bar is not None:
                    self._draw(bar)
                elif time.monotonic() >= next_line:
                    next_line = time.monotonic() + _PLAIN_LINE_EVERY_S
                    say(self._standing() + self._line())
        finally:
            for step_bar in self._step_bars.values():
                step_bar.close()
            if bar is not None:
                # A last look, so that the bar ends where the campaign does.
                with contextlib.suppress(WorldFault):
                    self._progress, _ = await asyncio.to_thread(self._look_at_it)
                self._draw(bar)
                bar.close()

    async def _look(self) -> None:
        try:
            self._progress, state = await asyncio.to_thread(self._look_at_it)
        except WorldFault:
            return
        if state != self._state:
            self._state = state
            say(self._state_line())
        is_standing = state != "open" or bool(self._live().fault)
        settled = self._progress.done + self._progress.failed
        self._pace.look(time.monotonic(), settled, self._progress.left, is_standing)

    def _state_line(self) -> str:
        if self._state == "open":
            return f"{self._campaign} goes on"
        return f"{self._campaign} is {self._state}: no job is begun; to let it go on: {self._resume}"

    def _standing(self) -> str:
        """Why no job is begun now; ''."""
        fault = self._live().fault
        if self._state != "open":
            return f"{self._state}: "
        return f"waiting ({fault:.60}): " if fault else ""

    def _line(self, columns: int | None = None) -> str:
        live = self._live()
        retried = live.charged - (self._progress.failed - self._failed_before)
        return line_of(self._progress, live, retried, self._pace, columns)

    # -- the bar ---------------------------------------------------------------------------------

    def _new_bar(self, **options: Any) -> Any:
        # In a notebook it is a widget if ipywidgets is installed, and text otherwise.
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm as notebook_bar
        from tqdm import tqdm

        kind = notebook_bar if self._screen is Screen.NOTEBOOK else tqdm
        values = {
            "total": self._progress.total,
            "dynamic_ncols": True,
            "file": terminal(),
            "mininterval": 0.0,
        }
        return kind(ascii=True if _has_letters_only() else None, bar_format="{bar}", **(values | options))

    def _draw(self, bar: Any) -> None:
        bar.total = self._progress.total
        columns = _NOTEBOOK_COLUMNS if self._screen is Screen.NOTEBOOK else _columns()
        told = self._standing()
        if columns < _WIDE_COLUMNS:
            bar.bar_format = _plain(told + self._line(columns - len(told) - 1))
        else:
            share = (self._progress.done + self._progress.failed) / max(1, self._progress.total)
            head = f"{told}{int(100 * share):3d}%|"
            text = self._line(columns - len(head) - _LEAST_BAR_COLUMNS)
            bar.bar_format = f"{_plain(head)}{{bar}}| {_plain(text)}"
        bar.n = self._progress.done + self._progress.failed
        # The terminal may be gone; the run is not.
        with contextlib.suppress(OSError, ValueError):
            bar.refresh()
            if self._with_steps:
                self._draw_steps()

    def _draw_steps(self) -> None:
        steps = {one.key: one for one in self._live().steps}
        for key in [key for key in self._step_bars if key not in steps]:
            self._step_bars.pop(key).close()
        for key, one in steps.items():
            if key not in self._step_bars:
                self._step_bars[key] = self._new_bar(total=one.total, leave=False)
            bar = self._step_bars[key]
            bar.bar_format = f"  {_plain(key[:24])} |{{bar}}| {one.finished:,}/{one.total:,} steps"
            bar.n = one.finished
            bar.refresh()


def _plain(text: str) -> str:
    """Text escaped for str.format."""
    return text.replace("{", "{{").replace("}", "}}")


def _columns() -> int:
    try:
        return os.get_terminal_size(terminal().fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _has_letters_only() -> bool:
    """Whether the locale says that the terminal shows only ASCII; Python itself would still write UTF-8."""
    named = os.environ.get("LC_ALL") or os.environ.get("LANG", "")
    return named in ("C", "POSIX")
