"""Starts browsers through Playwright's driver, each with a folder of its own, and chooses their rasterizer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from runner.browsers.browser import CLOSE_S, Browser, playwright_error
from runner.browsers.cards import PIN, Card, Driver, best_driver, find_cards, find_drivers, undrawn
from runner.browsers.find import HOW_TO_GET_ONE, find_browser
from runner.browsers.processes import FOLDER_PREFIX, LONGEST_TMPDIR, OWNER, end_folder, temporary_place
from runner.errors import BrowserError
from runner.machine import home_folder, own_folder, this_process
from runner.reasons import first_line
from runner.tabs import TabEnd

# egl: the system's OpenGL, on a GPU or in Mesa's software, which is faster than SwiftShader. swiftshader: Chromium's
# own software, offered only when it is named.
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
    # Otherwise V8 reads the client's megabytes again when the first stack is looked at, at each start.
    "--js-flags=--no-enable-lazy-source-positions",
    # Chromium takes only the last such list, so this one includes Playwright's. The omnibox's popups are pages of
    # their own (Chromium 156), with a process each: 150 MB, and more than half of the CPU time of a browser's
    # start.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,AvoidUnnecessaryBeforeUnloadCheckSync,"
    "DestroyProfileOnBrowserClose,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,LensOverlay,MediaRouter,"
    "PaintHolding,ThirdPartyStoragePartitioning,AvoidCorsURLLoaderRestartOnRedirect,OptimizationHints,"
    "NetworkTimeServiceQuerying,AimEnabled,PreconnectToSearch",
)
_NODE_CACHE = "NODE_COMPILE_CACHE"
# The names that WebGL gives to software renderers.
_SOFTWARE = ("swiftshader", "llvmpipe", "softpipe", "software", "basic render")


class Launcher:
    """Starts browsers through Playwright's driver, a process that they all depend on. It may die, too.

    folder: where the browsers have their folders; made by start, removed by stop.
    drivers: the files of EGL drivers that browsers are pinned to, one after the other; choose_rasterizer finds one
    where none is given, and there are several. flags: more of them for each browser.
    """

    def __init__(self, drivers: Sequence[str] = (), flags: Sequence[str] = ()) -> None:
        self.path = find_browser()
        self._flags = (*_FLAGS, *flags)
        self.folder = Path()
        self.drivers = tuple(drivers)
        self._cards: list[Card] = []
        self._installed: list[Driver] = []
        self._playwright: Any = None
        self._driver: Any = None
        self._alive = self._started = 0
        self._is_up = False
        self._preparing: asyncio.Task[None] | None = None
        self._probed: tuple[str, str, Browser] | None = None
        self._restarting = asyncio.Lock()

    def prepare(self, wanted: str) -> None:
        """Begin to start the driver, and a browser with the flags that choose_rasterizer is likely to choose.

        start waits for both, and tells what failed; a browser with other flags is closed when one is chosen.
        """
        self._preparing = asyncio.create_task(self._prepare(wanted))

    async def _prepare(self, wanted: str) -> None:
        await self._start()
        await self._look_for_cards()
        name = _best()[0] if wanted == "auto" else wanted
        driver = best_driver(self._cards, self._installed) if name == "egl" else ""
        self._probed = name, driver, await self._launch(name, driver)

    async def start(self) -> None:
        """Make the folder and start the driver, if that was not done yet. Raises BrowserError."""
        if self._preparing is not None:
            # What does not start ahead is tried again, and told, when it is needed.
            await asyncio.gather(self._preparing, return_exceptions=True)
        if not self._is_up:
            await self._start()

    async def _start(self) -> None:
        place = temporary_place()
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=place))
        except OSError as error:
            raise BrowserError(
                f"no folder for browsers can be made in {place} ({error}): name another in TMPDIR, "
                f"of at most {LONGEST_TMPDIR} characters"
            ) from error
        (self.folder / OWNER).write_text(json.dumps(vars(this_process())))
        try:
            await self._start_driver()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._is_up = True

    async def stop(self) -> None:
        """End the driver, and what is left of its browsers, if they were started."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.gather(self._preparing, return_exceptions=True)
        if not self._is_up:
            return
        self._is_up = False
        await self._stop_driver()
        await asyncio.to_thread(end_folder, self.folder)

    async def _look_for_cards(self) -> None:
        if not self._installed:
            self._cards, self._installed = await asyncio.to_thread(lambda: (find_cards(), find_drivers()))

    async def _start_driver(self) -> None:
        from playwright.async_api import async_playwright

        try:
            with _driver_environment(TMPDIR=str(self.folder), **self._home(), **_kept_compiled()):
                self._driver = async_playwright()
                self._playwright = await self._driver.start()
        except Exception as error:  # Playwright raises no class of its own
            raise BrowserError(
                f"Playwright's driver did not start ({error}); 'playwright --version' tries it, and on a "
                "bare Debian 'apt-get install libatomic1' installs what it lacks"
            ) from error

    def _home(self) -> dict[str, str]:
        """For a user of whom nothing is known but a number, as in some containers: Node would not start."""
        return {} if home_folder() else {"HOME": str(self.folder)}

    async def _stop_driver(self) -> None:
        # A killed driver may raise any error.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._playwright.stop(), CLOSE_S)
        _take_note_of_end(self._driver)

    async def launch(self, rasterizer: str, number: int = 0) -> Browser:
        """Start a browser with an empty tab, or take the one that was probed. Raises BrowserError.

        number: of the browser, from 0; it selects one of several drivers.
        """
        from playwright.async_api import Error

        driver = self._driver_of(rasterizer, number)
        probed = await self._take_probed(rasterizer, driver)
        if probed is not None:
            return probed
        try:
            return await self._launch(rasterizer, driver)
        except Error as error:
            reason = first_line(error)
        async with self._restarting:
            if not self._alive:
                # The driver may have died, and its browsers with it.
                await self._stop_driver()
                await self._start_driver()
        try:
            return await self._launch(rasterizer, driver)
        except Error:
            raise BrowserError(f"{self.path} did not start ({reason}): {HOW_TO_GET_ONE}") from None

    async def _launch(self, rasterizer: str, driver: str) -> Browser:
        self._started += 1
        spare = self.folder / str(self._started)
        try:
            for part in ("tmp", "config"):
                (spare / part).mkdir(parents=True)
        except OSError as error:
            raise BrowserError(f"a browser's folder cannot be made: {error}") from error
        places = {"XDG_CONFIG_HOME": str(spare / "config"), **self._home()}
        if len(str(spare / "tmp")) <= LONGEST_TMPDIR:
            places["TMPDIR"] = str(spare / "tmp")
        if driver:
            places[PIN] = driver
        started = None
        try:
            started = await self._playwright.chromium.launch(
                executable_path=self.path,
                args=[*RASTERIZERS[rasterizer], *self._flags],
                env=os.environ | places,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
            devtools = await started.new_browser_cdp_session()
            processes = (await devtools.send("SystemInfo.getProcessInfo"))["processInfo"]
            (process_id,) = [process["id"] for process in processes if process["type"] == "browser"]
            browser = Browser(started, devtools, process_id, spare)
            await browser.tab.open()
        except BaseException as error:
            if started is not None:
                with contextlib.suppress(playwright_error(), asyncio.TimeoutError):
                    await asyncio.wait_for(started.close(), CLOSE_S)
            await asyncio.to_thread(shutil.rmtree, spare, ignore_errors=True)
            if isinstance(error, (psutil.Error, asyncio.TimeoutError)):
                raise BrowserError("the browser ended, or stood still, while it started") from error
            raise
        self._alive += 1
        browser.ended.add_done_callback(self._on_ended)
        return browser

    def _on_ended(self, _ended: asyncio.Future[TabEnd]) -> None:
        self._alive -= 1

    async def choose_rasterizer(
        self, wanted: str, require_gpu: bool, say: Callable[[str], None], earlier: str = ""
    ) -> str:
        """The wanted rasterizer, or the best one here that has WebGL; says which.

        earlier: the renderer of this campaign's pictures so far, as WebGL names it. It is kept where it is available,
        because pictures of two renderers differ. Raises BrowserError when none has WebGL, when a GPU is required and
        none draws, and when a driver was given whose card does not draw.
        """
        await self._look_for_cards()
        if self.drivers:
            return await self._draw_with_each(say)
        self._pin("" if require_gpu else earlier, say)
        choice: tuple[str, ...] = _best() if wanted == "auto" else (wanted,)
        if earlier and "SwiftShader" in earlier:
            choice = tuple(sorted(choice, key=lambda name: name != "swiftshader"))
        for name in choice:
            renderer = await self._renderer_with(name)
            if name == "egl" and self.drivers and not self._draws(self.drivers[0], renderer):
                # Mesa's software is faster than Chromium's.
                self.drivers = ()
                renderer = await self._renderer_with(name)
            # Where EGL does not work, Chromium may silently take SwiftShader.
            if renderer and not (name == "egl" and "SwiftShader" in renderer):
                asked = wanted != "swiftshader" and not earlier
                idle = undrawn(self._cards, self._installed, renderer) if asked else ""
                self._tell(name, renderer, idle, require_gpu, say)
                return name
        raise BrowserError(
            f"{self.path} has no WebGL ({', '.join(choice)} tried), and nothing can be rendered without it: "
            "'--rasterizer swiftshader' works wherever Chromium does; on Debian, 'apt-get install libegl1 "
            "libgl1-mesa-dri' adds the faster 'egl'"
        )

    def _pin(self, earlier: str, say: Callable[[str], None]) -> None:
        """Pin the browsers to the best card's driver, unless another renderer drew the pictures so far."""
        driver = best_driver(self._cards, self._installed)
        if driver and earlier and not self._draws(driver, earlier):
            say(
                f"{self._cards[0].name} is here, but {earlier} drew the pictures so far, and is kept; --gpus all takes "
                "the card"
            )
        elif driver:
            self.drivers = (driver,)

    def _draws(self, driver: str, renderer: str) -> bool:
        """Whether a renderer of that name may be a card of this driver."""
        names = {one.name for one in self._installed if str(one.file) == driver}
        return any(card.driver in names and card.draws_as(renderer) for card in self._cards)

    def _tell(
        self, rasterizer: str, renderer: str, idle: str, require_gpu: bool, say: Callable[[str], None]
    ) -> None:
        """Say what draws, and which card is idle. Raises BrowserError without a GPU where one is required."""
        if is_software(renderer) and require_gpu:
            why = idle or (
                f"only {renderer}: check its driver and that this user may open /dev/dri (groups video and render)"
            )
            raise BrowserError(f"no GPU draws here, {why}, or leave out --require-gpu")
        kind = "with the GPU: "
        if is_software(renderer):
            kind = "in software: " if self._cards else "in software, no GPU was found: "
        say(f"rendering {kind}{renderer} (--rasterizer {rasterizer})")
        if idle:
            say(f"warning: {idle}")

    async def _draw_with_each(self, say: Callable[[str], None]) -> str:
        """Check that each driver's card draws. Raises BrowserError."""
        for number, driver in enumerate(self.drivers):
            renderer = await self._renderer_with("egl", number)
            if not self._draws(driver, renderer):
                names = {one.name for one in self._installed if str(one.file) == driver}
                cards = [card for card in self._cards if card.driver in names]
                idle = undrawn(cards, self._installed, renderer) or f"{driver} does not draw"
                raise BrowserError(f"{idle}; or leave out --gpus")
            say(f"rendering with the GPU: {renderer} (--gpus)")
        return "egl"

    async def _renderer_with(self, rasterizer: str, number: int = 0) -> str:
        """The renderer with these flags; '' without WebGL. Raises BrowserError where no browser starts."""
        for tries_left in (2, 1, 0):
            try:
                browser = await self.launch(rasterizer, number)
            except BrowserError:
                if not tries_left:
                    raise
                continue
            renderer = await browser.renderer()
            browser.look()
            if not browser.ended.done():
                self._probed = rasterizer, self._driver_of(rasterizer, number), browser
                return renderer
            await browser.close()
            # A browser that died meanwhile may have reported nothing.
            if renderer:
                return renderer
        return ""

    def _driver_of(self, rasterizer: str, number: int) -> str:
        """The file of the driver that this browser is pinned to, or ''."""
        return self.drivers[number % len(self.drivers)] if self.drivers and rasterizer == "egl" else ""

    async def _take_probed(self, rasterizer: str, driver: str) -> Browser | None:
        """The browser that was probed with these flags, if it lives; one with other flags is closed."""
        if self._probed is None:
            return None
        (*its_own, browser), self._probed = self._probed, None
        browser.look()
        if its_own == [rasterizer, driver] and not browser.ended.done():
            return browser
        await browser.close()
        return None


def _best() -> tuple[str, ...]:
    """The rasterizers to try here, the best one first."""
    return ("native", "swiftshader") if sys.platform == "darwin" else ("egl", "swiftshader")


def is_software(renderer: str) -> bool:
    """Whether a renderer of that name is software."""
    return any(part in renderer.lower() for part in _SOFTWARE)


def _take_note_of_end(driver: Any) -> None:
    """Playwright leaves its driver's end in a future that nobody asks, and asyncio would print it."""
    for holder in ("_connection", "_client"):
        transport = getattr(getattr(driver, holder, None), "_transport", None)
        future = getattr(transport, "on_error_future", None)
        if future is not None and future.done() and not future.cancelled():
            future.exception()


def _kept_compiled() -> dict[str, str]:
    """Has Node keep what it has compiled of the driver, which takes a quarter of the driver's start."""
    cache = own_folder("XDG_CACHE_HOME", ".cache")
    return {} if cache is None or _NODE_CACHE in os.environ else {_NODE_CACHE: str(cache / "driver")}


@contextlib.contextmanager
def _driver_environment(**places: str) -> Iterator[None]:
    """A driver that is started meanwhile gets these variables; this process's own environment is unchanged."""
    from playwright._impl import _driver

    real = _driver.get_driver_env
    users = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("playwright.") and vars(module).get("get_driver_env") is real
    ]
    for module in users:
        vars(module)["get_driver_env"] = lambda: real() | places
    try:
        yield
    finally:
        for module in users:
            vars(module)["get_driver_env"] = real
