"""Verbs that control a campaign: pause, resume, cancel, retry."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import click

from runner.cli.chosen import campaign_rows, chosen_job, existing_store, rows_to_change
from runner.cli.options import all_option, campaign_argument, database_option, option
from runner.errors import UsageError
from runner.job import Status
from runner.patience import told_while

if TYPE_CHECKING:
    from runner.store import Reader

__all__ = ["cancel", "pause", "resume", "retry"]


@click.command()
@campaign_argument
@database_option
@all_option
def pause(campaign: str | None, db: str | None, is_all: bool) -> None:
    """Hand out no more jobs of a campaign; its runs wait.

    Jobs in flight end first.

    Example: runner pause orbit
    """
    _set_state(campaign, db, is_all, "paused")


@click.command()
@campaign_argument
@database_option
@all_option
def resume(campaign: str | None, db: str | None, is_all: bool) -> None:
    """Hand out jobs again, after pause or cancel.

    Example: runner resume orbit
    """
    _set_state(campaign, db, is_all, "open")


@click.command()
@campaign_argument
@database_option
@all_option
def cancel(campaign: str | None, db: str | None, is_all: bool) -> None:
    """Hand out no more jobs of a campaign; its runs end.

    Jobs in flight end first.

    Example: runner cancel orbit
    """
    _set_state(campaign, db, is_all, "cancelled")


def _set_state(campaign: str | None, db: str | None, is_all: bool, state: str) -> None:
    with existing_store(db) as store:
        for row in rows_to_change(store.reader, campaign, is_all):
            store.set_state(row["id"], state)
            click.echo(f"{row['name']} is {state}", err=True)


@click.command()
@campaign_argument
@click.argument("jobs", nargs=-1)
@database_option
@all_option
@option(
    "--done",
    is_flag=True,
    help="Take done jobs instead of failed ones: those named, or those that a filter finds.",
)
@option("--suspect", is_flag=True, help="Done jobs that the report lists as suspect.")
@option("--key", "keys", multiple=True, help="Only this job; may be given several times.")
@option("--error", metavar="REGEX", help="Only failed jobs whose error this regular expression finds.")
@option(
    "--where",
    metavar="EXPRESSION",
    help="Only jobs for which it is true, such as 'light > 3 and kind == \"cup\"'.",
)
def retry(
    campaign: str | None,
    jobs: tuple[str, ...],
    db: str | None,
    is_all: bool,
    done: bool,
    suspect: bool,
    keys: tuple[str, ...],
    error: str | None,
    where: str | None,
) -> None:
    """Make failed jobs, or done ones, pending again.

    Their budgets start again, and `runner run` renders them.

    JOBS are keys, their beginnings, or rows, as in `runner explain`; without them, all failed jobs are taken. The first
    word may be a campaign's name or a job.

    A job must pass all filters that are given. An expression may use params, metrics and a job's columns. The files of
    a done job stay until the new ones are there.

    Example: runner retry orbit --done --where "mean < 10"
    """
    from runner.report import Choice, Where, chosen_keys, open_database

    is_done = done or suspect
    if is_done and error is not None:
        raise UsageError("a done job has no error: leave out --error")
    pattern, expression = _compiled(error), Where(where) if where else None
    with existing_store(db) as store, open_database(db or "runner.db") as campaigns:
        campaign, named = _named(store.reader, campaign, jobs)
        wanted = frozenset((*keys, *named))
        if done and not (suspect or wanted or where):
            raise UsageError(
                "say which done jobs: a key, --suspect or --where (all of them: --where 'attempt > 0')"
            )
        choice = Choice(Status.DONE if is_done else Status.FAILED, wanted, pattern, suspect, expression)
        rows = rows_to_change(store.reader, campaign, is_all)
        # All jobs are chosen before any is changed, so a mistake changes nothing.
        with told_while(lambda: click.echo("looking for the jobs to change", err=True)):
            tables = [campaigns[row["name"]] for row in rows]
            choices = [chosen_keys(table, choice) for table in tables]
        for row, table, chosen in zip(rows, tables, choices):
            with told_while(
                partial(click.echo, f"{row['name']}: {len(chosen):,} jobs are changed", err=True)
            ):
                again = (
                    store.requeue(row["id"], chosen, "taken again")
                    if is_done
                    else store.retry(row["id"], chosen)
                )
            click.echo(
                f"{row['name']}: {again:,} {'job is' if again == 1 else 'jobs are'} pending again", err=True
            )
            for key in sorted(wanted - set(chosen)):
                status = table.status_of(key)
                hint = ": add --done to take it again" if status == "done" and not is_done else ""
                click.echo(f"{row['name']}: {key} is {status.replace('_', ' ')}{hint}", err=True)


def _compiled(error: str | None) -> re.Pattern[str]:
    try:
        return re.compile(error or "")
    except re.error as problem:
        raise UsageError(f"--error {error!r} is not a regular expression: {problem}") from None


def _named(store: Reader, campaign: str | None, words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """The campaign, and the keys of its jobs that the words name. Raises UsageError."""
    if campaign is not None and all(row["name"] != campaign for row in store.campaigns()):
        words, campaign = (campaign, *words), None
    found = [chosen_job(store, campaign_rows(store, campaign), word) for word in words]
    owners = {row["name"] for row, _ in found}
    if len(owners) > 1:
        raise UsageError(
            f"these are jobs of several campaigns ({', '.join(sorted(owners))}): name one at a time"
        )
    return next(iter(owners), campaign), tuple(key for _, key in found)
