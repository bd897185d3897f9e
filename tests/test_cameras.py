"""Cameras in one tab, each job with what it asks of them: size, lens, kind, and a pose said in any of its ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import run

from runner.store import Store

# One run is looked at by all.
pytestmark = pytest.mark.xdist_group("cameras")

CAMPAIGN = """
import math

from vuer.schemas import *
from runner import Campaign

campaign = Campaign("cameras", max_failures=1)
TURN = [0.1, 0.2, 0.3]
X, Y, Z = (((math.cos(a / 2), math.sin(a / 2)) for a in TURN))
QUATERNION = [
    X[1] * Y[0] * Z[0] + X[0] * Y[1] * Z[1], X[0] * Y[1] * Z[0] - X[1] * Y[0] * Z[1],
    X[0] * Y[0] * Z[1] + X[1] * Y[1] * Z[0], X[0] * Y[0] * Z[0] - X[1] * Y[1] * Z[1]]
x, y, z, w = QUATERNION
MATRIX = [
    1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w), 0,
    2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w), 0,
    2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y), 0, 1.2, 0.3, 4, 1]
# The camera asks for these in turn, in one tab; None: it is not touched.
ASKED = {
    "base": None,
    "rotation": dict(position=[1.2, 0.3, 4], rotation=TURN),
    "quaternion": dict(position=[1.2, 0.3, 4], quaternion=QUATERNION),
    "rotation again": dict(position=[1.2, 0.3, 4], rotation=TURN),
    "matrix": dict(matrix=MATRIX),
    "rotation after matrix": dict(position=[1.2, 0.3, 4], rotation=TURN),
    "base again": None,
    "target": dict(position=[1.2, 0.3, 4], lookAt=[0.5, 0, 0]),
    "target again": dict(position=[-2, 1, 3], lookAt=[0.5, 0, 0]),
    "upside down": dict(position=[1.2, 0.3, 4], lookAt=[0.5, 0, 0], up=[0, -1, 0]),
    "quaternion of the base": dict(position=[0, 0, 5], quaternion=[0, 0, 0, 1]),
    "small": dict(width=80, height=60),
    "fov": dict(fov=20),
    "small fov": dict(width=80, height=60, fov=20),
    "stream": dict(stream="frame", position=[1.2, 0.3, 4], rotation=TURN),
    "orthographic": dict(ctype="orthographic", top=1.5, bottom=-1.5, left=-2, right=2),
    "base at last": None,
    "no matrix": dict(matrix=[1, 0, 0, 0]),
    "no number": dict(position=[0, float("nan"), 5]),
}

@campaign.jobs
def jobs():
    yield from ((key, {}) for key in ASKED)

@campaign.scene
def scene():
    camera = CameraView(key="ego", width=160, height=120, fov=50, position=[0, 0, 5])
    boxes = [Box(key=f"box-{i}", args=[0.6, 0.4, 0.5], position=[i - 1.5, 0.4 * i, -i]) for i in range(4)]
    group = Group(CameraView(key="held", width=160, height=120, fov=50, lookAt=[0.5, 0, 0]), key="group",
                  position=[1.2, 0.3, 4], rotation=[0.5, 0.5, 0])
    return Scene(HemisphereLight(key="light"), *boxes, group, rawChildren=[camera],
                 bgChildren=[Group(key="no-grid")])

@campaign.render
async def render(session, job):
    asked = ASKED[job.key]
    if asked is not None:
        session.update @ CameraView(key="ego", **asked)
    job.save("rgb.png", await session.grab("ego", format="png"))
    job.save("held.png", await session.grab("held", format="png"))
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, browser_path):
    folder = tmp_path_factory.mktemp("cameras")
    file = folder / "cameras.py"
    file.write_text(CAMPAIGN)
    end = run("run", file, "--sessions", "1", "--halt", "never")
    assert end.returncode == 1, end.stderr
    with Store(folder / "runner.db") as store:
        found = {job["key"]: dict(job) for job in store.reader.jobs(1)}
        assert [key for key in found if found[key]["status"] != "done"] == ["no matrix", "no number"]
        for row in store.reader.artifacts(1):
            with Image.open(folder / "results" / row["path"]) as image:
                name = Path(row["path"]).stem
                found[row["key"]][name] = np.asarray(image.convert("RGB")).astype(int)
    return found | {"stderr": end.stderr}


def differ(one: np.ndarray, other: np.ndarray) -> float:
    """The share of pixels that are another."""
    assert one.shape == other.shape
    return float((np.abs(one - other).max(axis=2) > 8).mean())


def test_what_a_job_has_asked_of_a_camera_is_over_with_it(jobs):
    """Whatever the others have asked, the base's picture is the same, to the pixel."""
    base = jobs["base"]["rgb"]
    assert base.std() > 20
    for key in ("base again", "base at last", "quaternion of the base"):
        assert np.array_equal(jobs[key]["rgb"], base), key


def test_a_pose_is_as_it_was_asked_whichever_way_it_is_said(jobs):
    """A rotation after a quaternion or a matrix, and these after it."""
    turned = jobs["rotation"]["rgb"]
    assert differ(turned, jobs["base"]["rgb"]) > 0.05
    for key in ("rotation again", "rotation after matrix", "stream"):
        assert np.array_equal(jobs[key]["rgb"], turned), key
    for key in ("quaternion", "matrix"):
        assert differ(jobs[key]["rgb"], turned) < 0.01, key


def test_a_camera_looks_at_what_it_is_told_to(jobs):
    """From wherever it is, also within a group that is turned, and with another side up."""
    target = jobs["target"]["rgb"]
    assert differ(target, jobs["target again"]["rgb"]) > 0.05
    assert differ(target, jobs["target"]["held"]) < 0.01
    assert differ(target, jobs["upside down"]["rgb"][::-1, ::-1]) < 0.01


def test_size_lens_and_kind_are_as_asked(jobs):
    """And each of them with the other."""
    assert jobs["small"]["rgb"].shape == jobs["small fov"]["rgb"].shape == (60, 80, 3)
    near = [jobs[key]["rgb"][::2, ::2] for key in ("base", "fov")]
    assert differ(*near) > 0.05
    assert differ(jobs["small"]["rgb"], near[0]) < 0.1 and differ(jobs["small fov"]["rgb"], near[1]) < 0.1
    assert differ(jobs["orthographic"]["rgb"], jobs["base"]["rgb"]) > 0.05


def test_a_pose_that_is_none_is_refused_by_its_field(jobs):
    """What Vuer's client would ignore, or draw nothing with."""
    assert "'ego': its matrix takes 16 numbers" in jobs["no matrix"]["error"]
    assert "'ego': its position is" in jobs["no number"]["error"]


def test_no_change_of_a_camera_costs_a_page(jobs):
    """Neither size nor lens nor pose leaves anything behind."""
    assert "loaded anew" not in jobs["stderr"]
