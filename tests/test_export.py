"""Exports hold what the jobs came to, and are read by what their users read them with."""

from __future__ import annotations

import io
import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from processes import run, within

import runner
from runner import export
from runner.cli import main
from runner.errors import ExportError
from runner.export import FORMATS, ExportOptions, tables
from runner.job import Policy
from runner.results import PackedResults, RenderJob, ResultsFolder
from runner.store import Store

# webdataset 1.0 and imageio 2.38 leave files to the garbage collector when they read.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

WIDTH, HEIGHT = 64, 48
COUNT = 5
KEYS = ["test-0", "val/1", "train 2", "3", "job.4"]


def pose(number: int) -> list[float]:
    """A camera that stands at (number, 1, 2) and looks along -Z, turned about Y; 16 floats, column-major."""
    angle = 0.3 * number
    cos, sin = math.cos(angle), math.sin(angle)
    return [cos, 0.0, -sin, 0.0, 0.0, 1.0, 0.0, 0.0, sin, 0.0, cos, 0.0, float(number), 1.0, 2.0, 1.0]


def params(number: int) -> dict:
    return {"n": number, "x": 1 if number == 0 else 0.5 * number, "scene": f"room, {number}", "matrix": pose(number),
            "mesh_file_name": "cube.obj", "nested": {"a": [number]}}  # fmt: skip


def shade(number: int) -> int:
    return 40 * number + 20


def jpeg(number: int, size=(WIDTH, HEIGHT)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (shade(number),) * 3).save(file, "JPEG", quality=95)
    return file.getvalue()


class Made:
    """A campaign whose jobs were rendered, all but the last `left`, by hand."""

    def __init__(
        self,
        folder: Path,
        left: int = 0,
        layer: str = "layers/depth.npy",
        size=lambda number: (WIDTH, HEIGHT),
        kind=ResultsFolder,
    ):
        self.folder, self.database, self.root = folder, folder / "runner.db", folder / "results"
        with Store(self.database) as store, ThreadPoolExecutor(2) as writer:
            campaign_id, _ = store.submit("orbit", [(key, params(n)) for n, key in enumerate(KEYS)], Policy())
            worker_id = store.start_worker(campaign_id)
            results = kind(self.root, "orbit")
            for lease in store.claim(worker_id, campaign_id, count=COUNT - left):
                number = lease.params["n"]
                job = RenderJob(lease, results, writer)
                job.save("rgb.jpg", jpeg(number, size(number)))
                dtype = np.float32 if layer.endswith(".npy") else np.uint8
                job.save(layer, np.full((3, 2), number, dtype=dtype))
                job.log(mean=float("nan") if number == 1 else number / 2, sharp=True)
                (kept,) = results.keep([(lease, job.finish())])
                shards = [kept.shard] if kept.shard else []
                store.complete_many([(lease, kept.outcome)], shards=shards)
            results.close()
            store.end_worker(worker_id)
        self.campaign = runner.open(self.database)["orbit"]

    def export(self, format: str, target: str, **options) -> Path:
        export.export(self.campaign, self.root, format, self.folder / target, ExportOptions(**options))
        return self.folder / target

    def picture(self, number: int) -> Path:
        (row,) = [row for row in self.campaign.rows() if row["n"] == number]
        (file,) = [file for file in row["artifacts"] if file["name"] == "rgb.jpg"]
        return self.root / file["path"]


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path)


TARGETS = {
    "parquet": "t.parquet", "csv": "t.csv", "jsonl": "t.jsonl", "imagefolder": "images", "webdataset": "shards",
    "folder": "folders", "nerfstudio": "nerf", "mp4": "t.mp4", "sheet": "t.jpg",
}  # fmt: skip


def test_the_command_knows_the_formats():
    """The choice that the command shows without importing them is the library's."""
    assert list(main.commands["export"].params[0].type.choices) == list(FORMATS) == list(TARGETS)


