"""Updates that are set on three.js objects, and not rendered by React, make the same pictures."""

from __future__ import annotations

import asyncio

import pytest
from checks import check_shortcut
from processes import run
from test_robots import ROBOT

from runner.store import Store

pytestmark = pytest.mark.usefixtures("browser_path")


CAMPAIGN = """
import numpy as np
from vuer.schemas import (
    AmbientLight, BackgroundColor, BoundingBox, Box, CameraView, CoordsMarker, Group, Line, PointCloud, Scene, Sphere,
    Text, Urdf,
)
from runner import Campaign

campaign = Campaign("moving", timeout_s=60, assets="assets", deterministic=True)
PLACES = np.random.default_rng(0).uniform(-0.3, 0.3, (40, 3)).astype(np.float32)
LAST = 8

@campaign.jobs
def jobs():
    for number in range(LAST + 2):
        yield f"v{number}", {"number": number}

def cloud(key, number):
    places = PLACES[: 20 + 2 * number] + np.float32([0.1 * number - 1, -0.8, 0])
    return PointCloud(key=key, vertices=places, size=0.05, color="red")

@campaign.scene
def scene():
    arm = Group(Box(key="hand", args=[0.5, 0.5, 0.5]), key="arm")
    robot = Urdf(key="robot", src=campaign.asset("arm.urdf"), position=[-1, 0, 0], rotation=[-1.57, 0, 0])
    marker = CoordsMarker(key="frame", position=[0, 1, 0], scale=2)
    camera = CameraView(key="ego", width=96, height=72, fov=50, position=[0, 0, 4])
    deep = CameraView(key="deep", width=64, height=48, position=[0, 0, 4], renderDepth=True)
    line = Line(key="line", points=[[-1, -1, 0], [0, 0, 0], [1, -1, 0]], lineWidth=3, color="red")
    words = Text("zero", key="words", fontSize=0.3, color="black")
    box = BoundingBox(key="box", color="blue", scale=[0.5, 0.5, 0.5], position=[1, 1, 0])
    return Scene(
        Sphere(key="ball", material={"color": "#ffffff"}), arm, robot, marker, cloud("points", 1), line, words, box,
        bgChildren=[BackgroundColor(key="sky", color="#203040"), AmbientLight(key="sun", intensity=2)],
        rawChildren=[camera, deep],
    )

@campaign.render
async def render(session, job):
    number = job.params["number"]
    if number < LAST:
        session.update @ Group(key="arm", position=[1, 0.1 * number, 0], rotation=[0, 0, number])
        session.update @ Sphere(key="ball", material={"color": f"#{30 * number:02x}8040"})
        session.update @ CameraView(key="ego", position=[0, 0.1 * number, 4])
        session.update @ CoordsMarker(key="frame", position=[0.1 * number, 1, 0])
        session.update @ Text(key="words", position=[0.1 * number, -0.5, 1])
        session.update @ Line(key="line", position=[0, 0.1 * number, 0])
        if number % 3 == 0:
            session.update @ Text(str(number), key="words")
            session.update @ BoundingBox(key="box", color=f"#20{30 * number:02x}40")
        session.update @ BackgroundColor(key="sky", color=f"#20{30 * number:02x}40")
        poses = [{"shoulder": 0.2 * number}, {"elbow": 1}, {"thumb": 0.1 * (number % 3), "elbow": 0.5}, {}]
        session.update @ Urdf(key="robot", jointValues=poses[number % 4])
    if number <= LAST:
        session.update @ cloud("points", number)
    else:
        session.remove @ "points"
        session.add @ cloud("others", LAST)
    job.save("rgb.png", await session.grab("ego", format="png"))
    if number % 4 == 0:
        job.save("bare.png", (await session.grab("ego", format="raw")).array)
        job.save("depth.npy", (await session.grab("deep")).depth)
"""


def test_a_plain_page_gives_the_same_pictures(tmp_path):
    """runner run --plain-page, and without it: the same bytes, depth too; a cloud shows what it was told last."""
    digests = []
    for name, options in {"usual": [], "plain": ["--plain-page"]}.items():
        folder = tmp_path / name
        (folder / "assets").mkdir(parents=True)
        (folder / "assets/arm.urdf").write_text(ROBOT)
        (folder / "moving.py").write_text(CAMPAIGN)
        end = run("run", folder / "moving.py", "-n", "1", *options)
        assert end.returncode == 0, end.stderr
        with Store(folder / "runner.db") as store:
            digests.append({(row["key"], row["name"]): row["sha256"] for row in store.reader.artifacts(1)})
    usual, plain = digests
    pictures = {key: digest for (key, name), digest in usual.items() if name == "rgb.png"}
    assert usual == plain and len(set(pictures.values())) == 9 and len(usual) == 16
    # One was told other points, in a millisecond that does not end; the other is new.
    assert pictures["v8"] == pictures["v9"]


@pytest.mark.long
def test_random_updates_give_the_same_pictures():
    """A robot, a cloud and others beside a text and a line, in a plain page and without; they took the short way."""
    done, _, wrong, untold = asyncio.run(
        check_shortcut.check(36, 5, "swiftshader", print, ["Text", "Line", "Urdf", "PointCloud"])
    )
    assert (done, wrong) == (36, [])
    for tag, name in (
        ("Urdf", "jointValues"),
        ("PointCloud", "vertices"),
        ("Text", "position"),
        ("Line", "position"),
    ):
        assert untold[tag, name], tag
