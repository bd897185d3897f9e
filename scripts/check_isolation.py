#!/usr/bin/env python3
"""See that each job's picture is the one that it has in a page of its own, whatever the page showed before.

    python scripts/check_isolation.py --examples N [--jobs M] [--seed S] [--sessions 3] [--renderer swiftshader]

Random scenes; to each, M random jobs that add, update, upsert, remove and set elements: nested, transparent,
hidden, turned, lit, textured, loaded from files, written, made by workers or once a frame, moved between groups,
removed and added anew, seen by cameras that move, in perspective and without. Each job is rendered in a fresh page
first; then they come again and again in random order, in so many pages at once, each kept as long as its session
allows it. Every picture must equal the job's first one, to the pixel. Exit status 1 when one does not.

Plain chance, and not hypothesis: what costs is the fresh page that tells how a job looks alone, and a hundred
examples share it here. A seed makes its scene, jobs and order again, and what differs is told with the shortest
end of the page's history after which it does so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runner.browsers.find import find_browser
from runner.browsers.launcher import _FLAGS, RASTERIZERS
from runner.campaign import AssetFolder
from runner.errors import FrameError, SessionGone
from runner.sessions.server import Server
from runner.sessions.session import Session

SIZE = {"width": 96, "height": 72}
GROUPS = ("mount", "arm", "shelf")
KEYS = ("ball", "crate", "wall", "rod", "lamp", "sun", "cloud", "mesh", "mark", *GROUPS)
NEW_KEYS = ("new1", "new2", "new3")

# ---- The files that scenes load.


class Files:
    """A folder with a few models and pictures; called with a name, it gives the URL."""

    MODELS = ("cube.obj", "roof.obj", "red.glb", "blue.glb")
    SPLATS = ("ball.splat", "rod.splat")
    DEPTHS = ("left.png", "right.png")
    PICTURES = ("stripes.png", "checks.png", "spot.png")

    def __init__(self, folder: Path):
        self.folder = AssetFolder(folder)
        corners = [(x, y, z) for x in (-0.4, 0.4) for y in (-0.4, 0.4) for z in (-0.4, 0.4)]
        sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        self.text = _obj(corners, sides)
        (folder / "cube.obj").write_text(self.text)
        (folder / "roof.obj").write_text(_obj([(-1, 0, 0), (1, 0, 0), (0, 0.8, 0)], [(0, 1, 2)]))
        (folder / "red.glb").write_bytes(_glb([0.9, 0.1, 0.1, 1.0], 0.6))
        (folder / "blue.glb").write_bytes(_glb([0.1, 0.2, 0.9, 1.0], 0.9))
        grid = np.indices((16, 16))
        pictures = (grid[0] // 4 % 2, grid.sum(axis=0) // 4 % 2, ((grid - 8) ** 2).sum(axis=0) < 30)
        for number, (name, picture) in enumerate(zip(self.PICTURES, pictures)):
            colors = np.array([[40, 40 + 70 * number, 200], [250, 220, 60 * number]], np.uint8)
            Image.fromarray(colors[picture.astype(int)]).save(folder / name)

        for name, shape in zip(self.SPLATS, ([0.5, 0.5, 0.5], [1, 0.1, 0.1])):
            (folder / name).write_bytes(_splats(np.array(shape)))
        for number, name in enumerate(self.DEPTHS):
            depth = np.full((16, 16), 60, np.uint8)
            depth[:, 8 * number : 8 * number + 8] = 180
            Image.fromarray(depth).save(folder / name)

    def __call__(self, name: str) -> str:
        return self.folder.url(name)


def _obj(corners: list[tuple[float, float, float]], faces: list[tuple[int, ...]]) -> str:
    lines = [f"v {x} {y} {z}" for x, y, z in corners]
    return "\n".join([*lines, *("f " + " ".join(str(n + 1) for n in face) for face in faces)]) + "\n"


def _splats(shape: np.ndarray) -> bytes:
    """An ellipsoid's surface of 200 splats, each with a colour of its own, as a .splat file."""
    chance = np.random.default_rng(0)
    places = chance.normal(size=(200, 3))
    places *= shape / np.linalg.norm(places, axis=1)[:, None]
    colors = chance.integers(0, 256, (200, 3))
    return b"".join(
        struct.pack("3f3f4B4B", *place, 0.05, 0.05, 0.05, *color, 255, 255, 128, 128, 128)
        for place, color in zip(places, colors.tolist(), strict=True)
    )


