"""One headless browser (Playwright): found, started in a folder and process group of its own, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import psutil

from runner.errors import BrowserError
from runner.host import Identity, is_gone, this_process
from runner.tab import Tab

__all__ = ["RASTERIZERS", "Browser", "Ended", "Launcher", "end_orphans", "find_browser"]

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
    # Of two such lists the last counts, so Playwright's is in this one. The omnibox's popups are pages of their
    # own (Chromium 156), with a process each: 150 MB, and more than half of the CPU time of a browser's start.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,AvoidUnnecessaryBeforeUnloadCheckSync,"
    "DestroyProfileOnBrowserClose,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,LensOverlay,MediaRouter,"
    "PaintHolding,ThirdPartyStoragePartitioning,AvoidCorsURLLoaderRestartOnRedirect,OptimizationHints,"
    "NetworkTimeServiceQuerying,AimEnabled,PreconnectToSearch",
)
_HOW_TO_GET_ONE = (
    "install one with 'playwright install --with-deps chromium', or your system's own "
    "(Debian: apt-get install chromium), or name one in RUNNER_BROWSER; "
    "'runner run FILE --sessions 0' needs none and prints a link for your own browser"
)
_RENDERER = """(() => {
  const gl = document.createElement("canvas").getContext("webgl2");
  const info = gl && gl.getExtension("WEBGL_debug_renderer_info");
  return gl ? gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER) : "";
})()"""
# What WebGL names where no GPU draws.
_SOFTWARE = ("swiftshader", "llvmpipe", "softpipe", "software", "basic render")
_FOLDER = "runner-browsers-"
_OWNER = "owner.json"
_CLOSE_S, _DYING_S, _RENDERER_S = 5.0, 0.5, 20.0
# A Unix socket's path may hold 104 bytes (macOS; Linux 108), and Chromium's adds up to 46 to its temporary folder.
_LONGEST_TMPDIR = 58


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


class Ended(NamedTuple):
    """How a browser or its tab ended; is_crash: it died, rather than was closed or led away."""

    reason: str
    is_crash: bool


class Browser:
    """A headless browser with one tab.

    profile: the folder whose path is in the command line of each of its processes: so they are found
    again, whoever started them. spare: the folder with whatever else it writes.

    ended: done when the browser or its tab is.
    """

    def __init__(self, playwright_browser: Any, devtools: Any, process_id: int, spare: Path):
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.tab = Tab(
            devtools,
            on_crash=lambda: self.end("its tab crashed", is_crash=True),
            on_closed=self._on_tab_closed,
            on_address=self._on_address,
        )
        self.profile, self.spare = _profile_of(process_id), spare
        self._browser = playwright_browser
        self._process = psutil.Process(process_id)
        self._address = ""
        playwright_browser.on("disconnected", lambda _: self.end("the browser died", is_crash=True))

    def end(self, reason: str, is_crash: bool = False) -> None:
        """Tell that it is over; the first who says why is believed."""
        if not self.ended.done():
            self.ended.set_result(Ended(reason, is_crash))
        self.tab.give_up(reason)

    def _on_tab_closed(self) -> None:
        # A browser that dies closes its tabs on the way.
        self.look()
        asyncio.get_running_loop().call_later(_DYING_S, self._tell_of_closed_tab)

    def _tell_of_closed_tab(self) -> None:
        self.look()
        self.end("its tab was closed")

    def look(self) -> None:
        """See for oneself whether it lives: a driver that died with it tells nothing."""
        if not _is_alive(self._process):
            self.end("the browser died", is_crash=True)

    def _on_address(self, url: str) -> None:
        # On the way from one page to the next it is empty.
        if self._address and url and not url.startswith(self._address):
            self.end(f"its page went to {url:.100}")

    async def open(self, url: str) -> None:
        """Load the page. Raises BrowserError."""
        try:
            await self.tab.go(url)
        except asyncio.TimeoutError:
            raise BrowserError("its page did not load in time") from None
        except _playwright_error() as error:
            raise BrowserError(_first_line(error)) from None
        self._address = url.split("?")[0]

    async def renderer(self) -> str:
        """What draws, as WebGL names it; '' where there is no WebGL."""
        try:
            return await self.tab.evaluate(_RENDERER, _RENDERER_S) or ""
        except asyncio.TimeoutError:
            self.end("it stood still")
        except (BrowserError, _playwright_error()):
            pass
        return ""

    async def answers(self, limit_s: float) -> bool:
        """Whether the page's own thread does anything within that time."""
        try:
            await self.tab.evaluate("1", limit_s)
        except (BrowserError, _playwright_error()):
            # It loads itself anew, or is gone, which `ended` tells.
            return True
        except asyncio.TimeoutError:
            return False
        return True

    def stands_still(self) -> bool:
        """Whether one of its processes was stopped (SIGSTOP, a debugger)."""
        return any(_status(one) == psutil.STATUS_STOPPED for one in self._tree())

    def memory_bytes(self) -> int:
        """What its processes hold, shared pages by their share (Linux); elsewhere counted in full."""
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
            with contextlib.suppress(_playwright_error(), asyncio.TimeoutError):
                await asyncio.wait_for(self._browser.close(), _CLOSE_S)
        await asyncio.to_thread(_end_folder, self.profile)
        await asyncio.to_thread(shutil.rmtree, self.spare, ignore_errors=True)


