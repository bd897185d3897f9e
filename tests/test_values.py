"""Values that no browser could use are refused where they are given, by element and field, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runner.errors import FrameError
from runner.sessions.values import refuse_unusable

BRANCHES = ("children", "nodes")


@pytest.mark.parametrize(
    "props, said",
    [
        ({"material": {"map": b"\x89PNG"}}, "its material.map is a bytes"),
        ({"map": b"\x89PNG"}, "its map is a bytes"),
        ({"material": {"normalMap": np.zeros((4, 4, 3)).tolist()}}, "its material.normalMap is a list"),
        ({"src": Path("ball.glb")}, "its src is the path 'ball.glb'"),
        ({"args": [1, object()]}, "its args[] is a object"),
        ({"material": {"color": {1, 2}}}, "its material.color is a set"),
        ({"text": "caf\udce9"}, "its text is 'caf\\udce9'"),
        ({"args": [1 << 70]}, "its args[] is a whole number of more than 64 bits"),
        ({"position": [0, float("nan"), 0]}, "its position is [0, nan, 0]"),
        ({"scale": float("inf")}, "its scale is inf"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field(props, said):
    """The message has the element's key, the field within it, and one line."""
    with pytest.raises(FrameError) as refused:
        refuse_unusable({"tag": "Sphere", "key": "ball", **props}, BRANCHES)
    assert str(refused.value).startswith(f"element 'ball': {said}") and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "props, said",
    [
        ({"matrix": [[1, 0, 0, 0]] * 4}, "its matrix takes 16 numbers"),
        ({"quaternion": [0, 0, 1]}, "its quaternion takes 4 numbers"),
        ({"rotation": [0, 0, "1"]}, "its rotation takes 3 numbers"),
        ({"lookAt": "ball"}, "its lookAt takes 3 numbers"),
        ({"fov": "50"}, "its fov takes a number"),
        ({"width": None}, "its width takes a number"),
        ({"near": float("nan")}, "its near takes a number"),
    ],
)
def test_a_camera_takes_numbers_and_as_many_as_it_needs(props, said):
    """What the client would ignore, or draw nothing with, is refused."""
    with pytest.raises(FrameError, match="'ego'") as refused:
        refuse_unusable({"tag": "CameraView", "key": "ego", **props}, BRANCHES)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "node",
    [
        {"tag": "Sphere", "position": [0, 1, 2.5], "scale": 2, "material": {"map": "/static/a.png", "color": "red"}},
        {"tag": "Sphere", "material": {"map": None, "opacity": 0.5}, "castShadow": True},
        {"tag": "PointCloud", "vertices": b"\0" * 12, "args": list(range(100_000))},
        {"tag": "Group", "children": [{"tag": "Box", "map": b"looked at by itself"}]},
        {"tag": "CameraView", "rotation": [0, 1, 0, "ZYX"], "fov": 50, "width": 640, "matrix": [1.0] * 16},
        {"tag": "Plane", "position": "0 0 0", "args": None},
    ],
)  # fmt: skip
def test_what_can_be_sent_is_let_through(node):
    """URLs, numbers, bytes of models and clouds, and long lists."""
    refuse_unusable({"key": "it", **node}, BRANCHES)
