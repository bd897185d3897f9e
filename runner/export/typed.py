"""Finds a type for each column over all jobs, for formats with typed columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from runner.errors import ExportError
from runner.export.targets import to_json

Row = dict[str, Any]
_EXACT_FLOAT = 1 << 53
_NAMES = {
    "bool": "a truth",
    "int": "a number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "dict": "a dict",
}


@dataclass
class Shape:
    """What all values at one place have in common.

    kind: bool, int, float, str, list or dict; "" where all are None. has_none: whether one of them is.
    low, high: of all integers among them.
    inner: of a list's items. fields: of a dict's values.
    """

    kind: str = ""
    has_none: bool = False
    low: int = 0
    high: int = 0
    inner: Shape | None = None
    fields: dict[str, Shape] = field(default_factory=dict)

    def take(self, value: Any) -> bool:
        """Widen to hold this value, too; False where it is of another kind."""
        kind = type(value).__name__
        if value is None:
            self.has_none = True
            return True
        if {kind, self.kind} == {"int", "float"}:
            self.kind = kind = "float"
        if self.kind not in ("", kind):
            return False
        self.kind = kind
        if isinstance(value, int) and not isinstance(value, bool):
            self.low, self.high = min(self.low, value), max(self.high, value)
        elif isinstance(value, list):
            self.inner = self.inner or Shape()
            return all(self.inner.take(item) for item in value)
        elif isinstance(value, dict):
            return all(self.fields.setdefault(name, Shape()).take(value[name]) for name in value)
        return True

    def has_room(self, is_guessed: bool) -> bool:
        """Whether 64 bits hold all its numbers exactly, and all its dicts have fields.

        is_guessed: by a reader that takes the types from JSON, integers as signed ones, and lists by their items,
        of which none may be null (datasets 5.2 reads what follows a null wrong, or not at all).
        """
        if self.kind == "int":
            # Unsigned, where no number is negative.
            return self.low >= -(1 << 63) and self.high < 1 << (63 if is_guessed or self.low else 64)
        if self.kind == "float":
            return self.low >= -_EXACT_FLOAT and self.high <= _EXACT_FLOAT
        if self.kind == "list" and self.inner is not None:
            is_clear = bool(self.inner.kind) and not self.inner.has_none
            return self.inner.has_room(is_guessed) and (is_clear or not is_guessed)
        fields = self.fields.values()
        return self.kind != "dict" or (bool(fields) and all(shape.has_room(is_guessed) for shape in fields))


def typed(
    rows: Iterable[Row], columns: Iterable[str], format: str, is_guessed: bool = False
) -> tuple[dict[str, Shape], list[str]]:
    """The shape of each column, and the names of columns that no type can hold, which become text.

    These are columns with integers beyond 64 bits, or with integers that a float beside them would round, and lists and
    dicts that differ in kind from job to job. Raises ExportError for a column with numbers in some jobs and text in
    others, which is a mistake in the campaign. is_guessed: see has_room.
    """
    shapes = {name: Shape() for name in columns}
    first: dict[str, tuple[str, Any]] = {}
    mixed: set[str] = set()
    for row in rows:
        for name, value in row.items():
            if shapes[name].take(value) or name in mixed:
                if value is not None:
                    first.setdefault(name, (row["key"], value))
                continue
            key, other = first.get(name, (row["key"], value))
            kinds = type(other).__name__, type(value).__name__
            if "list" not in kinds and "dict" not in kinds:
                raise ExportError(
                    f"{format} has one type for each column, but {name!r} is {_NAMES[kinds[0]]} in job {key} and "
                    f"{_NAMES[kinds[1]]} in job {row['key']}; jsonl and csv can hold both"
                )
            mixed.add(name)
    return shapes, [name for name in shapes if name in mixed or not shapes[name].has_room(is_guessed)]


def as_text(value: Any) -> str | None:
    """The value in a column that is text: as it is, or JSON."""
    return value if value is None or isinstance(value, str) else to_json(value)
