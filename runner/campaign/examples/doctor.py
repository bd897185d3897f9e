"""What `runner doctor` renders: five views, then the same again, then in reverse; equal views must be equal bytes."""

import math

from vuer.schemas import Box, CameraView, DefaultScene, Sphere

from runner import Campaign

campaign = Campaign("doctor", max_failures=1, timeout_s=60)


@campaign.jobs
def jobs():
    views = range(5)
    for turn, order in enumerate((views, views, reversed(views))):
        for view in order:
            yield f"{turn}-{view}", {"turn": turn, "view": view}


@campaign.scene
def scene():
    return DefaultScene(
        Box(key="floor", args=[12, 0.02, 12], position=[0, -0.01, 0], material={"color": "#c9c4b8"}),
        Sphere(key="ball", args=[0.5, 64, 64], position=[0, 0.5, 0], material={"color": "#e4572e"}),
        grid=False,
        rawChildren=[CameraView(key="ego", width=320, height=240, fov=50, near=0.1, far=50)],
    )


@campaign.render
async def render(session, job):
    angle = 2 * math.pi * job.params["view"] / 5
    session.upsert @ Box(key="box", args=[0.4, 0.4, 0.4], position=[math.cos(angle), 0.2, math.sin(angle)])
    session.update @ CameraView(key="ego", position=[0, 1.2, 3], rotation=[-0.23, 0, 0])
    job.save("rgb.png", await session.grab("ego", format="png"))
