"""One sample or more for each element of vuer.schemas: how it is shown, and by what it is changed under its key."""

from __future__ import annotations

import base64
import inspect
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vuer.schemas as v
from element_assets import COLORS, checker
from PIL import Image
from vuer.schemas.html_components import Element

FONT = Path(__file__).parent.parent / "runner/sessions/page/fonts/noto-sans-latin-400-normal.woff"
SIZE = {"width": 160, "height": 120}
# What is expected. SHOWN: it is in the picture. UNSEEN: it changes no camera's picture. REFUSED: the job fails.
SHOWN, UNSEEN, REFUSED = "shown", "not shown", "refused"
# Where a sample is put. SET: it is a scene of its own.
SET = "set"

Props = dict[str, Any]
Url = Callable[[str], str]


@dataclass(frozen=True)
class Sample:
    """An element, and what it becomes under the same key.

    name: the element's, and what is special. to: the branch that it is put into. note: what a reader is told; where
    there is one, the sample need not look as in the stock client.
    """

    name: str
    first: Any
    second: Any
    to: str = "children"
    expect: str = SHOWN
    note: str = ""

    @property
    def element(self) -> str:
        return self.name.split()[0]

    @property
    def slug(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.name)


# Names that vuer.schemas exports and that are no element: others are made from them.
BASES = {"Element", "BlockElement", "SceneElement", "ModelNode"}


def element_names() -> list[str]:
    """Every element that vuer.schemas exports."""
    classes = {name: thing for name, thing in vars(v).items() if inspect.isclass(thing)}
    return [name for name, thing in classes.items() if issubclass(thing, Element) and name not in BASES]


def untested() -> list[str]:
    """Elements without a sample."""
    have = {sample.element for sample in samples(lambda name: name)}
    return [name for name in element_names() if name not in have]


def samples(url: Url) -> list[Sample]:
    """All of them. url: of a file that write_assets has made."""
    groups = (
        shapes, looks, textures, arrays, files, robots, pictures, lights, groups_of_others, materials, lines, marks,
        texts, scenes, cameras, devices, animations, html,
    )  # fmt: skip
    return [sample for group in groups for sample in group(url)]


# ---- What stands in every picture.


def scene() -> Any:
    return v.Scene(*stage(), rawChildren=[camera()], bgChildren=daylight())


def stage() -> list[Any]:
    """Something to be lit, to be hidden and to be seen through."""
    grey = {"materialType": "standard", "material": {"color": "#909090"}}
    return [
        v.Plane(key="floor", args=[8, 8], rotation=[-1.57, 0, 0], position=[0, -1.1, 0], **grey),
        v.Sphere(key="ball", args=[0.4, 24, 16], position=[1.5, -0.7, -0.5], **grey),
    ]


def daylight() -> list[Any]:
    return [v.AmbientLight(key="daylight", intensity=0.8)]


def camera() -> Any:
    """Said in full, so that the stock client takes it as runner does."""
    lens = {"fov": 50, "near": 0.1, "far": 20, "downsample": 1, "stream": "ondemand"}
    return v.CameraView(key="ego", position=[0, 0, 4], monitor=False, showCamera=False, **lens, **SIZE)


def beside() -> list[Any]:
    """What the element is shown next to."""
    look = {"materialType": "basic", "material": {"color": "#20c040"}}
    return [v.Box(key="other", args=[0.5, 0.5, 0.5], position=[-1.5, 0.8, 0], **look)]


# ---- Making samples.

RED, BLUE = {"color": "#e02020"}, {"color": "#2040e0"}
RED_LOOK, BLUE_LOOK = {"material": RED}, {"material": BLUE}
TURNED = {"rotation": [0.4, 0.5, 0]}
PLAIN = {"materialType": "basic"}


def show(
    name: str, first: Props, second: Props, both: Props | None = None, within: tuple[Any, ...] = (), key: str = "it",
    **more: Any,
) -> Sample:  # fmt: skip
    """The element of that name with these props, and what it holds."""
    kind = getattr(v, name.split()[0])
    pair = [kind(*within, **{"key": key, **(both or {}), **props}) for props in (first, second)]
    return Sample(name, *pair, **more)


