"""Sorts the rows to export by params, metrics or columns, numbers as numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from runner.errors import ExportError

_DIGITS = re.compile("([0-9]{1,4000})")


class Order:
    """Sorts rows; jobs without a value come last, equal ones as they were added.

    names: what to sort by, the first first; a '-' in front means from high to low. Numbers are sorted as numbers, even
    within text: view_2 comes before view_10.
    """

    def __init__(self, names: Iterable[str]):
        self._names = [(name.removeprefix("-"), name.startswith("-")) for name in names]
        self._rows: list[tuple[list[Any], int]] = []

    def take(self, row: Mapping[str, Any], place: int) -> None:
        """Note a row that stands at that place."""
        if self._names:
            self._rows.append(([_rank(row.get(name)) for name, _ in self._names], place))

    def sorted(self, columns: Iterable[str]) -> list[int] | None:
        """The places in order; None where the rows stay as they are. columns: all names that there are."""
        known = set(columns)
        for name, _ in self._names:
            if name not in known:
                told = ", ".join(sorted(known))
                raise ExportError(f"no job has {name!r} to sort by; they have: {told:.300}")
        if not self._names:
            return None
        for index, (_, is_descending) in reversed(list(enumerate(self._names))):
            self._rows.sort(key=lambda row: row[0][index] or (), reverse=is_descending)
            self._rows.sort(key=lambda row: row[0][index] is None)
        return [place for _, place in self._rows]


def _rank(value: Any) -> tuple[Any, ...] | None:
    """The sort key of a value: numbers, then text, then lists, then dicts; None where there is nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (bool, int, float)):
        return (0, value)
    if isinstance(value, str):
        parts = _DIGITS.split(value)
        return (1, [int(part) if index % 2 else part for index, part in enumerate(parts)], value)
    if isinstance(value, list):
        return (2, [_rank(item) or () for item in value])
    return (3, json.dumps(value, sort_keys=True))
