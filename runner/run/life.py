"""The life of one attempt: its code may use what it was given only while it lasts."""

from __future__ import annotations

import asyncio
import inspect
import os
import traceback
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from runner.errors import JobOver
from runner.job import Lease

__all__ = ["CURRENT", "Life", "Standing", "place_of_task", "standing_of"]

_OURS = str(Path(__file__).parents[1])


class Life:
    """The life of one attempt. Tasks and threads that its code starts find it in CURRENT.

    tasks: those that its code has started. is_over: nothing that it was given may be used any more. buried: tasks that
    did not end when they were cancelled; no step of them is run any more. chance: the generators that its code has
    seeded, by name, and their states when code of another job came next. tell: takes what its code did that a person
    should know: a word that stands for its kind ('late': something came after its end, told once), and what.
    """

    def __init__(self, lease: Lease, tell: Callable[[str, str], None] = lambda kind, what: None):
        self.job_id, self.attempt, self.key = lease.job_id, lease.attempt, lease.key
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self.is_over = False
        self.buried: list[asyncio.Task[Any]] = []
        self.chance: dict[str, Any] = {}
        self.tell = tell
        self._has_told = False
        self._process = os.getpid()

    def check(self, deed: str) -> None:
        """Raises JobOver when it is too late for that action, or another process does it."""
        if os.getpid() != self._process:
            raise JobOver(
                f"job {self.key}: {deed} in a process that its render forked: end that with os._exit"
            )
        if self.is_over:
            if not self._has_told:
                self._has_told = True
                self.tell(
                    "late", f"job {self.key} (attempt {self.attempt}): its code called {deed} after its end"
                )
            raise JobOver(
                f"job {self.key} (attempt {self.attempt}) has ended, and {deed} came too late: "
                "await in render what it starts"
            )

    def strays(self, render: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
        """Tasks that the user's code has started and not awaited."""
        return [
            task
            for task in self.tasks
            if task is not render and not task.done() and _is_users(task.get_coro())
        ]

    def bury(self) -> None:
        """Run no step of its code any more."""
        self.buried = [task for task in self.tasks if not task.done()]
        _GRAVES.append(self)


# Kept as long as the process lives. Python throws an exception into an unfinished task when it is dropped, in any
# thread, and code that swallows it would then run there for ever.
_GRAVES: list[Life] = []
CURRENT: ContextVar[Life | None] = ContextVar("life", default=None)


def place_of_task(task: asyncio.Task[Any]) -> str:
    """NAME at FILE:LINE of the task's own function, where it is now."""
    coroutine: Any = task.get_coro()
    frame, code = getattr(coroutine, "cr_frame", None), getattr(coroutine, "cr_code", None)
    if code is None:
        return task.get_name()
    line = frame.f_lineno if frame is not None else code.co_firstlineno
    return f"{getattr(coroutine, '__qualname__', code.co_name)} at {code.co_filename}:{line}"


@dataclass(frozen=True)
class Standing:
    """Where a render waits. place: FILE:LINE of the user's own code; stack: its own lines, as a traceback has them."""

    place: str = ""
    stack: str = ""


def standing_of(task: asyncio.Task[Any], folder: Path | None) -> Standing:
    """Where the task waits, by the frames of its coroutines that are the user's own.

    The user's own code lies in that folder, or else is any code that is not ours.
    """
    frames: list[FrameType] = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            frames.append(frame)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames)
    own = [line for line in lines if folder is not None and Path(line.filename).is_relative_to(folder)]
    own = own or [line for line in lines if not line.filename.startswith(_OURS)]
    if not own:
        return Standing()
    text = "".join(traceback.StackSummary.from_list(own).format()).rstrip()
    return Standing(
        f"{own[-1].filename}:{own[-1].lineno}", f"render waited here (most recent call last):\n{text}"
    )


def _is_users(coroutine: Any) -> bool:
    """Not one of this package's own tasks, nor asyncio's for an async generator that was not read to its end."""
    return inspect.iscoroutine(coroutine) and not coroutine.cr_code.co_filename.startswith(_OURS)
