#!/usr/bin/env python3
"""See that updates that go the short way in the page leave each picture as it is without it, to the pixel.

    python scripts/check_shortcut.py --sequences N [--seed S] [--with TAG …] [--renderer swiftshader]

Two pages of one browser are told the same, one by the short way, one plain (`runner run --plain-page`): random
scenes of all elements that take the short way and of some that do not, and for each scene random sequences of
updates that may take it, and of others that may not: what they are made of, other materials, hidden, added,
removed, told anew, a whole new scene. Each picture on the way and at the end of a sequence must equal the
plain page's. --with has an element of that kind in each scene. Exit status 1 when a picture differs, or when a kind
of element never took the short way.

A seed makes its scene and sequences again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import element_assets
import numpy as np
from check_isolation import Files
from vuer.schemas import Scene

from runner.browsers.find import find_browser
from runner.browsers.launcher import _FLAGS, RASTERIZERS
from runner.errors import FrameError
from runner.sessions.server import Server
from runner.sessions.session import Session

SIZE = {"width": 64, "height": 48}
# So many sequences go on in one scene, and so many scenes in one pair of pages.
SEQUENCES, SCENES = 30, 3
SOLIDS: dict[str, list[Any]] = {
    "Box": [0.8, 0.6, 0.4], "Sphere": [0.5, 16, 12], "Plane": [1.2, 1.2], "Cylinder": [0.3, 0.4, 1, 12],
    "Capsule": [0.3, 0.5, 4, 8], "Circle": [0.6, 12], "Cone": [0.4, 0.8, 12], "Dodecahedron": [0.6],
    "Icosahedron": [0.6], "Octahedron": [0.6], "Ring": [0.3, 0.6, 12], "Tetrahedron": [0.7], "Torus": [0.5, 0.2, 8, 12],
    "TorusKnot": [0.4, 0.15, 32, 6],
}  # fmt: skip
MODELS = {
    "Obj": "cube.obj", "Glb": "red.glb", "Stl": "roof.stl", "Ply": "roof.ply", "Dae": "roof.dae", "Fbx": "roof.fbx",
}  # fmt: skip
LIGHTS = ("AmbientLight", "DirectionalLight", "HemisphereLight", "PointLight", "SpotLight")
MARKERS = ("Arrow", "CoordsMarker")
LINES = ("Line", "CatmullRomLine", "QuadraticBezierLine", "CubicBezierLine")
# These are told otherwise in ways that React has to render.
MADE = (*LINES, "Text", "Text3D", "Pcd", "SparkSplats", "Billboard", "BoundingBox")
PARTS = ("Group", "group", "TriMesh", "PointCloud", "Urdf", "BackgroundColor", "CameraView")
KINDS = (*SOLIDS, *MODELS, *LIGHTS, *MARKERS, *MADE[:-1], *PARTS)
# Of these the page knows that they stay as they are, or knows nothing.
OTHERS = ("Grid", "HemisphereLightStage", "RoundedBox")
_FOR_ALL = {"color", "opacity", "transparent", "wireframe", "side", "depthTest", "depthWrite", "visible"}
_LIT = {"emissive", "emissiveIntensity", "flatShading"}
MATERIALS = {
    "basic": _FOR_ALL,
    "lambert": _FOR_ALL | _LIT,
    "phong": _FOR_ALL | _LIT | {"specular", "shininess"},
    "standard": _FOR_ALL | _LIT | {"roughness", "metalness"},
    "physical": _FOR_ALL | _LIT | {"roughness", "metalness", "clearcoat", "ior", "sheen", "sheenColor"},
    "normal": _FOR_ALL - {"color"},
}

UNIFORM = ("color", "emissive", "emissiveIntensity", "opacity", "roughness", "metalness")

# The elements in the store of Vuer's client, by key; arrays as texts.
NODES = """() => {
  const found = {}, walk = (nodes) => { for (const { children, ...node } of nodes || []) {
    for (const name in node) if (ArrayBuffer.isView(node[name])) node[name] = node[name].join();
    found[node.key] = node;
    walk(children);
  } };
  const scene = VUER.useSceneStore.getState();
  for (const branch of ["children", "bgChildren", "rawChildren"]) walk(scene[branch]);
  return found;
}"""

# One triangle each.
STL = "solid roof\nfacet normal 0 0 1\nouter loop\nvertex -1 0 0\nvertex 1 0 0\nvertex 0 0.8 0\nendloop\nendfacet\n"
PLY = (
    "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty list uchar int vertex_index\nend_header\n-1 0 0\n1 0 0\n0 0.8 0\n3 0 1 2\n"
)
# By their limits; those of the elbow exclude 0. The finger follows the thumb. The lower link has a mesh.
JOINTS = {
    "shoulder": (-2, 2),
    "elbow": (0.3, 2),
    "wheel": (-9, 9),
    "thumb": (-0.3, 0.3),
    "finger": (-0.3, 0.3),
}
Operation = tuple[str, Any]


def robot(mesh: str) -> str:
    """A robot's file."""
    box = '<geometry><box size="0.1 0.1 0.5"/></geometry>'
    look = '<material name="m"><color rgba="0.2 0.6 0.9 1"/></material>'
    links, joints, parent = f'<link name="base"><visual>{box}{look}</visual></link>', "", "base"
    for name, (lower, upper) in JOINTS.items():
        shape = (
            f'<geometry><mesh filename="{mesh}" scale="0.3 0.3 0.3"/></geometry>' if name == "elbow" else box
        )
        links += f'<link name="to {name}"><visual><origin xyz="0 0 0.25"/>{shape}{look}</visual></link>'
        kind = {"wheel": "continuous", "thumb": "prismatic", "finger": "prismatic"}.get(name, "revolute")
        follows = '<mimic joint="thumb" multiplier="-1" offset="0.02"/>' if name == "finger" else ""
        joints += (
            f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="to {name}"/>'
            f'<origin xyz="0 0.1 0.4" rpy="0.1 0 0"/><axis xyz="1 0 0"/><limit lower="{lower}" upper="{upper}"/>'
            f"{follows}</joint>"
        )
        parent = "to elbow" if name in ("wheel", "thumb") else f"to {name}"
    return f'<robot name="arm">{links}{joints}</robot>'


