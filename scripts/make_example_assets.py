#!/usr/bin/env python3
"""Make the files that ship with the examples: python scripts/make_example_assets.py [FOLDER]

    camera_path/camera_path.pkl         an ML-Logger recording: 48 poses of a camera that flies along a row of boxes
    robot/assets/robot/robot.urdf       an arm with five joints and a gripper, and the meshes of its links, binary STL
    splats/assets/tree.splat            a tree of 2,800 Gaussian splats

FOLDER: runner/campaign/examples, unless another is named. What lies there in a folder of an example's name is what
`runner init` writes beside that example. The same files come out each time, but for the times in the recording.
"""

from __future__ import annotations

import itertools
import os
import struct
import sys
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "runner" / "campaign" / "examples"


def main(folder: Path) -> None:
    record_path(folder / "camera_path" / "camera_path.pkl")
    make_robot(folder / "robot" / "assets" / "robot")
    make_tree(folder / "splats" / "assets" / "tree.splat")


# ---- The camera's path.


def record_path(file: Path) -> None:
    """Each record has the `matrix` of a pose: 16 floats, column-major."""
    os.environ.setdefault("ML_LOGGER_USER", "runner")
    from ml_logger import ML_Logger

    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    logger = ML_Logger(root=str(file.parent.absolute()), prefix="")
    for step, t in enumerate(np.linspace(0.0, 1.0, 48)):
        eye = np.array([-5.0 + 10.0 * t, 1.0 + 1.5 * np.sin(np.pi * t), 5.0 - 1.5 * np.sin(np.pi * t)])
        matrix = looking_at(eye, np.array([0.0, 0.4, -0.5]))
        logger.log(step=step, matrix=matrix, file=file.name, flush=True, silent=True)


def looking_at(eye: np.ndarray, target: np.ndarray) -> list[float]:
    """The pose of a camera at eye that looks at target with y up: 16 floats, column-major."""
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :4] = np.stack([right, np.cross(back, right), back, eye], axis=1)
    return [round(float(number), 6) for number in pose.T.ravel()]


# ---- The robot. Its z axis is up, as robots have it; lengths in metres.

# Of each mesh the outlines from bottom to top: height, half of the width and of the depth.
MESHES = {
    "base": [(0.0, 0.26, 0.26), (0.05, 0.26, 0.26), (0.09, 0.2, 0.2), (0.2, 0.15, 0.15)],
    "shoulder": [(0.0, 0.15, 0.15), (0.06, 0.15, 0.15), (0.16, 0.08, 0.13), (0.26, 0.08, 0.1)],
    "upper_arm": [(-0.11, 0.05, 0.08), (0.0, 0.07, 0.12), (0.3, 0.06, 0.085), (0.6, 0.06, 0.1), (0.68, 0.04, 0.06)],
    "forearm": [(-0.08, 0.05, 0.06), (0.0, 0.06, 0.09), (0.12, 0.06, 0.08), (0.46, 0.04, 0.05), (0.52, 0.04, 0.05)],
    "hand": [(-0.04, 0.04, 0.04), (0.06, 0.05, 0.05), (0.08, 0.14, 0.06), (0.12, 0.14, 0.06)],
    "finger": [(0.0, 0.025, 0.04), (0.1, 0.025, 0.04), (0.2, 0.012, 0.03)],
}  # fmt: skip
PAINT = {"white": "0.93 0.92 0.88 1", "orange": "0.95 0.45 0.12 1", "dark": "0.22 0.24 0.28 1"}


