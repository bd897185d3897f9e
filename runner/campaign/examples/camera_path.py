"""Render what a camera saw along a recorded path, one job a pose.

The recording is an ML-Logger metrics file: each record carries `matrix`, the camera's pose as 16
floats, column-major, as three.js and Vuer keep it. One is beside this file; name your own with

    runner run camera_path.py --set recording=PATH/metrics.pkl
"""

from pathlib import Path

from vuer.schemas import Box, CameraView, DefaultScene, Sphere

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
    colors = ["#e4572e", "#2e86ab", "#76b041", "#f2c14e", "#8f5fbf"]
    return DefaultScene(
        Box(key="floor", args=[12, 0.02, 12], position=[0, -0.01, 0], material={"color": "#c9c4b8"}),
        Sphere(key="ball", args=[0.5, 48, 48], position=[0, 0.5, 0], material={"color": "#dddddd"}),
        *[
            Box(
                key=f"box-{k}",
                args=[0.4, 0.8, 0.4],
                position=[2.0 * k - 4.0, 0.4, -1.5],
                material={"color": color},
            )
            for k, color in enumerate(colors)
        ],
        grid=False,
        rawChildren=[CameraView(key="ego", width=320, height=240, fov=50, near=0.1, far=50)],
    )


@campaign.render
async def render(session, job):
    session.update @ CameraView(key="ego", matrix=job.params["matrix"])
    frame = await session.grab("ego")
    job.save("rgb.jpg", frame)
    job.log(mean=float(frame.array.mean()))
