"""The bytes and the media type of what a render function saves (Pillow, NumPy)."""

from __future__ import annotations

import inspect
import io
import json
import math
import os
from typing import Any

from runner.errors import ArtifactError, FrameError
from runner.frame import RAW, Frame

IMAGE_KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
# A text in the PNG itself: what its numbers are.
DEPTH_MARK = ("Depth", "millimetres, 0 where nothing is")


def encode(name: str, content: Any) -> tuple[bytes, str]:
    """The bytes to store and their media type. Raises ArtifactError where name and content disagree."""
    ending = os.path.splitext(name)[1].lower()
    if isinstance(content, Frame) and content.kind == RAW:
        return _encode_array(name, ending, content.array)
    if isinstance(content, Frame):
        _refuse_other_kind(name, content.kind)
        return content.data, content.kind
    if isinstance(content, (bytes, bytearray, memoryview)):
        return _checked_bytes(name, ending, bytes(content))
    if isinstance(content, str):
        # A name from a disk may hold what UTF-8 has no bytes for.
        return content.encode(errors="backslashreplace"), "text/plain"
    if isinstance(content, (dict, list)):
        return _encode_json(name, content), "application/json"
    if hasattr(content, "__array__") or hasattr(content, "__array_interface__"):
        return _encode_array(name, ending, content)
    if inspect.iscoroutine(content):
        content.close()
        raise ArtifactError(f"{name!r}: there is a coroutine, not its result: write 'await' before the call")
    raise ArtifactError(
        f"{name!r}: cannot save a {type(content).__name__}; give a frame, bytes, text, an array, "
        "or a dict or list"
    )


def _refuse_other_kind(name: str, kind: str) -> None:
    if IMAGE_KINDS.get(os.path.splitext(name)[1].lower()) != kind:
        right = kind.removeprefix("image/").replace("jpeg", "jpg")
        raise ArtifactError(f"{name!r} holds a picture of type {kind}: name it .{right}")


def _checked_bytes(name: str, ending: str, content: bytes) -> tuple[bytes, str]:
    """Under a picture's name, bytes are that picture, and whole."""
    if ending not in IMAGE_KINDS:
        return content, "application/octet-stream"
    try:
        frame = Frame(content)
    except FrameError as error:
        raise ArtifactError(f"{name!r}: {str(error).removeprefix('the browser sent ')}") from None
    if frame.kind == RAW:
        return _encode_array(name, ending, frame.array)
    _refuse_other_kind(name, frame.kind)
    return content, frame.kind


def _encode_json(name: str, content: Any) -> bytes:
    """JSON as the standard has it: for its lack of words, "NaN", "Infinity" and "-Infinity" are text."""
    try:
        return json.dumps(_json_value(content), indent=1, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{name!r} cannot be written as JSON: {error}") from None


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json_value(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if hasattr(value, "tolist"):
        # NumPy's numbers and arrays.
        return _json_value(value.tolist())
    return value


def _encode_array(name: str, ending: str, content: Any) -> tuple[bytes, str]:
    import numpy as np
    from PIL import Image, PngImagePlugin

    from runner.arrays import Depth

    array = np.asarray(content)
    buffer = io.BytesIO()
    if ending == ".npy":
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue(), "application/x-npy"
    if ending not in IMAGE_KINDS:
        raise ArtifactError(f"{name!r}: name an array .npy, or .png, .jpg or .webp if it is an image")
    options: dict[str, Any] = {"quality": 95} if ending != ".webp" else {"lossless": True}
    if isinstance(content, Depth):
        if ending != ".png" or array.ndim != 2:
            raise ArtifactError(f"{name!r}: depth of shape (height, width) is kept as .png, or as .npy")
        array = _millimetres(array)
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text(*DEPTH_MARK)
    _refuse_other_numbers(name, ending, array)
    try:
        if array.dtype == np.bool_:
            # One bit a pixel: no grey in between that a reader would have to cut.
            image = Image.fromarray(array.astype(np.uint8) * 255).convert("1")
        else:
            image = Image.fromarray(np.ascontiguousarray(array))
        image.save(buffer, format=IMAGE_KINDS[ending].removeprefix("image/"), **options)
    except (TypeError, ValueError, OSError) as error:
        raise ArtifactError(f"{name!r}: an array of shape {array.shape} is not an image ({error})") from None
    return buffer.getvalue(), IMAGE_KINDS[ending]


def _refuse_other_numbers(name: str, ending: str, array: Any) -> None:
    """An image's numbers say by their type what they are; floats could be anything."""
    import numpy as np

    if np.issubdtype(array.dtype, np.floating):
        raise ArtifactError(
            f"{name!r}: {array.dtype} numbers do not say what they are. For a picture of values from 0 to 1 save "
            "(255 * array).round().astype('uint8'); for depth in metres, Depth(array) (from runner import Depth) "
            "as .png; .npy keeps any array exactly"
        )
    is_deep = ending == ".png" and array.dtype in (np.uint16, np.bool_) and array.ndim == 2
    if array.dtype != np.uint8 and not is_deep:
        raise ArtifactError(
            f"{name!r}: an image needs uint8 (or, as .png of shape (height, width), uint16 or bool), "
            f"not {array.dtype}; use .npy to keep it exactly"
        )


def _millimetres(depth: Any) -> Any:
    """Depth in metres as a 16-bit image in millimetres, 0 where nothing is, or nothing nearer than 65.535 m.

    So ROS has it (REP 118), and most readers of depth images.
    """
    import numpy as np

    millimetres = np.round(depth * 1000.0)
    known = np.isfinite(millimetres) & (millimetres > 0) & (millimetres <= 65535)
    return np.where(known, millimetres, 0).astype(np.uint16)