def test_parquet_is_written_in_groups_and_read_as_one(made, monkeypatch):
    """However many jobs there are, no more of them are in memory than one group has."""
    whole = pd.read_parquet(made.export("parquet", "whole.parquet"))
    monkeypatch.setattr(tables, "BATCH", 1)
    monkeypatch.setattr(tables, "_ROW_GROUP", 2)
    file = made.export("parquet", "groups.parquet")
    assert pq.ParquetFile(file).num_row_groups == 3
    pd.testing.assert_frame_equal(pd.read_parquet(file), whole)


def test_parquet_has_typed_columns(made):
    """pandas reads numbers, text, lists and dicts as what they were."""
    frame = pd.read_parquet(made.export("parquet", "t.parquet"))
    assert frame["n"].tolist() == list(range(COUNT)) and frame["n"].dtype == "int64"
    assert frame["x"].tolist() == [1.0, 0.5, 1.0, 1.5, 2.0] and frame["sharp"].all()
    assert frame["key"].tolist() == KEYS and frame["scene"][2] == "room, 2"
    assert [list(matrix) for matrix in frame["matrix"]] == [pose(n) for n in range(COUNT)]
    assert math.isnan(frame["mean"][1]) and frame["mean"][4] == 2.0
    assert frame["nested"][3]["a"].tolist() == [3]
    file = frame["artifacts"][0][1]
    assert (file["name"], file["size"]) == ("rgb.jpg", len(jpeg(0)))
    assert frame.columns.tolist() == made.campaign.to_frame("done").columns.tolist()


def test_csv_has_a_cell_for_everything(made):
    """pandas reads it back; lists and dicts are JSON in their cell."""
    frame = pd.read_csv(made.export("csv", "t.csv"))
    assert frame["key"].tolist() == KEYS and frame["scene"][0] == "room, 0"
    assert frame["x"].tolist() == [1.0, 0.5, 1.0, 1.5, 2.0]
    assert json.loads(frame["matrix"][1]) == pose(1)
    assert json.loads(frame["artifacts"][4])[1]["path"].endswith("rgb.jpg")


def test_jsonl_is_strict_json(made):
    """Any reader of JSON reads it; NaN, for which JSON has no word, is null."""
    path = made.export("jsonl", "t.jsonl")
    rows = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert [row["key"] for row in rows] == KEYS and rows[1]["mean"] is None and rows[4]["mean"] == 2.0
    frame = pd.read_json(path, lines=True)
    assert frame["nested"][2] == {"a": [2]} and frame["sharp"].dtype == bool


