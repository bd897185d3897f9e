"""The commands; each is thin over the library."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import click

from runner import __version__
from runner.errors import RunnerError, UsageError

# As runner.browsers has them, which takes long to import.
_RASTERIZERS = ("auto", "egl", "swiftshader", "native")
# As runner.export has them.
_FORMATS = ("parquet", "csv", "jsonl", "imagefolder", "webdataset", "nerfstudio", "mp4", "sheet")
_EXAMPLES = ("orbit", "demo", "camera_path")

_EPILOG = """Exit status: 0 all jobs are done; 1 finished, but some jobs failed
(verify: damage was found); 2 usage, or a file that cannot be used; 3 stopped: paused, cancelled, halted, or
no browser could be started; 4 there are no jobs; 8
unfinished (status --exit-status); 130 and 143 interrupted or terminated."""


class _Group(click.Group):
    """Shows a RunnerError as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RunnerError as error:
            click.echo(f"runner: {error}", err=True)
            ctx.exit(2 if isinstance(error, UsageError) else 3)
        except KeyboardInterrupt:
            ctx.exit(130)
        except BrokenPipeError:
            # The reader of our output has gone, as head does.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="runner")
def main() -> None:
    """Render campaigns of many jobs with Vuer, from start to end, whatever happens in between.

    A campaign is a Python file with its jobs, its scene and its render function. The jobs are kept
    in a database; a run that was stopped or killed goes on where it was.
    """


def _database_option(command: Any) -> Any:
    return click.option(
        "--db",
        envvar="RUNNER_DB",
        metavar="PATH|URL",
        help="The database: a SQLite file or a postgresql:// URL. [env: RUNNER_DB; default: runner.db "
        "beside the campaign, or in this folder]",
    )(command)


def _log_root_option(command: Any) -> Any:
    return click.option(
        "--log-root",
        metavar="ROOT",
        help="Copy the metrics log there, too: a folder, http:// or https:// of an ML-Logger server, "
        "s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.",
    )(command)


def _settings(_ctx: Any, _param: Any, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"write NAME=VALUE, not {value!r}")
    return dict(value.split("=", 1) for value in values)


def _share(_ctx: Any, _param: Any, value: str) -> float | None:
    if value == "never":
        return None
    try:
        share = float(value.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not (value.endswith("%") and 0.0 < share <= 1.0):
        raise click.BadParameter(f"write a share such as 20%, or never, not {value!r}")
    return share


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--example", type=click.Choice(_EXAMPLES), default="orbit", show_default=True, help="What to start from."
)
def init(file: Path, example: str) -> None:
    """Write a commented campaign FILE that runs as it stands.

    Example: runner init orbit.py
    """
    source = resources.files("runner.campaign.examples")
    if file.exists():
        raise UsageError(f"{file} exists already and was not touched; name another file")
    wanted = {f"{example}.py": file}
    if example == "camera_path":
        wanted["camera_path.pkl"] = file.with_name("camera_path.pkl")
    for name, target in wanted.items():
        try:
            target.write_bytes(source.joinpath(name).read_bytes())
        except OSError as error:
            raise UsageError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from None
        click.echo(f"wrote {target}", err=True)
    click.echo(f"next: runner run {file}", err=True)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--sessions",
    "-n",
    type=click.IntRange(0, 64),
    default=2,
    show_default=True,
    help="Headless browsers to start; 0 starts none and prints a link for your own.",
)
@_database_option
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where files and metrics go. [default: results beside the campaign]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_settings,
    help="Fill in a keyword argument of the campaign's jobs or scene function.",
)
@click.option(
    "--host",
    default="localhost",
    show_default=True,
    help="Where to listen; another address than loopback lets other machines in.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port to listen on. [default: a free one]"
)
@click.option(
    "--rasterizer",
    type=click.Choice(_RASTERIZERS),
    default="auto",
    show_default=True,
    help="What the browsers draw with: the system's OpenGL (a GPU, or Mesa's software), "
    "Chromium's own SwiftShader, or Chromium's choice.",
)
@click.option("--require-gpu", is_flag=True, help="Refuse to render in software.")
@click.option(
    "--recycle-after",
    type=click.IntRange(1),
    default=5000,
    show_default=True,
    metavar="JOBS",
    help="Replace a browser after so many jobs.",
)
@click.option(
    "--browser-memory",
    type=click.IntRange(256),
    default=3072,
    show_default=True,
    metavar="MIB",
    help="Replace a browser that has grown larger, between two jobs.",
)
@click.option(
    "--halt",
    metavar="SHARE|never",
    default="20%",
    show_default=True,
    callback=_share,
    help="Stop when jobs fail in so many of the last 50 attempts, charge none of these, and exit with 3.",
)
@_log_root_option
@click.option(
    "--min-free",
    metavar="SIZE",
    default="256M",
    show_default=True,
    help="Pause while the disk of the results or the database has less room than that, as 500M or 2G.",
)
@click.pass_context
def run(
    ctx: click.Context,
    file: Path,
    sessions: int,
    db: str | None,
    results: Path | None,
    settings: dict[str, str],
    host: str,
    port: int,
    rasterizer: str,
    require_gpu: bool,
    recycle_after: int,
    browser_memory: int,
    halt: float | None,
    log_root: str | None,
    min_free: str,
) -> None:
    """Render the campaign in FILE: submit, resume or top up, whichever is due.

    Its jobs are added by their keys, so the same command can be given again at any time.

    Example: runner run orbit.py --sessions 2
    """
    from runner.browsers import Limits
    from runner.machine import parse_size
    from runner.run import RunOptions, run_campaign
    from runner.campaign import load_campaign  # isort: skip  (a campaign file may import ML-Logger)

    campaign = load_campaign(file, settings)
    beside = campaign.file.parent
    options = RunOptions(
        sessions=sessions,
        database=db or str(beside / "runner.db"),
        results=(results or beside / "results").absolute(),
        host=host,
        port=port,
        rasterizer=rasterizer,
        require_gpu=require_gpu,
        limits=Limits(renders=recycle_after, memory_bytes=browser_memory << 20),
        halt_share=halt,
        log_root=log_root,
        min_free_bytes=parse_size(min_free),
    )
    ctx.exit(run_campaign(campaign, options))


