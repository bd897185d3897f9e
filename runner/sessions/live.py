"""The live page's routes: with the page's token one may look, and by POST pause, resume and retry."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable
from typing import Protocol, TypeVar

import aiohttp
from aiohttp import web

from runner.errors import RunnerError

__all__ = ["LivePage", "LiveRoutes", "frame_elsewhere"]

_HEADERS = {
    "Cache-Control": "no-store",
    # The page's address contains its token; no other page may put it into a frame under its own buttons.
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
# The files of an attempt never change, nor do the numbered pictures of a tab.
_PICTURE_HEADERS = _HEADERS | {"Cache-Control": "private, max-age=86400, immutable"}


_FETCH_S = 5.0

_Result = TypeVar("_Result")


class LivePage(Protocol):
    """What a run shows of itself. All raise a RunnerError if it is not available now."""

    async def page(self) -> str:
        """The page, whole."""

    async def news(self, known: str) -> str:
        """The news since the look of that number, as JSON."""

    async def small(self, path: str) -> bytes | None:
        """The picture of that path below the results folder, as a small JPEG; None where there is none."""

    async def original(self, path: str) -> tuple[bytes, str] | None:
        """The unchanged picture, and its media type."""

    async def frame(self, tab: str) -> tuple[bytes, str] | None:
        """The last picture of the tab with that id, small, and its media type."""

    async def act(self, verb: str) -> str | None:
        """Do it, and return the news after that; None where there is no such verb."""


class LiveRoutes:
    """The page below /live/TOKEN/, of a server that refuses strangers.

    token: derived from the run's, so that the page's link, which notices contain, cannot be used to take jobs.
    """

    def __init__(self, live: LivePage, run_token: str):
        self._live = live
        self.token = hmac.new(run_token.encode(), b"live page", hashlib.sha256).hexdigest()[:32]

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add them to the server."""
        router.add_get("/live/{token}/", self._page)
        router.add_get("/live/{token}/news", self._news)
        router.add_get("/live/{token}/frame/{tab}/{number}", self._frame)
        router.add_get("/live/{token}/small/{path:.+}", self._small)
        router.add_get("/live/{token}/file/{path:.+}", self._original)
        router.add_post("/live/{token}/{verb}", self._act)

    async def _page(self, request: web.Request) -> web.Response:
        self._refuse_unknown(request)
        return _answer(await _had(self._live.page()), "text/html")

    async def _news(self, request: web.Request) -> web.Response:
        self._refuse_unknown(request)
        return _answer(await _had(self._live.news(request.query.get("known", ""))), "application/json")

    async def _frame(self, request: web.Request) -> web.Response:
        self._refuse_unknown(request)
        return _picture(await _had(self._live.frame(request.match_info["tab"])))

    async def _small(self, request: web.Request) -> web.Response:
        self._refuse_unknown(request)
        small = await _had(self._live.small(request.match_info["path"]))
        return _picture((small, "image/jpeg") if small is not None else None)

    async def _original(self, request: web.Request) -> web.Response:
        self._refuse_unknown(request)
        return _picture(await _had(self._live.original(request.match_info["path"])))

    async def _act(self, request: web.Request) -> web.Response:
        self._refuse_unknown(request)
        # A page of another site may post, too, but its browser says where it is from.
        if "Origin" not in request.headers:
            raise web.HTTPForbidden(text="the request does not say which page it comes from")
        done = await _had(self._live.act(request.match_info["verb"]))
        if done is None:
            raise web.HTTPNotFound()
        return _answer(done, "application/json")

    def _refuse_unknown(self, request: web.Request) -> None:
        if not hmac.compare_digest(request.match_info["token"].encode(), self.token.encode()):
            raise web.HTTPForbidden(text="the token is missing, or belongs to another run")


async def frame_elsewhere(link: str, tab: str) -> tuple[bytes, str] | None:
    """The last picture of a tab of another worker, from its live page, and its media type; None if it has none."""
    try:
        timeout = aiohttp.ClientTimeout(_FETCH_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.get(f"{link}frame/{tab}/0") as answer,
        ):
            return (await answer.read(), answer.content_type) if answer.ok else None
    except (aiohttp.ClientError, asyncio.TimeoutError):
        return None


async def _had(wanted: Awaitable[_Result]) -> _Result:
    """Its result; an error goes to the page that asks, and to nobody else."""
    try:
        return await wanted
    except RunnerError as error:
        raise web.HTTPServiceUnavailable(text=str(error)) from None


def _answer(text: str, kind: str) -> web.Response:
    # A file name may hold characters that UTF-8 cannot encode.
    body = text.encode("utf-8", errors="backslashreplace")
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=_HEADERS)


def _picture(found: tuple[bytes, str] | None) -> web.Response:
    if found is None:
        raise web.HTTPNotFound()
    content, kind = found
    return web.Response(body=content, content_type=kind, headers=_PICTURE_HEADERS)
