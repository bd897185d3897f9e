"""The threads of a run: they keep waits for database and disk off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from runner.errors import WorldFault
from runner.machine import Faults
from runner.run.ending import Ending

__all__ = ["Threads"]

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")
_LOOK_AGAIN_S = 0.1


class Threads:
    """One thread for the database, one for claims, some that write files, and more that wait for these.

    writer: for encoding and writing files.
    """

    def __init__(self, guard: Faults, ending: Ending):
        self.writer: Executor = ThreadPoolExecutor(8, thread_name_prefix="runner-files")
        self._guard, self._ending = guard, ending
        self._database = ThreadPoolExecutor(1, thread_name_prefix="runner-store")
        self._claims = ThreadPoolExecutor(1, thread_name_prefix="runner-claims")
        # These threads wait for the disk; the loop's own threads, which decode frames, must not wait behind them.
        self._waiting = ThreadPoolExecutor(32, thread_name_prefix="runner-settle")

    async def store(
        self, verb: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        """Run one of the store's verbs, again and again while the database is at fault."""
        return await self._insist(self._database, lambda: verb(*arguments, **named))

    async def claim(self, act: Callable[[], _Result]) -> _Result:
        """The same for a claim, which does not wait for completions."""
        return await self._insist(self._claims, act)

    async def _insist(self, threads: Executor, act: Callable[[], _Result]) -> _Result:
        loop, stopping = asyncio.get_running_loop(), self._ending.stopping
        while True:
            try:
                return await loop.run_in_executor(threads, act)
            except WorldFault as fault:
                self._guard.pause(fault)
                while self._guard.fault is not None and not stopping.done():
                    await asyncio.wait({stopping}, timeout=_LOOK_AGAIN_S)
                if self._guard.fault is not None:
                    raise

    def submit(self, act: Callable[[], _Result]) -> Future[_Result]:
        """Queue it in the database's thread."""
        return self._database.submit(act)

    async def wait_for(self, act: Callable[[], _Result]) -> _Result:
        """Run a function that waits for the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._waiting, act)

    async def close(self) -> None:
        """End the threads, once they have done their work."""
        for threads in (self._claims, self._database, self.writer, self._waiting):
            await asyncio.to_thread(threads.shutdown)
