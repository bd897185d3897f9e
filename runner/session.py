"""One connected browser tab: sends scene updates in order, and brings back checked frames.

What is said here of Vuer's client was seen with vuer 0.1.6 (client 0.0.102).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Iterator
from uuid import uuid4

import msgpack
from aiohttp import web
from vuer.events import GrabRender, ServerEvent
from vuer.server import SceneOps

from runner.errors import FrameError, SessionGone
from runner.frames import Frame

__all__ = ["Session"]

# The client keeps the first value of these for a key for as long as the page lives.
_STICKY = ("fov", "near", "far", "width", "height", "downsample")
_BRANCHES = ("nodes", "children", "rawChildren", "htmlChildren", "bgChildren")


class Session(SceneOps):
    """A browser tab that works through jobs.

    session.set, .add, .update, .upsert and .remove @ … are Vuer's own notation; nothing is ever
    dropped or overtaken. `await session.grab()` returns a picture of everything sent before it.

    name: which tab this is, for people. client: what the client said of itself when it connected.
    """

    def __init__(self, socket: web.WebSocketResponse, name: str):
        self.name = name
        self.client: dict[str, Any] = {}
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._socket = socket
        self._outbox: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._replies: dict[str, asyncio.Future[dict]] = {}
        self._cameras: dict[str, dict[str, Any]] = {}

    # -- sending -------------------------------------------------------------------------------

    def __matmul__(self, event: ServerEvent) -> None:
        """Send one of Vuer's events, after everything sent before. Raises FrameError, SessionGone."""
        if self.closed.done():
            raise SessionGone(f"{self.name} is no longer connected: {self.closed.result()}")
        message = event._serialize()
        for node in _nodes(message.get("data")):
            if node.get("tag") == "CameraView":
                self._complete_camera(node)
        self._post(message)

    def _complete_camera(self, node: dict[str, Any]) -> None:
        """Ask for exactly width × height pixels, and refuse what the client would silently ignore."""
        key = node.get("key")
        known = self._cameras.get(key)
        if known is None:
            # The client halves the size unless told otherwise, and draws its cameras as gizmos.
            node.setdefault("downsample", 1)
            node.setdefault("showCamera", False)
            node.setdefault("stream", "ondemand")
            node.setdefault("monitor", False)
            self._cameras[key] = {name: node.get(name) for name in _STICKY}
            return
        for name in _STICKY:
            if name in node and node[name] != known[name]:
                raise FrameError(
                    f"camera {key!r}: {name} cannot change from {known[name]} to {node[name]}, "
                    "because Vuer's client keeps the first value it saw for a key; "
                    "add a camera under another key instead"
                )

    def _post(self, message: dict[str, Any]) -> None:
        # The client reads times in whole milliseconds.
        message["ts"] = int(message["ts"] * 1000)
        packed = msgpack.packb(message, use_single_float=True, default=_plain)
        self._outbox.append(packed)
        self._wake.set()

    async def flush(self) -> None:
        """Return when everything sent so far is on the socket, in order. Raises SessionGone."""
        async with self._sending:
            while self._outbox:
                try:
                    await self._socket.send_bytes(self._outbox.popleft())
                except (ConnectionError, RuntimeError) as error:
                    self.close(str(error) or "the connection broke")
        if self.closed.done():
            raise SessionGone(f"{self.name} is no longer connected: {self.closed.result()}")

    async def keep_sending(self) -> None:
        """Send what is posted, as it comes, until the tab is gone; costs nothing while nothing is posted."""
        while not self.closed.done():
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except SessionGone:
                return

    # -- grabbing ------------------------------------------------------------------------------

    async def grab(self, key: str | None = None, *, quality: float | None = None) -> Frame:
        """A picture by the camera of that key, of everything sent before; decoded and checked.

        key: of a CameraView in the scene; may be left out where there is only one.
        quality: of the JPEG, above 0 and up to 1 (the default, without chroma subsampling).

        Waits as long as the job's time limit allows. Raises FrameError when the picture is not
        whole or not of the camera's size, SessionGone when the tab is gone.
        """
        key = self._camera(key)
        options = {} if quality is None else {"quality": quality}
        reply = await self._request(GrabRender(key=key, **options))
        value = reply.get("value")
        if not isinstance(value, dict) or not isinstance(value.get("frame"), bytes):
            raise FrameError(f"camera {key!r}: the browser answered without a picture")
        frame = await asyncio.to_thread(Frame, value["frame"])
        asked = self._cameras[key]["width"], self._cameras[key]["height"]
        if None not in asked and asked != (frame.width, frame.height):
            raise FrameError(
                f"camera {key!r}: asked for {asked[0]}x{asked[1]} pixels, the browser sent "
                f"{frame.width}x{frame.height} (its aspect must lie between 1:10 and 10:1)"
            )
        return frame

    def _camera(self, key: str | None) -> str:
        if key is None and len(self._cameras) == 1:
            return next(iter(self._cameras))
        if key not in self._cameras:
            known = ", ".join(map(repr, self._cameras)) or "none"
            raise FrameError(f"no camera {key!r} in the scene; there is: {known}")
        return key

    async def _request(self, event: Any) -> dict[str, Any]:
        """Send a request behind all that was sent, and wait for the reply with its own id."""
        reply_type = f"{event.etype}_RESPONSE@{event.uuid}"
        reply = self._replies[reply_type] = asyncio.get_running_loop().create_future()
        try:
            self @ event
            await self.flush()
            return await reply
        finally:
            del self._replies[reply_type]

    # -- receiving -----------------------------------------------------------------------------

    def receive(self, message: dict[str, Any]) -> None:
        """Take a message from the tab: the reply to one of its own requests, or something to ignore."""
        reply = self._replies.get(message.get("etype"))
        if reply is not None and not reply.done():
            reply.set_result(message)

    def close(self, reason: str) -> None:
        """The tab is gone: whoever waits for it is told so."""
        if not self.closed.done():
            self.closed.set_result(reason)
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(SessionGone(f"{self.name} is no longer connected: {reason}"))
        self._wake.set()


def _nodes(data: Any) -> Iterator[dict[str, Any]]:
    """All elements of a serialized event, parents first."""
    if isinstance(data, (list, tuple)):
        for item in data:
            yield from _nodes(item)
    elif isinstance(data, dict):
        if "tag" in data:
            yield data
        for branch in _BRANCHES:
            if branch in data:
                yield from _nodes(data[branch])


def _plain(value: Any) -> Any:
    """NumPy arrays and numbers as plain ones, for msgpack."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"the scene holds a {type(value).__name__}, which cannot be sent to the browser")