@main.command()
@click.argument("campaign", required=False)
@_database_option
@click.option(
    "--fix", is_flag=True, help="Requeue the jobs hit, remove left-over files, and mend the metrics log."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead: a list with an object a campaign.")
@click.pass_context
def verify(ctx: click.Context, campaign: str | None, db: str | None, fix: bool, as_json: bool) -> None:
    """Compare every done job's files with their sizes and hashes, and the metrics log with the database.

    Lists what is missing, changed or unreadable, and what was left over: abandoned and temporary files of
    attempts that came to nothing, and orphaned ones, which no row names. Exits with 1 when a done job's
    file or the log is not as it was recorded.

    Example: runner verify orbit --fix
    """
    from tqdm import tqdm

    from runner.results import verify as verification

    found = []
    with _existing_store(db) as store:
        rows = [row for row in _chosen(store, campaign) if row["results"] is not None]
        if not rows:
            raise UsageError("there is no results folder to look at: the jobs were done by a JobQueue")
        with tqdm(total=sum(store.count_files(row["id"]) for row in rows), unit="file", disable=None) as bar:
            for row in rows:
                found.append(verification.verify(store, row, bar.update))
        if fix:
            for row, findings in zip(rows, found):
                verification.fix(store, row, findings)
    if as_json:
        click.echo(json.dumps([findings.to_json() for findings in found], indent=1))
    else:
        click.echo("\n".join(verification.to_text(findings) for findings in found), nl=False)
    ctx.exit(0 if all(findings.is_well for findings in found) else 1)


@main.command()
@click.argument("campaign", required=False)
@_database_option
@click.option("--rebuild", is_flag=True, help="Write the whole folder anew from the database.")
@_log_root_option
def log(campaign: str | None, db: str | None, rebuild: bool, log_root: str | None) -> None:
    """Bring ML-Logger's files in the results folder up to date with the database; a run does so by itself.

    Example: runner log orbit --rebuild
    """
    from runner.results import LogMirror, MetricsLog, ResultsFolder

    with _existing_store(db) as store:
        for row in _chosen(store, campaign):
            if row["results"] is None:
                raise UsageError(f"{row['name']} has no results folder: its jobs were done by a JobQueue")
            metrics = MetricsLog(store, row["id"], ResultsFolder(row["results"], row["name"]))
            mirror = (
                LogMirror(metrics, log_root, lambda line: click.echo(line, err=True)) if log_root else None
            )
            try:
                count = metrics.rebuild() if rebuild else metrics.sync()
                if count is None:
                    raise UsageError(
                        f"a run is writing the log of {row['name']} now; try again when it has ended"
                    )
                click.echo(f"{row['name']}: {count:,} records written to {metrics.folder}", err=True)
                if mirror:
                    mirror.copy()
                    click.echo(f"{row['name']}: copied to {log_root}", err=True)
            except OSError as error:
                raise UsageError(f"the log of {row['name']} cannot be written: {error}") from None
            finally:
                metrics.close()


@main.command()
@click.argument("campaign", required=False)
@_database_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead: a list with an object a campaign.")
def report(campaign: str | None, db: str | None, as_json: bool) -> None:
    """Tell what happened: verdict, counts, rate, times, failures by reason, and what to do next.

    Example: runner report orbit --db runner.db
    """
    from runner.report import summarize, to_text

    with _existing_store(db) as store:
        summaries = [summarize(store, row) for row in _chosen(store, campaign)]
    if as_json:
        click.echo(json.dumps(summaries, indent=1))
    else:
        click.echo("\n".join(to_text(summary) for summary in summaries), nl=False)


@main.command()
@click.argument("campaign", required=False)
@_database_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead: a list with an object a campaign.")
@click.option("--exit-status", is_flag=True, help="Exit with 1 when jobs failed, with 8 when jobs are left.")
@click.pass_context
def status(
    ctx: click.Context, campaign: str | None, db: str | None, as_json: bool, exit_status: bool
) -> None:
    """Count the jobs of each campaign by status; quick at any size.

    Example: runner status --json
    """
    with _existing_store(db) as store:
        rows = [(row["name"], store.progress(row["id"])) for row in _chosen(store, campaign)]
    counts = [
        {
            "campaign": name,
            "total": p.total,
            "done": p.done,
            "failed": p.failed,
            "in_progress": p.in_progress,
            "pending": p.pending,
        }
        for name, p in rows
    ]
    if as_json:
        click.echo(json.dumps(counts, indent=1))
    else:
        for row in counts:
            click.echo(
                f"{row['campaign']}: {row['done']:,} of {row['total']:,} done, {row['failed']:,} failed, "
                f"{row['in_progress']:,} in progress, {row['pending']:,} pending"
            )
    if exit_status:
        ctx.exit(8 if any(p.left for _, p in rows) else 1 if any(p.failed for _, p in rows) else 0)


@main.command()
@click.argument("campaign", required=False)
@_database_option
@click.option("--failed", is_flag=True, help="All failed jobs; so it is without any filter too.")
@click.option("--error", metavar="REGEX", help="Only jobs whose error this regular expression finds.")
@click.option("--key", "keys", multiple=True, help="Only this job; may be given several times.")
def retry(
    campaign: str | None, db: str | None, failed: bool, error: str | None, keys: tuple[str, ...]
) -> None:
    """Make failed jobs pending again, with fresh budgets; `runner run` then renders them.

    Filters narrow the choice; a job must pass all of them.

    Example: runner retry orbit --error "TimeoutError"
    """
    import re

    try:
        pattern = re.compile(error or "")
    except re.error as problem:
        raise UsageError(f"--error {error!r} is no regular expression: {problem}") from None
    with _existing_store(db) as store:
        for row in _chosen(store, campaign):
            chosen = [
                job["key"]
                for job in store.failures(row["id"])
                if pattern.search(job["error"] or "") and (not keys or job["key"] in keys)
            ]
            count = store.retry(row["id"], chosen)
            click.echo(f"{row['name']}: {count:,} jobs are pending again", err=True)


@main.command()
@click.argument("format", type=click.Choice(_FORMATS))
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("campaign", required=False)
@_database_option
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the files are. [default: where the last run put them]",
)
@click.option(
    "--image",
    metavar="PATTERN",
    help="Which of a job's files are its pictures, as rgb*. "
    "[default: all; mp4, sheet and nerfstudio ask where there are several]",
)
@click.option(
    "--fps",
    type=click.FloatRange(0.1, 1000),
    default=24.0,
    metavar="N",
    show_default=True,
    help="Pictures a second in mp4.",
)
@click.option(
    "--matrix",
    metavar="PARAM",
    default="matrix",
    show_default=True,
    help="The param with the camera's pose, for nerfstudio: 16 floats, column-major.",
)
@click.option(
    "--fov",
    type=click.FloatRange(0, 180, min_open=True, max_open=True),
    metavar="DEGREES",
    help="Vertical field of view, for nerfstudio, of jobs without a param fov.",
)
@click.option(
    "--allow-incomplete", is_flag=True, help="Leave out jobs that are not done or whose files are not whole."
)
def export(
    format: str,
    target: Path,
    campaign: str | None,
    db: str | None,
    results: Path | None,
    image: str | None,
    fps: float,
    matrix: str,
    fov: float | None,
    allow_incomplete: bool,
) -> None:
    """Write the done jobs, their files verified, to TARGET in a FORMAT that other tools read.

    parquet, csv and jsonl: a row for each job. sheet: a JPEG with small pictures. mp4: a video of them.
    imagefolder: a folder for Hugging Face datasets. webdataset: a folder of tar shards. nerfstudio: a
    folder with transforms.json and images.

    Example: runner export parquet orbit.parquet
    """
    from runner.export import ExportOptions
    from runner.export import export as write
    from runner.report import open_database

    options = ExportOptions(
        image=image, fps=fps, matrix=matrix, fov_deg=fov, allow_incomplete=allow_incomplete
    )
    with open_database(db or "runner.db") as campaigns:
        if campaign is None and len(campaigns) == 1:
            (campaign,) = campaigns
        if campaign not in campaigns:
            known = ", ".join(campaigns) or "none"
            raise UsageError(f"name a campaign of the database after the target; it has: {known}")
        root = results or campaigns[campaign].results or Path("results")
        exported = write(campaigns[campaign], root, format, target, options)
    left_out = f", {exported.left_out:,} left out" if exported.left_out else ""
    click.echo(f"wrote {target}: {exported.jobs:,} jobs{left_out}", err=True)


