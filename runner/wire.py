"""Messages as JSON texts and back: each kind is a frozen dataclass with a type; nonsense is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Protocol, TypeVar

__all__ = ["Message", "decode", "encode", "kinds_of"]


class Message(Protocol):
    """A message: a dataclass whose parts are plain values."""

    type: ClassVar[str]


_Kind = TypeVar("_Kind", bound=Message)
# By their spelling in the dataclasses.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "bool": bool,
    "int": int,
    "float": (int, float),
    "Mapping[str, str]": dict,
    "Sequence[str]": list,
}


def kinds_of(kinds: Sequence[type[_Kind]]) -> dict[str, type[_Kind]]:
    """The kinds by their types, as decode takes them."""
    return {kind.type: kind for kind in kinds}


def encode(message: Message) -> str:
    """The message as a text."""
    return json.dumps({"type": message.type} | vars(message))


def decode(text: str, kinds: Mapping[str, type[_Kind]], longest: int) -> _Kind | None:
    """The message; None for another kind. Raises ValueError where it makes no sense.

    longest: how many characters it may have. Unknown parts are ignored.
    """
    if len(text) > longest:
        raise ValueError(f"a text of {len(text):,} characters")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON ({error})") from None
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        raise ValueError("JSON that is not an object with a type")
    kind: Any = kinds.get(said["type"])
    if kind is None:
        return None
    given = {part.name: said[part.name] for part in fields(kind) if part.name in said}
    for part in fields(kind):
        if part.name in given and not isinstance(given[part.name], _TYPES[str(part.type)]):
            raise ValueError(f"{kind.type} with a {type(given[part.name]).__name__} as {part.name}")
    try:
        found: _Kind = kind(**given)
    except TypeError:
        raise ValueError(f"{kind.type} without all of its parts") from None
    return found
