"""One picture, small: for sheets and pages (Pillow)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from runner.frame import RAW, Frame
from runner.results.shown import is_scaled, shown
from runner.results.stored import Stored

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["small_frame", "small_jpeg", "tile_of"]


def tile_of(picture: Path | Stored | bytes, width: int) -> Image.Image | None:
    """The picture in RGB, at most so wide and so high, in pixels; None where it cannot be read."""
    from PIL import Image

    try:
        content = picture if isinstance(picture, bytes) else picture.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            if not is_scaled(image) and image.mode != "P":
                # Large JPEGs are decoded at a smaller size.
                image.thumbnail((width, width))
            tile = shown(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    tile.thumbnail((width, width))
    return tile


def small_jpeg(picture: Path | Stored | bytes, width: int, quality: int) -> bytes | None:
    """The same as the bytes of a JPEG."""
    tile = tile_of(picture, width)
    return _jpeg(tile, quality) if tile is not None else None


def small_frame(frame: Frame, width: int, quality: int) -> bytes | None:
    """A frame that a tab has shown, likewise."""
    if frame.kind != RAW:
        tile = tile_of(frame.data, width)
    else:
        from PIL import Image

        tile = shown(Image.fromarray(frame.array))
        tile.thumbnail((width, width))
    return _jpeg(tile, quality) if tile is not None else None


def _jpeg(tile: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    tile.save(buffer, format="JPEG", quality=quality, optimize=True)
    return buffer.getvalue()
