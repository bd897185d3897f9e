"""A campaign to start from: a camera goes once around a ball, one picture a job.

    runner run orbit.py

renders it; the same command goes on where it was stopped, and adds what you add below.
Pictures go to results/orbit/, the jobs are kept in runner.db, both beside this file.
"""

import math

from vuer.schemas import Box, CameraView, DefaultScene, Sphere

from runner import Campaign

# max_failures: a job whose render raises is tried this often. timeout_s: limit of one try.
campaign = Campaign("orbit", max_failures=3, timeout_s=60)


@campaign.jobs
def jobs(count=36):
    """One dict of parameters a job: numbers, strings, lists. Equal parameters are one job.

    `runner run orbit.py --set count=72` fills in the argument, as the whole number that its default is.
    """
    for i in range(count):
        yield {"azimuth_deg": 360.0 * i / count}


@campaign.scene
def scene():
    """Each job begins with this. The camera gives exactly width x height pixels."""
    return DefaultScene(
        Box(key="floor", args=[12, 0.02, 12], position=[0, -0.01, 0], material={"color": "#c9c4b8"}),
        Sphere(key="ball", args=[0.5, 64, 64], position=[0, 0.5, 0], material={"color": "#e4572e"}),
        Box(key="box", args=[0.4, 0.4, 0.4], position=[0.9, 0.2, 0], material={"color": "#2e86ab"}),
        grid=False,
        rawChildren=[CameraView(key="ego", width=320, height=240, fov=50, near=0.1, far=50)],
    )


@campaign.render
async def render(session, job):
    """Called for each job. session takes Vuer's own notation: session.update @ …, .add @ …, .remove @ …"""
    azimuth = math.radians(job.params["azimuth_deg"])
    x, z = 3.0 * math.sin(azimuth), 3.0 * math.cos(azimuth)
    session.update @ CameraView(key="ego", position=[x, 1.2, z], rotation=look_at_center(azimuth))
    frame = await session.grab("ego")  # a picture of everything sent before it
    job.save("rgb.jpg", frame)
    job.log(mean=float(frame.array.mean()))


def look_at_center(azimuth):
    """Euler angles, XYZ in radians, for a camera at that azimuth: turn by it, then look down a little."""
    pitch = -0.23
    # Vuer applies X first; a turn about the vertical axis before a pitch needs the combined angles.
    rx = math.atan2(math.sin(pitch), math.cos(azimuth) * math.cos(pitch))
    ry = math.asin(math.sin(azimuth) * math.cos(pitch))
    rz = math.atan2(-math.sin(azimuth) * math.sin(pitch), math.cos(azimuth))
    return [rx, ry, rz]
