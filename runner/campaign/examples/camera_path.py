"""A recorded camera path, one job a pose: what the camera saw along it.

    runner run camera_path.py
    runner export mp4 flight.mp4

The recording is an ML-Logger metrics file: each record carries `matrix`, the camera's pose as 16 floats, column-major,
as three.js and Vuer keep it. One is beside this file; name your own with

    runner run camera_path.py --set recording=PATH/metrics.pkl
"""

import math
from pathlib import Path

from vuer.schemas import AmbientLight, BackgroundColor, Box, CameraView, DefaultScene, Sphere

from runner import Campaign, read_records
from runner.errors import CampaignError

campaign = Campaign("camera_path")


@campaign.jobs
def jobs(recording=Path(__file__).with_name("camera_path.pkl")):
    records = read_records(recording)
    if not records or not all("matrix" in record for record in records):
        raise CampaignError(f"{recording} has no records, or some without a 'matrix'; record the path first")
    for step, record in enumerate(records):
        yield f"pose-{step:05d}", {"step": step, "matrix": [float(number) for number in record["matrix"]]}


@campaign.scene
def scene():
    """A row of towers behind a ball."""
    towers = []
    for k in range(11):
        height = 0.9 + 0.5 * math.sin(1.3 * k)
        color = f"hsl({20 + 22 * k}, 65%, 60%)"
        place = [0.8 * k - 4, height / 2, -1.5 - 0.3 * (k % 2)]
        towers.append(
            Box(key=f"tower-{k}", args=[0.5, height, 0.5], position=place, material={"color": color})
        )
    return DefaultScene(
        Box(key="floor", args=[40, 0.02, 40], position=[0, -0.01, 0], material={"color": "#d8d2c4"}),
        Sphere(key="ball", args=[0.5, 48, 48], position=[0, 0.5, 0], material={"color": "#f4f1e8"}),
        *towers,
        grid=False,
        bgChildren=[BackgroundColor(key="sky", color="#cfe3f1"), AmbientLight(key="fill", intensity=0.8)],
        rawChildren=[CameraView(key="ego", width=320, height=240, fov=50, near=0.1, far=50)],
    )


@campaign.render
async def render(session, job):
    session.update @ CameraView(key="ego", matrix=job.params["matrix"])
    job.save("rgb.jpg", await session.grab("ego"))
