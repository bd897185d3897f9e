"""Computes the live page in a process of its own, so that it shares no interpreter with the rendering."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from runner.errors import RunnerError
from runner.job import Extent
from runner.reasons import error_line
from runner.run.channel import Channel, Message
from runner.run.thrift import Thrift
from runner.store import Access, Reader, Store

if TYPE_CHECKING:
    from runner.report import Summary
    from runner.results import Moved

__all__ = ["Viewer", "main"]

_Result = TypeVar("_Result")
# The rows are read at most so often, and less often if that takes long; the counts are read more often.
_LOOK_S, _COUNT_S = 10.0, 1.0
_LOOKS_SHARE, _PICTURES_SHARE, _PICTURES_AT_ONCE_S = 0.01, 0.01, 3.0
# A share of the room for texts in a page that is written to a file.
_ROOM = 0.15
_SMALL_WIDTH, _FRAME_WIDTH, _QUALITY, _KEPT_PICTURES = 224, 320, 72, 400
# The rendering comes first.
_NICE = 5


def main() -> None:
    """Called in the new process: CHANNEL, a number, is its argument."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    asyncio.run(_answer(Channel(socket.socket(fileno=int(sys.argv[1])))))
    # Do not wait for its threads: nobody needs their answers any more.
    os._exit(0)


async def _answer(channel: Channel) -> None:
    """Answer requests until nobody is there any more."""
    loop, over, answering = asyncio.get_running_loop(), asyncio.Event(), set[asyncio.Task[None]]()
    viewers: list[Viewer] = []

    async def answer(asked: Message) -> None:
        try:
            told = await viewers[0].answer(asked["what"], **asked["values"])
        except Exception as error:
            why = str(error) if isinstance(error, RunnerError) else error_line(error)
            await asyncio.to_thread(channel.send, "failed", number=asked["number"], why=why)
        else:
            await asyncio.to_thread(channel.send, "told", number=asked["number"], told=told)

    def hear(asked: Message) -> None:
        if asked["is"] == "open":
            # Not among the arguments, which all users of a machine can read: a database's address may hold a password.
            viewers.append(Viewer(asked["database"], asked["campaign_id"], Path(asked["results"])))
            return
        task = loop.create_task(answer(asked))
        answering.add(task)
        task.add_done_callback(answering.discard)

    channel.listen(
        lambda asked: loop.call_soon_threadsafe(hear, asked), lambda: loop.call_soon_threadsafe(over.set)
    )
    await over.wait()


@dataclass(frozen=True)
class _Look:
    """The page's data, also as JSON, and its number."""

    number: str
    data: dict[str, Any]
    text: str
    summary: Summary


