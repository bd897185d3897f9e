"""Elements that are made late, by workers or once a frame: in the picture from the first, or refused by name."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import run

from runner import sessions
from runner.store import Store

FONT = Path(sessions.__file__).parent / "page" / "fonts" / "noto-sans-latin-400-normal.woff"
HEAD = """
from vuer.schemas import *
from runner import Campaign

campaign = Campaign("elements", assets="assets", max_failures=1)
A = campaign.asset
SHOW = {}

@campaign.jobs
def jobs():
    yield from ((key, {}) for key in SHOW)

@campaign.scene
def scene():
    camera = CameraView(key="ego", width=160, height=120, fov=50, position=[0, 0, 4])
    return Scene(HemisphereLight(key="light"), rawChildren=[camera])

@campaign.render
async def render(session, job):
    session.upsert @ SHOW[job.key]()
    frame = await session.grab(format="png")
    job.save("rgb.png", frame)
    session.remove @ "it"
"""
SHOWN = """
for round in "ab":
    for i in range(3):
        SHOW[f"text-{i}-{round}"] = lambda i=i: Text(f"no {i}", key="it", font=A("font.woff"), fontSize=1)
        SHOW[f"bar-{i}-{round}"] = lambda i=i: InPlaceDepthPointCloud(
            depth=A(f"bar{i}.png"), rgb=A("white.png"), key="it", position=[0, 0, 4], pointSize=3)
SHOW["fontless"] = lambda: Text("HELLO", key="it", fontSize=1)
SHOW["greek"] = lambda: Text("\\u03b8 \\u010d \\u0436", key="it", fontSize=1)
SHOW["box"] = lambda: BoundingBox(key="it", color="red")
SHOW["boxes"] = lambda: BoundingBoxProvider(key="it", children=[
    BoundingBox(key="b0", color="red", position=[-1, 0, 0]), BoundingBox(key="b1", color="blue", position=[1, 0, 0])])
SHOW["nothing"] = lambda: Group(key="it")
SHOW["turned"] = lambda: Billboard(
    Text("face", key="t", font=A("font.woff"), fontSize=1), key="it", rotation=[0, 1.5, 0])
SHOW["cloud"] = lambda: DepthPointCloud(depth=A("bar0.png"), rgb=A("white.png"), key="it", position=[0, 0, 4])
SHOW["splats"] = lambda: SparkSplats(key="it", src=A("ball.splat"))
SHOW["after splats"] = lambda: Group(key="it")
"""
MISSING = """
SHOW["font"] = lambda: Text("HELLO", key="it", font="/nope.ttf")
SHOW["splat"] = lambda: Splat(key="it", src="/nope.splat")
SHOW["spark"] = lambda: SparkSplats(key="it", src="/nope.spz")
SHOW["video"] = lambda: VideoPlane(key="it", src="/nope.mp4")
SHOW["depth"] = lambda: InPlaceDepthPointCloud(key="it", depth="/nope.png")
SHOW["library"] = lambda: ContribLoader(key="it", url="/nope.js", library="nope")
SHOW["thrown"] = lambda: CameraHelper(key="it")
SHOW["color"] = lambda: Sphere(key="it", material={"color": "bleu"})
SHOW["shader"] = lambda: tagged(
    "mesh", "it", tagged("sphereGeometry", "g"), tagged("shaderMaterial", "m", fragmentShader="oops"))
SHOW["hollow"] = lambda: Obj(key="it", text="# nothing")
SHOW["joint"] = lambda: Urdf(key="it", src=A("arm.urdf"), jointValues={"elbw": 1})
SHOW["limit"] = lambda: Urdf(key="it", src=A("arm.urdf"), jointValues={"wrist": 3})
SHOW["skies"] = lambda: [BackgroundColor(key=key, color="red") for key in ("it", "other")]
SHOW["good"] = lambda: Sphere(key="it")

def tagged(tag, key, *children, **props):
    made = SceneElement(*children, key=key, **props)
    made.tag = tag
    return made
