"""Files are whole or not there, under names that no disk confuses."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

import numpy as np
import pytest
from pictures import picture
from PIL import Image
from waiting import wait_until

from runner import Campaign, Depth
from runner.errors import ArtifactError, CampaignError
from runner.frame import Frame
from runner.job import Lease
from runner.results import RenderJob, ResultsFolder, contact_sheet, shown
from runner.results.encode import encode
from runner.run.start import refuse_another_databases


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
        ("x.png", np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)),
        ("x.jpg", Depth(np.ones((2, 3)))),
        ("x.png", b"no picture"),
        ("x.jpg", picture("JPEG")[:-2]),
        ("x.png", picture("JPEG")),
        ("x.jpg", None),
        ("x.png", "/tmp/x.png"),
        ("x.png", {"a": 1}),
        ("x.npy", [1, 2]),
        ("x.npy", b"no array"),
        ("x.npz", {"a": [1]}),
        ("x.npz", b""),
        ("x.npz", b"PK\x03\x04 half an archive"),
        ("x.pkl", [1, 2]),
        ("x.csv", [[1, 2], [3, 4]]),
        ("x.mp4", "/tmp/x.mp4"),
        ("x.png", Depth(np.array([[-1.2, -0.9]]))),
        ("x.png", np.zeros(8, np.uint8)),
        ("x.png", np.zeros((2, 2, 2), np.uint8)),
        ("x.png", np.ma.masked_array(np.zeros((2, 2), np.uint8), mask=True)),
        ("x.png", Depth(np.array([[1200, 900]], np.uint16))),
        ("x.png", Depth(np.array([[2.0, 80.0]]))),
        ("x.json", {1: "one", "1": "other"}),
    ],
)
def test_content_that_belies_its_name_is_refused(files, name, content):
    """A .png holds a PNG; what cannot be written faithfully is not written at all."""
    with pytest.raises((ArtifactError, ValueError)):
        files.save(name, content)
    assert files.finish().artifacts == ()


@pytest.mark.parametrize("mode", ["P", "PA", "LA", "CMYK", "YCbCr", "HSV"])
def test_a_picture_of_pillows_keeps_its_colors(files, results, mode):
    """Whatever its own numbers mean, the file shows what the picture does."""
    image = Image.new("RGB", (4, 4), (200, 200, 200) if mode == "LA" else (255, 0, 0)).convert(mode)
    files.save("x.png", image)
    (artifact,) = files.finish().artifacts
    kept = Image.open(results.root / artifact.path).convert("RGB").getpixel((0, 0))
    assert np.abs(np.subtract(kept, (200, 200, 200) if mode == "LA" else (255, 0, 0))).max() <= 1


def test_metrics_are_plain_values_under_names_of_their_own(files):
    """NumPy numbers become plain ones; other values are refused at the line that logs them."""
    kind = Enum("Kind", {"CUP": "cup"}, type=str)
    files.log(psnr=np.float32(31.5), count=np.int64(3), name=kind.CUP, ok=True, none=None)
    assert files.finish().metrics == {"psnr": 31.5, "count": 3, "name": "cup", "ok": True, "none": None}
    # Of nothing there is no mean, and it is not 0.
    files.log(nothing=np.ma.masked)
    assert math.isnan(files.finish().metrics["nothing"])
    for bad in [{"x": [1]}, {"x": np.zeros(2)}, {"x": 1j}, {"x": 10**5000}]:
        with pytest.raises(ArtifactError, match="the metric 'x'"):
            files.log(psnr=0.0, **bad)
    assert files.finish().metrics["psnr"] == 31.5


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
    """What is marked as depth is metres: a 16-bit PNG holds millimetres, 0 where nothing is."""
    files.save("depth.png", Depth(np.array([[0.0015, 19.9994], [np.inf, np.nan]], np.float32)))
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


def test_floats_that_do_not_say_what_they_are_name_both_ways(files):
    """A grey picture from 0 to 1 is not taken for depth of a metre, nor depth for a picture."""
    with pytest.raises(ArtifactError, match=r"255 \* array.*Depth\(array\).*\.npy"):
        files.save("alpha.png", np.linspace(0, 1, 6).reshape(2, 3))


def test_a_mask_comes_back_as_a_mask(files, results):
    """Truths are one bit a pixel: what NumPy reads is what was saved."""
    mask = np.eye(5) > 0
    files.save("mask.png", mask)
    (artifact,) = files.finish().artifacts
    with Image.open(results.root / artifact.path) as image:
        assert np.array_equal(np.asarray(image), mask)


def test_json_is_what_the_standard_calls_json(files, results):
    """NaN and infinities are text, NumPy's numbers numbers; odd text is escaped."""
    files.save("pose.json", {"psnr": float("inf"), "x": [np.float32(2.5), float("nan")], "file": "caf\udce9"})
    files.save("note.txt", "caf\udce9")
    pose, note = ((results.root / artifact.path).read_bytes() for artifact in files.finish().artifacts)
    strict = json.loads(pose, parse_constant=pytest.fail)
    assert strict == {"psnr": "Infinity", "x": [2.5, "NaN"], "file": "caf\udce9"}
    assert note == b"caf\\udce9"


def test_the_manifest_is_json_and_loses_nothing(files, results):
    """NaN and infinities are null in it and marked: what is adopted after a crash is what was logged."""
    metrics = {"psnr": float("inf"), "ssim": float("nan"), "big": 2**70, "name": "inf", "none": None}
    files.log(**metrics)
    files.save("a.txt", "a")
    files.finish()
    lease = lease_of(azimuth_deg=90.0)
    json.loads((results.folder_of(lease) / ".result.json").read_text(), parse_constant=pytest.fail)
    assert repr(results.left_behind(lease).outcome.metrics) == repr(metrics)


