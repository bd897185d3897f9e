"""Several cameras with depth: three views of one state of the scene, and how far each of their pixels is.

    runner run views.py

A job's folder has front.jpg, left.jpg and top.jpg, which are of one moment, and the depth of each twice.
NAME_depth.npy is float32 metres from the camera's plane, inf where nothing is. NAME_depth.png is millimetres in 16
bits, 0 where nothing is.
"""

import math

import vuer.schemas as v

from runner import Campaign

campaign = Campaign("views")

# Where the cameras stand; all look at the middle.
CAMERAS = {"front": [0, 1.7, 3.4], "left": [-3.2, 0.8, 1.2], "top": [0, 4.2, 0.01]}
# What they look at: its size, the height of its middle, its colour.
SHAPES = [
    (v.Box, [0.5, 0.5, 0.5], 0.25, "#e4572e"),
    (v.Sphere, [0.35, 48, 32], 0.35, "#2e86ab"),
    (v.Cone, [0.35, 0.9, 48], 0.45, "#76b041"),
    (v.Cylinder, [0.3, 0.3, 0.6, 48], 0.3, "#f2c14e"),
    (v.TorusKnot, [0.25, 0.09, 128, 16], 0.4, "#8f5fbf"),
]


@campaign.jobs
def jobs(count=24):
    for index in range(count):
        yield f"turn-{index:03d}", {"turn_deg": 360 * index / count}


@campaign.scene
def scene():
    """A carousel. A camera's near and far, in metres, say which depths it tells: the nearer they are, the finer."""
    shapes = []
    for k, (shape, args, height, color) in enumerate(SHAPES):
        angle = 2 * math.pi * k / len(SHAPES)
        place = [math.cos(angle), height, math.sin(angle)]
        shapes.append(shape(key=f"shape-{k}", args=args, position=place, material={"color": color}))
    grey = {"color": "#d8d2c4"}
    lens = {"width": 320, "height": 240, "fov": 45, "near": 0.5, "far": 10, "renderDepth": True}
    lens["lookAt"] = [0, 0.2, 0]
    return v.DefaultScene(
        v.Cylinder(key="floor", args=[1.6, 1.6, 0.1, 96], position=[0, -0.05, 0], material=grey),
        v.Group(*shapes, key="carousel"),
        grid=False,
        bgChildren=[v.BackgroundColor(key="sky", color="#dfe7ee"), v.AmbientLight(key="fill", intensity=0.8)],
        rawChildren=[v.CameraView(key=name, position=place, **lens) for name, place in CAMERAS.items()],
    )


@campaign.render
async def render(session, job):
    session.update @ v.Group(key="carousel", rotation=[0, math.radians(job.params["turn_deg"]), 0])
    frames = await session.grab(*CAMERAS)
    for name, frame in zip(CAMERAS, frames):
        job.save(f"{name}.jpg", frame)
        job.save(f"{name}_depth.npy", frame.depth)
        job.save(f"{name}_depth.png", frame.depth)
        job.log(**{f"{name}_nearest_m": float(frame.depth.min())})