def _glb(color: list[float], size: float) -> bytes:
    """One triangle, as binary glTF."""
    points = np.array([[-size, 0, 0], [size, 0, 0], [0, size, 0]], np.float32)
    bounds = {"min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist()}
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": color}, "doubleSided": True}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", **bounds}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36}],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", 36, b"BIN\0") + points.tobytes()
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


# ---- Random scenes and jobs: a job is a list of operations, each (verb, what it is given).


class Chance(random.Random):
    """Chance from a seed, with the files that a scene may name. has_side: whether there is a second camera."""

    files: Files
    has_side = False

    @property
    def cameras(self) -> list[str]:
        return ["ego", "side"] if self.has_side else ["ego"]


def chance_of(seed: str, files: Files, has_side: bool) -> Chance:
    chance = Chance(seed)
    chance.files, chance.has_side = files, has_side
    return chance


def some(chance: Chance, probability: float, value: Callable[[], Any], name: str) -> dict[str, Any]:
    return {name: value()} if chance.random() < probability else {}


def color(chance: Chance) -> str:
    return f"#{chance.randrange(1 << 24):06x}"


def turned(chance: Chance) -> list[Any]:
    """A rotation, which may name the order of its axes."""
    return vector(chance, 3.0) + (["ZYX"] if chance.random() < 0.3 else [])


def vector(chance: Chance, reach: float, steps: int = 4) -> list[float]:
    """Few different values, so that things meet, coincide and are equally far."""
    return [round(reach * chance.randint(-steps, steps) / steps, 3) for _ in range(3)]


def pose(chance: Chance) -> dict[str, Any]:
    return {
        **some(chance, 0.6, lambda: vector(chance, 1.2), "position"),
        **some(chance, 0.3, lambda: turned(chance), "rotation"),
        **some(chance, 0.3, lambda: [chance.choice([0.5, 1, 1.5]) for _ in range(3)], "scale"),
    }


def material(chance: Chance) -> dict[str, Any]:
    return {
        **some(chance, 0.8, lambda: color(chance), "color"),
        **some(chance, 0.4, lambda: chance.random() < 0.7, "transparent"),
        **some(chance, 0.4, lambda: chance.choice([0.3, 0.6, 1]), "opacity"),
        **some(chance, 0.2, lambda: color(chance), "emissive"),
        **some(chance, 0.2, lambda: chance.random() < 0.5, "flatShading"),
        **some(chance, 0.2, lambda: chance.choice([0, 1, 2]), "side"),
        **some(chance, 0.2, lambda: chance.random() < 0.5, "depthTest"),
        **some(chance, 0.2, lambda: chance.choice([0.1, 0.9]), "roughness"),
        **some(chance, 0.1, lambda: chance.random() < 0.5, "visible"),
        **some(chance, 0.2, lambda: chance.files(chance.choice(Files.PICTURES)), "map"),
    }


def solid(chance: Chance, key: str) -> Any:
    from vuer.schemas import Box, Cylinder, Plane, Sphere

    kind, args = chance.choice(
        [
            (Box, [0.8, 0.6, 0.4]), (Box, [1, 1, 1]), (Sphere, [0.5, 16, 12]), (Sphere, [0.7, 8, 6]),
            (Plane, [2, 2]), (Cylinder, [0.3, 0.4, 1, 12]),
        ]
    )  # fmt: skip
    more = {
        **pose(chance),
        **some(chance, 0.8, lambda: args, "args"),
        **some(chance, 0.7, lambda: material(chance), "material"),
        **some(
            chance,
            0.3,
            lambda: chance.choice(["basic", "standard", "phong", "normal", "lambert"]),
            "materialType",
        ),
        **some(chance, 0.2, lambda: chance.random() < 0.6, "hide"),
        **some(chance, 0.1, lambda: chance.random() < 0.6, "outlines"),
        **some(chance, 0.2, lambda: chance.random() < 0.6, "wireframe"),
        **some(chance, 0.1, lambda: chance.choice([-1, 0, 2]), "renderOrder"),
        **some(chance, 0.1, lambda: chance.random() < 0.5, "visible"),
    }
    return kind(key=key, **more)


