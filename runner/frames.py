"""A Frame: the picture a browser sent, decoded and found whole; and sheets of small pictures (Pillow)."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from runner.errors import FrameError

if TYPE_CHECKING:
    import numpy as np

# What the last bytes of a whole file are. Pillow alone takes a JPEG that was cut off for whole.
# JPEG: EOI marker, ITU-T T.81 B.1.1.3. PNG: IEND chunk with its CRC, ISO/IEC 15948 11.2.5.
_TRAILERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


class Frame:
    """One picture, exactly as the browser sent it, decoded once to be sure that it is whole.

    data: the file's bytes. kind: its media type. width, height: pixels.
    Raises FrameError when the bytes are not a whole JPEG, PNG or WebP picture.
    """

    def __init__(self, data: bytes):
        from PIL import Image

        self.data = bytes(data)
        try:
            image = Image.open(io.BytesIO(self.data), formats=tuple(_KINDS))
            self.kind = _KINDS[image.format]
            _refuse_cut_off(self.data, image.format)
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise FrameError(
                f"the browser sent {len(self.data)} bytes that are not a whole picture ({error})"
            ) from None
        self.width, self.height = image.size
        self._image = image

    @cached_property
    def array(self) -> np.ndarray:
        """The pixels: uint8, shape (height, width, 3), RGB (4 channels where the picture has alpha)."""
        import numpy as np

        mode = "RGBA" if "A" in self._image.getbands() else "RGB"
        return np.asarray(self._image.convert(mode))

    def __repr__(self) -> str:
        return f"<Frame {self.width}x{self.height} {self.kind}, {len(self.data)} bytes>"


def _refuse_cut_off(data: bytes, image_format: str) -> None:
    if image_format == "WEBP":
        # RIFF: bytes 4 to 8 hold the length of what follows them.
        if int.from_bytes(data[4:8], "little") + 8 > len(data):
            raise FrameError(f"the browser sent a picture that is cut off after {len(data)} bytes")
    elif not data.endswith(_TRAILERS[image_format]):
        raise FrameError(f"the browser sent a picture that is cut off after {len(data)} bytes")


def contact_sheet(pictures: Sequence[Path], file: Path, tile_width: int = 160, columns: int = 10) -> None:
    """Write a JPEG that shows the pictures small, in reading order; those that cannot be read stay black."""
    from PIL import Image

    tiles = []
    for picture in pictures:
        try:
            with Image.open(picture) as image:
                image.thumbnail((tile_width, tile_width))
                tiles.append(image.convert("RGB"))
        except OSError:
            tiles.append(Image.new("RGB", (tile_width, tile_width)))
    columns = max(1, min(columns, len(tiles)))
    tile_height = max((tile.height for tile in tiles), default=1)
    rows = max(1, -(-len(tiles) // columns))
    sheet = Image.new("RGB", (columns * tile_width, rows * tile_height))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet.paste(tile, (column * tile_width, row * tile_height))
    temporary = file.with_name(f".{file.name}.tmp")
    sheet.save(temporary, format="JPEG", quality=90)
    temporary.replace(file)
