"""Exports: what the done jobs came to, their files verified, in the formats that other tools read.

A table (parquet, csv, jsonl) has a row for each job; imagefolder and webdataset hold the files, too;
nerfstudio, mp4 and sheet are made of the pictures. Jobs come in the order in which they were added, and
the same jobs give the same bytes. Nothing is seen under the target's name before all of it is written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import shutil
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, Callable, Iterator

from runner.errors import ExportError
from runner.frames import contact_sheet
from runner.results import ResultsFolder
from runner.table import CampaignTable

__all__ = ["FORMATS", "ExportOptions", "Exported", "export"]

Row = dict[str, Any]

_BATCH = 1000
_SHARD_JOBS = 10_000
_SHARD_BYTES = 1 << 30
_SHEET_TILES = 100


@dataclass(frozen=True)
class ExportOptions:
    """Choices of an export.

    image: which of a job's files are its pictures, a pattern such as "rgb*"; None: all images, where
    that is one a job or the format keeps them apart.
    fps: pictures a second, for mp4.
    matrix: the param that holds the camera's pose, for nerfstudio.
    fov_deg: vertical field of view in degrees of jobs without a param fov, for nerfstudio.
    allow_incomplete: export what is whole, though jobs are not done or files are missing.
    """

    image: str | None = None
    fps: float = 24.0
    matrix: str = "matrix"
    fov_deg: float | None = None
    allow_incomplete: bool = False


@dataclass(frozen=True)
class Exported:
    """How many jobs an export holds, and how many of the campaign's it had to leave out."""

    jobs: int
    left_out: int


def export(
    campaign: CampaignTable, root: str | Path, format: str, target: str | Path, options: ExportOptions = ExportOptions()
) -> Exported:
    """Write the campaign's done jobs to target, a file or a new folder, in one of FORMATS.

    root: the results folder. Raises ExportError, and leaves target as it was, when a job is not done or
    its files are not whole (unless that is allowed), when the jobs do not have what the format needs,
    and when a package is missing.
    """
    target = Path(target).absolute()
    if not target.parent.is_dir():
        raise ExportError(f"the folder {target.parent} is missing: make it, or name another place")
    if format in _ENDINGS and target.suffix.lower() not in _ENDINGS[format]:
        endings = " or ".join(_ENDINGS[format])
        raise ExportError(f"{target.name}: the name for {format} must end with {endings}")
    write = FORMATS[format]
    try:
        with tempfile.TemporaryFile("w+", encoding="utf-8", dir=target.parent) as spool:
            rows = _Rows(campaign, Path(root), options, spool, of_pictures=write in _OF_PICTURES)
            write(rows, target)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ExportError(f"cannot write {target}: {reason}; nothing was exported") from error
    return Exported(rows.count, rows.left_out)