class Viewer:
    """Answers about the rows and files of one campaign. database, results: where they are."""

    def __init__(self, database: str, campaign_id: int, results: Path):
        self._database, self._campaign_id, self._results = database, campaign_id, results
        self._moved: Moved | None = None
        self._reader: Reader | None = None
        self._opening = threading.Lock()
        self._store: Store | None = None
        self._looks = Thrift(_LOOKS_SHARE)
        self._pictures = Thrift(_PICTURES_SHARE, _PICTURES_AT_ONCE_S)
        self._moves = ThreadPoolExecutor(1, thread_name_prefix="runner-moves")
        self._look: _Look | None = None
        self._looking: asyncio.Task[None] | None = None
        self._look_due = self._count_due = 0.0
        self._counting: asyncio.Task[dict[str, Any]] | None = None
        self._small: OrderedDict[Extent, str] = OrderedDict()

    async def answer(self, what: str, **values: Any) -> str | None:
        """Call the method of that name, except this one."""
        asked: dict[str, Any] = {
            one.__name__: one for one in (self.page, self.news, self.small, self.part, self.shrunk, self.act)
        }
        told: str | None = await asked[what](**values)
        return told

    async def page(self, now: dict[str, Any]) -> str:
        """The whole page. now: the run's own state. Raises a RunnerError where the rows cannot be read."""
        from runner.report import to_html

        look = await self._newest()
        live = {"known": look.number, "now": await self._counts() | now}
        return await self._in_thread(lambda: to_html([look.data], [look.summary], live))

    async def news(self, known: str, now: dict[str, Any]) -> str:
        """The present counts as JSON, and the rows' part of the page if its number differs from that one."""
        look = await self._newest()
        told = json.dumps({"known": look.number, "now": await self._counts() | now}, allow_nan=False)
        return told if look.number == known else f'{told[:-1]}, "campaigns": [{look.text}]}}'

    async def small(self, path: str, start: int | None, size: int) -> str | None:
        """The picture at that place as a small JPEG, in base 64; None where it cannot be read."""
        from runner.results import small_jpeg

        extent = Extent(path, start, size)
        if extent not in self._small:
            read = self._reading(extent)

            def make() -> bytes | None:
                content = read()
                return None if content is None else small_jpeg(content, _SMALL_WIDTH, _QUALITY)

            made = await self._pictures.spend(make)
            if made is None:
                return None
            self._small[extent] = base64.b64encode(made).decode()
            while len(self._small) > _KEPT_PICTURES:
                self._small.popitem(last=False)
        return self._small[extent]

    async def part(self, path: str, start: int, size: int) -> str | None:
        """The bytes of that part of a shard, in base 64; None where they cannot be read."""
        content = await self._pictures.spend(self._reading(Extent(path, start, size)))
        return None if content is None else base64.b64encode(content).decode()

    def _reading(self, extent: Extent) -> Callable[[], bytes | None]:
        """Reads the bytes at that place; None unless all are there."""
        from runner.results import Stored, moved_of

        def read() -> bytes | None:
            if self._moved is None:
                self._moved = moved_of(self._opened_reader(), self._campaign_id)
            try:
                content = Stored.of(self._results, extent, self._moved).read_bytes()
            except OSError:
                return None
            return content if len(content) == extent.size else None

        return read

    async def shrunk(self, data: str) -> str | None:
        """A picture's bytes, in base 64, likewise."""
        from runner.results import small_jpeg

        content = base64.b64decode(data)
        made = await self._pictures.spend(lambda: small_jpeg(content, _FRAME_WIDTH, _QUALITY))
        return base64.b64encode(made).decode() if made is not None else None

    async def act(self, verb: str) -> str | None:
        """Pause, resume or retry; what was done, in words. None: there is no such verb."""
        acts = {"pause": self._pause, "resume": self._resume, "retry": self._retry}
        if verb not in acts:
            return None
        done = await self._in_thread(acts[verb])
        self._count_due = 0.0
        return done

    # -- looking -----------------------------------------------------------------------------------

    async def _newest(self) -> _Look:
        """The newest look at the rows; if it is old, another one is begun."""
        if self._looking is None or (self._looking.done() and time.monotonic() >= self._look_due):
            self._looking = asyncio.create_task(self._look_anew())
        if self._look is None:
            await asyncio.shield(self._looking)
        assert self._look is not None
        return self._look

    async def _look_anew(self) -> None:
        try:
            self._look = await self._looks.spend(self._looked)
        except Exception:
            # Errors of the first look go to those who wait for it; after later ones, the next look may succeed.
            if self._look is None:
                raise
        finally:
            self._look_due = time.monotonic() + _LOOK_S

    def _looked(self) -> _Look:
        from runner.report import page_of

        reader = self._opened_reader()
        page = page_of(reader, reader.campaign(self._campaign_id), _ROOM, is_live=True)
        data = page.to_json("file/") | {"small": "small/"}
        return _Look(str(time.time_ns()), data, json.dumps(data, allow_nan=False), page.summary)

    async def _counts(self) -> dict[str, Any]:
        """The progress; read at most once a second, however many ask."""
        if self._counting is None or (self._counting.done() and time.monotonic() >= self._count_due):
            self._count_due = time.monotonic() + _COUNT_S
            self._counting = asyncio.create_task(self._in_thread(self._counted))
        return await asyncio.shield(self._counting)

    def _counted(self) -> dict[str, Any]:
        reader = self._opened_store().reader
        counts = vars(reader.progress(self._campaign_id))
        state = reader.campaign(self._campaign_id)["state"]
        return counts | {"state": state, "at_ts": round(time.time(), 3)}

    # -- moves -------------------------------------------------------------------------------------

    def _pause(self) -> str:
        self._opened_store().set_state(self._campaign_id, "paused")
        return "is paused"

    def _resume(self) -> str:
        self._opened_store().set_state(self._campaign_id, "open")
        return "is open"

    def _retry(self) -> str:
        return f"has {self._opened_store().retry(self._campaign_id):,} failed jobs pending again"

    def _opened_reader(self) -> Reader:
        with self._opening:
            if self._reader is None:
                self._reader = Reader(self._database)
            return self._reader

    def _opened_store(self) -> Store:
        if self._store is None:
            self._store = Store(self._database, access=Access.CHANGE)
        return self._store

    async def _in_thread(self, act: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._moves, act)
