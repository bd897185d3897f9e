"""Completes finished attempts in groups: one flush for their files, then one transaction for their rows.

All of it takes one change of threads for a group.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from runner.errors import LeaseLost
from runner.job import Lease, Outcome
from runner.results import Kept, ResultsFolder
from runner.run.threads import Threads
from runner.store import Store

__all__ = ["Committer", "NotKept"]

# A group gathers for so long, or until it has so many. Meanwhile a tab goes on, until eight of its attempts wait.
_GATHER_S, _MANY = 0.05, 6
_FLUSH_ROWS_S = 0.2


class NotKept(Exception):
    """An attempt's files could not be kept, for the reason in __cause__. No row was written."""


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
    """Completes jobs. While one group is on its way to disk, the next one gathers."""

    def __init__(self, store: Store, results: ResultsFolder, threads: Threads):
        self._store, self._results, self._threads = store, results, threads
        self._waiting: list[_Waiting] = []
        self._work: asyncio.Task[None] | None = None
        self._has_many = asyncio.Event()
        self._is_flush_due = False

    async def complete(self, lease: Lease, outcome: Outcome) -> None:
        """Keep the files of a finished attempt, and then complete its job.

        Raises NotKept, LeaseLost, and lasting errors of the database.
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
        results: list[Kept | Exception] = []

        def keep_and_write() -> None:
            if not results:  # where the database is tried again, the files are there
                results.extend(self._results.keep(finished))
            kept = [result for result in results if isinstance(result, Kept)]
            if kept:
                self._write(kept)

        is_written = True
        try:
            await self._threads.store(keep_and_write)
        except LeaseLost:
            # At least one lease is lost: the others are saved one by one.
            is_written = False
        for one, result in zip(group, results):
            if isinstance(result, Exception):
                error = NotKept(str(result))
                error.__cause__ = result
                one.end(error)
            elif is_written:
                one.end(None)
            else:
                await self._write_one(one, result)
        if not (self._results.is_record_flushed or self._is_flush_due):
            self._is_flush_due = True
            asyncio.get_running_loop().call_later(_FLUSH_ROWS_S, self._flush_rows)

    async def _write_one(self, one: _Waiting, kept: Kept) -> None:
        try:
            await self._threads.store(self._write, [kept])
        except LeaseLost as error:
            one.end(error)
        else:
            one.end(None)

    def _flush_rows(self) -> None:
        """Have no power cut take back rows whose jobs nothing else on the disk tells of for sure."""
        self._is_flush_due = False

        def flush() -> None:
            # A disk that fails here fails the next one, who says so.
            with contextlib.suppress(OSError):
                self._store.database.make_durable()

        # At the end of a run the database is closed, which flushes it, too.
        with contextlib.suppress(RuntimeError):
            self._threads.writer.submit(flush)

    def _write(self, kept: Sequence[Kept]) -> None:
        """Write their rows, in a thread of the database's."""
        # For each shard the last one tells how much of it is valid.
        shards = {result.shard.path: result.shard for result in kept if result.shard is not None}
        settled = [(result.lease, result.outcome) for result in kept]
        self._store.complete_many(settled, shards=list(shards.values()))
