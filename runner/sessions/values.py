"""Values of elements that cannot be sent to a browser, or would silently make a wrong picture; no I/O."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from runner.errors import FrameError

__all__ = ["refuse_unusable"]

_SENDABLE = (str, int, float, bytes, bytearray, memoryview, list, tuple, dict, type(None))
_NUMBERS = frozenset({int, float})
# A longer list is data, and is checked only when it is sent.
_LONGEST_LIST = 64
_FINITE = frozenset(
    {"position", "rotation", "quaternion", "scale", "matrix", "lookAt", "up", "args", "intensity"}
)
_TRUTHS = frozenset({"hide", "visible"})
# What is looked at though it is a plain text or number.
_CHOSEN = _TRUTHS | {"side", "material", "scale", "position", "rotation", "quaternion"}
# How many numbers three.js takes of a list: with fewer the object is in no picture, and nobody is told.
_POSE_NUMBERS = {"position": 3, "rotation": 3, "scale": 3, "quaternion": 4}
_ORDERS = frozenset(map("".join, itertools.permutations("XYZ")))
# So far from 1 the length of a quaternion may be: one of three decimals is rounded.
_LENGTH_OFF = 0.02
# How many numbers a camera's props have; a rotation may also name the order of its axes.
_CAMERA_NUMBERS = {"position": 3, "rotation": 3, "quaternion": 4, "matrix": 16, "lookAt": 3, "up": 3}
_CAMERA_SCALARS = ("width", "height", "fov", "near", "far", "top", "bottom", "left", "right", "downsample")


def refuse_unusable(node: Mapping[str, Any], branches: tuple[str, ...]) -> None:
    """Raises FrameError for a field of an element with an unusable value. branches: fields that hold elements."""
    is_camera = node.get("tag") == "CameraView"
    for name, own in node.items():
        if name in branches or (not is_camera and _is_surely_good(name, own)):
            continue
        for field, value in _fields(own, name):
            reason = _why_no_camera(field, value) if is_camera else ""
            reason = reason or _why_unusable(field.rpartition(".")[2], value) or _why_no_pose(field, value)
            if reason:
                raise FrameError(f"element {node.get('key')!r}: its {field} {reason}")


def _is_surely_good(name: str, value: Any) -> bool:
    """A quick test for what nearly all elements hold: short lists of small numbers, plain text, dicts of these."""
    kind = value.__class__
    if name in _CHOSEN and (kind is str or kind is int or kind is float):
        return False
    if kind is str:
        return bool(value.isascii())
    if kind is dict:
        return all(_is_surely_good(part, inner) for part, inner in value.items())
    if kind is list or kind is tuple:
        if len(value) > _LONGEST_LIST or name.endswith(("map", "Map")):
            return False
        if name in _POSE_NUMBERS and (len(value) != 3 or name == "quaternion"):
            return False
        return all(_is_small(item) for item in value)
    return kind is bool or (_is_small(value) and not name.endswith(("map", "Map")))


def _is_small(value: Any) -> bool:
    kind = type(value)
    return kind in _NUMBERS and bool(-1e18 < value < 1e18)


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values in an element's props, by their names, also in dicts within, and single items of short lists."""
    if isinstance(value, Mapping):
        for part, inner in value.items():
            yield from _fields(inner, f"{name}.{part}" if name else str(part))
        return
    yield name, value
    if isinstance(value, (list, tuple)) and len(value) <= _LONGEST_LIST:
        for item in value:
            if not isinstance(item, float):
                yield from _fields(item, f"{name}[]")


def _why_unusable(name: str, value: Any) -> str:
    if isinstance(value, PurePath):
        return (
            f"is the path {str(value)!r}, and a browser needs a URL: campaign.asset(…) makes one from a file"
        )
    if not isinstance(value, _SENDABLE):
        return f"is a {type(value).__name__}, which cannot be sent to a browser"
    if (name == "map" or name.endswith("Map")) and not isinstance(value, (str, type(None))):
        return (
            f"is {_kind_of(value)}, and Vuer's client needs the URL of a picture there: write it to a file, and give "
            "campaign.asset(…)"
        )
    if isinstance(value, str) and not _is_text(value):
        return f"is {value[:80]!r}, which is not text that can be sent"
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return "is a whole number of more than 64 bits, which cannot be sent to a browser"
    if name in _FINITE and not all(map(math.isfinite, _numbers(value))):
        return f"is {value!r}: the element would be in no picture"
    if any(map(math.isnan, _numbers(value))):
        return f"is {str(value)[:80]}: NaN is no number that could be drawn"
    if name in _TRUTHS and not isinstance(value, (bool, type(None))):
        return f"takes True or False, and got {value!r:.80}"
    if name == "side" and value not in (0, 1, 2, None):
        return f"is 0 (front), 1 (back) or 2 (both), and got {value!r:.80}"
    if name == "jointValues" and value is not None:
        return f"takes a dict of angles by the names of joints, and got {str(value)[:80]}"
    if name == "material" and isinstance(value, str):
        return f"takes a dict such as {{'color': {value[:80]!r}}}, and got a text"
    return ""


def _why_no_pose(field: str, value: Any) -> str:
    count = _POSE_NUMBERS.get(field)
    if count is None or value is None:
        return ""
    if isinstance(value, str):
        return f"takes numbers, and got the text {value[:80]!r}"
    if not isinstance(value, (list, tuple)):
        return ""
    order = value[3:] if field == "rotation" else ()
    if len(value) < count or (field == "quaternion" and len(value) > count):
        return f"takes {count} numbers, and got {str(value)[:80]}: the element would be in no picture"
    if order and not (isinstance(order[0], str) and order[0] in _ORDERS):
        return f"takes three angles, and the order of the axes such as 'XYZ', and got {str(value)[:80]}"
    if field == "quaternion" and abs(math.hypot(*_numbers(value)) - 1) > _LENGTH_OFF:
        return f"has the length {math.hypot(*_numbers(value)):.4g}, and that of a rotation is 1: got {str(value)[:80]}"
    return ""


def _why_no_camera(field: str, value: Any) -> str:
    count = _CAMERA_NUMBERS.get(field)
    if count:
        values = list(value) if isinstance(value, (list, tuple)) else []
        if field == "rotation" and len(values) == 4 and isinstance(values[3], str):
            values.pop()
        if len(values) != count or len(_numbers(values)) != count:
            return f"takes {count} numbers in one list, and got {str(value)[:80]}"
    elif field in _CAMERA_SCALARS and (len(_numbers([value])) != 1 or not math.isfinite(value)):
        return f"takes a number, and got {str(value)[:80]}"
    return ""


def _numbers(value: Any) -> list[float]:
    items = value if isinstance(value, (list, tuple)) else [value]
    return [item for item in items if isinstance(item, (int, float)) and not isinstance(item, bool)]


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind_of(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "a list of numbers, or an array,"
    return f"a {type(value).__name__}"
