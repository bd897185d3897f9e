"""The bytes and the media type of what a render function saves."""

from __future__ import annotations

import io
import json
import os
from typing import Any

from runner.errors import ArtifactError
from runner.frame import RAW, Frame

IMAGE_KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def encode(name: str, content: Any) -> tuple[bytes, str]:
    """The bytes to store and their media type. Raises ArtifactError where name and content disagree."""
    ending = os.path.splitext(name)[1].lower()
    if isinstance(content, Frame) and content.kind == RAW:
        return _encode_array(name, ending, content.array)
    if isinstance(content, Frame):
        expected = IMAGE_KINDS.get(ending)
        if expected != content.kind:
            right = content.kind.removeprefix("image/").replace("jpeg", "jpg")
            raise ArtifactError(f"{name!r} would hold a {content.kind} picture: name it .{right}")
        return content.data, content.kind
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content), IMAGE_KINDS.get(ending, "application/octet-stream")
    if isinstance(content, str):
        return content.encode(), "text/plain"
    if isinstance(content, (dict, list)):
        try:
            return json.dumps(content, indent=1).encode(), "application/json"
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"{name!r} cannot be written as JSON: {error}") from None
    if hasattr(content, "__array__") or hasattr(content, "__array_interface__"):
        return _encode_array(name, ending, content)
    raise ArtifactError(
        f"{name!r}: cannot save a {type(content).__name__}; give a frame, bytes, text, an array, "
        "or a dict or list"
    )


def _encode_array(name: str, ending: str, content: Any) -> tuple[bytes, str]:
    import numpy as np
    from PIL import Image

    array = np.asarray(content)
    buffer = io.BytesIO()
    if ending == ".npy":
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue(), "application/x-npy"
    if ending not in IMAGE_KINDS:
        raise ArtifactError(f"{name!r}: name an array .npy, or .png, .jpg or .webp if it is an image")
    if ending == ".png" and array.dtype in (np.float32, np.float64) and array.ndim == 2:
        array = _millimetres(array)
    is_deep = ending == ".png" and array.dtype == np.uint16 and array.ndim == 2
    if array.dtype != np.uint8 and not is_deep:
        raise ArtifactError(f"{name!r}: an image needs uint8, not {array.dtype}; use .npy to keep it exactly")
    try:
        options = {"quality": 95} if ending != ".webp" else {"lossless": True}
        Image.fromarray(array).save(buffer, format=IMAGE_KINDS[ending].removeprefix("image/"), **options)
    except (TypeError, ValueError, OSError) as error:
        raise ArtifactError(f"{name!r}: an array of shape {array.shape} is no image ({error})") from None
    return buffer.getvalue(), IMAGE_KINDS[ending]


def _millimetres(depth: Any) -> Any:
    """Depth in metres as a 16-bit image in millimetres, 0 where nothing is, or nothing nearer than 65.535 m.

    So ROS has it (REP 118), and most readers of depth images.
    """
    import numpy as np

    millimetres = np.round(depth * 1000.0)
    known = np.isfinite(millimetres) & (millimetres > 0) & (millimetres <= 65535)
    return np.where(known, millimetres, 0).astype(np.uint16)
