"""Encodes what a render function saves: its bytes and media type (Pillow, NumPy)."""

from __future__ import annotations

import inspect
import io
import json
import math
import os
import zipfile
from typing import Any

from runner.errors import ArtifactError, FrameError
from runner.frame import RAW, Frame

IMAGE_KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
# A text inside the PNG that explains its numbers.
DEPTH_MARK = ("Depth", "millimetres, 0 where nothing is")
_NPY_MAGIC = b"\x93NUMPY"
# The endings of files that are no text, and of texts that are not JSON.
_BINARY = frozenset({
    *IMAGE_KINDS, ".npy", ".npz", ".pkl", ".pickle", ".pt", ".pth", ".safetensors", ".h5", ".hdf5", ".mat", ".parquet",
    ".exr", ".tif", ".tiff", ".bmp", ".gif", ".mp4", ".glb", ".zip", ".gz", ".tar",
})  # fmt: skip
_TABLES = frozenset({".csv", ".tsv"})
# Pictures of Pillow's whose numbers are not grey, nor red, green and blue.
_OTHER_COLORS = frozenset({"P", "PA", "LA", "CMYK", "YCbCr", "HSV", "LAB", "La", "RGBa", "RGBX"})
# Farther than that 16 bits of millimetres do not reach.
_FARTHEST_M = 65.535


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
    if isinstance(content, (str, dict, list)):
        _refuse_text_as_numbers(name, ending, content)
    if isinstance(content, str):
        # A name from a disk may hold what UTF-8 has no bytes for.
        return content.encode(errors="backslashreplace"), "text/plain"
    if isinstance(content, (dict, list)):
        return _encode_json(name, content), "application/json"
    if hasattr(content, "__array__") or hasattr(content, "__array_interface__"):
        return _encode_array(name, ending, content)
    if inspect.iscoroutine(content):
        content.close()
        raise ArtifactError(f"{name!r}: this is a coroutine, not its result: write 'await' before the call")
    raise ArtifactError(
        f"{name!r}: cannot save a {type(content).__name__}; give a frame, bytes, text, an array, "
        "or a dict or list"
    )


def _refuse_other_kind(name: str, kind: str) -> None:
    if IMAGE_KINDS.get(os.path.splitext(name)[1].lower()) != kind:
        right = kind.removeprefix("image/").replace("jpeg", "jpg")
        raise ArtifactError(f"{name!r} holds a picture of type {kind}: name it .{right}")


def _refuse_text_as_numbers(name: str, ending: str, content: Any) -> None:
    """Under the name of a picture, or of arrays, nobody looks for the path of a file, or for JSON."""
    is_text = isinstance(content, str)
    if ending in _BINARY or (ending in _TABLES and not is_text):
        if ending in _TABLES:
            hint = "its text"
        elif ending in IMAGE_KINDS or ending == ".npy":
            hint = "Path(…).read_bytes()" if is_text else "numpy.asarray(…)"
        else:
            hint = "the bytes of such a file (a dict or list is written as JSON)"
        raise ArtifactError(
            f"{name!r} cannot hold a {type(content).__name__}: give what is to be in the file, such as {hint}"
        )


