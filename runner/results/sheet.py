"""Sheets of small pictures (Pillow)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


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