class _Rows:
    """The rows to export, whole in all their files when they were selected; one snapshot, however long it takes.

    columns: all names, in the order in which they come. count: how many rows. left_out: how many jobs
    of the campaign are not among them.
    """

    def __init__(
        self, campaign: CampaignTable, root: Path, options: ExportOptions, spool: IO[str], of_pictures: bool
    ):
        self.name, self.options, self.root, self._spool = campaign.name, options, root, spool
        self._results = ResultsFolder(root, campaign.name)
        self._of_pictures = of_pictures
        self.columns: list[str] = []
        self.count = 0
        total = len(campaign)
        faults = self._select(campaign)
        self.left_out = max(0, total - self.count)
        if self.left_out and not options.allow_incomplete:
            undone = self.left_out - len(faults)
            reasons = [f"{undone:,} are not done"] * (undone > 0) + faults[:3] + ["…"] * (len(faults) > 3)
            mend = f"requeue what is not whole with 'runner verify {self.name} --fix', " if faults else ""
            raise ExportError(
                f"{self.name}: {self.left_out:,} of {total:,} jobs cannot be exported: {'; '.join(reasons)}. To go "
                f"on, {mend}run the campaign until all are done, or leave these out with --allow-incomplete"
            )
        if not self.count:
            raise ExportError(f"{campaign.name}: there is no done job to export")

    def _select(self, campaign: CampaignTable) -> list[str]:
        """Spool the rows that are whole; returns what is wrong with the others."""
        faults, columns = [], {}
        rows = campaign.rows("done")
        with ThreadPoolExecutor(8) as pool, _bar("verify", campaign.progress.done) as bar:
            while batch := list(islice(rows, _BATCH)):
                for row, fault in zip(batch, pool.map(self._fault, batch)):
                    if fault:
                        faults.append(f"{row['key']}: {fault}")
                        continue
                    columns |= dict.fromkeys(row)
                    self._spool.write(json.dumps(row) + "\n")
                    self.count += 1
                bar.update(len(batch))
        # Params and metrics that only later jobs have still come before the files.
        columns.pop("artifacts", None)
        self.columns = [*columns, "artifacts"]
        return faults

    def _fault(self, row: Row) -> str | None:
        for file in row["artifacts"]:
            fault = self._results.fault_of(file["path"], file["size"], file["sha256"])
            if fault:
                return f"{file['name']} {'is missing' if fault == 'missing' else 'has changed'}"
        if self._of_pictures and not self.pictures(row):
            return f"no picture {self.options.image or ''}".rstrip()
        return None

    def __iter__(self) -> Iterator[Row]:
        self._spool.seek(0)
        with _bar("write", self.count) as bar:
            for line in self._spool:
                yield json.loads(line)
                bar.update()

    def pictures(self, row: Row) -> list[dict[str, Any]]:
        """The job's pictures, by name."""
        images = [file for file in row["artifacts"] if file["kind"].startswith("image/")]
        return [file for file in images if fnmatch(file["name"], self.options.image or "*")]

    def chosen(self, row: Row, at_most: int | None = None) -> list[dict[str, Any]]:
        """The job's pictures where colour and depth must not be mixed up: of several, one must have said which."""
        pictures = self.pictures(row)
        if len(pictures) > 1 and self.options.image is None or len(pictures) > (at_most or len(pictures)):
            names = ", ".join(picture["name"] for picture in pictures[:3])
            raise ExportError(f"job {row['key']} has {len(pictures)} pictures ({names}): choose with --image PATTERN")
        return pictures

    def content(self, file: dict[str, Any]) -> bytes:
        """The bytes of a file, still those that were verified."""
        content = (self.root / file["path"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise ExportError(f"{file['path']} has changed meanwhile; nothing was exported")
        return content


# -- tables ------------------------------------------------------------------------------------


def _write_jsonl(rows: _Rows, target: Path) -> None:
    with _replacing(target) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(_json(row) + "\n")


def _write_csv(rows: _Rows, target: Path) -> None:
    """Lists and dicts are cells of JSON; what a job does not have is empty."""
    with _replacing(target) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows.columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: _json(value) if isinstance(value, (list, dict)) else value for name, value in row.items()}
            )