def _checked_bytes(name: str, ending: str, content: bytes) -> tuple[bytes, str]:
    """Bytes under a picture's name must be that picture, and whole."""
    if ending == ".npy" and not content.startswith(_NPY_MAGIC):
        raise ArtifactError(f"{name!r}: {len(content)} bytes that are no .npy file: give the array itself")
    if not content and ending in _BINARY:
        raise ArtifactError(f"{name!r}: there are no bytes: of a BytesIO give its .getvalue()")
    if ending == ".npz" and not zipfile.is_zipfile(io.BytesIO(content)):
        raise ArtifactError(f"{name!r}: {len(content)} bytes that are no .npz file, or half of one")
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
    """Standard JSON, which has no such numbers: "NaN", "Infinity" and "-Infinity" become texts."""
    try:
        return json.dumps(_json_value(content), indent=1, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{name!r} cannot be written as JSON: {error}") from None


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        named = {_json_name(name): _json_value(inner) for name, inner in value.items()}
        if len(named) < len(value):
            raise ValueError(f"two of its names are the same text, among {list(value)!r:.100}")
        return named
    if isinstance(value, (list, tuple)):
        return [_json_value(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if hasattr(value, "tolist"):
        # NumPy's numbers and arrays.
        return _json_value(value.tolist())
    return value


def _json_name(name: Any) -> Any:
    """The text that JSON makes of a name, where it makes one."""
    if isinstance(name, str) or not isinstance(name, (bool, int, float, type(None))):
        return name
    return json.dumps(name, allow_nan=False)


def _encode_array(name: str, ending: str, content: Any) -> tuple[bytes, str]:
    import numpy as np
    from PIL import Image, PngImagePlugin

    from runner.arrays import Depth

    if isinstance(content, Image.Image) and content.mode in _OTHER_COLORS:
        content = _with_plain_colors(name, content)
    if isinstance(content, np.ma.MaskedArray):
        raise ArtifactError(f"{name!r}: what a masked array hides would be shown: save its .filled(…)")
    array = np.asarray(content)
    buffer = io.BytesIO()
    if ending == ".npy":
        if array.dtype.hasobject:
            raise ArtifactError(f"{name!r}: an array of Python objects has no .npy form: save numbers")
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue(), "application/x-npy"
    if ending not in IMAGE_KINDS:
        raise ArtifactError(f"{name!r}: name an array .npy, or .png, .jpg or .webp if it is an image")
    options: dict[str, Any] = {"quality": 95} if ending != ".webp" else {"lossless": True}
    if isinstance(content, Depth):
        if ending != ".png" or array.ndim != 2:
            raise ArtifactError(f"{name!r}: depth of shape (height, width) is kept as .png, or as .npy")
        array = _millimetres(name, array)
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text(*DEPTH_MARK)
    _refuse_other_numbers(name, ending, array)
    try:
        if array.dtype == np.bool_:
            # One bit for each pixel, so that readers find only black and white.
            image = Image.fromarray(array.astype(np.uint8) * 255).convert("1")
        else:
            image = Image.fromarray(np.ascontiguousarray(array))
        image.save(buffer, format=IMAGE_KINDS[ending].removeprefix("image/"), **options)
    except (TypeError, ValueError, OSError) as error:
        raise ArtifactError(f"{name!r}: an array of shape {array.shape} is not an image ({error})") from None
    return buffer.getvalue(), IMAGE_KINDS[ending]


def _refuse_other_numbers(name: str, ending: str, array: Any) -> None:
    """The numbers of an image say by their type what they mean; floats could mean anything."""
    import numpy as np

    if np.issubdtype(array.dtype, np.floating):
        raise ArtifactError(
            f"{name!r}: {array.dtype} numbers do not say what they mean. For a picture of values from 0 to 1 save "
            "(255 * array).round().astype('uint8'); for depth in metres, Depth(array) (from runner import Depth) "
            "as .png; .npy keeps any array exactly"
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ArtifactError(
            f"{name!r}: an array of shape {array.shape} is not an image: that is (height, width), or (height, width, 3 "
            "or 4)"
        )
    is_deep = ending == ".png" and array.dtype in (np.uint16, np.bool_) and array.ndim == 2
    if array.dtype != np.uint8 and not is_deep:
        raise ArtifactError(
            f"{name!r}: an image needs uint8 (or, as .png of shape (height, width), uint16 or bool), "
            f"not {array.dtype}; use .npy to keep it exactly"
        )


def _with_plain_colors(name: str, image: Any) -> Any:
    """The same picture in red, green and blue: what its own numbers mean no file of numbers alone would say."""
    has_alpha = image.mode in ("PA", "LA", "La", "RGBa") or "transparency" in image.info
    try:
        return image.convert("RGBA" if has_alpha else "RGB")
    except ValueError as error:
        raise ArtifactError(
            f"{name!r}: a picture of mode {image.mode}: {error}; save its .convert('RGB')"
        ) from None


def _millimetres(name: str, depth: Any) -> Any:
    """Depth in metres as a 16-bit image in millimetres, 0 where nothing is.

    So ROS has it (REP 118), and most readers of depth images.
    """
    import numpy as np

    nearest = float(np.min(depth, initial=0.0, where=~np.isnan(depth)))
    if nearest < 0:
        raise ArtifactError(
            f"{name!r}: depth of {nearest:.6g} m: it is counted from the camera forward, and 0 in such a .png means "
            "that nothing is there: save abs(z), or np.inf where nothing is"
        )
    farthest = float(np.max(depth, initial=0.0, where=np.isfinite(depth)))
    if farthest > _FARTHEST_M:
        raise ArtifactError(
            f"{name!r}: depth of {farthest:.6g} m, and a .png in millimetres ends at {_FARTHEST_M} m: save it as .npy, "
            "or divide millimetres by 1000"
        )
    millimetres = np.round(depth * 1000.0)
    known = np.isfinite(millimetres) & (millimetres > 0)
    return np.where(known, millimetres, 0).astype(np.uint16)
