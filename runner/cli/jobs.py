"""The verb list: a campaign's jobs, by status, reason and params, as a table or as JSON."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import click

from runner.cli.chosen import campaign_table
from runner.cli.options import campaign_argument, database_option, option
from runner.errors import UsageError
from runner.patience import told_while

__all__ = ["list_jobs"]

_STATUSES = ("pending", "in_progress", "done", "failed")
_TABLE_ROWS = 100
_LONGEST_KEY = 36


@click.command("list")
@campaign_argument
@database_option
@option("--status", type=click.Choice(_STATUSES), help="Only jobs of that status.")
@option("--error", metavar="REGEX", help="Only failed jobs whose error this regular expression finds.")
@option(
    "--where",
    metavar="EXPRESSION",
    help="Only jobs for which it is true, such as 'light > 3 and kind == \"cup\"'.",
)
@option(
    "--limit",
    type=click.IntRange(0),
    metavar="N",
    help="List at most so many; 0: all. [default: 100 in a table, all with --json]",
)
@option("--json", "as_json", is_flag=True, help="Print JSON instead: a line with an object for each job.")
def list_jobs(
    campaign: str | None,
    db: str | None,
    status: str | None,
    error: str | None,
    where: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List jobs: key, status, attempt, seconds, error or params.

    A job must pass all filters that are given. An expression may use params, metrics and a job's columns, as in retry.

    Example: runner list orbit --status failed --error "Timeout"
    """
    from runner.export.targets import to_json
    from runner.report import Where, open_database

    try:
        pattern = None if error is None else re.compile(error)
    except re.error as problem:
        raise UsageError(f"--error {error!r} is not a regular expression: {problem}") from None
    if pattern is not None and status not in (None, "failed"):
        raise UsageError(f"a job that is {status} has no error: leave out --error or --status")
    condition = Where(where) if where else None
    most = (0 if as_json else _TABLE_ROWS) if limit is None else limit
    with open_database(db or "runner.db") as campaigns:
        table, looked = campaign_table(campaigns, campaign), 0

        def jobs() -> Iterator[dict[str, Any]]:
            nonlocal looked
            for row in table.rows("failed" if pattern else status):
                looked += 1
                yield row

        found = _found(jobs(), pattern, condition)
        rows = islice(found, most) if most else found

        def tell() -> None:
            # Whoever reads the jobs as they come sees the progress anyway.
            if not sys.stdout.isatty():
                click.echo(f"{table.name}: looked at {looked:,} jobs so far", err=True)

        with told_while(tell):
            if as_json:
                for row in rows:
                    click.echo(to_json(row, is_ascii=True))
            else:
                _write_table(rows)
        if most and next(found, None) is not None:
            click.echo(f"there are more than these {most:,}: --limit 0 lists all", err=True)
        elif condition is not None:
            condition.check()


def _found(jobs: Iterable[dict[str, Any]], pattern: Any, condition: Any) -> Iterator[dict[str, Any]]:
    for row in jobs:
        if pattern is not None and not pattern.search(row["error"] or ""):
            continue
        if condition is None or condition(row):
            yield row


def _write_table(rows: Iterator[dict[str, Any]]) -> None:
    from runner.reasons import one_line

    columns = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 0
    first = list(islice(rows, _TABLE_ROWS))
    width = min(_LONGEST_KEY, max((len(row["key"]) for row in first), default=3))
    # Scripts get full lines; on a terminal no line wraps.
    room = max(20, columns - width - 32) if columns else 1000
    if first:
        click.echo(f"{'key':<{width}}  {'status':<11}  {'attempt':>7}  {'seconds':>7}  error or params")
    for row in _chained(first, rows):
        took = "" if row["duration_s"] is None else f"{row['duration_s']:.2f}"
        told = row["error"] if row["status"] != "done" and row["error"] else _params_of(row)
        key = one_line(row["key"], 1000)
        click.echo(
            f"{key:<{width}}  {row['status']:<11}  {row['attempt']:>7}  {took:>7}  {one_line(told, room)}"
        )
    if not first:
        click.echo("no job matches", err=True)


def _chained(first: list[dict[str, Any]], rest: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from first
    yield from rest


def _params_of(row: dict[str, Any]) -> str:
    """All that the row has besides its own columns: params and metrics."""
    from runner.report import COLUMNS

    return ", ".join(f"{name}={value}" for name, value in row.items() if name not in (*COLUMNS, "artifacts"))
