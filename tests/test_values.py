"""Values that no browser could use are refused where they are given, by element and field, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vuer.schemas import Image, PointCloud, TriMesh

from runner.errors import FrameError
from runner.sessions.arrays import keep_arrays
from runner.sessions.kinds import refuse_kind, why_ignored
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
        ({"args": [1, float("nan"), 1]}, "its args is [1, nan, 1]"),
        ({"material": {"opacity": float("nan")}}, "its material.opacity is nan"),
        ({"position": [1, 2]}, "its position takes 3 numbers"),
        ({"position": "0 0 0"}, "its position takes numbers"),
        ({"scale": "2"}, "its scale takes numbers"),
        ({"rotation": [0, 0, 0.5, 0.8]}, "its rotation takes three angles"),
        ({"quaternion": [0, 0, 1]}, "its quaternion takes 4 numbers"),
        ({"quaternion": [0, 0, 3, 4]}, "its quaternion has the length 5"),
        ({"hide": "False"}, "its hide takes True or False"),
        ({"visible": 0}, "its visible takes True or False"),
        ({"material": {"side": "DoubleSide"}}, "its material.side is 0 (front)"),
        ({"material": "red"}, "its material takes a dict such as {'color': 'red'}"),
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
        {"tag": "Plane", "position": None, "args": None, "rotation": [0, 1, 0, "ZYX"], "hide": None},
        {"tag": "Plane", "quaternion": [0, 0, 0.383, 0.924], "scale": 2, "visible": False, "material": {"side": 2}},
    ],
)  # fmt: skip
def test_what_can_be_sent_is_let_through(node):
    """URLs, numbers, bytes of models and clouds, and long lists."""
    refuse_unusable({"key": "it", **node}, BRANCHES)


@pytest.mark.parametrize(
    "props, said",
    [
        ({"Position": [1, 0, 0]}, "a Box has no 'Position': 'position' is meant?"),
        ({"tag": "CameraView", "fovy": 40}, "a CameraView has no 'fovy': 'fov' is meant?"),
        ({"material": {"colour": "red"}}, "a material has no 'colour': 'color' is meant?"),
        ({"material": {"displacementScale": 0.3}}, "its material's displacementScale has no effect"),
        ({"material": {"wireFrame": True}}, "a material has no 'wireFrame': 'wireframe' is meant?"),
    ],
)
def test_a_slip_in_a_name_is_refused(props, said):
    """Vuer's client would ignore it; a name that is like none is only told."""
    with pytest.raises(FrameError, match="element 'it'") as refused:
        refuse_kind({"tag": "Box", "key": "it", **props})
    assert said in str(refused.value)
    refuse_kind({"tag": "Box", "key": "it", "myNote": 1, "material": {"ior": 1.4, "color": "red"}})


def test_a_look_that_is_ignored_is_said():
    """A shape's color is its material's, and an opacity counts where the material is transparent."""
    assert "material={'color': …}" in why_ignored({"tag": "Box", "key": "it", "color": "red"})
    half = {"opacity": 0.5}
    assert "transparent" in why_ignored({"tag": "Box", "key": "it", "material": half})
    assert not why_ignored({"tag": "Box", "key": "it", "material": half | {"transparent": True}})


IGNORED = [
    (
        "Arrow",
        {"visible": False},
        "element 'it' (Arrow): its visible has no effect in Vuer's client (hide=True",
    ),
    ("Box", {"matrix": [2] * 16}, "a Group with that matrix"),
    (
        "Sphere",
        {"radius": 0.2},
        "element 'it' (Sphere): its radius has no effect in Vuer's client (args has the size)",
    ),
    (
        "Box",
        {"map": "/a.png", "lookAt": [0, 0, 0]},
        "its lookAt has no effect in Vuer's client, its map has no effect",
    ),
    ("Box", {"material": {"diffuse": "red"}}, "its material's diffuse has no effect"),
    ("PointLight", {"lumens": 9}, "its lumens has no effect"),
    ("PointCloud", {"pointSize": 0.1}, "its pointSize has no effect"),
    ("VuerGroup", {"color": "red"}, "its color has no effect"),
    ("DirectionalLight", {"lookAt": [1, 0, 0]}, "it shines from its position to the origin"),
    ("CameraView", {"resolution": [640, 480]}, "its resolution has no effect"),
    ("Glb", {"material": {"color": "red"}}, "its material has"),
    ("Stl", {"materialType": "basic", "material": {"color": "red"}}, ""),
    ("PointCloud", {"opacity": 0.5}, "its opacity has"),
    ("BoundingBox", {"quaternion": [1, 0, 0, 0]}, "rotation turns it"),
    ("ImageBackground", {"src": "/a.png"}, "it stands before the page's main view, not before a CameraView"),
    ("DirectionalLight", {"rotation": [1, 0, 0]}, "it shines from its position to the origin"),
    (
        "PointLight",
        {"distance": 3, "decay": 0.5},
        "its distance has no effect in Vuer's client, its decay has",
    ),
]


