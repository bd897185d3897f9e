"""Pictures of the real client in a real browser: formats, depth, lenses, several cameras, large frames."""

from __future__ import annotations

import asyncio
import io
import random
from contextlib import AsyncExitStack

import numpy as np
import pytest
from checks import check_isolation
from PIL import Image
from playwright.async_api import async_playwright
from vuer.schemas import (
    AmbientLight,
    Box,
    CameraView,
    Group,
    HemisphereLight,
    Plane,
    PointCloud,
    Scene,
    SparkSplats,
    Sphere,
    TriMesh,
)

from runner.browsers import RASTERIZERS
from runner.sessions import Server

pytestmark = pytest.mark.usefixtures("browser_path")


class Pages:
    """Pages of one browser, which has a loop of its own."""

    def __init__(self, browser_path: str):
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._loop.run_until_complete(self._open(browser_path))

    async def _open(self, browser_path: str) -> None:
        playwright = await self._stack.enter_async_context(async_playwright())
        flags = [*RASTERIZERS["swiftshader"], "--force-device-scale-factor=1"]
        self._browser = await playwright.chromium.launch(executable_path=browser_path, args=flags)
        self._stack.push_async_callback(self._browser.close)

    def close(self) -> None:
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()

    def __call__(self, *renders, query="", script="", ask="", answers=None, assets=None):
        """Run each render(session) in a page of its own, one after the other; returns what they returned.

        script: is run in each page before its own ones; the value of the expression `ask` is appended to answers.
        """
        return self._loop.run_until_complete(self._render(renders, query, script, ask, answers, assets))

    async def _render(self, renders, query, script, ask, answers, assets):
        waiting, outcomes = list(renders), []
        finished = asyncio.Event()

        async def work(session):
            try:
                outcomes.append(await waiting[len(outcomes)](session))
            except BaseException as error:
                outcomes.append(error)
                raise
            finally:
                finished.set()

        server = Server(work, assets=assets)
        await server.start()
        for _ in renders:
            finished.clear()
            page = await self._browser.new_page(viewport={"width": 320, "height": 240})
            await page.add_init_script(script)
            await page.goto(server.link("browser-1") + query)
            await asyncio.wait_for(finished.wait(), 120)
            if ask:
                answers.append(await page.evaluate(ask))
            await page.close()
        await server.stop()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return outcomes


@pytest.fixture(scope="module")
def in_pages(browser_path):
    """Renders in pages of one browser, which starts once."""
    pages = Pages(browser_path)
    yield pages
    pages.close()


def lit_scene(*cameras):
    """Something lit, something transparent, something in the way of something."""
    return Scene(
        HemisphereLight(key="light", intensity=2),
        Sphere(key="ball", args=[0.7, 32, 32], position=[0.3, 0, 0], material={"color": "#d04020"}),
        Box(key="glass", args=[1, 1, 1], position=[-0.4, 0.2, 0.6],
            material={"color": "#20c060", "transparent": True, "opacity": 0.4}),
        Plane(key="wall", args=[6, 6], position=[0, 0, -2], material={"color": "#8090e0"}),
        rawChildren=list(cameras),
    )  # fmt: skip


def test_every_format_holds_the_pixels_of_the_stock_client(in_pages):
    """PNG, WebP and raw are equal to the pixel, to each other and to what the client's own canvas encodes."""

    async def render(session):
        session.set @ lit_scene(CameraView(key="ego", width=200, height=150, position=[0, 0, 4]))
        found = {name: await session.grab("ego", format=name) for name in ("png", "webp", "raw")}
        for _ in range(5):  # the last ones by the table of lookup.js
            found["jpeg"] = await session.grab("ego")
        return found | {"half": await session.grab("ego", quality=0.5)}

    (found,) = in_pages(render)
    (plain,) = in_pages(render_plain(render), query="&plain=true")
    stock = plain["png"].array
    assert stock.std() > 20
    assert stock.shape == (150, 200, 3)
    for name in ("png", "webp", "raw"):
        assert np.array_equal(found[name].array, stock), name
    assert found["jpeg"].data == plain["jpeg"].data and found["half"].data == plain["half"].data
    assert len(found["half"].data) < len(found["jpeg"].data)


def render_plain(render):
    """The same, for a page that encodes its canvas itself, which cannot give raw pixels."""

    class Plain:
        def __init__(self, session):
            self._session, self.set = session, session.set

        async def grab(self, key, format="jpeg", **options):
            return await self._session.grab(key, format="png" if format == "raw" else format, **options)

    return lambda session: render(Plain(session))


