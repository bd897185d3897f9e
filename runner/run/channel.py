"""Messages between the supervisor and a worker process: lines of JSON on a pair of sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["Channel", "Message"]

# A message: its kind under the name "is", and its data.
Message: TypeAlias = dict[str, Any]


class Channel:
    """One end of the pair."""

    def __init__(self, end: socket.socket):
        self._end, self._lock = end, threading.Lock()
        end.settimeout(None)

    def send(self, kind: str, /, **values: Any) -> None:
        """Send it, unless the other end is gone; from any thread."""
        line = json.dumps({"is": kind} | values) + "\n"
        try:
            with self._lock:
                self._end.sendall(line.encode())
        except OSError:
            pass  # whoever waits for the other's end notices

    def listen(self, on_message: Callable[[Message], object], on_end: Callable[[], object]) -> None:
        """Start a thread that calls on_message with each message, and on_end when the other end is gone."""

        def read() -> None:
            try:
                with self._end.makefile("rb") as lines:
                    for line in lines:
                        on_message(json.loads(line))
            except (OSError, ValueError):
                pass  # gone in the middle of a line
            # The loop that would take it may be closed by now.
            with contextlib.suppress(RuntimeError):
                on_end()

        threading.Thread(target=read, name="runner-channel", daemon=True).start()

    def close(self) -> None:
        """Close it, so that the other end knows."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._end.close()
