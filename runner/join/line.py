"""The line to a run: by it the pool here hears of its tabs as if the run's server were its own."""

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

# How a server is known by TLS: as the system's authorities say, or by its own certificate.
Trust: TypeAlias = "aiohttp.Fingerprint | bool"

_ASK_S, _CLOSE_S, _INFORM_S = 5.0, 2.0, 0.25


async def asked(client: aiohttp.ClientSession, link: Link, trust: Trust, sessions: int) -> Welcome:
    """What the run tells to whoever has its link. Raises UsageError where the link is none; WorldFault.

    WorldFault: nobody is there, or somebody who knows nothing of it.
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
        raise UsageError(f"the run at {link.place} does not let this link in: {one_line(text)}")
    if status == 404:
        raise WorldFault(
            f"what answers at {link.place} knows nothing of 'runner join': it is older than that, or not a run"
        )
    try:
        welcome = from_run(text)
    except ValueError:
        welcome = None
    if status != 200 or not isinstance(welcome, Welcome):
        raise WorldFault(f"what answers at {link.place} ({status}) is not a run that can be joined")
    if welcome.speaks != SPEAKS:
        raise UsageError(
            f"the run at {link.place} is of another version ({one_line(welcome.runner, 40)}): install that here"
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
    """A line to the server that the welcome names. Raises as asked does."""
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
    """What it is that keeps the run from being reached."""
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return UsageError(f"the server at {link.place} has another certificate than that of --cert")
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, tls.SSLCertVerificationError)):
        return UsageError(
            f"nobody vouches here for the certificate of {link.place}: copy the file that its run has as --cert to "
            "this machine, and name it with --cert"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return WorldFault(f"no machine of the name {link.host} is known here")
    if isinstance(error, asyncio.TimeoutError):
        return WorldFault(f"{link.place} does not answer: is the network there, and lets the firewall in?")
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return WorldFault(
            f"nobody listens at {link.place}: is the run under way, with --host 0.0.0.0, and at this --port?"
        )
    return WorldFault(f"{link.place} cannot be reached ({one_line(str(error) or type(error).__name__)})")


class _Page:
    """A page of a tab here, that the run is connected to."""

    def __init__(self, refused: str):
        self.refused = refused
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def close(self, reason: str, end: TabEnd | None = None) -> None:
        """The pool knows of its end: the run learns it by the connection, and asks."""
        if not self.closed.done():
            self.closed.set_result(reason)


@dataclass
class _Guest:
    """A tab that was opened here. pages: those that came and were not looked at yet; page: the last one, until it left.

    is_retired, console: as the run was told.
    """

    owner: TabOwner
    pages: asyncio.Queue[_Page] = field(default_factory=asyncio.Queue)
    page: _Page | None = None
    is_retired: bool = False
    is_forgotten: bool = False
    console: list[str] = field(default_factory=list)


class Line:
    """Where a pool's pages come in, as runner.browsers.Doors has it, at a run on another machine.

    welcome: what the run told first. rendered: how many jobs its tabs have rendered.
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
        """Its browser is over; of a page that is still connected the run asks how it ended."""
        guest = self._guests.get(owner.tab_id)
        if guest is not None:
            guest.is_forgotten = True
            if guest.page is None:
                del self._guests[owner.tab_id]

    async def keep(self) -> Over | None:
        """Hear what the run says, until the line breaks (None), or the run ends in order."""
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
            pass  # nothing that can be understood comes from there any more
        finally:
            informing.cancel()
        return None

    async def close(self) -> None:
        """Let the run know that nobody is here any more, before the browsers end."""
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
            # To the run it is another one.
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
        """Tell, soon, which tabs are to take no further job, and what their pages print."""
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
        # Who keeps the line sees that it broke.
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.send_str(encode(message))
