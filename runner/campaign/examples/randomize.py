"""Domain randomization: each picture has shapes, colours, lights and a camera of its own, and labels.

    runner run randomize.py --set count=1000

`job.rng` is a NumPy generator of the job's own. A job that is rendered again, after a crash or next year, draws the
same numbers and gives the same picture.
"""

import numpy as np
import vuer.schemas as v

from runner import Campaign

campaign = Campaign("randomize")

# What may stand on the floor. Each is about 1 m high, its origin in its middle.
SHAPES = [
    (v.Box, [0.8, 1, 0.8]),
    (v.Sphere, [0.5, 48, 32]),
    (v.Cone, [0.5, 1, 48]),
    (v.Cylinder, [0.4, 0.4, 1, 48]),
    (v.Capsule, [0.3, 0.4, 16, 32]),
    (v.Torus, [0.36, 0.14, 24, 64]),
    (v.TorusKnot, [0.3, 0.1, 128, 16]),
    (v.Icosahedron, [0.55, 0]),
]
FLAT = [-np.pi / 2, 0, 0]


@campaign.jobs
def jobs(count=24):
    for index in range(count):
        yield f"scene-{index:05d}", {"index": index}


@campaign.scene
def scene():
    """A floor below a dome, and a sky's light: what bgChildren names takes the place of Vuer's own lights."""
    return v.Scene(
        v.Circle(key="floor", args=[15, 64], rotation=FLAT),
        v.Sphere(key="dome", args=[15, 32, 32], materialType="basic", material={"side": 1}),
        rawChildren=[v.CameraView(key="ego", width=320, height=240, fov=40, near=0.1, far=40)],
        bgChildren=[v.HemisphereLight(key="light")],
    )


@campaign.render
async def render(session, job):
    rng, hue = job.rng, job.rng.random()
    session.update @ v.Circle(key="floor", material={"color": hsl(hue, 0.45, 0.8), "roughness": 1})
    session.update @ v.Sphere(key="dome", material={"color": hsl(hue + 0.08, 0.6, 0.9), "side": 1})
    session.update @ v.HemisphereLight(
        key="light", groundColor=hsl(hue, 0.3, 0.7), intensity=rng.uniform(1.2, 2)
    )
    sun = on_circle(rng, radius=4, height=rng.uniform(3, 7))
    session.add @ v.DirectionalLight(key="sun", position=sun, color="#fff0d0", intensity=rng.uniform(1, 3))
    labels = []
    # Places of a grid of 3 x 3, so that nothing stands within another.
    for number, place in enumerate(rng.permutation(9)[: rng.integers(5, 8)]):
        (shape, args), size = SHAPES[rng.integers(len(SHAPES))], rng.uniform(0.65, 1.1)
        x, z = (np.array(divmod(place, 3)) - 1) * 1.15 + rng.uniform(-0.15, 0.15, 2)
        color = hsl(rng.random(), rng.uniform(0.6, 0.95), rng.uniform(0.45, 0.65))
        look = {"color": color, "roughness": rng.uniform(0.15, 0.9), "metalness": rng.uniform(0, 0.2)}
        pose = {"position": [x, size / 2, z], "rotation": [0, rng.uniform(0, 2 * np.pi), 0]}
        session.add @ shape(key=f"thing-{number}", args=args, scale=[size] * 3, material=look, **pose)
        session.add @ shade(key=f"shade-{number}", x=x, z=z, radius=size / 2)
        labels.append({"shape": shape.__name__, "size": size, **look, **pose})
    eye = on_circle(rng, radius=rng.uniform(4.2, 5.4), height=rng.uniform(1.2, 3.5))
    session.update @ v.CameraView(key="ego", position=eye, lookAt=[0, 0.4, 0])
    job.save("rgb.jpg", await session.grab("ego"))
    job.save("labels.json", {"camera": eye, "sun": sun, "things": labels})
    job.log(things=len(labels))


def shade(key, x, z, radius):
    """A dark spot just above the floor, for Vuer's cameras draw no shadows."""
    look = {"color": "#203040", "transparent": True, "opacity": 0.18}
    return v.Circle(
        key=key, args=[radius, 32], position=[x, 0.003, z], rotation=FLAT, materialType="basic", material=look
    )


def on_circle(rng, radius, height):
    """Anywhere on a circle around the vertical axis, which is y."""
    angle = rng.uniform(0, 2 * np.pi)
    return [radius * np.cos(angle), height, radius * np.sin(angle)]


def hsl(hue, saturation, lightness):
    """A colour by numbers from 0 to 1; hues go round."""
    return f"hsl({360 * (hue % 1):.0f}, {100 * saturation:.0f}%, {100 * lightness:.0f}%)"
