"""Exports made from the pictures: a video, a contact sheet."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from runner.errors import ExportError
from runner.export.rows import Rows
from runner.export.targets import needing, replacing
from runner.results import contact_sheet, is_scaled, range_of, shown

_SHEET_TILES = 100


def write_mp4(rows: Rows, target: Path) -> None:
    """An H.264 video of all pictures in a row, which must have one size. Depth and the like share one range."""
    with needing("imageio", "imageio-ffmpeg"):
        import imageio.v2 as imageio
        import imageio_ffmpeg  # noqa: F401
    import numpy as np

    # H.264 in yuv420p, which all players show, needs even sides.
    flags = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    span, size = _common_range(rows), None
    with replacing(target) as temporary:
        video = imageio.get_writer(
            str(temporary), format="FFMPEG", fps=rows.options.fps, codec="libx264", macro_block_size=1,
            ffmpeg_log_level="error", output_params=flags,
        )  # fmt: skip
        with video:
            for where, image in _images(rows):
                size = size or image.size
                if image.size != size:
                    raise ExportError(
                        f"{where} is {image.size[0]}×{image.size[1]} pixels, "
                        f"those before it {size[0]}×{size[1]}: choose pictures of one size with --image"
                    )
                video.append_data(np.asarray(shown(image, span)))


def _common_range(rows: Rows) -> tuple[float, float] | None:
    """The lowest and highest number in all scaled pictures; None where the first is not scaled."""
    ranges = []
    for _, image in _images(rows):
        if not is_scaled(image):
            break
        ranges.append(range_of(image))
    known = [span for span in ranges if span is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def _images(rows: Rows) -> Iterator[tuple[str, Any]]:
    """Each picture, opened, and its name for people."""
    from PIL import Image

    for row in rows:
        for picture in rows.chosen(row):
            where = f"job {row['key']}: {picture['name']}"
            try:
                with Image.open(io.BytesIO(rows.content(picture))) as image:
                    image.load()
                    yield where, image
            except (SyntaxError, ValueError, OSError, Image.DecompressionBombError) as error:
                raise ExportError(f"{where} cannot be read as a picture ({error})") from None


def write_sheet(rows: Rows, target: Path) -> None:
    """A JPEG of up to 100 jobs' first pictures, evenly spread."""
    every = -(-rows.count // _SHEET_TILES)
    pictures = [rows.chosen(row)[0] for row in islice(rows, 0, None, every)]
    with replacing(target) as temporary:
        unreadable = contact_sheet([rows.stored(picture) for picture in pictures], temporary)
    if unreadable:
        more = f" and {len(unreadable) - 1} more" if unreadable[1:] else ""
        rows.notes.append(f"{unreadable[0]}{more}: cannot be read as a picture, and is black")
