"""One check: its state, what was found, and what to do about it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

__all__ = ["Check", "State", "answer_of", "verdict"]

_ASK_S = 10.0


class State(str, Enum):
    """OK: nothing to do. WARN: a run works, though not as well as it could. FAIL: fix it first."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """name: what was checked, in a word or two. found: what was found. fix: what to do; '' where nothing is needed."""

    name: str
    state: State
    found: str
    fix: str = ""


def verdict(checks: Iterable[Check]) -> State:
    """The worst of their states; OK for none."""
    states = {check.state for check in checks}
    return next((state for state in (State.FAIL, State.WARN) if state in states), State.OK)


def answer_of(*command: str) -> str | None:
    """The output of a system program; None where there is no such program, it fails, or it takes too long."""
    try:
        told = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() if told.returncode == 0 else None