def test_the_files_of_another_database_are_not_replaced(results, tmp_path):
    """A copy, or a new one, with the same results folder is refused as long as the first is there."""
    first, copy, link = (tmp_path / name for name in ("runner.db", "copy.db", "link.db"))
    first.touch(), copy.touch(), link.symlink_to(first)
    results.named()
    for same in (first, link, None, first):
        refuse_another_databases(results, same)
    with pytest.raises(CampaignError, match=f"has the files of the jobs of {first}.*--results"):
        refuse_another_databases(results, copy)
    first.unlink()
    refuse_another_databases(results, copy)


def test_a_coroutine_is_no_content(files):
    """Who forgot to await is told so."""

    async def grab(): ...

    with pytest.raises(ArtifactError, match="await"):
        files.save("rgb.jpg", grab())


def test_the_bytes_of_a_frame_are_as_suspect_as_the_frame(files):
    """Whichever is saved, what was seen of the picture is not lost."""
    blank = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(blank, "JPEG")
    files.save("rgb.jpg", Frame(blank.getvalue()).data)
    assert files.finish().suspicion == "rgb.jpg: nearly one colour all over"


def test_a_picture_that_was_taken_for_another_job_is_suspect(files):
    """A list or a cache that jobs share gives the wrong one, and it is a good picture."""
    frame = Frame(picture("JPEG"))
    for name, key in [("own.jpg", files.key), ("unknown.jpg", ""), ("rgb.jpg", "v3")]:
        frame.job = key
        files.save(name, frame)
    assert files.finish().suspicion == "rgb.jpg: it was taken for job v3"


def small(array) -> Image.Image:
    return Image.open(io.BytesIO(encode("x.png", array)[0]))


@pytest.mark.parametrize("kind", ["depth", "uint16", "float", "two channels", "palette", "mask"])
def test_any_picture_looks_like_what_it_is(kind):
    """Numbers that are no colours are scaled over their own range: all levels are told apart, none is clipped."""
    levels = np.linspace(0.2, 0.9, 64, dtype=np.float32).reshape(8, 8)
    image = {
        "depth": lambda: small(Depth(levels)),
        "uint16": lambda: small((levels * 3000).astype(np.uint16)),
        "float": lambda: Image.fromarray(levels),
        "two channels": lambda: Image.fromarray(np.dstack([levels * 250] * 2).astype(np.uint8)),
        "palette": lambda: Image.fromarray((levels * 250).astype(np.uint8)).convert("P"),
        "mask": lambda: small(levels > 0.5),
    }[kind]()
    pixels = np.asarray(shown(image)).astype(int)
    grey = pixels.sum(axis=2).ravel()
    assert pixels.shape == (8, 8, 3) and grey[0] != grey[-1]
    assert len(set(map(tuple, pixels.reshape(-1, 3)))) == (2 if kind == "mask" else 64)
    if kind == "depth":
        assert grey[0] > grey[-1] > 0 and len({*pixels[0, 0]}) > 1
    else:
        assert sorted(grey) == list(grey)


def test_what_cannot_be_read_is_said_and_the_others_are_shown(tmp_path):
    """A sheet of a depth picture and of a file that is no picture."""
    (tmp_path / "depth.png").write_bytes(encode("x.png", Depth(np.linspace(1, 9, 64).reshape(8, 8)))[0])
    (tmp_path / "bad.png").write_bytes(b"bad")
    unreadable = contact_sheet([tmp_path / "depth.png", tmp_path / "bad.png"], tmp_path / "sheet.jpg")
    assert unreadable == [tmp_path / "bad.png"]
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        left, right = (np.asarray(sheet.crop((x, 0, x + 8, 8))).astype(int) for x in (0, 160))
    assert left[0, 0].sum() > left[7, 7].sum() > 60 and right.max() < 20


def test_a_jobs_chance_is_its_own_and_the_same_in_each_attempt(results):
    """The seed depends on campaign and key alone: these numbers hold on every machine and in every version."""
    with ThreadPoolExecutor(1) as writer:
        jobs = [RenderJob(lease_of(key, n), results, writer) for key, n in (("a", 1), ("a", 2), ("b", 1))]
        other = RenderJob(lease_of("a"), ResultsFolder(results.root, "day"), writer)
    assert [job.seed for job in jobs] == [800699963, 800699963, 2245696287] and other.seed not in (
        800699963,
        2245696287,
    )
    assert jobs[0].rng.random() == jobs[1].rng.random() != jobs[2].rng.random()


@pytest.mark.parametrize("expects_files", [True, False])
def test_a_job_that_saves_nothing_is_suspect_unless_that_is_meant(results, expects_files):
    """A branch of render without a save is marked; Campaign(files=False) says that there need be none."""
    campaign = Campaign("night", files=expects_files)

    @campaign.render
    async def render(session, job):
        if job.key == "saves":
            job.save("note.txt", "here")
        job.log(mean=1.0)

    with ThreadPoolExecutor(1) as writer:
        suspicions = []
        for key in ("saves", "saves nothing"):
            job = RenderJob(lease_of(key), results, writer)
            asyncio.run(campaign.render_job(None, job))
            suspicions.append(job.finish().suspicion)
    assert suspicions == ["", "no file was saved" if expects_files else ""]
