"""The messages between a run and a joiner, which keeps browsers for it on another machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from runner import wire
from runner.wire import encode

__all__ = [
    "LONGEST_LINE",
    "PATH",
    "SPEAKS",
    "Came",
    "Console",
    "Ended",
    "FromJoiner",
    "FromRun",
    "Left",
    "Over",
    "Rendered",
    "Retire",
    "Settled",
    "Standing",
    "Welcome",
    "encode",
    "from_joiner",
    "from_run",
]

# The path at the server, with the version of these messages.
PATH, SPEAKS = "/join", 1
# The most characters of a message.
LONGEST_LINE = 1 << 17


@dataclass(frozen=True)
class Welcome:
    """What a joiner must know before it starts a browser; told to all who ask with the run's token.

    speaks: the version of these messages; runner: of the package. campaign: its name. lease_s: how long either side may
    be silent before the other takes it for gone. port: of the server to go to, of several. query: for a page's URL.
    renderer: of the campaign's pictures, as WebGL names it; '' where none was drawn yet.
    """

    type: ClassVar[str] = "welcome"
    speaks: int
    runner: str
    campaign: str
    lease_s: float
    port: int
    query: Mapping[str, str]
    renderer: str = ""


@dataclass(frozen=True)
class Came:
    """That tab's page is connected. refused: why it cannot be used; ''."""

    type: ClassVar[str] = "came"
    tab: str
    refused: str = ""


@dataclass(frozen=True)
class Left:
    """That tab's page is no longer connected. The joiner must answer how its browser is, and quote `page` in that."""

    type: ClassVar[str] = "left"
    tab: str
    page: int
    reason: str


@dataclass(frozen=True)
class Rendered:
    """That tab has rendered a job, well or not."""

    type: ClassVar[str] = "rendered"
    tab: str


@dataclass(frozen=True)
class Settled:
    """An attempt in that tab has ended: well, or with an error that may be the tab's."""

    type: ClassVar[str] = "settled"
    tab: str
    job_id: int
    error: str
    duration_s: float


@dataclass(frozen=True)
class Retire:
    """That tab should take no further job; either side may say so."""

    type: ClassVar[str] = "retire"
    tab: str
    reason: str


@dataclass(frozen=True)
class Standing:
    """Told now and then: how far the campaign is. state: open, paused or cancelled; fault: why the run waits; ''."""

    type: ClassVar[str] = "standing"
    total: int
    done: int
    failed: int
    in_progress: int
    state: str
    fault: str = ""


@dataclass(frozen=True)
class Over:
    """The run ends, for that reason. is_finished: it has no job left to begin."""

    type: ClassVar[str] = "over"
    reason: str
    is_finished: bool


@dataclass(frozen=True)
class Console:
    """The lines that the page of that tab has printed last."""

    type: ClassVar[str] = "console"
    tab: str
    lines: Sequence[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """How the tab ended whose page has left. is_crash: its browser or page died."""

    type: ClassVar[str] = "ended"
    tab: str
    page: int
    reason: str
    is_crash: bool


FromRun: TypeAlias = Welcome | Came | Left | Rendered | Settled | Retire | Standing | Over
FromJoiner: TypeAlias = Console | Retire | Ended
_RUN: tuple[type[FromRun], ...] = (Welcome, Came, Left, Rendered, Settled, Retire, Standing, Over)
_JOINER: tuple[type[FromJoiner], ...] = (Console, Retire, Ended)
_FROM_RUN, _FROM_JOINER = wire.kinds_of(_RUN), wire.kinds_of(_JOINER)


def from_run(text: str) -> FromRun | None:
    """A message from a run; None for an unknown kind. Raises ValueError where it makes no sense."""
    return wire.decode(text, _FROM_RUN, LONGEST_LINE)


def from_joiner(text: str) -> FromJoiner | None:
    """A message from a joiner, likewise."""
    return wire.decode(text, _FROM_JOINER, LONGEST_LINE)
