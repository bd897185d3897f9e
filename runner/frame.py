"""A Frame: the picture a browser sent, decoded and found whole (Pillow)."""

from __future__ import annotations

import io
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runner.errors import FrameError
from runner.parts import refuse_unasked
from runner.reasons import one_line

if TYPE_CHECKING:
    from runner.arrays import Depth, Pixels

# The last bytes of a whole file. Pillow alone takes a truncated JPEG for whole.
# JPEG: EOI marker, ITU-T T.81 B.1.1.3. PNG: IEND chunk with its CRC, ISO/IEC 15948 11.2.5.
_TRAILERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
RAW = "image/x-raw-rgba"
_RAW_MAGIC = b"RGBA"
_BLANK_LEVELS = 2
# How much the means of a JPEG's blocks may differ although its pixels are alike. Each mean is rounded by itself; 4 is
# the most that was seen.
_BLANK_BLOCK_LEVELS = 8
_KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


class FrameBytes(bytes):
    """The bytes of a frame's file, which carry along the frame's suspicion, and for which job it was taken."""

    suspicion = job = ""


class Frame:
    """One picture, exactly as the browser sent it, decoded once to be sure that it is whole.

    data: the file's bytes. kind: its media type; RAW for bare pixels, which have no file of their own.
    width, height: pixels. depth: see there; None unless the camera has renderDepth=True.
    suspicion: why the picture may be wrong though it is whole; '' for most. job: the key of the job that it was taken
    for; '' if it is not known.
    size: the (width, height) that was asked for, checked before anything is decoded; None accepts any.
    format: 'jpeg', 'png', 'webp' or 'raw', as a browser was asked for; None accepts any, from any source.
    Raises FrameError when the bytes are not a whole picture of that size and format, and when its depth is missing or
    of another size.
    """

    def __init__(
        self,
        data: bytes,
        depth: bytes | None = None,
        depth_range: tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
        format: str | None = None,
    ):
        from PIL import Image, UnidentifiedImageError

        self.data = FrameBytes(data)
        try:
            if self.data[:4] == _RAW_MAGIC and format in (None, "raw"):
                _refuse_other_size(_raw_size(self.data), size)
                self.kind, image = RAW, _raw_image(self.data)
                picture_size = image.size
            else:
                if self.data[8:12] == b"WEBP":
                    # Pillow allocates all pixels when it opens one.
                    _refuse_other_size(_webp_size(self.data), size)
                if format is not None:
                    refuse_unasked(self.data)
                formats = [kind for kind in _KINDS if format in (None, kind.lower())]
                image = Image.open(io.BytesIO(self.data), formats=formats)
                _refuse_other_size(image.size, size)
                image_format = str(image.format)
                self.kind = _KINDS[image_format]
                _refuse_cut_off(self.data, image_format)
                picture_size = image.size
                # All coefficients of a JPEG are decoded, but only each block's mean is computed. Damage is found as in
                # a full decoding, in a third of the time.
                image.draft(image.mode, (1, 1))
                image.load()
        except FrameError:
            raise
        except Exception as error:
            # Damaged bytes may make Pillow raise anything.
            asked = "" if format is None else f" in the format {format}"
            why = "" if isinstance(error, UnidentifiedImageError) else f" ({one_line(str(error))})"
            raise FrameError(
                f"the browser sent {len(self.data)} bytes that are not a whole picture{asked}{why}"
            ) from None
        self.width, self.height = picture_size
        if depth_range is not None:
            _refuse_other_depth(depth, picture_size)
        self._depth, self._depth_range = depth if depth_range else None, depth_range
        if "A" in image.getbands() and image.getchannel("A").getextrema() == (255, 255):
            image = image.convert("RGB")
        is_small = image.size != picture_size
        if not is_small:
            self._image = image
        is_blank = _is_alike(image, _BLANK_BLOCK_LEVELS) if is_small else _may_be_blank(image)
        is_blank = is_blank and _is_alike(self._image, _BLANK_LEVELS)
        self.suspicion = "nearly one colour all over" if is_blank else ""

    @cached_property
    def _image(self) -> Any:
        """The fully decoded image of a JPEG that was found whole."""
        from PIL import Image

        try:
            image = Image.open(io.BytesIO(self.data), formats=("JPEG",))
            image.load()
        except Exception as error:
            raise FrameError(
                f"a picture of {len(self.data)} bytes is not whole ({one_line(str(error))})"
            ) from None
        return image

    @property
    def suspicion(self) -> str:
        return self.data.suspicion

    @suspicion.setter
    def suspicion(self, reason: str) -> None:
        self.data.suspicion = reason

    @property
    def job(self) -> str:
        return self.data.job

    @job.setter
    def job(self, key: str) -> None:
        self.data.job = key

    @cached_property
    def array(self) -> Pixels:
        """The pixels: uint8, shape (height, width, 3), RGB (4 channels where it is not opaque).

        Read-only: frame.array.copy() is yours to change.
        """
        import numpy as np

        from runner.arrays import Pixels

        mode = "RGBA" if "A" in self._image.getbands() else "RGB"
        return np.asarray(self._image.convert(mode)).view(Pixels)

    @cached_property
    def depth(self) -> Depth | None:
        """Distance from the camera's plane in metres: float32, shape (height, width); inf where nothing is.

        Steps of (far - near) / 2**24, on top of the rounding of a 32-bit depth buffer. Read-only, as array is.
        """
        if self._depth is None or self._depth_range is None:
            return None
        import numpy as np

        from runner.arrays import Depth

        digits = np.asarray(_raw_image(self._depth)).astype(np.uint32)
        number = digits[..., 0] << 16 | digits[..., 1] << 8 | digits[..., 2]
        near, far = self._depth_range
        metres = near + number / 2.0**24 * (far - near)
        depth = Depth(np.where(number == 0xFFFFFF, np.inf, metres).astype(np.float32))
        depth.flags.writeable = False
        return depth

    def grey_depth(self) -> bytes | None:
        """Depth as Vuer's client itself sends it: a grey JPEG, white at near, black at far and where nothing is."""
        if self.depth is None or self._depth_range is None:
            return None
        import numpy as np
        from PIL import Image

        near, far = self._depth_range
        grey = np.clip(255.0 * (1.0 - (np.minimum(self.depth, far) - near) / (far - near)), 0.0, 255.0)
        file = io.BytesIO()
        Image.fromarray(np.round(grey).astype(np.uint8)).convert("RGB").save(file, "JPEG", quality=100)
        return file.getvalue()

    def __repr__(self) -> str:
        return f"<Frame {self.width}x{self.height} {self.kind}, {len(self.data)} bytes>"