@pytest.mark.parametrize("tag, props, said", IGNORED)
def test_what_the_client_ignores_of_an_element_is_said(tag, props, said):
    """Found by pictures, which were the same with and without it; what has an effect is not mentioned."""
    assert said in (told := why_ignored({"tag": tag, "key": "it", **props})) and told
    effective = {"visible": True, "color": "red", "rotation": [1, 0, 0], "quaternion": [0, 0, 0, 1]}
    assert not why_ignored({"tag": "Arrow", "key": "it", **effective})
    assert not why_ignored({"tag": "ImageBackground", "key": "it", "src": "/a.png", "fixed": True})
    assert not why_ignored({"tag": "ImageBackground", "key": "it", "opacity": 0.5})
    assert not why_ignored({"tag": "Glb", "key": "it", "materialType": "basic", "material": {"color": "red"}})


REFUSED_LOOKS = [
    ("Obj", {"materialType": "standard"}, "it takes no materialType: Vuer's client throws"),
    ("Text", {"material": {"color": "red"}}, "color and fillOpacity"),
    ("TriMesh", {"opacity": 0.3}, "unless material={'alphaTest': 0}"),
    ("TriMesh", {"material": {"opacity": 0.3}}, "in no picture"),
    ("Pcd", {"opacity": 0.3}, "in no picture"),
    ("SpotLight", {"target": [1, 0, 0]}, "it takes no target"),
    ("PointCloud", {"vertices": [[0, 0, 0]]}, "make a new PointCloud(key='it', vertices=…)"),
]


@pytest.mark.parametrize("tag, props, said", REFUSED_LOOKS)
def test_a_look_with_which_an_element_would_be_in_no_picture_is_refused(tag, props, said):
    """The client would throw without its name, or draw nothing without a word; the refusal tells what to give."""
    with pytest.raises(FrameError, match="element 'it'") as refused:
        refuse_kind({"tag": tag, "key": "it", **props})
    assert said in str(refused.value)
    refuse_kind({"tag": "TriMesh", "key": "it", "opacity": 0.3, "material": {"alphaTest": 0}})
    refuse_kind({"tag": "Obj", "key": "it", "color": "red", "opacity": 0.3, "wireframe": True})


POINTS, FACES = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])
COLORS = np.array([[0.5, 0.2, 1.0]] * 3)


@pytest.mark.parametrize(
    "kind, arrays, said",
    [
        (PointCloud, {"vertices": POINTS[:, :2]}, "its vertices are of shape (3, 2)"),
        (PointCloud, {"vertices": np.hstack([POINTS, POINTS[:, :1]])}, "its vertices are of shape (3, 4)"),
        (PointCloud, {"vertices": POINTS, "colors": COLORS[:2]}, "its colors are of shape (2, 3)"),
        (PointCloud, {"vertices": POINTS, "colors": COLORS[:, 0]}, "its colors are of shape (3,)"),
        (
            PointCloud,
            {"vertices": POINTS, "colors": COLORS * 255},
            "its colors are float64 numbers beyond 0 to 1",
        ),
        (PointCloud, {"vertices": POINTS, "colors": np.full((3, 3), 200)}, "its colors are int64 numbers"),
        (PointCloud, {"vertices": POINTS * 1e5}, "its vertices reach 100000, and Vuer sends half floats"),
        (PointCloud, {"vertices": POINTS + 3000}, "are 2 apart, and span 1"),
        (
            TriMesh,
            {"vertices": POINTS, "faces": FACES + 1},
            "its faces go from 1 to 3, and its vertices from 0 to 2",
        ),
        (TriMesh, {"vertices": POINTS, "faces": np.array([[0, 1, 2, 0]])}, "its faces are of shape (1, 4)"),
        (
            PointCloud,
            {"vertices": POINTS.tolist()},
            "its vertices are a list, and Vuer takes an array: numpy.array(",
        ),
        (PointCloud, {"size": 0.1}, "session.update @ {'tag': 'PointCloud', 'key': 'it', …}"),
        (TriMesh, {"vertices": POINTS}, "without vertices and faces"),
        (TriMesh, {"vertices": POINTS * np.nan, "faces": FACES}, "its vertices hold NaN"),
        (TriMesh, {"vertices": POINTS, "faces": FACES, "uv": np.zeros((2, 2))}, "its uv are of shape (2, 2)"),
    ],
)
def test_arrays_that_would_come_out_wrong_are_refused(kind, arrays, said):
    """Vuer takes their numbers three by three, whatever their shape and kind are."""
    keep_arrays()
    with pytest.raises(FrameError, match="element 'it'") as refused:
        kind(key="it", **arrays)
    assert said in str(refused.value)


def test_an_array_stays_as_it_was():
    """So that two elements of one array of colours are alike; pictures of bytes, and of shares, are taken."""
    keep_arrays()
    colors = COLORS.copy()
    first, second = (PointCloud(key="it", vertices=POINTS, colors=colors).colors for _ in range(2))
    assert first == second and np.array_equal(colors, COLORS)
    TriMesh(key="it", vertices=POINTS, faces=FACES, colors=np.full((3, 4), 200, np.uint8))
    PointCloud(key="it", vertices=np.where(POINTS > 0.5, np.nan, POINTS))
    Image(np.zeros((2, 2, 3)), key="it")
    with pytest.raises(FrameError, match="int64 numbers beyond 0 to 1"):
        Image(np.full((2, 2, 3), 200), key="it")
