"""Waiting for facts, and clocks that stand still until a test moves them."""

from __future__ import annotations

import time

import pytest


def wait_until(fact, what: str, timeout_s: float = 60.0):
    """Poll until fact() is truthy and return it; fail, saying what was waited for."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = fact()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"waited {timeout_s:.0f} s in vain for {what}")


class Clock:
    """A clock that tests move by hand."""

    def __init__(self, now: float):
        self.now = now

    def __call__(self) -> float:
        return self.now
