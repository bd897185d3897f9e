"""The guarded Vuer server: serves the web client and the campaign's assets, and lets in only tabs with the run's token.

Vuer's own server (0.1.6) gives any file of the machine to anybody, and any web page may connect to it. This one serves
a fixed list of files and speaks the same protocol on its websocket.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import mimetypes
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from ipaddress import ip_address
from socket import gethostname
from typing import BinaryIO
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

from runner import __version__, joining
from runner.campaign import AssetFolder, why_not_whole
from runner.errors import UsageError
from runner.machine import is_loopback, reachable_host, tls_context
from runner.reasons import error_line, one_line
from runner.sessions.base import BaseScene
from runner.sessions.client import read_client
from runner.sessions.door import Door, Visitor
from runner.sessions.joiners import Joiners
from runner.sessions.live import LivePage, LiveRoutes
from runner.sessions.messages import unpacked
from runner.sessions.protocol import LARGEST_MESSAGE_BYTES
from runner.sessions.session import Session
from runner.tabs import PERSON, TabOwner

__all__ = ["Server"]

_LOCALHOST = ("localhost", "127.0.0.1", "::1")
# The main view is for people only: without it, several times as many frames are drawn. Cameras still render.
_QUERY = {"hideUI": "true", "frameloop": "never"}
_MOST_KNOWN_WHOLE = 10_000

# A browser keeps a connection for its next request.
_KEPT_S = 15.0
_LEASE_S = 30.0
# How many tabs a joiner may say that it will have, and how it says so.
_COUNTS = {str(count): count for count in range(65)}
# aiohttp would log strangers' mistakes without end, and they concern nobody.
_quiet = logging.getLogger(f"{__name__}.strangers")
_quiet.disabled = True

# Its address contains the token.
_PAGE_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
# The browser caches nothing, because its cache would only grow; a page that is opened from there has no rights.
_ASSET_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox",
    "X-Content-Type-Options": "nosniff",
}


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CHANGED = (
    "it was changed after the job had asked for it: where jobs write files, each needs a name of its own"
)
# Where the client's texts look for a font, and what that means.
_FONTS_OF_ALL = "/unicode-font-resolver@"
_LACKING_FONT = (
    "a text has characters that its font lacks, and Vuer's client asks the network for another: give font=… of a .ttf "
    "or .woff that has them, by campaign.asset"
)


class Server:
    """Serves the client on host:port and hands each tab that connects to `work`.

    work: called with the Session of each tab, even a refused one; the tab is closed when it returns.
    host: an address of this machine; anything but loopback lets other machines in, with the token.
    port: 0 takes a free one. cert, key: files for TLS, as tls_context takes them; browsers of this run's own come in
    beside it, by loopback. names: by which others may call this machine, beside its own name and addresses.
    assets: their files are served as well, each under the URL that they make for it. token: lets tabs in; '' makes one.
    say: takes a line for people. live: the live page; None: there is none. doors: how many tabs each of several servers
    of the run has, by its port; if this one is among them, each tab that a person opens here is sent to the server with
    the fewest. is_plain: the page does nothing for speed alone, for comparing. joiners: keep browsers for this run
    elsewhere; None: nobody may. lease_s: a tab, or joiner, that is silent for so long is given up. base: see Session;
    None: each tab has its own.
    """

    def __init__(
        self,
        work: Callable[[Session], Awaitable[None]],
        host: str = "localhost",
        port: int = 0,
        assets: AssetFolder | None = None,
        token: str = "",
        say: Callable[[str], None] = lambda line: None,
        cert: str = "",
        key: str = "",
        names: Iterable[str] = (),
        live: LivePage | None = None,
        doors: MutableMapping[int, int] | None = None,
        is_plain: bool = False,
        joiners: Joiners | None = None,
        lease_s: float = _LEASE_S,
        base: BaseScene | None = None,
    ):
        self._doors = {} if doors is None else doors
        self._base = base
        self.host, self.port = host, port
        self.token = token or secrets.token_urlsafe(24)
        self._own_port = port
        self._cert, self._key = cert, key
        self._names = {"localhost", *names} | (set() if is_loopback(host) else {host, gethostname()})
        self.sessions: set[Session] = set()
        self._work, self._assets, self._say = work, assets, say
        self._live = LiveRoutes(live, self.token) if live is not None else None
        self._query = _QUERY | ({"plain": "true"} if is_plain else {})
        self._joiners, self._lease_s = joiners, lease_s
        self._owners: dict[str, TabOwner] = {}
        # Why assets were not served, by their paths; each campaign has few. And the paths of whole ones, for each page
        # asks for them, and other content has another path.
        self._broken: dict[str, str] = {}
        self._whole: set[str] = set()
        self._arrival = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._door: Door | None = None
        self._has_told_full = False
        self._client = read_client()

    async def start(self) -> None:
        """Start to listen. Raises UsageError if the address or the certificate cannot be used."""
        context = tls_context(self._cert, self._key)
        app = web.Application(middlewares=[self._meet])
        if self._live is not None:
            self._live.add_to(app.router)
        if self._joiners is not None:
            app.router.add_get(joining.PATH, self._join)
        app.router.add_get("/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_quiet, shutdown_timeout=1.0, keepalive_timeout=_KEPT_S
        )
        await self._runner.setup()
        assert self._runner.server is not None
        self._door = Door(self._runner.server, self._say)
        try:
            self.port = self._own_port = await self._door.open(self.host, self.port, context)
            if context:
                self._own_port = await self._door.open("localhost", 0)
        except UsageError:
            self._door.close()
            await self._runner.cleanup()
            raise

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses at which it listens."""
        return self._door.addresses if self._door else []

    async def stop(self, reason: str = "the run ended", is_finished: bool = False) -> None:
        """Tell joiners why it ends, and whether no job is left to begin; close all tabs, and stop listening."""
        if self._joiners is not None:
            await self._joiners.say_over(reason, is_finished)
        for session in list(self.sessions):
            session.is_spoiled = False
            await session.disconnect("the run ended")
        if self._door and self._runner:
            self._door.close()
            await self._runner.cleanup()

    def link(self, name: str = "", owner: TabOwner = PERSON, is_shown: bool = False) -> str:
        """The address that a browser opens to become a session. name: for people. owner: of the tab.

        is_shown: a person looks at the scene there, with Vuer's own panels.
        """
        socket = {"token": self.token} | ({"name": name} if name else {})
        host = "localhost" if self.host in _LOCALHOST else reachable_host(self.host)
        place, safe = f"{host}:{self.port}", "s" if self._cert else ""
        if owner.tab_id:
            self._owners[owner.tab_id] = owner
            socket["tab"] = owner.tab_id
            if self._own_port != self.port:
                place, safe = f"localhost:{self._own_port}", ""
        query = {"ws": f"ws{safe}://{place}/?{urlencode(socket)}"} | ({} if is_shown else self._query)
        return f"http{safe}://{place}/?{urlencode(query)}"

    def live_link(self) -> str:
        """The address of the live page; '' if there is none."""
        if self._live is None:
            return ""
        host = "localhost" if self.host in _LOCALHOST else reachable_host(self.host)
        return f"http{'s' if self._cert else ''}://{host}:{self.port}/live/{self._live.token}/"

    def own_live_link(self) -> str:
        """The same, for processes of this run."""
        if self._live is None or self._own_port == self.port:
            return self.live_link()
        return f"http://localhost:{self._own_port}/live/{self._live.token}/"

    def forget(self, owner: TabOwner) -> None:
        """Refuse the owner's tab from now on."""
        self._owners.pop(owner.tab_id, None)

    async def connected(self, owner: TabOwner) -> Session:
        """Wait until that owner's page said hello; returns its session."""
        while True:
            for session in self.sessions:
                if session.owner is owner and session.client:
                    return session
            self._arrival.clear()
            await self._arrival.wait()

    @web.middleware
    async def _meet(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Handles what all routes share: it finds the visitor, and refuses strangers."""
        visitor = _visitor_of(request)
        if self._door is None or visitor is None:
            raise web.HTTPServiceUnavailable()
        self._door.has_asked(visitor)
        try:
            self._refuse_strangers(request)
            return await handler(request)
        except (web.HTTPException, OSError):
            raise
        except Exception as error:
            self._say(
                f"the server failed at a request for {one_line(request.path, 100)}: {error_line(error)}"
            )
            raise

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        """A tab's websocket, the page, a file of the client's, or an asset."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._connect(request)
        if request.path == "/":
            self._spread(request)
            return web.Response(text=self._client.page, content_type="text/html", headers=_PAGE_HEADERS)
        sheet = self._client.sheets.get(request.path)
        if sheet is not None:
            return web.Response(text=sheet, content_type="text/css")
        file = self._client.files.get(request.path)
        if file is not None:
            return web.FileResponse(file)
        # Not web.FileResponse, which serves cup.obj.gz instead of cup.obj if both exist.
        body = await asyncio.to_thread(self._assets.open, request.path) if self._assets else None
        if body is None:
            if self._assets and self._assets.has(request.path):
                self._broken[request.path] = _CHANGED
            raise web.HTTPNotFound()
        await self._refuse_broken(request.path, body)
        # Without its kind a browser takes no picture of SVG, and no script.
        kind = mimetypes.guess_type(request.path)[0] or "application/octet-stream"
        return web.Response(body=body, content_type=kind, headers=_ASSET_HEADERS)

    async def _refuse_broken(self, path: str, body: BinaryIO) -> None:
        if path in self._whole:
            return
        broken = await asyncio.to_thread(_why_not_whole, path, body)
        if broken:
            self._broken[path] = broken
            raise web.HTTPNotFound()
        if len(self._whole) == _MOST_KNOWN_WHOLE:
            self._whole.clear()
        self._whole.add(path)

    def _explained(self, said: str) -> str:
        """What a page says could not be loaded, with the reason where it is known here."""
        if _FONTS_OF_ALL in said:
            return f"{said}: {_LACKING_FONT}"
        return next((f"{said} ({why})" for path, why in self._broken.items() if quote(path) in said), said)

    def _spread(self, request: web.Request) -> None:
        """Send a person's new tab to the server with the fewest; one that was placed, or belongs to a pool, stays."""
        _, _, query = request.query.get("ws", "").partition("?")
        socket = parse_qs(query)
        token = "".join(socket.get("token", []))
        if self.port not in self._doors or not self._is_token(token) or {"tab", "placed"} & socket.keys():
            return
        port = self._emptiest(1)
        place = request.url.with_port(port)
        ws = f"ws{'s' if self._cert else ''}://{place.authority}/?{query}&placed=1"
        raise web.HTTPTemporaryRedirect(place.update_query(ws=ws))

    def _emptiest(self, tabs: int) -> int:
        """The port of the server with the fewest tabs, for so many new ones."""
        if self.port not in self._doors:
            return self.port
        port = min(self._doors, key=lambda port: self._doors[port])
        # Counted until the next report, which includes these tabs.
        self._doors[port] += tabs
        return port

    def _is_token(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(errors="replace"), self.token.encode())

    def _refuse_strangers(self, request: web.Request) -> None:
        """Other web pages send their own origin, and a rebound DNS name its own host: refuse both."""
        origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
        if origin not in (None, f"http://{host}", f"https://{host}"):
            raise web.HTTPForbidden(text="another origin")
        if not self._is_own(host):
            raise web.HTTPForbidden(text="another host: name it with --allow-host")

    def _is_own(self, host: str) -> bool:
        """Whether a request that names this host and port is meant for this server."""
        name, port = _parts_of(f"//{host}")
        if (port or (443 if self._cert else 80)) not in (self.port, self._own_port):
            return False
        # An address in place of a name cannot be rebound.
        return name in self._names or (_is_address(name) if not is_loopback(self.host) else is_loopback(name))

    async def _connect(self, request: web.Request) -> web.WebSocketResponse:
        door, visitor = self._door, _visitor_of(request)
        assert door is not None and visitor is not None  # it was met
        self._refuse_without_token(request)
        owner = self._owner_of(request.query.get("tab", ""))
        if owner is None:
            raise web.HTTPForbidden(text="this tab was replaced")
        socket = await self._admitted(request, door, visitor, LARGEST_MESSAGE_BYTES)
        name = one_line(request.query.get("name", ""), 100) or f"tab from {request.remote}"
        session = Session(socket, name, owner, self._base, self._explained)
        visitor.most_bytes = lambda: session.most_bytes
        visitor.on_overflow = lambda most: session.break_off(
            f"its page sent more than {most:,} bytes at once, and was not asked for as much"
        )
        self.sessions.add(session)
        tasks = [asyncio.create_task(session.keep_sending())]
        try:
            async for message in socket:
                visitor.taken_in()
                try:
                    if message.type is WSMsgType.BINARY:
                        session.receive(unpacked(message.data))
                    elif message.type is WSMsgType.TEXT:
                        hello = session.receive_text(message.data)
                        self._arrival.set()
                        if hello and len(tasks) == 1:
                            owner.came(session.refused)
                            tasks.append(asyncio.create_task(self._work_and_close(session)))
                except ValueError as error:
                    session.break_off(
                        f"its page sent a message that makes no sense: {one_line(str(error), 200)}"
                    )
                    break
        finally:
            if isinstance(socket.exception(), asyncio.TimeoutError):
                # Unsent data would keep the connection open.
                visitor.cut_off()
                session.close(f"nothing was heard of it for {self._lease_s:g} s")
            session.close("its tab was closed or its browser ended")
            owner.left(session.closed.result())
            self.sessions.discard(session)
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    async def _admitted(
        self, request: web.Request, door: Door, visitor: Visitor, most_bytes: int
    ) -> web.WebSocketResponse:
        """A websocket for a request that carries the token."""
        if door.is_full():
            self._say_full(door.most_tabs)
            raise web.HTTPServiceUnavailable(text="too many tabs")
        door.admit(visitor)
        # It pings after so long a silence, and waits half as long for the answer.
        heartbeat_s = self._lease_s / 1.5
        socket = web.WebSocketResponse(max_msg_size=most_bytes, compress=False, heartbeat=heartbeat_s)
        await socket.prepare(request)
        return socket

    def _owner_of(self, tab_id: str) -> TabOwner | None:
        """The owner of the tab with that id, '' for a person's; None: there is no owner any more."""
        if not tab_id:
            return PERSON
        owner = self._owners.get(tab_id)
        return self._joiners.owner_of(tab_id) if owner is None and self._joiners else owner

    def _refuse_without_token(self, request: web.Request) -> None:
        if not self._is_token(request.query.get("token", "")):
            raise web.HTTPForbidden(text="the token is missing or of another run")

    async def _join(self, request: web.Request) -> web.StreamResponse:
        """The welcome for a joiner, or the line to it."""
        joiners, door, visitor = self._joiners, self._door, _visitor_of(request)
        assert joiners is not None and door is not None and visitor is not None  # it was met
        self._refuse_without_token(request)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            welcome = joining.Welcome(
                speaks=joining.SPEAKS,
                runner=__version__,
                campaign=joiners.campaign,
                lease_s=self._lease_s,
                port=self._emptiest(_COUNTS.get(request.query.get("sessions", ""), 0)),
                query=self._query,
                renderer=joiners.renderer(),
            )
            return web.Response(text=joining.encode(welcome), headers=_PAGE_HEADERS)
        line = joiners.open(request.query.get("line", ""))
        if line is None:
            raise web.HTTPForbidden(text="this line is known already")
        name = one_line(request.query.get("name", ""), 100) or str(request.remote)
        visitor.most_bytes = lambda: 2 * joining.LONGEST_LINE
        reason = "its joiner is gone"
        try:
            socket = await self._admitted(request, door, visitor, joining.LONGEST_LINE)
            self._say(f"{name} has joined")
            try:
                await line.keep(socket, visitor.taken_in)
            except ValueError as error:
                reason = f"its joiner said what makes no sense: {one_line(str(error), 200)}"
            if isinstance(socket.exception(), asyncio.TimeoutError):
                visitor.cut_off()
                reason = f"nothing was heard of its joiner for {self._lease_s:g} s"
            if not joiners.is_over:
                self._say(
                    f"{name} has left" + ("" if socket.close_code == WSCloseCode.OK else f" ({reason})")
                )
        finally:
            joiners.forget(line)
            own = [session for session in self.sessions if session.owner in line.tabs.values()]
            await asyncio.gather(*(session.disconnect(reason) for session in own), return_exceptions=True)
        return socket

    def _say_full(self, most: int) -> None:
        if not self._has_told_full:
            self._has_told_full = True
            self._say(
                f"no more than {most:,} tabs are let in at once: allow the run more open files (ulimit -n)"
            )

    async def _work_and_close(self, session: Session) -> None:
        try:
            await self._work(session)
        finally:
            await session.disconnect(
                "its page is loaded anew" if session.is_spoiled else "there is no more work"
            )


def _why_not_whole(path: str, body: BinaryIO) -> str:
    reason = why_not_whole(path, body.read())
    body.seek(0)
    return reason


def _visitor_of(request: web.Request) -> Visitor | None:
    """The visitor of the request; None if the connection is already gone."""
    protocol = request.transport.get_protocol() if request.transport is not None else None
    return protocol if isinstance(protocol, Visitor) else None


def _parts_of(url: str) -> tuple[str, int | None]:
    """Name and port; ('', None) where it makes no sense, or is more than these."""
    if set("/?#@\\") & set(url[2:]):
        return "", None
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False