"""

ARM = """<robot name="r"><link name="a"><visual><geometry><box size="1 1 1"/></geometry></visual></link><link name="b"/>
<joint name="elbow" type="continuous"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/></joint>
<link name="c"/><joint name="wrist" type="revolute"><parent link="b"/><child link="c"/><axis xyz="0 0 1"/>
<limit lower="0.3" upper="2" effort="1" velocity="1"/></joint></robot>"""

# Two runs are looked at by all.
pytestmark = [pytest.mark.usefixtures("browser_path"), pytest.mark.xdist_group("elements")]


def rendered(folder: Path, shown: str) -> dict[str, dict]:
    """The jobs of a campaign that shows each of these, by key; `picture` is an array."""
    assets = folder / "assets"
    assets.mkdir()
    (assets / "font.woff").write_bytes(FONT.read_bytes())
    (assets / "arm.urdf").write_text(ARM)
    for i in range(3):
        depth = np.full((60, 80), 40, np.uint8)
        depth[:, 15 + 20 * i : 25 + 20 * i] = 200
        Image.fromarray(depth).save(assets / f"bar{i}.png")
    Image.fromarray(np.full((60, 80, 3), 255, np.uint8)).save(assets / "white.png")
    directions = np.random.default_rng(0).normal(size=(1000, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    splats = (
        struct.pack("3f3f4B4B", *place, 0.03, 0.03, 0.03, 255, 0, 0, 255, 255, 128, 128, 128)
        for place in directions
    )
    (assets / "ball.splat").write_bytes(b"".join(splats))
    head, body = HEAD.split("@campaign.jobs")
    file = folder / "elements.py"
    file.write_text(head + shown + "\n@campaign.jobs" + body)
    end = run("run", file, "--sessions", "1", "--halt", "never")
    assert end.returncode in (0, 1), end.stderr
    with Store(folder / "runner.db") as store:
        jobs = {job["key"]: dict(job) for job in store.reader.jobs(store.reader.campaigns()[0]["id"])}
    for picture in (folder / "results").rglob("rgb.png"):
        with Image.open(picture) as image:
            jobs[picture.parent.name]["picture"] = np.asarray(image.convert("RGB")).astype(int)
    return jobs


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    jobs = rendered(tmp_path_factory.mktemp("shown"), SHOWN)
    assert {job["status"] for job in jobs.values()} == {"done"}, jobs
    return {key: job["picture"] for key, job in jobs.items()}


@pytest.fixture(scope="module")
def missing(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("missing"), MISSING)


@pytest.mark.parametrize("kind", ["text", "bar"])
def test_what_a_worker_or_an_effect_makes_is_its_own_jobs(shown, kind):
    """Changed under one key, each picture is the one of its job: the same both times, and no other's."""
    for i in range(3):
        first, second = (shown[f"{kind}-{i}-{round}"] for round in "ab")
        assert first.std() > 5 and np.array_equal(first, second)
        assert not np.array_equal(first, shown[f"{kind}-{(i + 1) % 3}-a"])


@pytest.mark.parametrize("key", ["fontless", "greek", "turned", "cloud"])
def test_it_is_in_the_first_picture(shown, key):
    """Text without a font needs no network; what turns or is filled once a frame is there."""
    assert not np.array_equal(shown[key], shown["nothing"])
    assert (np.abs(shown[key] - shown["nothing"]).max(axis=2) > 60).sum() > 100


def test_bounding_boxes_are_drawn(shown):
    """One alone, and two in a provider, each in its colour; none when they are gone."""
    red, blue = ((lambda p, c=c: (p[..., c] - p[..., 1] > 100).sum()) for c in (0, 2))
    assert red(shown["box"]) > 100 and blue(shown["box"]) == 0
    assert red(shown["boxes"]) > 50 and blue(shown["boxes"]) > 50
    assert red(shown["nothing"]) == blue(shown["nothing"]) == 0


def test_splats_are_drawn_and_leave_nothing_behind(shown):
    """They are in the first picture, and not in the next job's."""
    assert (shown["splats"][..., 0] > 100).sum() > 500
    assert np.array_equal(shown["after splats"], shown["nothing"])


@pytest.mark.parametrize(
    ("key", "url"),
    [("font", "nope.ttf (404)"), ("spark", "nope.spz"), ("video", "nope.mp4"), ("depth", "nope.png"),
     ("library", "nope.js")],
)  # fmt: skip
def test_what_cannot_be_loaded_tells_its_url_at_once(missing, key, url):
    """Also what a worker loads, or a film; the job fails in seconds."""
    job = missing[key]
    assert job["status"] == "failed" and url in job["error"], job
    assert job["end_ts"] - job["grab_ts"] < 15


@pytest.mark.parametrize(("key", "reason"), [("color", "Unknown color bleu"), ("shader", "Shader Error")])
def test_what_three_js_draws_otherwise_than_it_was_told_is_refused(missing, key, reason):
    """It only remarks on a colour that it does not know, or a shader that does not compile, and draws on."""
    assert missing[key]["status"] == "failed" and reason in missing[key]["error"], missing[key]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("hollow", "it: its file holds nothing"),
        ("joint", "it has no joint elbw; it has: elbow, wrist"),
        (
            "limit",
            "its joint wrist is to stand at 3, and its limits in the file are 0.3 and 2, where it would stop",
        ),
        ("skies", "2 BackgroundColors ('it', 'other'), and which of them shows is chance"),
    ],
)
def test_what_would_come_out_otherwise_without_a_word_is_told(missing, key, reason):
    """A file without anything to draw, a joint that is not there or would stop, two colours of one sky."""
    assert missing[key]["status"] == "failed" and reason in missing[key]["error"], missing[key]


def test_a_kind_that_would_come_out_wrong_is_refused(missing):
    """The reason names another element that shows the same."""
    assert missing["splat"]["status"] == "failed" and "SparkSplats" in missing["splat"]["error"]


def test_an_error_that_takes_the_whole_scene_away_is_its_jobs(missing):
    """It fails with what was thrown, at its first attempt, and not because its tab was lost."""
    job = missing["thrown"]
    assert job["status"] == "failed" and job["attempt"] == 1, job
    # Told when the client takes its page down, or when what was sent is not in the scene: whichever is seen first.
    assert "scene" in job["error"] and "updateProjectionMatrix" in job["error"], job


def test_the_next_job_is_none_the_worse(missing):
    """A page on which something could not be loaded, or in which the scene was lost, is loaded anew."""
    assert missing["good"]["status"] == "done"