def light(chance: Chance, key: str) -> Any:
    from vuer.schemas import AmbientLight, DirectionalLight, HemisphereLight, PointLight

    kind = chance.choice([AmbientLight, DirectionalLight, PointLight, HemisphereLight])
    more = {
        **some(chance, 0.7, lambda: chance.choice([0.2, 1, 3]), "intensity"),
        **some(chance, 0.5, lambda: vector(chance, 3), "position"),
    }
    if kind is not HemisphereLight:
        more |= some(chance, 0.5, lambda: color(chance), "color")
    return kind(key=key, **more)


def mesh(chance: Chance, key: str) -> Any:
    from vuer.schemas import PointCloud, TriMesh

    points = np.array([vector(chance, 1, 8) for _ in range(chance.choice([3, 9]))], np.float32)
    colors = np.array([[chance.randrange(256) for _ in range(3)] for _ in points], np.uint8)
    more = {
        **some(chance, 0.5, lambda: vector(chance, 1), "position"),
        **some(chance, 0.5, lambda: colors, "colors"),
    }
    if chance.random() < 0.5:
        return PointCloud(
            key=key, vertices=points, size=0.1, **some(chance, 0.5, lambda: color(chance), "color"), **more
        )
    faces = np.arange(len(points), dtype=np.uint32).reshape(-1, 3)
    return TriMesh(
        key=key,
        vertices=points,
        faces=faces,
        materialType="basic",
        **some(chance, 0.5, lambda: color(chance), "color"),
        **more,
    )


def mark(chance: Chance, key: str) -> Any:
    from vuer.schemas import Arrow, CoordsMarker

    place = some(chance, 0.7, lambda: vector(chance, 1), "position") | some(
        chance, 0.5, lambda: turned(chance), "rotation"
    )
    if chance.random() < 0.5:
        return CoordsMarker(key=key, **place, scale=chance.choice([0.5, 1]))
    return Arrow(key=key, **place, **some(chance, 0.7, lambda: color(chance), "color"))


def line(chance: Chance, key: str) -> Any:
    from vuer.schemas import CatmullRomLine, CubicBezierLine, Line, QuadraticBezierLine

    more = {
        **some(chance, 0.7, lambda: color(chance), "color"),
        **some(chance, 0.7, lambda: chance.choice([2, 6]), "lineWidth"),
        **some(chance, 0.3, lambda: vector(chance, 1), "position"),
    }
    if chance.random() < 0.5:
        kind = chance.choice([Line, CatmullRomLine])
        return kind(key=key, points=[vector(chance, 1.2) for _ in range(chance.choice([3, 5]))], **more)
    ends = {"start": [-1, 0, 0], "end": vector(chance, 1.2)}
    if chance.random() < 0.5:
        return QuadraticBezierLine(key=key, mid=vector(chance, 1.2), **ends, **more)
    return CubicBezierLine(key=key, midA=vector(chance, 1.2), midB=[0.5, 1, 0], **ends, **more)


def sky(chance: Chance, key: str) -> Any:
    from vuer.schemas import BackgroundColor

    return BackgroundColor(key=key, **some(chance, 0.8, lambda: color(chance), "color"))


def model(chance: Chance, key: str) -> Any:
    from vuer.schemas import Glb, Obj

    name = chance.choice(Files.MODELS)
    more = {**pose(chance), **some(chance, 0.2, lambda: chance.random() < 0.6, "hide")}
    if name.endswith(".glb"):
        return Glb(key=key, src=chance.files(name), **more)
    if chance.random() < 0.2:
        return Obj(key=key, text=chance.files.text, **more)
    return Obj(key=key, src=chance.files(name), **more)


