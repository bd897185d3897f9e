"""The headless browsers that a run starts itself (Playwright): found, started, watched and replaced."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Awaitable, Callable

from runner.errors import BrowserError

__all__ = ["RASTERIZERS", "BrowserPool", "find_browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
# What draws. egl: the system's OpenGL, a GPU or Mesa's software one, which is faster than SwiftShader;
# swiftshader: what Chromium brings along, and offers only when it is named.
RASTERIZERS = {
    "egl": ("--use-angle=gl-egl", "--ignore-gpu-blocklist"),
    "swiftshader": ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    "native": ("--ignore-gpu-blocklist",),
}
_FLAGS = (
    "--force-device-scale-factor=1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_HOW_TO_GET_ONE = (
    "install one with 'playwright install --with-deps chromium', or your system's own "
    "(Debian: apt-get install chromium), or name one in RUNNER_BROWSER; "
    "'runner run FILE --sessions 0' needs none and prints a link for your own browser"
)
_RENDERER = """() => {
  const gl = document.createElement("canvas").getContext("webgl2");
  const info = gl && gl.getExtension("WEBGL_debug_renderer_info");
  return gl ? gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER) : "";
}"""
_CONNECT_S = 60.0
_RECONNECT_S = 15.0
_GIVE_UP_AFTER = 3


def find_browser() -> str:
    """The path of the browser to use: RUNNER_BROWSER, else the system's Chromium or Chrome, else Playwright's.

    Raises BrowserError, saying how to get one, when there is none.
    """
    named = os.environ.get("RUNNER_BROWSER")
    if named:
        path = shutil.which(named)
        if path is None:
            raise BrowserError(f"RUNNER_BROWSER names {named!r}, which is no program")
        return path
    for name in _NAMES:
        path = shutil.which(name)
        if path:
            return path
    if _MAC.exists():
        return str(_MAC)
    own = _playwright_browser()
    if own:
        return own
    raise BrowserError(f"no browser was found: {_HOW_TO_GET_ONE}")


def _playwright_browser() -> str | None:
    """The Chromium that 'playwright install' has put into its folder; the newest one."""
    folder = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    folders = [Path(folder)] if folder else []
    folders += [Path.home() / ".cache/ms-playwright", Path.home() / "Library/Caches/ms-playwright"]
    patterns = (
        "chromium-*/chrome-linux*/chrome",
        "chromium-*/chrome-mac*/Chromium.app/Contents/MacOS/Chromium",
        "chromium_headless_shell-*/chrome-*/headless_shell",
        "chromium_headless_shell-*/chrome-*/chrome-headless-shell",
    )
    for root in folders:
        for pattern in patterns:
            found = sorted(root.glob(pattern), key=lambda path: path.stat().st_mtime)
            if found:
                return str(found[-1])
    return None


class BrowserPool:
    """Keeps `count` headless browsers at work, each with one tab, and replaces those that end.

    link: gives the address for a tab of that name.
    connected: waits for the session of that name and returns it; it has a `closed` future.
    say: takes a line for people.
    rasterizer: one of RASTERIZERS, or 'auto' for the best that works here; pictures of two of them
    differ in some pixels.
    """

    def __init__(
        self,
        count: int,
        link: Callable[[str], str],
        connected: Callable[[str], Awaitable[Any]],
        say: Callable[[str], None],
        rasterizer: str = "auto",
    ):
        self._count, self._link, self._connected, self._say = count, link, connected, say
        self._path = find_browser() if count else ""
        self._playwright: Any = None
        self._rasterizer = rasterizer

    async def run(self) -> None:
        """Keep the browsers at work until cancelled. Raises BrowserError when they cannot be started."""
        from playwright.async_api import async_playwright

        try:
            self._playwright = await async_playwright().start()
        except Exception as error:  # Playwright has no class of its own for it
            raise BrowserError(
                f"Playwright's driver did not start ({error}); 'playwright --version' tries it, and on a "
                "bare Debian 'apt-get install libatomic1' gives it what it misses"
            ) from error
        self._rasterizer = await self._choose_rasterizer()
        slots = [asyncio.create_task(self._keep_one(slot)) for slot in range(1, self._count + 1)]
        try:
            await asyncio.gather(*slots)
        finally:
            for slot in slots:
                slot.cancel()
            await asyncio.gather(*slots, return_exceptions=True)
            await self._playwright.stop()

    async def _choose_rasterizer(self) -> str:
        """The first that has WebGL here. Raises BrowserError when none has."""
        best = ("native", "swiftshader") if sys.platform == "darwin" else ("egl", "swiftshader")
        choice = best if self._rasterizer == "auto" else (self._rasterizer,)
        for name in choice:
            renderer = await self._probe(name)
            # Where EGL does not work, Chromium may take SwiftShader without a word.
            if renderer and not (name == "egl" and "SwiftShader" in renderer):
                self._say(f"rendering with {renderer} (--rasterizer {name})")
                return name
        raise BrowserError(
            f"{self._path} has no WebGL ({', '.join(choice)} tried), and nothing can be rendered without it: "
            "'--rasterizer swiftshader' works wherever Chromium does; on Debian, 'apt-get install libegl1 "
            "libgl1-mesa-dri' adds the faster 'egl'"
        )

    async def _probe(self, rasterizer: str) -> str:
        """What draws with these flags, as WebGL names it; nothing where there is no WebGL."""
        from playwright.async_api import Error

        browser = await self._launch(rasterizer)
        try:
            page = await browser.new_page()
            return await page.evaluate(_RENDERER)
        except Error:
            return ""
        finally:
            await _close(browser)

    async def _keep_one(self, slot: int) -> None:
        fruitless = start = 0
        while True:
            start += 1
            name = f"browser-{slot}" if start == 1 else f"browser-{slot}.{start}"
            try:
                reason = await self._one_life(name)
                fruitless = 0
            except BrowserError as error:
                fruitless += 1
                reason = str(error)
                if fruitless >= _GIVE_UP_AFTER:
                    raise
            self._say(f"{name} ended ({reason}); starting another")

    async def _one_life(self, name: str) -> str:
        """Start one browser, see its page connect, and wait for its end; returns why it ended."""
        from playwright.async_api import Error

        browser = await self._launch(self._rasterizer)
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        browser.on("disconnected", lambda _: ended.done() or ended.set_result("the browser died"))
        try:
            page = await browser.new_page(viewport={"width": 320, "height": 240})
            page.on("crash", lambda _: ended.done() or ended.set_result("its tab crashed"))
            await page.goto(self._link(name), wait_until="commit")
            if not await page.evaluate("!!document.createElement('canvas').getContext('webgl2')"):
                raise BrowserError(f"{self._path} has no WebGL, and nothing can be rendered without it")
            session = await self._connection(name, ended, _CONNECT_S)
            if session is None:
                reason = ended.result() if ended.done() else f"no connection within {_CONNECT_S:.0f} s"
                raise BrowserError(f"{name}: {reason}")
            if session.refused:
                raise BrowserError(f"{name}: {session.refused}")
            # A page that worked may be refused later: without WebGL, once the GPU process has died.
            while session is not None and not session.refused:
                reason = await asyncio.shield(session.closed)
                # A page that lost its connection, or was told to, loads itself anew.
                session = await self._connection(name, ended, _RECONNECT_S)
            return ended.result() if ended.done() else session.refused if session else reason
        except Error as error:
            raise BrowserError(f"{name}: {error.message.strip().splitlines()[0]}") from None
        finally:
            await _close(browser)

    async def _launch(self, rasterizer: str) -> Any:
        from playwright.async_api import Error

        try:
            return await self._playwright.chromium.launch(
                executable_path=self._path,
                args=[*RASTERIZERS[rasterizer], *_FLAGS],
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
        except Error as error:
            reason = error.message.strip().split("\n")[0]
            raise BrowserError(f"{self._path} did not start ({reason}): {_HOW_TO_GET_ONE}") from None

    async def _connection(self, name: str, ended: asyncio.Future, limit_s: float) -> Any | None:
        """The session of the page of that name; None when the browser ended first, or the time."""
        connected = asyncio.ensure_future(self._connected(name))
        await asyncio.wait({connected, ended}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if connected.done():
            return connected.result()
        connected.cancel()
        return None


async def _close(browser: Any) -> None:
    from playwright.async_api import Error

    try:
        await asyncio.wait_for(browser.close(), 10.0)
    except (Error, asyncio.TimeoutError):
        pass
