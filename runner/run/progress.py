"""How far a run is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from runner.commands import Commands
from runner.errors import WorldFault
from runner.job import Progress
from runner.run.say import say
from runner.store import Reader

_PLAIN_LINE_EVERY_S, _BAR_EVERY_S = 10.0, 0.25
_WIDE_COLUMNS = 90


async def show_progress(
    store: Reader, campaign_id: int, commands: Commands, count_sessions: Callable[[], int]
) -> None:
    """A bar on a terminal; a plain line now and then elsewhere; and a line when somebody pauses or cancels."""

    def look() -> tuple[Progress, str]:
        return store.progress(campaign_id), store.campaign(campaign_id)["state"]

    state = "open"
    progress = store.progress(campaign_id)
    on_terminal = sys.stderr.isatty()
    bar = _bar_of(progress, is_shown=on_terminal)
    first, began = progress.done + progress.failed, time.monotonic()
    next_line = began + _PLAIN_LINE_EVERY_S / 2
    try:
        while True:
            await asyncio.sleep(_BAR_EVERY_S if on_terminal else 1.0)
            try:
                progress, state_now = await asyncio.to_thread(look)
            except WorldFault:
                continue
            if state_now != state:
                state = state_now
                say(_state_line(state, commands))
            settled = progress.done + progress.failed
            bar.total = progress.total
            told = "" if state == "open" else f"{state}: "
            # The terminal may be gone; the run is not.
            with contextlib.suppress(OSError):
                bar.bar_format = _format_of(told, os.get_terminal_size(sys.stderr.fileno()).columns)
            bar.set_postfix_str(f"{progress.failed} failed, {count_sessions()} sessions", refresh=False)
            bar.update(settled - bar.n)
            if not on_terminal and time.monotonic() >= next_line:
                next_line = time.monotonic() + _PLAIN_LINE_EVERY_S
                rate = (settled - first) / (time.monotonic() - began)
                say(
                    f"{told}{progress.done:,} of {progress.total:,} done, {progress.failed:,} failed, "
                    f"{rate:.1f} jobs/s, {count_sessions()} sessions"
                )
    finally:
        # A last look, so that the bar ends where the campaign does.
        with contextlib.suppress(WorldFault):
            progress = await asyncio.to_thread(store.progress, campaign_id)
        bar.update(progress.done + progress.failed - bar.n)
        bar.close()


def _bar_of(progress: Progress, is_shown: bool) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=progress.total,
        initial=progress.done + progress.failed,
        unit="job",
        dynamic_ncols=True,
        disable=not is_shown,
        file=sys.stderr,
        smoothing=0.1,
    )


def _format_of(told: str, columns: int) -> str:
    """The campaign's state first; on a narrow terminal no bar, so that it is the expected end that is cut off."""
    if columns >= _WIDE_COLUMNS:
        return told + "{l_bar}{bar}{r_bar}"
    return told + "{n_fmt}/{total_fmt}{postfix}, {rate_fmt}, {remaining} left"


def _state_line(state: str, commands: Commands) -> str:
    if state == "open":
        return f"{commands.campaign} goes on"
    return f"{commands.campaign} is {state}: no job is begun; to let it go on: {commands.verb('resume')}"
