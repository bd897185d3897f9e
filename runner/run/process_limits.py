"""The process's limits, umask and alarm: what a job's code sets holds until it awaits, and is then taken back."""

from __future__ import annotations

import contextlib
import os
import resource
import signal

__all__ = ["ProcessLimits"]

_LIMITS = {
    name: getattr(resource, name) for name in ("RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_CPU")
}
_LIMIT = (
    "render has set {} (resource.setrlimit), which holds for runner and for the jobs beside it, too; it was put back. "
    "--worker-memory limits the memory of a process, and timeout_s a job's time"
)
_UMASK = (
    "render has set the umask to {:04o}, with which the files of all jobs would have been written; it was put back. "
    "os.chmod sets what may be done with one file"
)
_ALARM = (
    "render has set an alarm (signal.alarm or setitimer) and awaited: it would have gone off in the code of others, so "
    "it was turned off. asyncio.timeout or timeout_s limits a job's time"
)


class ProcessLimits:
    """What was set before any job's code ran, and is put back after each step of such code.

    Runner's own code between two steps, and other jobs, run in the same process.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}
        self._umask = 0

    def remember(self) -> None:
        """Before the first step of a job's code: what the campaign's file has set stays."""
        if not self._before:
            self._before = _now()
            self._umask = _umask()

    def put_back(self) -> dict[str, str]:
        """After each step. Returns what a person should know, by a word that stands for its kind."""
        told = {}
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            told["alarm"] = _ALARM
        umask = os.umask(self._umask)
        if umask != self._umask:
            told["umask"] = _UMASK.format(umask)
        now = _now()
        if now != self._before:
            tighter = [name for name, limits in now.items() if _is_tighter(limits, self._before[name])]
            for name in tighter:
                soft, hard = self._before[name]
                # Only root may raise the second one again.
                for limits in ((soft, hard), (_least(soft, now[name][1]), now[name][1])):
                    with contextlib.suppress(ValueError, OSError):
                        resource.setrlimit(_LIMITS[name], limits)
                        break
            # A looser one does no harm, and one that cannot be put back is told once.
            self._before = _now()
            if tighter:
                told["limit"] = _LIMIT.format(" and ".join(tighter))
        return told


def _now() -> dict[str, tuple[int, int]]:
    return {name: resource.getrlimit(number) for name, number in _LIMITS.items()}


def _umask() -> int:
    # It can only be asked for by setting it, and other threads write files.
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _is_tighter(now: tuple[int, int], before: tuple[int, int]) -> bool:
    return now[0] != before[0] and _least(now[0], before[0]) == now[0]


def _least(one: int, other: int) -> int:
    if resource.RLIM_INFINITY in (one, other):
        return other if one == resource.RLIM_INFINITY else one
    return min(one, other)
