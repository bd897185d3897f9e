"""The verb that looks at the machine: doctor."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from runner.cli.options import database_option, option, results_option, sessions_option
from runner.exits import ExitStatus

__all__ = ["doctor"]

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}
_ENDS = {
    "ok": "all is well",
    "warn": "it works; what is marked could be better",
    "fail": "fix what is marked before a night's run",
}


@click.command()
@sessions_option
@database_option
@results_option("Where files are to go. [default: results in this folder]", may_be_url=True)
@option(
    "--notify",
    multiple=True,
    envvar="RUNNER_NOTIFY",
    metavar="URL",
    help="Send a test notice there; may be repeated. [env: RUNNER_NOTIFY]",
)
@option("--json", "as_json", is_flag=True, help="Print JSON instead: the verdict, and a list of checks.")
def doctor(
    sessions: int, db: str | None, results: Path | str | None, notify: tuple[str, ...], as_json: bool
) -> ExitStatus:
    """Check this machine: software, disks, limits, browsers, cards.

    Renders five views twice and in reverse with each rasterizer, and starts as many browsers at once as a run would.
    With --sessions 0 it starts no browser. It leaves no files behind. Exits with 1 when something must be fixed.

    Example: runner doctor --sessions 4
    """
    from runner.doctor import Subject, examine, to_json, to_text, verdict

    checks = []
    remote = results if isinstance(results, str) else ""
    folder = results if isinstance(results, Path) else Path("results")
    subject = Subject(sessions, db or "runner.db", folder, notify, remote)
    for check in examine(subject, lambda line: click.echo(line, err=True)):
        checks.append(check)
        if not as_json:
            mark, told = to_text(check, sys.stdout.encoding or "ascii")
            click.echo(click.style(mark, fg=_COLORS[check.state.value]) + told, color=_colour())
    if as_json:
        click.echo(json.dumps(to_json(checks), indent=1))
    else:
        click.echo(f"\n{_ENDS[verdict(checks).value]}")
    return ExitStatus.SOME_FAILED if verdict(checks).value == "fail" else ExitStatus.DONE


def _colour() -> bool | None:
    """What the user wants; None means colours on a terminal only."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None
