"""Updates that are set on three.js objects, and not rendered by React, make the same pictures."""

from __future__ import annotations

import pytest
from processes import run

from runner.store import Store

pytestmark = pytest.mark.usefixtures("browser_path")


CAMPAIGN = """
from vuer.schemas import Box, CameraView, Group, Scene, Sphere
from runner import Campaign

campaign = Campaign("moving", timeout_s=60)

@campaign.jobs
def jobs():
    for number in range(8):
        yield f"v{number}", {"number": number}

@campaign.scene
def scene():
    arm = Group(Box(key="hand", args=[0.5, 0.5, 0.5]), key="arm")
    camera = CameraView(key="ego", width=96, height=72, fov=50, position=[0, 0, 4])
    return Scene(Sphere(key="ball", material={"color": "#ffffff"}), arm, rawChildren=[camera])

@campaign.render
async def render(session, job):
    number = job.params["number"]
    session.update @ Group(key="arm", position=[1, 0.1 * number, 0], rotation=[0, 0, number])
    session.update @ Sphere(key="ball", material={"color": f"#{30 * number:02x}8040"})
    session.update @ CameraView(key="ego", position=[0, 0.1 * number, 4])
    job.save("rgb.png", await session.grab("ego", format="png"))
"""


def test_a_plain_page_gives_the_same_pictures(tmp_path):
    """runner run --plain-page, and without it: the same bytes of each job."""
    digests = []
    for name, options in {"usual": [], "plain": ["--plain-page"]}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "moving.py").write_text(CAMPAIGN)
        end = run("run", folder / "moving.py", "-n", "1", *options)
        assert end.returncode == 0, end.stderr
        with Store(folder / "runner.db") as store:
            digests.append({row["key"]: row["sha256"] for row in store.reader.artifacts(1)})
    assert digests[0] == digests[1] and len(set(digests[0].values())) == 8
