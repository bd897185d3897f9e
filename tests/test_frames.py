"""Pictures: what is whole is taken, what is not is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from runner import Depth
from runner.errors import FrameError
from runner.frame import Frame
from runner.results import contact_sheet


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


def test_a_damaged_jpeg_is_refused_where_a_full_decode_refuses_it():
    """Working out the means of its blocks reads all that is in it: wherever a byte is another, the two agree."""
    whole, chance = picture("JPEG"), np.random.default_rng(7)
    verdicts = set()
    for place in chance.integers(0, len(whole) - 2, 400):
        damaged = whole[:place] + bytes([chance.integers(256)]) + whole[place + 1 :]
        try:
            Image.open(io.BytesIO(damaged), formats=("JPEG",)).load()
            is_whole = True
        except (OSError, SyntaxError, ValueError):
            is_whole = False
        verdicts.add(is_whole)
        if is_whole:
            assert Frame(damaged).width
        else:
            with pytest.raises(FrameError):
                Frame(damaged)
    assert verdicts == {True, False}


def test_a_jpeg_has_the_pixels_of_a_full_decode_and_is_blank_by_all_of_them():
    """Not by the means of its blocks, which are alike where a pattern is finer than they are."""
    with Image.open(io.BytesIO(picture("JPEG"))) as image:
        assert (Frame(picture("JPEG")).array == np.asarray(image)).all()

    def suspicion(pixels):
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=100, subsampling=0)
        return Frame(file.getvalue()).suspicion

    rows, columns = np.mgrid[0:48, 0:64]
    checkered = np.repeat(((rows + columns) % 2 * 200)[..., None], 3, axis=2)
    assert suspicion(checkered) == "" and suspicion(0 * checkered + 90) == "nearly one colour all over"
    assert suspicion(0 * checkered + 90 + (rows % 2)[..., None]) == "nearly one colour all over"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_of_another_size_is_refused_before_it_is_decoded(image_format):
    """A few bytes may claim gigabytes of pixels: the size that was asked for is compared first."""
    data = bytearray(picture(image_format, (300, 200)))
    del data[len(data) // 2 :]  # decoding it would end otherwise: "not a whole picture"
    with pytest.raises(FrameError, match="asked for 64x48 pixels, the browser sent 300x200"):
        Frame(bytes(data), size=(64, 48))
    assert Frame(picture(image_format), size=(64, 48)).width == 64


def test_all_three_kinds_of_webp_tell_their_size():
    """Lossy, lossless, and with transparency in the extended form: each is taken at the size it has."""
    for mode, options in [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {"exif": b"Exif\0\0"})]:
        buffer = io.BytesIO()
        Image.new(mode, (300, 200), 9).save(buffer, format="WEBP", **options)
        assert Frame(buffer.getvalue(), size=(300, 200)).height == 200
        with pytest.raises(FrameError, match="the browser sent 300x200"):
            Frame(buffer.getvalue(), size=(301, 200))


def raw(width: int, height: int) -> bytes:
    return b"RGBA" + width.to_bytes(4, "little") + height.to_bytes(4, "little") + bytes(4 * width * height)


@pytest.mark.parametrize("depth", [None, b"", raw(1, 1), raw(64, 48)[:-4], picture("PNG"), "text"])
def test_depth_that_is_not_the_pictures_is_refused(depth):
    """A job is not done with depth of another size, or with none, where the camera renders it."""
    with pytest.raises(FrameError, match="depth"):
        Frame(picture("PNG"), depth, (0.1, 20.0), (64, 48))
    assert Frame(picture("PNG"), raw(64, 48), (0.1, 20.0), (64, 48)).depth.shape == (48, 64)


def test_two_runs_that_end_together_write_the_contact_sheet(tmp_path, monkeypatch):
    """Each by a file of its own, until it is whole: another run moves its own away meanwhile."""
    save = Image.Image.save

    def save_beside_another(image, place, **options):
        save(image, place, **options)
        (tmp_path / ".sheet.jpg.tmp").unlink(missing_ok=True)

    monkeypatch.setattr(Image.Image, "save", save_beside_another)
    contact_sheet([], tmp_path / "sheet.jpg")
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.jpg"]


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


@pytest.mark.parametrize(("count", "columns", "rows"), [(7, 7, 1), (12, 6, 2), (24, 8, 3), (60, 10, 6)])
def test_the_rows_of_a_contact_sheet_are_of_about_one_length(tmp_path, count, columns, rows):
    """A last row of two pictures below rows of ten would be mostly black."""
    Image.new("RGB", (32, 24)).save(tmp_path / "one.png")
    contact_sheet([tmp_path / "one.png"] * count, tmp_path / "sheet.jpg", tile_width=32)
    with Image.open(tmp_path / "sheet.jpg") as image:
        assert image.size == (32 * columns, 24 * rows)


def depth_frame() -> Frame:
    """A frame of 4 by 2 pixels, each 5 m away at 1/2 of the range."""
    pixels = bytes([128, 0, 0, 255]) * 8
    depth = b"RGBA" + (4).to_bytes(4, "little") + (2).to_bytes(4, "little") + pixels
    return Frame(picture("PNG", (4, 2)), depth, (0.0, 10.0))


@pytest.mark.parametrize("part", ["array", "depth"])
def test_what_the_browser_sent_stays_as_it_is(part):
    """Assigning says to copy; the copy may be changed, and what is computed is an ordinary array."""
    array = getattr(depth_frame(), part)
    for change in (lambda: array.__setitem__(slice(None), 0), lambda: array.__iadd__(array)):
        with pytest.raises(ValueError, match=r"change a copy instead.*\.copy\(\)"):
            change()
    copy = array.copy()
    copy[:] = 0
    assert not copy.any() and array.any() and type(array * 2) is np.ndarray
    assert float(array.mean()) == np.asarray(array).mean()


def test_only_depth_is_marked_as_depth():
    """Parts and copies of depth are depth; what is computed from it may be in any unit."""
    depth = depth_frame().depth
    assert depth.dtype == np.float32 and depth.tolist() == [[5.0] * 4] * 2
    assert all(type(part) is Depth for part in (depth, depth[:1], depth.copy(), Depth([[1, 2]])))
    assert type(depth / depth.max()) is np.ndarray
