"""One connected browser tab: sends scene updates in order, and brings back checked frames.

The statements about Vuer's client hold for vuer 0.1.6 (client 0.0.102).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any
from uuid import uuid4

from aiohttp import web
from vuer.events import ClientEvent, GrabRender, ServerEvent, ServerRPC
from vuer.server import SceneOps

from runner.errors import FrameError, SessionGone
from runner.frame import Frame
from runner.reasons import one_line
from runner.sessions.base import BaseScene
from runner.sessions.cameras import Cameras
from runner.sessions.changes import changes
from runner.sessions.gate import Gate
from runner.sessions.messages import packed, plain_message
from runner.sessions.protocol import (
    FENCE,
    FORMATS,
    KNOWN_VERSIONS,
    LARGEST_MESSAGE_BYTES,
    Begin,
    Bye,
    Grab,
    Hello,
    Hidden,
    IsReady,
    Ready,
    Refused,
    Render,
    Waits,
    decode,
    encode,
    joined,
)
from runner.sessions.scene import ROOT, STAGING, Scene
from runner.tabs import PERSON, TabEnd, TabOwner

__all__ = ["Session"]

# To wake another thread for so little costs more than it gives: a tenth of all that a frame of 320x240 pixels costs
# here, whose JPEG of best quality has 60 KB. In two formats of three, a few bytes may be many pixels.
_DECODED_AT_ONCE_BYTES, _DECODED_AT_ONCE_PIXELS = 1 << 17, 1 << 18
# Larger messages are sent uncopied.
_LARGEST_PARCEL_BYTES = 65536
# The most that a tab may send unasked; the client's own messages have a few hundred bytes.
_MESSAGE_BYTES = 1 << 18
_MOST_PARTS, _LONGEST_REASON = 16, 2000
# Requests of Vuer's that ask the page for something and change nothing there.
_ASKING = ("MJ_RENDER", "GET_WEBXR_MESH")


class Session(SceneOps):  # type: ignore[misc]  # Vuer ships no types
    """A browser tab that works through jobs.

    session.set, .add, .update, .upsert and .remove @ … are Vuer's own notation; nothing is ever
    dropped or overtaken. `await session.grab()` returns a picture of everything sent before it.

    The script on the page (page/) holds each picture request back until the scene is ready for it.
    Once it has a base scene, each job begins with that: scene operations are noted, and sent as the difference to what
    the tab shows when a picture or readiness is asked for. This difference includes changes of earlier jobs; if one of
    them cannot be undone, the session is spoiled.

    name: which tab this is, for people; id: among all tabs of all times. owner: who opened it. base: what the scene
    function has given so far in this process. explain: adds to what the page says what is known of it here.
    closed: done, with the reason, as soon as the connection is gone; end: once it is known how the tab ended, which
    may take a moment longer. client: what the page said of itself: versions of its parts.
    browser: its user agent. renderer: what draws, as WebGL names it (UNMASKED_RENDERER_WEBGL); pictures
    of two renderers differ.
    settle_s: how long to wait, in seconds, between a first picture that is dropped and the one that counts.
    refused: why this page cannot be used at all. is_spoiled: set when the page must be reloaded before it can be
    trusted again. lasting: what a job has changed for as long as the page lives. remarks: what a person should know
    about the scene, by a word for each kind. most_bytes: how much the tab may send at once, by the largest picture that
    it was asked for. late_replies: pictures that came when nobody waited for them any more, and were dropped.
    last_frame: the last picture for this job; seen: for any job, with its number among all. waits: the files that a
    picture waits for, and since when, by the monotonic clock. is_hidden: the tab is out of sight; held_s: how late its
    timers come. waited_s, asked_s: how long, in all, pictures have waited for files, and how long they took from
    request to arrival.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        name: str,
        owner: TabOwner = PERSON,
        base: BaseScene | None = None,
        explain: Callable[[str], str] = lambda said: said,
    ):
        self.name, self.owner, self.id = name, owner, uuid4().hex[:12]
        self.client: dict[str, Any] = {}
        self.browser = self.renderer = ""
        self.refused = ""
        self.is_spoiled = False
        self.lasting = ""
        self.settle_s = 0.0
        self.late_replies = 0
        self.most_bytes = _MESSAGE_BYTES
        self.last_frame: Frame | None = None
        self.seen: tuple[int, Frame] | None = None
        self.waits: tuple[Sequence[str], float] | None = None
        self.is_hidden = False
        self.held_s = 0.0
        self.waited_s = self.asked_s = 0.0
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.end: asyncio.Future[TabEnd] = asyncio.get_running_loop().create_future()
        self._learning_end: asyncio.Task[None] | None = None
        self._socket, self._explain = socket, explain
        self._outbox: deque[bytes | str] = deque()
        self._fence = 0
        self._fenced = True
        self._has_fence = False
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._replies: dict[str, asyncio.Future[Any]] = {}
        self._cameras = Cameras()
        self._last_data: dict[str, bytes] = {}
        self._gate = Gate()
        self.remarks = self._gate.remarks
        # The scene that each job begins with, the one that this job wants, and the one that the tab shows. Without a
        # base the second alone is followed: it is what the tab shows.
        self._base_scene = base or BaseScene()
        self._base: Scene | None = None
        self._wanted = Scene()
        self._wanted.add(list(STAGING), "bgChildren")
        self._shown = Scene()
        self._is_changed = False
        self._is_rendered = True
        self._unsent = self._job = ""

    # -- the scene -----------------------------------------------------------------------------

    def set_base(self, scene: Any) -> None:
        """Show this scene; from now on each job begins with it."""
        message, told = self._base_scene.take(scene)
        self._gate.look_through(message["data"])
        if told:
            self.remarks["another scene"] = told
        self._gate.knows_base = True
        self._base = Scene()
        self._base.add(list(STAGING), "bgChildren")
        self._base.apply(message)
        _refuse_second_camera(self._base)
        self._gate.note_second(self._base.second)
        _refuse_second_background(self._base)
        self._wanted, self._shown = self._base.copy(), self._base.copy()
        self._gate.count(len(self._wanted.props) - 1)
        self._send({"etype": "SET", "ts": 0.0, "data": self._base.node(ROOT)})
        self._is_rendered = False

    def begin_job(self, kept: str | None = None, seed: int | None = None, key: str = "") -> None:
        """Set the scene back to the base; the messages for that are sent with the job's own first changes.

        kept: the scene that the steps of an earlier attempt have made, to begin with instead; see can_show. seed: for
        chance and time as the page's code sees them; None leaves them to the browser. key: the job's, for its frames.
        """
        self._job = key
        if seed is not None:
            self._outbox.append(encode(Begin(seed)))
        if self._base is not None:
            scene = Scene.from_difference(kept, self._base) if kept else None
            self._wanted, self._is_changed = scene or self._base.copy(), True

    def kept_scene(self) -> str | None:
        """The scene that the job has made, as a text; None if it cannot be expressed, or is too long."""
        return None if self._base is None or self.lasting else self._wanted.difference(self._base)

    def can_show(self, kept: str | None) -> bool:
        """Whether a job may go on from such a text: it exists, and the base is still the same."""
        return bool(kept and self._base and Scene.from_difference(kept, self._base))

    def __matmul__(self, event: ServerEvent) -> None:
        """Send one of Vuer's events, after everything sent before.

        Raises SessionGone, and FrameError for what would come out wrong, or silently do nothing.
        """
        if self.closed.done():
            raise SessionGone(f"{self.name} is no longer connected: {self.closed.result()}")
        message = plain_message(event)
        self._gate.look_through(message.get("data"))
        nothing = self._wanted.why_nothing(message)
        if nothing:
            raise FrameError(nothing)
        self._gate.note_absent(self._wanted.why_removes_nothing(message))
        is_of_scene = self._wanted.apply(message)
        _refuse_second_camera(self._wanted)
        self._gate.note_second(self._wanted.second)
        if self._base is None:
            self._wanted.complete(message["data"])
            self._send(message)
        elif is_of_scene:
            self._is_changed = True
        else:
            self._sync()
            self._send(message)

    def _sync(self) -> None:
        """Send the difference between the scene that the tab shows and the wanted one."""
        if self._unsent:
            raise FrameError(self._unsent)
        if not self._is_changed:
            return
        _refuse_second_background(self._wanted)
        found = changes(self._shown, self._wanted)
        self._shown, self._is_changed = self._wanted.copy(), False
        self._gate.count(len(self._wanted.props) - 1)
        if found.lasting and not self.lasting:
            self.lasting, self.is_spoiled = found.lasting, True
        if found.first:
            self._render_first()
            for message in found.first:
                self._send(message)
            self._is_rendered = False
        if found.rest:
            self._render_first()
            for message in found.rest:
                self._send(message)
            self._is_rendered = False

    def _render_first(self) -> None:
        """Have all that was sent rendered before the next messages, lest the client merges both into one change."""
        if not self._is_rendered:
            self._outbox.append(encode(Render()))
            self._is_rendered = True

    # -- sending -------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any]) -> None:
        """Send a scene operation, with the cameras as the client honours them.

        Raises FrameError for one that cannot be sent. What the page shows is then not known any more.
        """
        try:
            self._send_translated(message)
        except FrameError as error:
            self._unsent = self._unsent or f"what was sent before could not be: {error}"
            self.is_spoiled = True
            raise

    def _send_translated(self, message: dict[str, Any]) -> None:
        messages = self._cameras.translate(message)
        self._has_fence &= message["etype"] != "SET"
        # An update carries the fence: adding the fence by itself would make React render once more.
        self._fenced = self._has_fence and message["etype"] == "UPDATE" and messages == [message]
        if self._fenced:
            message["data"]["nodes"].append(self._next_fence())
        for translated in messages:
            self._post(translated)
        self.is_spoiled |= self._cameras.is_worn

    def _next_fence(self) -> dict[str, Any]:
        """An invisible element whose number shows that all that was sent before it is in the scene."""
        self._fence += 1
        return {"tag": "object3D", "key": FENCE, "visible": False, "userData": {"n": self._fence}}

    def _post(self, message: dict[str, Any]) -> None:
        self._outbox.append(packed(message))
        self._wake.set()

    async def flush(self) -> None:
        """Return when everything sent so far is on the socket, in order. Raises SessionGone."""
        self._sync()
        await self._empty_outbox()

    async def _empty_outbox(self) -> None:
        async with self._sending:
            while self._outbox:
                message = self._next_to_send()
                try:
                    if isinstance(message, str):
                        await self._socket.send_str(message)
                    else:
                        await self._socket.send_bytes(message)
                except (ConnectionError, RuntimeError) as error:
                    self.close(str(error) or "the connection broke")
        if self.closed.done():
            raise SessionGone(f"{self.name} is no longer connected: {self.closed.result()}")

    def _next_to_send(self) -> bytes | str:
        """The first message that waits to be sent; small ones go together."""
        messages = [self._outbox.popleft()]
        size = len(messages[0])
        while self._outbox and (size := size + len(self._outbox[0])) <= _LARGEST_PARCEL_BYTES:
            messages.append(self._outbox.popleft())
        return messages[0] if len(messages) == 1 else joined(messages)

    async def keep_sending(self) -> None:
        """Send posted messages as they come, until the tab is gone; costs nothing in between."""
        while not self.closed.done():
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._empty_outbox()
            except SessionGone:
                return

    # -- grabbing ------------------------------------------------------------------------------

    async def grab(
        self, *keys: str, format: str = "jpeg", quality: float | None = None, wait_s: float = 30.0
    ) -> Any:
        """A picture by the camera of that key, of everything sent before; decoded and checked.

        keys: of CameraViews in the scene; may be left out if there is only one. Several keys give
        a tuple of frames, in their order, all of the same state of the scene.
        format: 'jpeg', 'png' or 'webp' (both lossless), or 'raw' for bare pixels, which cost least if you use only
        frame.array, or if the browser is on this machine. quality: of a JPEG, above 0 and up to 1 (the default, without
        chroma subsampling). wait_s: how long the scene may take to be ready, with all that it loads.

        A camera with renderDepth=True gives frame.depth, too. The picture itself may take as long as the job's time
        limit allows. Raises FrameError if the scene does not get ready, or the picture is not whole or not of the
        camera's size; SessionGone if the tab is gone.
        """
        if format not in FORMATS:
            raise FrameError(f"no picture format {format!r}; there is: {', '.join(FORMATS)}")
        if quality is not None and not 0 < quality <= 1:
            raise FrameError(f"the quality of a JPEG is above 0 and at most 1, and not {quality!r}")
        job = self._job
        self._sync()
        found = [self._cameras.find(key) for key in keys or (None,)]
        for key in found:
            self._refuse_too_large(key, format)
        self._expect(found)
        if self.settle_s:
            await self._request([self._picture(key, format, quality) for key in found], wait_s)
            await asyncio.sleep(self.settle_s)
        values = await self._request([self._picture(key, format, quality) for key in found], wait_s)
        frames = [await self._decoded(key, format, value) for key, value in zip(found, values)]
        self.last_frame = frames[-1]
        self.seen = (self.seen[0] + 1 if self.seen else 1), frames[-1]
        for key, frame in zip(found, frames):
            frame.job = job
            if frame.data == self._last_data.get(key):
                frame.suspicion = frame.suspicion or "the same bytes as the frame before"
            self._last_data[key] = frame.data
        return tuple(frames) if len(keys) > 1 else frames[0]

    async def grab_render(
        self,
        ttl: float = 2.0,
        *,
        key: str = "DEFAULT",
        quality: float | None = None,
        **others: Any,
    ) -> ClientEvent:
        """Vuer's own call, for code that has it: an event with the JPEG of grab in value["frame"].

        key: of a CameraView; may be left out if there is only one. ttl: how long the scene may take to be ready, in
        seconds, if that is more than grab's half minute.

        The value also has width, height and dpr, and of a camera with renderDepth=True depthFrame, as Vuer's client
        sends it: a grey JPEG, where near is white. Raises FrameError as grab does, and for arguments that Vuer's client
        would ignore.
        """
        ignored = [name for name, value in others.items() if value not in (None, 1)]
        if ignored:
            raise FrameError(
                f"grab_render({', '.join(ignored)}=…) has no effect on a CameraView in Vuer's client; say it in "
                "the CameraView, or use session.grab, which has format="
            )
        found = self._cameras.find(None if key == "DEFAULT" else key)
        frame = await self.grab(found, quality=quality, wait_s=max(30.0, ttl))
        value = {"dpr": 1, "width": frame.width, "height": frame.height, "frame": frame.data}
        depth = frame.grey_depth()
        if depth is not None:
            value["depthFrame"] = depth
        return ClientEvent(etype="GRAB_RENDER_RESPONSE", key=found, value=value)

    async def rpc(self, event: ServerRPC, ttl: float = 2.0) -> ClientEvent:
        """Vuer's own call: send a request such as MjStep when the scene is ready for it, and wait for its answer.

        event: as Vuer makes it; a GrabRender is answered as by grab_render. ttl: how long the answer may take, in
        seconds.

        The answer is not checked: only pictures of grab and grab_render are. After a request that may have changed the
        page, the page is reloaded for the next job. Raises FrameError if nothing there answers: an element or a library
        must do so, and Vuer's client has none for MuJoCo.
        """
        if isinstance(event, GrabRender):
            return await self.grab_render(ttl, key=event.key, **event.data)
        if not isinstance(event, ServerRPC):
            raise FrameError(f"session.rpc takes a request of Vuer's, such as MjStep(), not {event!r:.100}")
        await self.ready(wait_s=max(30.0, ttl))
        if event.etype not in _ASKING and not self.lasting:
            self.lasting = f"it has sent a {event.etype}, and may have changed anything in the page"
            self.is_spoiled = True
        reply = self._replies[event.rtype] = asyncio.get_running_loop().create_future()
        try:
            self._post(plain_message(event))
            await self.flush()
            value = await asyncio.wait_for(reply, ttl)
        except asyncio.TimeoutError:
            raise FrameError(
                f"nothing in the page has answered {event.etype} (key {getattr(event, 'key', None)!r}) within "
                f"{ttl:g} s: an element or a library in the scene must, and Vuer's client has none for MuJoCo"
            ) from None
        finally:
            del self._replies[event.rtype]
        return ClientEvent(etype=event.rtype, key=getattr(event, "key", None), value=value)

    def _refuse_too_large(self, key: str, format: str) -> None:
        """Refuse pictures that are too large to send: the connection would break."""
        width, height = self._cameras.size(key)
        bare = (format == "raw") + (self._cameras.depth_range(key) is not None)
        if bare * 4 * width * height >= LARGEST_MESSAGE_BYTES:
            what = "and its depth take" if format == "raw" and bare == 2 else "takes"
            raise FrameError(
                f"camera {key!r}: {'a bare picture' if format == 'raw' else 'depth'} of {width}x{height} pixels "
                f"{what} {bare * 4 * width * height >> 20:,} MiB, and a browser may send less than "
                f"{LARGEST_MESSAGE_BYTES >> 20:,} MiB at once: take a smaller one, "
                + (
                    "or format='png', which is lossless, too"
                    if format == "raw"
                    else "or leave out renderDepth"
                )
            )

    def _expect(self, keys: list[str]) -> None:
        """Let the tab send as much as these cameras' pictures can take, even if they come too late."""
        # No format turns even noise into twice the size of its bare pixels.
        factors = (
            (2 + (self._cameras.depth_range(key) is not None), self._cameras.size(key)) for key in keys
        )
        most = sum(factor * 4 * width * height for factor, (width, height) in factors)
        self.most_bytes = max(self.most_bytes, _MESSAGE_BYTES + most)

    def _picture(self, key: str, format: str, quality: float | None) -> tuple[GrabRender, dict[str, Any]]:
        """The client's own request, and the page script's message about it."""
        options = {} if quality is None else {"quality": quality}
        lens, has_depth = self._cameras.lens(key), self._cameras.depth_range(key) is not None
        told = {"format": format, "camera": lens, "depth": has_depth}
        return GrabRender(key=self._cameras.inner_key(key), **options), told

    async def _decoded(self, key: str, format: str, value: Any) -> Frame:
        if not isinstance(value, dict) or not isinstance(value.get("frame"), bytes):
            raise FrameError(f"camera {key!r}: the browser answered without a picture")
        width, height = self._cameras.size(key)
        if len(value["frame"]) <= _DECODED_AT_ONCE_BYTES and width * height <= _DECODED_AT_ONCE_PIXELS:
            return self._frame(key, format, value)
        return await asyncio.to_thread(self._frame, key, format, value)

    def _frame(self, key: str, format: str, value: dict[str, Any]) -> Frame:
        depth_range, size = self._cameras.depth_range(key), self._cameras.size(key)
        try:
            return Frame(value["frame"], value.get("depthFrame"), depth_range, size, format)
        except FrameError as error:
            raise FrameError(f"camera {key!r}: {error}") from None

    async def ready(self, *, wait_s: float = 30.0) -> None:
        """Return when everything sent before is in the scene, with all that it loads; takes no picture.

        wait_s: how long that may take. Raises FrameError if it takes longer or something cannot be loaded; SessionGone
        if the tab is gone.
        """
        await self._request([], wait_s)

    async def _request(self, pictures: list[tuple[GrabRender, dict[str, Any]]], wait_s: float) -> list[Any]:
        """Ask for pictures behind all that was sent, or for readiness alone; wait for the requests' own replies."""
        replies: dict[str, asyncio.Future[Any]] = {}
        self._sync()
        if not self._fenced:
            node = self._next_fence()
            self._post({"etype": "UPSERT", "ts": 0, "data": {"nodes": [node], "to": "children"}})
            self._fenced = self._has_fence = True
        for event, told in pictures:
            reply_type = f"{event.etype}_RESPONSE@{event.uuid}"
            replies[reply_type] = asyncio.get_running_loop().create_future()
            self._outbox.append(encode(Grab(reply_type, self._fence, wait_s, **told)))
            self._post(event._serialize())
        if not pictures:
            reply_type = f"READY@{uuid4()}"
            replies[reply_type] = asyncio.get_running_loop().create_future()
            self._outbox.append(encode(Ready(reply_type, self._fence, wait_s)))
        self._replies |= replies
        began = time.monotonic()
        try:
            await self._empty_outbox()
            self._is_rendered = True
            return await asyncio.gather(*replies.values())
        finally:
            self.asked_s += time.monotonic() - began
            self.waits = None
            for reply_type, reply in replies.items():
                reply.cancel()
                del self._replies[reply_type]

    # -- receiving -----------------------------------------------------------------------------

    def receive(self, message: dict[str, Any]) -> None:
        """Take a message of the client: the reply to one of this session's requests, or something to ignore."""
        kind = message.get("etype")
        if not isinstance(kind, str):
            return
        reply = self._replies.get(kind)
        if reply is not None and not reply.done():
            reply.set_result(message.get("value"))
        elif kind.startswith("GRAB_RENDER_RESPONSE@"):
            self.late_replies += 1

    def receive_text(self, text: str) -> bool:
        """Take a message of the page script; True for the one that announces the page, refused or not.

        Raises ValueError for a message that makes no sense.
        """
        message = decode(text)
        if isinstance(message, Hello):
            versions = list(message.versions.items())[:_MOST_PARTS]
            self.client = {one_line(name, 100): one_line(str(version), 100) for name, version in versions}
            self.browser, self.renderer = one_line(message.browser), one_line(message.renderer)
            if not message.ok:
                self.refused = _reason(message.reason)
                self.close(self.refused, TabEnd(self.refused))
            return True
        if isinstance(message, Waits):
            # Not negative, and not NaN.
            waited_s = message.waited_s if 0.0 <= message.waited_s < 1e9 else 0.0
            lacks = [one_line(str(name)) for name in message.lacks[:5]]
            self.waits = (lacks, time.monotonic() - waited_s) if lacks else None
            self.waited_s += 0.0 if lacks else waited_s
        elif isinstance(message, Hidden):
            self.is_hidden = bool(message.is_hidden)
            self.held_s = message.held_s if 0.0 <= message.held_s < 1e9 else 0.0
        elif isinstance(message, (IsReady, Refused)):
            if isinstance(message, Refused) and not message.reply:
                # Nobody waits for it: the code that did it has ended.
                self.break_off(_reason(message.reason))
                return False
            reply = self._replies.get(message.reply)
            if reply is not None and not reply.done():
                self._settle(reply, message)
        return False

    def _settle(self, reply: asyncio.Future[Any], message: IsReady | Refused) -> None:
        if isinstance(message, IsReady):
            reply.set_result(None)
        else:
            # A file that could not be loaded stays missing as long as the page lives.
            self.is_spoiled = True
            kind = SessionGone if message.is_lost else FrameError
            reply.set_exception(kind(self._explain(_reason(message.reason))))

    def changed_parts(self) -> dict[str, str]:
        """Parts of the page in other versions than those that its script was checked with."""
        return {name: version for name, version in self.client.items() if KNOWN_VERSIONS.get(name) != version}

    def break_off(self, reason: str) -> None:
        """The page can be used no further, whatever it shows: it must be reloaded."""
        self.is_spoiled = True
        self.close(reason, TabEnd(reason))

    async def disconnect(self, reason: str) -> None:
        """Close the connection. A spoiled page then reloads itself; any other is told that the run is over."""
        self.close(reason, TabEnd(reason))
        if not self._socket.closed:
            # A tab that goes at this very moment is not told.
            with contextlib.suppress(ConnectionError):
                if not self.is_spoiled:
                    await self._socket.send_str(encode(Bye()))
            await self._socket.close()

    def close(self, reason: str, end: TabEnd | None = None) -> None:
        """The tab is gone: wake all who wait for it. end: how it ended; None leaves that to its owner."""
        if not self.closed.done():
            self.closed.set_result(reason)
            if end is None:
                # It belongs to no job's task, whoever closes it.
                self._learning_end = Context().run(asyncio.create_task, self._learn_end(reason))
        if end is not None and not self.end.done():
            self.end.set_result(end)
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(SessionGone(f"{self.name} is no longer connected: {reason}"))
        self._wake.set()

    async def _learn_end(self, reason: str) -> None:
        end = await self.owner.end_of(reason)
        if not self.end.done():
            self.end.set_result(end)


def _refuse_second_camera(scene: Scene) -> None:
    if scene.second_camera is not None:
        raise FrameError(
            f"two cameras have the key {scene.second_camera!r}: which is to be grabbed is not clear"
        )


def _refuse_second_background(scene: Scene) -> None:
    if len(scene.backgrounds) < 2:
        return
    shown = sorted(repr(key) for key in scene.backgrounds if not scene.props[key].get("hide"))
    if len(shown) > 1:
        raise FrameError(
            f"the scene has {len(shown)} BackgroundColors ({', '.join(shown[:5])}), and which of them shows is chance: "
            "update the one that is there, or remove it first"
        )


def _reason(said: str) -> str:
    """The reason in the page's words, made harmless: an error of a page may have any length, and hold anything."""
    return one_line(said, _LONGEST_REASON)