def text(chance: Chance, key: str) -> Any:
    from vuer.schemas import Text

    words = chance.choice(["one", "two", "drei"])
    return Text(words, key=key, **pose(chance), **some(chance, 0.5, lambda: color(chance), "color"))


def late(chance: Chance, key: str) -> Any:
    """What the client makes in workers, in effects or once a frame."""
    from vuer.schemas import Billboard, BoundingBox, DepthPointCloud, InPlaceDepthPointCloud, SparkSplats

    kind = chance.choice(["text", "text", "billboard", "box", "splats", "depth", "depth in place"])
    if kind == "text":
        return text(chance, key)
    if kind == "billboard":
        return Billboard(text(chance, f"{key}-text"), key=key, **pose(chance))
    if kind == "box":
        return BoundingBox(key=key, **pose(chance), **some(chance, 0.5, lambda: color(chance), "color"))
    if kind == "splats":
        return SparkSplats(key=key, src=chance.files(chance.choice(Files.SPLATS)), **pose(chance))
    files = {"depth": chance.files(chance.choice(Files.DEPTHS)), "rgb": chance.files("spot.png")}
    cloud = DepthPointCloud if kind == "depth" else InPlaceDepthPointCloud
    return cloud(key=key, **files, position=[0, 0, 4], pointSize=3)


def element(chance: Chance, key: str, depth: int = 0) -> Any:
    from vuer.schemas import Group

    if key in GROUPS and chance.random() < 0.9 and depth < 2:
        inner = [f"{key}-{n}" for n in range(chance.choice([0, 1, 1, 2]))]
        children = [element(chance, name, depth + 1) for name in inner]
        return Group(*children, key=key, **pose(chance))
    kinds = [solid] * 6 + [light, light, mesh, mark, model, model, late, line]
    if key == "back1":  # only one such element may be there
        kinds += [sky] * 9
    if key in ("lamp", "sun") and chance.random() < 0.9:
        kinds = [light]
    return chance.choice(kinds)(chance, key)


def camera(chance: Chance, key: str) -> Any:
    from vuer.schemas import CameraView

    look = {"position": [round(chance.uniform(-0.5, 0.5), 2), 0, 4]}
    if key == "side":
        reach = chance.choice([1.5, 2])
        look |= {"right": 4 / 3 * reach, "left": -4 / 3 * reach, "top": reach, "bottom": -reach}
        return CameraView(key=key, **look)
    return CameraView(key=key, **look, **some(chance, 0.2, lambda: chance.choice([40, 70]), "fov"))


def scene(chance: Chance) -> Any:
    from vuer.schemas import CameraView, DefaultScene, Scene

    elements = [element(chance, key) for key in chance.sample(KEYS, chance.randint(2, 7))]
    background: list[Any] = [
        element(chance, key) for key in chance.sample(("back1", "back2"), chance.randint(0, 2))
    ]
    kind = DefaultScene if chance.random() < 0.3 else Scene
    cameras = [CameraView(key="ego", **SIZE, fov=50, position=[0, 0.2, 4])]
    if chance.has_side:
        box = {"left": -2, "right": 2, "top": 1.5, "bottom": -1.5}
        cameras.append(CameraView(key="side", **SIZE, ctype="orthographic", **box, position=[0.3, 0, 4]))
    return kind(*elements, rawChildren=cameras, bgChildren=background)


