"""The demo: 60 jobs, each a ball in a colour of its own, seen from a direction of its own."""

import colorsys
import math

from vuer.schemas import Box, CameraView, DefaultScene, Sphere

from runner import Campaign

campaign = Campaign("demo")


@campaign.jobs
def jobs():
    for i in range(60):
        yield {"hue": round(i / 60, 4), "azimuth_deg": 6.0 * i}


@campaign.scene
def scene():
    return DefaultScene(
        Box(key="floor", args=[12, 0.02, 12], position=[0, -0.01, 0], material={"color": "#c9c4b8"}),
        ball(0.0),
        *[
            Box(
                key=f"box-{k}",
                args=[0.3, 0.2 + 0.1 * k, 0.3],
                position=[1.3 * math.cos(math.pi * k / 2), 0.1 + 0.05 * k, 1.3 * math.sin(math.pi * k / 2)],
                material={"color": "#d8d8d8"},
            )
            for k in range(4)
        ],
        grid=False,
        rawChildren=[CameraView(key="ego", width=320, height=240, fov=45)],
    )


@campaign.render
async def render(session, job):
    session.update @ ball(job.params["hue"])
    session.update @ CameraView(key="ego", matrix=orbit_matrix(math.radians(job.params["azimuth_deg"])))
    frame = await session.grab("ego")
    job.save("rgb.jpg", frame)
    red, green, blue = frame.array[120, 160].tolist()
    job.log(red=red, green=green, blue=blue)


def ball(hue):
    """An unlit ball in the middle, so that its colour in the picture is the one asked for."""
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, 0.85, 0.95))
    return Sphere(
        key="ball",
        args=[0.6, 48, 48],
        position=[0, 1.0, 0],
        materialType="basic",
        material={"color": f"#{red:02x}{green:02x}{blue:02x}"},
    )


def orbit_matrix(azimuth, distance=4.0, height=1.0):
    """The pose of a camera on a circle that looks at its axis: 16 floats, column-major, as three.js keeps them."""
    c, s = math.cos(azimuth), math.sin(azimuth)
    return [c, 0, -s, 0, 0, 1, 0, 0, s, 0, c, 0, distance * s, height, distance * c, 1]
