#!/usr/bin/env python3
"""See that each job's picture is the one that it has in a page of its own, whatever the page showed before.

    python scripts/check_isolation.py --examples N [--jobs M] [--seed S] [--renderer swiftshader]

Random scenes; to each, M random jobs that add, update, upsert, remove and set elements: nested, transparent,
hidden, turned, lit, moved between groups, seen by cameras that move. Each job is rendered in a fresh page
first; then they come again and again in random order, in one page as long as the session allows it. Every
picture must equal the job's first one, to the pixel. Exit status 1 when one does not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np

from runner.browsers.find import find_browser
from runner.browsers.launcher import _FLAGS, RASTERIZERS
from runner.errors import FrameError
from runner.sessions.server import Server
from runner.sessions.session import Session

SIZE = {"width": 96, "height": 72}
GROUPS = ("mount", "arm", "shelf")
KEYS = ("ball", "crate", "wall", "rod", "lamp", "sun", "cloud", "mesh", "mark", *GROUPS)
NEW_KEYS = ("new1", "new2", "new3")

# ---- Random scenes and jobs: a job is a list of operations, each (verb, what it is given).


def some(chance: random.Random, probability: float, value: Callable[[], Any], name: str) -> dict[str, Any]:
    return {name: value()} if chance.random() < probability else {}


def color(chance: random.Random) -> str:
    return f"#{chance.randrange(1 << 24):06x}"


def vector(chance: random.Random, reach: float, steps: int = 4) -> list[float]:
    """Few different values, so that things meet, coincide and are equally far."""
    return [round(reach * chance.randint(-steps, steps) / steps, 3) for _ in range(3)]


def pose(chance: random.Random) -> dict[str, Any]:
    return {
        **some(chance, 0.6, lambda: vector(chance, 1.2), "position"),
        **some(chance, 0.3, lambda: vector(chance, 3.0), "rotation"),
        **some(chance, 0.3, lambda: [chance.choice([0.5, 1, 1.5]) for _ in range(3)], "scale"),
    }


def material(chance: random.Random) -> dict[str, Any]:
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
    }


def solid(chance: random.Random, key: str) -> Any:
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


def light(chance: random.Random, key: str) -> Any:
    from vuer.schemas import AmbientLight, DirectionalLight, HemisphereLight, PointLight

    kind = chance.choice([AmbientLight, DirectionalLight, PointLight, HemisphereLight])
    more = {
        **some(chance, 0.7, lambda: chance.choice([0.2, 1, 3]), "intensity"),
        **some(chance, 0.5, lambda: vector(chance, 3), "position"),
    }
    if kind is not HemisphereLight:
        more |= some(chance, 0.5, lambda: color(chance), "color")
    return kind(key=key, **more)


def mesh(chance: random.Random, key: str) -> Any:
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


def mark(chance: random.Random, key: str) -> Any:
    from vuer.schemas import Arrow, CoordsMarker

    if chance.random() < 0.5:
        return CoordsMarker(
            key=key, **some(chance, 0.7, lambda: vector(chance, 1), "position"), scale=chance.choice([0.5, 1])
        )
    return Arrow(
        key=key,
        **some(chance, 0.7, lambda: vector(chance, 1), "position"),
        **some(chance, 0.7, lambda: color(chance), "color"),
    )


def element(chance: random.Random, key: str, depth: int = 0) -> Any:
    from vuer.schemas import Group

    if key in GROUPS and chance.random() < 0.9 and depth < 2:
        inner = [f"{key}-{n}" for n in range(chance.choice([0, 1, 1, 2]))]
        children = [element(chance, name, depth + 1) for name in inner]
        return Group(*children, key=key, **pose(chance))
    kinds = [solid] * 6 + [light, light, mesh, mark]
    if key in ("lamp", "sun") and chance.random() < 0.9:
        kinds = [light]
    return chance.choice(kinds)(chance, key)


def camera(chance: random.Random, key: str) -> Any:
    from vuer.schemas import CameraView

    look = {"position": [round(chance.uniform(-0.5, 0.5), 2), 0, 4]}
    return CameraView(key=key, **look, **some(chance, 0.2, lambda: chance.choice([40, 70]), "fov"))


def scene(chance: random.Random) -> Any:
    from vuer.schemas import CameraView, DefaultScene, Scene

    elements = [element(chance, key) for key in chance.sample(KEYS, chance.randint(2, 7))]
    background: list[Any] = [
        element(chance, key) for key in chance.sample(("back1", "back2"), chance.randint(0, 2))
    ]
    kind = DefaultScene if chance.random() < 0.3 else Scene
    ego = CameraView(key="ego", **SIZE, fov=50, position=[0, 0.2, 4])
    return kind(*elements, rawChildren=[ego], bgChildren=background)


def job(chance: random.Random) -> list[tuple[str, Any]]:
    """Up to six operations, and a look by the camera in between at times."""
    operations: list[tuple[str, Any]] = []
    for _ in range(chance.choice([0, 1, 1, 2, 3, 6])):
        verb = chance.choices(
            ["update", "upsert", "add", "remove", "set", "grab", "camera", "dict", "to"],
            [6, 4, 3, 3, 0.3, 1.5, 2, 1, 1],
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
            operations.append(("update", [camera(chance, "ego")]))
        elif verb == "dict":
            operations.append(("update", [{"key": known, "position": vector(chance, 1)}]))
        elif verb == "to":
            where = chance.choice(["mount", "shelf", "children", "bgChildren", "ghost"])
            operations.append(
                (chance.choice(["add to", "upsert to"]), (where, element(chance, chance.choice(NEW_KEYS))))
            )
        else:
            operations.append((verb, None))
    return operations


async def render(session: Session, operations: list[tuple[str, Any]]) -> list[np.ndarray]:
    """What a render function would do, and the pictures that it took."""
    pictures = []
    for verb, given in [*operations, ("grab", None)]:
        if verb == "grab":
            pictures.append((await session.grab("ego", format="png", wait_s=30)).array)
        elif verb.endswith(" to"):
            where, what = given
            getattr(session, verb.removesuffix(" to"))(what, to=where)
        else:
            getattr(session, verb) @ given
    return pictures


# ---- Pages.


class Pages:
    """One browser, in which each page is a session."""

    def __init__(self) -> None:
        self._sessions: asyncio.Queue[Session] = asyncio.Queue()
        self._server = Server(self._work)
        self._page: Any = None
        self.loaded = 0

    async def _work(self, session: Session) -> None:
        self._sessions.put_nowait(session)
        await asyncio.wait({session.closed})

    async def fresh(self) -> Session:
        """The session of a page that has shown nothing yet."""
        if self._page is None:
            self._page = await self._browser.new_page(viewport={"width": 320, "height": 240})
        await self._page.goto(self._server.link("check"))
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

    def __init__(self, seed: int, jobs: int):
        self.seed = seed
        self.reasons: Counter[str] = Counter()
        self.jobs = [job(random.Random(f"{seed}/{number}")) for number in range(jobs)]

    def scene(self) -> Any:
        return scene(random.Random(self.seed))

    async def alone(self, pages: Pages, number: int) -> list[np.ndarray]:
        session = await pages.fresh()
        session.set_base(self.scene())
        session.begin_job()
        try:
            return await render(session, self.jobs[number])
        except FrameError:
            return []  # the client cannot show that at all

    async def check(self, pages: Pages, examples: int) -> list[str] | None:
        """Render that many jobs in one page; what was found wrong, in words; None: nothing can be shown."""
        alone = [await self.alone(pages, number) for number in range(len(self.jobs))]
        known = [number for number, pictures in enumerate(alone) if pictures]
        if not known:
            return None
        chance = random.Random(f"order/{self.seed}")
        session: Session | None = None
        wrong, history = [], []
        for _ in range(examples):
            if session is None or session.is_spoiled:
                session, history = await pages.fresh(), []
                session.set_base(self.scene())
            number = chance.choice(known)
            session.begin_job()
            history.append(number)
            try:
                pictures = await render(session, self.jobs[number])
            except FrameError as error:
                wrong.append(f"seed {self.seed}: jobs …{history[-4:]}: job {number} fails: {error}")
                continue
            if session.is_spoiled:
                self.reasons[session.lasting or "worn"] += 1
            for index, (mine, other) in enumerate(zip(pictures, alone[number])):
                if not np.array_equal(mine, other):
                    count = int((mine != other).any(axis=-1).sum()) if mine.shape == other.shape else -1
                    place = f"seed {self.seed}: jobs …{history[-4:]}: picture {index} of job {number}"
                    wrong.append(f"{place} differs in {count} pixels")
        return wrong


async def check(
    examples: int, jobs: int, seed: int, rasterizer: str, tell: Callable[[str], None]
) -> tuple[int, list[str], int]:
    """How many examples were rendered, what was wrong, and how many pages that took."""
    pages, done, wrong = Pages(), 0, []
    async with pages.open(rasterizer):
        while done < examples:
            count = min(10 * jobs, examples - done)
            case = Case(seed, jobs)
            seed += 1
            found = await case.check(pages, count)
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
    parser.add_argument("--renderer", choices=list(RASTERIZERS), default="swiftshader")
    options = parser.parse_args()
    began = time.monotonic()
    done, wrong, loaded = asyncio.run(
        check(
            options.examples,
            options.jobs,
            options.seed,
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
