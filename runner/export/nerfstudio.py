"""nerfstudio's data folder: transforms.json and images."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path, PurePosixPath

from runner.errors import ExportError
from runner.export.rows import ExportOptions, Row, Rows
from runner.export.targets import new_folder


def write_nerfstudio(rows: Rows, target: Path) -> None:
    """transforms.json and images/, as nerfstudio's own data parser reads them.

    three.js and nerfstudio both have cameras that look along -Z with Y up; the world's up is Y in three.js and Z in
    nerfstudio (docs.nerf.studio, Data conventions); applied_transform says so, too.
    """
    from PIL import Image

    frames = []
    with new_folder(target) as folder:
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
    if (
        not isinstance(matrix, list)
        or len(matrix) != 16
        or not all(isinstance(x, (int, float)) for x in matrix)
    ):
        raise ExportError(f"job {row['key']} has no param {name!r} of 16 floats; name another with --matrix")
    pose = [[float(matrix[4 * column + line]) for column in range(4)] for line in range(4)]
    axes = [[pose[line][column] for line in range(3)] for column in range(3)]
    lengths = [math.hypot(*axis) for axis in axes]
    if pose[3] != [0.0, 0.0, 0.0, 1.0] or not all(
        math.isclose(length, 1.0, abs_tol=1e-3) for length in lengths
    ):
        raise ExportError(
            f"job {row['key']}: the param {name!r} is not a camera's pose (column-major, rotation and translation only)"
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
