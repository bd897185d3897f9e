"""The session as one attempt's render sees it: usable only while the attempt lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

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


class _SessionView(SceneOps):  # type: ignore[misc]  # Vuer's classes have no types
    """Passes on a session's public methods while its attempt lasts."""

    def __init__(self, session: Session, check: Callable[[str], None]):
        object.__setattr__(self, "_session", session)
        object.__setattr__(self, "_check", check)

    def __matmul__(self, event: Any) -> None:
        self._check("session @ …")
        self._session @ event

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in _NOT_FOR_JOBS:
            raise AttributeError(name)
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
        setattr(self._session, name, value)