def test_half_floats_read_by_a_table_make_the_jpegs_of_the_stock_client(in_pages):
    """Dark, glaring, transparent, crowded: few pixels differ, and these by what JPEG makes of one level.

    However many a page has made before: the same bytes.
    """

    def scene(number):
        chance = random.Random(number)

        def thing(index):
            color = f"#{chance.randrange(1 << 24):06x}"
            material = {"color": color, "emissive": color, "emissiveIntensity": chance.choice([0, 0.3, 40.0])}
            material |= {"transparent": True, "opacity": chance.uniform(0.05, 0.95)} if index % 2 else {}
            place = [chance.uniform(-1, 1) for _ in range(3)]
            return Sphere(
                key=f"ball-{index}",
                args=[chance.uniform(0.2, 1.0), 24, 24],
                position=place,
                material=material,
            )

        light = HemisphereLight(key="light", intensity=chance.choice([0, 0.02, 1, 80]))
        camera = CameraView(key="ego", width=160, height=120, position=[0, 0, 4])
        return Scene(light, *[thing(index) for index in range(8)], rawChildren=[camera])

    def render_in(order):
        async def render(session):
            pictures = {}
            for number in order:
                session.set @ scene(number)
                pictures[number] = await session.grab("ego")
            return [pictures[number] for number in sorted(pictures)]

        return render

    render = render_in(range(16))
    half_floats = (
        "const read = WebGL2RenderingContext.prototype.readPixels; window.halfFloats = 0;"
        "WebGL2RenderingContext.prototype.readPixels = function () {"
        " window.halfFloats += arguments[5] === this.HALF_FLOAT; return read.apply(this, arguments); };"
    )
    counts = []
    (found,) = in_pages(render, script=half_floats, ask="window.halfFloats", answers=counts)
    (plain,) = in_pages(
        render_plain(render), query="&plain=true", script=half_floats, ask="window.halfFloats", answers=counts
    )
    assert counts == [16, 0]
    (backwards,) = in_pages(render_in(reversed(range(16))))
    assert [frame.data for frame in found] == [frame.data for frame in backwards]
    found, plain = ([frame.array.astype(int) for frame in frames] for frames in (found, plain))
    for mine, stock in zip(found, plain, strict=True):
        difference = abs(mine - stock).max(axis=2)
        assert difference.max() <= 6 and (difference > 0).mean() < 0.005
    assert len({picture.tobytes() for picture in plain}) == 16
    assert max(picture.max() for picture in plain) == 255


def test_depth_is_right_to_a_millimetre_at_twenty_metres(in_pages):
    """frame.depth is the distance from the camera's plane in metres; inf where nothing is."""
    distances = [0.5, 1.0, 3.7, 10.0, 19.9, 20.0]

    async def render(session):
        camera = CameraView(
            key="ego", width=64, height=48, near=0.1, far=25, renderDepth=True, position=[0, 0, 0]
        )
        wall = Plane(key="wall", args=[8, 100], position=[0, 0, -1])
        session.set @ Scene(wall, rawChildren=[camera])
        frames = []
        for distance in distances:
            session.update @ Plane(key="wall", args=[0.5 * distance, 100], position=[0, 0, -distance])
            frames.append(await session.grab("ego", format="png"))
        # Vuer's own call: the JPEG that grab gives, and depth as Vuer's client sends it.
        event, jpeg = await session.grab_render(), await session.grab()
        return frames, event, jpeg

    ((frames, event, jpeg),) = in_pages(render)
    assert event.value["frame"] == jpeg.data and (event.value["width"], event.value["height"]) == (64, 48)
    depth = np.asarray(Image.open(io.BytesIO(event.value["depthFrame"])))
    expected = 255 * (1 - (jpeg.depth - 0.1) / 24.9)
    assert depth.shape == (48, 64, 3) and abs(float(depth[24, 32, 0]) - expected[24, 32]) < 1.5
    assert depth[24, 0].max() < 2
    for frame, distance in zip(frames, distances):
        assert frame.depth.shape == (48, 64) and frame.depth.dtype == np.float32
        assert abs(frame.depth[24, 32] - distance) < 0.001, (frame.depth[24, 32], distance)
        assert np.isinf(frame.depth[24, 0])


