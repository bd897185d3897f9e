"""What a run shows while somebody looks: what its tabs do now, and what a viewer computes from the rows."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from runner.errors import RunnerError
from runner.frame import RAW, Frame
from runner.job import Extent
from runner.results import IMAGE_KINDS, RenderJob, small_frame
from runner.run.channel import Message
from runner.run.child import start_child
from runner.run.context import TabSession
from runner.sessions import frame_elsewhere

__all__ = ["Live", "Tab", "ViewedSession", "tab_now"]

# The viewer's process ends when nobody has looked for so many seconds.
_UNUSED_S = 60.0
# A picture no larger than this is shown as it is.
_SMALL_BYTES = 65536
_WIDTH, _QUALITY, _LONG_S = 320, 72, 2.0
_PART = re.compile(r"(?P<shard>.+\.tar)@(?P<start>\d{1,18})\+(?P<size>\d{1,18})")
_LARGEST_PART_BYTES = 1 << 28
_BEGINS = {b"\xff\xd8": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp"}


class ViewedSession(TabSession, Protocol):
    """The part of a session that is shown; runner.sessions.Session implements it."""

    id: str
    seen: tuple[int, Frame] | None
    waits: tuple[Any, float] | None
    refused: str


@dataclass(frozen=True)
class Tab:
    """A browser tab now. id: its own, '' if there is no tab. does: in words; kind: work, wait, idle or bad.

    job: the key of the job that it renders. shots: how many pictures it has sent; 0: there is none to see.
    """

    id: str
    name: str
    kind: str
    does: str
    job: str = ""
    shots: int = 0


class Live:
    """Gives the server what the live page asks for; no process is started before somebody looks.

    database, results: where the rows and the files are. tabs: those that are connected. rendering: the job that each
    tab renders, and since when, by the monotonic clock. resting: browsers without a tab: why, and for how many more
    seconds. elsewhere: the tabs of the run's other worker processes, by the addresses of their live pages. fault: why
    the run pauses by itself; ''. say: takes a line for people.
    """

    def __init__(
        self,
        database: str,
        campaign_id: int,
        results: Path,
        tabs: Callable[[], Iterable[ViewedSession]],
        rendering: Mapping[Any, tuple[RenderJob, float]],
        resting: Callable[[], Mapping[str, tuple[str, float]]],
        elsewhere: Mapping[str, Sequence[dict[str, Any]]],
        fault: Callable[[], str],
        say: Callable[[str], None],
    ):
        self._results = results
        self._rows = {"database": database, "campaign_id": campaign_id, "results": str(results)}
        self._tabs, self._rendering, self._resting, self._elsewhere = tabs, rendering, resting, elsewhere
        self._fault, self._say = fault, say
        self._viewer: _Process | None = None
        self._starting = asyncio.Lock()
        self._asked_at = 0.0

    def tabs(self) -> list[dict[str, Any]]:
        """The tabs of this process now, and its browsers that have none."""
        now = time.monotonic()
        tabs = [tab_now(one, self._rendering.get(one), now) for one in self._tabs()]
        tabs += [Tab("", name, *_resting_told(*state)) for name, state in self._resting().items()]
        return [asdict(tab) for tab in tabs]

    # -- what the server asks for ------------------------------------------------------------------

    async def page(self) -> str:
        """The whole page. Raises a RunnerError where the rows cannot be read."""
        return await self._ask("page", now=self._now()) or ""

    async def news(self, known: str) -> str:
        """News as JSON, including the rows' part if its number differs from that one."""
        return await self._ask("news", known=known, now=self._now()) or ""

    async def small(self, path: str) -> bytes | None:
        """The picture of that path below the results, as a small JPEG; None where there is none."""
        extent = self._found(path)
        return _bytes(await self._ask("small", **extent._asdict())) if extent else None

    async def original(self, path: str) -> tuple[bytes, str] | None:
        """The picture itself, and its media type."""
        extent = self._found(path)
        if extent is None:
            return None
        if extent.start is None:
            file = self._results / extent.path
            return await asyncio.to_thread(file.read_bytes), IMAGE_KINDS[file.suffix.lower()]
        # Its shard may be in an object store by now.
        content = _bytes(await self._ask("part", **extent._asdict())) or b""
        kind = next((kind for begin, kind in _BEGINS.items() if content.startswith(begin)), None)
        return (content, kind) if kind else None

    async def frame(self, tab: str) -> tuple[bytes, str] | None:
        """The last frame of that tab, and its media type."""
        seen = next((one.seen for one in self._tabs() if one.id == tab), None)
        if seen is None:
            for link, others in self._elsewhere.items():
                if any(one["id"] == tab for one in others):
                    return await frame_elsewhere(link, tab)
            return None
        _, frame = seen
        if frame.kind == RAW:
            small = await asyncio.to_thread(small_frame, frame, _WIDTH, _QUALITY)
        elif len(frame.data) <= _SMALL_BYTES:
            return bytes(frame.data), frame.kind
        else:
            small = _bytes(await self._ask("shrunk", data=base64.b64encode(frame.data).decode()))
        return (small, "image/jpeg") if small is not None else None

    async def act(self, verb: str) -> str | None:
        """Pause, resume or retry; returns the news after that. None: there is no such verb."""
        done = await self._ask("act", verb=verb)
        if done is None:
            return None
        self._say(f"by the live page, the campaign {done}")
        return await self.news("")

    def close(self) -> None:
        """End the viewer, if there is one."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None

    # -- the viewer --------------------------------------------------------------------------------

    async def _ask(self, what: str, **values: Any) -> str | None:
        self._asked_at = time.monotonic()
        async with self._starting:
            if self._viewer is not None and self._viewer.is_over:
                self.close()
            if self._viewer is None:
                self._viewer = await asyncio.to_thread(_Process, self._rows, asyncio.get_running_loop())
                asyncio.get_running_loop().call_later(_UNUSED_S, self._end_unused, self._viewer)
        return await self._viewer.ask(what, values)

    def _end_unused(self, viewer: _Process) -> None:
        unused_s = time.monotonic() - self._asked_at
        if viewer is not self._viewer:
            return
        if unused_s < _UNUSED_S:
            asyncio.get_running_loop().call_later(_UNUSED_S - unused_s, self._end_unused, viewer)
        else:
            self.close()

    def _now(self) -> dict[str, Any]:
        tabs = self.tabs()
        tabs += [tab for others in self._elsewhere.values() for tab in others]
        tabs.sort(key=lambda tab: (len(tab["name"].split(".")[0]), tab["name"]))
        return {"fault": self._fault(), "tabs": tabs}

    def _found(self, path: str) -> Extent | None:
        """A picture in the results, and nothing else: nothing hidden, and no link that leads out.

        path: of a file, or of a part of a shard, as shards/1.tar@START+SIZE.
        """
        part = _PART.fullmatch(path)
        name = part["shard"] if part else path
        try:
            file = (self._results / name).resolve(strict=part is None)
        except (OSError, RuntimeError, ValueError):
            return None  # it is not there, leads in a circle, or is no name
        is_hidden = any(one.startswith(".") for one in Path(name).parts)
        if is_hidden or not file.is_relative_to(self._results.resolve()):
            return None
        if part is not None:
            size = int(part["size"])
            return Extent(name, int(part["start"]), size) if size <= _LARGEST_PART_BYTES else None
        is_picture = file.suffix.lower() in IMAGE_KINDS and file.is_file()
        return Extent(name, None, file.stat().st_size) if is_picture else None


class _Process:
    """The viewer's process, and the requests that it has not answered yet."""

    def __init__(self, rows: dict[str, Any], loop: asyncio.AbstractEventLoop):
        self.is_over = False
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._numbers = count()
        self._process, self._channel = start_child("runner.run.viewer")
        self._channel.send("open", **rows)
        self._channel.listen(
            lambda message: loop.call_soon_threadsafe(self._hear, message),
            lambda: loop.call_soon_threadsafe(self._end),
        )

    async def ask(self, what: str, values: dict[str, Any]) -> str | None:
        """Ask it, and return its answer. Raises RunnerError."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send("ask", number=number, what=what, values=values)
            if self.is_over:
                self._end()
            told: str | None = await answer
            return told
        finally:
            del self._asked[number]

    def _hear(self, message: Message) -> None:
        answer = self._asked.get(message["number"])
        if answer is None or answer.done():
            return
        if message["is"] == "told":
            answer.set_result(message["told"])
        else:
            answer.set_exception(RunnerError(message["why"]))

    def _end(self) -> None:
        self.is_over = True
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(RunnerError("the process that computes this page has ended: try again"))

    def close(self) -> None:
        """End it; that closes all that it has open."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


