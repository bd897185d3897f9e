"""Everything that a browser can die of, with real browsers: seen, survived, named, and charged to whom it should be."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sqlite3
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from campaigns import PACED, assert_whole, write_colors
from workers import WorkerThread

from runner.browsers import Browser, BrowserPool, Launcher, Limits
from runner.browsers.pool import _Life
from runner.browsers.record import Record
from runner.browsers.tab import Tab
from runner.campaign import load_campaign
from runner.errors import BrowserError
from runner.machine import own_folder
from runner.run import RunOptions, one_run, run_campaign, worker
from runner.store import Store

pytestmark = pytest.mark.usefixtures("browser_path")

# Lets a test take the contexts of a page away, as a driver's reset does.
REMEMBER_CONTEXTS = """
window.__contexts = [];
for (const Canvas of [HTMLCanvasElement, OffscreenCanvas]) {
  const real = Canvas.prototype.getContext;
  Canvas.prototype.getContext = function () {
    const context = real.apply(this, arguments);
    if (context && context.getExtension) window.__contexts.push(context);
    return context;
  };
}
"""
LOSE_CONTEXTS = "window.__contexts.forEach((gl) => gl.getExtension('WEBGL_lose_context')?.loseContext())"


class Night:
    """Runs a campaign in this process, so that its browsers can be laid hands on. It is in this folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder = folder
        self._monkeypatch = monkeypatch

    def __call__(self, deed, count=120, policy="", body="pass", **options) -> int:
        """Run it while deed(pool) goes on; returns the exit status."""
        troubles = []

        class Haunted(BrowserPool):
            async def run(self, doors):
                self.doors = doors
                real_launch = self._launcher.launch

                async def launch(rasterizer, *number):
                    browser = await real_launch(rasterizer, *number)
                    await browser.tab.send("Page.enable")
                    await browser.tab.send("Page.addScriptToEvaluateOnNewDocument", source=REMEMBER_CONTEXTS)
                    return browser

                self._launcher.launch = launch

                async def haunt():
                    try:
                        await deed(self)
                    except Exception as error:
                        troubles.append(error)

                haunting = asyncio.create_task(haunt())
                try:
                    await super().run(doors)
                finally:
                    haunting.cancel()
                    await asyncio.gather(haunting, return_exceptions=True)

        self._monkeypatch.setattr(worker, "BrowserPool", Haunted)
        self._monkeypatch.setattr(one_run, "WorkerProcess", WorkerThread)
        handlers = {
            number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        file = write_colors(self.folder, count, body, policy)
        settings = {"sessions": 1} | options
        places = {"database": str(self.folder / "runner.db"), "results": self.folder / "results"}
        try:
            status = run_campaign(load_campaign(file, {}), RunOptions(**places, **settings))
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if troubles:
            raise troubles[0]
        return status


@pytest.fixture
def night(tmp_path, monkeypatch) -> Night:
    return Night(tmp_path, monkeypatch)


async def until(fact, what: str, limit_s: float = 60.0):
    """Wait until fact() is true, and return it."""
    for _ in range(int(limit_s / 0.02)):
        value = fact()
        if value:
            return value
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited {limit_s:.0f} s in vain for {what}")


def done_in(folder) -> int:
    with contextlib.closing(sqlite3.connect(folder / "runner.db")) as connection:
        return connection.execute("SELECT done FROM campaign").fetchone()[0]


def processes(browser: Browser, kind: str = "") -> list[psutil.Process]:
    """The browser's processes of that kind; its first one for ''."""
    if not kind:
        return [browser._process]
    found = []
    for one in browser._tree():
        # It may be gone by now.
        with contextlib.suppress(psutil.Error):
            if f"--type={kind}" in " ".join(one.cmdline()):
                found.append(one)
    return found


@pytest.fixture(scope="module")
def drained(tmp_path_factory, full_browser) -> SimpleNamespace:
    """A night that was drained after some jobs. names: of its browsers; pages: what their processes were started by."""
    folder = tmp_path_factory.mktemp("drained")
    names, pages = set(), []

    async def deed(pool):
        await until(lambda: done_in(folder) >= 5, "some jobs")
        pages.extend(
            " ".join(one.cmdline()) for one in processes(pool._lives["browser-1"].browser, "renderer")
        )
        pool.drain("it is enough")
        names.update(pool._lives)
        await until(lambda: not pool._lives, "the end")

    with pytest.MonkeyPatch.context() as monkeypatch:
        # It alone has pages of its own.
        monkeypatch.setenv("RUNNER_BROWSER", full_browser)
        Night(folder, monkeypatch)(deed)
    return SimpleNamespace(folder=folder, names=names, pages=pages)


@pytest.mark.xdist_group("drained")
def test_a_pool_that_is_drained_ends_with_the_jobs_that_it_has(drained):
    """None is broken off, and no browser takes the place of one that has ended."""
    assert drained.names == {"browser-1"} and 5 <= done_in(drained.folder) < 120
    with Store(drained.folder / "runner.db") as store:
        assert not store.reader.attempts(1) and store.reader.progress(1).in_progress == 0
        assert [row["name"] for row in store.reader.sessions(1)] == ["browser-1"]


@pytest.mark.xdist_group("drained")
def test_a_browser_has_no_pages_but_ours(drained):
    """Chromium's own, each with a process, would take more to start than the page that renders."""
    assert drained.pages and not [command for command in drained.pages if "webui" in command]


async def nothing(pool):
    """Let the night be quiet."""


def kill(kind: str = ""):
    async def deed(pool, browser):
        for one in processes(browser, kind):
            with contextlib.suppress(psutil.Error):
                one.kill()

    return deed


def stop(kind: str = ""):
    async def deed(pool, browser):
        for one in processes(browser, kind) if kind else browser._tree():
            one.suspend()

    return deed


def evaluate(script: str):
    async def deed(pool, browser):
        # Some of these never answer, or end the tab before they could.
        with contextlib.suppress(asyncio.TimeoutError, BrowserError):
            await browser.tab.evaluate(script, 0.5)

    return deed


async def close_tab(pool, browser):
    await browser.tab.close()


async def cut_websocket(pool, browser):
    for session in pool.doors.sessions:
        session._socket._req.transport.abort()


async def kill_driver(pool, browser):
    for one in psutil.Process().children():
        # Others may end meanwhile.
        with contextlib.suppress(psutil.Error):
            if "playwright" in " ".join(one.cmdline()):
                one.kill()


# What happens, how the report names it ('' where the browser goes on), what the job in flight is charged
# with.
DEATHS = {
    "browser killed": (kill(), "the browser died", "crashed"),
    "renderer killed": (kill("renderer"), "its tab crashed", "crashed"),
    # Between two pictures its contexts are restored, and nothing was lost.
    "gpu process killed": (kill("gpu-process"), "WebGL|", "released"),
    "driver killed": (kill_driver, "the browser died", "crashed"),
    "browser stopped": (stop(), "it stood still", "released"),
    "renderer stopped": (stop("renderer"), "it stood still", "released"),
    "tab closed": (close_tab, "its tab was closed", "released"),
    "context lost": (evaluate(LOSE_CONTEXTS), "WebGL context was lost", "released"),
    "page led away": (evaluate("location.href = 'about:blank'"), "its page went to about:blank", "released"),
    "websocket cut": (cut_websocket, "", "released"),
    "error loop": (evaluate("setInterval(() => { throw new Error('again') }, 0)"), "", None),
}


# Each befalls a job of its own. Between two of them others are rendered.
HELD = {20 + 10 * place: death for place, death in enumerate(DEATHS)}


def held(folder: Path) -> str:
    """What a render does so that the first attempt at each of these takes pictures until its gate is there."""
    return f"""
    import pathlib
    gate = pathlib.Path({str(folder)!r}) / f"gate-{{job.params['number']}}"
    while job.params["number"] in {sorted(HELD)} and job.attempt == 1 and not gate.exists():
        frame = await session.grab("ego")
        await asyncio.sleep(0.02)"""


def is_in_flight(folder: Path, number: int) -> bool:
    with contextlib.closing(sqlite3.connect(folder / "runner.db")) as connection:
        query = f"SELECT 1 FROM job WHERE status = 'in_progress' AND params LIKE '%:{number}}}'"
        return connection.execute(query).fetchone() is not None


@dataclass
class Death:
    """What came of one: the events of browsers, and how the attempts at its job ended and were charged."""

    events: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    charges: int = 0


@pytest.fixture(scope="module")
def deaths(tmp_path_factory) -> dict[str, Death]:
    """All of them, one after the other, in one run with one session; each has its job done, uncharged but for that."""
    folder = tmp_path_factory.mktemp("deaths")
    count = max(HELD) + 20
    began_ts: dict[str, float] = {}

    async def haunt(pool):
        for number, death in HELD.items():
            deed, name, _ = DEATHS[death]
            # That it comes so far tells that the campaign went on after the one before.
            await until(lambda number=number: is_in_flight(folder, number), f"job {number} to be in flight")
            (life,) = pool._lives.values()
            began_ts[death] = time.time()
            await deed(pool, life.browser)
            if name and not name.endswith("|"):
                await until(life.browser.ended.done, "the end of the browser", 20)
            else:
                await asyncio.sleep(1.0)
            (folder / f"gate-{number}").touch()

    with pytest.MonkeyPatch.context() as monkeypatch:
        assert Night(folder, monkeypatch)(haunt, count=count, body=held(folder)) == 0
    assert_whole(folder, count)
    with Store(folder / "runner.db") as store:
        jobs = {row["params"]["number"]: row for row in store.reader.jobs(1)}
        attempts = store.reader.attempts(1)
        events = [event for event in store.reader.events(1) if event["kind"] == "browser"]
    assert {row["key"] for row in attempts} <= {jobs[number]["key"] for number in HELD}
    found = {death: Death() for death in DEATHS}
    for event in events:
        *_, death = [death for death in DEATHS if began_ts[death] <= event["ts"]]
        found[death].events.append(event["message"])
    for number, death in HELD.items():
        job = jobs[number]
        found[death].outcomes += [row["outcome"] for row in attempts if row["key"] == job["key"]]
        found[death].charges = job["failures"] + job["crashes"]
    return found


@pytest.mark.xdist_group("deaths")
@pytest.mark.parametrize("death", DEATHS)
def test_a_death_is_survived_named_and_charged_to_whom_it_should_be(deaths, death):
    """The job in flight goes back, the browser is replaced, the campaign goes on, and the report names it."""
    _, name, charge = DEATHS[death]
    found = deaths[death]
    expected = [charge] if charge else []
    if name.endswith("|"):
        # Between two pictures nothing was lost, and nobody noticed.
        assert found.outcomes in ([], expected) and len(found.events) == len(found.outcomes)
    else:
        assert found.outcomes == expected and len(found.events) == bool(name), found
    assert all(name.removesuffix("|") in event for event in found.events), found
    assert found.charges == (charge == "crashed")


def test_a_page_that_hangs_is_replaced(tmp_path, night):
    """An endless loop in the page costs its job an attempt's time, and no more than that."""

    async def haunt(pool):
        await until(lambda: done_in(tmp_path) >= 5, "the first done jobs")
        await evaluate("for (;;) {}")(pool, pool._lives["browser-1"].browser)

    assert night(haunt, count=40, body=PACED, policy=", timeout_s=4") == 0
    assert_whole(tmp_path, 40)
    with Store(tmp_path / "runner.db") as store:
        assert [event["message"] for event in store.reader.events(1)] == ["its page stood still"]
        (attempt,) = store.reader.attempts(1)
        assert attempt["error"].startswith("TimeoutError: no end after 4 s, at ")


def test_the_first_page_has_the_machine_for_itself_until_it_is_ready(tmp_path, night, monkeypatch):
    """The first picture, or mistake, comes sooner; all browsers together are ready as soon as before."""
    started = []
    real = BrowserPool._one_life

    async def one_life(pool, name, *arguments):
        started.append((name, pool._has_worked))
        return await real(pool, name, *arguments)

    monkeypatch.setattr(BrowserPool, "_one_life", one_life)
    monkeypatch.setattr("runner.browsers.pool._AHEAD_S", 60.0)
    assert night(nothing, count=30, body=PACED, sessions=2) == 0
    assert started == [("browser-1", False), ("browser-2", True)]
    assert_whole(tmp_path, 30)


def test_a_browser_is_recycled_after_so_many_renders(tmp_path, night):
    """Between two jobs: no attempt ends badly, and each browser renders no more than that."""
    assert night(nothing, count=20, limits=Limits(renders=15)) == 0
    assert_whole(tmp_path, 20)
    with Store(tmp_path / "runner.db") as store:
        assert [event["message"] for event in store.reader.events(1)] == ["it has rendered 15 jobs"]
        assert store.reader.attempts(1) == []


def test_a_browser_that_grows_too_large_is_recycled(tmp_path, night, monkeypatch):
    """Memory is looked at now and then, and acted upon between two jobs."""
    real, looks = Browser.memory_bytes, []

    def memory_bytes(browser: Browser) -> int:
        """As it is, once it is at work; the browser after it is as small as one can be."""
        if not looks and done_in(tmp_path) >= 5:
            looks.append(real(browser))
            return looks[0]
        return 0

    monkeypatch.setattr(Browser, "memory_bytes", memory_bytes)
    monkeypatch.setattr("runner.browsers.pool._WATCH_S", 0.2)
    assert night(nothing, count=40, body=PACED, limits=Limits(memory_bytes=1 << 20)) == 0
    assert_whole(tmp_path, 40)
    with Store(tmp_path / "runner.db") as store:
        (event,) = store.reader.events(1)
        assert event["message"].startswith("it has grown to ") and looks[0] > 50 << 20
        assert store.reader.attempts(1) == []


def test_a_job_that_kills_its_browser_is_set_aside(tmp_path, night):
    """A poison job is failed after its last crash, however they are spread; all others are done."""

    async def haunt(pool):
        while True:
            with contextlib.closing(sqlite3.connect(tmp_path / "runner.db")) as connection:
                poison = connection.execute(
                    "SELECT 1 FROM job WHERE status = 'in_progress' AND params LIKE '%:7}'"
                ).fetchone()
            for life in pool._lives.values():
                if poison and not life.browser.ended.done() and pool._lives:
                    await kill()(pool, life.browser)
            await asyncio.sleep(0.05)

    body = 'if job.params["number"] == 7: await asyncio.sleep(60)'
    assert night(haunt, count=40, body=body, policy=", max_crashes=2") == 1
    with Store(tmp_path / "runner.db") as store:
        (failed,) = [row for row in store.reader.jobs(1) if row["status"] != "done"]
        assert (failed["status"], failed["crashes"], failed["params"]) == ("failed", 2, {"number": 7})
        assert failed["error"].startswith("crash: ")


def test_nothing_is_left_behind(tmp_path, night, monkeypatch, full_browser):
    """At the end no process and no folder of the browsers is left, also of those that were killed."""
    # In a short path, as temporary folders have: Chromium's sockets lie in it.
    temporary = Path(tempfile.mkdtemp())
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    # One without windows leaves less there.
    monkeypatch.setenv("RUNNER_BROWSER", full_browser)
    seen = []

    async def haunt(pool):
        await until(lambda: done_in(tmp_path) >= 5, "the first done jobs")
        seen.extend(pool._lives["browser-1"].browser._tree())
        (folder,) = temporary.iterdir()
        own = pool._lives["browser-1"].browser.spare
        assert own.is_dir() and list(folder.glob("*profile*")) and list(folder.glob("*/tmp/*"))
        await kill()(pool, pool._lives["browser-1"].browser)
        await until(lambda: "browser-1.2" in pool._lives, "the next browser")
        await until(lambda: done_in(tmp_path) >= 40, "more jobs")
        seen.extend(pool._lives["browser-1.2"].browser._tree())
        assert not own.exists(), "the one that was killed"

    assert night(haunt, count=60) == 0
    assert len(seen) > 10
    assert not psutil.wait_procs(seen, timeout=10)[1]
    temporary.rmdir()


def test_a_browser_starts_where_temporary_files_have_long_paths(tmp_path, monkeypatch):
    """No socket's path would fit in there, so that its folder lies elsewhere, and goes as it does otherwise."""
    place = tmp_path / ("long" * 15)
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))

    async def start():
        launcher = Launcher()
        await launcher.start()
        try:
            browser = await launcher.launch("swiftshader")
            assert await browser.tab.evaluate("1 + 1", 10) == 2
            await browser.close()
        finally:
            await launcher.stop()
        return launcher.folder

    folder = asyncio.run(start())
    assert place not in folder.parents and not folder.exists() and not list(place.iterdir())


