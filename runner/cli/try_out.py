"""Verbs that try a campaign before the night: preview, bench."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from runner.cli.options import file_argument, option, rasterizer_option, settings_option
from runner.cli.watching import preview_again_and_again
from runner.errors import UsageError
from runner.exits import ExitStatus

__all__ = ["bench", "preview"]


@click.command()
@file_argument
@option("--key", metavar="KEY", help="The job with that key, or the only one whose key begins so.")
@option(
    "--index",
    type=int,
    metavar="N",
    help="The job at that place among those yielded, from 0; -1 is the last.",
)
@option("--random", "is_random", is_flag=True, help="Any job.")
@option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where the job's files go: a folder, or a file such as out.png for its picture. "
    "[default: preview/CAMPAIGN/KEY beside FILE]",
)
@settings_option
@rasterizer_option
@option(
    "--open", "is_shown", is_flag=True, help="Render in a tab of your own browser, which shows the scene."
)
@option("--watch", is_flag=True, help="Render again whenever FILE, a module beside it or an asset changes.")
@option(
    "--json", "as_json", is_flag=True, help="Print JSON instead: an object with files, metrics and error."
)
@click.pass_context
def preview(
    ctx: click.Context,
    file: Path,
    key: str | None,
    index: int | None,
    is_random: bool,
    out: Path | None,
    settings: dict[str, str],
    rasterizer: str,
    is_shown: bool,
    watch: bool,
    as_json: bool,
) -> ExitStatus:
    """Render one job of FILE, and show the result.

    It renders the first job, unless told otherwise, in a fresh browser, as a run does, but without a database: it adds,
    charges and finishes no job. It shows where the pictures are, and the metrics; of a failed job, the traceback, the
    page's console and the last picture. Exits with 1 if the job failed or its picture may be wrong.

    With --open the scene stays in its tab afterwards, with Vuer's own panels, so that you can turn it and look around.

    FILE may also be a file that `runner explain JOB --pack job.zip` wrote; the code in it is run.

    Example: runner preview orbit.py --index 7 -o seven.png
    """
    from runner.run import early_worker

    is_pack = file.suffix == ".zip"
    if is_pack and (watch or key is not None or index is not None or is_random):
        raise UsageError(
            f"{file} holds one job, which does not change: leave out all options but -o, --set and --json"
        )
    if watch and is_shown:
        raise UsageError("--watch and --open do not go together: give one of them")
    if watch:
        arguments = ["--rasterizer", rasterizer]
        arguments += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        for name, value in (("--key", key), ("--index", index), ("--out", out)):
            arguments += [] if value is None else [name, str(value)]
        arguments += ["--random"] if is_random else []
        preview_again_and_again(file, arguments, lambda told: _show(told, as_json))
    with (
        _printed_to_stderr(),
        early_worker("" if is_shown else rasterizer) as worker,
        tempfile.TemporaryDirectory(prefix="runner-pack-") as folder,
    ):
        from runner.campaign import Choice, load_campaign, pick_job, read_pack

        if is_pack:
            pack = read_pack(file, Path(folder))
            campaign, job = load_campaign(pack.file, {**pack.settings, **settings}), pack.job
        else:
            choice = Choice(key, index, is_random)
            campaign = load_campaign(file, settings)
            job = pick_job(campaign, choice)
        from runner.run import RunOptions, fresh_folder, try_job

        options = RunOptions(1, "", Path(), rasterizer=rasterizer, show_progress=False, is_shown=is_shown)
        out = out or fresh_folder(file.absolute().parent, campaign, job)
        trial = try_job(campaign, job, options, out, worker)
    if isinstance(trial, ExitStatus):
        return trial
    _show(json.dumps(trial.to_json(), indent=1), as_json)
    return trial.exit_status


@contextlib.contextmanager
def _printed_to_stderr() -> Iterator[None]:
    """While the block runs, send all that a campaign prints, also in child processes, to stderr: stdout is for data."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def _show(told: str, as_json: bool) -> None:
    """told: a trial as JSON."""
    from runner.run import Trial

    click.echo(told if as_json else Trial.from_json(told).to_text(), nl=as_json)


def _counts(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in value.split(","))
    except ValueError:
        counts = ()
    if not counts or not all(1 <= count <= 64 for count in counts):
        raise click.BadParameter(f"write numbers from 1 to 64 such as 1,2,4, not {value!r}", ctx, param)
    return counts


@click.command()
@file_argument
@option(
    "--sessions", "-n", default="1,2,4", metavar="N,N…", callback=_counts, help="How many browsers to try."
)
@option(
    "--seconds",
    type=click.FloatRange(1.0),
    default=5.0,
    metavar="S",
    help="How long to render each time, once each browser has done a job.",
)
@option("--rounds", type=click.IntRange(1), default=2, help="How many rounds of all ways.")
@settings_option
@rasterizer_option
@option("--json", "as_json", is_flag=True, help="Print JSON instead: an object.")
def bench(
    file: Path,
    sessions: tuple[int, ...],
    seconds: float,
    rounds: int,
    settings: dict[str, str],
    rasterizer: str,
    as_json: bool,
) -> ExitStatus:
    """Find the fastest way to render the jobs of FILE here.

    With how many browsers, and by which rasterizer? It renders some of the campaign's own jobs in a temporary folder,
    each way in turn with the others, so that a busy moment of the machine is unfair to none of them. Exits with 1 if
    a job failed.

    Example: runner bench orbit.py --sessions 1,2,4
    """
    from runner.campaign import load_campaign
    from runner.run import RunOptions, run_bench

    options = RunOptions(1, "", Path(), rasterizer=rasterizer, show_progress=False, halt_share=None)
    with _printed_to_stderr():
        campaign = load_campaign(file, settings)
        found = run_bench(campaign, options, sessions, rounds, seconds)
    if isinstance(found, ExitStatus):
        return found
    click.echo(json.dumps(found.to_json(), indent=1) if as_json else found.to_text(), nl=as_json)
    if not found.measured:
        return ExitStatus.STOPPED
    return ExitStatus.SOME_FAILED if found.failed else ExitStatus.DONE