def _state_command(name: str, state: str, text: str) -> None:
    @main.command(name, help=text)
    @click.argument("campaign", required=False)
    @_database_option
    def command(campaign: str | None, db: str | None) -> None:
        with _existing_store(db) as store:
            for row in _chosen(store, campaign):
                store.set_state(row["id"], state)
                click.echo(f"{row['name']} is {state}", err=True)


_state_command(
    "pause",
    "paused",
    """Hand out no more jobs of the campaign; what is in flight ends, and runs wait.

    Example: runner pause orbit""",
)
_state_command(
    "resume",
    "open",
    """Hand out jobs again, of a campaign that was paused or cancelled.

    Example: runner resume orbit""",
)
_state_command(
    "cancel",
    "cancelled",
    """Hand out no more jobs of the campaign; what is in flight ends, and then its runs do.

    Example: runner cancel orbit""",
)


@main.command()
@click.argument("folder", default="runner-demo", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--sessions",
    "-n",
    type=click.IntRange(0, 64),
    default=2,
    show_default=True,
    help="Headless browsers to start.",
)
@click.pass_context
def demo(ctx: click.Context, folder: Path, sessions: int) -> None:
    """Render the packaged demo campaign of 60 jobs into FOLDER, and report on it.

    Example: runner demo
    """
    file = folder / "demo.py"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(resources.files("runner.campaign.examples").joinpath("demo.py"), file)
    try:
        ctx.invoke(
            run,
            file=file,
            sessions=sessions,
            db=None,
            results=None,
            settings={},
            host="localhost",
            port=0,
            rasterizer="auto",
        )
    except click.exceptions.Exit as end:
        if end.exit_code in (0, 1):
            ctx.invoke(report, campaign="demo", db=str(folder / "runner.db"), as_json=False)
        raise


def _existing_store(db: str | None) -> Any:
    from runner.store import Store

    database = db or "runner.db"
    if "://" not in database and not Path(database).is_file():
        raise UsageError(f"there is no database {database} here; name one with --db, or run a campaign first")
    return Store(database)


def _chosen(store: Any, name: str | None) -> list[dict[str, Any]]:
    rows = [row for row in store.campaigns() if name in (None, row["name"])]
    if not rows:
        known = ", ".join(row["name"] for row in store.campaigns()) or "none"
        raise UsageError(f"there is no campaign {name or ''} in the database; it has: {known}")
    return rows
