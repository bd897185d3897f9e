"""The server, and a browser tab's side of its websocket, spoken by hand."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import msgpack
from vuer.schemas import CameraView, Scene, Sphere

from runner.sessions import Server
from runner.sessions.protocol import parted


class Tab:
    """A browser tab's side of the websocket, spoken by hand."""

    def __init__(self, websocket):
        self.websocket = websocket
        self._waiting = []

    async def hello(self, **more):
        await self.say({"type": "hello", "ok": True, "versions": {}} | more)

    async def say(self, message):
        """Speak as the page script does."""
        await self.websocket.send_str(json.dumps(message))

    async def next(self):
        """The next message: a dict with etype, or a text message with type."""
        if not self._waiting:
            message = await asyncio.wait_for(self.websocket.receive(), 10)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return {"type": message.type.name}
            self._waiting = parted(message.data)
        first = self._waiting.pop(0)
        return json.loads(first) if isinstance(first, str) else msgpack.unpackb(first)

    async def until_grab(self):
        """Messages up to the next picture request, which is the last."""
        messages = [await self.next()]
        while messages[-1].get("etype") != "GRAB_RENDER":
            messages.append(await self.next())
        return messages

    async def answer(self, request, value):
        reply = {"etype": f"GRAB_RENDER_RESPONSE@{request['uuid']}", "ts": 1, "value": value}
        await self.websocket.send_bytes(msgpack.packb(reply))


def with_tab(render, play):
    """Run render(session) in the server against play(tab) in the tab; returns what render returned."""

    async def main():
        outcome = asyncio.get_running_loop().create_future()

        async def work(session):
            try:
                session.set @ Scene(
                    Sphere(key="ball"), rawChildren=[CameraView(key="ego", width=64, height=48)]
                )
                outcome.set_result(await render(session))
            except Exception as error:
                outcome.set_exception(error)

        server = Server(work)
        await server.start()
        try:
            async with aiohttp.ClientSession() as client:
                url = f"ws://localhost:{server.port}/?token={server.token}"
                async with client.ws_connect(url) as websocket:
                    tab = Tab(websocket)
                    await tab.hello()
                    playing = asyncio.create_task(play(tab))
                    try:
                        return await asyncio.wait_for(outcome, 10)
                    finally:
                        playing.cancel()
        finally:
            await server.stop()

    return asyncio.run(main())


def with_server(play, **options):
    """Run play(server, client) against a server whose sessions do nothing; returns what it returned."""

    async def main():
        async def work(session):
            await session.closed

        server = Server(work, **options)
        await server.start()
        try:
            async with aiohttp.ClientSession() as client:
                return await play(server, client)
        finally:
            await server.stop()

    return asyncio.run(main())
