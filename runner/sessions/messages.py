"""Turns Vuer's events into plain messages, and these into the bytes that the client reads; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
from vuer.events import ServerEvent

from runner.errors import FrameError
from runner.sessions.cameras import BRANCHES

__all__ = ["nodes_of", "packed", "plain_message", "unpacked"]

# A single byte can stand for a whole list. The client's own messages have some ten lists of sixteen items.
_MOST_CONTAINERS, _LONGEST_CONTAINER = 256, 2048


def plain_message(event: ServerEvent) -> dict[str, Any]:
    """The event as it is sent; elements that were given as dicts are copied, because they may be changed later."""
    message: dict[str, Any] = event._serialize()
    data = message.get("data")
    if isinstance(data, dict) and _holds_dicts(event.data):
        message["data"] = _copied(data)
    for node in nodes_of(message.get("data")):
        _take_own_textures(node)
    return message


def nodes_of(data: Any) -> Iterator[dict[str, Any]]:
    """All elements of a message's data, parents first."""
    if isinstance(data, (list, tuple)):
        for item in data:
            yield from nodes_of(item)
    elif isinstance(data, dict):
        if "tag" in data:
            yield data
        for branch in BRANCHES:
            if branch in data:
                yield from nodes_of(data[branch])


def packed(message: dict[str, Any]) -> bytes:
    """The message, with its time in whole milliseconds and numbers in single floats. Raises FrameError."""
    message["ts"] = int(message["ts"] * 1000)
    try:
        found: bytes = msgpack.packb(message, use_single_float=True, default=_plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"what the scene holds cannot be sent to the browser: {error}") from None
    return found


def unpacked(data: bytes) -> dict[str, Any]:
    """A message of the client. Raises ValueError if it is not one, or unpacks to more than any of the client's."""
    left = iter(range(_MOST_CONTAINERS))

    def counted(value: Any) -> Any:
        if next(left, None) is None:
            raise ValueError(f"more than {_MOST_CONTAINERS} lists and maps")
        return value

    limits = {"max_array_len": _LONGEST_CONTAINER, "max_map_len": _LONGEST_CONTAINER}
    try:
        event = msgpack.unpackb(data, raw=False, object_hook=counted, list_hook=counted, **limits)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"no MessagePack ({error})") from None
    if not isinstance(event, dict):
        raise ValueError(f"a {type(event).__name__} in place of a map")
    return event


def _take_own_textures(node: dict[str, Any]) -> None:
    """A texture that is repeated, or is no picture of colours, gets an address of its own: nothing behind # is sent.

    The client has one texture for each address, and sets its repetition and what its numbers mean on that, for all that
    show it. One that was drawn before stays as it was.
    """
    material = node.get("material")
    if not isinstance(material, dict):
        return
    repeat = material.get("mapRepeat")
    marks = {"displacementMap": "displacement", "normalMap": "normal"} | (
        {"map": f"repeat={repeat}"} if repeat else {}
    )
    own = {
        name: f"{material[name]}#{mark}".replace(" ", "")
        for name, mark in marks.items()
        if isinstance(material.get(name), str) and "#" not in material[name]
    }
    if own:
        node["material"] = {**material, **own}


def _holds_dicts(given: Any) -> bool:
    """Whether an element among these, or within one, was given as a dict: Vuer copies what its own elements hold."""
    if isinstance(given, (list, tuple)):
        return any(isinstance(node, dict) or _holds_dicts(node) for node in given)
    held = given if isinstance(given, dict) else getattr(given, "__dict__", {})
    return any(_holds_dicts(held[branch]) for branch in BRANCHES if held.get(branch))


def _copied(value: Any) -> Any:
    """Copies dicts and lists, with arrays as lists of numbers, as Vuer does with its elements' own."""
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _plain(value: Any) -> Any:
    """NumPy arrays and numbers as plain ones, for msgpack."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"there is a {type(value).__name__}")
