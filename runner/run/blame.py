"""Whose fault the end of a worker process is, and how it is told: pure functions of what was seen."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from runner.machine import size_text
from runner.run.board import Running
from runner.run.stacks import crashed_thread, place_in, signal_told

__all__ = ["Fault", "FaultKind", "culprit", "reason"]


class FaultKind(str, Enum):
    """What befell a worker process."""

    BLOCKED = "blocked"
    DIED = "died"
    GREW = "grew"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Fault:
    """What befell a worker process, and what was seen of it.

    running: whose code ran then. stacks: as faulthandler wrote them. limit_s: how long its loop stood still.
    status: with which it ended by itself. memory_bytes: what it held; grower: the job under which most was taken.
    """

    kind: FaultKind
    running: Sequence[Running] = ()
    stacks: str = ""
    limit_s: float = 0.0
    status: int = 0
    memory_bytes: int = 0
    grower: Running | None = None


def culprit(fault: Fault) -> Running | None:
    """Whose code did it, as far as that is known for certain."""
    if fault.kind is FaultKind.STOPPED:
        return None
    if fault.kind is FaultKind.GREW:
        return fault.grower
    thread = crashed_thread(fault.stacks) if fault.kind is FaultKind.DIED else None
    for one in fault.running:
        if one.thread == thread:
            return one
    for one in fault.running:
        if one.is_loop:
            return one
    return fault.running[0] if len(fault.running) == 1 else None


def reason(fault: Fault, who: Running | None, folder: Path) -> str:
    """What happened, and where in the user's own code, for the job's row or for people."""
    place = place_in(fault.stacks, who.thread, folder) if who is not None else ""
    where = f" at {place}" if place else ""
    if fault.kind is FaultKind.BLOCKED:
        return f"blocked the event loop for {fault.limit_s:g} s{where}"
    if fault.kind is FaultKind.GREW:
        return (
            f"filled the memory{where}: the worker process held {size_text(fault.memory_bytes)} "
            "(--worker-memory allows more)"
        )
    if fault.kind is FaultKind.DIED:
        return f"ended the worker process{where} ({signal_told(fault.stacks) or _status_text(fault.status)})"
    return "stopped"


def _status_text(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