def _ranges(image: Any) -> list[tuple[int, int]]:
    """The lowest and highest value of each band, transparency aside."""
    ranges = image.getextrema() if len(image.getbands()) > 1 else [image.getextrema()]
    return ranges[:3]


def _is_alike(image: Any, levels: int) -> bool:
    """Whether no two pixels differ by more than that."""
    return all(high - low <= levels for low, high in _ranges(image))


def _may_be_blank(image: Any) -> bool:
    """Whether nine pixels are alike. To compare all of them would take half as long as decoding."""
    return _is_alike(image.resize((3, 3), 0), _BLANK_LEVELS)


def _raw_size(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[4:8], "little"), int.from_bytes(data[8:12], "little")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header of the first chunk, which is of one of three kinds (RFC 9649, section 2)."""
    kind, number = data[12:16], int.from_bytes
    if kind == b"VP8X":
        return number(data[24:27], "little") + 1, number(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = number(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind != b"VP8 ":
        raise ValueError(f"a WebP that begins with {kind!r}")
    return number(data[26:28], "little") & 0x3FFF, number(data[28:30], "little") & 0x3FFF


def _refuse_other_size(size: tuple[int, int], asked: tuple[int, int] | None) -> None:
    if asked is not None and size != asked:
        raise FrameError(
            f"asked for {asked[0]}x{asked[1]} pixels, the browser sent {size[0]}x{size[1]} (width:height must "
            "lie between 1:10 and 10:1, and be (right - left):(top - bottom) for an orthographic camera)"
        )


def _refuse_other_depth(depth: Any, size: tuple[int, int]) -> None:
    """Refuse depth that cannot belong to the picture beside it."""
    width, height = size
    if not isinstance(depth, bytes):
        raise FrameError("the browser sent a picture without its depth")
    if depth[:4] != _RAW_MAGIC or _raw_size(depth) != size or len(depth) != 12 + 4 * width * height:
        raise FrameError(f"the browser sent depth that is not of {width}x{height} pixels")


def _raw_image(data: bytes) -> Any:
    """The bare pixels of the page script: 'RGBA', width and height (little-endian, 32 bits), rows from the top."""
    from PIL import Image

    width, height = _raw_size(data)
    if data[:4] != _RAW_MAGIC:
        raise ValueError("no bare pixels")
    if len(data) != 12 + 4 * width * height:
        raise ValueError(f"{width}x{height} pixels need {12 + 4 * width * height} bytes")
    # The client's rendering is opaque.
    return Image.frombuffer("RGBA", (width, height), data[12:], "raw", "RGBA", 0, 1).convert("RGB")


def _refuse_cut_off(data: bytes, image_format: str) -> None:
    if image_format == "WEBP":
        # RIFF: bytes 4 to 8 hold the length of the rest.
        if int.from_bytes(data[4:8], "little") + 8 > len(data):
            raise FrameError(f"the browser sent a picture that is cut off after {len(data)} bytes")
    elif not data.endswith(_TRAILERS[image_format]):
        raise FrameError(f"the browser sent a picture that is cut off after {len(data)} bytes")
