"""What the parts of one run share, and what they need from a browser tab."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runner.campaign import Campaign
from runner.frame import Frame
from runner.job import Lease
from runner.machine import Faults
from runner.results import ResultsFolder
from runner.run.ending import Ending
from runner.run.limits import TimeLimit
from runner.store import Store
from runner.tabs import TabEnd, TabOwner

__all__ = ["Limits", "RunContext", "TabSession"]


@dataclass(frozen=True)
class Limits:
    """How long an attempt may take, and one step of an attempt that has steps."""

    attempt: TimeLimit
    step: TimeLimit


@dataclass(frozen=True)
class RunContext:
    """What the parts of one run share: what is rendered, where it is kept, how long it may take, how it ends.

    guard: while it has a fault, no job is begun, and jobs that the fault broke are handed back uncharged. view: wraps a
    session for a render; the wrapper calls a given check before each use. take_fork: whether a process that the job's
    code forked came back. on_settled: called for each attempt that was completed or charged, with its lease and the
    reason of the charge, or ''. home: the working directory, as it is once the campaign was loaded.
    """

    campaign: Campaign
    campaign_id: int
    store: Store
    results: ResultsFolder
    guard: Faults
    limits: Limits
    ending: Ending
    view: Callable[[Any, Callable[[str], None]], Any] = lambda session, check: session
    take_fork: Callable[[int], bool] = lambda job_id: False
    on_settled: Callable[[Lease, str], None] = lambda lease, error: None
    home: str = field(default_factory=os.getcwd)


class TabSession(Protocol):
    """What a run needs from a session; runner.sessions.Session implements it."""

    name: str
    owner: TabOwner
    browser: str
    renderer: str
    client: Mapping[str, Any]
    closed: asyncio.Future[str]
    end: asyncio.Future[TabEnd]
    is_spoiled: bool
    lasting: str
    remarks: Mapping[str, str]
    last_frame: Frame | None
    waited_s: float
    asked_s: float
    settle_s: float
    is_hidden: bool
    held_s: float
    set: Any

    def set_base(self, scene: Any) -> None:
        """Show this scene; from now on each job begins with it."""

    def begin_job(self, kept: str | None = None, seed: int | None = None, key: str = "") -> None:
        """Set the scene back to the base, or to the scene that the steps of an earlier attempt have made."""

    def kept_scene(self) -> str | None:
        """The scene that the job has made, as a text; None where it cannot be expressed."""

    def can_show(self, kept: str | None) -> bool:
        """Whether a job may go on from such a text."""
