"""A point cloud, seen from all sides: a galaxy of 30,000 points, with a colour each.

runner run points.py --set count=120
runner export mp4 galaxy.mp4
"""

import math

import numpy as np
from vuer.schemas import BackgroundColor, CameraView, PointCloud, Scene

from runner import Campaign

campaign = Campaign("points")


@campaign.jobs
def jobs(count=24):
    for index in range(count):
        azimuth_deg = 360 * index / count
        height = 1.8 + 1.2 * math.sin(math.radians(azimuth_deg))
        yield f"view-{index:03d}", {"azimuth_deg": azimuth_deg, "height": height}


@campaign.scene
def scene(points=30_000):
    """The cloud is in the scene, so it goes to each browser once, and not with each job.

    Your own: places is any array of N x 3, colors one of N x 3 bytes. The elements Ply and Pcd load files.
    """
    places, colors = galaxy(points)
    return Scene(
        PointCloud(key="galaxy", vertices=places, colors=colors, size=0.025),
        rawChildren=[CameraView(key="ego", width=640, height=480, fov=45, near=0.1, far=50)],
        bgChildren=[BackgroundColor(key="sky", color="#05060f")],
    )


@campaign.render
async def render(session, job):
    azimuth = math.radians(job.params["azimuth_deg"])
    place = [4 * math.sin(azimuth), job.params["height"], 4 * math.cos(azimuth)]
    session.update @ CameraView(key="ego", position=place, lookAt=[0, 0, 0])
    job.save("rgb.jpg", await session.grab("ego"))


def galaxy(count, arms=3):
    """Places, (N, 3), and colours, (N, 3) bytes, of points along spiral arms: yellow inside, blue outside."""
    rng = np.random.default_rng(0)  # with a seed: each browser must show the same scene
    radius = 2 * rng.random(count) ** 0.7
    arm = 2 * np.pi * rng.integers(arms, size=count) / arms
    angle = arm + 1.9 * radius + rng.normal(0, 0.28, count) / (0.4 + radius)
    height = rng.normal(0, 0.22, count) * np.exp(-1.2 * radius) + rng.normal(0, 0.02, count)
    places = np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], axis=1)
    share = np.clip(radius / 1.8, 0, 1)[:, None]
    colors = np.array([255, 205, 120]) * (1 - share) + np.array([90, 130, 255]) * share
    return places, (colors * rng.uniform(0.35, 1.0, (count, 1))).astype(np.uint8)
