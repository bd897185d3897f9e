"""Draws sheets of small pictures, each with its caption and, where wanted, a coloured frame (Pillow)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from runner.results.stored import Stored
from runner.results.tile import tile_of

__all__ = ["contact_sheet"]

_CAPTION_HEIGHT, _FRAME_WIDTH = 14, 3


def contact_sheet(
    pictures: Sequence[Path | Stored],
    file: Path,
    tile_width: int = 160,
    columns: int = 10,
    captions: Sequence[str] = (),
    colours: Sequence[str] = (),
) -> list[Path | Stored]:
    """Write a JPEG with the pictures small, in reading order; returns those that cannot be read, which are black.

    columns: at most so many; rows have about the same length. captions, colours: if given, for each picture a line
    below it, and the colour of its frame ('' for none).
    """
    from PIL import Image, ImageDraw

    tiles, unreadable = [], []
    for picture in pictures:
        tile = tile_of(picture, tile_width)
        if tile is None:
            tile = Image.new("RGB", (tile_width, tile_width))
            unreadable.append(picture)
        tiles.append(tile)
    rows = max(1, -(-len(tiles) // columns))
    columns = max(1, -(-len(tiles) // rows))
    tile_height = max((tile.height for tile in tiles), default=1) + (_CAPTION_HEIGHT if captions else 0)
    sheet = Image.new("RGB", (columns * tile_width, rows * tile_height))
    draw = ImageDraw.Draw(sheet)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        left, top = column * tile_width, row * tile_height
        sheet.paste(tile, (left, top))
        if captions:
            # The built-in font has no other letters.
            text = captions[index].encode("latin-1", "replace").decode("latin-1")
            draw.text(
                (left + 5, top + tile_height - _CAPTION_HEIGHT - 1), text[: tile_width // 6], fill="white"
            )
        if colours and colours[index]:
            box = (left, top, left + tile_width - 1, top + tile_height - 1)
            draw.rectangle(box, outline=colours[index], width=_FRAME_WIDTH)
    # Two runs of a campaign end together.
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    sheet.save(temporary, format="JPEG", quality=90)
    temporary.replace(file)
    return unreadable
