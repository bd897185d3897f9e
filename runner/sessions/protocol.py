"""What the server and the script on the page say to each other, beside Vuer's own messages.

The page's side, page/protocol.js, is written from here by scripts/write_page_protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from runner import wire

__all__ = [
    "FENCE",
    "FORMATS",
    "FROM_PAGE",
    "KNOWN_VERSIONS",
    "LARGEST_MESSAGE_BYTES",
    "LARGEST_TEXT",
    "PARCEL",
    "TO_PAGE",
    "Begin",
    "Bye",
    "Grab",
    "Hello",
    "Hidden",
    "IsReady",
    "Message",
    "Ready",
    "Refused",
    "Render",
    "Waits",
    "decode",
    "encode",
    "joined",
    "parted",
]

# The key of the invisible element that shows, by its number, that all that was sent before it is in the scene.
FENCE = "__fence"
# The formats of a picture, and what the browser calls them.
FORMATS = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "raw": "raw"}
# What a browser may send at once: a picture of 8192x8192 pixels as a PNG, but not bare.
LARGEST_MESSAGE_BYTES = 1 << 28
# Characters of what the page script says at once; it cuts its reasons.
LARGEST_TEXT = 1 << 16
# The first byte of several messages that are sent as one; MessagePack has no use for it.
PARCEL = 0xC1
# The parts of the client that this was tried with.
KNOWN_VERSIONS = {"react-dom": "19.2.4", "@react-three/fiber": "9.5.0", "three": "182"}


@dataclass(frozen=True)
class Grab:
    """Hold the client's own request, which follows, until the scene is ready for it; then have the picture taken.

    reply: the type of the client's answer. fence: the number that the scene must show; wait_s: how long
    it may take to be ready. format: one of FORMATS. camera: the name of the three.js object and the lens
    and the pose that it is to have. depth: whether that camera renders depth.
    """

    type: ClassVar[str] = "grab"
    reply: str
    fence: int
    wait_s: float
    format: str
    camera: Mapping[str, Any]
    depth: bool


@dataclass(frozen=True)
class Ready:
    """Say when the scene is ready, without a picture."""

    type: ClassVar[str] = "ready"
    reply: str
    fence: int
    wait_s: float


@dataclass(frozen=True)
class Render:
    """Have React render what came before, so that it does not take what comes next for the same change."""

    type: ClassVar[str] = "render"


@dataclass(frozen=True)
class Begin:
    """What comes next is another job's: from here on chance and time are those of its seed, of 32 bits."""

    type: ClassVar[str] = "begin"
    seed: int


@dataclass(frozen=True)
class Bye:
    """The run ended: do not reconnect."""

    type: ClassVar[str] = "bye"


@dataclass(frozen=True)
class Hello:
    """Once, when the client is there. ok: whether it can be watched; reason: why not.

    versions: of the client's parts. browser: its user agent. renderer: what draws, as WebGL names it.
    """

    type: ClassVar[str] = "hello"
    ok: bool = False
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    browser: str = ""
    renderer: str = ""


@dataclass(frozen=True)
class IsReady:
    """The scene is ready."""

    type: ClassVar[str] = "is_ready"
    reply: str


@dataclass(frozen=True)
class Refused:
    """There is no picture, because it would be wrong. is_lost: the browser cannot draw any more.

    reply: '' where nobody has asked for one, and there will be none any more.
    """

    type: ClassVar[str] = "refused"
    reply: str
    reason: str
    is_lost: bool = False


@dataclass(frozen=True)
class Waits:
    """A picture waits for something that is loaded, now and then while it takes long, and once when it came.

    lacks: what for; empty when it waits no more. waited_s: for how long, until now.
    """

    type: ClassVar[str] = "waits"
    lacks: Sequence[str] = ()
    waited_s: float = 0.0


@dataclass(frozen=True)
class Hidden:
    """Whether the tab is out of sight, where browsers let it do little. held_s: how late they let its timers come."""

    type: ClassVar[str] = "hidden"
    is_hidden: bool = False
    held_s: float = 0.0


Message = Grab | Ready | Render | Begin | Bye | Hello | IsReady | Refused | Waits | Hidden
TO_PAGE: tuple[type[Message], ...] = (Grab, Ready, Render, Begin, Bye)
FROM_PAGE: tuple[type[Message], ...] = (Hello, IsReady, Refused, Waits, Hidden)
_KINDS = wire.kinds_of(FROM_PAGE)


def encode(message: Message) -> str:
    """The message as the page reads it."""
    return wire.encode(message)


# In a parcel each message has before it whether it is a text, and how many bytes it has.
_PART = struct.Struct(">?I")


def joined(messages: Iterable[bytes | str]) -> bytes:
    """Several messages to the page as one: what costs is that something comes, here and in the browser."""
    parts = [bytes([PARCEL])]
    for message in messages:
        content = message.encode() if isinstance(message, str) else message
        parts += [_PART.pack(isinstance(message, str), len(content)), content]
    return b"".join(parts)


def parted(message: bytes | str) -> list[bytes | str]:
    """The messages that joined() was given; of any other message that alone."""
    if isinstance(message, str) or message[:1] != bytes([PARCEL]):
        return [message]
    found: list[bytes | str] = []
    at = 1
    while at < len(message):
        is_text, length = _PART.unpack_from(message, at)
        content = message[at + _PART.size : at + _PART.size + length]
        found.append(content.decode() if is_text else content)
        at += _PART.size + length
    return found


def decode(text: str) -> Message | None:
    """What the page says; None where it is of a kind that is not known. Raises ValueError where it makes no sense."""
    return wire.decode(text, _KINDS, LARGEST_TEXT)
