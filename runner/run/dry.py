"""A dry run: tells what a run would do, and writes, renders and starts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runner.campaign import Campaign, plan_submission, read_jobs
from runner.exits import ExitStatus
from runner.job import Progress
from runner.run.options import RunOptions
from runner.run.say import say
from runner.store import Comparison, Reader, Spool, compare

__all__ = ["dry_run"]

_SHOWN = 3


def dry_run(campaign: Campaign, options: RunOptions) -> tuple[str, ExitStatus]:
    """In words, what a run with these options would add, render and leave, and its exit status.

    USAGE where it would ask whether to add the jobs, or refuse; NOTHING_TO_DO where it has none to render.
    """
    campaign.make_scene()
    with read_jobs(campaign, say) as spool:
        found, progress, state = compare(spool, ()), Progress(0, 0, 0, 0), "open"
        lines: tuple[str, ...] = ()
        doubt = ""
        if not _is_new(options.database):
            with Reader(options.database) as store:
                plan = plan_submission(campaign, store, spool, options.prune, options.update)
                found, lines, doubt = plan.comparison, plan.lines, "" if options.add else plan.doubt
                row = store.campaign_named(campaign.name)
                if row is not None:
                    progress, state = store.progress(row["id"]), row["state"]
        told = [*_counts(campaign, spool, found, progress, options), *(f"  {line}" for line in lines)]
    if doubt:
        told.append(f"    it would ask first, and end with 2 if nobody answers (--add says yes): {doubt}")
        return "\n".join(told), ExitStatus.USAGE
    if state != "open":
        told.append(f"  none would be rendered: the campaign is {state}")
    return "\n".join(told), ExitStatus.DONE if _left(found, progress, options) else ExitStatus.NOTHING_TO_DO


def _counts(
    campaign: Campaign, spool: Spool, found: Comparison, progress: Progress, options: RunOptions
) -> Iterator[str]:
    yield f"{campaign.name}: {campaign.file} yields {found.distinct:,} jobs; nothing was written"
    wanted = [place for place, is_wanted in enumerate(found.is_wanted) if is_wanted][: _SHOWN + 1]
    yield f"  added     {found.new:,}" + ("" if found.new else ": all of them are there")
    for place in wanted[:_SHOWN] if found.new else ():
        job = spool.at(place)
        yield f"            {job.key}  {job.params:.100}"
    yield f"  there     {progress.done:,} done, {progress.failed:,} failed, {progress.left:,} left"
    gone = sum(found.gone.values())
    counts = ", ".join(
        f"{count:,} {status.replace('_', ' ')}" for status, count in sorted(found.gone.items())
    )
    yield f"  gone      {gone:,}" + (f" that the file no longer yields: {counts}" if gone else "")
    left = _left(found, progress, options)
    rendered = left if options.limit is None else min(left, options.limit)
    yield f"  rendered  {rendered:,}" + (f" of {left:,}" if rendered < left else "")


def _left(found: Comparison, progress: Progress, options: RunOptions) -> int:
    """How many jobs would be left to render."""
    pruned = len(found.gone_pending) if options.prune else 0
    # Jobs that are rendered again with other params.
    updated = found.changed["done"] + found.changed["failed"] if options.update else 0
    return progress.left + found.new - pruned + updated


def _is_new(database: str) -> bool:
    """Whether it is a SQLite file that does not exist yet."""
    path = database.removeprefix("sqlite:///")
    return "://" not in path and not Path(path).exists()
