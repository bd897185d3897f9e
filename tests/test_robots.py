"""A robot's pose in a picture, and the colour of the sky, are those of its job alone."""

from __future__ import annotations

import pytest
from processes import run

from runner.store import Store

pytestmark = pytest.mark.usefixtures("browser_path")


def link(name: str, color: str) -> str:
    box = '<origin xyz="0 0 0.25"/><geometry><box size="0.1 0.1 0.5"/></geometry>'
    look = f'<material name="{name}"><color rgba="{color} 1"/></material>'
    return f'<link name="{name}"><visual>{box}{look}</visual></link>'


def joint(name: str, kind: str, parent: str, child: str, rest: str, limits: str = "-2 2") -> str:
    lower, upper = limits.split()
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>{rest}'
        f'<axis xyz="1 0 0"/><limit lower="{lower}" upper="{upper}" effort="1" velocity="1"/></joint>'
    )


# The elbow's limits exclude 0, as those of a Panda's fourth joint do, and the finger follows the thumb.
ROBOT = f"""<robot name="arm">
{link("base", "1 0 0")}{link("upper", "0 1 0")}{link("lower", "0 0 1")}{link("thumb", "1 1 0")}{link("finger", "0 1 1")}
{joint("shoulder", "revolute", "base", "upper", '<origin xyz="0 0 0.5"/>')}
{joint("elbow", "revolute", "upper", "lower", '<origin xyz="0 0 0.5"/>', "0.3 2")}
{joint("thumb", "prismatic", "lower", "thumb", '<origin xyz="0 0.2 0.4"/>')}
{joint("finger", "prismatic", "lower", "finger", '<origin xyz="0 -0.2 0.4"/><mimic joint="thumb" multiplier="-1"/>')}
</robot>"""
CAMPAIGN = """
from vuer.schemas import AmbientLight, BackgroundColor, CameraView, Html, Scene, Urdf
from runner import Campaign

campaign = Campaign("robot", timeout_s=60, assets="assets")
POSES = [
    [{{"shoulder": 1.0}}], [{{"elbow": 1.2}}], [{{"thumb": 0.3}}], [],
    [{{"elbow": 2.0, "shoulder": -1}}, {{"shoulder": 0.5}}], [{{"finger": 0.4}}, {{"thumb": 0.1}}], [{{"elbow": 0.3}}],
    [{{"thumb": 0.2}}, {{"finger": 0.4}}], [{{"shoulder": 0.0}}],
]

@campaign.jobs
def jobs():
    for number, poses in enumerate(POSES):
        yield f"v{{number}}", {{"poses": poses, "place": [0, 0.1 * number, 0] if number % 2 else None}}

@campaign.scene
def scene():
    camera = CameraView(key="ego", width=160, height=120, fov=50, position=[5, 0.7, 0], lookAt=[0, 0.7, 0])
    arm = Urdf(key="arm", src=campaign.asset("arm.urdf"), position=[0, 0, -0.6], rotation=[-1.57, 0, 0])
    other = Urdf(
        key="other", src=campaign.asset("arm.urdf"), position=[0, 0, 0.6], rotation=[-1.57, 0, 0],
        jointValues={{"thumb": -0.2, "elbow": 1.0}},
    )
    sky = BackgroundColor(key="sky", color="#405060")
    return Scene(arm, other, AmbientLight(key="sun", intensity=2), bgChildren=[sky], rawChildren=[camera])

@campaign.render
async def render(session, job):
    {body}
    for pose in job.params["poses"]:
        session.update @ [Urdf(key=key, jointValues=pose) for key in ("arm", "other")]
    if int(job.key[1:]) % 3 == 1:
        session.update @ BackgroundColor(key="sky", color=f"#{{20 * int(job.key[1:]):02x}}4040")
    if job.params["place"]:
        session.update @ Urdf(key="arm", position=job.params["place"])
    job.save("rgb.png", await session.grab("ego", format="png"))
"""


def rendered(folder, body="pass"):
    """The digest of each job's picture, and what the run said."""
    (folder / "assets").mkdir(parents=True)
    (folder / "assets/arm.urdf").write_text(ROBOT)
    (folder / "robot.py").write_text(CAMPAIGN.format(body=body))
    end = run("run", folder / "robot.py", "-n", "1")
    assert end.returncode == 0, end.stderr
    with Store(folder / "runner.db") as store:
        return {row["key"]: row["sha256"] for row in store.reader.artifacts(1)}, end.stderr


@pytest.mark.long
def test_a_robot_is_put_back_without_another_page(tmp_path):
    """Joints of a job before, its own earlier ones, a joint that follows another: as in a page that knows one job."""
    usual, said = rendered(tmp_path / "usual")
    # What an Html may leave behind gives the next job a fresh page.
    alone, reloaded = rendered(tmp_path / "alone", 'session.add @ Html(key="note")')
    assert usual == alone and len(set(usual.values())) >= 8
    assert "loaded anew" in reloaded and "loaded anew" not in said
