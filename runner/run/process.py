"""A worker process seen from outside: started, watched, and ended with all that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator

import psutil

from runner.run.board import Board
from runner.run.child import start_child
from runner.run.worker_process import TELL_STACK

__all__ = ["WorkerProcess", "early_worker"]

_STACK_S, _LOOK_AGAIN_S = 2.0, 0.05
# A thread that waits for the interpreter asks for it every 5 ms, less often on a busy machine; one that sleeps does not
# ask.
_WAKING_S, _WAKES_A_SECOND = 0.5, 10.0


class WorkerProcess:
    """A worker process. It begins to import at once, and to work when it is sent a spec.

    rasterizer: of the browsers that it will need, for which it prepares, too; '' if it needs none.
    """

    def __init__(self, rasterizer: str) -> None:
        self.board = Board()
        self._is_closed = False
        # The file has no name, so nothing is left of it, however this process ends.
        self._stacks = tempfile.TemporaryFile()
        # The terminal's signals are for the supervisor.
        self._process, self.channel = start_child(
            "runner.run.worker_process",
            [str(os.getpid()), rasterizer],
            [self.board.descriptor, self._stacks.fileno()],
            is_apart=True,
        )

    def poll(self) -> int | None:
        """Its exit status, below 0 the signal that ended it; None while it lives."""
        return self._process.poll()

    def memory_bytes(self) -> int:
        """Its memory; 0 when it is gone."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def open_files(self) -> int:
        """How many file descriptors it holds; 0 when it is gone."""
        try:
            return int(psutil.Process(self._process.pid).num_fds())
        except psutil.Error:
            return 0

    def is_starved(self) -> bool:
        """Whether its main thread wakes up again and again, like a thread that waits for Python's interpreter."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            before = process.num_ctx_switches().voluntary
            time.sleep(_WAKING_S)
            return bool(process.num_ctx_switches().voluntary - before > _WAKING_S * _WAKES_A_SECOND)
        return False

    def stacks(self) -> str:
        """What its threads are doing, as faulthandler writes it; also what they did when it crashed."""
        before = self._stacks_size()
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, TELL_STACK)
            deadline = time.monotonic() + _STACK_S
            size, last = before, -1
            # Wait until the text is there, and no longer grows.
            while (size == before or size != last) and time.monotonic() < deadline:
                time.sleep(_LOOK_AGAIN_S)
                last, size = size, self._stacks_size()
        # Both share the file's position, and the worker writes there.
        begin, end = before if self.poll() is None else 0, self._stacks_size()
        return os.pread(self._stacks.fileno(), end - begin, begin).decode(errors="replace")

    def _stacks_size(self) -> int:
        return os.fstat(self._stacks.fileno()).st_size

    def end(self) -> None:
        """End it at once, with its browsers and all else that it has started."""
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self._process.pid).children(recursive=True)
        # A process that forks again and again is in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # Slow imports are left out until the worker was started.
        from runner.browsers import end_orphans

        end_orphans()
        self.close()

    def close(self) -> None:
        """Close the channel to it."""
        if self._is_closed:
            return
        self._is_closed = True
        self.channel.close()
        self.board.close()
        self._stacks.close()


@contextlib.contextmanager
def early_worker(rasterizer: str) -> Iterator[WorkerProcess]:
    """A worker process that imports while the supervisor does something else; the block's end ends it."""
    worker = WorkerProcess(rasterizer)
    try:
        yield worker
    finally:
        if worker.poll() is None:
            worker.end()
