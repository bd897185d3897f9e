"""Whatever a tab says: no traceback, no other tab touched, and bounded memory."""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from contextlib import suppress

import aiohttp
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import picture
from tabs import Tab
from vuer.schemas import CameraView, Scene

from runner.errors import FrameError, SessionGone
from runner.frame import Frame
from runner.sessions import Server

MOST_BYTES = 24 << 20

# Stands for the id of the picture request that the tab was given, and is as long.
ID = "the-request's-own-id".ljust(36, "-")
NAMES = (
    "type",
    "reply",
    "reason",
    "ok",
    "versions",
    "browser",
    "renderer",
    "is_lost",
    "etype",
    "value",
    "frame",
)
KINDS = (
    "hello",
    "is_ready",
    "refused",
    "grab",
    "bye",
    f"GRAB_RENDER_RESPONSE@{ID}",
    f"READY@{ID}",
    "CAMERA_MOVE",
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(), st.text(max_size=20),
    st.sampled_from(KINDS),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)
spoken = st.builds(lambda kind, rest: {"type": kind} | rest, st.sampled_from(KINDS), objects)
frames = st.sampled_from([picture("JPEG"), picture("JPEG", (640, 480)), picture("PNG"), b"RGBA", b""])
answers = st.builds(
    lambda frame, rest: {"etype": f"GRAB_RENDER_RESPONSE@{ID}", "ts": 1, "value": rest | {"frame": frame}},
    frames | values,
    objects,
)
messages = st.lists(
    st.one_of(
        st.text(max_size=200), st.binary(max_size=200), (spoken | objects | values).map(json.dumps),
        (answers | objects | values).map(msgpack.packb), st.integers(1, 1 << 20).map(lambda count: bytes(count)),
        st.integers(1, 1 << 17).map(lambda depth: "[" * depth),
        st.integers(1, 1 << 18).map(lambda depth: b"\x91" * depth),
    ),
    max_size=8,
)  # fmt: skip


class Served:
    """A server in a loop of its own, one tab that renders well, and what was told of mistakes."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.mistakes: list[str] = []
        self.loop.set_exception_handler(lambda loop, context: self.mistakes.append(str(context)))
        self.done = 0
        self.server = Server(self.work, say=self.mistakes.append)
        self.loop.run_until_complete(self.server.start())
        self.client = None

    async def work(self, session):
        session.set @ Scene(rawChildren=[CameraView(key="ego", width=64, height=48)])
        while True:
            with suppress(FrameError):
                try:
                    await session.grab("ego")
                except SessionGone:
                    return
                self.done += session.name == "good"

    async def meet(self, said):
        """One tab says all that, once it was asked for a picture; another one has one rendered meanwhile."""
        url = f"ws://127.0.0.1:{self.server.port}/?token={self.server.token}"
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"{url}&name=good") as first,
            client.ws_connect(f"{url}&name=odd") as second,
        ):
            good, odd = Tab(first), Tab(second)
            await good.hello()
            await odd.hello()
            request, own = (await good.until_grab())[-1], (await odd.until_grab())[-1]["uuid"]
            with suppress(ConnectionError):
                for one in said:
                    if isinstance(one, str):
                        await second.send_str(one.replace(ID, own))
                    else:
                        await second.send_bytes(one.replace(ID.encode(), own.encode()))
            before = self.done
            await good.answer(request, {"frame": picture("JPEG")})
            await good.until_grab()
            assert self.done == before + 1

    def stop(self):
        self.loop.run_until_complete(self.server.stop())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture(scope="module")
def served():
    served = Served()
    yield served
    served.stop()


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(messages)
def test_whatever_a_tab_says_it_harms_itself_alone(served, caplog, said):
    """Another tab's picture arrives all the same, nothing is raised, and nothing much is held."""
    tracemalloc.start()
    try:
        served.loop.run_until_complete(served.meet([one for one in said if is_sendable(one)]))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < MOST_BYTES
    assert served.mistakes == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def is_sendable(message):
    """A websocket takes no lone surrogates."""
    with suppress(UnicodeEncodeError):
        return not isinstance(message, str) or bool(message.encode() or True)
    return False


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.sampled_from([picture(kind, (8, 6)) for kind in ("JPEG", "PNG", "WEBP")]),
    st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(0, 255)), max_size=6),
    st.integers(0, 1 << 12),
    st.sampled_from(["jpeg", "png", "webp", "raw", None]),
)
def test_a_damaged_picture_is_a_picture_or_is_refused(whole, changes, length, asked):
    """Never of another size or format than was asked for, and no error of another kind."""
    data = bytearray(whole)
    for at, byte in changes:
        data[at % len(data)] = byte
    data = bytes(data[: max(1, length)]) if length % 3 == 0 else bytes(data)
    try:
        frame = Frame(data, None, None, (8, 6), asked)
    except FrameError:
        return
    assert (frame.width, frame.height) == (8, 6) and frame.array.shape[:2] == (6, 8)
    assert asked is None or frame.kind == f"image/{asked}"
