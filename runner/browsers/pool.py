"""The pool of browsers that a run keeps at work: started, watched, recycled, benched and replaced."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from runner.browsers.browser import Browser
from runner.browsers.launcher import Launcher
from runner.browsers.processes import end_orphans
from runner.browsers.record import Record
from runner.errors import BrowserError, WorldFault
from runner.machine import Faults, world_fault
from runner.tabs import TabEnd, TabOwner

__all__ = ["BrowserPool", "Doors", "Limits"]

_CONNECT_S = 60.0
_RECONNECT_S = 15.0
# The first page has the machine for itself for so long at most, so that the first picture, or mistake, comes soon.
_AHEAD_S = 2.0
_ANSWER_S = 3.0
_WATCH_S = 2.0
_DEATH_S, _DEATH_LOOKS = 2.0, 10
_WEIGH_EVERY = 5
_GIVE_UP_AFTER = 3
_LONGEST_WAIT_S = 60.0
_BENCH_S, _LONGEST_BENCH_S = 60.0, 900.0
_FAILED_IN_A_ROW = 3
# A rate is judged by this many renders, the last ones against all of this browser's own. A smaller difference, in
# seconds, is noise.
_RATE_RENDERS, _LAST_RENDERS, _SLOWER, _NOTICEABLE_S = 200, 20, 3.0, 0.25


@dataclass(frozen=True)
class Limits:
    """When a browser has done enough: so many renders, or so many bytes of memory."""

    renders: int = 5000
    memory_bytes: int = 3 << 30


class PageSession(Protocol):
    """What the pool needs from the session of one of its pages."""

    refused: str
    closed: asyncio.Future[str]

    def close(self, reason: str, end: TabEnd | None = None) -> None: ...


class Doors(Protocol):
    """Where the pool's pages connect; runner.sessions.Server implements it."""

    def link(self, name: str = "", owner: TabOwner = ...) -> str:
        """The address for a tab of that name, which its owner's tab_id makes known."""

    async def connected(self, owner: TabOwner) -> PageSession:
        """Wait until that owner's page said hello; returns its session."""

    def forget(self, owner: TabOwner) -> None:
        """Let the owner's tab in no more."""


class _Life(TabOwner):
    """One browser from its start to its end, and the owner of its tab."""

    def __init__(
        self,
        browser: Browser,
        slot: int,
        patience: int,
        limits: Limits,
        on_settled: Callable[[_Life, bool], None],
        record: Record,
    ):
        self.browser, self.slot, self.patience = browser, slot, patience
        self.tab_id = browser.tab_id
        self.retired, self.end_kind = "", "browser"
        self.renders = self.done = self.looks_still = 0
        self.failed: set[int] = set()
        self.durations_s: deque[float] = deque(maxlen=2 * _RATE_RENDERS)
        self._limits, self._on_settled, self._record = limits, on_settled, record

    def rendered(self) -> None:
        self.renders += 1
        if self.renders >= self._limits.renders:
            self.recycle(f"it has rendered {self.renders:,} jobs")

    def settled(self, job_id: int, error: str, duration_s: float) -> None:
        is_done = not error
        if is_done:
            self._record.done(self.slot, job_id)
        elif not self._record.tells(self.slot, job_id, error):
            return
        reason = self.add(job_id, is_done, duration_s)
        if reason:
            self.recycle(reason)
        if is_done or reason:
            self._on_settled(self, is_done)

    def retire(self, reason: str) -> None:
        self.retired = self.retired or reason

    def recycle(self, reason: str) -> None:
        """Have it replaced though it lives: it has done its share, or another may do better."""
        if not self.retired:
            self.retired, self.end_kind = reason, "recycle"

    def console(self) -> list[str]:
        return list(self.browser.tab.console)

    async def end_of(self, reason: str) -> TabEnd:
        # The socket may break before the process ends.
        for _ in range(_DEATH_LOOKS):
            await asyncio.wait({self.browser.ended}, timeout=_DEATH_S / _DEATH_LOOKS)
            self.browser.look()
            if self.browser.ended.done():
                return self.browser.ended.result()
        return TabEnd(reason)

    def add(self, job_id: int, is_done: bool, duration_s: float) -> str:
        """Count an attempt; why the browser should be replaced now, or ''."""
        if not is_done:
            self.failed.add(job_id)
            if len(self.failed) >= self.patience:
                return f"{self.patience} different jobs failed in a row"
            return ""
        self.failed.clear()
        self.done += 1
        self.durations_s.append(duration_s)
        if self.done >= _RATE_RENDERS and self.done % _LAST_RENDERS == 0:
            all_of_them = list(self.durations_s)
            now_s, own_s = median(all_of_them[-_LAST_RENDERS:]), median(all_of_them)
            if now_s > max(_SLOWER * own_s, own_s + _NOTICEABLE_S):
                return f"a job takes {now_s:.2f} s now, and took {own_s:.2f} s"
        return ""