def write_files(folder: Path) -> None:
    """The files that scenes load, besides those of scripts/check_isolation.py."""
    (folder / MODELS["Stl"]).write_text(f"{STL}endsolid roof\n")
    (folder / MODELS["Ply"]).write_text(PLY)
    (folder / MODELS["Dae"]).write_text(element_assets.collada((230, 40, 40)))
    (folder / MODELS["Fbx"]).write_text(element_assets.fbx((40, 60, 230)))
    (folder / "arm.urdf").write_text(robot(MODELS["Stl"]))
    (folder / "font.json").write_text(json.dumps(element_assets.typeface(100)))
    (folder / "ball.pcd").write_bytes(_pcd())


def _pcd() -> bytes:
    """A ball of points, each with a colour of its own."""
    chance = np.random.default_rng(0)
    points = np.zeros(60, [("place", np.float32, 3), ("color", np.uint32)])
    directions = chance.normal(size=(60, 3))
    points["place"] = 0.6 * directions / np.linalg.norm(directions, axis=1)[:, None]
    points["color"] = chance.integers(0, 1 << 24, 60)
    head = (
        "VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\nWIDTH 60\nHEIGHT 1\n"
        "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 60\nDATA binary\n"
    )
    return head.encode() + points.tobytes()


class Chance(random.Random):
    def color(self) -> str:
        return f"#{self.randrange(1 << 24):06x}"

    def vector(self, reach: float) -> list[float]:
        """Few different values, so that things meet, coincide and are equally far."""
        return [round(reach * self.randint(-4, 4) / 4, 3) for _ in range(3)]

    def is_true(self, probability: float = 0.5) -> bool:
        return self.random() < probability


