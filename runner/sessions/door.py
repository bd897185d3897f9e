"""Accepts connections, up to a limit, and drops those that send nothing or too much.

asyncio's own server accepts all. At the limit of open files it writes a traceback for each, and the run has no file
left for its own work.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Any

from runner.machine import no_such_address

__all__ = ["Door", "Visitor"]

# The page of a tab sends its request at once, on any network that is good enough for rendering.
_FIRST_REQUEST_S = 15.0
# Of the files that this process may open, connections that are not tabs may take a quarter, and tabs a half.
_MOST_STRANGERS = 256
# The largest request with all headers; a browser's has one or two thousand bytes.
_REQUEST_BYTES = 65536
_AT_ONCE, _QUEUE = 16, 128
_LOOK_AGAIN_S = 1.0


class Visitor(asyncio.Protocol):
    """One connection, passed on to its protocol.

    most_bytes: how much may come before some of it is read; a connection that sends more is cut off. on_overflow:
    called then. A stranger that has asked for nothing within the time limit is cut off, too.
    """

    def __init__(self, door: Door, inner: asyncio.Protocol):
        self.most_bytes: Callable[[], int] = lambda: _REQUEST_BYTES
        self.on_overflow: Callable[[int], None] = lambda most: None
        self._door, self._inner = door, inner
        self._bytes = 0
        self._transport: asyncio.Transport | None = None
        self._entering: asyncio.Task[None] | None = None
        self._limit = asyncio.get_running_loop().call_later(_FIRST_REQUEST_S, self.cut_off)

    def enter(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        """Begin to speak with it."""
        self._entering = asyncio.create_task(self._enter(connection, context))

    async def _enter(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        limit_s = _FIRST_REQUEST_S if context else None
        try:
            # Errors of peers that do not speak TLS, or stopped doing so, concern nobody.
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: self, connection, ssl=context, ssl_handshake_timeout=limit_s
                )
        finally:
            if self._transport is None:
                self._limit.cancel()
                connection.close()
                self._door.forget(self)

    def taken_in(self, is_request: bool = False) -> None:
        """The data was read. is_request: it was a whole request."""
        self._bytes = 0
        if is_request:
            self._limit.cancel()

    def cut_off(self) -> None:
        """End the connection at once."""
        self._limit.cancel()
        if self._transport is not None:
            self._transport.abort()
        elif self._entering is not None:
            self._entering.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        most = self.most_bytes()
        if self._bytes > most:
            self.on_overflow(most)
            self.cut_off()
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._limit.cancel()
        self._door.forget(self)
        self._inner.connection_lost(error)


class Door:
    """Listens at an address; `make` makes a protocol for each connection.

    A connection is a stranger until it becomes a tab. When there are too many strangers, the one with the oldest
    request is cut off, so that idle connections cannot keep tabs out. most_tabs: how many there may be at once. say:
    takes a line for people, once, when there are too many strangers.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol], say: Callable[[str], None]):
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = min(files, 1 << 20) if files > 0 else 1 << 20
        self.most_strangers, self.most_tabs = min(_MOST_STRANGERS, files // 4), files // 2
        self.addresses: list[tuple[str, int]] = []
        self._make, self._say = make, say
        self._listening: dict[socket.socket, ssl.SSLContext | None] = {}
        # The one with the oldest request comes first.
        self._strangers: dict[Visitor, None] = {}
        self._tabs: set[Visitor] = set()
        self._has_told = False

    async def open(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Begin to listen, at several addresses if need be; returns the port. Raises UsageError.

        port: 0 takes a free one. context: of a server that speaks TLS there.
        """
        loop = asyncio.get_running_loop()
        opened: list[socket.socket] = []
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, kind, protocol, _, address in dict.fromkeys(found):
                own = port or (opened[0].getsockname()[1] if opened else 0)
                try:
                    opened.append(_listening(family, kind, protocol, (address[0], own, *address[2:])))
                except OSError:
                    # localhost is two addresses, and a port that is free at one may be taken at the other.
                    if port or not opened:
                        raise
        except OSError as error:
            for listening in opened:
                listening.close()
            raise no_such_address(host, port, error) from None
        for listening in opened:
            self._listening[listening] = context
            self.addresses.append(listening.getsockname()[:2])
            loop.add_reader(listening, self._accept, listening)
        return int(opened[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening, and drop strangers; tabs stay."""
        for listening in self._listening:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._listening = {}
        for visitor in list(self._strangers):
            visitor.cut_off()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError:
                # There is no open file left for it. The client waits, and the run's guard reports the fault.
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(_LOOK_AGAIN_S, self._listen_again, listening)
                return
            connection.setblocking(False)
            visitor = Visitor(self, self._make())
            self._strangers[visitor] = None
            if len(self._strangers) > self.most_strangers:
                self._make_room(str(address[0]))
            visitor.enter(connection, self._listening[listening])

    def _listen_again(self, listening: socket.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _make_room(self, address: str) -> None:
        oldest = next(iter(self._strangers))
        del self._strangers[oldest]
        oldest.cut_off()
        if not self._has_told:
            self._has_told = True
            self._say(
                f"more than {self.most_strangers:,} connections at once that are not tabs, the last one from "
                f"{address}: the oldest are cut off"
            )

    def has_asked(self, visitor: Visitor) -> None:
        """Note that a stranger has sent a request."""
        visitor.taken_in(is_request=True)
        if visitor in self._strangers:
            del self._strangers[visitor]
            self._strangers[visitor] = None

    def is_full(self) -> bool:
        """Whether there is no room for one more tab."""
        return len(self._tabs) >= self.most_tabs

    def admit(self, visitor: Visitor) -> None:
        """Note that it is a tab, and no longer a stranger."""
        self._strangers.pop(visitor, None)
        self._tabs.add(visitor)

    def forget(self, visitor: Visitor) -> None:
        """Note that it is gone."""
        self._strangers.pop(visitor, None)
        self._tabs.discard(visitor)


def _listening(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_QUEUE)
    except OSError:
        made.close()
        raise
    return made
