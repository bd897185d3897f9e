"""Chooses the jobs that a person wants to render again: by key, error, expression, or as suspects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.errors import UsageError
from runner.job import Status
from runner.report.table import CampaignTable
from runner.report.where import Where

__all__ = ["Choice", "chosen_keys"]


@dataclass(frozen=True)
class Choice:
    """Failed jobs, or done ones, which must pass all that is given.

    keys: their names; empty for any. error: a pattern that the reason of a failed job must contain. is_suspect: only
    done jobs that may be wrong. where: must be true for their params and metrics.
    """

    status: Status = Status.FAILED
    keys: frozenset[str] = frozenset()
    error: re.Pattern[str] | None = None
    is_suspect: bool = False
    where: Where | None = None


def chosen_keys(table: CampaignTable, choice: Choice) -> list[str]:
    """The keys of the chosen jobs. Raises UsageError for a key that the campaign does not have."""
    for key in sorted(choice.keys):
        if table.job(key) is None:
            raise UsageError(f"{table.name} has no job {key!r}")
    keys = [key for key in _candidates(table, choice) if not choice.keys or key in choice.keys]
    if choice.where is None:
        return keys
    wanted, passed = set(keys), []
    for row in table.rows(choice.status.value):
        if choice.where(row) and row["key"] in wanted:
            passed.append(row["key"])
    choice.where.check()
    return passed


def _candidates(table: CampaignTable, choice: Choice) -> Iterator[str]:
    """Choose by all that needs no look at params and metrics."""
    if choice.status is Status.FAILED:
        for key, error in table.iter_failures():
            if choice.error is None or choice.error.search(error):
                yield key
    elif choice.is_suspect:
        yield from table.suspects()
    elif choice.keys:
        yield from (key for key in sorted(choice.keys) if table.status_of(key) == choice.status.value)
    else:
        yield from (row["key"] for row in table.rows(choice.status.value))
