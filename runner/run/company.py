"""Which jobs may be rendered at the same time. A suspect is rendered alone, so that its faults are its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

__all__ = ["Company"]


class Company:
    """Lets jobs run beside each other, and a suspect only while no other job runs.

    suspects: ids of jobs, one of which has ended or blocked a worker process. tell: called with the id of the job that
    is alone now, and with 0 when it no longer is.
    """

    def __init__(self, suspects: Iterable[int] = (), tell: Callable[[int], None] = lambda job_id: None):
        self._suspects, self._tell = set(suspects), tell
        self._count = 0
        self._one_alone = asyncio.Lock()
        self._is_calm = asyncio.Event()
        self._is_calm.set()

    def is_suspect(self, job_id: int) -> bool:
        return job_id in self._suspects

    def suspect(self, job_ids: Iterable[int]) -> None:
        """One of these has ended or blocked a worker process, here or in another one."""
        self._suspects |= set(job_ids)

    def clear(self, job_id: int) -> None:
        """Its attempt ended in order."""
        self._suspects.discard(job_id)

    @asynccontextmanager
    async def of(self, job_id: int) -> AsyncIterator[None]:
        """Wait until the job may run; it runs while the block lasts."""
        if self.is_suspect(job_id):
            async with self._one_alone:
                await self._is_calm.wait()
                self._tell(job_id)
                try:
                    yield
                finally:
                    self._tell(0)
            return
        async with self._one_alone:
            # A suspect that waits to be alone comes first.
            self._count += 1
            self._is_calm.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._is_calm.set()
