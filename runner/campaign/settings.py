"""Converts the text of `--set NAME=VALUE` to the type of the argument's annotation or default."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union

__all__ = ["UnfitValue", "convert", "settable"]

_NAMED_ONLY = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class UnfitValue(ValueError):
    """The text does not fit the type; the message says what to write."""


def settable(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a function that can be set, by name, with their annotations evaluated."""
    parameters = inspect.signature(function).parameters
    try:
        hints = typing.get_type_hints(function)
    except Exception:
        # An annotation that names something not imported is for readers only; the default tells the type.
        hints = {}
    return {
        name: parameter.replace(annotation=hints.get(name, inspect.Parameter.empty))
        for name, parameter in parameters.items()
        if parameter.kind in _NAMED_ONLY
    }


def convert(text: str, parameter: inspect.Parameter) -> Any:
    """The value that the text stands for, of the annotation's type, or else of the default's.

    Without either it stays text. Raises UnfitValue.
    """
    if parameter.annotation is not inspect.Parameter.empty:
        return _as_kind(text, parameter.annotation)
    if parameter.default is inspect.Parameter.empty or parameter.default is None:
        return text
    if isinstance(parameter.default, (Mapping, list, tuple, set)):
        return _as_kind(text, type(parameter.default))
    return _as_kind(text, Path if isinstance(parameter.default, Path) else type(parameter.default))


def _as_kind(text: str, kind: Any) -> Any:
    origin, choices = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is typing.Annotated:
        return _as_kind(text, choices[0])
    if origin in (Union, types.UnionType):
        return _as_first(text, choices)
    if origin is Literal:
        return _as_choice(text, {str(choice): choice for choice in choices})
    if origin in (str, Any, object):
        return text
    if origin is None or origin is type(None):
        return _as_none(text)
    if origin is bool:
        return _as_truth(text)
    if origin in (int, float):
        return _as_number(text, origin)
    if isinstance(origin, type) and issubclass(origin, Path):
        return origin(text)
    if isinstance(origin, type) and issubclass(origin, Enum):
        return _as_choice(text, {str(one.value): one for one in origin} | origin.__members__)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _as_json(text, dict, "an object", '{"name": 1}')
    if isinstance(origin, type) and issubclass(origin, (Sequence, set)):
        items = _as_items(_as_json(text, list, "a list", "[1, 2]"), choices)
        return origin(items) if origin in (tuple, set) else items
    raise UnfitValue(
        f"it is a {getattr(origin, '__name__', origin)}, which cannot be made from text: take text or a number, and "
        "convert it in the function"
    )


def _as_first(text: str, kinds: Sequence[Any]) -> Any:
    """Convert to the first of these types that fits. Text that fits any other type is not taken as plain text."""
    reasons = []
    for kind in sorted(kinds, key=lambda kind: (kind is str, kind is not type(None))):
        try:
            return _as_kind(text, kind)
        except UnfitValue as error:
            reasons.append(str(error))
    raise UnfitValue("; or ".join(reasons))


def _as_none(text: str) -> None:
    if text.lower() not in ("none", "null"):
        raise UnfitValue("write none")


def _as_choice(text: str, choices: Mapping[str, Any]) -> Any:
    if text not in choices:
        raise UnfitValue(f"write one of {', '.join(choices)}")
    return choices[text]


def _as_truth(text: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise UnfitValue(f"write one of {', '.join(_TRUTHS)}")
    return _TRUTHS[text.lower()]


def _as_number(text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise UnfitValue("write a whole number" if kind is int else "write a number") from None


def _as_items(items: list[Any], kinds: Sequence[Any]) -> list[Any]:
    """Convert each item to the type that the annotation names: list[int], tuple[float, ...], tuple[str, int]."""
    if not kinds:
        return items
    if len(kinds) == 1 or kinds[1] is ...:
        kinds = [kinds[0]] * len(items)
    if len(items) != len(kinds):
        raise UnfitValue(f"write a list of {len(kinds)}")
    texts = [item if isinstance(item, str) else json.dumps(item) for item in items]
    return [_as_kind(item, kind) for item, kind in zip(texts, kinds)]


def _as_json(text: str, kind: type, what: str, example: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise UnfitValue(f"write {what} as JSON, such as '{example}'")
    return value
