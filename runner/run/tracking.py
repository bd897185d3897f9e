"""An event loop that shows whose code it runs, and that no job's code can end."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from functools import partial
from typing import Any

from runner.run.board import LOOP, SLOTS, Board
from runner.run.chance import OwnChance
from runner.run.life import CURRENT, Life
from runner.run.process_limits import ProcessLimits

__all__ = ["TrackingLoop"]

_Callback = Callable[..., Any]


class TrackingLoop(asyncio.SelectorEventLoop):
    """An event loop that shows on the board for which job it runs each callback, and each task's step.

    sys.exit in a job's code ends its task alone. A process that a job's code forked ends when it returns into the loop.
    Limits of the process that such a step has set are put back after it. Generators that a job has seeded are its own.
    """

    def __init__(self, board: Board):
        super().__init__()
        self._board, self._process = board, os.getpid()
        self._limits, self._chance = ProcessLimits(), OwnChance()
        self.set_task_factory(_make_task)
        self.set_default_executor(_TrackingThreads(board))

    # The types in asyncio's stubs cannot be written without TypeVarTuple (Python 3.11).
    def call_soon(  # type: ignore[override]
        self, callback: _Callback, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon(self._tracked(callback, context), *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: _Callback, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon_threadsafe(self._tracked(callback, context), *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: _Callback, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(when, self._tracked(callback, context), *args, context=context)

    def stop(self) -> None:
        if CURRENT.get() is not None:
            raise RuntimeError("a job may not stop the event loop that it runs in")
        super().stop()

    def _tracked(self, callback: _Callback, context: Context | None) -> _Callback:
        life = CURRENT.get() if context is None else context.get(CURRENT)
        return callback if life is None else partial(self._run_for, life, callback)

    def _run_for(self, life: Life, callback: _Callback, *args: Any) -> None:
        # Only steps of its own tasks: a callback that wakes up others may run in its context.
        if getattr(callback, "__self__", None) in life.buried:
            return
        self._board.enter(LOOP, threading.get_ident(), life.job_id, life.attempt)
        self._limits.remember()
        self._chance.enter(life)
        try:
            callback(*args)
        except (SystemExit, KeyboardInterrupt):
            pass  # the task has it, too
        finally:
            if os.getpid() != self._process:
                _end_forked(self._board, life)
            self._board.leave(LOOP)
            for kind, what in self._limits.put_back().items():
                life.tell(kind, what)


class _Task(asyncio.Task[Any]):
    """A task that no other job's code can cancel."""

    def cancel(self, msg: Any | None = None) -> bool:
        life = CURRENT.get()
        if life is not None and self not in life.tasks:
            return False
        return super().cancel(msg)


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    **options: Any,
) -> asyncio.Task[Any]:
    task = _Task(coro, loop=loop, **options)
    context: Context | None = options.get("context")
    life = CURRENT.get() if context is None else context.get(CURRENT)
    if life is not None:
        life.tasks.add(task)
    return task


class _TrackingThreads(ThreadPoolExecutor):
    """The loop's threads, which show on the board for which job they run each call."""

    def __init__(self, board: Board):
        super().__init__(max_workers=SLOTS - 1, thread_name_prefix="runner-any")
        self._board, self._process = board, os.getpid()
        self._slots, self._mine = itertools.count(LOOP + 1), threading.local()

    def submit(self, fn: _Callback, /, *args: Any, **named: Any) -> Future[Any]:
        life = CURRENT.get()
        if life is not None:
            fn = partial(self._run_for, life, fn)
        return super().submit(fn, *args, **named)

    def _run_for(self, life: Life, fn: _Callback, *args: Any, **named: Any) -> Any:
        if not hasattr(self._mine, "slot"):
            self._mine.slot = next(self._slots)
        self._board.enter(self._mine.slot, threading.get_ident(), life.job_id, life.attempt)
        try:
            return fn(*args, **named)
        finally:
            if os.getpid() != self._process:
                _end_forked(self._board, life)
            self._board.leave(self._mine.slot)


def _end_forked(board: Board, life: Life) -> None:
    """End a forked copy of the worker process; nothing may go on in it."""
    board.note_fork(life.job_id)
    os._exit(0)