def _bytes(text: str | None) -> bytes | None:
    return base64.b64decode(text) if text is not None else None


def tab_now(tab: ViewedSession, at_work: tuple[RenderJob, float] | None, now: float) -> Tab:
    """What a tab does. at_work: the job that it renders, and since when; now: by the monotonic clock."""
    job = at_work[0].key if at_work is not None else ""
    shots = tab.seen[0] if tab.seen is not None else 0
    kind, does = _does(tab, at_work, now)
    if tab.is_hidden or tab.held_s:
        held = f" (its timers come {tab.held_s:.1f} s late)" if tab.held_s else ""
        where = "hidden tab" if tab.is_hidden else "tab that its browser holds back"
        kind, does = "bad", f"{does}; {where}{held}, and browsers slow such tabs down: bring it to the front"
    return Tab(tab.id, tab.name, kind, does, job, shots)


def _does(tab: ViewedSession, at_work: tuple[RenderJob, float] | None, now: float) -> tuple[str, str]:
    if tab.refused:
        return "bad", f"cannot render: {tab.refused}"
    if tab.waits is not None:
        lacks, since = tab.waits
        return "wait", f"waiting for {', '.join(map(_short, lacks))} {now - since:.0f} s"
    if at_work is not None:
        job, since = at_work
        steps = f", step {job.steps_of[0] + 1} of {job.steps_of[1]}" if job.steps_of else ""
        lasts = f" for {now - since:.0f} s" if now - since >= _LONG_S else ""
        return "work", f"rendering{steps}{lasts}"
    if tab.owner.retired:
        return "wait", f"being replaced: {tab.owner.retired}"
    return "idle", "idle: no job is ready for it"


def _resting_told(state: str, left_s: float) -> tuple[str, str]:
    """kind and does, for a browser without a tab."""
    return ("wait" if state.startswith("starting") else "bad"), (
        f"{state}; another one is started in {left_s:.0f} s" if left_s >= 1.0 else state
    )


def _short(lack: str) -> str:
    """The last part of a URL, which people know it by."""
    return urlsplit(lack).path.rsplit("/", 1)[-1] or lack
