"""Shows the checks on a terminal, one line each with its mark, and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from runner.doctor.check import Check, State, verdict

__all__ = ["to_json", "to_text"]

_MARKS = {State.OK: "✓", State.WARN: "!", State.FAIL: "✗"}
_NAME_COLUMNS = 20


def to_text(check: Check, encoding: str) -> tuple[str, str]:
    """Its mark and its lines. The mark is a word where the encoding cannot show it."""
    try:
        "".join(_MARKS.values()).encode(encoding)
        mark = _MARKS[check.state]
    except (UnicodeEncodeError, LookupError):
        mark = check.state.value.ljust(4)
    indent = " " * (len(mark) + 1 + _NAME_COLUMNS)
    fix = f"\n{indent}fix: {check.fix}" if check.fix and check.state is not State.OK else ""
    return mark, f" {check.name.ljust(_NAME_COLUMNS - 1)} {check.found}{fix}"


def to_json(checks: Sequence[Check]) -> dict[str, Any]:
    """All of them, and the worst of their states."""
    listed = [asdict(check) | {"state": check.state.value} for check in checks]
    return {"verdict": verdict(checks).value, "checks": listed}
