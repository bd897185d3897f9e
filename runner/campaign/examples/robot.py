"""A robot from its URDF, in one pose a job: the angles of its joints are the job's params.

    runner run robot.py

Your own robot: put its folder into assets/ and name its URDF below. Meshes are found beside the URDF; for names that
begin with package://, give Urdf(…, packages=campaign.asset("FOLDER")) as well.
"""

import math

from vuer.schemas import AmbientLight, BackgroundColor, Box, CameraView, Cylinder, DefaultScene, Urdf

from runner import Campaign

campaign = Campaign("robot", assets="assets")


@campaign.jobs
def jobs(count=24):
    """A motion that ends where it begins. Angles are in radians; the two fingers move in metres."""
    for index in range(count):
        t = 2 * math.pi * index / count
        grip = 0.05 + 0.035 * math.sin(3 * t)
        yield (
            f"pose-{index:03d}",
            {
                "yaw": 1.3 * math.sin(t),
                "lift": 0.45 + 0.35 * math.sin(2 * t),
                "elbow": 1.4 + 0.4 * math.cos(t),
                "wrist": 0.9 - 0.5 * math.cos(t),
                "left_grip": grip,
                "right_grip": grip,
            },
        )


@campaign.scene
def scene():
    """A URDF has its z axis up, the scene its y axis: the robot is turned."""
    blocks = []
    for k, color in enumerate(["#2e86ab", "#76b041", "#f2c14e", "#8f5fbf", "#e4572e"]):
        place = [0.95 * math.cos(0.6 * k - 1.2), 0.08, 0.95 * math.sin(0.6 * k - 1.2)]
        blocks.append(Box(key=f"block-{k}", args=[0.16] * 3, position=place, material={"color": color}))
    eye = {"position": [2.2, 1.5, 2.2], "lookAt": [0.1, 0.4, 0.1]}
    return DefaultScene(
        Cylinder(
            key="table", args=[1.3, 1.3, 0.1, 96], position=[0, -0.05, 0], material={"color": "#b9c4cc"}
        ),
        # Without materialType="", Vuer paints white what is there when the URDF has come: which parts is chance.
        Urdf(
            key="arm", src=campaign.asset("robot/robot.urdf"), rotation=[-math.pi / 2, 0, 0], materialType=""
        ),
        *blocks,
        grid=False,
        bgChildren=[BackgroundColor(key="sky", color="#e9eef2"), AmbientLight(key="fill", intensity=0.6)],
        rawChildren=[CameraView(key="ego", width=640, height=480, fov=40, near=0.1, far=50, **eye)],
    )


@campaign.render
async def render(session, job):
    """Joints that a job does not name stand as scene() has them, whatever the jobs before it have moved."""
    session.update @ Urdf(key="arm", jointValues=job.params)
    job.save("rgb.jpg", await session.grab("ego"))