def _hush_driver(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Playwright leaves its driver's end in a future that nobody asks, and asyncio would print it; it is known here."""
    if "reading from the driver" not in str(context.get("exception")):
        loop.default_exception_handler(context)


class Launcher:
    """Starts browsers by way of Playwright's driver: a process that they all depend on, and that may die too.

    folder: where the browsers have their folders; made by start, removed by stop.
    """

    def __init__(self) -> None:
        self.path = find_browser()
        self.folder = Path()
        self._playwright: Any = None
        self._alive = self._started = 0
        self._restarting = asyncio.Lock()

    async def start(self) -> None:
        """Make the folder and start the driver. Raises BrowserError."""
        asyncio.get_running_loop().set_exception_handler(_hush_driver)
        self.folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
        (self.folder / _OWNER).write_text(json.dumps(vars(this_process())))
        await self._start_driver()

    async def stop(self) -> None:
        """End the driver, and what is left of its browsers."""
        await self._stop_driver()
        await asyncio.to_thread(_end_folder, self.folder)

    async def _start_driver(self) -> None:
        from playwright.async_api import async_playwright

        try:
            with _temporary_folder(self.folder):
                self._playwright = await async_playwright().start()
        except Exception as error:  # Playwright has no class of its own for it
            raise BrowserError(
                f"Playwright's driver did not start ({error}); 'playwright --version' tries it, and on a "
                "bare Debian 'apt-get install libatomic1' gives it what it misses"
            ) from error

    async def _stop_driver(self) -> None:
        # A driver that was killed answers with whatever breaks first.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._playwright.stop(), _CLOSE_S)

    async def launch(self, rasterizer: str) -> Browser:
        """Start a browser with an empty tab. Raises BrowserError."""
        from playwright.async_api import Error

        try:
            return await self._launch(rasterizer)
        except Error as error:
            reason = _first_line(error)
        async with self._restarting:
            if not self._alive:
                # Then it may be the driver that died, and its browsers with it.
                await self._stop_driver()
                await self._start_driver()
        try:
            return await self._launch(rasterizer)
        except Error:
            raise BrowserError(f"{self.path} did not start ({reason}): {_HOW_TO_GET_ONE}") from None

    async def _launch(self, rasterizer: str) -> Browser:
        self._started += 1
        spare = self.folder / str(self._started)
        try:
            for part in ("tmp", "config"):
                (spare / part).mkdir(parents=True)
        except OSError as error:
            raise BrowserError(f"a browser's folder cannot be made: {error}") from error
        places = {"XDG_CONFIG_HOME": str(spare / "config")}
        if len(str(spare / "tmp")) <= _LONGEST_TMPDIR:
            places["TMPDIR"] = str(spare / "tmp")
        started = None
        try:
            started = await self._playwright.chromium.launch(
                executable_path=self.path,
                args=[*RASTERIZERS[rasterizer], *_FLAGS],
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
                with contextlib.suppress(_playwright_error(), asyncio.TimeoutError):
                    await asyncio.wait_for(started.close(), _CLOSE_S)
            await asyncio.to_thread(shutil.rmtree, spare, ignore_errors=True)
            if isinstance(error, (psutil.Error, asyncio.TimeoutError)):
                raise BrowserError("the browser ended, or stood still, while it started") from error
            raise
        self._alive += 1
        browser.ended.add_done_callback(self._on_ended)
        return browser

    def _on_ended(self, _ended: asyncio.Future) -> None:
        self._alive -= 1

    async def choose_rasterizer(
        self, wanted: str, require_gpu: bool, say: Callable[[str], None], earlier: str = ""
    ) -> str:
        """The first of the best rasterizers here that has WebGL, or the one that is wanted; says which.

        earlier: what drew this campaign's pictures so far, as WebGL names it; where it is here again, it
        goes on, because pictures of two renderers differ.
        Raises BrowserError when none has, and when a GPU is required and none draws.
        """
        best = ("native", "swiftshader") if sys.platform == "darwin" else ("egl", "swiftshader")
        choice = best if wanted == "auto" else (wanted,)
        if earlier and "SwiftShader" in earlier:
            choice = tuple(sorted(choice, key=lambda name: name != "swiftshader"))
        for name in choice:
            renderer = await self._renderer_with(name)
            is_software = any(part in renderer.lower() for part in _SOFTWARE)
            # Where EGL does not work, Chromium may take SwiftShader without a word.
            if renderer and not (name == "egl" and "SwiftShader" in renderer):
                if is_software and require_gpu:
                    raise BrowserError(
                        f"no GPU draws here, only {renderer}: check its driver and that this user may open "
                        "/dev/dri (groups video and render), or leave out --require-gpu"
                    )
                kind = "in software, no GPU was found: " if is_software else "with the GPU: "
                say(f"rendering {kind}{renderer} (--rasterizer {name})")
                return name
        raise BrowserError(
            f"{self.path} has no WebGL ({', '.join(choice)} tried), and nothing can be rendered without it: "
            "'--rasterizer swiftshader' works wherever Chromium does; on Debian, 'apt-get install libegl1 "
            "libgl1-mesa-dri' adds the faster 'egl'"
        )

    async def _renderer_with(self, rasterizer: str) -> str:
        """What draws with these flags; '' where there is no WebGL. Raises BrowserError where none starts."""
        for tries_left in (2, 1, 0):
            try:
                browser = await self.launch(rasterizer)
            except BrowserError:
                if not tries_left:
                    raise
                continue
            try:
                renderer = await browser.renderer()
                browser.look()
                # One that died meanwhile has told nothing.
                if renderer or not browser.ended.done():
                    return renderer
            finally:
                await browser.close()
        return ""


def end_orphans() -> int:
    """End what is left of the browsers of runners that are gone, and remove their folders; returns how many folders."""
    count = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        try:
            is_mine = folder.stat().st_uid == os.getuid()
            owner = Identity(**json.loads((folder / _OWNER).read_text()))
            is_left = is_gone(owner)
        except (OSError, ValueError, TypeError):
            # Killed before it could write who it is; a living one does so at once.
            is_left = folder.exists() and time.time() - folder.stat().st_mtime > 3600.0
        if is_mine and is_left:
            _end_folder(folder)
            count += 1
    return count


@contextlib.contextmanager
def _temporary_folder(folder: Path) -> Iterator[None]:
    """Processes that are started meanwhile put what is temporary there: the driver, its browsers' profiles."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["TMPDIR"]
        if before is not None:
            os.environ["TMPDIR"] = before


def _playwright_error() -> type[Exception]:
    from playwright.async_api import Error

    return Error


def _profile_of(process_id: int) -> Path:
    for word in psutil.Process(process_id).cmdline():
        if word.startswith("--user-data-dir="):
            return Path(word.partition("=")[2])
    raise BrowserError("the browser has no profile of its own")


def _end_folder(folder: Path) -> None:
    """Kill all processes that work in the folder, and remove it."""
    while found := _processes_in(folder):
        for one in found:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(found, timeout=1.0)
    shutil.rmtree(folder, ignore_errors=True)


def _processes_in(folder: Path) -> list[psutil.Process]:
    own = os.getpid()
    return [
        one
        for one in psutil.process_iter()
        if str(folder) in _command(one) and one.pid != own and _is_alive(one)
    ]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _status(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.Error:
        return psutil.STATUS_DEAD


def _is_alive(process: psutil.Process | None) -> bool:
    return process is not None and process.is_running() and _status(process) != psutil.STATUS_ZOMBIE


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