def _write_parquet(rows: _Rows, target: Path) -> None:
    """Each param and metric a column of its type, wide enough for all jobs."""
    with _needing("pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    tables, remaining = [], iter(rows)
    try:
        while batch := list(islice(remaining, _BATCH)):
            tables.append(pa.table({name: [row.get(name) for row in batch] for name in rows.columns}))
        table = pa.concat_tables(tables, promote_options="permissive")
        for index, field in enumerate(table.schema):
            if pa.types.is_null(field.type):
                # Text that no job has, such as errors: a column without a type is what many readers refuse.
                table = table.set_column(index, field.name, table.column(index).cast(pa.string()))
        with _replacing(target) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    except pa.ArrowException as error:
        raise ExportError(
            f"parquet cannot hold these jobs in typed columns ({str(error).splitlines()[0]}); jsonl and csv can"
        ) from None


# -- files -------------------------------------------------------------------------------------


def _write_imagefolder(rows: _Rows, target: Path) -> None:
    """Hugging Face's ImageFolder: train/metadata.jsonl with a line a picture, and the pictures.

    Numbers for names: a key such as "test-1" would be taken for another split (datasets 5.2).
    """
    with _new_folder(target) as folder:
        (folder / "train").mkdir()
        with open(folder / "train" / "metadata.jsonl", "w", encoding="utf-8") as metadata:
            number = 0
            for row in rows:
                columns = {_not_a_file_name(name): value for name, value in row.items() if name != "artifacts"}
                for picture in rows.pictures(row):
                    name = f"{number:08d}{PurePosixPath(picture['name']).suffix.lower()}"
                    (folder / "train" / name).write_bytes(rows.content(picture))
                    of_picture = {"file_name": name, "picture": picture["name"], "sha256": picture["sha256"]}
                    taken = of_picture.keys() | {"image"}
                    others = {f"params/{name}" if name in taken else name: columns[name] for name in columns}
                    metadata.write(_json(of_picture | others) + "\n")
                    number += 1


def _not_a_file_name(name: str) -> str:
    """ImageFolder takes each column whose name ends like this for another picture's (datasets 5.2)."""
    return name.replace("file_name", "filename") if name.endswith(("file_name", "file_names")) else name


def _write_webdataset(rows: _Rows, target: Path) -> None:
    """Tar shards of up to 10,000 jobs or 1 GB: NUMBER.json with the row, NUMBER.NAME for each of its files."""
    with _new_folder(target) as folder:
        shard, size, number = None, 0, 0
        try:
            for row in rows:
                if shard is None or size >= _SHARD_BYTES or number % _SHARD_JOBS == 0:
                    if shard is not None:
                        shard.close()
                    count = len(list(folder.iterdir()))
                    shard, size = tarfile.open(folder / f"{rows.name}-{count:06d}.tar", "w"), 0
                members = {"json": _json(row).encode()}
                for file in row["artifacts"]:
                    # What follows the first dot tells a sample's files apart, so a folder becomes another dot.
                    ending = file["name"].replace("/", ".")
                    if ending in members:
                        raise ExportError(
                            f"job {row['key']}: {file['name']} would be the second {ending!r} in its sample"
                        )
                    members[ending] = rows.content(file)
                for ending, content in members.items():
                    member = tarfile.TarInfo(f"{number:08d}.{ending}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
                    size += len(content)
                number += 1
        finally:
            if shard is not None:
                shard.close()


def _write_nerfstudio(rows: _Rows, target: Path) -> None:
    """transforms.json and images/, as nerfstudio's own data parser reads them.

    three.js and nerfstudio both have cameras that look along -Z with Y up; the world's up is Y there
    and Z here (docs.nerf.studio, Data conventions), which applied_transform says, too.
    """
    from PIL import Image

    frames = []
    with _new_folder(target) as folder:
        (folder / "images").mkdir()
        for number, row in enumerate(rows):
            (picture,) = rows.chosen(row, at_most=1)
            content = rows.content(picture)
            name = f"images/frame_{number + 1:05d}{PurePosixPath(picture['name']).suffix.lower()}"
            (folder / name).write_bytes(content)
            with Image.open(io.BytesIO(content)) as image:
                intrinsics = _intrinsics(row, rows.options, *image.size)
            pose = _z_up(_pose(row, rows.options.matrix))
            frames.append({"file_path": name, "transform_matrix": pose} | intrinsics)
        shared = {key: frames[0][key] for key in intrinsics}
        if all(frame[key] == value for frame in frames for key, value in shared.items()):
            frames = [{key: frame[key] for key in ("file_path", "transform_matrix")} for frame in frames]
        else:
            shared = {}
        applied = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
        transforms = {"camera_model": "OPENCV", **shared, "applied_transform": applied, "frames": frames}
        (folder / "transforms.json").write_text(json.dumps(transforms, indent=1) + "\n")


def _pose(row: Row, name: str) -> list[list[float]]:
    """The camera-to-world matrix in rows, from 16 floats in columns, as three.js and Vuer keep it."""
    matrix = row.get(name)
    if not isinstance(matrix, list) or len(matrix) != 16 or not all(isinstance(x, (int, float)) for x in matrix):
        raise ExportError(f"job {row['key']} has no param {name!r} of 16 floats; name another with --matrix")
    pose = [[float(matrix[4 * column + line]) for column in range(4)] for line in range(4)]
    axes = [[pose[line][column] for line in range(3)] for column in range(3)]
    lengths = [math.hypot(*axis) for axis in axes]
    if pose[3] != [0.0, 0.0, 0.0, 1.0] or not all(math.isclose(length, 1.0, abs_tol=1e-3) for length in lengths):
        raise ExportError(
            f"job {row['key']}: the param {name!r} is no camera's pose (column-major, rotation and translation only)"
        )
    return pose


def _z_up(pose: list[list[float]]) -> list[list[float]]:
    """The pose in a world whose up is Z instead of Y: (x, y, z) → (x, -z, y)."""
    x, y, z, last = pose
    return [x, [-number for number in z], y, last]


def _intrinsics(row: Row, options: ExportOptions, width: int, height: int) -> dict[str, float]:
    """Focal lengths and centre in pixels; the field of view is the vertical one, as three.js has it."""
    fov_deg = row.get("fov", options.fov_deg)
    if not isinstance(fov_deg, (int, float)) or not 0.0 < fov_deg < 180.0:
        raise ExportError(
            f"job {row['key']} has no param 'fov': say the camera's vertical field of view in degrees with --fov"
        )
    focal = 0.5 * height / math.tan(math.radians(fov_deg) / 2)
    return {"w": width, "h": height, "fl_x": focal, "fl_y": focal, "cx": width / 2, "cy": height / 2}


def _write_mp4(rows: _Rows, target: Path) -> None:
    """H.264 of all pictures in a row; all must have one size."""
    with _needing("imageio", "imageio-ffmpeg"):
        import imageio.v2 as imageio
        import imageio_ffmpeg  # noqa: F401
    import numpy as np
    from PIL import Image

    # H.264 in yuv420p, which all players show, wants even sides.
    flags = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    size = None
    with _replacing(target) as temporary:
        video = imageio.get_writer(
            str(temporary), format="FFMPEG", fps=rows.options.fps, codec="libx264", macro_block_size=1,
            ffmpeg_log_level="error", output_params=flags,
        )  # fmt: skip
        with video:
            for row in rows:
                for picture in rows.chosen(row):
                    with Image.open(io.BytesIO(rows.content(picture))) as image:
                        size = size or image.size
                        if image.size != size:
                            raise ExportError(
                                f"job {row['key']}: {picture['name']} is {image.size[0]}×{image.size[1]} pixels, "
                                f"those before it {size[0]}×{size[1]}: choose pictures of one size with --image"
                            )
                        video.append_data(np.asarray(image.convert("RGB")))


def _write_sheet(rows: _Rows, target: Path) -> None:
    """A JPEG of up to 100 jobs' first pictures, evenly spread."""
    every = -(-rows.count // _SHEET_TILES)
    pictures = [rows.chosen(row)[0] for row in islice(rows, 0, None, every)]
    with _replacing(target) as temporary:
        contact_sheet([rows.root / picture["path"] for picture in pictures], temporary)


FORMATS: dict[str, Callable[[_Rows, Path], None]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "imagefolder": _write_imagefolder,
    "webdataset": _write_webdataset,
    "nerfstudio": _write_nerfstudio,
    "mp4": _write_mp4,
    "sheet": _write_sheet,
}
_ENDINGS = {"mp4": (".mp4",), "sheet": (".jpg", ".jpeg")}
_OF_PICTURES = (_write_imagefolder, _write_nerfstudio, _write_mp4, _write_sheet)


# -- targets -----------------------------------------------------------------------------------


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A name to write to, which becomes the target's when all went well; its ending is the same."""
    if target.is_dir():
        raise ExportError(f"{target} is a folder; name a file")
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes the target when all went well."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ExportError(f"{target} exists already: name a new folder, or remove it first")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _needing(*packages: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError:
        raise ExportError(
            f"this export needs {' and '.join(packages)}: pip install 'runner[export]'"
        ) from None


def _json(value: Any) -> str:
    """Strict JSON, which has no word for NaN and infinity: null."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _bar(what: str, total: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit="job", leave=False, disable=not sys.stderr.isatty(), file=sys.stderr)