def test_hugging_face_reads_the_image_folder(made, monkeypatch):
    """load_dataset gives all pictures as one split, whatever the jobs are called, each with its job's params."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(made.folder / "cache"))
    from datasets import load_dataset

    folder = made.export("imagefolder", "images")
    splits = load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(made.folder / "cache"))
    assert list(splits) == ["train"]
    rows = sorted(splits["train"], key=lambda row: row["n"])
    assert [row["key"] for row in rows] == KEYS
    assert [row["matrix"] for row in rows] == [pose(n) for n in range(COUNT)]
    for number, row in enumerate(rows):
        assert np.array_equal(np.asarray(row["image"]), np.asarray(Image.open(made.picture(number))))
        assert row["mesh_filename"] == "cube.obj" and row["picture"] == "rgb.jpg"


def test_webdataset_reads_the_shards(made, monkeypatch):
    """A sample a job, with its row and all its files, in as many shards as it takes."""
    monkeypatch.setattr("runner.export.folders._SHARD_JOBS", 2)
    import webdataset

    folder = made.export("webdataset", "shards")
    shards = sorted(map(str, folder.iterdir()))
    assert [Path(shard).name for shard in shards] == [f"orbit-{n:06d}.tar" for n in range(3)]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert [sample["json"]["key"] for sample in samples] == KEYS
    for number, sample in enumerate(samples):
        assert np.array_equal(sample["rgb.jpg"], np.asarray(Image.open(made.picture(number))))
        assert sample["layers.depth.npy"].tolist() == [[number, number]] * 3


def test_imageio_reads_the_video(made):
    """Each picture is a frame, in the order of the jobs, at the rate that was asked for."""
    import imageio.v2 as imageio

    with imageio.get_reader(made.export("mp4", "t.mp4", fps=10.0)) as video:
        assert video.get_meta_data()["fps"] == 10.0
        frames = list(iter(video))
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * COUNT
    assert all(abs(float(frame.mean()) - shade(n)) < 6 for n, frame in enumerate(frames))


def test_a_video_of_odd_pictures_is_padded_and_one_of_two_sizes_refused(tmp_path):
    """H.264 wants even sides, and one size."""
    import imageio.v2 as imageio

    (tmp_path / "odd").mkdir()
    with imageio.get_reader(Made(tmp_path / "odd", size=lambda n: (63, 47)).export("mp4", "t.mp4")) as video:
        assert video.get_data(0).shape == (48, 64, 3)
    (tmp_path / "two").mkdir()
    two = Made(tmp_path / "two", size=lambda n: (64, 48 + 2 * (n == 3)))
    with pytest.raises(ExportError, match="64×50 pixels, those before it 64×48"):
        two.export("mp4", "t.mp4")
    assert not (two.folder / "t.mp4").exists()


def test_pillow_reads_the_sheet(made):
    """All pictures small, side by side."""
    with Image.open(made.export("sheet", "t.jpg")) as sheet:
        assert sheet.width == COUNT * 160
        assert abs(sheet.getpixel((32 + 160 * 3, 24))[0] - shade(3)) < 6


def projected(point_y_up, transforms: dict, frame: dict) -> tuple[float, float]:
    """Where nerfstudio's camera sees a point that is told in the scene's own, Y-up coordinates; in pixels."""
    world = np.array(transforms["applied_transform"]) @ [*point_y_up, 1.0]
    camera = np.linalg.inv(frame["transform_matrix"]) @ [*world, 1.0]
    intrinsics = transforms | frame
    assert camera[2] < 0.0
    return (
        intrinsics["cx"] + intrinsics["fl_x"] * camera[0] / -camera[2],
        intrinsics["cy"] - intrinsics["fl_y"] * camera[1] / -camera[2],
    )


def test_nerfstudio_sees_known_points_where_three_js_does(made):
    """transforms.json projects points as three.js's own matrices do, in a world whose up is Z."""
    folder = made.export("nerfstudio", "nerf", fov_deg=50.0)
    transforms = json.loads((folder / "transforms.json").read_text())
    assert (transforms["w"], transforms["h"], transforms["camera_model"]) == (WIDTH, HEIGHT, "OPENCV")
    assert len(transforms["frames"]) == COUNT
    for number, frame in enumerate(transforms["frames"]):
        matrix = np.array(pose(number)).reshape(4, 4).T
        # three.js's PerspectiveCamera, and its normalized device coordinates.
        top = math.tan(math.radians(50.0) / 2)
        for x, y in [(0.0, 0.0), (0.9, 0.3), (-1.2, 0.8)]:
            point = matrix @ [x, y, -3.0, 1.0]
            expected = (
                (0.5 + 0.5 * x / 3.0 / (top * WIDTH / HEIGHT)) * WIDTH,
                (0.5 - 0.5 * y / 3.0 / top) * HEIGHT,
            )
            assert projected(point[:3], transforms, frame) == pytest.approx(expected)
        assert (folder / frame["file_path"]).read_bytes() == made.picture(number).read_bytes()
        # The camera stands one above the ground.
        assert frame["transform_matrix"][2][3] == 1.0


