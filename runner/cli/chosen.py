"""Finds the database that a command is about, and the campaign in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.report import Campaigns, CampaignTable
    from runner.store import CampaignRow, Reader, Store

__all__ = [
    "campaign_rows",
    "campaign_table",
    "chosen_job",
    "existing_store",
    "looked_at",
    "rows_of_files",
    "rows_to_change",
]


def existing_store(db: str | None) -> Store:
    """The existing database, opened for changes; none is created."""
    # SQLAlchemy takes long to import; `runner --help` goes without it.
    from runner.store import Access, Store

    return Store(db or "runner.db", access=Access.CHANGE)


def looked_at(db: str | None) -> Reader:
    """The existing database, opened for reading only."""
    from runner.store import Reader

    return Reader(db or "runner.db")


def campaign_rows(store: Reader, name: str | None) -> list[CampaignRow]:
    """The rows of the campaign of that name, or of all; at least one."""
    rows = [row for row in store.campaigns() if name in (None, row["name"])]
    if not rows:
        known = ", ".join(row["name"] for row in store.campaigns()) or "none"
        raise UsageError(f"there is no campaign {name or ''} in the database; it has: {known}")
    return rows


def rows_of_files(store: Reader, name: str | None, results: Path | None) -> list[CampaignRow]:
    """Like campaign_rows, but only campaigns with files: in the given folder, or else where the last run put them."""
    rows = [row for row in campaign_rows(store, name) if results or row["results"]]
    if not rows:
        raise UsageError("there is no results folder: the jobs were done by a JobQueue")
    for row in rows:
        row["results"] = str(results.absolute() if results else row["results"])
    return rows


def rows_to_change(store: Reader, name: str | None, is_all: bool) -> list[CampaignRow]:
    """Like campaign_rows, but takes all of several campaigns only with --all."""
    rows = campaign_rows(store, name)
    if name is not None and is_all:
        raise UsageError(f"name a campaign or add --all, not both: {name} --all")
    if len(rows) > 1 and not is_all:
        known = ", ".join(row["name"] for row in rows)
        raise UsageError(f"the database has several campaigns ({known}): name one, or add --all")
    return rows


def campaign_table(campaigns: Campaigns, name: str | None) -> CampaignTable:
    """The campaign of that name, or the only one."""
    if name is None and len(campaigns) == 1:
        (name,) = campaigns
    if name is None or name not in campaigns:
        known = ", ".join(campaigns) or "none"
        raise UsageError(f"name a campaign of the database; it has: {known}")
    return campaigns[name]


def chosen_job(store: Reader, rows: list[CampaignRow], word: str) -> tuple[CampaignRow, str]:
    """The one job that is meant, and its campaign. Raises UsageError when there is no such job, or several."""
    from runner.report import find_job

    found = [(row, key) for row in rows for key in find_job(store, row["id"], word)]
    if not found:
        counts = ", ".join(f"{row['name']} has {row['total']:,} jobs" for row in rows)
        raise UsageError(
            f"no job has the key {word!r}, a key that begins with it, or that row number: {counts}"
        )
    if len(found) > 1:
        named = [f"{key} ({row['name']})" if len(rows) > 1 else key for row, key in found]
        more = " …" if len(named) > 5 else ""
        raise UsageError(
            f"{word!r} may be one of several jobs; give more of the key, or the campaign: {', '.join(named[:5])}{more}"
        )
    return found[0]
