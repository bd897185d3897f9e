"""Keeps browsers here at work for a run elsewhere: waits while it is away, ends when told or when nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from runner.browsers import BrowserPool, Limits
from runner.errors import WorldFault
from runner.exits import ExitStatus
from runner.job import Progress
from runner.join.line import Line, Trust, asked, opened
from runner.join.link import Link
from runner.joining import Over, Standing, Welcome
from runner.machine import Certificate
from runner.run.ending import Ending
from runner.run.progress import Live, ProgressView, screen_of
from runner.run.say import say, terminal
from runner.run.share import Share, shares_of
from runner.run.signals import Signals

__all__ = ["JoinOptions", "join"]

# So many browsers share one line, and one process of Playwright's.
_SESSIONS_OF_ONE = 4
_ASK_AGAIN_S = 1.0
# After so long without a job in progress, or without a run, there is nothing to do.
_IDLE_S, _AWAY_S = 60.0, 300.0


@dataclass(frozen=True)
class JoinOptions:
    """How to join a run. link: of its server. sessions: headless browsers to start.

    certificate: by which its server is known; None: the system's authorities vouch for it. rasterizer, require_gpu,
    drivers, limits: of the browsers, as runner.browsers.BrowserPool has them. exits_when_idle: end when nothing is left
    to do. max_s: begin no job after so long, in seconds; None: never.
    """

    link: Link
    sessions: int = 2
    certificate: Certificate | None = None
    rasterizer: str = "auto"
    require_gpu: bool = False
    drivers: Sequence[str] = ()
    limits: Limits = Limits()
    exits_when_idle: bool = False
    max_s: float | None = None


def join(options: JoinOptions) -> ExitStatus:
    """Render for that run until told to end. Raises UsageError, WorldFault and BrowserError where it cannot begin."""
    _pass_proxies_by(options.link.host)
    with Signals(say) as signals:
        return asyncio.run(_Joiner(options).work(signals))


def _pass_proxies_by(host: str) -> None:
    """Browsers would ask a proxy that the environment names for the run's page, and this process does not."""
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = f"{others},{host}" if others else host


