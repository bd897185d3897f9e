"""Any picture as 8-bit RGB for display: numbers that are not colours are scaled, never clipped (Pillow, NumPy)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.results.encode import DEPTH_MARK

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["is_scaled", "range_of", "shown"]

# Near is bright, far is dark: matplotlib's viridis, in eighths, from far to near.
_VIRIDIS = (
    (68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140), (40, 174, 128), (94, 201, 98),
    (173, 220, 48), (253, 231, 37),
)  # fmt: skip
Range = tuple[float, float]


def shown(image: Image.Image, span: Range | None = None) -> Image.Image:
    """The picture in RGB: transparent parts black, 16-bit and float ones scaled over span.

    Depth, as job.save keeps it, is coloured: near is bright, far is dark, and nothing is black. span: the darkest and
    the brightest value, in the picture's own numbers; None for its own range.
    """
    from PIL import Image

    if not is_scaled(image):
        if image.mode == "LA":
            # With two channels, the second may be data.
            return image.getchannel("L").convert("RGB")
        if image.mode in ("P", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
        if "A" in image.getbands():
            colours = image.convert("RGBA")
            return Image.composite(
                colours.convert("RGB"), Image.new("RGB", image.size), colours.getchannel("A")
            )
        return image.convert("RGB")
    import numpy as np

    values, is_something = _values(image)
    low, high = span or range_of(image) or (0.0, 0.0)
    # A picture of one value is neither darkest nor brightest.
    share = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    share = np.where(is_something, np.clip(share, 0.0, 1.0), 0.0)
    if _is_depth(image):
        places = np.linspace(0.0, 1.0, len(_VIRIDIS))
        bands = [np.interp(1.0 - share, places, levels) for levels in zip(*_VIRIDIS)]
    else:
        bands = [255.0 * share] * 3
    pixels = np.where(is_something[..., None], np.stack(bands, axis=-1), 0.0)
    return Image.fromarray(np.round(pixels).astype(np.uint8))


def is_scaled(image: Image.Image) -> bool:
    """Whether its numbers are not 8-bit colours."""
    return image.mode.startswith("I") or image.mode == "F"


def range_of(image: Image.Image) -> Range | None:
    """The lowest and the highest number in a picture that is scaled; None where nothing is in it."""
    values, is_something = _values(image)
    known = values[is_something]
    return (float(known.min()), float(known.max())) if known.size else None


def _values(image: Image.Image) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Its numbers, and a mask of the valid ones."""
    import numpy as np

    values = np.asarray(image).astype(np.float64)
    is_something = np.isfinite(values)
    if _is_depth(image):
        is_something &= values > 0
    return np.where(is_something, values, 0.0), is_something


def _is_depth(image: Image.Image) -> bool:
    name, text = DEPTH_MARK
    return bool(image.info.get(name) == text)