class World:
    """A random scene, and what was told of each of its elements so far."""

    def __init__(self, seed: str, files: Files, is_kept: bool, wanted: list[str]):
        self._wanted = wanted
        self.chance = Chance(seed)
        self._is_kept = is_kept
        self._files = files
        self.told: dict[str, dict[str, Any]] = {}
        self._count = 0
        # Each makes a shader, which takes a renderer in software most of its time.
        self._materials = self.chance.sample(list(MATERIALS), 2)

    # -- elements ------------------------------------------------------------------------------

    def element(self, tag: str, children: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """A new element of that kind, as it is sent."""
        self._count += 1
        key = f"{tag}{self._count}"
        node = {"tag": tag, "key": key} | self._made_of(tag) | self._values(tag, {}, probability=0.5)
        self.told[key] = dict(node)
        return node | ({"children": children} if children else {})

    def _made_of(self, tag: str) -> dict[str, Any]:
        chance = self.chance
        if tag in SOLIDS:
            kind = chance.choice(self._materials)
            names = sorted(MATERIALS[kind])
            material = {name: self._part(name) for name in chance.sample(names, chance.randint(0, 5))}
            if chance.is_true(0.1):
                material["map"] = self._files(chance.choice(Files.PICTURES))
            more: dict[str, Any] = {"args": SOLIDS[tag], "materialType": kind, "material": {}}
            more["material"] = material
            if chance.is_true(0.1):
                more["wireframe"] = True
            return more
        if tag in MODELS:
            return {"src": self._files(MODELS[tag])} | ({"color": chance.color()} if chance.is_true() else {})
        if tag == "Urdf":
            looks = (
                {},
                {},
                {"materialType": "basic", "material": {"color": chance.color()}},
                {"opacity": 0.5},
            )
            return {"src": self._files("arm.urdf"), **chance.choice(looks)}
        if tag == "PointCloud":
            colors = {"colors": self._colors()} if chance.is_true(0.4) else {"color": chance.color()}
            return {"vertices": self._points(), "size": 0.15, **colors}
        if tag == "TriMesh":
            points = self._points()
            faces = np.arange(9, dtype=np.uint32).tobytes()
            return {"vertices": points, "faces": faces, "materialType": "basic", "color": chance.color()}
        if tag in LINES:
            ends = {"start": chance.vector(1), "end": chance.vector(1)}
            shape = {
                "QuadraticBezierLine": {**ends, "mid": chance.vector(1)},
                "CubicBezierLine": {**ends, "midA": chance.vector(1), "midB": chance.vector(1)},
            }.get(tag, {"points": [chance.vector(1) for _ in range(chance.choice([3, 5]))]})
            dashes = {"dashed": True, "dashSize": 0.1, "gapSize": 0.05} if chance.is_true(0.2) else {}
            return shape | dashes | {"color": chance.color(), "lineWidth": chance.choice([1, 5])}
        if tag == "Text":
            more = {"outlineWidth": 0.05, "outlineColor": chance.color()} if chance.is_true(0.3) else {}
            size = {"fontSize": chance.choice([0.3, 0.6])} if chance.is_true() else {}
            return (
                {"children": [chance.choice(["one", "two", "drei"])], "color": chance.color()} | size | more
            )
        if tag == "Text3D":
            return {"children": [chance.choice(["A", "AA"])], "font": self._files("font.json"), "size": 0.5}
        if tag == "Pcd":
            return {"src": self._files("ball.pcd"), "size": chance.choice([0.05, 0.1])}
        if tag == "SparkSplats":
            return {"src": self._files(chance.choice(Files.SPLATS))}
        if tag == "BoundingBox":
            ends = {"min": [-0.5, -0.2, -0.5], "max": [chance.choice([0.2, 0.5]), 0.4, 0.5]}
            turned = {"rotation": chance.vector(1)} if chance.is_true() else {}
            return {"color": chance.color()} | (ends if chance.is_true() else {}) | turned
        if tag == "RoundedBox":
            return {"width": 0.5, "height": 0.5, "depth": 0.5}
        if tag == "Billboard":
            words = {"tag": "Text", "key": f"words{self._count}", **self._made_of("Text")}
            plane = {"tag": "Plane", "key": f"plane{self._count}", "args": [0.5, 0.5]}
            return {"children": [words, plane], "follow": chance.is_true(0.8)}
        return {}

    def _points(self) -> bytes:
        return np.array([self.chance.vector(1) for _ in range(9)], np.float16).tobytes()

    def _colors(self) -> bytes:
        return self.chance.randbytes(27)

    def _pose(self) -> dict[str, float]:
        """Of some of a robot's joints, in any order; seldom one that it cannot take."""
        chance = self.chance
        found = {}
        for name in chance.sample(list(JOINTS), chance.randint(0, len(JOINTS))):
            lower, upper = JOINTS[name]
            found[name] = round(lower + (upper - lower) * chance.randint(0, 8) / 8, 4)
            if chance.is_true(0.01):
                found[name] = upper + 1
        return found

    def _part(self, name: str) -> Any:
        chance = self.chance
        if name.lower().endswith("color") or name in ("emissive", "specular"):
            return chance.color()
        if name == "side":
            return chance.choice([0, 1, 2])
        if name in ("opacity", "roughness", "metalness", "clearcoat", "sheen", "emissiveIntensity"):
            return chance.choice([0.2, 0.5, 0.9, 1])
        if name in ("ior", "shininess"):
            return chance.choice([1.2, 1.5, 2.2])
        return chance.is_true(0.7)

    def _values(self, tag: str, node: dict[str, Any], probability: float) -> dict[str, Any]:
        """New values of some of the props that may take the short way."""
        chance, found = self.chance, {}

        def may(name: str, value: Callable[[], Any], less: float = 1) -> None:
            if chance.is_true(probability * less):
                found[name] = value()

        if tag == "CameraView":
            return self._look()
        if tag in (*OTHERS, "BoundingBox"):
            if tag != "HemisphereLightStage":
                may("position", lambda: chance.vector(1))
            return found
        if tag == "BackgroundColor":
            may("color", chance.color)
            return found
        is_light = tag in LIGHTS
        may("position", lambda: chance.vector(3 if is_light else 1.2))
        if is_light:
            may("intensity", lambda: chance.choice([0.2, 0.7, 1, 3]) * (10 if tag == "PointLight" else 1))
            for name in ("skyColor", "groundColor") if tag == "HemisphereLight" else ("color",):
                may(name, chance.color, 0.6)
            if tag == "SpotLight":
                may("angle", lambda: chance.choice([0.3, 0.8]), 0.3)
                may("penumbra", lambda: chance.choice([0, 0.5]), 0.3)
            return found
        if tag == "Urdf":
            may("jointValues", self._pose, 1.5)
        if tag == "PointCloud" and "vertices" in node:
            may("vertices", self._points)
            if "colors" in node:
                may("colors", self._colors)
        if tag in MARKERS:
            may("rotation", lambda: chance.vector(3))
            return found
        if "quaternion" in node or ("rotation" not in node and chance.is_true(0.2)):
            may("quaternion", lambda: _unit([chance.randint(-2, 2) for _ in range(4)]))
        else:
            # The client's models keep an order that they had when they were loaded, be it sooner or later.
            is_ordered = tag not in (*MODELS, "Urdf", "Pcd") and chance.is_true(0.1)
            order = [chance.choice(["XYZ", "ZYX"])] if is_ordered else []
            may("rotation", lambda: chance.vector(3) + order)
        if tag in ("Group", "group") and chance.is_true(0.2):
            found["scale"] = chance.choice([0.5, 1.5])
        else:
            may("scale", lambda: [chance.choice([0.5, 1, 1.5]) for _ in range(3)], 0.5)
        if tag not in LINES:
            may("visible", lambda: chance.is_true(0.8), 0.3)
        if tag == "Group" and ("matrix" in node or chance.is_true(0.05)):
            may("matrix", lambda: _matrix(chance))
        if tag in SOLIDS:
            may("renderOrder", lambda: chance.choice([0, 1, 2]), 0.2)
            may("castShadow", chance.is_true, 0.1)
            if node.get("material"):
                may(
                    "material",
                    lambda: {
                        name: self._part(name) if name != "map" and chance.is_true() else value
                        for name, value in node["material"].items()
                    },
                )
        return found if self._is_kept or chance.is_true(0.02) else self._without_past(tag, found, node)

    def _without_past(self, tag: str, values: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
        """What a session with a scene that each job begins with sends as an update; the rest is made anew."""
        if tag in ("Group", "group") and "scale" in values and not isinstance(values["scale"], list):
            del values["scale"]
        kept = ("position", "rotation", "scale", "jointValues", "vertices", "colors", "color")
        found = {name: values[name] for name in kept if name in values}
        if "material" in values:
            old = node["material"]
            material = {
                name: value if name in UNIFORM else old[name] for name, value in values["material"].items()
            }
            found["material"] = material
        return {} if tag in LIGHTS else found

    def _look(self) -> dict[str, Any]:
        chance = self.chance
        place = [round(chance.uniform(-0.6, 0.6), 2), round(chance.uniform(-0.3, 0.5), 2), 4]
        how = chance.choice(["position", "position", "rotation", "quaternion", "lookAt", "matrix", "fov"])
        if how == "matrix":
            return {"matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, *place, 1]}
        if how == "fov":
            return {"fov": chance.choice([40, 50, 60])}
        more = {
            "position": {}, "rotation": {"rotation": [0.02, round(chance.uniform(-0.1, 0.1), 2), 0]},
            "quaternion": {"quaternion": _unit([0, round(chance.uniform(-0.1, 0.1), 2), 0, 1])},
            "lookAt": {"lookAt": chance.vector(0.3), "up": [0, 1, 0]},
        }[how]  # fmt: skip
        return {"position": place, **more}

    def scene(self) -> dict[str, Any]:
        """A whole new one."""
        chance = self.chance
        self.told = {}
        tags = [chance.choice(list(SOLIDS)) for _ in range(chance.randint(1, 4))]
        tags += chance.sample([*MODELS, *LIGHTS, *LIGHTS, "TriMesh"], chance.randint(1, 4))
        tags += chance.choices(["Urdf", "PointCloud"], k=chance.randint(0, 2))
        tags += chance.choices([*MARKERS, *OTHERS[:2]], k=chance.randint(0, 1))
        tags += chance.choices(OTHERS[2:], k=1) if chance.is_true(0.05) else []
        tags += [*self._wanted, *chance.choices(MADE, k=chance.choice([0, 0, 1, 2]))]
        groups = []
        for tag in chance.choices(["Group", "group"], k=chance.randint(0, 2)):
            inner = [
                self.element(chance.choice([*SOLIDS, *MADE, *self._wanted]))
                for _ in range(chance.randint(1, 2))
            ]
            if groups and chance.is_true():
                inner.append(groups.pop())
            groups.append(self.element(tag, inner))
        elements = [self.element(tag) for tag in tags] + groups
        chance.shuffle(elements)
        self.told["ego"] = {"tag": "CameraView", "key": "ego"}
        camera = {"tag": "CameraView", "key": "ego", **SIZE, "fov": 50, "position": [0, 0.2, 4]}
        behind = [self.element(chance.choice(LIGHTS))] if chance.is_true() else []
        behind += [self.element("BackgroundColor")] if chance.is_true(0.4) else []
        more = {"bgChildren": behind} if behind else {}
        return {"tag": "Scene", "key": "scene", "children": elements, "rawChildren": [camera], **more}

    # -- sequences -----------------------------------------------------------------------------

    def sequence(self) -> list[Operation]:
        """What is told one after the other, with looks in between."""
        chance = self.chance
        found: list[Operation] = []
        for _ in range(chance.randint(3, 9)):
            if chance.is_true(0.03):
                found += self._other()
            else:
                found.append(("update", self._changes()))
            if chance.is_true(0.35):
                found.append(("grab", None))
        return [*found, ("grab", None)]

    def _changes(self) -> list[dict[str, Any]]:
        chance, nodes = self.chance, []
        rare = OTHERS if self._is_kept else (*OTHERS, *LIGHTS)
        keys = sorted(
            key for key, node in self.told.items() if node["tag"] not in rare or chance.is_true(0.05)
        )
        for key in chance.sample(keys, min(len(keys), chance.choice([1, 1, 1, 2, 4]))):
            known = self.told[key]
            values = self._values(known["tag"], known, probability=0.5)
            if values:
                known |= values
                nodes.append({"key": key} | values)
        return nodes

    def _other(self) -> list[Operation]:
        """Something that React has to render."""
        chance = self.chance
        verbs = ["args", "type", "keys", "hide", "again", "again", "add", "remove", "default", "made", "made"]
        verb = chance.choice(verbs)
        kinds: Iterable[str] = SOLIDS
        if verb in ("again", "remove", "hide"):
            kinds = (*SOLIDS, *MADE, "Urdf", "PointCloud")
        elif verb == "made":
            kinds = MADE
        some = sorted(key for key, node in self.told.items() if node["tag"] in kinds)
        key = chance.choice(some) if some else ""
        if verb == "add" or not key:
            node = self.element(chance.choice([*SOLIDS, *LIGHTS, *MADE, *["Urdf"] * 4]))
            return [("add", Given(node))]
        node = self.told[key]
        if verb == "remove":
            del self.told[key]
            return [("remove", key)]
        if verb == "again":
            new = {"key": key, "tag": node["tag"]} | self._made_of(node["tag"])
            self.told[key] = dict(new)
            return [("remove", key), ("add", Given(new))]
        values: dict[str, Any] = {
            "made": lambda: self._made_of(node["tag"]),
            "args": lambda: {"args": SOLIDS[node["tag"]][:1]},
            "type": lambda: {
                name: value for name, value in self._made_of(node["tag"]).items() if name != "args"
            },
            "keys": lambda: {"material": {"opacity": 0.7} | node.get("material", {}) | {"transparent": True}},
            "hide": lambda: {"hide": chance.is_true(0.4)},
            "default": lambda: {
                "renderOrder": 0,
                "material": node.get("material", {}) | {"color": "#808080"},
            },
        }[verb]()
        node |= values
        return [("update", [{"key": key} | values])]


def _unit(values: list[float]) -> list[float]:
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values] if length else [0, 0, 0, 1]


def _matrix(chance: Chance) -> list[float]:
    x, y, z = chance.vector(1)
    size = chance.choice([0.5, 1])
    return [size, 0, 0, 0, 0, size, 0, 0, 0, 0, size, 0, x, y, z, 1]


# ---- Pages.


class Twins:
    """A browser with a page that goes the short way and a plain one."""

    def __init__(self, files: Files):
        self._sessions: list[asyncio.Queue[Session]] = [asyncio.Queue(), asyncio.Queue()]
        self._servers = [
            Server(self._worker(queue), assets=files.folder, is_plain=bool(number))
            for number, queue in enumerate(self._sessions)
        ]

    def _worker(self, queue: asyncio.Queue[Session]) -> Any:
        async def work(session: Session) -> None:
            queue.put_nowait(session)
            await asyncio.wait({session.closed})

        return work

    @contextlib.asynccontextmanager
    async def open(self, rasterizer: str) -> AsyncIterator[Twins]:
        from playwright.async_api import async_playwright

        async with async_playwright() as playwright:
            for server in self._servers:
                await server.start()
            flags = [*RASTERIZERS[rasterizer], *_FLAGS]
            browser = await playwright.chromium.launch(executable_path=find_browser(), args=flags)
            self._pages = [
                await browser.new_page(viewport={"width": 320, "height": 240}) for _ in self._servers
            ]
            yield self
            await browser.close()
        for server in self._servers:
            await server.stop()

    async def fresh(self) -> list[Session]:
        """The sessions of both pages, which have shown nothing yet."""
        found = []
        for server, page, queue in zip(self._servers, self._pages, self._sessions):
            await page.goto(server.link("check"))
            found.append(await asyncio.wait_for(queue.get(), 60))
        return found

    async def untold(self) -> Counter[tuple[str, str]]:
        """What React has not been told in the one page, and has been in the plain one: kinds of elements and props."""
        nodes, plain = [await page.evaluate(NODES) for page in self._pages]
        return Counter(
            (node["tag"], name)
            for key, node in plain.items()
            for name, value in node.items()
            if nodes.get(key, {}).get(name) != value
        )


class Given(Scene):
    """A scene, or an element, that is sent as it is given."""

    def __init__(self, node: dict[str, Any]):
        self._node = node

    def _serialize(self) -> dict[str, Any]:
        return copy.deepcopy(self._node)


async def show(session: Session, operations: list[Operation]) -> list[Any]:
    """Do all of it in one page; its pictures, or why there is none."""
    pictures: list[Any] = []
    for verb, given in operations:
        try:
            if verb == "grab":
                pictures.append((await session.grab("ego", format="png", wait_s=30)).array)
            else:
                # Of a group that went with all that it held, both sessions say so.
                getattr(session, verb) @ given
        except FrameError as error:
            pictures.append(str(error))
    return pictures


# Something that React has to render, and a picture.
LAST: list[Operation] = [("upsert", Given({"tag": "Box", "key": "last"})), ("grab", None)]


def difference(one: Any, other: Any) -> str:
    """In words; '' where there is none."""
    if isinstance(one, str) or isinstance(other, str):
        words = [picture if isinstance(picture, str) else "a picture" for picture in (one, other)]
        return "" if words[0] == words[1] else f"{words[0]}; plain: {words[1]}"
    count = int((one != other).any(axis=-1).sum())
    return f"{count} pixels differ, by up to {np.abs(one.astype(int) - other).max()}" if count else ""


async def check(
    sequences: int, seed: int, rasterizer: str, tell: Callable[[str], None], wanted: list[str] | None = None
) -> tuple[int, int, list[str], Counter[tuple[str, str]]]:
    """How many sequences and pictures there were, what was wrong, and what took the short way, by tag and prop."""
    done, pictures, scenes = 0, 0, 0
    wrong: list[str] = []
    untold: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        write_files(Path(folder))
        async with Twins(files).open(rasterizer) as twins:
            sessions: list[Session] = []
            while done < sequences:
                is_kept = seed % 3 > 0
                # A session that was given a scene that jobs begin with keeps it.
                is_worn = scenes % SCENES == 0 or seed % 3 == 1 or any(one.is_spoiled for one in sessions)
                if not sessions or is_worn:
                    sessions = await twins.fresh()
                worlds = [World(str(seed), files, is_kept, wanted or []) for _ in sessions]
                for session, world in zip(sessions, worlds):
                    if is_kept:
                        session.set @ Given(world.scene())
                    else:
                        session.set_base(Given(world.scene()))
                        session.begin_job()
                count = min(SEQUENCES, sequences - done)
                for number in range(count + 1):
                    # The last has React render all that it has not been told.
                    both = [world.sequence() if number < count else LAST for world in worlds]
                    # In one page alone the first update may have come before there was anything that it is about, and
                    # an object without a past forgets the order of its axes.
                    both = [[*LAST[1:], *found] for found in both] if number == 0 else both
                    shown = await asyncio.gather(*map(show, sessions, both))
                    last, pictures = await twins.untold(), pictures + len(shown[0])
                    found = [text for text in map(difference, *shown) if text]
                    if number < count:
                        done += 1
                        untold += last
                    elif last:
                        found.append(f"React has not been told of {dict(last)}")
                    if found:
                        wrong.append(f"seed {seed}, sequence {number + 1}: {found[0]}")
                        tell(wrong[-1])
                        sessions = []
                        break
                seed, scenes = seed + 1, scenes + 1
    return done, pictures, wrong, untold


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sequences", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--with", dest="wanted", action="append", choices=(*KINDS, *OTHERS, *MADE), metavar="TAG"
    )
    parser.add_argument("--renderer", choices=list(RASTERIZERS), default="swiftshader")
    options = parser.parse_args()
    began = time.monotonic()
    done, pictures, wrong, untold = asyncio.run(
        check(
            options.sequences,
            options.seed,
            options.renderer,
            lambda line: print(line, flush=True),
            options.wanted,
        )
    )
    for tag in KINDS:
        parts = {name: count for (kind, name), count in sorted(untold.items()) if kind == tag}
        print(f"{tag:18}", ", ".join(f"{name} {count}" for name, count in parts.items()) or "never")
    print(
        f"{done:,} sequences, {pictures:,} pictures, {len(wrong):,} sequences that differ; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if wrong or not {tag for tag, _ in untold}.issuperset(KINDS) else 0


if __name__ == "__main__":
    sys.exit(main())
