"""Finished attempts made done in groups: one flush of their files, and then one transaction for their rows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from runner.errors import LeaseLost
from runner.job import Lease, Outcome, ShardEnd
from runner.results import Kept, ResultsFolder
from runner.run.threads import Threads
from runner.store import Store

__all__ = ["Committer", "NotKept"]

# So long a group gathers, unless it has so many. A tab renders on meanwhile, until eight of its attempts wait.
_GATHER_S, _MANY = 0.05, 6


class NotKept(Exception):
    """An attempt's files could not be kept; the cause is why. No row was written."""


@dataclass(frozen=True)
class _Waiting:
    lease: Lease
    outcome: Outcome
    done: asyncio.Future[None]

    def end(self, error: BaseException | None) -> None:
        if self.done.cancelled():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class Committer:
    """Makes jobs done. While one group is on its way to disk, the next one gathers."""

    def __init__(self, store: Store, results: ResultsFolder, threads: Threads):
        self._store, self._results, self._threads = store, results, threads
        self._waiting: list[_Waiting] = []
        self._work: asyncio.Task[None] | None = None
        self._has_many = asyncio.Event()

    async def complete(self, lease: Lease, outcome: Outcome) -> None:
        """Keep the files of an attempt that has finished, and then have its job done.

        Raises NotKept, LeaseLost, and what keeps the database from being written for good.
        """
        one = _Waiting(lease, outcome, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if len(self._waiting) >= _MANY:
            self._has_many.set()
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._work_through())
        await one.done

    async def _work_through(self) -> None:
        while self._waiting:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._has_many.wait(), _GATHER_S)
            self._has_many.clear()
            group, self._waiting = self._waiting, []
            try:
                await self._commit(group)
            except Exception as error:
                for one in group:
                    if not one.done.done():
                        one.end(error)

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        finished = [(one.lease, one.outcome) for one in group]
        results = await self._threads.wait_for(lambda: self._results.keep(finished))
        kept: list[tuple[_Waiting, Kept]] = []
        for one, result in zip(group, results):
            if isinstance(result, Exception):
                error = NotKept(str(result))
                error.__cause__ = result
                one.end(error)
            else:
                kept.append((one, result))
        if not kept:
            return
        try:
            await self._write([result for _, result in kept])
        except LeaseLost:
            # One of them at least: the others are saved one by one.
            for one, result in kept:
                await self._write_one(one, result)
        else:
            for one, _ in kept:
                one.end(None)

    async def _write_one(self, one: _Waiting, kept: Kept) -> None:
        try:
            await self._write([kept])
        except LeaseLost as error:
            one.end(error)
        else:
            one.end(None)

    async def _write(self, kept: Sequence[Kept]) -> None:
        # Of each shard the last one tells how far it is good.
        shards = {result.shard.path: result.shard for result in kept if result.shard is not None}
        settled = [(result.lease, result.outcome) for result in kept]
        await self._threads.store(_complete, self._store, settled, list(shards.values()))


def _complete(store: Store, settled: Sequence[tuple[Lease, Outcome]], shards: Sequence[ShardEnd]) -> None:
    store.complete_many(settled, shards=shards)