def make_robot(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, outlines in MESHES.items():
        (folder / f"{name}.stl").write_bytes(stl(loft(outlines)))
    parts = [
        link("base", mesh("base", "dark")),
        link("shoulder", mesh("shoulder", "orange"), axle(0.26, 0.1, 0.24)),
        link("upper_arm", mesh("upper_arm", "white"), axle(0.6, 0.085, 0.22)),
        link("forearm", mesh("forearm", "orange"), axle(0.5, 0.055, 0.15)),
        link("hand", mesh("hand", "dark")),
        link("left_finger", mesh("finger", "white")),
        link("right_finger", mesh("finger", "white")),
        joint("yaw", "revolute", "base", "shoulder", "0 0 0.2", "0 0 1", 3.1),
        joint("lift", "revolute", "shoulder", "upper_arm", "0 0 0.26", "0 1 0", 1.8),
        joint("elbow", "revolute", "upper_arm", "forearm", "0 0 0.6", "0 1 0", 2.6),
        joint("wrist", "revolute", "forearm", "hand", "0 0 0.5", "0 1 0", 2.0),
        joint("left_grip", "prismatic", "hand", "left_finger", "0.025 0 0.12", "1 0 0", 0.09),
        joint("right_grip", "prismatic", "hand", "right_finger", "-0.025 0 0.12", "-1 0 0", 0.09),
    ]
    (folder / "robot.urdf").write_text("\n".join(['<robot name="arm">', *parts, "</robot>", ""]))


def link(name: str, *visuals: str) -> str:
    return "\n".join([f'  <link name="{name}">', *visuals, "  </link>"])


def mesh(name: str, paint: str) -> str:
    return visual(f'<mesh filename="{name}.stl"/>', paint)


def axle(height: float, radius: float, length: float) -> str:
    """The housing of a joint: a cylinder along y."""
    place = f'<origin xyz="0 0 {height}" rpy="1.5708 0 0"/>'
    return visual(f'<cylinder radius="{radius}" length="{length}"/>', "dark", place)


def visual(geometry: str, paint: str, place: str = "") -> str:
    color = f'<material name="{paint}"><color rgba="{PAINT[paint]}"/></material>'
    return f"    <visual>{place}<geometry>{geometry}</geometry>{color}</visual>"


def joint(name: str, kind: str, parent: str, child: str, place: str, axis: str, limit: float) -> str:
    lower = 0 if kind == "prismatic" else -limit
    return (
        f'  <joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{place}"/><axis xyz="{axis}"/>'
        f'<limit lower="{lower}" upper="{limit}" effort="1" velocity="1"/></joint>'
    )


def loft(outlines: list[tuple[float, float, float]]) -> np.ndarray:
    """The triangles, (N, 3, 3), of a body with these outlines, each a rectangle whose corners are cut off."""
    cut = 0.55
    corner = np.array(
        [[1, cut], [cut, 1], [-cut, 1], [-1, cut], [-1, -cut], [-cut, -1], [cut, -1], [1, -cut]]
    )
    rings = [
        np.column_stack([corner * [half_x, half_y], np.full(8, height)])
        for height, half_x, half_y in outlines
    ]
    triangles = []
    for low, high in itertools.pairwise(rings):
        for one, other in zip(range(8), [*range(1, 8), 0]):
            triangles += [[low[one], low[other], high[other]], [low[one], high[other], high[one]]]
    for k in range(1, 7):
        triangles.append([rings[0][0], rings[0][k + 1], rings[0][k]])
        triangles.append([rings[-1][0], rings[-1][k], rings[-1][k + 1]])
    return np.array(triangles)


def stl(triangles: np.ndarray) -> bytes:
    records = [bytes(80), struct.pack("<I", len(triangles))]
    for a, b, c in triangles:
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal)
        records.append(struct.pack("<12fH", *normal, *a, *b, *c, 0))
    return b"".join(records)


# ---- The tree of splats: ellipsoids with a place, three half axes, a colour and a turn.


def make_tree(file: Path) -> None:
    rng = np.random.default_rng(7)
    parts = [ground(rng), trunk(rng), *(crown(rng, *ball) for ball in CROWN), fruit(rng)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(parts))


# Of each part of the crown: its middle, its radius, how many splats, and its hue from yellow-green to blue-green.
CROWN = [
    ((0.0, 1.55, 0.0), 0.5, 800, 0.0), ((0.45, 1.2, 0.15), 0.36, 420, 0.4),
    ((-0.42, 1.25, 0.2), 0.38, 420, 0.7), ((0.05, 1.2, -0.45), 0.36, 420, 0.85),
]  # fmt: skip
SUN = np.array([0.45, 0.8, 0.4])