SPHERES = """
import math
from vuer.schemas import CameraView, Scene, Sphere
from runner import Campaign

campaign = Campaign("spheres")
POINTS = {points}

@campaign.jobs
def jobs():
    for angle in (-0.5, 0.4):
        cos, sin = math.cos(angle), math.sin(angle)
        yield {{"matrix": [cos, 0, -sin, 0, 0, 1, 0, 0, sin, 0, cos, 0, 4 * sin + 0.3, 0.5, 4 * cos, 1],
        "fov": 40}}

@campaign.scene
def scene():
    colors = ["#ff0000", "#00ff00", "#0000ff"]
    return Scene(
        *[Sphere(key=c, args=[0.08, 16, 16], position=p, materialType="basic", material={{"color": c}})
          for p, c in zip(POINTS, colors)],
        rawChildren=[CameraView(key="ego", width=320, height=240, fov=40, near=0.1, far=50)],
    )

@campaign.render
async def render(session, job):
    session.update @ CameraView(key="ego", matrix=job.params["matrix"])
    job.save("rgb.jpg", await session.grab("ego"))
"""


def test_nerfstudio_sees_known_points_where_the_pictures_show_them(tmp_path, browser_path):
    """Small spheres at known places appear, in what Vuer's client draws, where transforms.json has them."""
    points = [[0.0, 0.0, 0.0], [0.7, 0.6, 0.4], [-0.6, 0.9, -0.8]]
    (tmp_path / "spheres.py").write_text(SPHERES.format(points=points))
    end = run("run", tmp_path / "spheres.py", "--sessions", "1")
    assert end.returncode == 0, end.stderr
    end = within("export", "nerfstudio", tmp_path / "nerf", "--db", tmp_path / "runner.db")
    assert end.exit_code == 0 and "2 jobs" in end.stderr, end.stderr
    transforms = json.loads((tmp_path / "nerf" / "transforms.json").read_text())
    for frame in transforms["frames"]:
        picture = np.asarray(Image.open(tmp_path / "nerf" / frame["file_path"])).astype(int)
        for channel, point in enumerate(points):
            others = np.delete(picture, channel, axis=2).max(axis=2)
            y, x = np.nonzero((picture[:, :, channel] > 150) & (others < 100))
            assert len(x) > 20
            # Pixel (0, 0) has its centre at (0.5, 0.5).
            assert (x.mean() + 0.5, y.mean() + 0.5) == pytest.approx(
                projected(point, transforms, frame), abs=1.0
            )


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_jobs_give_the_same_bytes(made, format):
    """Exports can be compared, and kept in a cache, by their hashes."""
    (made.folder / "again").mkdir()
    first = made.export(format, TARGETS[format], fov_deg=50.0)
    second = made.export(format, f"again/{TARGETS[format]}", fov_deg=50.0)

    assert content(first) == content(second) != {}


