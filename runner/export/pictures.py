"""What is made of the pictures: a video, a contact sheet."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

from runner.errors import ExportError
from runner.export.rows import Rows
from runner.export.targets import needing, replacing
from runner.results import contact_sheet

_SHEET_TILES = 100


def write_mp4(rows: Rows, target: Path) -> None:
    """H.264 of all pictures in a row; all must have one size."""
    with needing("imageio", "imageio-ffmpeg"):
        import imageio.v2 as imageio
        import imageio_ffmpeg  # noqa: F401
    import numpy as np
    from PIL import Image

    # H.264 in yuv420p, which all players show, wants even sides.
    flags = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    size = None
    with replacing(target) as temporary:
        video = imageio.get_writer(
            str(temporary), format="FFMPEG", fps=rows.options.fps, codec="libx264", macro_block_size=1,
            ffmpeg_log_level="error", output_params=flags,
        )  # fmt: skip
        with video:
            for row in rows:
                for picture in rows.chosen(row):
                    with Image.open(io.BytesIO(rows.content(picture))) as image:
                        size = size or image.size
                        if image.size != size:
                            raise ExportError(
                                f"job {row['key']}: {picture['name']} is {image.size[0]}×{image.size[1]} pixels, "
                                f"those before it {size[0]}×{size[1]}: choose pictures of one size with --image"
                            )
                        video.append_data(np.asarray(image.convert("RGB")))


def write_sheet(rows: Rows, target: Path) -> None:
    """A JPEG of up to 100 jobs' first pictures, evenly spread."""
    every = -(-rows.count // _SHEET_TILES)
    pictures = [rows.chosen(row)[0] for row in islice(rows, 0, None, every)]
    with replacing(target) as temporary:
        contact_sheet([rows.root / picture["path"] for picture in pictures], temporary)
