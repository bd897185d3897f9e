"""How a campaign's jobs get into the database: they are read and compared, findings are told, then they are added."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.campaign.campaign import Campaign
from runner.errors import StoreError
from runner.job import Added, Place, canonical_json
from runner.patience import told_while

if TYPE_CHECKING:
    from runner.store import CampaignRow, Comparison, Reader, Spool, Store

__all__ = ["Submission", "add_jobs", "is_as_before", "plan_submission", "read_jobs"]

_Say = Callable[[str], None]


def read_jobs(campaign: Campaign, say: _Say, go_on: Callable[[], None] | None = None) -> Spool:
    """All jobs that the campaign yields. No transaction is open meanwhile, and no database is needed.

    go_on: called after each job; an error that it raises ends the reading. Reports progress when it takes longer than
    two seconds. Raises CampaignError.
    """
    # A campaign file imports this, too, and SQLAlchemy takes long.
    from runner.store import Spool, compare

    spool = Spool()
    try:
        with told_while(lambda: say(f"reading the jobs of {campaign.file}: {len(spool):,} so far")):
            jobs = campaign.iterate_jobs()
            spool.extend(jobs if go_on is None else _watched(jobs, go_on))
            # Mistakes within it are reported before a database is made.
            compare(spool, ())
    except BaseException:
        spool.close()
        raise
    return spool


def _watched(jobs: Iterable[Any], go_on: Callable[[], None]) -> Iterator[Any]:
    for job in jobs:
        yield job
        go_on()


@dataclass(frozen=True)
class Submission:
    """What adding the jobs will do, and what to say about it.

    is_pruned: pending jobs that are no longer yielded are removed. is_updated: known jobs that come with other params
    take the new ones. campaign_id: None where the campaign is new. lines: for people, in this order. doubt: why it
    looks like a mistake, and what to do instead; '' where it does not. earlier_settings: the settings of the last run,
    where their values differ.
    """

    campaign: Campaign
    spool: Spool
    comparison: Comparison
    is_pruned: bool
    is_updated: bool
    campaign_id: int | None
    lines: tuple[str, ...]
    doubt: str
    earlier_settings: Mapping[str, str] | None


def plan_submission(
    campaign: Campaign, store: Reader, spool: Spool, prune: bool = False, update: bool = False
) -> Submission:
    """Compare the campaign's jobs with those in the database. Changes no row. Raises CampaignError."""
    from runner.store import compare

    row = store.campaign_named(campaign.name)
    found = compare(spool, () if row is None else store.keys_of(row["id"]))
    lines = []
    if row is not None and row["file"] and campaign.is_another_file(row["file"]):
        lines.append(
            f"{campaign.name} is also the campaign of {row['file']}: the jobs of both files share rows, results and "
            f"report. If {campaign.file} is another study, give its Campaign another name"
        )
    if found.repeat_example is not None:
        lines.append(_tell_repeats(spool, found))
    if row is not None and found.changed_example is not None:
        lines.append(_tell_changed(store, row["id"], spool, found, update))
    if row is not None and found.gone_example is not None:
        lines.append(_tell_gone(campaign, store, found, prune))
    doubt = "" if row is None else _doubt(campaign, store, row, found, prune, update)
    if row is not None:
        lines += _tell_changed_sources(campaign, store, row["id"])
    settings = _differences(campaign, row, "jobs", "scene")
    if settings and not doubt:
        lines.append(f"{campaign.name} has other settings than in its last run: {_listed(settings)}")
    earlier = _stored_settings(row) if settings else None
    campaign_id = None if row is None else row["id"]
    return Submission(campaign, spool, found, prune, update, campaign_id, tuple(lines), doubt, earlier)


def is_as_before(campaign: Campaign, store: Reader, row: CampaignRow) -> bool:
    """Whether its files and its settings are those of its last run: row is the campaign's own.

    It may still yield other jobs, where these come from elsewhere or from chance.
    """
    known = {source.name: source.digest for source in store.sources(row["id"])}
    current = campaign.sources.current() if campaign.sources is not None else {}
    return (
        row["file"] == str(campaign.file)
        and _stored_settings(row) == campaign.settings
        and bool(current)
        and all(known.get(name) == digest for name, digest in current.items())
    )


def add_jobs(
    submission: Submission,
    store: Store,
    place: Place,
    say: _Say,
    at_once: int = 10_000,
    go_on: Callable[[float], None] | None = None,
) -> tuple[int, Added]:
    """Carry it out; returns the campaign's id and the new jobs. May be called again after a WorldFault.

    at_once: jobs in a transaction. go_on: called after each transaction with its seconds, to let others have their
    turn; an error that it raises ends the adding. Reports progress when it takes longer than two seconds.
    """
    found, campaign = submission.comparison, submission.campaign
    campaign_id = store.add_campaign(campaign.name, campaign.policy, place)
    before = store.reader.progress(campaign_id).total

    def tell() -> None:
        with contextlib.suppress(StoreError):
            count = store.reader.progress(campaign_id).total - before
            say(f"adding {found.new:,} jobs to {campaign.name}: {max(0, count):,} so far")

    with told_while(tell):
        if submission.is_updated and found.changed:
            for batch in submission.spool.batches(found.is_changed, at_once):
                store.update(campaign_id, batch)
        if submission.is_pruned and found.gone_pending:
            store.prune(campaign_id, found.gone_pending)
            before = store.reader.progress(campaign_id).total
        new, began = 0, time.monotonic()
        for batch in submission.spool.batches(found.is_wanted, at_once):
            new += store.add_batch(campaign_id, batch)
            if go_on is not None:
                go_on(time.monotonic() - began)
                began = time.monotonic()
    return campaign_id, Added(new=new, known=found.yielded - new)


