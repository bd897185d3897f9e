"""Verbs that render: run, demo."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.look import report
from runner.cli.options import (
    browser_memory_option,
    database_option,
    file_argument,
    gpus_option,
    hours,
    log_root_option,
    notify_option,
    option,
    rasterizer_option,
    recycle_option,
    require_gpu_option,
    results_option,
    sessions_option,
    settings_option,
    share,
    size,
)
from runner.errors import UsageError
from runner.exits import ExitStatus

if TYPE_CHECKING:
    from runner.campaign import Campaign
    from runner.run import RunOptions

__all__ = ["demo", "run"]

_FILE = click.Path(exists=True, dir_okay=False)


@click.command()
@file_argument
@sessions_option
@database_option
@results_option(
    "Where files and metrics go. The files of done jobs may go to an object store, packed: s3://BUCKET/PREFIX, gs://, "
    "hf:// or what else fsspec knows. [default: results beside the campaign]",
    may_be_url=True,
)
@settings_option
@option(
    "--host", default="localhost", help="The address to listen on; any but loopback lets other machines in."
)
@option("--port", type=click.IntRange(0, 65535), default=0, help="The port to listen on; 0 takes a free one.")
@option("--cert", type=_FILE, metavar="FILE", help="Speak TLS (https) with this certificate, a PEM file.")
@option("--key", type=_FILE, metavar="FILE", help="Its private key, where it is not in the same file.")
@option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Also accept requests that call this machine by that name, such as an alias in DNS.",
)
@rasterizer_option
@require_gpu_option
@gpus_option
@recycle_option
@browser_memory_option
@option(
    "--tab-lease",
    "tab_lease_s",
    type=click.FloatRange(1.0, 3600.0),
    default=30.0,
    metavar="S",
    help="Give up a tab that was silent for so many seconds, and hand its job to another.",
)
@option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Share the sessions among so many worker processes. [default: one for four sessions, half the cores at most]",
)
@option(
    "--worker-memory",
    "worker_memory_bytes",
    type=size(least="256M"),
    metavar="SIZE",
    help="End a worker process that holds more memory than that, and charge the job that filled it. [default: half the "
    "machine's, shared "
    "among them]",
)
@option(
    "--halt",
    "halt_share",
    type=share,
    default="20%",
    metavar="SHARE|never",
    help="Stop when jobs fail in this share of the last 50 attempts, charge none of them, and exit with 3.",
)
@log_root_option
@option(
    "--min-free",
    "min_free_bytes",
    type=size(),
    default="256M",
    metavar="SIZE",
    help="Pause while the disk of the results or the database has less free room than this, such as 500M or 2G.",
)
@notify_option
@option("--add", is_flag=True, help="Add new jobs even where that looks like a mistake.")
@option("--verbose", "-v", is_flag=True, help="Also show a bar for each job of many steps.")
@option("--prune", is_flag=True, help="Remove pending jobs that FILE no longer yields.")
@option(
    "--update",
    is_flag=True,
    help="Where FILE yields other params for a known key, take these, and render the job again.",
)
@option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Take at most N jobs, once each; end with 8 if jobs are left.",
)
@option(
    "--max-hours",
    "longest_s",
    type=hours,
    metavar="H",
    help="Begin no job after H hours; jobs in flight end, and the run ends with 8 if jobs are left.",
)
@option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0),
    default=0,
    metavar="SECONDS",
    help="At SIGTERM begin no job, and give those in flight so long to end before they are handed back.",
)
@option(
    "--canary",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Render N jobs first, spread over all. If more than the share of --halt fail or may be wrong, undo that, name "
    "their pictures, and end with 3.",
)
@option(
    "--order",
    type=click.Choice(("added", "spread")),
    default="added",
    help="Take the jobs in the order in which they were added, or spread: at any moment the done jobs cover all "
    "evenly.",
)
@option(
    "--pack",
    is_flag=True,
    help='Pack the files of done jobs into tar shards, as Campaign(results="shards") does.',
)
@option(
    "--spool",
    "spool_bytes",
    type=size(least="64M"),
    default="8G",
    metavar="SIZE",
    help="Pause while so much waits on the disk for an object store that is away or slow.",
)
@option(
    "--plain-page",
    is_flag=True,
    help="Turn off all that the page does only for speed, to compare pictures.",
)
@option(
    "--dry-run", is_flag=True, help="Show what would be added, what is left, and what is gone; write nothing."
)
def run(file: Path, settings: dict[str, str], dry_run: bool, **given: Any) -> ExitStatus:
    """Render the campaign in FILE: start it, resume it, or extend it.

    Jobs are known by their keys, so you can give the same command again at any time. FILE may be named without its
    ending.

    Example: runner run orbit.py --sessions 2
    """
    if dry_run:
        return _dry_run(file, settings, **given)
    from runner.run import early_worker

    with early_worker(given["rasterizer"] if given["sessions"] else "") as worker:
        from runner.run import run_campaign
        from runner.campaign import load_campaign  # isort: skip  (a campaign file may import ML-Logger)

        campaign = load_campaign(file, settings)
        return run_campaign(campaign, _run_options(campaign, **given), worker)


def _dry_run(file: Path, settings: dict[str, str], **given: Any) -> ExitStatus:
    from runner.campaign import load_campaign
    from runner.run import dry_run

    campaign = load_campaign(file, settings)
    told, status = dry_run(campaign, _run_options(campaign, **given))
    click.echo(told)
    return status


def _run_options(
    campaign: Campaign,
    db: str | None,
    results: Path | str | None,
    recycle_after: int,
    browser_memory_bytes: int,
    cert: str | None,
    key: str | None,
    **others: Any,
) -> RunOptions:
    """The command line's options as the library takes them. others: by their names there."""
    from runner.browsers import Limits
    from runner.run import RunOptions, places

    assert campaign.file is not None  # it was loaded from a file
    beside = campaign.file.parent
    if str(results).startswith("memory://"):
        raise UsageError(
            "--results memory:// ends with this process, and all files with it: name another place"
        )
    return RunOptions(
        database=db or str(beside / "runner.db"),
        **places(results, beside),
        owns_streams=True,
        limits=Limits(renders=recycle_after, memory_bytes=browser_memory_bytes),
        cert=_absolute(cert),
        key=_absolute(key),
        **others,
    )


def _absolute(path: str | None) -> str:
    return str(Path(path).absolute()) if path else ""


@click.command()
@click.argument("folder", default="runner-demo", type=click.Path(path_type=Path, file_okay=False))
@sessions_option
@click.pass_context
def demo(ctx: click.Context, folder: Path, sessions: int) -> ExitStatus:
    """Render the demo campaign of 60 jobs into FOLDER, and report.

    Example: runner demo
    """
    file = folder / "demo.py"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(resources.files("runner.campaign.examples").joinpath("demo.py")), file)
    status: ExitStatus = _as_typed(ctx, run, str(file), "--sessions", str(sessions))
    if status in (ExitStatus.DONE, ExitStatus.SOME_FAILED):
        _as_typed(ctx, report, "demo", "--db", str(folder / "runner.db"))
    return status


def _as_typed(parent: click.Context, command: click.Command, *arguments: str) -> Any:
    """Call another command with the words that a person would type, so that all its defaults and checks hold."""
    with command.make_context(command.name, list(arguments), parent=parent) as ctx:
        return command.invoke(ctx)
