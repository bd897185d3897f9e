"""Pictures that no browser has drawn."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def picture(image_format: str, size=(64, 48)) -> bytes:
    """Noise, the same each time, as a file of that format."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format=image_format, lossless=True)
    return buffer.getvalue()
