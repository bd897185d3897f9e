"""The arrays of a frame: its pixels, which are read-only, and depth, which is marked as such (NumPy)."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Depth", "Pixels"]


class _Kept(np.ndarray[Any, np.dtype[Any]]):
    """An array that belongs to a frame. Arrays computed from it are ordinary ones."""

    def __setitem__(self, index: Any, value: Any) -> None:
        self._refuse_read_only()
        super().__setitem__(index, value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        for target in options.get("out", ()):
            if isinstance(target, _Kept):
                target._refuse_read_only()
        if "out" in options:
            options["out"] = tuple(map(_plain, options["out"]))
        return getattr(ufunc, method)(*map(_plain, inputs), **options)

    def _refuse_read_only(self) -> None:
        if not self.flags.writeable:
            raise ValueError(
                "this array is the frame as the browser sent it, and is read-only: change a copy instead, as in pixels "
                "= frame.array.copy() or depth = frame.depth.copy()"
            )


class Pixels(_Kept):
    """The pixels of a frame: uint8, read-only. Its copy() is an ordinary array."""

    def copy(self, order: Any = "C") -> Any:
        return np.array(self, order=order, subok=False)


class Depth(_Kept):
    """Depth in metres, and marked as such, for job.save to keep as a 16-bit PNG in millimetres.

    metres: an array of shape (height, width). frame.depth is one; Depth(array) makes one of an array that
    was computed. Its slices and its copy() are Depth, too. Arrays computed from it are ordinary ones.
    """

    def __new__(cls, metres: Any) -> Depth:
        array = np.asarray(metres)
        if not np.issubdtype(array.dtype, np.floating):
            array = array.astype(np.float32)
        return array.view(cls)


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, _Kept) else value
