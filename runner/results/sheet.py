"""Sheets of small pictures (Pillow)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.results.shown import is_scaled, shown

__all__ = ["contact_sheet"]


def contact_sheet(
    pictures: Sequence[Path], file: Path, tile_width: int = 160, columns: int = 10
) -> list[Path]:
    """Write a JPEG that shows the pictures small, in reading order; returns those that cannot be read: black."""
    from PIL import Image

    tiles, unreadable = [], []
    for picture in pictures:
        try:
            with Image.open(picture) as image:
                if not is_scaled(image) and image.mode != "P":
                    # Large JPEGs are decoded small.
                    image.thumbnail((tile_width, tile_width))
                tile = shown(image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            tile = Image.new("RGB", (tile_width, tile_width))
            unreadable.append(picture)
        tile.thumbnail((tile_width, tile_width))
        tiles.append(tile)
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
    return unreadable
