"""What a picture's file holds beside its pixels, which in a browser's is little; told by heads, without unpacking.

A decoder unpacks what it finds there, and goes through all pixels again for each pass over them: a small file may
take any time and memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from runner.errors import FrameError

__all__ = ["refuse_unasked"]

# Colour profiles and the like.
_MOST_PARTS, _MOST_BYTES = 64, 1 << 16
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PIXELS, _LOSSY = (b"IDAT", b"VP8L"), b"VP8 "
_MOVES = (b"acTL", b"ANIM", b"ANMF")
# Of a JPEG: all that comes in one pass, that pass, and what cannot stand before it (ITU-T T.81, table B.1).
_FRAMES, _PASS, _NONE = (0xC0, 0xC1), 0xDA, (0x00, 0x01, *range(0xD0, 0xDA))


def refuse_unasked(data: bytes) -> None:
    """Raise FrameError where it is more than a picture as it is asked for; data of other kinds is let by."""
    count = size = 0
    for kind, content in _parts(data):
        if kind in _MOVES:
            raise FrameError("the browser sent a picture that moves")
        if kind == _LOSSY:
            raise FrameError("the browser sent a WebP that is not lossless: ask for format='png'")
        if kind not in _PIXELS:
            count, size = count + 1, size + len(content)
        # The text of an iTXt is packed where it says so behind the text's name.
        is_packed = kind == b"zTXt" or (kind == b"iTXt" and bytes(content).partition(b"\0")[2][:1] != b"\0")
        if is_packed or count > _MOST_PARTS or size > _MOST_BYTES:
            raise FrameError(
                f"the browser sent a picture of {len(data)} bytes with more in it than its pixels"
            )


def _parts(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The kind and the content of each part. Raises FrameError for a JPEG that is not all in one pass."""
    view = memoryview(data)
    if data.startswith(_PNG):
        at = len(_PNG)
        while at < len(data):
            length = int.from_bytes(view[at : at + 4], "big")
            yield data[at + 4 : at + 8], view[at + 8 : at + 8 + length]
            at += 12 + length
    elif data[8:12] == b"WEBP":
        at = 12
        while at < len(data):
            length = int.from_bytes(view[at + 4 : at + 8], "little")
            yield data[at : at + 4], view[at + 8 : at + 8 + length]
            at += 8 + length + length % 2
    elif data.startswith(_JPEG):
        yield from _segments(data, view)


def _segments(data: bytes, view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at, colours = len(_JPEG), b""
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in _NONE:
        kind, length = data[at + 1], int.from_bytes(view[at + 2 : at + 4], "big")
        content = view[at + 4 : at + 2 + length]
        if kind == _PASS and content[:1] == colours:
            return
        if kind in _FRAMES:
            colours = bytes(content[5:6])
        yield data[at + 1 : at + 2], content
        at += 2 + length
    raise FrameError(f"the browser sent a picture of {len(data)} bytes that does not come in one pass")