def test_the_drivers_environment_is_its_own():
    """While it starts, this process has the temporary folder that it had; of its death nothing is printed."""

    async def start() -> set[str | None]:
        printed: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: printed.append(context))
        launcher, seen = Launcher(), set()
        starting = asyncio.create_task(launcher.start())
        while not starting.done():
            seen.add(os.environ.get("TMPDIR"))
            await asyncio.sleep(0)
        (driver,) = [one for one in psutil.Process().children() if "run-driver" in one.cmdline()]
        assert driver.environ()["TMPDIR"] == str(launcher.folder)
        driver.kill()
        await launcher.stop()
        del launcher
        gc.collect()
        assert not printed
        return seen

    assert asyncio.run(start()) == {os.environ.get("TMPDIR")}


def test_what_node_compiles_of_the_driver_is_kept(tmp_path, monkeypatch):
    """The next start has it from there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NODE_COMPILE_CACHE", raising=False)

    async def start():
        launcher = Launcher()
        await launcher.start()
        await launcher.stop()

    asyncio.run(start())
    assert [file for file in (tmp_path / "runner" / "driver").rglob("*") if file.is_file()]


def test_a_user_without_a_home_has_browsers(tmp_path, monkeypatch):
    """In some containers nothing is known of a user but a number, and Node asks for the home; no '~' is made."""
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "NODE_COMPILE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    async def start() -> None:
        launcher = Launcher()
        await launcher.start()
        (driver,) = [one for one in psutil.Process().children() if "run-driver" in one.cmdline()]
        assert driver.environ()["HOME"] == str(launcher.folder)
        await launcher.stop()

    asyncio.run(start())
    assert own_folder("XDG_STATE_HOME", ".local/state") is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["suspend", "kill"])
def test_a_browser_that_ends_while_it_is_probed_tells_nothing(monkeypatch, verb):
    """Killed or stopped at its start, it is neither waited for nor taken for one without WebGL."""
    monkeypatch.setattr("runner.browsers.browser._RENDERER_S", 2.0)

    async def probe() -> tuple[str, int]:
        launcher = Launcher()
        await launcher.start()
        real_launch, launched = launcher.launch, []

        async def launch(rasterizer, *number):
            browser = await real_launch(rasterizer, *number)
            launched.append(browser)
            if len(launched) == 1:
                for one in browser._tree():
                    with contextlib.suppress(psutil.Error):
                        getattr(one, verb)()
            return browser

        launcher.launch = launch
        try:
            return await launcher._renderer_with("swiftshader"), len(launched)
        finally:
            await launcher.stop()

    renderer, launched = asyncio.run(probe())
    assert "SwiftShader" in renderer and launched == 2


def test_a_browser_on_which_every_job_fails_is_benched_and_the_last_one_never(tmp_path, night, capfd):
    """Restarted after three jobs in a row, then left out for a minute, while the other one renders them all."""
    body = """await asyncio.sleep(0.1)
    from runner.errors import FrameError
    if session.name.startswith("browser-1"): raise FrameError("a bad browser")"""
    policy = ", max_failures=100, backoff_s=0.1"
    assert night(nothing, count=150, body=body, policy=policy, sessions=2, halt_share=None) == 0
    with Store(tmp_path / "runner.db") as store:
        events = [event["message"] for event in store.reader.events(1)]
        assert {row["outcome"] for row in store.reader.attempts(1)} == {"failed"}
    assert events == ["3 different jobs failed in a row"] * 2
    lines = capfd.readouterr().err
    assert "browser-1.2 ended (3 different jobs failed in a row); starting another in 60 s" in lines
    assert_whole(tmp_path, 150)


def test_the_last_browser_is_never_benched():
    """However badly it does: someone has to render."""
    pool = BrowserPool.__new__(BrowserPool)
    pool._count, pool._strikes, pool._benched = 2, {1: 5, 2: 5}, set()
    assert pool._bench_s(1) > 0.0
    assert pool._bench_s(2) == 0.0


def test_what_vuers_page_says_each_time_is_no_console_line():
    """Fonts that are not to be had offline, and parts of them that it does not know; all else is kept."""
    tab = Tab(SimpleNamespace(on=lambda name, call: None), print, print, print)

    def say(method: str, **params: object) -> None:
        tab._receive({"sessionId": "", "message": json.dumps({"method": method, "params": params})})

    lost = {"level": "error", "text": "Failed to load resource: net::ERR_INTERNET_DISCONNECTED"}
    for url in ("https://fonts.googleapis.com/css2?family=Inter", "http://localhost:1/assets/mug.glb"):
        say("Log.entryAdded", entry=lost | {"url": url})
    for text in ("unsupported GPOS table LookupType 6", "the mug is cracked"):
        say("Runtime.consoleAPICalled", type="debug", args=[{"type": "string", "value": text}])
    kept = [f"error: {lost['text']} http://localhost:1/assets/mug.glb", "debug: the mug is cracked"]
    assert list(tab.console) == kept


def test_failures_that_others_have_too_speak_against_no_browser():
    """A job that failed in another browser, or a reason for which the others fail, too; its own alone does."""
    record = Record()
    assert record.tells(1, 7, "TimeoutError: no end after 3 s") and record.tells(
        1, 8, "TimeoutError: no end after 4 s"
    )
    assert not record.tells(2, 7, "FrameError: black")
    assert not record.tells(2, 9, "TimeoutError: no end after 5 s")
    assert record.tells(2, 10, "FrameError: black")
    for job in range(6):
        record.done(1, job)
    record.done(2, 7)
    assert record.tells(2, 11, "TimeoutError: no end after 6 s")
    assert all(record.tells(1, 100 + job, "FrameError: white") for job in range(3))


def test_a_browser_that_has_become_slow_is_recycled():
    """Three times its own median over the last twenty jobs; a slow job or some hundredths of a second do not count."""
    browser = SimpleNamespace(tab_id="x")
    life = _Life(
        browser, slot=1, patience=3, limits=Limits(), on_settled=lambda life, is_done: None, record=Record()
    )
    for job in range(400):
        life.settled(job, "", 5.0 if job % 30 == 0 else 0.1)
    assert life.retired == ""
    for job in range(40):
        life.settled(1000 + job, "", 0.4)
    quick = _Life(
        browser, slot=1, patience=3, limits=Limits(), on_settled=lambda life, is_done: None, record=Record()
    )
    for job in range(440):
        quick.settled(job, "", 0.02 if job < 400 else 0.08)
    assert quick.retired == ""
    assert life.retired == "a job takes 0.40 s now, and took 0.10 s"
