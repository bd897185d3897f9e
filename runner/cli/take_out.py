"""Verbs that take results out: export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runner.cli.chosen import campaign_table
from runner.cli.options import campaign_argument, database_option, option, results_option

__all__ = ["export"]

# As runner.export has them, which takes long to import.
_FORMATS = ("parquet", "csv", "jsonl", "imagefolder", "webdataset", "folder", "nerfstudio", "mp4", "sheet")


@click.command()
@click.argument("format", type=click.Choice(_FORMATS))
@click.argument("target", type=click.Path(path_type=Path))
@campaign_argument
@database_option
@results_option("Where the files are. [default: where the last run put them]")
@option(
    "--image",
    metavar="PATTERN",
    help="Which of a job's files are its pictures, such as rgb*. "
    "[default: all; mp4, sheet and nerfstudio ask where there are several]",
)
@option(
    "--order",
    multiple=True,
    metavar="PARAM",
    help="Sort the jobs by a param, a metric or a column such as key; -PARAM sorts from high to low. May be given "
    "several times, the first counts first. [default: as they were added]",
)
@option(
    "--fps",
    type=click.FloatRange(0.1, 1000),
    default=24.0,
    metavar="N",
    help="Pictures a second in mp4.",
)
@option(
    "--matrix",
    metavar="PARAM",
    default="matrix",
    help="The param with the camera's pose, for nerfstudio: 16 floats, column-major.",
)
@option(
    "--fov",
    "fov_deg",
    type=click.FloatRange(0, 180, min_open=True, max_open=True),
    metavar="DEGREES",
    help="Vertical field of view in degrees, for nerfstudio, where jobs have no param fov.",
)
@option(
    "--allow-incomplete", is_flag=True, help="Leave out jobs that are not done or whose files are not whole."
)
def export(
    format: str, target: Path, campaign: str | None, db: str | None, results: Path | None, **given: Any
) -> None:
    """Write the done jobs in a FORMAT that other tools read.

    Their files are verified first, and go to TARGET.

    parquet, csv and jsonl: a row for each job. sheet: a JPEG with small pictures. mp4: a video of them.
    imagefolder: a folder for Hugging Face datasets. webdataset: a folder of tar shards, links to those of a packed
    campaign. folder: a folder for each job, by its key. nerfstudio: a folder with transforms.json and images.

    Example: runner export parquet orbit.parquet
    """
    from runner.export import ExportOptions
    from runner.export import export as write
    from runner.report import open_database

    with open_database(db or "runner.db") as campaigns:
        table = campaign_table(campaigns, campaign)
        root = results or table.results or Path("results")
        exported = write(table, root, format, target, ExportOptions(**given))
    for note in exported.notes:
        click.echo(note, err=True)
    left_out = f", {exported.left_out:,} left out" if exported.left_out else ""
    click.echo(f"wrote {target}: {exported.jobs:,} jobs{left_out}", err=True)