def job(chance: Chance) -> list[tuple[str, Any]]:
    """Up to six operations, and a look by the camera in between at times."""
    operations: list[tuple[str, Any]] = []
    for _ in range(chance.choice([0, 1, 1, 2, 3, 6])):
        verb = chance.choices(
            ["update", "upsert", "add", "remove", "set", "grab", "camera", "dict", "to", "again", "hide"],
            [6, 4, 3, 3, 0.3, 1.5, 2, 1, 1, 1.5, 1],
        )[0]
        known = chance.choice([*KEYS, "mount-0", "arm-0", "back1", "ghost"])
        if verb in ("update", "upsert"):
            keys = [known, *([chance.choice(KEYS)] if chance.random() < 0.2 else [])]
            operations.append((verb, [element(chance, key) for key in keys]))
        elif verb == "add":
            operations.append(
                (verb, [element(chance, chance.choice(NEW_KEYS if chance.random() < 0.9 else KEYS))])
            )
        elif verb == "remove":
            operations.append(
                (
                    verb,
                    chance.sample(
                        [*KEYS, *NEW_KEYS, "mount-0", "back1", "grid", "light-stage"],
                        chance.choice([1, 1, 2]),
                    ),
                )
            )
        elif verb == "set":
            operations.append((verb, scene(chance)))
        elif verb == "camera":
            operations.append(("update", [camera(chance, chance.choice(chance.cameras))]))
        elif verb == "dict":
            operations.append(("update", [{"key": known, "position": vector(chance, 1)}]))
        elif verb == "to":
            where = chance.choice(["mount", "shelf", "children", "bgChildren", "ghost"])
            operations.append(
                (chance.choice(["add to", "upsert to"]), (where, element(chance, chance.choice(NEW_KEYS))))
            )
        elif verb == "again":
            operations += [("remove", [known]), ("add", [element(chance, known)])]
        elif verb == "hide":
            operations.append(("update", [{"key": known, "hide": chance.random() < 0.6}]))
        else:
            operations.append((verb, chance.choice(chance.cameras)))
    return operations


async def render(session: Session, operations: list[tuple[str, Any]]) -> list[np.ndarray]:
    """What a render function would do, and the pictures that it took."""
    pictures = []
    for verb, given in [*operations, ("grab", "ego")]:
        try:
            if verb == "grab":
                pictures.append((await session.grab(given, format="png", wait_s=30)).array)
            elif verb.endswith(" to"):
                where, what = given
                getattr(session, verb.removesuffix(" to"))(what, to=where)
            else:
                getattr(session, verb) @ given
        except FrameError as error:
            if "there is no element" not in str(error):  # it was refused, as it is in a page of its own
                raise
    return pictures


# ---- Pages.


class Pages:
    """One browser, in which each page is a session."""

    def __init__(self, files: Files) -> None:
        self._sessions: asyncio.Queue[Session] = asyncio.Queue()
        self._server = Server(self._work, assets=files.folder)
        self._pages: dict[int, Any] = {}
        self._one_at_a_time = asyncio.Lock()
        self.loaded = 0

    async def _work(self, session: Session) -> None:
        self._sessions.put_nowait(session)
        await asyncio.wait({session.closed})

    async def fresh(self, number: int = 0) -> Session:
        """The session of that page, which has shown nothing yet."""
        async with self._one_at_a_time:
            if number not in self._pages:
                self._pages[number] = await self._browser.new_page(viewport={"width": 320, "height": 240})
            await self._pages[number].goto(self._server.link("check"))
            self.loaded += 1
            return await asyncio.wait_for(self._sessions.get(), 60)

    @contextlib.asynccontextmanager
    async def open(self, rasterizer: str) -> AsyncIterator[Pages]:
        from playwright.async_api import async_playwright

        await self._server.start()
        async with async_playwright() as playwright:
            self._browser = await playwright.chromium.launch(
                executable_path=find_browser(), args=[*RASTERIZERS[rasterizer], *_FLAGS]
            )
            yield self
            await self._browser.close()
        await self._server.stop()