def content(path):
    """What an export has written: bytes by names."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files if file.is_file()}


def test_a_packed_campaign_gives_the_same(made, tmp_path):
    """All that is made of pictures, to the byte; tables tell other places, and webdataset links the shards."""
    (tmp_path / "packed").mkdir()
    packed = Made(tmp_path / "packed", kind=PackedResults)
    for format in ("imagefolder", "folder", "nerfstudio", "mp4", "sheet"):
        one, other = (content(of.export(format, TARGETS[format], fov_deg=50.0)) for of in (made, packed))
        # It has the jobs' times.
        assert one.pop("train/metadata.jsonl", b"").count(b"\n") == other.pop(
            "train/metadata.jsonl", b""
        ).count(b"\n")
        assert one == other != {}
    assert (tmp_path / "folders/0000/val%2F1/rgb.jpg").read_bytes() == jpeg(1)
    frames = [pd.read_parquet(one.export("parquet", "t.parquet")) for one in (made, packed)]
    assert [file["size"] for file in frames[0]["artifacts"][1]] == [
        file["size"] for file in frames[1]["artifacts"][1]
    ]
    (shard,) = packed.export("webdataset", "shards").iterdir()
    assert shard.stat().st_ino == packed.picture(1).stat().st_ino


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fault", ["not done", "missing", "changed"])
def test_holes_are_refused_unless_they_are_allowed(tmp_path, format, fault):
    """An export that is not whole is made only when one says so, and nothing is left of one that was refused."""
    made = Made(tmp_path, left=fault == "not done")
    if fault == "missing":
        made.picture(2).unlink()
    elif fault == "changed":
        content = bytearray(made.picture(2).read_bytes())
        content[-10] ^= 1
        made.picture(2).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    reason = "are not done" if fault == "not done" else f"train 2: rgb.jpg (is|has) {fault}"
    with pytest.raises(ExportError, match=f"orbit: 1 of 5 jobs cannot be exported: .*{reason}"):
        made.export(format, TARGETS[format], fov_deg=50.0)
    assert sorted(tmp_path.iterdir()) == before
    target = tmp_path / TARGETS[format]
    options = ExportOptions(allow_incomplete=True, fov_deg=50.0)
    exported = export.export(made.campaign, made.root, format, target, options)
    assert (exported.jobs, exported.left_out) == (COUNT - 1, 1) and target.exists()


def test_a_job_without_a_picture_is_a_hole_among_pictures(made):
    """What was asked for by name must be there."""
    with pytest.raises(ExportError, match="test-0: no picture depth"):
        made.export("imagefolder", "images", image="depth*")
    assert len(list((made.export("imagefolder", "images", image="rgb*") / "train").glob("*.jpg"))) == COUNT


@pytest.mark.parametrize("format", ["mp4", "sheet", "nerfstudio"])
def test_colour_and_depth_are_not_mixed_up(tmp_path, format):
    """Where a job has several pictures, one says which; a pattern may still mean all of them."""
    made = Made(tmp_path, layer="depth.jpg")
    with pytest.raises(ExportError, match=r"2 pictures \(depth.jpg, rgb.jpg\): choose with --image"):
        made.export(format, TARGETS[format], fov_deg=50.0)
    assert made.export(format, TARGETS[format], fov_deg=50.0, image="rgb*").exists()
    if format == "nerfstudio":
        with pytest.raises(ExportError, match="2 pictures"):
            made.export(format, "both", fov_deg=50.0, image="*")
    assert len(list((made.export("imagefolder", "images") / "train").glob("*.jpg"))) == 2 * COUNT


def test_a_folder_that_is_there_is_not_touched_and_a_file_is_replaced_whole(made, monkeypatch):
    """What was exported before stays until all of its successor is written."""
    made.export("jsonl", "t.jsonl")
    before = (made.folder / "t.jsonl").read_bytes()
    monkeypatch.setattr("runner.export.tables.to_json", lambda row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.export("jsonl", "t.jsonl")
    monkeypatch.undo()
    assert (made.folder / "t.jsonl").read_bytes() == before
    (made.folder / "images").mkdir()
    (made.folder / "images" / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="exists already"):
        made.export("imagefolder", "images")
    assert [file.name for file in (made.folder / "images").iterdir()] == ["mine.txt"]
    assert not list(made.folder.glob(".*tmp*"))


@pytest.mark.parametrize(
    ("format", "package"), [("parquet", "pyarrow"), ("mp4", "imageio"), ("mp4", "imageio_ffmpeg")]
)
def test_a_missing_package_is_said(made, monkeypatch, format, package):
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=r"pip install 'runner\[export\]'"):
        made.export(format, TARGETS[format])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "say the camera's vertical field of view"),
        ({"fov_deg": 50.0, "matrix": "pose"}, "no param 'pose' of 16 floats"),
        ({"fov_deg": 50.0, "matrix": "rows"}, "is not a camera's pose"),
    ],
)
def test_a_camera_that_is_not_known_is_refused(tmp_path, monkeypatch, options, message):
    """A pose in rows instead of columns, or none, would give a scene that no one can train on."""
    rows = [float(number) for number in np.array(pose(1)).reshape(4, 4).T.ravel()]
    monkeypatch.setattr("test_export.params", lambda n: {"n": n, "matrix": pose(n), "rows": rows})
    with pytest.raises(ExportError, match=message):
        Made(tmp_path).export("nerfstudio", "nerf", **options)
    assert not (tmp_path / "nerf").exists()


def test_params_of_two_kinds_are_no_typed_column(tmp_path, monkeypatch):
    """parquet says which column of which jobs, and what can hold them, which does."""
    monkeypatch.setattr("test_export.params", lambda n: {"n": n, "mixed": "text" if n else 1})
    made = Made(tmp_path)
    for format in ("parquet", "imagefolder"):
        message = f"{format} .* 'mixed' is a number in job test-0 and text in job val/1; jsonl and csv can"
        with pytest.raises(ExportError, match=message):
            made.export(format, TARGETS[format])
    assert '"mixed":"text"' in made.export("jsonl", "t.jsonl").read_text()


def test_numbers_without_room_are_text(tmp_path, monkeypatch):
    """128-bit seeds, lists of them, and what has no type in a table come through whole, and it is said."""
    values = {
        "seed": 2**128 + 1,
        "seeds": [2**70, 1],
        "hash": 2**63 + 1,
        "empty": {},
        "odd": [1, "a"],
        "f": 0.5,
    }
    monkeypatch.setattr(
        "test_export.params", lambda n: {"n": n} | (values if n else {"seed": 3, "f": 2**60 + 1})
    )
    made = Made(tmp_path)
    end = within("export", "parquet", tmp_path / "t.parquet", "--db", made.database, "--results", made.root)
    assert end.exit_code == 0 and "as text, in JSON, for no type of column holds" in end.stderr
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert frame["seed"].tolist() == ["3", *[str(2**128 + 1)] * 4]
    assert frame["seeds"][1] == f"[{2**70},1]" and frame["empty"][1] == "{}" and frame["odd"][1] == '[1,"a"]'
    assert frame["hash"][1] == 2**63 + 1 and frame["f"].tolist() == [str(2**60 + 1), *["0.5"] * 4]


def numbered(folder: Path, values: list, keys=("a", "b", "c", "d", "e", "f")) -> Made:
    """A campaign whose jobs, in the order in which they were added, have these values of the param v."""
    made = object.__new__(Made)
    made.folder, made.database, made.root = folder, folder / "runner.db", folder / "results"
    with Store(made.database) as store, ThreadPoolExecutor(2) as writer:
        jobs = [(key, {} if value is None else {"v": value}) for key, value in zip(keys, values)]
        campaign_id, _ = store.submit("orbit", jobs, Policy())
        for lease in store.claim(store.start_worker(campaign_id), campaign_id, count=len(jobs)):
            job = RenderJob(lease, ResultsFolder(made.root, "orbit"), writer)
            job.save("rgb.jpg", jpeg(len(lease.key)))
            job.log(half=ord(lease.key[0]) % 2)
            store.complete(lease, job.finish())
    made.campaign = runner.open(made.database)["orbit"]
    return made


@pytest.mark.parametrize(
    ("values", "order", "keys"),
    [
        ([0, 4, 8, 12, 1, 2], ["v"], "aefbcd"),
        ([0, 4, 8, 12, 1, 2], ["-v"], "dcbfea"),
        ([10, 9.5, None, 2**70, -1, 9.5], ["v"], "ebfadc"),
        ([10, 9.5, None, 2**70, -1, 9.5], ["-v"], "dabfec"),
        (["view_10", "view_2", "View", "view_1", "a", ""], ["v"], "fcedba"),
        ([[1, 2], [1], [0, 9], [1, 10], [0, 9, 1], [1, 2]], ["v"], "cebafd"),
        ([1, 2, 1, 2, 1, 2], ["half", "-v"], "bdface"),
        ([1, 2, 1, 2, 1, 2], ["v", "-key"], "ecafdb"),
        ([3, 2, 1, 6, 5, 4], [], "abcdef"),
    ],
)
def test_jobs_come_in_the_order_that_is_named(tmp_path, values, order, keys):
    """Numbers as numbers, several names, from high to low; who has none comes last, equals as they were added."""
    path = numbered(tmp_path, values).export("jsonl", "t.jsonl", order=tuple(order))
    assert "".join(json.loads(line)["key"] for line in path.read_text().splitlines()) == keys


def test_the_orbit_turns_in_order_though_it_was_previewed(tmp_path):
    """Every fourth view was rendered first; the video by a param, as by key, has them in their place."""
    import imageio.v2 as imageio

    made = numbered(tmp_path, [0, 4, 1, 2, 3, 5], ["x" * n for n in (1, 5, 2, 3, 4, 6)])
    for order in ("v", "key"):
        end = within(
            "export", "mp4", tmp_path / f"{order}.mp4", "--order", order, "--db", made.database,
            "--results", made.root,
        )  # fmt: skip
        assert end.exit_code == 0, end.stderr
        with imageio.get_reader(tmp_path / f"{order}.mp4") as video:
            levels = [float(frame.mean()) for frame in video]
        assert levels == sorted(levels) and levels[-1] - levels[0] > 150
    end = within(
        "export", "csv", tmp_path / "t.csv", "--order", "w", "--db", made.database, "--results", made.root
    )
    assert end.exit_code == 2 and "no job has 'w'" in end.stderr and end.stderr.count("\n") == 1


def test_depth_is_seen_in_the_video_and_in_the_sheet(tmp_path):
    """In one range for all frames of a video, each in its own on the sheet; nothing is white all over."""
    import imageio.v2 as imageio

    made = numbered(tmp_path, [1, 2, 3])
    near_and_far = np.ones((HEIGHT, WIDTH))
    near_and_far[:, WIDTH // 2 :] = 2
    with Store(made.database) as store, ThreadPoolExecutor(2) as writer:
        store.add(1, [(f"depth{n}", {}) for n in (1, 3)])
        for lease in store.claim(store.start_worker(1), 1, count=2):
            job = RenderJob(lease, ResultsFolder(made.root, "orbit"), writer)
            job.save("rgb.jpg", jpeg(1))
            job.save("depth.png", runner.Depth(near_and_far * int(lease.key[-1])))
            store.complete(lease, job.finish())
    options = {"image": "depth.png", "allow_incomplete": True}
    with imageio.get_reader(made.export("mp4", "t.mp4", **options)) as video:
        frames = [frame.astype(int) for frame in video]
    levels = [[frame[24, x].sum() for x in (10, 50)] for frame in frames]
    # Metres: 1 and 2, 3 and 6. Near is bright.
    assert levels[0][0] > levels[0][1] + 30 > levels[1][0] + 60 > levels[1][1] + 90 > 90
    with Image.open(made.export("sheet", "t.jpg", **options)) as sheet:
        tiles = [[sum(sheet.getpixel((x + 160 * n, 24))) for x in (10, 50)] for n in range(2)]
    assert tiles[0] == pytest.approx(tiles[1], abs=12) and tiles[0][0] > tiles[0][1] + 100


def test_the_command_says_what_it_wrote_and_refuses_in_one_line(tmp_path):
    """Exit 0 and the count; exit 2, one line, and what to do."""
    made = Made(tmp_path, left=1)
    refused = within("export", "csv", tmp_path / "t.csv", "--db", made.database)
    assert (
        refused.exit_code == 2 and refused.stderr.count("\n") == 1 and "--allow-incomplete" in refused.stderr
    )
    places = ["--db", made.database, "--results", made.root]
    done = within("export", "csv", tmp_path / "t.csv", "orbit", *places, "--allow-incomplete")
    assert done.exit_code == 0 and "4 jobs, 1 left out" in done.stderr and done.stdout == ""
    assert len(pd.read_csv(tmp_path / "t.csv")) == 4
