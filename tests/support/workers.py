"""A worker in this process, so that a test can lay hands on its browsers."""

from __future__ import annotations

import socket
import threading

from runner.run.board import Board
from runner.run.channel import Channel
from runner.run.tracking import TrackingLoop
from runner.run.worker_process import work


class WorkerThread:
    """What runner.run.process.WorkerProcess is, in a thread."""

    def __init__(self, rasterizer: str):
        self.board = Board()
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._thread = threading.Thread(target=self._work, args=(theirs,), daemon=True)
        self._thread.start()

    def _work(self, end: socket.socket) -> None:
        channel = Channel(end)
        loop = TrackingLoop(self.board)
        work(channel, self.board, loop, on_end=lambda: None)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        channel.close()

    def poll(self) -> int | None:
        return None if self._thread.is_alive() else 0

    def memory_bytes(self) -> int:
        return 0

    def open_files(self) -> int:
        return 0

    def is_starved(self) -> bool:
        return False

    def stacks(self) -> str:
        return ""

    def end(self) -> None:
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()
        self.channel.close()
