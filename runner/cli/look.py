"""Verbs that look at what is there: status, report, verify, log."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.chosen import campaign_rows, existing_store, looked_at, rows_of_files
from runner.cli.options import (
    campaign_argument,
    database_option,
    json_option,
    log_root_option,
    option,
    results_option,
)
from runner.errors import UsageError
from runner.exits import ExitStatus

if TYPE_CHECKING:
    from runner.store import CampaignRow, Store

__all__ = ["log", "report", "status", "verify"]


@click.command()
@campaign_argument
@database_option
@json_option
@option("--exit-status", is_flag=True, help="Exit with 1 when jobs failed, with 8 when jobs are left.")
def status(campaign: str | None, db: str | None, as_json: bool, exit_status: bool) -> ExitStatus:
    """Count the jobs of each campaign by status; quick at any size.

    Example: runner status --json
    """
    from runner.report import Counts

    with looked_at(db) as store:
        rows = [Counts.of(row, store.progress(row["id"])) for row in campaign_rows(store, campaign)]
    if as_json:
        click.echo(json.dumps([asdict(counts) for counts in rows], indent=1))
    else:
        click.echo("\n".join(map(str, rows)))
    if exit_status and any(counts.pending or counts.in_progress for counts in rows):
        return ExitStatus.UNFINISHED
    if exit_status and any(counts.failed for counts in rows):
        return ExitStatus.SOME_FAILED
    return ExitStatus.DONE


@click.command()
@campaign_argument
@database_option
@results_option("Where the files are. [default: where the last run put them]")
@json_option
def report(campaign: str | None, db: str | None, results: Path | None, as_json: bool) -> None:
    """Tell what happened: verdict, counts, rate, times, failures by reason, and what to do next.

    Example: runner report orbit --db runner.db
    """
    from runner.report import summarize, to_text

    with looked_at(db) as store:
        rows = rows_of_files(store, campaign, results) if results else campaign_rows(store, campaign)
        summaries = [summarize(store, row) for row in rows]
    if as_json:
        click.echo(json.dumps([summary.to_json() for summary in summaries], indent=1))
    else:
        click.echo("\n".join(to_text(summary) for summary in summaries), nl=False)


@click.command()
@campaign_argument
@database_option
@results_option("Where the files are. [default: where the last run put them]")
@option("--fix", is_flag=True, help="Requeue the jobs hit, remove left-over files, and mend the metrics log.")
@json_option
def verify(
    campaign: str | None, db: str | None, results: Path | None, fix: bool, as_json: bool
) -> ExitStatus:
    """Compare every done job's files with their sizes and hashes, and the metrics log with the database.

    Lists what is missing, changed or unreadable, and what was left over: abandoned and temporary files of
    attempts that came to nothing, and orphaned ones, which no row names. Exits with 1 when a done job's
    file or the log is not as it was recorded.

    Example: runner verify orbit --fix
    """
    from tqdm import tqdm

    from runner.results import verify as verification

    found = []
    with looked_at(db) as store:
        rows = rows_of_files(store, campaign, results)
        with tqdm(total=sum(store.count_files(row["id"]) for row in rows), unit="file", disable=None) as bar:
            for row in rows:
                found.append(verification.verify(store, row, bar.update))
    if fix:
        with existing_store(db) as store_to_change:
            for row, findings in zip(rows, found):
                verification.fix(store_to_change, row, findings)
    if as_json:
        click.echo(json.dumps([findings.to_json() for findings in found], indent=1))
    else:
        click.echo("\n".join(verification.to_text(findings) for findings in found), nl=False)
    return ExitStatus.DONE if all(findings.is_well for findings in found) else ExitStatus.SOME_FAILED


@click.command()
@campaign_argument
@database_option
@results_option("Where the files are. [default: where the last run put them]")
@option("--rebuild", is_flag=True, help="Write the whole folder anew from the database.")
@log_root_option
def log(
    campaign: str | None, db: str | None, results: Path | None, rebuild: bool, log_root: str | None
) -> None:
    """Bring ML-Logger's files in the results folder up to date with the database; a run does so by itself.

    Example: runner log orbit --rebuild
    """
    with existing_store(db) as store:
        for row in rows_of_files(store.reader, campaign, results):
            try:
                _write_log(store, row, rebuild, log_root)
            except OSError as error:
                raise UsageError(f"the log of {row['name']} cannot be written: {error}") from None


def _write_log(store: Store, row: CampaignRow, rebuild: bool, log_root: str | None) -> None:
    from runner.results import LogMirror, MetricsLog, ResultsFolder

    assert row["results"] is not None  # as rows_of_files has them
    metrics = MetricsLog(store, row["id"], ResultsFolder(row["results"], row["name"]))
    try:
        mirror = LogMirror(metrics, log_root, lambda line: click.echo(line, err=True)) if log_root else None
        count = metrics.rebuild() if rebuild else metrics.sync()
        if count is None:
            raise UsageError(f"a run is writing the log of {row['name']} now; try again when it has ended")
        click.echo(f"{row['name']}: {count:,} records written to {metrics.folder}", err=True)
        if mirror:
            mirror.copy()
            click.echo(f"{row['name']}: copied to {log_root}", err=True)
    finally:
        metrics.close()