def tagged(tag: str, *children: Any, key: str = "it", **props: Any) -> Any:
    """One of three.js's own classes, for which Vuer has none."""
    made = v.SceneElement(*children, key=key, **props)
    made.tag = tag
    return made


def red_box(key: str = "inner") -> Any:
    return v.Box(key=key, args=[0.6, 0.8, 0.6], **RED_LOOK)


# Of robots.
WHITE = "Vuer paints some of its parts white, by chance"

# ---- Groups of samples.


def shapes(url: Url) -> Iterator[Sample]:
    corners = [1, 1, 1, -1, -1, 1, -1, 1, -1, 1, -1, -1], [2, 1, 0, 0, 3, 2, 1, 3, 0, 2, 3, 1]
    profile = [{"x": 0.2, "y": 0}, {"x": 0.8, "y": 0.4}, {"x": 0.3, "y": 0.9}]
    for name, args, other in (
        ("Box", [1, 1, 1], [1.6, 0.5, 1]),
        ("Capsule", [0.4, 1, 4, 12], [0.7, 0.4, 4, 12]),
        ("Circle", [0.8, 24], [0.5, 5]),
        ("Cone", [0.7, 1.4, 16], [0.4, 0.8, 16]),
        ("Cylinder", [0.5, 0.5, 1, 16], [0.2, 0.8, 1, 16]),
        ("Dodecahedron", [0.8, 0], [0.4, 0]),
        ("Icosahedron", [0.8, 0], [0.5, 1]),
        ("Lathe", [profile, 16], [profile[:2], 16]),
        ("Octahedron", [0.8, 0], [0.5, 0]),
        ("Plane", [1.4, 1.4], [0.5, 1.6]),
        ("Polyhedron", [*corners, 0.9, 0], [*corners, 0.4, 0]),
        ("Ring", [0.4, 0.8, 24], [0.7, 0.8, 24]),
        ("Sphere", [0.8, 24, 16], [0.4, 6, 4]),
        ("Tetrahedron", [0.9, 0], [0.5, 0]),
        ("Torus", [0.6, 0.2, 12, 24], [0.6, 0.05, 12, 24]),
        ("TorusKnot", [0.5, 0.15, 64, 8], [0.5, 0.15, 64, 8, 3, 4]),
    ):
        yield show(name, {"args": args}, {"args": other}, RED_LOOK | TURNED)
    # They take a shape, a curve or a geometry of three.js, which no message can hold.
    for name in ("Extrude", "Shape", "Tube"):
        yield show(name, {"args": [None, 12]}, {"args": [None, 2]}, RED_LOOK, expect=REFUSED)
    # They would draw the geometry of a mesh that they are in; the client hands them none.
    yield show("Edges", RED, BLUE, expect=UNSEEN)
    yield show("Wireframe", {"stroke": "#e02020"}, {"stroke": "#2040e0"}, expect=UNSEEN)