class BrowserPool:
    """Keeps `count` headless browsers at work, each with one tab, and replaces those that end.

    guard: hears of each end, and pauses the run while no browser can be started.
    rasterizer: one of browsers.RASTERIZERS, or 'auto' for the best one here; their pictures differ in some pixels.
    require_gpu: refuse to render in software. earlier_renderer: the renderer of the campaign's pictures so far, to go
    on with. found_rasterizer: the one that is known to work here; '' until one was found. drivers: the EGL drivers'
    files that browsers are pinned to, in turn. first: the number of the first browser, from 1. flags: more of them for
    each browser. launcher: one that was started ahead; only one without flags can be.

    A browser is replaced between two jobs, never during one. After three different jobs failed in a row
    it is restarted, unless others fail alike (see Record); where that does not help it is benched for a while.
    The last browser is never benched: it is restarted after twice as many failures each time, for the jobs may well be
    at fault.
    """

    def __init__(
        self,
        count: int,
        say: Callable[[str], None],
        guard: Faults,
        rasterizer: str = "auto",
        require_gpu: bool = False,
        limits: Limits = Limits(),
        earlier_renderer: str = "",
        found_rasterizer: str = "",
        drivers: Sequence[str] = (),
        first: int = 1,
        flags: Sequence[str] = (),
        launcher: Launcher | None = None,
    ):
        self._slots = range(first, first + count)
        self._count, self._say = count, say
        self._guard, self._limits = guard, limits
        self._launcher = (launcher or Launcher(drivers, flags)) if count else None
        if launcher is not None:
            launcher.drivers = tuple(drivers)
        self._rasterizer, self._require_gpu = rasterizer, require_gpu
        self._earlier_renderer = earlier_renderer
        self.found_rasterizer = found_rasterizer
        self._lives: dict[str, _Life] = {}
        self._failing: dict[int, str] = {}
        self._strikes = dict.fromkeys(self._slots, 0)
        self._benched: set[int] = set()
        self._record = Record()
        # Slots without a browser at work: why, in words, and until when, by the monotonic clock.
        self._resting: dict[int, tuple[str, float]] = {}
        # True once one of this run's browsers has started, here or in another process.
        self._has_worked = bool(found_rasterizer)
        self._draining = asyncio.Event()
        # The first page is ready, or none is needed any more.
        self._has_begun = asyncio.Event()

    def _on_settled(self, life: _Life, is_done: bool) -> None:
        self._strikes[life.slot] = 0 if is_done else self._strikes[life.slot] + 1

    @property
    def drivers(self) -> list[str]:
        """The EGL drivers' files that browsers are pinned to, in turn."""
        return list(self._launcher.drivers) if self._launcher else []

    def probe(self) -> None:
        """Raises WorldFault as long as no browser can be started."""
        if self._count and len(self._failing) == self._count:
            reason = next(iter(self._failing.values()), "")
            raise WorldFault(f"no browser can be started: {reason}")

    async def run(self, doors: Doors) -> None:
        """Keep the browsers at work until cancelled or drained. Raises BrowserError when none ever could start."""
        if self._launcher is None:
            await asyncio.Event().wait()
            return
        launcher = self._launcher
        left = await asyncio.to_thread(end_orphans)
        if left:
            self._say(f"removed folders that browsers of earlier runs left behind ({left})")
        await launcher.start()
        tasks: list[asyncio.Task[None]] = []
        try:
            self.found_rasterizer = self.found_rasterizer or await launcher.choose_rasterizer(
                self._rasterizer, self._require_gpu, self._say, self._earlier_renderer
            )
            keeping = [asyncio.create_task(self._keep_one(slot, launcher, doors)) for slot in self._slots]
            tasks = [*keeping, asyncio.create_task(self._watch(keeping))]
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await launcher.stop()

    def drain(self, reason: str) -> None:
        """Let each browser end after its current job, and start no more."""
        self._draining.set()
        self._has_begun.set()
        for life in self._lives.values():
            life.recycle(reason)

    async def _keep_one(self, slot: int, launcher: Launcher, doors: Doors) -> None:
        fruitless = start = 0
        self._resting[slot] = "starting", 0.0
        if slot != self._slots[0]:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._has_begun.wait(), _AHEAD_S)
        while not self._draining.is_set():
            start += 1
            kind = "browser"
            name = f"browser-{slot}" if start == 1 else f"browser-{slot}.{start}"
            try:
                kind, reason = await self._one_life(name, slot, launcher, doors)
                fruitless = 0
            except (BrowserError, OSError) as error:
                if not isinstance(error, BrowserError) and world_fault(error) is None:
                    raise
                fruitless += 1
                reason = str(error)
                if fruitless >= _GIVE_UP_AFTER and not self._has_worked and self._guard.fault is None:
                    raise
                if fruitless >= _GIVE_UP_AFTER:
                    self._failing[slot] = reason
            if self._draining.is_set():
                return
            self._guard.note(kind, reason)
            wait_s = min(2.0 ** (fruitless - 1), _LONGEST_WAIT_S) if fruitless else self._bench_s(slot)
            self._say(
                f"{name} ended ({reason}); starting another" + (f" in {wait_s:.0f} s" if wait_s else "")
            )
            state = "benched" if slot in self._benched else "not to be started" if fruitless else "starting"
            self._resting[slot] = f"{state}: {reason}", time.monotonic() + wait_s
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._draining.wait(), wait_s)
            self._benched.discard(slot)

    def resting(self) -> dict[str, tuple[str, float]]:
        """The browsers that are not at work: why, in words, and for how many more seconds."""
        now = time.monotonic()
        return {
            f"browser-{slot}": (state, max(0.0, until - now))
            for slot, (state, until) in sorted(self._resting.items())
        }

    def _is_last(self) -> bool:
        return len(self._benched) >= self._count - 1

    def _patience(self, slot: int) -> int:
        """How many jobs the slot's next browser may fail in a row before it is replaced."""
        return _FAILED_IN_A_ROW << max(0, self._strikes[slot] - 1) if self._is_last() else _FAILED_IN_A_ROW

    def _bench_s(self, slot: int) -> float:
        """How long the slot stays empty after its new browsers failed job after job."""
        if self._strikes[slot] < 2 or self._is_last():
            return 0.0
        self._benched.add(slot)
        return min(_BENCH_S * 2.0 ** (self._strikes[slot] - 2), _LONGEST_BENCH_S)

    async def _one_life(self, name: str, slot: int, launcher: Launcher, doors: Doors) -> tuple[str, str]:
        """Start one browser, see its page connect, and wait for its end.

        Returns 'recycle' where the pool has chosen to end it, else 'browser'; and why.
        """
        browser = await launcher.launch(self.found_rasterizer, slot - 1)
        life = _Life(browser, slot, self._patience(slot), self._limits, self._on_settled, self._record)
        try:
            self._lives[name] = life
            if self._draining.is_set():
                return "recycle", ""
            await browser.open(doors.link(name, life))
            session = await self._connection(life, doors, _CONNECT_S)
            if session is None:
                reason = (
                    browser.ended.result().reason
                    if browser.ended.done()
                    else (f"its page did not connect within {_CONNECT_S:.0f} s")
                )
                raise BrowserError(reason)
            if session.refused:
                raise BrowserError(session.refused)
            # A page that worked may be refused later: it has no WebGL once the GPU process has died.
            while session is not None and not session.refused:
                self._has_worked = True
                self._has_begun.set()
                self._resting.pop(slot, None)
                self._failing.pop(slot, None)
                ends: set[asyncio.Future[Any]] = {session.closed, browser.ended}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if not session.closed.done():
                    end = browser.ended.result()
                    session.close(end.reason, end)
                reason = session.closed.result()
                if life.retired:
                    return life.end_kind, life.retired
                if not await browser.answers(_ANSWER_S):
                    browser.end("its page stood still")
                browser.look()
                # A page reloads itself when it lost its connection, or was told to.
                session = await self._connection(life, doors, _RECONNECT_S)
            if browser.ended.done():
                return "browser", browser.ended.result().reason
            return "browser", session.refused if session else reason
        finally:
            self._lives.pop(name, None)
            doors.forget(life)
            await browser.close()

    async def _connection(self, life: _Life, doors: Doors, limit_s: float) -> PageSession | None:
        """The session of that life's page; None when the browser ended first, or the time."""
        connected = asyncio.ensure_future(doors.connected(life))
        ends: set[asyncio.Future[Any]] = {connected, life.browser.ended}
        await asyncio.wait(ends, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if connected.done():
            return connected.result()
        connected.cancel()
        return None

    async def _watch(self, keeping: Sequence[asyncio.Task[None]]) -> None:
        """Look for browsers that stand still or have grown too large, until the pool ends."""
        looks = 0
        while not all(task.done() for task in keeping):
            await asyncio.sleep(_WATCH_S)
            looks += 1
            for life in list(self._lives.values()):
                try:
                    await self._look_at(life, weighs=looks % _WEIGH_EVERY == 0)
                except OSError as error:
                    # Without a file descriptor nothing is seen; who has taken the last one is found elsewhere.
                    if world_fault(error) is None:
                        raise

    async def _look_at(self, life: _Life, weighs: bool) -> None:
        """End a browser that stands still, and have one that has grown too large replaced."""
        life.browser.look()
        if life.browser.ended.done():
            return
        still = await asyncio.to_thread(life.browser.stands_still)
        life.looks_still = life.looks_still + 1 if still else 0
        if life.looks_still >= 2:
            life.browser.end("it stood still")
            await life.browser.close()
        elif weighs:
            size = await asyncio.to_thread(life.browser.memory_bytes)
            if size > self._limits.memory_bytes:
                life.recycle(f"it has grown to {size >> 20:,} MiB")
