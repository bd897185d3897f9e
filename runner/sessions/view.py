"""The session as one attempt's render sees it: usable only while the attempt lasts."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NoReturn, cast

from vuer.server import SceneOps

from runner.sessions.session import Session

__all__ = ["session_view"]


def session_view(session: Session, check: Callable[[str], None]) -> Session:
    """The session, for one attempt. check: called before each use with its name; raises when it is too late."""
    return cast(Session, _SessionView(session, check))


# Methods of a session for the run, not for a job's code.
_NOT_FOR_JOBS = frozenset(
    {"begin_job", "close", "disconnect", "keep_sending", "owner", "receive", "receive_text", "set_base"}
)
_VERBS = ("set", "add", "update", "upsert", "remove", "grab", "grab_render", "ready", "rpc")
_TASK = "write asyncio.create_task(…), and await it before render ends"
_HEARS = "nobody sits at the browsers of a run, and their events go nowhere"
# What Vuer's own session and server have, and what a job writes for it.
_OF_VUER = {
    "spawn": "render is called for each job, and has the session already",
    "spawn_task": _TASK,
    "send": "write session @ event",
    "sleep": "write await asyncio.sleep(…)",
    "forever": "render returns when its job is done",
    "till": "await session.ready() waits until the scene is there",
    "get_webxr_mesh": "it asks a headset, which no browser of a run has",
    **dict.fromkeys(("bind", "run", "start"), "runner run FILE calls render for each job"),
    **dict.fromkeys(("add_handler", "pop", "popleft", "clear", "stream"), _HEARS),
    **dict.fromkeys(
        ("vuer", "socket", "ws", "uplink_queue", "downlink_queue"), "the run speaks with the page"
    ),
}


class _SessionView(SceneOps):  # type: ignore[misc]  # Vuer's classes have no types
    """Passes on a session's public methods while its attempt lasts.

    What the job's code sets on it by names of its own is gone with the attempt: the next job's scene has nothing of
    what such a mark says was done.
    """

    def __init__(self, session: Session, check: Callable[[str], None]):
        object.__setattr__(self, "_session", session)
        object.__setattr__(self, "_check", check)

    def __matmul__(self, event: Any) -> None:
        self._check("session @ …")
        self._session @ event

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _NOT_FOR_JOBS or not hasattr(self._session, name):
            _refuse(name)
        self._check(f"session.{name}")
        value = getattr(self._session, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            self._check(f"session.{name}")
            return value(*arguments, **named)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        self._check(f"session.{name} = …")
        if hasattr(self._session, name):
            raise AttributeError(f"session.{name} belongs to the run, and a job cannot set it")
        object.__setattr__(self, name, value)


def _refuse(name: str) -> NoReturn:
    """Raises AttributeError with a sentence that says what there is."""
    near = difflib.get_close_matches(name, _VERBS, 1)
    instead = _OF_VUER.get(name) or (f"session.{near[0]} is meant?" if near else "")
    there = f"there is {', '.join(_VERBS)}"
    raise AttributeError(f"a runner session has no {name!r}: {instead or there}")