def looks(url: Url) -> Iterator[Sample]:
    """What any shape can be told."""
    one = {"color": "#e02020"}
    red_map, blue_map = {"map": url("red/texture.png")}, {"map": url("blue/texture.png")}
    behind = {"depthTest": False}
    for what, first, second in (
        ("material.color", RED, BLUE),
        ("material.opacity", one, {**one, "transparent": True, "opacity": 0.4}),
        ("material.opacity of a transparent one", {"transparent": True, "opacity": 0.9},
         {"transparent": True, "opacity": 0.3}),
        ("material.wireframe", {"wireframe": False}, {"wireframe": True}),
        ("material.emissive", one, {**one, "emissive": "#208020"}),
        ("material.map", one, red_map),
        ("material.map to another", red_map, blue_map),
        ("material.map to none", red_map, BLUE),
    ):  # fmt: skip
        yield show(f"Box {what}", {"material": first}, {"material": second}, TURNED)
    yield show("Plane material.side", {"material": {"side": 0}}, {"material": {"side": 1}})
    lit = v.DirectionalLight(key="sun", position=[1, 2, 3], intensity=2)
    balls = [v.Sphere(key="s", args=[0.8, 8, 6], material={"flatShading": flat}) for flat in (False, True)]
    yield Sample("Sphere material.flatShading", *(v.Group(lit, ball, key="it") for ball in balls))
    for what, first, second in (
        ("materialType", {"materialType": "basic"}, {"materialType": "normal"}),
        ("wireframe", {"wireframe": False}, {"wireframe": True}),
        ("position", {"position": [0, 0, 0]}, {"position": [0.5, 0.5, 0]}),
        ("rotation", {"rotation": [0, 0, 0]}, {"rotation": [0, 0, 0.7]}),
        ("quaternion", {"quaternion": [0, 0, 0, 1]}, {"quaternion": [0, 0, 0.383, 0.924]}),
        ("scale", {"scale": [1, 1, 1]}, {"scale": [0.5, 1, 0.5]}),
        ("matrix", {}, {"matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0.6, 0.6, 0, 1]}),
        ("hide", {"hide": False}, {"hide": True}),
        ("visible", {"visible": True}, {"visible": False}),
        ("renderOrder", {"renderOrder": 0, "material": behind}, {"renderOrder": -1, "material": behind}),
    ):
        is_turned = what in ("rotation", "quaternion")
        yield show(f"Box {what}", first, second, RED_LOOK | ({} if is_turned else TURNED))
    thick = "in Vuer as thick as its main view has them"
    yield show("Box outlines", {"outlines": False}, {"outlines": True}, RED_LOOK | TURNED, note=thick)
    numbers = {"scale": 1}, {"scale": 0.5}
    yield show("Box scale as a number", *numbers, RED_LOOK, expect=REFUSED)
    for kind in ("basic", "standard", "physical", "phong", "lambert", "toon", "normal", "depth", "matcap"):
        shared = {"materialType": kind, "args": [0.8, 24, 16]}
        first, second = ({"material": look} for look in (RED, {**BLUE, "wireframe": True}))
        yield show(f"Sphere materialType={kind}", first, second, shared)


def textures(url: Url) -> Iterator[Sample]:
    """A picture on a plane, in each format."""
    shared = PLAIN | {"args": [1.5, 1.5]}
    for suffix in ("png", "jpg", "webp", "gif", "svg"):
        maps = [{"material": {"map": url(f"{color}/texture.{suffix}")}} for color in COLORS]
        yield show(f"Plane material.map={suffix}", *maps, shared)
    maps = []
    for color in COLORS.values():
        buffer = io.BytesIO()
        Image.fromarray(checker(color)).save(buffer, format="PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        maps.append({"material": {"map": f"data:image/png;base64,{data}"}})
    yield show("Plane material.map=data:", *maps, shared)


def arrays(url: Url) -> Iterator[Sample]:
    """Meshes and clouds whose numbers are sent."""
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    faces, uv = np.array([[0, 1, 2], [0, 2, 3]]), (square[:, :2] + 1) / 2
    mesh = {"vertices": square, "faces": faces} | PLAIN
    reds, blues = (np.array([color], np.uint8) for color in ([200, 0, 0], [0, 0, 200]))
    colors = [{"colors": color.repeat(4, axis=0)} for color in (reds, blues)]
    half = {"vertices": square / 2}
    yield show("TriMesh vertices", {}, half, mesh | RED)
    yield show("TriMesh faces", {}, {"faces": faces[:1]}, mesh | RED)
    yield show("TriMesh color", RED, BLUE, mesh)
    yield show("TriMesh colors", *colors, mesh)
    maps = [{"material": {"map": url(f"{color}/texture.png")}} for color in COLORS]
    yield show("TriMesh map", *maps, mesh | {"uv": uv})
    places = np.random.default_rng(0).uniform(-1, 1, (800, 3)).astype(np.float32)
    cloud = {"vertices": places, "size": 0.05}
    colors = [{"colors": color.repeat(800, axis=0)} for color in (reds, blues)]
    yield show("PointCloud vertices", {}, {"vertices": places / 2}, cloud | colors[0])
    yield show("PointCloud colors", *colors, cloud)
    yield show("PointCloud color", RED, BLUE, cloud)
    yield show("PointCloud size", {"size": 0.02}, {"size": 0.1}, cloud | colors[0])
    yield show("p", *colors, cloud)


def files(url: Url) -> Iterator[Sample]:
    """Models by their URL, from another file under the same key."""
    for name, file, shared in (
        ("Obj", "model.obj", {"scale": 0.4}),
        ("Obj with a texture", "textured.obj", {"scale": 0.8}),
        ("Ply", "mesh.ply", {"scale": 0.8}),
        ("Glb", "parts/model.glb", {"scale": 0.4}),
        ("Dae", "mesh.dae", {"scale": 0.8}),
        ("Fbx", "mesh.fbx", {"scale": 0.8}),
        ("Bvh", "walk.bvh", {"scale": 1}),
        ("Urdf", "model.urdf", {"scale": 0.3}),
    ):
        note = WHITE if name == "Urdf" else ""
        yield show(name, *({"src": url(f"{color}/{file}")} for color in COLORS), shared, note=note)
    documents = [{"src": url(f"{color}/model.gltf")} for color in COLORS]
    yield show("Glb of a gltf", *documents, {"scale": 0.4}, note="Vuer looks for its parts beside the page")
    spark = [{"src": url(f"{color}/ball.splat")} for color in COLORS]
    yield show("SparkSplats", *spark, note="in Vuer's own cameras they are missing")
    for name in ("Splat", "VuerSplat", "LumaSplats"):
        yield show(name, *({"src": url(f"{color}/ball.splat")} for color in COLORS), expect=REFUSED)
    solid = {"src": url("red/binary.stl"), "scale": 0.8}
    yield show("Stl", {}, {"rotation": [0, 0, 1]}, solid | RED)
    moved = {"position": [0.5, 0.3, 0]}
    clouds = [{"src": url(f"{color}/points.pcd")} for color in COLORS]
    yield show("Pcd", clouds[0], clouds[1] | moved, {"size": 0.05})
    yield show(
        "Stl of text", {}, {"src": url("blue/text.stl")} | moved, solid | RED | {"src": url("red/text.stl")}
    )
    yield show("Stl color", RED, BLUE, solid)
    yield show("Obj text", {"text": TRIANGLE}, {"text": TRIANGLE.replace(" 1 0", " 0.3 0")})
    yield show("Obj color", RED, BLUE, {"text": TRIANGLE})
    yield show("Glb color", {}, BLUE, {"src": url("red/parts/model.glb"), "scale": 0.4})
    moving = {"src": url("red/moving.gltf"), "scale": 0.3}
    yield show(
        "Glb playAnimation",
        {"playAnimation": False},
        {"playAnimation": True},
        moving,
        note="two seconds later",
    )
    yield show("Pcd size", {"size": 0.02}, {"size": 0.1}, {"src": url("red/points.pcd")})


TRIANGLE = "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nvn 0 0 1\nf 1//1 2//1 3//1\n"


def robots(url: Url) -> Iterator[Sample]:
    """Of two links, whose meshes lie elsewhere."""

    def robot(color: str, name: str) -> Props:
        return {"src": f"{url(color)}/robot/urdf/{name}.urdf"}

    yield show("Urdf with meshes above it", robot("red", "parent"), robot("blue", "textured"), note=WHITE)
    packages = [robot(color, "package") | {"packages": url(color)} for color in COLORS]
    yield show("Urdf with package:", *packages, note=WHITE)
    bent = {"jointValues": {"j": 0.3}}, {"jointValues": {"j": 1.5}}
    yield show("Urdf jointValues", *bent, robot("red", "parent"), note=WHITE)
    yield show("Urdf position", {}, {"position": [0.5, 0.3, 0]}, robot("red", "parent"), note=WHITE)
    painted = (
        {"materialType": "basic", "material": {"color": "red"}},
        {"materialType": "normal", "material": {}},
    )
    yield show("Urdf materialType", *painted, robot("red", "parent"), note=WHITE)


def pictures(url: Url) -> Iterator[Sample]:
    """Pictures, films, and clouds of depth."""
    squares, wide, films, skies = (
        [{"src": url(f"{color}/{name}")} for color in COLORS]
        for name in ("texture.png", "panorama.png", "film.webm", "sky.hdr")
    )
    behind = {"to": "bgChildren"}
    yield show("Image", *squares, {"height": 1.2, "aspect": 1})
    pixels = [np.full((32, 32, 3), color, np.uint8) for color in COLORS.values()]
    yield Sample("Image of an array", *(v.Image(data, key="it", height=1.2) for data in pixels))
    yield show("ImageBackground", *wide, {"fixed": True, "height": 3, "aspect": 1.5}, **behind)
    own = "its shape and place are those of the main view"
    yield show("ImageBackground not fixed", *wide, {"distanceToCamera": 5}, **behind, note=own)
    yield show("SceneBackground", *wide, **behind, expect=UNSEEN)
    # The client reads pictures only.
    yield show("SceneBackground hdr", *skies, **behind, expect=REFUSED)
    yield show("BackgroundColor", {"color": "#602020"}, {"color": "#202060"}, **behind)
    yield show("HUDPlane", {"height": 1}, {"height": 2}, {"aspect": 1.5, "fixed": True})
    yield show("HUDPlane not fixed", {"height": 1}, {"height": 2}, {"distanceToCamera": 3}, note=own)
    plane = {"height": 1, "aspect": 1.5, "fixed": True, "position": [0, 0, 0]}
    yield show("VideoPlane", *films, plane)
    yield show("StereoVideoPlane", *films, plane)
    yield Sample("VideoMaterial", *(v.Box(v.VideoMaterial(key="m", **film), key="it") for film in films))
    for name in ("WebRTCVideoPlane", "WebRTCStereoVideoPlane", "WebRTCVideoMaterial"):
        yield show(name, *films, plane, expect=REFUSED)
    clouds = [{"depth": url(f"{color}/depth.png"), "rgb": url(f"{color}/depth-rgb.png")} for color in COLORS]
    place = {"position": [0, 0, 4], "pointSize": 3}
    late = "Vuer's are later than two seconds"
    yield show("DepthPointCloud", *clouds, place, note=late)
    yield show(
        "InPlaceDepthPointCloud", *clouds, place, note="a tenth of the pixels, between its points, differ"
    )
    inner = [v.DepthPointCloud(key="c", **place, **cloud) for cloud in clouds]
    yield Sample(
        "DepthPointCloudProvider", *(v.DepthPointCloudProvider(cloud, key="it") for cloud in inner), note=late
    )


def lights(url: Url) -> Iterator[Sample]:
    for name, factor, shared in (
        ("AmbientLight", 1, {}),
        ("DirectionalLight", 1, {"position": [1, 2, 3]}),
        ("HemisphereLight", 1, {}),
        ("PointLight", 30, {"position": [0, 0.5, 1]}),
        ("RectAreaLight", 30, {"position": [0, 0, 2], "width": 3, "height": 3}),
        ("SpotLight", 30, {"position": [0, 2, 1]}),
        ("RandomizedLight", 1, {"position": [2, 3, 2], "amount": 4}),
    ):
        yield show(name, {"intensity": 2 * factor}, {"intensity": 0.3 * factor}, shared)
    sun = {"intensity": 2, "position": [1, 2, 3]}
    yield show("DirectionalLight color", RED, BLUE, sun)
    yield show("DirectionalLight position", {"position": [3, 1, 0]}, {"position": [-3, 1, 0]}, sun)
    shadow = {"castShadow": False}, {"castShadow": True}
    yield show("DirectionalLight castShadow", *shadow, sun, expect=SHOWN)
    yield show(
        "PointLight showSphere", {"showSphere": False}, {"showSphere": True}, {"position": [0, 0.5, 1]}
    )
    for name in ("HemisphereLightStage", "AmbientLightStage"):
        yield show(name, {}, {"hide": True}, to="bgChildren")
    yield show("Stage", {"intensity": 2}, {"intensity": 0.5}, {"environment": None}, (red_box(),))
    yield show(
        "Stage with an environment",
        {},
        {"intensity": 2},
        {"environment": "city"},
        (red_box(),),
        expect=REFUSED,
    )
    floor = {"frames": 20, "scale": 6, "position": [0, -1, 0]}
    lamp = v.RandomizedLight(key="r", amount=4, position=[2, 4, 2])
    yield show(
        "AccumulativeShadows", {"color": "black"}, RED, floor, (lamp,), note="Vuer's camera took too long"
    )
    yield show("Fog", {"near": 1, "far": 6, **RED}, {"near": 1, "far": 6, **BLUE}, key="fog", expect=UNSEEN)


def groups_of_others(url: Url) -> Iterator[Sample]:
    """What holds others, and what it does to them."""
    moved = {"position": [0, 0, 0]}, {"position": [0.6, 0.5, 0]}
    for name, first, second in (
        *((name, *moved) for name in ("Group", "VuerGroup", "group", "Pivot", "Movable")),
        ("Center", {"top": False}, {"top": True}),
        ("Billboard", {"rotation": [0, 1, 0]}, {"rotation": [0, 0, 1], "position": [0.5, 0, 0]}),
        (
            "Billboard follow",
            {"follow": True, "rotation": [0, 1, 0.5]},
            {"follow": False, "rotation": [0, 1, 0.5]},
        ),
        ("Trail", {"width": 1}, {"width": 5}),
    ):
        yield show(name, first, second, within=(red_box(),))
    yield show("Clickable", *moved, within=(red_box(),), expect=REFUSED)


def materials(url: Url) -> Iterator[Sample]:
    """Within a mesh of three.js's own, for that is what they are children of."""

    def within(name: str, first: Props, second: Props, holder: str = "mesh", **more: Any) -> Sample:
        shape = tagged("sphereGeometry", key="shape", args=[0.8, 16, 12])
        inner = [getattr(v, name)(key="m", **props) for props in (first, second)]
        inside = [(one,) if holder == "sprite" else (shape, one) for one in inner]
        return Sample(name, *(tagged(holder, *parts) for parts in inside), **more)

    boxes = [
        v.mesh(tagged("boxGeometry", key="g", args=[1, 1, 1]), v.MeshBasicMaterial(key="m", **look), key="it")
        for look in (RED, BLUE)
    ]
    yield Sample("mesh", *boxes)
    for kind in ("Basic", "Lambert", "Matcap", "Phong", "Physical", "Standard", "Toon"):
        yield within(f"Mesh{kind}Material", RED, BLUE)
    for kind in ("Normal", "Depth"):
        yield within(f"Mesh{kind}Material", {"wireframe": False}, {"wireframe": True})
    for name in ("MeshDistanceMaterial", "Material"):
        yield within(name, {}, {"opacity": 0.5}, expect=REFUSED)
    yield within("ShadowMaterial", RED, BLUE, expect=UNSEEN)
    main, position = "void main()", "projectionMatrix * modelViewMatrix * vec4(position, 1.0)"
    colors = ("vec4(0.9, 0.1, 0.1, 1.0)", "vec4(0.1, 0.1, 0.9, 1.0)")
    fragments = [f"{main} {{ gl_FragColor = {color}; }}" for color in colors]
    yield within("ShaderMaterial", *({"fragmentShader": text} for text in fragments))
    head = "precision mediump float;"
    given = "attribute vec3 position; uniform mat4 modelViewMatrix, projectionMatrix;"
    vertex = f"{head} {given} {main} {{ gl_Position = {position}; }}"
    raw = [{"vertexShader": vertex, "fragmentShader": f"{head} {text}"} for text in fragments]
    yield within("RawShaderMaterial", *raw)
    yield within("LineBasicMaterial", RED, BLUE, "lineSegments")
    yield within("LineDashedMaterial", RED, BLUE, "lineSegments")
    yield within("PointsMaterial", {"size": 0.1, **RED}, {"size": 0.1, **BLUE}, "points")
    yield within("SpriteMaterial", RED, BLUE, "sprite")


def lines(url: Url) -> Iterator[Sample]:
    path = [[-1, -0.5, 0], [0, 0.8, 0], [1, -0.2, 0]]
    thick = {"lineWidth": 4} | RED
    yield show("Line", {"points": path}, {"points": path[1:]}, thick)
    yield show("Line color", RED, BLUE, {"points": path, "lineWidth": 4})
    yield show("Line lineWidth", {"lineWidth": 2}, {"lineWidth": 8}, {"points": path} | RED)
    yield show("CatmullRomLine", {"points": path}, {"points": path[1:]}, thick)
    ends = {"start": [-1, 0, 0], "end": [1, 0, 0]} | thick
    yield show("QuadraticBezierLine", {"mid": [0, 1, 0]}, {"mid": [0, -1, 0]}, ends)
    yield show(
        "CubicBezierLine", {"midA": [-0.5, 1, 0]}, {"midA": [-0.5, -1, 0]}, ends | {"midB": [0.5, 1, 0]}
    )


def marks(url: Url) -> Iterator[Sample]:
    """Markers, boxes, grippers, and how cameras are drawn."""
    for name in ("CoordsMarker", "Arrow"):
        yield show(name, {"scale": 1}, {"scale": 0.5}, TURNED)
    near = {"scale": 8, "position": [0, 0, 1]}
    for name in ("Gripper", "SkeletalGripper"):
        yield show(name, {"pinchWidth": 0.04}, {"pinchWidth": 0.01}, near)
    yield show("Grid", {}, {"hide": True}, {"position": [0, -0.5, 0]}, to="bgChildren")
    yield show("BBox", RED, BLUE, TURNED, expect=REFUSED)
    yield show("BoundingBox", RED, BLUE)
    yield show(
        "BoundingBox max", {"max": [0.5, 0.5, 0.5]}, {"max": [1, 0.2, 0.5]}, {"min": [-0.5, -0.5, -0.5]}
    )
    pairs = [
        [v.BoundingBox(key="b0", **look), v.BoundingBox(key="b1", position=[1, 0.5, 0])]
        for look in (RED, BLUE)
    ]
    yield Sample("BoundingBoxProvider", *(v.BoundingBoxProvider(*pair, key="it") for pair in pairs))
    sizes, depths = ({"scale": 1}, {"scale": 0.6}), ({"far": 1.2}, {"far": 0.6})
    yield show("Frustum", *sizes, {"fov": 40, "near": 0.2, "far": 1} | TURNED)
    # Their own layer is one that no camera sees.
    for name, shared in (
        ("PerspectiveFrustum", {"near": 0.2}),
        ("FisheyeFrustum", {"near": 0.2, "fov": 120}),
        ("OrthographicFrustum", {"width": 0.8, "height": 0.8}),
    ):
        yield show(name, *depths, shared | TURNED, expect=UNSEEN)
        yield show(f"{name} layer=0", *depths, shared | TURNED | {"layer": 0})
    yield show("CameraHelper", {}, {"hide": True}, expect=REFUSED)
    yield show("Facemesh", {"depth": 1.5}, {"depth": 0.8}, within=(v.MeshNormalMaterial(key="m", side=2),))


def texts(url: Url) -> Iterator[Sample]:
    own = {"font": url("font.woff"), "fontSize": 0.7} | RED
    yield show("Text", {"children": ["one"]}, {"children": ["two"]}, own)
    words = [v.Text(word, key="it", fontSize=0.7) for word in ("one", "two")]
    yield Sample("Text without a font", *words, note="Vuer fetches a font from the net")
    for what, value in (
        ("color", "#2040e0"), ("fontSize", 0.3), ("anchorX", "left"), ("strokeWidth", 0.05), ("fillOpacity", 0.3),
    ):  # fmt: skip
        yield show(f"Text {what}", {}, {what: value}, own, ("one",))
    fonts = [{"font": url(f"{color}/font.json")} for color in COLORS]
    yield show("Text3D", {"children": ["AA"]}, {"children": ["A"]}, fonts[0] | {"size": 0.8})
    yield show("Text3D font", *fonts, {"size": 0.8}, ("AA",))


def scenes(url: Url) -> Iterator[Sample]:
    """Scenes of their own."""
    for kind in (v.Scene, v.DefaultScene):
        pair = [
            kind(*stage(), v.Box(key="it", **look), rawChildren=[camera()], key="scene")
            for look in (RED_LOOK, BLUE_LOOK)
        ]
        yield Sample(kind.__name__, *pair, to=SET)
    for what, more, expect in (
        ("background", {"background": "#e02020"}, SHOWN),
        ("toneMapping", {"toneMapping": "Linear"}, SHOWN),
        ("toneMappingExposure", {"toneMappingExposure": 0.2}, SHOWN),
        ("up", {"up": [0, 0, 1]}, SHOWN),
        ("camPosition", {"camPosition": [3, 3, 3]}, SHOWN),
    ):
        shared = {"rawChildren": [camera()], "bgChildren": daylight(), "key": "scene"}
        pair = [v.Scene(*stage(), red_box("it"), **shared, **props) for props in ({}, more)]
        yield Sample(f"Scene {what}", *pair, to=SET, expect=expect)


def cameras(url: Url) -> Iterator[Sample]:
    """Other cameras, and what steers the main view's."""
    second = {"to": "rawChildren", "key": "second"}
    quiet = {"monitor": False, "stream": "ondemand", "position": [0, 0, 1], "rotation": [0.5, 0.5, 0]}
    hidden, drawn = {"showCamera": False}, {"showCamera": True, "showFrustum": True}
    yield show("CameraView", hidden, hidden | {"fov": 30}, quiet, **second, expect=UNSEEN)
    apart = "cameras do not see each other here"
    yield show("CameraView showCamera", drawn, hidden, quiet, **second, expect=UNSEEN, note=apart)
    for name in (
        "PerspectiveCamera", "OrthographicCamera", "SimplePerspectiveCamera", "SimpleOrthographicCamera",
        "FisheyeCamera", "OrbitControls", "SceneCamera", "SceneCameraControl", "CameraPreviewThumbs",
        "CameraPreviewOverlay", "PointerControls", "TimelineControls",
    ):  # fmt: skip
        yield show(name, {"position": [1, 1, 1]}, {"position": [2, 1, 1]}, to="bgChildren", expect=UNSEEN)
    inside = v.SimplePerspectiveCamera(key="c", makeDefault=True), red_box()
    corner = {"top": 0, "width": 80, "height": 60}
    yield show("ViewportHud", {"left": 0}, {"left": 20}, corner, inside, expect=UNSEEN)
    yield show("GrabRender", {}, {"quality": 0.5}, key="DEFAULT", expect=UNSEEN)


def devices(url: Url) -> Iterator[Sample]:
    """What needs a headset, a gamepad, a keyboard or a simulation; libraries of others."""
    for name in ("Gamepad", "KeyboardMonitor", "Hands", "MotionControllers", "Body", "Head", "WebXRMesh"):
        yield show(name, {}, {"fps": 10}, to="bgChildren", expect=UNSEEN)
    for name in ("HandActuator", "MotionControllerActuator", "MuJoCoProvider", "MjCameraView"):
        yield show(name, {}, {"scale": 2}, expect=REFUSED)
    yield show("MuJoCo", *({"src": url(f"{color}/model.urdf")} for color in COLORS), expect=REFUSED)
    library = {"url": url("contrib.js"), "library": "contrib"}
    yield show("ContribLoader", {}, {"dev": True}, library, expect=UNSEEN)


def animations(url: Url) -> Iterator[Sample]:
    track = v.VectorTrack(key="t", name="inner.position", times=[0, 1], values=[0, 0, 0, 0, 1, 0])
    clip = v.AnimationClip(track, key="clip", name="up", duration=1)
    for name in ("ThreeAnimate", "PlaybackAnimate"):
        yield show(name, {"play": False}, {"play": True}, within=(clip, red_box()))
    shared = {"name": "inner.position", "times": [0]}
    for name, values in (
        ("AnimationClip", []),
        ("VectorTrack", [0, 0, 0]),
        ("QuaternionTrack", [0, 0, 0, 1]),
    ):
        yield show(name, {}, {"duration": 2}, shared | {"values": values}, expect=UNSEEN)


def html(url: Url) -> Iterator[Sample]:
    """It lies over the main view."""
    words = (v.Paragraph("hello", key="h"),)
    yield show("Html", {"position": [0, 0, 0]}, {"position": [0.5, 0, 0]}, within=words, expect=UNSEEN)
    for name in (
        "Iframe", "AutoScroll", "Markdown", "Page", "div", "InputBox", "Header1", "Header", "Header2", "Header3",
        "Paragraph", "span", "Bold", "Italic", "Link", "Button", "Slider", "Img",
    ):  # fmt: skip
        kind = getattr(v, name)
        has_text = issubclass(kind, (v.BlockElement, v.span)) and name != "Iframe"
        more = {"src": url("red/texture.png")} if name == "Img" else {}
        pair = [
            kind(*(["words"] if has_text else []), key="h", className=look, **more) for look in ("a", "b")
        ]
        yield Sample(name, *(v.Html(one, key="it") for one in pair), expect=UNSEEN)
