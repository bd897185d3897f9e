"""A camera goes once around a ball, one picture a job: the campaign to start from.

    runner run orbit.py

renders it; the same command goes on where it was stopped, and adds what you add below.
Pictures go to results/orbit/, the jobs are kept in runner.db, both beside this file.
"""

import math

from vuer.schemas import AmbientLight, BackgroundColor, Box, CameraView, Cylinder, DefaultScene, Sphere

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
    boxes = []
    for k, color in enumerate(["#2e86ab", "#76b041", "#f2c14e", "#8f5fbf", "#f4f1e8"]):
        height = 0.3 + 0.15 * k
        place = on_circle(72 * k, radius=1.1, height=height / 2)
        boxes.append(
            Box(key=f"box-{k}", args=[0.35, height, 0.35], position=place, material={"color": color})
        )
    return DefaultScene(
        Cylinder(
            key="table", args=[1.6, 1.6, 0.1, 64], position=[0, -0.05, 0], material={"color": "#c9b79c"}
        ),
        Sphere(key="ball", args=[0.5, 64, 64], position=[0, 0.5, 0], material={"color": "#e4572e"}),
        *boxes,
        grid=False,
        bgChildren=[BackgroundColor(key="sky", color="#dfe7ee"), AmbientLight(key="fill", intensity=0.8)],
        rawChildren=[CameraView(key="ego", width=320, height=240, fov=45, near=0.1, far=50)],
    )


@campaign.render
async def render(session, job):
    """Called for each job. session takes Vuer's own notation: session.update @ …, .add @ …, .remove @ …"""
    place = on_circle(job.params["azimuth_deg"], radius=3.8, height=1.8)
    session.update @ CameraView(key="ego", position=place, lookAt=[0, 0.35, 0])
    frame = await session.grab("ego")  # a picture of everything sent before it
    job.save("rgb.jpg", frame)
    job.log(mean=float(frame.array.mean()))


def on_circle(azimuth_deg, radius, height):
    """A place around the vertical axis, which is y. Lengths are in metres."""
    azimuth = math.radians(azimuth_deg)
    return [radius * math.sin(azimuth), height, radius * math.cos(azimuth)]