class Case:
    """A scene and its jobs, made from a seed alone."""

    def __init__(self, seed: int, jobs: int, files: Files):
        self.seed, self._files = seed, files
        self._has_side = random.Random(f"side/{seed}").random() < 0.4
        self.reasons: Counter[str] = Counter()
        self.jobs = [job(self._chance(f"{seed}/{number}")) for number in range(jobs)]
        self._alone: list[list[np.ndarray]] = []

    def _chance(self, seed: str) -> Chance:
        return chance_of(seed, self._files, self._has_side)

    def scene(self) -> Any:
        return scene(self._chance(str(self.seed)))

    async def history(self, pages: Pages, numbers: list[int]) -> list[np.ndarray]:
        """The pictures of the last of these jobs, rendered one after the other in a fresh page."""
        while True:
            try:
                return await self._history(pages, numbers)
            except SessionGone as error:
                self.reasons[str(error)] += 1

    async def _history(self, pages: Pages, numbers: list[int]) -> list[np.ndarray]:
        session = await pages.fresh()
        session.set_base(self.scene())
        pictures: list[np.ndarray] = []
        for number in numbers:
            session.begin_job()
            try:
                pictures = await render(session, self.jobs[number])
            except FrameError:
                pictures = []  # the client cannot show that at all
        return pictures

    async def check(self, pages: Pages, examples: int, sessions: int) -> list[str] | None:
        """Render so many jobs, in so many pages at once; what was wrong, in words; None: nothing can be shown."""
        self._alone = [await self.history(pages, [number]) for number in range(len(self.jobs))]
        known = [number for number, pictures in enumerate(self._alone) if pictures]
        if not known:
            return None
        chance = random.Random(f"order/{self.seed}")
        order = [chance.choice(known) for _ in range(examples)]
        wrong: list[tuple[list[int], str]] = []
        await asyncio.gather(*(self._work(pages, page, order, wrong) for page in range(sessions)))
        return [f"seed {self.seed}: {what}; {await self._shortest(pages, past)}" for past, what in wrong]

    async def _work(
        self, pages: Pages, page: int, order: list[int], wrong: list[tuple[list[int], str]]
    ) -> None:
        session: Session | None = None
        past: list[int] = []
        while order:
            number = order.pop()
            if session is None or session.is_spoiled:
                session, past = await pages.fresh(page), []
                session.set_base(self.scene())
            session.begin_job()
            past.append(number)
            try:
                pictures = await render(session, self.jobs[number])
            except FrameError as error:
                wrong.append((list(past), f"job {number} fails: {error}"))
                continue
            except (
                SessionGone
            ) as error:  # as when the machine was suspended: a run would take another page, too
                self.reasons[str(error)] += 1
                order.append(number)
                session = None
                continue
            if session.is_spoiled:
                self.reasons[session.lasting or "worn"] += 1
            for index, count in enumerate(map(_differing, pictures, self._alone[number])):
                if count:
                    wrong.append((list(past), f"picture {index} of job {number} differs in {count} pixels"))

    async def _shortest(self, pages: Pages, past: list[int]) -> str:
        """The shortest end of that history after which the last job's pictures are not its own."""
        for length in [*range(1, 5), len(past)]:
            pictures = await self.history(pages, past[-length:])
            if any(map(_differing, pictures, self._alone[past[-1]])) or not pictures:
                return f"so it is after {past[-length:-1]}"
        return f"but not again after {past[:-1]}"


def _differing(one: np.ndarray, other: np.ndarray) -> int:
    """In how many pixels they differ; all of them where their sizes do."""
    return int((one != other).any(axis=-1).sum()) if one.shape == other.shape else other.size


async def check(
    examples: int, jobs: int, seed: int, sessions: int, rasterizer: str, tell: Callable[[str], None]
) -> tuple[int, list[str], int]:
    """How many examples were rendered, what was wrong, and how many pages that took."""
    done, wrong = 0, []
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        async with Pages(files).open(rasterizer) as pages:
            while done < examples:
                count = min(10 * jobs, examples - done)
                case = Case(seed, jobs, files)
                seed += 1
                found = await case.check(pages, count, sessions)
                if found is None:
                    tell(f"seed {case.seed}: the client can show none of its jobs")
                    continue
                tell(f"seed {case.seed}: fresh pages because of {dict(case.reasons)}")
                for line in found:
                    tell(line)
                wrong += found
                done += count
    return done, wrong, pages.loaded


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=12, help="different jobs of one scene")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=3, help="pages that work at once")
    parser.add_argument("--renderer", choices=list(RASTERIZERS), default="swiftshader")
    options = parser.parse_args()
    began = time.monotonic()
    done, wrong, loaded = asyncio.run(
        check(
            options.examples,
            options.jobs,
            options.seed,
            options.sessions,
            options.renderer,
            lambda line: print(line, flush=True),
        )
    )
    print(
        f"{done:,} examples, {len(wrong):,} pictures that differ; {loaded:,} pages; {time.monotonic() - began:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
