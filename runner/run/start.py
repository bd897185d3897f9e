"""Before a run: whether it may begin at all, and what to say and ask first."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.campaign import Campaign, Submission
from runner.commands import Commands
from runner.errors import CampaignError, UsageError, WorldFault
from runner.job import Source
from runner.machine import Guard, is_loopback, probe_disk, refuse_address, tls_context, world_fault
from runner.results import ResultsFolder, address_of, make_results, probe
from runner.run.options import RunOptions
from runner.run.say import ask, say
from runner.store import Reader, Store

__all__ = [
    "agree",
    "earlier_renderer_of",
    "look_at_database",
    "look_at_remote",
    "note_sources",
    "parameters_of",
    "refuse_another_databases",
    "refuse_early",
    "warn_of_network",
    "writing_in",
]


def refuse_early(folder: Path, options: RunOptions) -> str:
    """Refuse a run that cannot begin, before a database is made: without an address, or a place for results.

    folder: the campaign's in the results folder; it is created. Returns why the object store is away, or ''. Raises
    UsageError.
    """
    refuse_address(options.host, options.port)
    tls_context(options.cert, options.key)
    with writing_in(folder):
        make_results(folder.parent)
        folder.mkdir(exist_ok=True)
    try:
        if options.remote:
            probe(options.remote, folder.name)
    except WorldFault as fault:
        return str(fault)
    return ""


def look_at_remote(store: Reader, campaign_name: str, options: RunOptions, away: str) -> None:
    """Say where earlier files stay if this run's go elsewhere. away: why its object store is away, or ''.

    Raises UsageError if it is away and has never taken a file: its name may be wrong.
    """
    row, now = store.campaign_named(campaign_name), options.remote
    there = list(store.shard_addresses(row["id"]).values()) if row is not None else []
    below = address_of(now, "")
    if away and not any(address.startswith(below) for address in there):
        raise UsageError(f"--results {now}: {away}: look at its name; nothing was begun")
    if away:
        say(f"{away}: what is rendered waits in {options.results}")
    elsewhere = sum(not (now and address.startswith(below)) for address in there)
    if elsewhere and row is not None:
        stay = f"{elsewhere:,} shard{'s stay' if elsewhere > 1 else ' stays'}"
        say(
            f"{campaign_name}: {stay} in {row['remote'] or 'another object store'}; from now on files go to "
            f"{now or options.results}"
        )


def warn_of_network(options: RunOptions) -> None:
    """Warn of what others may read along."""
    if not is_loopback(options.host) and not options.cert:
        say(
            f"--host {options.host} without --cert is plain HTTP: whoever can listen on the network on the way can "
            "read the token, take jobs with it, and send pictures"
        )


@contextlib.contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Name the folder in an error that keeps it from being written, unless the error passes by itself."""
    try:
        yield
    except OSError as error:
        if world_fault(error) is not None and error.errno != errno.EROFS:
            raise
        raise UsageError(
            f"cannot write in {folder} ({(error.strerror or str(error)).lower()}): "
            "name another folder with --results"
        ) from None


def look_at_database(store: Store, guard: Guard) -> None:
    """Say what opening it has changed, watch its disk, and check it where it may be damaged."""
    if store.database.news:
        say(store.database.news)
    if store.database.file is not None:
        guard.probes.append(probe_disk(store.database.file.parent))
    if guard.insist(store.reader.ended_uncleanly):
        say("an earlier run ended without signing off; checking the database")
        guard.insist(store.database.check)


def refuse_another_databases(results: ResultsFolder, database: Path | None) -> None:
    """Jobs of two databases would replace each other's files, for these go by the jobs' keys. Raises CampaignError.

    From now on the files are those of this one.
    """
    other = None if database is None else results.other_database(database)
    if other is not None:
        raise CampaignError(
            f"{results.folder} has the files of the jobs of {other}, and those of {database} would replace them: name "
            "another folder with --results, or go on with that database by --db. If it is of no use any more, remove it"
        )
    if database is not None:
        results.note_database(database)


def agree(submission: Submission, is_agreed: bool, commands: Commands, may_ask: bool = True) -> None:
    """Say what adding the jobs means, and ask where it looks like a mistake. Raises CampaignError without a yes.

    is_agreed: the answer is already yes. may_ask: False means no.
    """
    for line in submission.lines:
        say(line)
    if not submission.doubt or is_agreed:
        return
    if not (may_ask and ask(f"{submission.doubt}. Go on all the same?")):
        earlier = submission.earlier_settings
        again = ["--prune"] * submission.is_pruned + ["--update"] * submission.is_updated + ["--add"]
        as_before = "" if earlier is None else replace(commands, settings=earlier).run()
        raise CampaignError(
            f"{submission.doubt}. Nothing was changed. "
            + (f"To go on as before: {as_before}. " if as_before else "")
            + f"To go on all the same: {commands.run(*again)}"
        )


def note_sources(campaign: Campaign, known: list[Source], guard: Guard) -> None:
    """For the report, record the source files, whenever one differs from the last record."""

    def note(source: Source) -> None:
        guard.events.append((source.ts, "source", f"{source.digest} {source.name}"))

    if campaign.sources is not None:
        campaign.sources.listen({source.name: source.digest for source in known}, note)


def parameters_of(campaign: Campaign) -> dict[str, dict[str, Any]]:
    """The content of parameters.pkl, by sections."""
    about = {"name": campaign.name, "file": str(campaign.file), **vars(campaign.policy)}
    return {"campaign": about, "settings": dict(campaign.settings)}


def earlier_renderer_of(store: Reader, campaign_id: int) -> str:
    """The renderer of the campaign's last pictures, as WebGL names it; ''."""
    renderers = [session["renderer"] for session in store.sessions(campaign_id) if session["renderer"]]
    return "".join(renderers[-1:])
