"""Verbs that tell a campaign what to do: pause, resume, cancel, retry."""

from __future__ import annotations

import re

import click

from runner.cli.chosen import existing_store, rows_to_change
from runner.cli.options import all_option, campaign_argument, database_option, option
from runner.errors import UsageError

__all__ = ["cancel", "pause", "resume", "retry"]


@click.command()
@campaign_argument
@database_option
@all_option
def pause(campaign: str | None, db: str | None, is_all: bool) -> None:
    """Hand out no more jobs of the campaign; what is in flight ends, and runs wait.

    Example: runner pause orbit
    """
    _set_state(campaign, db, is_all, "paused")


@click.command()
@campaign_argument
@database_option
@all_option
def resume(campaign: str | None, db: str | None, is_all: bool) -> None:
    """Hand out jobs again, of a campaign that was paused or cancelled.

    Example: runner resume orbit
    """
    _set_state(campaign, db, is_all, "open")


@click.command()
@campaign_argument
@database_option
@all_option
def cancel(campaign: str | None, db: str | None, is_all: bool) -> None:
    """Hand out no more jobs of the campaign; what is in flight ends, and then its runs do.

    Example: runner cancel orbit
    """
    _set_state(campaign, db, is_all, "cancelled")


def _set_state(campaign: str | None, db: str | None, is_all: bool, state: str) -> None:
    with existing_store(db) as store:
        for row in rows_to_change(store, campaign, is_all):
            store.set_state(row["id"], state)
            click.echo(f"{row['name']} is {state}", err=True)


@click.command()
@campaign_argument
@database_option
@all_option
@option("--error", metavar="REGEX", help="Only jobs whose error this regular expression finds.")
@option("--key", "keys", multiple=True, help="Only this job; may be given several times.")
def retry(
    campaign: str | None, db: str | None, is_all: bool, error: str | None, keys: tuple[str, ...]
) -> None:
    """Make failed jobs pending again, with fresh budgets; `runner run` then renders them.

    Filters narrow the choice; a job must pass all of them.

    Example: runner retry orbit --error "TimeoutError"
    """
    try:
        pattern = re.compile(error or "")
    except re.error as problem:
        raise UsageError(f"--error {error!r} is no regular expression: {problem}") from None
    with existing_store(db) as store:
        for row in rows_to_change(store, campaign, is_all):
            chosen = [
                job["key"]
                for job in store.failures(row["id"])
                if pattern.search(job["error"] or "") and (not keys or job["key"] in keys)
            ]
            count = store.retry(row["id"], chosen)
            click.echo(f"{row['name']}: {count:,} jobs are pending again", err=True)
