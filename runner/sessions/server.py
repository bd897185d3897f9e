"""The guarded Vuer server: gives out the web client and the campaign's assets, and lets in who has the run's token.

Vuer's own server (0.1.6) gives any file of the machine to whoever asks, and any web page may connect
to it. This one serves a fixed list of files and speaks the same protocol on its websocket.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import vuer
from aiohttp import WSMsgType, web

from runner.campaign import AssetFolder, open_asset
from runner.machine import no_such_address
from runner.sessions.messages import unpacked
from runner.sessions.protocol import LARGEST_MESSAGE_BYTES
from runner.sessions.script import page_script
from runner.sessions.session import Session
from runner.tabs import PERSON, TabOwner

__all__ = ["Server"]

_CLIENT = Path(vuer.__file__).parent / "client_build"
# For text that names no font, which the client would fetch from the net.
_FONTS = Path(__file__).with_name("page") / "fonts"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# The main view is for people: not drawing it makes several times the frames. Cameras still render.
_QUERY = {"hideUI": "true", "frameloop": "never"}


# Nothing is kept by the browser, whose cache would only grow; a page that is opened from there has no rights.
_ASSET_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox",
    "X-Content-Type-Options": "nosniff",
}


class Server:
    """Serves the client on host:port and hands each tab that connects to `work`.

    work: called with the Session of each tab, be it refused or not; the tab is closed when it returns.
    host: an address of this machine; anything but loopback lets other machines in, with the token.
    port: 0 takes a free one.
    assets: whose files are given out as well, each under the URL that it makes for them.
    token: who has it is let in; '' makes one.
    """

    def __init__(
        self,
        work: Callable[[Session], Awaitable[None]],
        host: str = "localhost",
        port: int = 0,
        assets: AssetFolder | None = None,
        token: str = "",
    ):
        self.host, self.port = host, port
        self.token = token or secrets.token_urlsafe(24)
        self.sessions: set[Session] = set()
        self._work, self._assets = work, assets
        self._owners: dict[str, TabOwner] = {}
        self._arrival = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._files = {
            f"/{file.relative_to(_CLIENT).as_posix()}": file for file in _CLIENT.rglob("*") if file.is_file()
        }
        self._files |= {f"/runner/fonts/{file.name}": file for file in _FONTS.glob("*.woff")}
        index = (_CLIENT / "index.html").read_text()
        # Before the client's own scripts, so that it sees all that they do.
        self._page = index.replace("<head>", f"<head><script>{page_script()}</script>", 1)

    async def start(self) -> None:
        """Start to listen. Raises UsageError where the address cannot be had."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise no_such_address(self.host, self.port, error) from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close all tabs and stop to listen."""
        for session in list(self.sessions):
            session.is_spoiled = False
            await session.disconnect("the run ended")
        if self._runner:
            await self._runner.cleanup()

    def link(self, name: str = "", owner: TabOwner = PERSON) -> str:
        """The address that a browser opens to become a session; name: for people. owner: who opens it."""
        host = "localhost" if self.host in _LOOPBACK else self.host
        socket = {"token": self.token} | ({"name": name} if name else {})
        if owner.tab_id:
            self._owners[owner.tab_id] = owner
            socket["tab"] = owner.tab_id
        query = {"ws": f"ws://{host}:{self.port}/?{urlencode(socket)}"} | _QUERY
        return f"http://{host}:{self.port}/?{urlencode(query)}"

    def forget(self, owner: TabOwner) -> None:
        """Let the owner's tab in no more."""
        self._owners.pop(owner.tab_id, None)

    async def connected(self, owner: TabOwner) -> Session:
        """Wait until that owner's page said hello; returns its session."""
        while True:
            for session in self.sessions:
                if session.owner is owner and session.client:
                    return session
            self._arrival.clear()
            await self._arrival.wait()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self._refuse_strangers(request)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._connect(request)
        if request.path == "/":
            return web.Response(
                text=self._page, content_type="text/html", headers={"Cache-Control": "no-store"}
            )
        file = self._files.get(request.path)
        if file is not None:
            return web.FileResponse(file)
        asset = await asyncio.to_thread(self._assets.find, request.path) if self._assets else None
        if asset is None:
            raise web.HTTPNotFound()
        # Not web.FileResponse, which gives cup.obj.gz for cup.obj where both are there.
        body = await asyncio.to_thread(open_asset, asset, request.path)
        return web.Response(body=body, headers=_ASSET_HEADERS)

    def _refuse_strangers(self, request: web.Request) -> None:
        """Other web pages name their own origin, and a rebound DNS name its own host: refuse both."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="another origin")
        own = {f"{name}:{self.port}" for name in ("localhost", "127.0.0.1", "[::1]")}
        if self.host in _LOOPBACK and request.host not in own:
            raise web.HTTPForbidden(text="another host")

    async def _connect(self, request: web.Request) -> web.WebSocketResponse:
        token = request.query.get("token", "")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise web.HTTPForbidden(text="the token is missing or of another run")
        tab_id = request.query.get("tab", "")
        owner = self._owners.get(tab_id) if tab_id else PERSON
        if owner is None:
            raise web.HTTPForbidden(text="this tab was replaced")
        socket = web.WebSocketResponse(max_msg_size=LARGEST_MESSAGE_BYTES, compress=False, heartbeat=20.0)
        await socket.prepare(request)
        name = request.query.get("name", "")[:100] or f"tab from {request.remote}"
        session = Session(socket, name, owner)
        self.sessions.add(session)
        tasks = [asyncio.create_task(session.keep_sending())]
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    session.receive(unpacked(message.data))
                elif message.type is WSMsgType.TEXT:
                    hello = session.receive_text(message.data)
                    self._arrival.set()
                    if hello and len(tasks) == 1:
                        tasks.append(asyncio.create_task(self._work_and_close(session)))
        finally:
            session.close("its tab was closed or its browser ended")
            self.sessions.discard(session)
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    async def _work_and_close(self, session: Session) -> None:
        try:
            await self._work(session)
        finally:
            await session.disconnect(
                "its page is loaded anew" if session.is_spoiled else "there is no more work"
            )
