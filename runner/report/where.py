"""Expressions that choose jobs, such as `light > 3 and kind == "cup"`; nothing in them is run as code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from runner.errors import UsageError

__all__ = ["Where"]

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
# No power operator: 9**9**9 would never end.
_SUMS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class _Unknown(Exception):
    """The job has no value of that name."""


# The result of a comparison that is impossible.
_NOTHING = (_Unknown, TypeError, ZeroDivisionError, IndexError, KeyError, OverflowError)


class Where:
    """An expression over a job's columns, params and metrics: names, numbers, texts, lists, comparisons, and, or, not.

    params.NAME and metrics.NAME tell apart values with the same name; matrix[3] is an item of a list. Raises UsageError
    for anything else.
    """

    def __init__(self, text: str):
        self.text = text
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise self._refused("it is not an expression") from None
        self.names: set[str] = set()
        self._missing: set[str] = set()
        self._is_used = False
        self._value(self._tree, None)
        self._missing |= self.names

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Whether it is true for the job, a row of CampaignTable.

        A comparison with a value that is missing or cannot be compared is not true.
        """
        self._is_used = True
        if self._missing:
            self._missing = {name for name in self._missing if _known_as(name, row) is None}
        try:
            return bool(self._value(self._tree, row))
        except _NOTHING:
            return False

    def check(self) -> None:
        """Raise UsageError for a name that no job has: it may be misspelt."""
        if self._missing and self._is_used:
            raise self._refused(f"no job has a param, metric or column {min(self._missing)!r}")

    def _refused(self, reason: str) -> UsageError:
        return UsageError(
            f'--where {self.text!r}: {reason}. Write a comparison such as "light > 3" or "kind == \'cup\' and i < 9"'
        )

    def _value(self, node: ast.expr, row: Mapping[str, Any] | None) -> Any:
        """The value of this part of the expression for that job; without a job, it is only checked."""
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, bool, type(None))):
            return node.value
        if isinstance(node, ast.Name):
            return self._named(node.id, row)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("params", "metrics"):
            return self._named(f"{ast.unparse(node.value)}/{node.attr}", row)
        if isinstance(node, (ast.List, ast.Tuple)):
            return [self._value(item, row) for item in node.elts]
        if isinstance(node, ast.Subscript):
            items, place = self._value(node.value, row), self._value(node.slice, row)
            return None if row is None else items[place]
        if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
            value = self._value(node.operand, row)
            return None if row is None else _SIGNS[type(node.op)](value)
        if isinstance(node, ast.BinOp) and type(node.op) in _SUMS:
            left, right = self._value(node.left, row), self._value(node.right, row)
            return None if row is None else self._sum(type(node.op), left, right)
        if isinstance(node, ast.BoolOp):
            return self._any_or_all(node, row)
        if isinstance(node, ast.Compare):
            return self._compare(node, row)
        raise self._refused(f"{ast.unparse(node)!r} is not allowed in such an expression")

    def _named(self, name: str, row: Mapping[str, Any] | None) -> Any:
        if row is None:
            self.names.add(name)
            return None
        known = _known_as(name, row)
        if known is None:
            raise _Unknown
        return row[known]

    def _any_or_all(self, node: ast.BoolOp, row: Mapping[str, Any] | None) -> bool:
        if row is None:
            for part in node.values:
                self._value(part, None)
            return False
        values = (self._value(part, row) for part in node.values)
        return any(values) if isinstance(node.op, ast.Or) else all(values)

    def _compare(self, node: ast.Compare, row: Mapping[str, Any] | None) -> bool:
        try:
            values = [self._value(part, row) for part in (node.left, *node.comparators)]
            return row is not None and all(
                _COMPARISONS[type(act)](left, right) for act, left, right in zip(node.ops, values, values[1:])
            )
        except _NOTHING:
            return False

    def _sum(self, act: type[ast.operator], left: Any, right: Any) -> Any:
        if not all(isinstance(value, (int, float)) for value in (left, right)):
            # Multiplying text by a number could fill the memory.
            raise TypeError
        return _SUMS[act](left, right)


def _known_as(name: str, row: Mapping[str, Any]) -> str | None:
    """The row's own name for it: a param or metric with a unique name has that name alone."""
    return next((known for known in (name, name.split("/")[-1]) if known in row), None)