def ground(rng: np.random.Generator) -> bytes:
    """A lawn."""
    radius, angle = 1.1 * np.sqrt(rng.random(450)), 2 * np.pi * rng.random(450)
    places = np.column_stack([radius * np.cos(angle), 0.02 * rng.random(450), radius * np.sin(angle)])
    colors = (
        np.array([96, 148, 62])
        * rng.uniform(0.75, 1.15, (450, 1))
        * np.where(radius < 0.55, 0.72, 1.0)[:, None]
    )
    return splats(rng, places, np.tile([0.075, 0.012, 0.075], (450, 1)), colors, is_upright=True)


def trunk(rng: np.random.Generator) -> bytes:
    height, angle = 1.2 * rng.random(180), 2 * np.pi * rng.random(180)
    radius = 0.13 - 0.07 * height / 1.2
    normals = np.column_stack([np.cos(angle), np.zeros(180), np.sin(angle)])
    places = normals * radius[:, None] + np.column_stack([0.06 * np.sin(3 * height), height, 0 * height])
    colors = np.array([124, 84, 52]) * (lit(normals) * rng.uniform(0.8, 1.1, 180))[:, None]
    return splats(rng, places, np.tile([0.03, 0.09, 0.03], (180, 1)), colors, is_upright=True)


def crown(rng: np.random.Generator, middle: tuple, radius: float, count: int, hue: float) -> bytes:
    """Leaves: flat splats at and below the surface of a ball."""
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    depth = rng.random((count, 1)) ** 3
    places = np.array(middle) + normals * radius * (1 - 0.5 * depth)
    color = np.array([150, 190, 60]) * (1 - hue) + np.array([44, 128, 92]) * hue
    colors = color * lit(normals)[:, None] * (1 - 0.5 * depth) * rng.uniform(0.8, 1.2, (count, 1))
    return splats(rng, places, rng.uniform([0.05, 0.03, 0.012], [0.08, 0.05, 0.016], (count, 3)), colors)


def fruit(rng: np.random.Generator) -> bytes:
    """Round and red, on the outside of the crown."""
    count = 60
    normals = rng.normal(size=(count, 3))
    normals[:, 1] = np.abs(normals[:, 1]) - 0.5
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    which = rng.integers(len(CROWN), size=count)
    middles, radii = np.array([CROWN[k][0] for k in which]), np.array([CROWN[k][1] for k in which])
    places = middles + normals * radii[:, None] * 1.03
    colors = np.array([226, 64, 46]) * lit(normals)[:, None]
    return splats(rng, places, np.full((count, 3), 0.032), colors)


def lit(normals: np.ndarray) -> np.ndarray:
    """How much light a surface gets from sun and sky: splats are shown in their own colour, without lights."""
    return 0.62 + 0.5 * np.clip(normals @ SUN / np.linalg.norm(SUN), -0.4, 1)


def splats(
    rng: np.random.Generator, places: np.ndarray, halves: np.ndarray, colors: np.ndarray, is_upright: bool = False
) -> bytes:  # fmt: skip
    """Records of a .splat file: place and half axes as floats; colour with opacity, and turn (w, x, y, z), as bytes."""
    count = len(places)
    turns = np.tile([1.0, 0, 0, 0], (count, 1)) if is_upright else rng.normal(size=(count, 4))
    turns /= np.linalg.norm(turns, axis=1)[:, None]
    records = np.zeros(
        count, [("place", "<f4", 3), ("half", "<f4", 3), ("color", "u1", 4), ("turn", "u1", 4)]
    )
    records["place"], records["half"] = places.round(3), halves.round(3)
    records["color"] = np.column_stack([np.clip(colors, 0, 255), np.full(count, 245)]).astype(np.uint8)
    records["turn"] = np.clip(turns * 128 + 128, 0, 255).astype(np.uint8)
    return records.tobytes()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLES)
