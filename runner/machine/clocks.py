"""Notices that the machine slept, that its clock was set, or that this process stood still."""

from __future__ import annotations

import time
from collections.abc import Callable

_LEAP_S = 5.0


class ClockWatch:
    """Notices that the machine slept, that its clock was set, or that this process stood still.

    It compares the wall clock with the monotonic one, which on Linux stands still while the machine sleeps, and a wait
    with its intended length. No decision depends on the wall clock: this is for the report only.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self._clock, self._monotonic = clock, monotonic
        self._offset_s = clock() - monotonic()

    def look(self, overslept_s: float = 0.0) -> str:
        """What happened since the last look, in a line; '' for nothing.

        overslept_s: how much longer than intended the last wait took, in seconds.
        """
        offset_s = self._clock() - self._monotonic()
        leap_s, self._offset_s = offset_s - self._offset_s, offset_s
        if leap_s > _LEAP_S:
            return f"the machine slept for {leap_s:.0f} s, or its clock was set forward by that"
        if leap_s < -_LEAP_S:
            return f"the machine's clock was set back by {-leap_s:.0f} s"
        if overslept_s > _LEAP_S:
            return f"this process was held up for {overslept_s:.0f} s"
        return ""
