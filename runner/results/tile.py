"""One picture, small: for sheets and pages (Pillow)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from runner.results.shown import is_scaled, shown

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["small_jpeg", "tile_of"]


def tile_of(picture: Path, width: int) -> Image.Image | None:
    """The picture in RGB, at most so wide and so high, in pixels; None where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(picture) as image:
            if not is_scaled(image) and image.mode != "P":
                # Large JPEGs are decoded small.
                image.thumbnail((width, width))
            tile = shown(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    tile.thumbnail((width, width))
    return tile


def small_jpeg(picture: Path, width: int, quality: int) -> bytes | None:
    """The same as the bytes of a JPEG."""
    tile = tile_of(picture, width)
    if tile is None:
        return None
    buffer = io.BytesIO()
    tile.save(buffer, format="JPEG", quality=quality, optimize=True)
    return buffer.getvalue()
