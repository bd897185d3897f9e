"""Limits computations beside a run's work to a small share of the time, however often they are asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Thrift"]

_Result = TypeVar("_Result")


class Thrift:
    """A thread with a budget of CPU time; computations beyond it wait.

    share: of one core's time in the long run. at_once_s: so many seconds of it may be saved up.
    """

    def __init__(self, share: float, at_once_s: float = 0.0, monotonic: Callable[[], float] = time.monotonic):
        self._share, self._most_s, self._monotonic = share, at_once_s, monotonic
        self._saved_s, self._counted = at_once_s, monotonic()
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="runner-live")

    async def spend(self, act: Callable[[], _Result]) -> _Result:
        """Do it in the thread, when its turn comes and the budget allows. Raises what it raises."""
        async with self._turn:
            await asyncio.sleep(self.due_s())
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._paid, act)

    def due_s(self) -> float:
        """In how many seconds the budget allows something again."""
        now = self._monotonic()
        self._saved_s = min(self._most_s, self._saved_s + self._share * (now - self._counted))
        self._counted = now
        return max(0.0, -self._saved_s / self._share)

    def _paid(self, act: Callable[[], _Result]) -> _Result:
        began = time.thread_time()
        try:
            return act()
        finally:
            self._saved_s -= time.thread_time() - began
