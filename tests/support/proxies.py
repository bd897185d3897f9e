"""A TCP proxy on loopback whose network can go away: nothing is delivered then, and nothing refused."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Passes on what comes to `at` to `to`, and back, byte by byte as it is."""

    def __init__(self, at: tuple[str, int], to: tuple[str, int]):
        self._to = to
        self._is_there = threading.Event()
        self._is_there.set()
        self._listening = socket.create_server(at)
        self._sockets: list[socket.socket] = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """The network is away: what is sent is on its way, and nobody is told so."""
        self._is_there.clear()

    def mend(self) -> None:
        """It is there again; what was on its way arrives."""
        self._is_there.set()

    def close(self) -> None:
        """End all connections."""
        self.mend()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                there, _ = self._listening.accept()
                self._is_there.wait()
                try:
                    here = socket.create_connection(self._to)
                except OSError:
                    there.close()
                    continue
                self._sockets += [there, here]
                for ends in ((there, here), (here, there)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, start: socket.socket, end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := start.recv(65536):
                self._is_there.wait()
                end.sendall(content)
            self._is_there.wait()
        for one in (start, end):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
