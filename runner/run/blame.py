"""Decides which job ended a worker process, and words the reason: pure functions of the evidence."""

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
    LEAKED = "leaked"
    HARMED = "harmed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Fault:
    """What happened to a worker process, and the evidence.

    running: whose code ran then. stacks: as faulthandler wrote them. limit_s: how long its loop stood still;
    is_starved: its thread asked again and again for the interpreter, which another thread kept. status: its exit
    status, if it ended by itself. memory_bytes: what it held; grower: the job during which it grew most. open_files:
    how many files and sockets it held open.
    """

    kind: FaultKind
    running: Sequence[Running] = ()
    stacks: str = ""
    limit_s: float = 0.0
    is_starved: bool = False
    status: int = 0
    memory_bytes: int = 0
    grower: Running | None = None
    open_files: int = 0


def culprit(fault: Fault, is_alone: bool) -> Running | None:
    """The job whose code did it, if that is certain. is_alone: no other job was in flight.

    Threads that a job starts itself are on no board, and may go on after it has ended.
    """
    if fault.kind is FaultKind.BLOCKED:
        return _blocker(fault, is_alone)
    if fault.kind is FaultKind.GREW:
        return fault.grower if is_alone else None
    if fault.kind is FaultKind.DIED:
        return _crasher(fault, is_alone)
    return None


def _blocker(fault: Fault, is_alone: bool) -> Running | None:
    on_loop = next((one for one in fault.running if one.is_loop), None)
    if not fault.is_starved:
        return on_loop
    return fault.running[0] if is_alone and len(fault.running) == 1 else None


def _crasher(fault: Fault, is_alone: bool) -> Running | None:
    thread = crashed_thread(fault.stacks)
    if thread is not None:
        return next((one for one in fault.running if one.thread == thread), None)
    # The kernel uses this one when memory is short, and so do people.
    is_from_outside = fault.status == -signal.SIGKILL
    return fault.running[0] if is_alone and len(fault.running) == 1 and not is_from_outside else None


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
    if fault.kind is FaultKind.LEAKED:
        return (
            f"held {fault.open_files:,} files and sockets open: close in render what it opens "
            "('ulimit -n' allows more)"
        )
    if fault.kind is FaultKind.HARMED:
        return "did jobs, and then failed one after the other, as if it had been harmed"
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
