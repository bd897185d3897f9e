"""One connected browser tab: sends scene updates in order, and brings back checked frames.

What is said here of Vuer's client was seen with vuer 0.1.6 (client 0.0.102).
"""

from __future__ import annotations

import asyncio
import json
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
_KNOWN = {"react-dom": "19.2.4", "@react-three/fiber": "9.5.0", "three": "182"}
_FENCE = "__fence"
# The client's loaders look at a model's src only: another text or material file under the same key is ignored.
_MODEL_SOURCES = ("text", "buff", "mtl")
_BRANCHES = ("nodes", "children", "rawChildren", "htmlChildren", "bgChildren")


class Session(SceneOps):
    """A browser tab that works through jobs.

    session.set, .add, .update, .upsert and .remove @ … are Vuer's own notation; nothing is ever
    dropped or overtaken. `await session.grab()` returns a picture of everything sent before it.

    The page script (page.js) holds each picture request back until the scene is ready for it.

    name: which tab this is, for people. client: what the page said of itself: versions of its parts.
    browser: its user agent. renderer: what draws, as WebGL names it (UNMASKED_RENDERER_WEBGL); pictures
    of two renderers differ.
    settle_s: how long to wait, in seconds, between a first picture that is dropped and the one that counts.
    refused: why this page cannot be used at all. is_spoiled: set when the page must be loaded anew
    before it can be trusted again.
    """

    def __init__(self, socket: web.WebSocketResponse, name: str):
        self.name = name
        self.client: dict[str, Any] = {}
        self.browser = self.renderer = ""
        self.refused = ""
        self.is_spoiled = False
        self.settle_s = 0.0
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._socket = socket
        self._outbox: deque[bytes | str] = deque()
        self._fence = 0
        self._fenced = True
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._replies: dict[str, asyncio.Future[dict]] = {}
        self._cameras: dict[str, dict[str, Any]] = {}
        self._models: dict[str, dict[str, Any]] = {}

    # -- sending -------------------------------------------------------------------------------

    def __matmul__(self, event: ServerEvent) -> None:
        """Send one of Vuer's events, after everything sent before. Raises FrameError, SessionGone."""
        if self.closed.done():
            raise SessionGone(f"{self.name} is no longer connected: {self.closed.result()}")
        message = event._serialize()
        for node in _nodes(message.get("data")):
            if node.get("tag") == "CameraView":
                self._complete_camera(node, is_whole=message["etype"] != "UPDATE")
            elif any(name in node for name in _MODEL_SOURCES):
                self._refuse_ignored_model(node)
        self._post(message)
        self._fenced = False

    def _complete_camera(self, node: dict[str, Any], is_whole: bool) -> None:
        """Ask for exactly width × height pixels, and refuse what the client would silently ignore.

        is_whole: what the element does not name takes its default, where an update leaves it as it is.
        """
        key = node.get("key")
        known = self._cameras.get(key)
        if known is None or is_whole:
            # The client halves the size unless told otherwise, and draws its cameras as gizmos.
            node.setdefault("downsample", known["downsample"] if known else 1)
            node.setdefault("showCamera", False)
            node.setdefault("stream", "ondemand")
            node.setdefault("monitor", False)
        if known is None:
            self._cameras[key] = {name: node.get(name) for name in _STICKY}
            return
        for name in _STICKY:
            if name in node and node[name] != known[name]:
                raise FrameError(
                    f"camera {key!r}: {name} cannot change from {known[name]} to {node[name]}, "
                    "because Vuer's client keeps the first value it saw for a key; "
                    "add a camera under another key instead"
                )

    def _refuse_ignored_model(self, node: dict[str, Any]) -> None:
        key, sources = node.get("key"), {name: node.get(name) for name in ("src", *_MODEL_SOURCES)}
        known = self._models.setdefault(key, sources)
        if known != sources and known["src"] == sources["src"]:
            raise FrameError(
                f"element {key!r}: its {', '.join(n for n in sources if sources[n] != known[n])} cannot change, "
                "because Vuer's client goes on showing what it loaded first; give its file by src, or "
                "remove it and add one under another key instead"
            )
        self._models[key] = sources

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
                message = self._outbox.popleft()
                send = self._socket.send_str if isinstance(message, str) else self._socket.send_bytes
                try:
                    await send(message)
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

    async def grab(
        self, key: str | None = None, *, quality: float | None = None, wait_s: float = 30.0
    ) -> Frame:
        """A picture by the camera of that key, of everything sent before; decoded and checked.

        key: of a CameraView in the scene; may be left out where there is only one.
        quality: of the JPEG, above 0 and up to 1 (the default, without chroma subsampling).
        wait_s: how long the scene may take to be ready, with all that it loads.

        Waits for the picture itself as long as the job's time limit allows. Raises FrameError when
        the scene does not get ready, or the picture is not whole or not of the camera's size;
        SessionGone when the tab is gone.
        """
        key = self._camera(key)
        options = {} if quality is None else {"quality": quality}
        if self.settle_s:
            await self._request(wait_s, GrabRender(key=key, **options))
            await asyncio.sleep(self.settle_s)
        value = await self._request(wait_s, GrabRender(key=key, **options))
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

    async def ready(self, *, wait_s: float = 30.0) -> None:
        """Return when everything sent before is in the scene, with all that it loads; takes no picture.

        wait_s: how long that may take. Raises FrameError when it takes longer or something cannot be
        loaded; SessionGone when the tab is gone.
        """
        await self._request(wait_s)

    def _camera(self, key: str | None) -> str:
        if key is None and len(self._cameras) == 1:
            return next(iter(self._cameras))
        if key not in self._cameras:
            known = ", ".join(map(repr, self._cameras)) or "none"
            raise FrameError(f"no camera {key!r} in the scene; there is: {known}")
        return key

    async def _request(self, wait_s: float, event: GrabRender | None = None) -> Any:
        """Ask for readiness behind all that was sent, and for a picture then; wait for that request's reply."""
        reply_type = f"{event.etype}_RESPONSE@{event.uuid}" if event else f"READY@{uuid4()}"
        reply = self._replies[reply_type] = asyncio.get_running_loop().create_future()
        try:
            if not self._fenced:
                self._fence += 1
                node = {"tag": "object3D", "key": _FENCE, "visible": False, "userData": {"n": self._fence}}
                self._post({"etype": "UPSERT", "ts": 0, "data": {"nodes": [node], "to": "children"}})
                self._fenced = True
            kind = "grab" if event else "ready"
            announcement = {"type": kind, "reply": reply_type, "fence": self._fence, "wait_s": wait_s}
            self._outbox.append(json.dumps(announcement))
            if event:
                self._post(event._serialize())
            await self.flush()
            return await reply
        finally:
            del self._replies[reply_type]

    # -- receiving -----------------------------------------------------------------------------

    def receive(self, message: dict[str, Any]) -> None:
        """Take a message of the client: the reply to one of this session's requests, or something to ignore."""
        reply = self._replies.get(message.get("etype"))
        if reply is not None and not reply.done():
            reply.set_result(message.get("value"))

    def receive_text(self, text: str) -> bool:
        """Take a message of the page script; True when it says that the page is there and can be watched."""
        try:
            message = json.loads(text)
        except ValueError:
            return False
        if message.get("type") == "hello":
            self.client = message.get("versions", {})
            self.browser, self.renderer = (str(message.get(part, ""))[:300] for part in ("browser", "renderer"))
            if not message.get("ok"):
                self.refused = str(message.get("reason"))
                self.close(self.refused)
            return bool(message.get("ok"))
        reply = self._replies.get(message.get("reply"))
        if reply is None or reply.done():
            return False
        if message.get("type") == "ready":
            reply.set_result(None)
        else:
            # What could not be loaded stays missing for as long as the page lives.
            self.is_spoiled = True
            reply.set_exception(FrameError(str(message.get("reason"))))
        return False

    def changed_parts(self) -> dict[str, str]:
        """Parts of the page that are of another version than those its script was checked with."""
        return {name: version for name, version in self.client.items() if _KNOWN.get(name) != version}

    async def disconnect(self, reason: str) -> None:
        """Close the connection. A spoiled page then loads itself anew; any other is told that it is over."""
        self.close(reason)
        if not self._socket.closed:
            if not self.is_spoiled:
                await self._socket.send_str(json.dumps({"type": "bye"}))
            await self._socket.close()

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
