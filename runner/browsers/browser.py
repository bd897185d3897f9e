"""One headless browser with one tab: opened, asked, watched and ended."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from pathlib import Path
from typing import Any

import psutil

from runner.browsers.processes import end_folder, is_alive, profile_of, status_of
from runner.browsers.tab import Tab
from runner.errors import BrowserError
from runner.reasons import first_line
from runner.tabs import TabEnd

_RENDERER = """(() => {
  const gl = document.createElement("canvas").getContext("webgl2");
  const info = gl && gl.getExtension("WEBGL_debug_renderer_info");
  return gl ? gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER) : "";
})()"""
CLOSE_S, _DYING_S, _RENDERER_S = 5.0, 0.5, 20.0


class Browser:
    """A headless browser with one tab.

    profile: its folder. Each of its processes has this path in its command line, and is found by it. spare: the folder
    for all else that it writes.

    tab_id: random; its tab is known by it. ended: a future, done when the browser or its tab has ended.
    """

    def __init__(self, playwright_browser: Any, devtools: Any, process_id: int, spare: Path):
        self.tab_id = secrets.token_urlsafe(12)
        self.ended: asyncio.Future[TabEnd] = asyncio.get_running_loop().create_future()
        self.tab = Tab(
            devtools,
            on_crash=lambda: self.end("its tab crashed", is_crash=True),
            on_closed=self._on_tab_closed,
            on_address=self._on_address,
        )
        self.profile, self.spare = profile_of(process_id), spare
        self._browser = playwright_browser
        self._process = psutil.Process(process_id)
        self._address = ""
        playwright_browser.on("disconnected", lambda _: self.end("the browser died", is_crash=True))

    def end(self, reason: str, is_crash: bool = False) -> None:
        """Note that it is over. The first reason given counts."""
        if not self.ended.done():
            self.ended.set_result(TabEnd(reason, is_crash))
        self.tab.give_up(reason)

    def _on_tab_closed(self) -> None:
        # A dying browser closes its tabs first.
        self.look()
        asyncio.get_running_loop().call_later(_DYING_S, self._tell_of_closed_tab)

    def _tell_of_closed_tab(self) -> None:
        self.look()
        self.end("its tab was closed")

    def look(self) -> None:
        """Check whether it lives. A driver that died with it reports nothing."""
        if not is_alive(self._process):
            self.end("the browser died", is_crash=True)

    def _on_address(self, url: str) -> None:
        # Between two pages the URL is empty.
        if self._address and url and not url.startswith(self._address):
            self.end(f"its page went to {url:.100}")

    async def open(self, url: str) -> None:
        """Load the page. Raises BrowserError."""
        try:
            await self.tab.go(url)
        except asyncio.TimeoutError:
            raise BrowserError("its page did not load in time") from None
        except playwright_error() as error:
            raise BrowserError(first_line(error)) from None
        self._address = url.split("?")[0]

    async def renderer(self) -> str:
        """The renderer's name, as WebGL gives it; '' without WebGL."""
        try:
            return await self.tab.evaluate(_RENDERER, _RENDERER_S) or ""
        except asyncio.TimeoutError:
            self.end("it stood still")
        except (BrowserError, playwright_error()):
            pass
        return ""

    async def answers(self, limit_s: float) -> bool:
        """Whether the page's main thread answers within that time."""
        try:
            await self.tab.evaluate("1", limit_s)
        except (BrowserError, playwright_error()):
            # The page is reloading, or is gone; `ended` says so.
            return True
        except asyncio.TimeoutError:
            return False
        return True

    def stands_still(self) -> bool:
        """Whether one of its processes was stopped (SIGSTOP, a debugger)."""
        return any(status_of(one) == psutil.STATUS_STOPPED for one in self._tree())

    def memory_bytes(self) -> int:
        """The memory of its processes. On Linux shared pages count by each one's share, elsewhere in full."""
        total = 0
        for one in self._tree():
            with contextlib.suppress(psutil.Error):
                facts = one.memory_full_info()
                total += getattr(facts, "pss", facts.rss)
        return total

    def _tree(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return [self._process, *self._process.children(recursive=True)]
        return []

    async def close(self) -> None:
        """End it, whatever state it is in, and remove its folders."""
        if not self.ended.done():
            self.end("it was closed")
            with contextlib.suppress(playwright_error(), asyncio.TimeoutError):
                await asyncio.wait_for(self._browser.close(), CLOSE_S)
        await asyncio.to_thread(end_folder, self.profile)
        await asyncio.to_thread(shutil.rmtree, self.spare, ignore_errors=True)


def playwright_error() -> type[Exception]:
    from playwright.async_api import Error

    return Error
