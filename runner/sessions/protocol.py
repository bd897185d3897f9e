"""The messages between the server and the script on the page, beside Vuer's own.

scripts/write_page_protocol writes the page's side, page/protocol.js, from this file.
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

# The key of the fence: an invisible element whose number shows that all that was sent before it is in the scene.
FENCE = "__fence"
# The formats of a picture, and their names in the browser.
FORMATS = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "raw": "raw"}
# The most that a browser may send at once: a picture of 8192x8192 pixels as a PNG, but not as bare pixels.
LARGEST_MESSAGE_BYTES = 1 << 28
# The most characters of a message from the page script; it shortens its reasons.
LARGEST_TEXT = 1 << 16
# The first byte of several messages that are sent as one; MessagePack never uses it.
PARCEL = 0xC1
# The versions of the client's parts that this was tested with.
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
    """Let React render all that came before, so that it does not merge the next messages into the same change."""

    type: ClassVar[str] = "render"


@dataclass(frozen=True)
class Begin:
    """Another job begins: from here on chance and time come from its 32-bit seed."""

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

    reply: '' if nobody has asked for one, and no more pictures will come.
    """

    type: ClassVar[str] = "refused"
    reply: str
    reason: str
    is_lost: bool = False


@dataclass(frozen=True)
class Waits:
    """A picture waits for something that is loading. Sent now and then while that takes long, and once at its end.

    lacks: what it waits for; empty at the end. waited_s: for how long, until now.
    """

    type: ClassVar[str] = "waits"
    lacks: Sequence[str] = ()
    waited_s: float = 0.0


@dataclass(frozen=True)
class Hidden:
    """Whether the tab is out of sight, and so slowed down. held_s: how late its timers come."""

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


# In a parcel each message is preceded by a flag for text, and by its length in bytes.
_PART = struct.Struct(">?I")


def joined(messages: Iterable[bytes | str]) -> bytes:
    """Several messages to the page as one, because each arrival costs, here and in the browser."""
    parts = [bytes([PARCEL])]
    for message in messages:
        content = message.encode() if isinstance(message, str) else message
        parts += [_PART.pack(isinstance(message, str), len(content)), content]
    return b"".join(parts)


def parted(message: bytes | str) -> list[bytes | str]:
    """The messages that joined() was given; for any other message, only that one."""
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
    """A message from the page; None for an unknown kind. Raises ValueError where it makes no sense."""
    return wire.decode(text, _KINDS, LARGEST_TEXT)
