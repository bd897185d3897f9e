"""The verb that starts runners through a cluster's scheduler: slurm."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import (
    database_option,
    file_argument,
    hours,
    option,
    results_option,
    settings_option,
)
from runner.cli.render import run
from runner.errors import UsageError
from runner.exits import ExitStatus

if TYPE_CHECKING:
    from runner.campaign import Campaign

__all__ = ["slurm"]


@click.command()
@file_argument
@click.argument("more", nargs=-1, metavar="[-- OPTIONS OF RUN]")
@option(
    "--runners",
    "-n",
    type=click.IntRange(1, 1000),
    default=1,
    help="How many Slurm jobs to submit, one runner each.",
)
@option("--gpus", type=click.IntRange(0, 64), default=0, help="Graphics cards for each.")
@option("--hours", "limit_s", type=hours, required=True, metavar="H", help="Slurm's time limit for each.")
@database_option
@results_option("Where files and metrics go. [default: results beside the campaign]")
@settings_option
@option(
    "--slurm",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of sbatch, such as partition=gpu or cpus_per_task=8; may be repeated.",
)
@option(
    "--cluster",
    type=click.Choice(("slurm", "local")),
    default="slurm",
    help="Who starts them; local: this machine, to try it out.",
)
def slurm(
    file: Path,
    more: tuple[str, ...],
    runners: int,
    gpus: int,
    limit_s: float,
    db: str | None,
    results: Path | None,
    settings: dict[str, str],
    parameters: tuple[str, ...],
    cluster: str,
) -> ExitStatus:
    """Have Slurm start runners that render the campaign in FILE.

    It needs pip install 'runner[slurm]'.

    Each stops taking jobs before its time is up, and submits itself again while jobs are left. Several runners need a
    PostgreSQL server, and one results folder that all nodes reach, or one on each node. All that follows -- is passed
    to each `runner run`.

    Example: runner slurm orbit.py -n 50 --gpus 1 --hours 8 --db postgresql://host/runner -- --sessions 4
    """
    from runner.campaign import load_campaign
    from runner.cluster import Shift, submit

    campaign = load_campaign(file, settings)
    assert campaign.file is not None  # it was loaded from there
    database = db or str(campaign.file.parent / "runner.db")
    _refuse_file_for_several(database, runners)
    # Mistakes are reported now, not fifty times in an hour.
    run.make_context("run", [str(file), *more]).close()
    root = (results or campaign.file.parent / "results").absolute()
    shift = Shift(
        command=tuple(_command(campaign, database, root, more)),
        name=f"runner-{campaign.name}",
        hours=limit_s / 3600,
        folder=str(root / campaign.name / "slurm"),
        cluster=cluster,
        gpus=gpus,
        parameters=_parameters(parameters) if cluster == "slurm" else {},
    )
    for job_id in submit(shift, runners):
        click.echo(job_id)
    click.echo(f"{campaign.name}: {runners:,} submitted; their output goes to {shift.folder}", err=True)
    return ExitStatus.DONE


def _command(campaign: Campaign, database: str, root: Path, more: tuple[str, ...]) -> list[str]:
    words = [sys.executable, "-m", "runner", "run", str(campaign.file), "--results", str(root)]
    if "RUNNER_DB" not in os.environ:
        # The scheduler passes on the environment, which no list of processes shows.
        words += ["--db", database]
    for name, value in campaign.settings.items():
        words += ["--set", f"{name}={value}"]
    return [*words, *more]


def _refuse_file_for_several(database: str, runners: int) -> None:
    is_server = "://" in database and not database.startswith("sqlite")
    if runners > 1 and not is_server:
        raise UsageError(
            f"{runners} runners on several nodes cannot share the SQLite file {database}: name a PostgreSQL server "
            "with --db postgresql://…, or start one runner with -n 1"
        )


def _parameters(given: tuple[str, ...]) -> dict[str, str]:
    """As submitit names them."""
    for word in given:
        if "=" not in word:
            raise click.BadParameter(f"write NAME=VALUE, not {word!r}")
    pairs = (word.split("=", 1) for word in given)
    return {f"slurm_{name.replace('-', '_')}": value for name, value in pairs}
