"""Gaussian splats, seen from all sides.

    runner run splats.py

Your own: put a .splat, .ply, .spz or .ksplat file into assets/ and name it below. If it lies on its side, turn it:
SparkSplats(…, rotation=[-math.pi / 2, 0, 0]).
"""

import math

from vuer.schemas import BackgroundColor, CameraView, Scene, SparkSplats

from runner import Campaign

campaign = Campaign("splats", assets="assets")


@campaign.jobs
def jobs(count=24):
    for index in range(count):
        yield f"view-{index:03d}", {"azimuth_deg": 360 * index / count}


@campaign.scene
def scene():
    """Splats have their colours from the file; no light changes them."""
    return Scene(
        SparkSplats(key="tree", src=campaign.asset("tree.splat")),
        rawChildren=[CameraView(key="ego", width=320, height=240, fov=40, near=0.1, far=50)],
        bgChildren=[BackgroundColor(key="sky", color="#dcebf5")],
    )


@campaign.render
async def render(session, job):
    azimuth = math.radians(job.params["azimuth_deg"])
    place = [4 * math.sin(azimuth), 1.7 + 0.7 * math.sin(azimuth), 4 * math.cos(azimuth)]
    session.update @ CameraView(key="ego", position=place, lookAt=[0, 0.95, 0])
    job.save("rgb.jpg", await session.grab("ego"))
