"""The verb that explains one job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.chosen import campaign_rows, chosen_job, looked_at
from runner.cli.options import campaign_argument, database_option, option, results_option
from runner.commands import typed
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.report import Explanation
    from runner.store import CampaignRow, Reader

__all__ = ["explain"]


@click.command()
@click.argument("job")
@campaign_argument
@database_option
@results_option("Where the files are. [default: where the last run put them]")
@option(
    "--pack",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.zip",
    help="Write all that the job is rendered from to a zip file that you can send; `runner preview FILE.zip` renders "
    "it.",
)
@option("--json", "as_json", is_flag=True, help="Print JSON instead: an object.")
def explain(
    job: str, campaign: str | None, db: str | None, results: Path | None, pack: Path | None, as_json: bool
) -> None:
    """Explain one JOB: each attempt at it, and its present state.

    JOB is a key, the beginning of one, or a row: its place in the order in which jobs were added, from 0, as in
    to_frame(). For each attempt it shows the tab, how long it waited and took, why it failed, the traceback, the page's
    console and the last picture. At the end it shows what to type next.

    Example: runner explain 48734ec5 orbit
    """
    from runner.report import explain_job

    if pack is not None and pack.suffix != ".zip":
        raise UsageError(f"--pack writes a zip file: call it {pack.with_suffix('.zip')}")
    with looked_at(db) as store:
        row, key = chosen_job(store, campaign_rows(store, campaign), job)
        if results is not None:
            row["results"] = str(results.absolute())
        explanation = explain_job(store, row, key)
        if pack is not None:
            _pack(store, row, explanation, pack)
    click.echo(json.dumps(explanation.to_json(), indent=1) if as_json else explanation.to_text(), nl=as_json)


def _pack(store: Reader, row: CampaignRow, explanation: Explanation, target: Path) -> None:
    from runner.campaign import load_campaign, write_pack
    from runner.job import Job

    if row["file"] is None:
        raise UsageError(f"{row['name']} has no campaign file: its jobs are those of a JobQueue")
    campaign = load_campaign(row["file"], json.loads(row["parameters"] or "{}").get("settings", {}))
    used = {source.name: source.digest for source in store.sources(row["id"])}
    tabs = {attempt.session for attempt in explanation.attempts}
    sessions = [session for session in store.sessions(row["id"]) if session["name"] in tabs]
    told = explanation.to_json() | {"sessions": sessions}
    pictures = [attempt.picture for attempt in explanation.attempts if attempt.picture]
    job = Job(explanation.params, explanation.key)
    left_out = write_pack(target, campaign, job, told, used, pictures)
    now = campaign.sources.current() if campaign.sources is not None else {}
    for name in sorted(name for name in now if used.get(name, now[name]) != now[name]):
        click.echo(f"{name} has changed since the last render: the pack has the present version", err=True)
    for path in left_out:
        click.echo(f"left out, because it is gone or too large: {path}", err=True)
    click.echo(f"wrote {target}; to render it: {typed('preview', target.absolute())}", err=True)
