"""Pauses a run while the world is at fault, and lets it go on afterwards."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from runner.errors import WorldFault
from runner.machine.faults import Probe, world_fault

_Result = TypeVar("_Result")
_LONGEST_WAIT_S = 60.0
_CALM_S = 60.0
_PROBE_EVERY_S = 5.0
_LOOK_AGAIN_S = 0.5


class Faults(Protocol):
    """The part of the guard that is needed to report faults and to wait until they are over."""

    fault: WorldFault | None

    def note(self, kind: str, message: str, *, once: str = "") -> None:
        """Keep an event for the report. once: a name; only the first event with that name is kept in a run."""

    def tell(self, kind: str, message: str, *, once: str = "") -> None:
        """Keep an event for the report, likewise, and tell people."""

    def pause(self, fault: WorldFault) -> None:
        """The world is at fault: no job is begun until the fault is over."""


class Guard:
    """Whether the world lets the run go on. Anyone may report a fault; a round of probes ends the pause.

    When a fault comes back soon after it was over, and no job was done in between, the wait is longer each time, up to
    a minute.

    say: takes a line for people: one when a pause begins, one when it ends.
    Safe to share between threads.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        probes: list[Probe],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self.probes = probes
        self.fault: WorldFault | None = None
        # (Unix seconds, kind, message) of events, until the database can be written.
        self.events: deque[tuple[float, str, str]] = deque()
        self._said_once: set[str] = set()
        self._say, self._clock, self._monotonic = say, clock, monotonic
        self._lock = threading.Lock()
        self._began = self._ended = float("-inf")
        self._wait_s = 0.5
        self._next_probes = float("-inf")

    def is_new(self, once: str) -> bool:
        """Whether nothing was reported under that name yet; '' is always new."""
        is_new = once not in self._said_once
        self._said_once |= {once} - {""}
        return is_new

    def note(self, kind: str, message: str, *, once: str = "", ts: float | None = None) -> None:
        """Keep an event for the report. once: a name; of all events with that name, only the first is kept.

        ts: its time in Unix seconds; None: now.
        """
        if self.is_new(once):
            self.events.append((self._clock() if ts is None else ts, kind, message))

    def tell(self, kind: str, message: str, *, once: str = "") -> None:
        """Keep an event for the report, likewise, and tell people."""
        if self.is_new(once):
            self.note(kind, message)
            self._say(message)

    def pause(self, fault: WorldFault) -> None:
        """The world is at fault: no job is begun until a round of probes succeeds."""
        with self._lock:
            if self.fault is not None:
                return
            soon = self._monotonic() - self._ended < _CALM_S
            self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S) if soon else 0.5
            self._began = self._monotonic()
            self.fault = fault
        self.note("pause", str(fault))
        self._say(f"paused, no job is charged: {fault}")

    def prove_well(self) -> None:
        """A job was done: the next fault is a new one."""
        with self._lock:
            self._ended = float("-inf")

    def look(self, *chores: Callable[[], None]) -> None:
        """One round: the run's own chores, and the probes, which are skipped for a while when all is well.

        A fault pauses the run; a round without one ends the pause.
        """
        probes: list[Probe] = []
        if self.fault is not None or self._monotonic() >= self._next_probes:
            self._next_probes = self._monotonic() + _PROBE_EVERY_S
            probes = self.probes
        try:
            for act in (*probes, *chores):
                act()
        except (WorldFault, OSError) as error:
            fault = world_fault(error)
            if fault is None:
                raise
            self.pause(fault)
            return
        with self._lock:
            lasted_s = self._monotonic() - self._began
            if self.fault is None or lasted_s < self._wait_s:
                return
            fault, self.fault = self.fault, None
            self._ended = self._monotonic()
        self.note("resume", f"after {lasted_s:.1f} s: {fault}")
        self._say(f"going on after {lasted_s:.0f} s: {fault} (no longer)")

    def insist(self, act: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call act, which a run needs to begin or end, until the world allows it; returns its result."""
        returned: list[_Result] = []
        while not returned:
            if self.fault is not None:
                time.sleep(_LOOK_AGAIN_S)
            self.look(lambda: returned.append(act(*arguments)))
        return returned[0]
