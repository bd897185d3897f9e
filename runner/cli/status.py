"""The verb status: how far each campaign is, once or continuously."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from runner.cli.chosen import campaign_rows, looked_at
from runner.cli.options import campaign_argument, database_option, json_option, option
from runner.exits import ExitStatus
from runner.reasons import whole_lines

if TYPE_CHECKING:
    from runner.report import Status
    from runner.store import Reader

__all__ = ["status"]

_WATCH_EVERY_S = 1.0


@click.command()
@campaign_argument
@database_option
@json_option
@option("--watch", is_flag=True, help="Look again each second, until nothing is left or Ctrl-C.")
@option("--exit-status", is_flag=True, help="Exit with 1 when jobs failed, with 8 when jobs are left.")
def status(campaign: str | None, db: str | None, as_json: bool, watch: bool, exit_status: bool) -> ExitStatus:
    """Count each campaign's jobs by status, and show who is at work.

    With --watch a terminal shows it in place, with rate and expected end; a pipe gets a line, or with --json a list on
    one line, each time something changes.

    Example: runner status --watch
    """
    with looked_at(db) as store:
        found = _look(store, campaign)
        if watch:
            found = _watch(store, campaign, as_json)
        elif as_json:
            click.echo(json.dumps([asdict(one) for one in found], indent=1))
        else:
            click.echo(whole_lines(map(str, found)), nl=False)
    if exit_status and any(not one.is_over for one in found):
        return ExitStatus.UNFINISHED
    if exit_status and any(one.failed for one in found):
        return ExitStatus.SOME_FAILED
    return ExitStatus.DONE


def _look(store: Reader, campaign: str | None) -> list[Status]:
    from runner.report import status_of

    return [status_of(store, row) for row in campaign_rows(store, campaign)]


def _watch(store: Reader, campaign: str | None, as_json: bool) -> list[Status]:
    """Show the status again and again, until nothing is left or the user stops it; returns the last one."""
    found: list[Status] = []
    show = _Lines() if as_json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb" else _InPlace()
    try:
        while True:
            found = _look(store, campaign)
            show(json.dumps([asdict(one) for one in found]) if as_json else show.told(found), found)
            if all(one.is_over for one in found):
                return found
            time.sleep(_WATCH_EVERY_S)
    except KeyboardInterrupt:
        return found  # this is how the user stops it


class _Lines:
    """Writes a status only when it differs from the one before."""

    def __init__(self) -> None:
        self._before: object = None

    def told(self, found: list[Status]) -> str:
        return whole_lines(map(str, found))[:-1]

    def __call__(self, text: str, found: list[Status]) -> None:
        # A new beat alone is no news.
        now = [(one.campaign, one.state, one.total, one.done, one.failed, one.in_progress) for one in found]
        if now != self._before:
            click.echo(text)
            self._before = now


class _InPlace(_Lines):
    """Writes each status over the one before, with the rate and the expected end of each campaign."""

    def __init__(self) -> None:
        from runner.run.pace import Pace

        super().__init__()
        self._new_pace = Pace
        self._paces: dict[str, Pace] = {}
        self._height = 0

    def told(self, found: list[Status]) -> str:
        from runner.run.pace import left_text, rate_text

        lines = []
        for one in found:
            pace = self._paces.setdefault(one.campaign, self._new_pace())
            pace.look(
                time.monotonic(), one.done + one.failed, one.pending + one.in_progress, one.state != "open"
            )
            ends = "" if pace.left_s is None or one.is_over else f", {left_text(pace.left_s)}"
            lines.append(f"{one}{f', {rate_text(pace.rate)}' if pace.rate else ''}{ends}")
        return whole_lines(lines)[:-1]

    def __call__(self, text: str, found: list[Status]) -> None:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns or 80
        up = f"\x1b[{self._height}A" if self._height else ""
        self._height = sum(max(1, -(-len(line) // columns)) for line in text.split("\n"))
        click.echo(f"{up}\r\x1b[J{text}")