def _tell_repeats(spool: Spool, found: Comparison) -> str:
    assert found.repeat_example is not None
    example = spool.at(found.repeat_example)
    is_named = bool(spool.is_named[found.repeat_example])
    which = f"the key {example.key!r}" if is_named else f"the params {example.params:.100}"
    return (
        f"{found.repeats:,} of {found.yielded:,} jobs repeat another, for example with {which}, and are rendered once "
        "with it: to render each, give each a key of its own, or a param such as 'repeat'"
    )


def _tell_changed(store: Reader, campaign_id: int, spool: Spool, found: Comparison, is_updated: bool) -> str:
    assert found.changed_example is not None
    now = spool.at(found.changed_example)
    stored = store.job(campaign_id, now.key)
    kept = canonical_json(stored["params"]) if stored else ""
    told = (
        f"{found.changed.total():,} of {found.yielded:,} jobs come with other params than are stored under their keys, "
        f"for example {now.key}: {now.params:.100}, stored {kept:.100}. "
    )
    if not is_updated:
        return told + (
            "The stored ones are kept; --update takes the new ones. Seed what is random (random.seed(0)) to "
            "get the same ones each time; jobs that are meant to be new need new keys"
        )
    notes = [
        f"{count:,} {what}"
        for what, count in (
            ("done: rendered again", found.changed["done"]),
            ("in progress: left alone", found.changed["in_progress"]),
        )
        if count
    ]
    return told + "They take the new ones" + (f" ({'; '.join(notes)})" if notes else "")


def _tell_gone(campaign: Campaign, store: Reader, found: Comparison, prune: bool) -> str:
    assert found.gone_example is not None
    key = store.key_of(found.gone_example)
    count = sum(found.gone.values())
    counts = ", ".join(
        f"{number:,} {status.replace('_', ' ')}" for status, number in sorted(found.gone.items())
    )
    line = (
        f"{count:,} of {found.stored:,} jobs are no longer in {campaign.file} ({counts}), for example {key}"
    )
    if not found.gone_pending:
        return line
    return f"{line}; the pending ones " + (
        "are taken out" if prune else "are rendered too: --prune takes them out"
    )


def _tell_changed_sources(campaign: Campaign, store: Reader, campaign_id: int) -> list[str]:
    """Report source files that have changed since earlier pictures were made."""
    known = {source.name: source.digest for source in store.sources(campaign_id)}
    current = campaign.sources.current() if campaign.sources is not None else {}
    names = [name for name, digest in current.items() if known.get(name, digest) != digest]
    progress = store.progress(campaign_id)
    if not names or not progress.done:
        return []
    return [f"{', '.join(names)} changed after {progress.done:,} of {progress.total:,} jobs were rendered"]


def _differences(campaign: Campaign, row: CampaignRow | None, *roles: str) -> dict[str, tuple[str, str]]:
    """Each setting that differs from the last run's: its value then, and now."""
    earlier = _stored_settings(row)
    differences: dict[str, tuple[str, str]] = {}
    for role in roles if earlier is not None else ():
        before, now = campaign.values_of(role, earlier or {}), campaign.values_of(role, campaign.settings)
        for name in now:
            if repr(before[name]) != repr(now[name]):
                differences[name] = (repr(before[name]), repr(now[name]))
    return differences


def _stored_settings(row: CampaignRow | None) -> dict[str, str] | None:
    """The settings of the last run; None where there was no run."""
    parameters = json.loads(row["parameters"] or "{}") if row is not None else {}
    settings: dict[str, str] | None = parameters.get("settings")
    return settings


def _doubt(
    campaign: Campaign, store: Reader, row: CampaignRow, found: Comparison, prune: bool, update: bool
) -> str:
    """Why adding these jobs looks like a mistake. A campaign that is topped up still yields the jobs that it had."""
    gone = 0 if prune else sum(found.gone.values())
    no_longer = f"{gone:,} of the {found.stored:,} that {campaign.name} has are no longer yielded"
    settings = _differences(campaign, row, "jobs")
    if settings and found.new and gone:
        return f"{found.new:,} jobs are new with other settings ({_listed(settings)}), while {no_longer}"
    if found.unnamed_new > found.yielded / 2 and (gone > found.stored / 2 or found.gone_pending) and gone:
        return (
            f"{found.new:,} of the {found.distinct:,} jobs that {campaign.file} yields are new, while {no_longer}. If "
            "their params are random, seed them (random.seed(0)) or give each job a key; if this is another study, "
            "give its Campaign another name"
        )
    again = found.changed["done"] if update else 0
    if again > row["done"] / 2:
        return (
            f"{again:,} of the {row['done']:,} jobs that are done come with other params, and their results would be "
            "given up. If their params are random, seed them (random.seed(0))"
        )
    forgotten = {name: values for name, values in settings.items() if name not in campaign.settings}
    if forgotten and found.new:
        given = ", ".join(f"--set {name}={value}" for name, value in (_stored_settings(row) or {}).items())
        return f"{found.new:,} jobs are new ({_listed(forgotten)}): the last run was given {given}, and this one is not"
    settings, progress = _differences(campaign, row, "scene"), store.progress(row["id"])
    if settings and progress.done and (found.new or progress.left):
        return f"the scene has other settings ({_listed(settings)}) than it had for the {progress.done:,} jobs done"
    return ""


def _listed(differences: dict[str, tuple[str, str]]) -> str:
    return "; ".join(f"{name} was {before}, is {now}" for name, (before, now) in differences.items())
