"""Joiners, which keep browsers for a run on other machines: the lines to them, and the local owners of their tabs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import WSMsgType, web

from runner.errors import RunnerError, WorldFault
from runner.joining import (
    Came,
    Console,
    Ended,
    FromRun,
    Left,
    Over,
    Rendered,
    Retire,
    Settled,
    Standing,
    encode,
    from_joiner,
)
from runner.reasons import one_line
from runner.tabs import TabEnd, TabOwner

__all__ = ["Joiners", "Line"]

# The joiner may wait for a dying browser before it reports its end.
_END_S = 5.0
_STANDING_S = 2.0
_MOST_TABS, _MOST_UNTOLD = 256, 4096
_CONSOLE_LINES, _LONGEST_LINE, _LONGEST_REASON = 20, 500, 2000
_SAYS_OVER_S = 2.0


class _JoinedTab(TabOwner):
    """The local owner of a page in a tab of a joiner: reports how jobs end, and learns how the tab ends."""

    def __init__(self, tab_id: str, page: int, line: Line):
        self.tab_id, self.page, self.retired = tab_id, page, ""
        self.ended: asyncio.Future[TabEnd] = asyncio.get_running_loop().create_future()
        self.lines: list[str] = []
        self._line = line

    def came(self, refused: str) -> None:
        self._line.tell(Came(self.tab_id, refused))

    def left(self, reason: str) -> None:
        self._line.tell(Left(self.tab_id, self.page, reason))

    def rendered(self) -> None:
        self._line.tell(Rendered(self.tab_id))

    def settled(self, job_id: int, error: str, duration_s: float) -> None:
        self._line.tell(Settled(self.tab_id, job_id, one_line(error), duration_s))

    def retire(self, reason: str) -> None:
        self.retired = self.retired or reason
        self._line.tell(Retire(self.tab_id, reason))

    def console(self) -> list[str]:
        return self.lines

    async def end_of(self, reason: str) -> TabEnd:
        # The line may have broken, too: then nobody knows, and no job is charged.
        ends: set[asyncio.Future[TabEnd]] = {self.ended}
        await asyncio.wait(ends, timeout=_END_S)
        return self.ended.result() if self.ended.done() else TabEnd(reason)


class Line:
    """The line to one joiner. tabs: one for each connected page, by its number, until it is known how it ended."""

    def __init__(self, line_id: str):
        self.id = line_id
        self.tabs: dict[int, _JoinedTab] = {}
        self._pages = itertools.count(1)
        self._untold: asyncio.Queue[FromRun] = asyncio.Queue(_MOST_UNTOLD)

    def owner_of(self, name: str) -> TabOwner | None:
        """The owner for a page in the joiner's tab of that name; None if there are too many."""
        if len(self.tabs) >= _MOST_TABS:
            return None
        tab = _JoinedTab(name, next(self._pages), self)
        self.tabs[tab.page] = tab
        return tab

    def tell(self, message: FromRun) -> None:
        """Send it without waiting; a joiner that does not listen holds up nobody."""
        with contextlib.suppress(asyncio.QueueFull):
            self._untold.put_nowait(message)

    async def keep(self, socket: web.WebSocketResponse, on_message: Callable[[], None]) -> None:
        """Talk to the joiner until the line breaks. Raises ValueError for a message that makes no sense.

        on_message: called with each message that was read.
        """
        telling = asyncio.create_task(self._keep_telling(socket))
        try:
            async for message in socket:
                on_message()
                if message.type is WSMsgType.TEXT:
                    self._hear(message.data)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            for tab in self.tabs.values():
                if not tab.ended.done():
                    tab.ended.set_result(TabEnd("its joiner is gone"))

    async def told(self) -> None:
        """Wait until all was sent."""
        await self._untold.join()

    async def _keep_telling(self, socket: web.WebSocketResponse) -> None:
        while True:
            message = await self._untold.get()
            await socket.send_str(encode(message))
            self._untold.task_done()

    def _hear(self, text: str) -> None:
        message = from_joiner(text)
        if isinstance(message, Ended):
            ended = self.tabs.pop(message.page, None)
            if ended is not None and not ended.ended.done():
                ended.ended.set_result(TabEnd(one_line(message.reason, _LONGEST_REASON), message.is_crash))
        elif message is not None:
            for tab in self.tabs.values():
                if tab.tab_id == message.tab and isinstance(message, Console):
                    lines = message.lines[-_CONSOLE_LINES:]
                    tab.lines = [one_line(str(line), _LONGEST_LINE) for line in lines]
                elif tab.tab_id == message.tab and isinstance(message, Retire):
                    tab.retired = tab.retired or one_line(message.reason, _LONGEST_REASON)


class Joiners:
    """All joiners of one server. campaign: its name. renderer: of its pictures; standing: how far it is.

    is_over: they have been told that the run ends.
    """

    def __init__(
        self, campaign: str, renderer: Callable[[], str], standing: Callable[[], Awaitable[Standing]]
    ):
        self.campaign, self.renderer = campaign, renderer
        self.is_over = False
        self._standing = standing
        self._lines: dict[str, Line] = {}

    def owner_of(self, tab_id: str) -> TabOwner | None:
        """The owner of a joiner's tab, whose id begins with that of its line; None if there is no such line."""
        line_id, _, name = tab_id.partition(".")
        line = self._lines.get(line_id)
        return line.owner_of(name) if line is not None and name else None

    def open(self, line_id: str) -> Line | None:
        """A new line; None if there is one with that id, or the id is not valid."""
        if not (8 <= len(line_id) <= 64) or line_id in self._lines:
            return None
        line = self._lines[line_id] = Line(line_id)
        return line

    def forget(self, line: Line) -> None:
        """The line is over."""
        self._lines.pop(line.id, None)

    async def tell_standing(self) -> None:
        """Tell all of them now and then how far the campaign is; costs nothing while there is no joiner."""
        while True:
            if self._lines:
                # While the database is away, the run's fault is told as soon as it is back.
                with contextlib.suppress(WorldFault):
                    standing = await self._standing()
                    for line in self._lines.values():
                        line.tell(standing)
            await asyncio.sleep(_STANDING_S)

    async def say_over(self, reason: str, is_finished: bool) -> None:
        """The run ends: tell joiners how far the campaign is, and why."""
        self.is_over = True
        if not self._lines:
            return
        last: list[FromRun] = []
        # The database may be the reason for the run's end.
        with contextlib.suppress(RunnerError):
            last.append(await self._standing())
        last.append(Over(reason, is_finished))
        lines: Iterable[Line] = list(self._lines.values())
        for line in lines:
            for message in last:
                line.tell(message)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(line.told() for line in lines)), _SAYS_OVER_S)
