"""Verbs that look at a campaign's results: report, verify, log."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

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
from runner.errors import StoreError, UsageError
from runner.exits import ExitStatus
from runner.patience import told_while

if TYPE_CHECKING:
    from runner.report import Summary
    from runner.store import CampaignRow, Reader, Store

__all__ = ["log", "report", "verify"]


@click.command()
@campaign_argument
@database_option
@results_option("Where the files are. [default: where the last run put them]")
@json_option
@option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="Print CSV instead: a line of counts, rates and times for each campaign.",
)
@option(
    "--markdown",
    "as_markdown",
    is_flag=True,
    help="Print Markdown instead, to paste into a chat or an issue.",
)
@option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one HTML page instead, with pictures, charts and a searchable table of failures; it needs no network.",
)
@option("--open", "is_opened", is_flag=True, help="Open that page in your browser.")
def report(
    campaign: str | None,
    db: str | None,
    results: Path | None,
    as_json: bool,
    as_csv: bool,
    as_markdown: bool,
    html: Path | None,
    is_opened: bool,
) -> None:
    """Show what happened: verdict, counts, times, failures, next steps.

    Example: runner report orbit --html morning.html --open
    """
    if sum([as_json, as_csv, as_markdown, html is not None]) > 1:
        raise UsageError("give only one of --json, --csv, --markdown and --html")
    if is_opened and html is None:
        raise UsageError("--open opens the page: add --html FILE")
    with looked_at(db) as store:
        rows = rows_of_files(store, campaign, results) if results else campaign_rows(store, campaign)
        if html is not None:
            _write_page(store, rows, html, is_opened)
            return
        _print_report(store, rows, as_json, as_csv, as_markdown)


def _print_report(
    store: Reader, rows: list[CampaignRow], as_json: bool, as_csv: bool, as_markdown: bool
) -> None:
    from runner.report import summarize, to_csv, to_markdown, to_text

    jobs = sum(row["total"] for row in rows)
    with told_while(lambda: click.echo(f"looking at {jobs:,} jobs", err=True)):
        summaries = [summarize(store, row) for row in rows]
    if as_json:
        click.echo(json.dumps([summary.to_json() for summary in summaries], indent=1))
    elif as_csv:
        click.echo(to_csv(summaries), nl=False)
    elif as_markdown:
        click.echo("\n".join(map(to_markdown, summaries)), nl=False)
    else:
        # A report that goes to a file has not been looked at yet.
        if sys.stdout.isatty():
            summaries = [_compared(store, summary) for summary in summaries]
        click.echo("\n".join(map(to_text, summaries)), nl=False)


def _compared(store: Reader, summary: Summary) -> Summary:
    """The summary with what changed since a person last looked; they are looking now."""
    from runner.report import LastLook

    last = LastLook(store.database.address, summary.campaign)
    compared = replace(summary, since=last.since(summary))
    last.note(summary)
    return compared


def _write_page(store: Reader, rows: list[CampaignRow], file: Path, is_opened: bool) -> None:
    """One page about these campaigns."""
    from runner.report import page_of, to_html

    pages = []
    jobs = sum(row["total"] for row in rows)
    with told_while(lambda: click.echo(f"looking at {jobs:,} jobs", err=True)):
        for row in rows:
            page = page_of(store, row, share=1 / len(rows))
            pages.append(replace(page, summary=_compared(store, page.summary)))
    folder = file.absolute().parent
    data = [page.to_json(_seen_from(folder, page.root)) for page in pages]
    text = to_html(data, [page.summary for page in pages])
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        # A file name may hold characters that UTF-8 cannot encode.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UsageError(f"the page cannot be written to {file}: {error.strerror}") from None
    click.echo(f"written to {file.absolute()}", err=True)
    if is_opened:
        _open(file)


def _open(page: Path) -> None:
    import webbrowser

    address = page.absolute().as_uri()
    if not webbrowser.open(address):
        click.echo(f"no browser could be started here; open this yourself: {address}", err=True)


def _seen_from(folder: Path, root: str) -> str:
    """The relative URL of a results folder, for a page in that folder."""
    return quote(os.path.relpath(root, folder).replace(os.sep, "/")) + "/" if root else ""


@click.command()
@campaign_argument
@database_option
@results_option("Where the files are. [default: where the last run put them]")
@option(
    "--fix",
    is_flag=True,
    help="Requeue the damaged jobs, remove left-over files, and repair the metrics log.",
)
@json_option
def verify(
    campaign: str | None, db: str | None, results: Path | None, fix: bool, as_json: bool
) -> ExitStatus:
    """Compare files with their hashes, and the log with the database.

    Lists files that are missing, changed or unreadable, and left-over ones: abandoned and temporary files of unfinished
    attempts, and orphaned files, which no row names. Exits with 1 when a done job's file or the log is not as it was
    recorded.

    Example: runner verify orbit --fix
    """
    from tqdm import tqdm

    from runner.results import verify as verification

    found = []
    with looked_at(db) as store:
        rows = rows_of_files(store, campaign, results)
        looked, looks = 0, 2 * sum(row["done"] for row in rows)

        def on_looked(count: int) -> None:
            nonlocal looked
            looked += count
            bar.update(count)

        def tell() -> None:
            if bar.disable:
                click.echo(f"{looked / max(1, looks):.0%} of the files and records are compared", err=True)

        with tqdm(total=looks, unit=" looks", disable=None) as bar, told_while(tell):
            for row in rows:
                found.append(verification.verify(store, row, on_looked))
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
    """Bring ML-Logger's files up to date with the database.

    A run does so by itself.

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

        def tell() -> None:
            with contextlib.suppress(StoreError):
                logged_id, _ = metrics.cursor()
                click.echo(f"{row['name']}: the log is written up to result {logged_id:,}", err=True)

        with told_while(tell):
            count = metrics.rebuild() if rebuild else metrics.sync()
        if count is None:
            raise UsageError(f"a run is writing the log of {row['name']} now; try again when it has ended")
        click.echo(f"{row['name']}: {count:,} records written to {metrics.folder}", err=True)
        if mirror:
            mirror.copy()
            click.echo(f"{row['name']}: copied to {log_root}", err=True)
    finally:
        metrics.close()
