"""The line to a run: through it the pool here knows its tabs as if the run's server were its own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl as tls
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import aiohttp

from runner.errors import UsageError, WorldFault
from runner.join.link import Link
from runner.joining import (
    LONGEST_LINE,
    SPEAKS,
    Came,
    Console,
    Ended,
    FromJoiner,
    FromRun,
    Left,
    Over,
    Rendered,
    Retire,
    Settled,
    Standing,
    Welcome,
    encode,
    from_run,
)
from runner.reasons import one_line
from runner.tabs import TabEnd, TabOwner

__all__ = ["Line", "Trust", "asked", "opened"]

# How TLS knows a server: by the system's authorities, or by its own certificate.
Trust: TypeAlias = "aiohttp.Fingerprint | bool"

_ASK_S, _CLOSE_S, _INFORM_S = 5.0, 2.0, 0.25


async def asked(client: aiohttp.ClientSession, link: Link, trust: Trust, sessions: int) -> Welcome:
    """The run's answer to its link. Raises UsageError for a link that is not valid; WorldFault.

    WorldFault: nobody answers there, or something that is not a run.
    """
    limit = aiohttp.ClientTimeout(total=_ASK_S)
    try:
        async with client.get(
            link.asking(sessions), ssl=trust, timeout=limit, allow_redirects=False
        ) as answer:
            status, text = answer.status, (await answer.content.read(LONGEST_LINE)).decode(errors="replace")
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
        raise _failed(link, error) from None
    if status == 403:
        raise UsageError(f"the run at {link.place} refuses this link: {one_line(text)}")
    if status == 404:
        raise WorldFault(
            f"the server at {link.place} does not know 'runner join': it is an older version, or not a run"
        )
    try:
        welcome = from_run(text)
    except ValueError:
        welcome = None
    if status != 200 or not isinstance(welcome, Welcome):
        raise WorldFault(f"the server at {link.place} (status {status}) is not a run that can be joined")
    if welcome.speaks != SPEAKS:
        raise UsageError(
            f"the run at {link.place} has another version of runner ({one_line(welcome.runner, 40)}): install that one "
            "here"
        )
    return welcome


async def opened(
    client: aiohttp.ClientSession,
    link: Link,
    trust: Trust,
    welcome: Welcome,
    name: str,
    on_standing: Callable[[Standing], object],
) -> Line:
    """A line to the server that the welcome names. Raises the same errors as asked."""
    line_id = secrets.token_urlsafe(12)
    try:
        socket = await asyncio.wait_for(
            client.ws_connect(
                link.line(welcome.port, line_id, name),
                ssl=trust,
                heartbeat=welcome.lease_s / 1.5,
                max_msg_size=LONGEST_LINE,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
            ),
            _ASK_S,
        )
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
        raise _failed(link, error) from None
    return Line(socket, link, welcome, line_id, name, on_standing)


def _failed(link: Link, error: Exception) -> UsageError | WorldFault:
    """The reason why the run cannot be reached."""
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return UsageError(f"the server at {link.place} has another certificate than the one in --cert")
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, tls.SSLCertVerificationError)):
        return UsageError(
            f"no authority here vouches for the certificate of {link.place}: copy the run's --cert file to this "
            "machine, and name it with --cert"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return WorldFault(f"no machine named {link.host} is known here")
    if isinstance(error, asyncio.TimeoutError):
        return WorldFault(
            f"{link.place} does not answer: is the network up, and does the firewall let you in?"
        )
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return WorldFault(
            f"nothing listens at {link.place}: is the run under way, with --host 0.0.0.0 and this --port?"
        )
    return WorldFault(f"{link.place} cannot be reached ({one_line(str(error) or type(error).__name__)})")


class _Page:
    """A page of a tab here that is connected to the run."""

    def __init__(self, refused: str):
        self.refused = refused
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def close(self, reason: str, end: TabEnd | None = None) -> None:
        """The pool knows of its end; the run learns it from the connection, and asks."""
        if not self.closed.done():
            self.closed.set_result(reason)


@dataclass
class _Guest:
    """A tab that was opened here. pages: new ones that were not taken yet; page: the last one, until it left.

    is_retired, console: as last told to the run.
    """

    owner: TabOwner
    pages: asyncio.Queue[_Page] = field(default_factory=asyncio.Queue)
    page: _Page | None = None
    is_retired: bool = False
    is_forgotten: bool = False
    console: list[str] = field(default_factory=list)


class Line:
    """Where a pool's pages connect to a run on another machine; implements runner.browsers.Doors.

    welcome: the run's first message. rendered: how many jobs its tabs have rendered.
    """

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse[bool],
        link: Link,
        welcome: Welcome,
        line_id: str,
        name: str,
        on_standing: Callable[[Standing], object],
    ):
        self.welcome, self.rendered = welcome, 0
        self._socket, self._link, self._id, self._name = socket, link, line_id, name
        self._on_standing = on_standing
        self._guests: dict[str, _Guest] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def sessions(self) -> int:
        """How many pages are connected."""
        return sum(guest.page is not None for guest in self._guests.values())

    def link(self, name: str = "", owner: TabOwner = TabOwner()) -> str:
        """The address for a tab of that name."""
        self._guests[owner.tab_id] = _Guest(owner)
        tab_id, name = f"{self._id}.{owner.tab_id}", f"{self._name} {name}"
        return self._link.page(self.welcome.port, tab_id, name, self.welcome.query)

    async def connected(self, owner: TabOwner) -> _Page:
        """Wait until that owner's page said hello to the run."""
        return await self._guests[owner.tab_id].pages.get()

    def forget(self, owner: TabOwner) -> None:
        """Its browser has ended; if a page was still connected, the run asks how it ended."""
        guest = self._guests.get(owner.tab_id)
        if guest is not None:
            guest.is_forgotten = True
            if guest.page is None:
                del self._guests[owner.tab_id]

    async def keep(self) -> Over | None:
        """Take the run's messages until the line breaks (returns None), or the run ends in order."""
        informing = asyncio.create_task(self._keep_informing())
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    told = from_run(message.data)
                    if isinstance(told, Over):
                        return told
                    if told is not None:
                        self._hear(told)
        except ValueError:
            pass  # nothing that makes sense comes from there any more
        finally:
            informing.cancel()
        return None

    async def close(self) -> None:
        """Close the line, so that the run knows before the browsers end."""
        for task in self._ending:
            task.cancel()
        with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._socket.close(), 2 * _CLOSE_S)

    def _hear(self, told: FromRun) -> None:
        if isinstance(told, Standing):
            self._on_standing(told)
            return
        guest = None if isinstance(told, (Welcome, Over)) else self._guests.get(told.tab)
        if isinstance(told, Left):
            self._on_left(guest, told)
        elif guest is None:
            return
        elif isinstance(told, Came):
            guest.page = _Page(one_line(told.refused))
            # The run takes it for a new one.
            guest.is_retired, guest.console = False, []
            guest.pages.put_nowait(guest.page)
        elif isinstance(told, Rendered):
            self.rendered += 1
            guest.owner.rendered()
        elif isinstance(told, Settled):
            guest.owner.settled(told.job_id, told.error, told.duration_s)
        elif isinstance(told, Retire):
            guest.owner.retire(one_line(told.reason))

    def _on_left(self, guest: _Guest | None, left: Left) -> None:
        reason = one_line(left.reason)
        if guest is not None and guest.page is not None:
            guest.page.close(reason)
            guest.page = None
        if guest is not None and guest.is_forgotten:
            del self._guests[left.tab]
        task = asyncio.create_task(self._tell_end(guest, left, reason))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _tell_end(self, guest: _Guest | None, left: Left, reason: str) -> None:
        end = TabEnd(reason) if guest is None else await guest.owner.end_of(reason)
        await self._tell(Ended(left.tab, left.page, end.reason, end.is_crash))

    async def _keep_informing(self) -> None:
        """Tell the run, soon, which tabs should take no further job, and what their pages print."""
        while True:
            for tab, guest in list(self._guests.items()):
                if guest.owner.retired and not guest.is_retired:
                    guest.is_retired = True
                    await self._tell(Retire(tab, guest.owner.retired))
                console = guest.owner.console()
                if console != guest.console:
                    guest.console = console
                    await self._tell(Console(tab, console))
            await asyncio.sleep(_INFORM_S)

    async def _tell(self, message: FromJoiner) -> None:
        # keep() sees that the line broke.
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.send_str(encode(message))
