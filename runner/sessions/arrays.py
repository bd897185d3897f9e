"""Arrays that Vuer's elements are given: they stay as they were, and what would be sent wrong is refused.

Seen with vuer 0.1.6: PointCloud and TriMesh multiply colours by 255 in the very array that they were given, so that
a second element of the same array has others; they send places as half floats, which end at 65,504; and whatever
shape an array has, its numbers are taken three by three.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from vuer.schemas import Img, PointCloud, TriMesh

from runner.errors import FrameError

__all__ = ["keep_arrays"]

_LARGEST_HALF = 65_504.0
# A cloud whose points are moved by so much of its own size, when they become half floats, is another one.
_COARSE = 1 / 20


def keep_arrays() -> None:
    """From now on, in this process; before a campaign makes its first element."""
    if hasattr(PointCloud.__post_init__, "keeps_arrays"):
        return
    for kind in (PointCloud, TriMesh):
        _keep_arrays_of(kind)
    _refuse_no_pictures()


def _keep_arrays_of(kind: Any) -> None:
    begin = kind.__post_init__

    def begin_with_copies(self: Any, **kwargs: Any) -> None:
        arrays = {
            name: value
            for name in ("vertices", "faces", "colors", "uv")
            if isinstance(value := getattr(self, name, None), np.ndarray)
        }
        why = _why_no_array(self, kind is TriMesh) or _why_wrong(arrays, kind is TriMesh)
        if why:
            raise FrameError(f"element {self.key!r}: {why}")
        if "colors" in arrays:
            self.colors = self.colors.copy()
        begin(self, **kwargs)

    begin_with_copies.keeps_arrays = True  # type: ignore[attr-defined]
    kind.__post_init__ = begin_with_copies


def _why_no_array(element: Any, is_mesh: bool) -> str:
    """Vuer's own error would be that a list, or nothing, has no 'astype'."""
    for name in ("vertices", "faces", "colors", "uv"):
        value = getattr(element, name, None)
        if isinstance(value, (list, tuple)):
            return f"its {name} are a {type(value).__name__}, and Vuer takes an array: numpy.array({name})"
    if element.vertices is None or (is_mesh and element.faces is None):
        need = "vertices and faces" if is_mesh else "vertices"
        node = f"{{'tag': {element.tag!r}, 'key': {element.key!r}, …}}"
        return f"Vuer makes no {element.tag} without {need}; to change something else of it: session.update @ {node}"
    return ""


def _why_wrong(arrays: dict[str, Any], is_mesh: bool) -> str:
    """Why these arrays would come out wrong without a word; '' where they would not."""
    vertices, faces, colors, uv = (arrays.get(name) for name in ("vertices", "faces", "colors", "uv"))
    for name, array in (("vertices", vertices), ("faces", faces)):
        if array is not None and (array.shape[-1] != 3 if array.ndim == 2 else array.size % 3):
            return f"its {name} are of shape {array.shape}, and (…, 3) is taken"
    if vertices is None:
        return ""
    count = vertices.size // 3
    for name, array, widths in (("colors", colors, (3, 4)), ("uv", uv, (2,))):
        if array is not None and not (array.size in [count * width for width in widths] and array.ndim < 3):
            return f"its {name} are of shape {array.shape}, and there are {count} vertices"
    if faces is not None and faces.size and not 0 <= faces.min() <= faces.max() < count:
        return f"its faces go from {faces.min()} to {faces.max()}, and its vertices from 0 to {count - 1}"
    if colors is not None and not _are_shares(colors):
        return f"its colors are {colors.dtype} numbers beyond 0 to 1, and only uint8 goes to 255: give .astype('uint8')"
    return _why_too_far(vertices.reshape(-1, 3), is_mesh)


def _why_too_far(vertices: Any, is_mesh: bool) -> str:
    known = vertices[np.isfinite(vertices).all(axis=1)]
    if is_mesh and len(known) < len(vertices):
        return "its vertices hold NaN or infinity: the mesh would be in no picture"
    if not len(known):
        return ""
    farthest = float(np.abs(known).max())
    if farthest > _LARGEST_HALF:
        return (
            f"its vertices reach {farthest:.6g}, and Vuer sends half floats, which end at {_LARGEST_HALF:,.0f}: "
            "subtract their mean"
        )
    step, size = float(np.spacing(np.float16(farthest))), float(np.ptp(known, axis=0).max())
    if step > _COARSE * size > 0:
        return (
            f"its vertices reach {farthest:.6g}, where Vuer's half floats are {step:g} apart, and span {size:.3g}: "
            "subtract their mean, and give it as position"
        )
    return ""


def _refuse_no_pictures() -> None:
    begin = Img.__init__

    def begin_of_picture(self: Any, data: Any = None, **kwargs: Any) -> None:
        key = kwargs.get("key")
        if isinstance(data, np.ndarray) and not _are_shares(data):
            raise FrameError(
                f"element {key!r}: its picture is of {data.dtype} numbers beyond 0 to 1, and only uint8 goes to 255: "
                "give .astype('uint8')"
            )
        if isinstance(data, (bytes, bytearray)):
            raise FrameError(f"element {key!r}: Vuer takes the bytes of a picture by src=…")
        begin(self, data, **kwargs)

    Img.__init__ = begin_of_picture


def _are_shares(array: Any) -> bool:
    """Whether they are bytes, or what Vuer can multiply by 255 and cut to bytes."""
    return array.dtype == np.uint8 or bool(np.all((array > -1 / 255) & (array < 256 / 255)))
