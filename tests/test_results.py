"""Files are whole or not there, under names that no disk confuses."""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pictures import picture
from PIL import Image
from waiting import wait_until

from runner.errors import ArtifactError
from runner.frame import Frame
from runner.job import Lease
from runner.results import RenderJob, ResultsFolder


@pytest.fixture
def results(tmp_path):
    return ResultsFolder(tmp_path / "results", "night")


def lease_of(key="0123abcd", attempt=1, **params) -> Lease:
    return Lease(12, 1, 77, attempt, key, params, 0, 0, 50.0, 100.0)


@pytest.fixture
def files(results):
    with ThreadPoolExecutor(1) as writer:
        yield RenderJob(lease_of(azimuth_deg=90.0), results, writer)


def test_each_kind_of_content_is_kept_exactly(files, results):
    """Frames and bytes as they are; arrays by the name's ending; text and JSON as text."""
    frame = Frame(picture("JPEG"))
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    depth = np.linspace(0.0, 1.0, 6, dtype=np.float32).reshape(2, 3)
    millimetres = np.array([[0, 1], [65535, 300]], np.uint16)
    files.save("rgb.jpg", frame)
    files.save("views/left.png", image)
    files.save("depth.npy", depth)
    files.save("millimetres.png", millimetres)
    files.save("raw.bin", b"\x00\x01")
    files.save("note.txt", "naïve")
    files.save("pose.json", {"matrix": [1, 2]})
    outcome = files.finish()
    content = {a.name: (results.root / a.path).read_bytes() for a in outcome.artifacts}
    assert content["rgb.jpg"] == frame.data and content["raw.bin"] == b"\x00\x01"
    assert np.array_equal(Frame(content["views/left.png"]).array, image)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content["millimetres.png"]))), millimetres)
    assert np.array_equal(np.load(results.root / outcome.artifacts[2].path), depth)
    assert content["note.txt"] == "naïve".encode() and b'"matrix"' in content["pose.json"]
    for artifact in outcome.artifacts:
        assert artifact.size == len(content[artifact.name])
        assert artifact.sha256 == hashlib.sha256(content[artifact.name]).hexdigest()
    assert not list(results.folder.rglob("*.tmp"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/../b",
        "a//b",
        ".hidden",
        "a\\b",
        "a\nb",
        "x" * 300,
        "ä" * 120,
        None,
    ],
)
def test_names_that_leave_the_folder_are_refused(files, name):
    """A file stays below its job's folder, under a name that every system takes."""
    with pytest.raises(ArtifactError):
        files.save(name, b"")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.txt", "a.txt"), ("a.txt", "A.TXT"), ("Views/a", "views/A"), ("\u00e9.txt", "e\u0301.txt"),
        ("a", "a/b"), ("a/b", "a"), ("A/b/c", "a/B"), ("stra\u00dfe", "STRASSE"),
    ],
)  # fmt: skip
def test_no_two_names_can_meet_on_any_disk(files, first, second):
    """One name twice, in another case or form, or as file and folder: the second is refused, the first stays."""
    files.save(first, "first")
    with pytest.raises(ArtifactError, match=f"job {files.key}"):
        files.save(second, "second")
    (artifact,) = files.finish().artifacts
    assert artifact.name == first and artifact.size == len("first")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rgb.png", Frame(picture("JPEG"))),
        ("x.png", np.zeros((2, 2, 3), np.float32)),
        ("x.jpg", np.zeros((2, 2), np.float32)),
        ("x.png", np.zeros((2, 2, 7), np.uint8)),
        ("x.jpg", np.zeros((2, 2), np.uint16)),
        ("x.png", np.zeros((2, 2, 3), np.uint16)),
        ("x.dat", np.zeros(3)),
        ("x", object()),
        ("x.json", {"a": object()}),
        ("x.npy", np.array([object()])),
    ],
)
def test_content_that_belies_its_name_is_refused(files, name, content):
    """A .png holds a PNG; what cannot be written faithfully is not written at all."""
    with pytest.raises((ArtifactError, ValueError)):
        files.save(name, content)
    assert files.finish().artifacts == ()


def test_metrics_are_plain_values_under_names_of_their_own(files):
    """NumPy numbers become plain ones; other values and the job's own names are refused."""
    files.log(psnr=np.float32(31.5), count=np.int64(3), name="cup", ok=True, none=None)
    assert files.finish().metrics == {"psnr": 31.5, "count": 3, "name": "cup", "ok": True, "none": None}
    for bad in [{"x": [1]}, {"key": 1}, {"azimuth_deg": 1}, {"x": np.zeros(2)}]:
        with pytest.raises(ArtifactError):
            files.log(**bad)


def test_an_abandoned_attempt_leaves_no_file(files, results):
    """What came to nothing takes no room."""
    files.save("a.txt", "x")
    files.abandon()
    assert not [path for path in results.folder.rglob("*") if path.is_file()]


def test_a_late_writer_cannot_touch_a_newer_attempt(results):
    """Each attempt has a folder of its own."""
    old = results.write(lease_of(attempt=1), "a.txt", b"old", "text/plain")
    new = results.write(lease_of(attempt=2), "a.txt", b"new", "text/plain")
    assert (results.root / new.path).read_bytes() == b"new" and old.path != new.path
    results.discard(lease_of(attempt=1))
    assert (results.root / new.path).exists()


@pytest.mark.parametrize("key", ["a/b", "..", ".", "~", "a b", "ä" * 100, "a~2", "x" * 200, "CON:1"])
def test_any_key_names_one_folder_inside(results, key):
    """Keys are the user's; folders stay where they belong, and no two keys share one."""
    folder = results.folder_of(lease_of(key=key))
    assert folder.resolve().is_relative_to(results.folder.resolve())
    assert folder.parent.parent.name == "jobs" and len(os.fsencode(folder.name)) < 255
    assert folder != results.folder_of(lease_of(key=key + "x")) or len(key) == 200
    assert results.folder_of(lease_of(key="a", attempt=2)) != results.folder_of(lease_of(key="a~2"))


def test_wait_until_says_what_it_waited_for():
    """The helper of these tests fails with a message, and does not hang."""
    with pytest.raises(pytest.fail.Exception, match="pigs to fly"):
        wait_until(lambda: False, "pigs to fly", timeout_s=0.1)


def test_depth_is_kept_in_millimetres(files, results):
    """A float image of shape (height, width) is metres: a 16-bit PNG holds millimetres, 0 where nothing is."""
    files.save("depth.png", np.array([[0.0015, 19.9994], [np.inf, 70.0]], np.float32))
    (artifact,) = files.finish().artifacts
    with Image.open(results.root / artifact.path) as image:
        assert np.asarray(image).tolist() == [[2, 19999], [0, 0]]


@pytest.mark.parametrize("name", ["x.png", "x.webp", "x.npy"])
def test_raw_pixels_are_kept_in_the_format_that_the_name_tells(files, results, name):
    """A raw frame has no file of its own: .png and .webp are lossless, .npy is the array."""
    pixels = np.random.default_rng(1).integers(0, 255, (3, 5, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    frame = Frame(b"RGBA" + (5).to_bytes(4, "little") + (3).to_bytes(4, "little") + pixels.tobytes())
    files.save(name, frame)
    (artifact,) = files.finish().artifacts
    path = results.root / artifact.path
    kept = np.load(path) if name.endswith(".npy") else np.asarray(Image.open(path).convert("RGB"))
    assert np.array_equal(kept, pixels[..., :3])
