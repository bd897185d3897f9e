"""Browser tabs that draw nothing: they speak the protocol of the page, and answer each picture request at once."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from functools import cache
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgpack
import numpy as np
from PIL import Image
from processes import lines_of, start
from waiting import wait_until

from runner.sessions.protocol import parted

# That for tabs, not that of the live page.
LINK = re.compile(r"http://\S+[?]ws=\S+")


@cache
def painted(color: str, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG with that colour in its middle, and two others beside it, so that it is not all of one."""
    picture = Image.new("RGB", size, color)
    picture.paste("black", (0, 0, size[0] // 4, size[1]))
    picture.paste("white", (size[0] // 4 * 3, 0, size[0], size[1]))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def noisy(count: int, size: tuple[int, int]) -> list[bytes]:
    """Different JPEGs of about the size in bytes of a rendered scene: smooth, with an edge."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    found = []
    for number in range(count):
        ball = np.hypot(columns - size[0] / 2, rows - size[1] / 2) < size[1] / 3
        grey = (rows + number) % 256 * 0.5 + 60 * ball * (columns / size[0])
        file = io.BytesIO()
        pixels = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(pixels).save(file, "JPEG", quality=100)
        found.append(file.getvalue())
    return found


class Tabs:
    """So many tabs that open the link of a run, in a thread of their own, until the run says that it is over.

    Like the page, one whose connection breaks comes back to where it was. link: looked at again until it is known.
    picture: the JPEG to answer with, by the colour that the scene's sphere has. is_over: true where nobody will
    answer any more. answers: how many pictures each tab has sent; ports: where each one is.
    """

    def __init__(
        self,
        link: Callable[[], str],
        count: int,
        picture: Callable[[str], bytes] = painted,
        is_over: Callable[[], bool] = lambda: False,
    ):
        self.answers: Counter[int] = Counter()
        self.ports: dict[int, int] = {}
        self._link, self._count, self._picture, self._is_over = link, count, picture, is_over
        self._work: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until the run has said to all that it is over."""
        self._thread.join()

    def close(self) -> None:
        """Close those that are still there."""
        if self._work is not None:
            loop, task = self._work
            # It may have ended.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
        self._thread.join(30)

    async def _all(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._work = asyncio.get_running_loop(), task
        with contextlib.suppress(asyncio.CancelledError):
            async with aiohttp.ClientSession() as client:
                await asyncio.gather(*(self._one(client, number) for number in range(self._count)))

    async def _one(self, client: aiohttp.ClientSession, number: int) -> None:
        link = ""
        while not self._is_over():
            link = link or self._link()
            if not link:
                await asyncio.sleep(0.05)
                continue
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                async with client.get(link) as page:
                    link = str(page.url)
                (address,) = parse_qs(urlsplit(link).query)["ws"]
                self.ports[number] = urlsplit(address).port or 0
                async with client.ws_connect(address, max_msg_size=0) as websocket:
                    await websocket.send_str(
                        json.dumps({"type": "hello", "ok": True, "versions": {"tab": "1"}})
                    )
                    if await self._answer(websocket, number):
                        return
            await asyncio.sleep(0.2)

    async def _answer(self, websocket: aiohttp.ClientWebSocketResponse, number: int) -> bool:
        """Whether the run has said that it is over."""
        color = "#000000"
        async for message in websocket:
            for part in parted(message.data):
                if isinstance(part, str):
                    said = json.loads(part)
                    if said["type"] == "bye":
                        return True
                    if said["type"] == "ready":
                        await websocket.send_str(json.dumps({"type": "is_ready", "reply": said["reply"]}))
                    continue
                event = msgpack.unpackb(part)
                if event["etype"] != "GRAB_RENDER":
                    found = re.findall(rb"#[0-9a-f]{6}", part)
                    color = found[-1].decode() if found else color
                    continue
                reply = {"etype": f"GRAB_RENDER_RESPONSE@{event['uuid']}", "ts": 1}
                await websocket.send_bytes(msgpack.packb(reply | {"value": {"frame": self._picture(color)}}))
                self.answers[number] += 1
        return False


def link_in(lines: list[str]) -> str:
    """The link for tabs among the messages of a run; '' if it is not there yet."""
    found = LINK.search("".join(lines))
    return found[0] if found else ""


def start_for_tabs(
    *arguments: object, tabs: int = 1, picture: Callable[[str], bytes] = painted, **options
) -> tuple[subprocess.Popen, list[str]]:
    """Start `runner run ARGUMENTS` without browsers, and so many tabs that end with it; returns it and its messages.

    For tests that are not about browsers, which take most of a start.
    """
    process = start("run", *arguments, "--sessions", "0", **options)
    lines = lines_of(process)
    Tabs(lambda: link_in(lines), tabs, picture, lambda: process.poll() is not None)
    return process, lines


def run_for_tabs(*arguments: object, timeout_s: float = 180.0, **options) -> subprocess.CompletedProcess:
    """The same, to its end."""
    process, lines = start_for_tabs(*arguments, **options)
    status = process.wait(timeout_s)
    wait_until(lambda: process.stderr.closed, "its last words")
    return subprocess.CompletedProcess(process.args, status, None, "".join(lines))