class _Joiner:
    """All that this process does for the run. standing: how far its campaign is, by the last message."""

    def __init__(self, options: JoinOptions):
        self.options, self.link = options, options.link
        self.trust: Trust = True
        if options.certificate is not None:
            self.trust = aiohttp.Fingerprint(options.certificate.sha256)
        self.name = socket.gethostname()
        self.standing: Standing | None = None
        self.has_standing = asyncio.Event()
        self.found_rasterizer, self.drivers = "", tuple(options.drivers)
        self._posts: list[_Post] = []
        self._is_away, self._is_finished = False, False
        # When something was last in progress, and when the run was last there.
        self._busy_at = self._there_at = time.monotonic()

    async def work(self, signals: Signals) -> ExitStatus:
        """Join, render, and report the result."""
        options, ending = self.options, Ending()
        async with aiohttp.ClientSession() as client:
            with signals.ending(ending):
                first = await asked(client, self.link, self.trust, 0)
                count = f"{options.sessions} browser{'' if options.sessions == 1 else 's'}"
                say(f"joining {first.campaign} at {self.link.place} with {count}")
                workers = -(-options.sessions // _SESSIONS_OF_ONE)
                self._posts = [_Post(self, client, share) for share in shares_of(options.sessions, workers)]
                signals.tell = lambda: say(self._told())
                await self._keep(ending, first)
        say(self._told())
        if signals.status is not None:
            return signals.status
        if self.standing is None or self._left():
            return ExitStatus.UNFINISHED
        return ExitStatus.SOME_FAILED if self.standing.failed else ExitStatus.DONE

    async def _keep(self, ending: Ending, first: Welcome) -> None:
        """Keep the posts at work until they have ended, or should end."""
        keeping = [asyncio.create_task(post.keep()) for post in self._posts]
        others = [asyncio.create_task(self._show(first.campaign)), asyncio.create_task(self._look(ending))]
        if self.options.max_s is not None:
            others.append(asyncio.create_task(self._drain(self.options.max_s)))
        at_work = asyncio.ensure_future(asyncio.gather(*keeping))
        try:
            ends: set[asyncio.Future[Any]] = {at_work, ending.stopping}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if at_work.done():
                at_work.result()
        finally:
            for task in (*keeping, *others):
                task.cancel()
            await asyncio.gather(at_work, *keeping, *others, return_exceptions=True)

    def flags_for(self, port: int) -> tuple[str, ...]:
        """Flags that make a browser trust the server as one on its own machine would; pages then behave the same."""
        if self.options.certificate is not None:
            return (f"--ignore-certificate-errors-spki-list={self.options.certificate.key_sha256}",)
        return (
            ()
            if self.link.safe
            else (f"--unsafely-treat-insecure-origin-as-secure=http://{self.link.host}:{port}",)
        )

    # -- what posts tell ---------------------------------------------------------------------------

    def on_standing(self, standing: Standing) -> None:
        """The run has told how far its campaign is."""
        self.standing = standing
        self.has_standing.set()
        if standing.in_progress:
            self._busy_at = time.monotonic()

    def on_over(self, over: Over) -> None:
        """A server of the run has ended, in order."""
        self._is_finished = over.is_finished
        if self.options.exits_when_idle and over.is_finished and not self._left():
            self._is_away = True  # and nobody waits for it
        self.on_away("it has no job left to begin" if over.is_finished else over.reason)

    def on_away(self, reason: str) -> None:
        """The run cannot be reached; said once."""
        if not self._is_away:
            self._is_away = True
            say(f"the run at {self.link.place} is away ({reason}): waiting for it; Ctrl-C ends")

    def on_there(self) -> None:
        """The run is there."""
        if self._is_away:
            self._is_away = False
            say(f"the run at {self.link.place} is there again")
        self._is_finished = False
        self._busy_at = self._there_at = time.monotonic()

    # -- beside the posts --------------------------------------------------------------------------

    async def _show(self, campaign: str) -> None:
        await self.has_standing.wait()
        resume = f"runner resume {campaign}, on its machine"
        view = ProgressView(self._progress, campaign, resume, self._live, screen_of(terminal()))
        await view.show()

    def _progress(self) -> tuple[Progress, str]:
        assert self.standing is not None
        told = self.standing
        return Progress(told.total, told.done, told.failed, told.in_progress), told.state

    def _live(self) -> Live:
        fault = "the run is away" if self._is_away else self.standing.fault if self.standing else ""
        return Live(sum(post.sessions for post in self._posts), 0, fault)

    async def _look(self, ending: Ending) -> None:
        """End when nothing is left to do, if that was asked for."""
        while self.options.exits_when_idle:
            await asyncio.sleep(_ASK_AGAIN_S)
            now = time.monotonic()
            if not self._is_away:
                self._there_at = now
            if self._is_away and self._is_finished and not self._left():
                ending.stop("all jobs are done")
            elif now - self._there_at > _AWAY_S:
                ending.stop("the run is away")
            elif not self._is_away and now - self._busy_at > _IDLE_S:
                ending.stop("no job is ready")

    async def _drain(self, max_s: float) -> None:
        await asyncio.sleep(max_s)
        say(f"{max_s / 3600:g} hours are over: jobs in flight may end, no other is begun")
        for post in self._posts:
            post.drain()

    def _left(self) -> int:
        """How many jobs are left, as far as is known."""
        return self._progress()[0].left if self.standing is not None else 1

    def _told(self) -> str:
        """The result, for people."""
        here = sum(post.rendered for post in self._posts)
        told = f"{here:,} job{'' if here == 1 else 's'} rendered here"
        if self.standing is None:
            return told
        failed = f", {self.standing.failed:,} failed" if self.standing.failed else ""
        return f"{told}; {self.standing.done:,}/{self.standing.total:,} done in all{failed}"


class _Post:
    """Some of the browsers, and their line to one server of the run. rendered: how many jobs they have rendered."""

    def __init__(self, joiner: _Joiner, client: aiohttp.ClientSession, share: Share):
        self._joiner, self._client, self._share = joiner, client, share
        self._pool: BrowserPool | None = None
        self._line: Line | None = None
        self._rendered = 0
        self._draining = asyncio.Event()

    @property
    def sessions(self) -> int:
        """How many tabs are connected."""
        return self._line.sessions if self._line is not None else 0

    @property
    def rendered(self) -> int:
        """How many jobs have been rendered."""
        return self._rendered + (self._line.rendered if self._line is not None else 0)

    def drain(self) -> None:
        """Begin no more jobs, and end when none is in flight."""
        self._draining.set()
        if self._pool is not None:
            self._pool.drain("its joiner's time is over")

    async def keep(self) -> None:
        """Keep browsers at work whenever the run is there. Raises BrowserError; UsageError if it refuses the link."""
        while not self._draining.is_set():
            line = await self._reached()
            if line is None:
                continue
            self._joiner.on_there()
            over = await self._work(line)
            if over is not None:
                self._joiner.on_over(over)
            elif not self._draining.is_set():
                self._joiner.on_away("the connection broke")

    async def _reached(self) -> Line | None:
        """The line to the run; None, after a moment, where it cannot be reached."""
        joiner = self._joiner
        try:
            welcome = await asked(self._client, joiner.link, joiner.trust, self._share.sessions)
            return await opened(
                self._client, joiner.link, joiner.trust, welcome, joiner.name, joiner.on_standing
            )
        except WorldFault as fault:
            joiner.on_away(str(fault))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._draining.wait(), _ASK_AGAIN_S)
        return None

    async def _work(self, line: Line) -> Over | None:
        """Keep browsers at work until the line breaks, or the run ends in order; then end them all."""
        joiner, options, share = self._joiner, self._joiner.options, self._share
        pool = BrowserPool(
            share.sessions,
            say,
            _NoGuard(),
            options.rasterizer,
            options.require_gpu,
            options.limits,
            line.welcome.renderer,
            joiner.found_rasterizer,
            joiner.drivers,
            share.first_session,
            joiner.flags_for(line.welcome.port),
        )
        self._pool, self._line = pool, line
        working, keeping = asyncio.create_task(pool.run(line)), asyncio.create_task(line.keep())
        try:
            if self._draining.is_set():
                return None
            ends: set[asyncio.Future[Any]] = {working, keeping}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            return keeping.result() if keeping.done() else None
        finally:
            keeping.cancel()
            # The line is closed before the browsers, so that no job is charged for their end.
            await line.close()
            working.cancel()
            await asyncio.gather(working, keeping, return_exceptions=True)
            if pool.found_rasterizer:
                joiner.found_rasterizer, joiner.drivers = pool.found_rasterizer, tuple(pool.drivers)
            self._rendered += line.rendered
            self._pool = self._line = None


class _NoGuard:
    """Events of browsers here are reported here; the run never pauses for a fault of this machine."""

    fault: WorldFault | None = None

    def note(self, kind: str, message: str, *, once: str = "") -> None:
        """The pool reports it, too."""

    def tell(self, kind: str, message: str, *, once: str = "") -> None:
        say(message)

    def pause(self, fault: WorldFault) -> None:
        """Nothing here starts jobs by itself."""
