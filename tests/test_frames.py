"""Pictures: what is whole is taken, what is not is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from runner.errors import FrameError
from runner.frame import Frame
from runner.results import contact_sheet


def picture(image_format: str, size=(64, 48)) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format=image_format)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_whole_picture_is_decoded_and_kept_as_it_came(image_format):
    """The bytes are the browser's own; width, height and pixels are what they decode to."""
    data = picture(image_format)
    frame = Frame(data)
    assert frame.data == data and frame.kind == f"image/{image_format.lower()}"
    assert (frame.width, frame.height) == (64, 48)
    assert frame.array.shape == (48, 64, 3) and frame.array.dtype == np.uint8


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99, 0.9999])
def test_a_picture_that_was_cut_off_is_refused(image_format, share):
    """However much of it is there: Pillow alone takes most of a JPEG for all of it."""
    data = picture(image_format)
    with pytest.raises(FrameError):
        Frame(data[: min(int(len(data) * share), len(data) - 1)])


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xd9"])
def test_what_is_no_picture_is_refused(data):
    """The browser's answer is not trusted to be a picture."""
    with pytest.raises(FrameError):
        Frame(data)


def test_damage_in_the_middle_of_a_png_is_seen(tmp_path):
    """A full decode finds what a look at the ends does not."""
    data = bytearray(picture("PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(FrameError):
        Frame(bytes(data))


def test_a_contact_sheet_shows_pictures_in_order(tmp_path):
    """Tiles run in reading order; one that cannot be read stays black."""
    files = []
    for index, color in enumerate([(250, 0, 0), (0, 250, 0), (0, 0, 250)]):
        files.append(tmp_path / f"{index}.png")
        Image.new("RGB", (320, 240), color).save(files[-1])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    sheet = tmp_path / "sheet.jpg"
    contact_sheet([*files, tmp_path / "broken.png"], sheet, tile_width=80, columns=2)
    with Image.open(sheet) as image:
        pixels = [image.getpixel(place) for place in [(40, 30), (120, 30), (40, 110), (120, 110)]]
    for pixel, wanted in zip(pixels, [(250, 0, 0), (0, 250, 0), (0, 0, 250), (0, 0, 0)]):
        assert max(abs(a - b) for a, b in zip(pixel, wanted)) < 10