def test_what_a_job_asks_of_a_camera_is_in_its_picture(in_pages):
    """Random size, lens, kind and pose under one key, in one page, give the pixels of fresh cameras."""
    choose = random.Random(4)

    def asked():
        near = choose.choice([0.05, 0.1, 2.5])
        common = {
            "width": choose.choice([64, 96, 131]), "height": choose.choice([48, 80]),
            "near": near, "far": choose.choice([4.2, 8.0, 50.0]),
            "position": [choose.uniform(-1, 1), choose.uniform(-1, 1), choose.uniform(3, 5)],
            "rotation": [0, choose.uniform(-0.2, 0.2), choose.uniform(-1, 1)],
        }  # fmt: skip
        if choose.random() < 0.25:
            wide = common["width"] / common["height"]
            return common | {
                "ctype": "orthographic",
                "top": 1.5,
                "bottom": -0.5,
                "left": -1.5 * wide,
                "right": 0.5 * wide,
            }
        return common | {"ctype": "perspective", "fov": choose.uniform(15, 100)}

    jobs = [asked() for _ in range(12)]

    async def one_key(session):
        session.set @ lit_scene(CameraView(key="ego", **jobs[0]))
        frames = []
        for job in jobs:
            session.update @ CameraView(key="ego", **job)
            frames.append(await session.grab("ego", format="png"))
        return frames

    async def fresh_keys(session):
        session.set @ lit_scene()
        frames = []
        for number, job in enumerate(jobs):
            session.upsert(CameraView(key=f"fresh{number}", **job), to="rawChildren")
            frames.append(await session.grab(f"fresh{number}", format="png"))
            session.remove @ f"fresh{number}"
        return frames

    mine, fresh = in_pages(one_key, fresh_keys)
    for job, frame, other in zip(jobs, mine, fresh):
        assert (frame.width, frame.height) == (job["width"], job["height"])
        assert np.array_equal(frame.array, other.array), job
    assert len({frame.data for frame in mine}) == len(jobs)


def test_a_camera_inside_a_group_keeps_its_place_when_its_size_changes(in_pages):
    """Another size makes another camera inside the page, in the same group."""

    async def render(session):
        camera = CameraView(key="ego", width=64, height=48, position=[0, 0, 4])
        session.set @ lit_scene()
        session.upsert(Group(camera, key="mount", position=[0.5, 0, 0]), to="children")
        before = await session.grab("ego", format="png")
        session.update @ CameraView(key="ego", width=128, height=96)
        await session.grab("ego", format="png")
        session.update @ CameraView(key="ego", width=64, height=48)
        return before, await session.grab("ego", format="png")

    ((before, after),) = in_pages(render)
    assert np.array_equal(before.array, after.array)


def test_several_cameras_show_one_state_of_the_scene(in_pages):
    """grab("left", "right") gives a frame of each, in order, from the same moment."""

    async def render(session):
        cameras = [
            CameraView(key=name, width=64, height=48, position=[x, 0, 4])
            for name, x in (("left", -1), ("right", 1))
        ]
        session.set @ lit_scene(*cameras)
        pairs = []
        for level in range(8):
            color = f"#{level * 32 + 16:02x}0000"
            session.update @ Plane(
                key="wall",
                args=[60, 60],
                position=[0, 0, -2],
                materialType="basic",
                material={"color": color},
            )
            pairs.append(await session.grab("left", "right", format="png"))
        return pairs

    (pairs,) = in_pages(render)
    for level, (left, right) in enumerate(pairs):
        assert left.array[0, 0, 0] == right.array[0, 0, 0] == level * 32 + 16
        assert not np.array_equal(left.array, right.array)


def test_frames_of_many_megabytes_arrive_whole(in_pages):
    """A 4K picture comes back, as PNG and as 33 MB of raw pixels."""

    async def render(session):
        session.set @ lit_scene(CameraView(key="ego", width=3840, height=2160, position=[0, 0, 4]))
        return await session.grab("ego", format="raw"), await session.grab("ego", format="png")

    ((raw, png),) = in_pages(render)
    assert (raw.width, raw.height) == (png.width, png.height) == (3840, 2160)
    assert np.array_equal(raw.array, png.array) and raw.array.std() > 20


def test_pictures_that_may_be_wrong_are_marked(in_pages):
    """One colour all over, or the same bytes as before, is kept but said."""

    async def render(session):
        session.set @ Scene(rawChildren=[CameraView(key="ego", width=64, height=48, position=[0, 0, 4])])
        blank = await session.grab("ego")
        session.set @ lit_scene(CameraView(key="ego", width=64, height=48, position=[0, 0, 4]))
        return blank, await session.grab("ego"), await session.grab("ego")

    ((blank, good, repeated),) = in_pages(render)
    assert "one colour" in blank.suspicion
    assert good.suspicion == ""
    assert "same bytes" in repeated.suspicion


def test_chance_and_time_are_those_of_the_jobs_seed(in_pages):
    """In the page of a job with a seed they are the same each time, and others with another seed."""

    def render(seed):
        async def shown(session):
            session.set_base(lit_scene(CameraView(key="ego", width=64, height=48)))
            session.begin_job(seed=seed)
            await session.grab("ego")

        return shown

    answers = []
    ask = "[Math.random(), performance.now(), Date.now(), new Date().getFullYear()]"
    in_pages(*map(render, [5, 5, 6, None]), ask=ask, answers=answers)
    first, again, other, without = answers
    assert first == again and other[0] != first[0]
    assert first[3] == 2000 and without[3] > 2000


