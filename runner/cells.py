"""Texts as cells of a CSV file: none of them is a formula that a spreadsheet would run."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["cell", "is_formula"]

# A formula calls nothing, and asks nobody, without a parenthesis, a bar or an exclamation mark.
_FORMULA = re.compile(r"\s*[=+\-@].*[(|!]", re.DOTALL)


def is_formula(value: Any) -> bool:
    """Whether a spreadsheet might run it."""
    return isinstance(value, str) and _FORMULA.match(value) is not None


def cell(value: Any) -> Any:
    """The value as it is, but a formula as text: with an apostrophe before it, which spreadsheets do not show."""
    return f"'{value}" if is_formula(value) else value
