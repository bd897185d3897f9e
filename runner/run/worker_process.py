"""The start and end of a worker process: its tie to the supervisor, and its loop."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.browsers import Launcher
    from runner.run.board import Board
    from runner.run.channel import Channel

__all__ = ["TELL_STACK", "main", "work"]

# At this signal the process writes its threads' stacks, whatever it is doing.
TELL_STACK = signal.SIGUSR2
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Called in the new process: CHANNEL BOARD STACKS SUPERVISOR RASTERIZER are its arguments.

    They are descriptors, a process's id, and that of the browsers which it will need; '' if none.
    """
    channel_fd, board_fd, stacks_fd, supervisor = map(int, sys.argv[1:5])
    rasterizer = sys.argv[5]
    _end_with(supervisor)
    _leave_signals_to_the_supervisor()
    with open(stacks_fd, "w") as stacks:
        faulthandler.enable(stacks, all_threads=True)
        faulthandler.register(TELL_STACK, stacks, all_threads=True)
        sys.argv[1:] = []
        # Slow imports happen here while the supervisor adds the jobs. Nothing of them is garbage, and to look for it
        # again and again takes a tenth of their time.
        gc.disable()
        from runner.run.board import Board
        from runner.run.channel import Channel
        from runner.run.run_log import end_lines
        from runner.run.tracking import TrackingLoop

        board = Board(board_fd)
        channel = Channel(socket.socket(fileno=channel_fd))
        loop = TrackingLoop(board)
        work(channel, board, loop, lambda: os._exit(1), owns_streams=True, rasterizer=rasterizer)
        # The interpreter's normal end would wait for threads that a job has left running.
        atexit._run_exitfuncs()
        with contextlib.suppress(Exception):
            end_lines()
        os._exit(0)


def work(
    channel: Channel,
    board: Board,
    loop: asyncio.AbstractEventLoop,
    on_end: Callable[[], None],
    owns_streams: bool = False,
    rasterizer: str = "",
) -> None:
    """Work as the supervisor says. on_end: called when the supervisor is gone.

    owns_streams: output goes to the run's log. rasterizer: of the browsers, of which one
    is started before the first order comes.
    """
    asyncio.set_event_loop(loop)
    orders: asyncio.Queue[Any] = asyncio.Queue()
    channel.listen(lambda message: loop.call_soon_threadsafe(orders.put_nowait, message), on_end)

    async def work_through() -> None:
        launcher = await _prepared(rasterizer)
        from runner.run.run_log import keep_printed
        from runner.run.spec import WorkerSpec
        from runner.run.worker import serve

        try:
            order = await orders.get()
            spec = WorkerSpec.from_json(order["spec"])
            if owns_streams and spec.log:
                keep_printed(Path(spec.log), on_first=lambda: channel.send("printed"))
            await serve(channel, board, spec, orders, launcher)
        finally:
            if launcher is not None:
                await launcher.stop()
        await loop.shutdown_asyncgens()

    task = loop.create_task(work_through())
    while not task.done():
        # Errors of a job's code end its own task; an error that comes here belongs to no job, and ends nothing.
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            loop.run_until_complete(task)
    channel.send("over")


async def _prepared(rasterizer: str) -> Launcher | None:
    """Import all that is needed, and start a browser meanwhile, for that has processes of its own."""
    launcher = None
    if rasterizer:
        import playwright.async_api  # noqa: F401

        from runner.browsers import Launcher
        from runner.errors import BrowserError

        # What is missing is told when the first browser is to be started.
        with contextlib.suppress(BrowserError):
            launcher = Launcher()
            launcher.prepare(rasterizer)
    await asyncio.to_thread(import_module, "runner.run.worker")
    gc.freeze()
    gc.enable()
    return launcher


def _end_with(supervisor: int) -> None:
    """End at once when the supervisor does, even while code runs that lets no other thread run (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)


def _leave_signals_to_the_supervisor() -> None:
    """A terminal or a service manager may signal all processes; the supervisor decides what this one does.

    The signals are not ignored, because processes that a job starts would inherit that.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    for number in numbers:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)
    os.register_at_fork(after_in_child=restore)