def test_what_is_made_of_arrays_is_drawn_as_it_was_told_last(in_pages):
    """Other points, corners, faces and colours: out of sight before, more than before, and where time stands still."""
    square = np.float32([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    faces = np.uint32([[0, 1, 2], [0, 2, 3]])
    reds, blues = (np.uint8([color] * 4) for color in ([255, 0, 0], [0, 0, 255]))
    shapes = [(3, -9, None), (3, 0, None), (4, 0, None), (3, 0.5, blues), (4, -0.5, reds)]

    def elements(shape, name=""):
        count, x, colors = shape
        places, more = (
            square[:count] + np.float32([x, 0, 0]),
            {"colors": colors[:count]} if colors is not None else {},
        )
        sides = {"faces": faces[: count - 2], "materialType": "basic"}
        mesh = TriMesh(key=f"mesh{name}", vertices=places, **sides, **more)
        return [
            mesh,
            PointCloud(key=f"cloud{name}", vertices=places - np.float32([0, 1, 0]), size=0.2, **more),
        ]

    told, made = in_pages(*told_and_made(shapes, elements))
    assert [int((one != other).any(axis=-1).sum()) for one, other in zip(told, made)] == [0] * len(shapes)
    assert len({one.tobytes() for one in told}) == len(shapes)


def test_a_material_is_drawn_as_it_was_told_last(in_pages):
    """Without isolation: what has become transparent, of two sides, flat, or opaque again, is as if made so."""
    red = {"color": "#d04020"}
    glassy = red | {"opacity": 0.5, "transparent": True}
    looks = [
        red,
        glassy,
        glassy | {"transparent": False},
        red | {"side": 2},
        red | {"side": 2, "flatShading": True},
    ]

    def elements(look, name=""):
        plane = Plane(key=f"it{name}", args=[2, 2], rotation=[0, 2.5, 0], material=look)
        return [plane, Sphere(key=f"ball{name}", args=[0.5, 8, 6], position=[0, 1, 0], material=look)]

    told, made = in_pages(*told_and_made(looks, elements))
    assert [int((one != other).any(axis=-1).sum()) for one, other in zip(told, made)] == [0] * len(looks)
    assert len({one.tobytes() for one in told}) == len(looks) - 1


def test_what_is_drawn_first_is_what_the_scene_has_first(in_pages):
    """Also where a light was changed, which the client makes anew and puts last, and then something comes before it."""
    glassy = {"color": "#d04020", "opacity": 0.5, "transparent": True}

    def elements(state, name=""):
        intensity, is_hidden = state
        first = Plane(key=f"first{name}", material=glassy, hide=is_hidden)
        lamp = AmbientLight(key=f"lamp{name}", intensity=intensity)
        return [first, lamp, Plane(key=f"second{name}", material=glassy | {"color": "#2040d0"})]

    told, made = in_pages(*told_and_made([(1, True), (2, True), (2, False)], elements))
    assert [int((one != other).any(axis=-1).sum()) for one, other in zip(told, made)] == [0] * 3


def test_splats_that_are_moved_are_drawn_where_they_are(in_pages, tmp_path):
    """By the first and second update, which React renders, and by later ones."""
    files = check_isolation.Files(tmp_path)

    def elements(x, name=""):
        return [SparkSplats(key=f"it{name}", src=files("rod.splat"), position=[x, 0, 0], rotation=[0, 0, x])]

    told, made = in_pages(*told_and_made([0, 0.5, -0.5, 1, 0.2], elements), assets=files.folder)
    assert [int((one != other).any(axis=-1).sum()) for one, other in zip(told, made)] == [0] * 5


def told_and_made(states, elements):
    """Renders: elements that are told one state after the other, and new ones for each; the pictures of both."""
    camera = CameraView(key="ego", width=64, height=48, fov=50, position=[0, 0, 4])
    around = [HemisphereLight(key="light", intensity=2), Box(key="box", position=[0, 0, -2])]

    def scene(*shown):
        return Scene(*around, *shown, rawChildren=[camera])

    async def told(session):
        session.set @ scene(*elements(states[0]))
        session.begin_job(seed=1)
        found = [(await session.grab("ego", format="png")).array]
        for state in states[1:]:
            session.update @ elements(state)
            found.append((await session.grab("ego", format="png")).array)
        return found

    async def made(session):
        found = []
        for number, state in enumerate(states):
            session.set @ scene(*elements(state, name=number))
            found.append((await session.grab("ego", format="png")).array)
        return found

    return told, made
