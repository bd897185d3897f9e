"""Jobs of many steps: each follows a ball that bounces, and goes on where it was after a crash.

    runner run steps.py

`job.steps` hands out the steps that are not finished yet. Kill the run in the middle of a job and start it again: the
job goes on there, and in the scene that its finished steps had made. Python's variables are not kept, so what a step
needs is computed from the job's params and the step.
"""

import math

from vuer.schemas import AmbientLight, BackgroundColor, Box, CameraView, DefaultScene, Sphere

from runner import Campaign

campaign = Campaign("steps")

STEPS, STEP_S = 24, 0.1
RADIUS, GRAVITY, BOUNCE = (
    0.2,
    9.81,
    0.8,
)  # metres, metres a second squared, and what a bounce leaves of the speed


@campaign.jobs
def jobs(count=12):
    for index in range(count):
        yield f"throw-{index:02d}", {"speed": 1.5 + 0.07 * index, "height": 2.6 - 0.12 * index}


@campaign.scene
def scene():
    return DefaultScene(
        Box(key="floor", args=[6, 0.1, 1.4], position=[0, -0.05, 0], material={"color": "#d8d2c4"}),
        Sphere(key="ball", args=[RADIUS, 48, 32], material={"color": "#e4572e"}),
        grid=False,
        bgChildren=[BackgroundColor(key="sky", color="#dfe7ee"), AmbientLight(key="fill", intensity=0.8)],
        rawChildren=[
            CameraView(key="ego", width=320, height=240, fov=40, position=[0, 1.9, 6.2], lookAt=[0, 1.1, 0])
        ],
    )


@campaign.render
async def render(session, job):
    for step in job.steps(STEPS):
        place = ball_at(step * STEP_S, **job.params)
        session.update @ Sphere(key="ball", position=place)
        # What a step adds is there for the steps after it: a trail of where the ball has been.
        look = {"color": f"hsl({10 + 12 * step}, 80%, 60%)"}
        session.add @ Sphere(key=f"trail-{step:03d}", args=[0.08, 24, 16], position=place, material=look)
        job.save(f"step-{step:03d}.jpg", await session.grab("ego"))
    # Of a job's pictures, sheets show the first by name: this one, of the trail without the ball.
    session.remove @ "ball"
    job.save("all.jpg", await session.grab("ego"))
    job.log(last_height_m=ball_at((STEPS - 1) * STEP_S, **job.params)[1])


def ball_at(time_s, speed, height):
    """Where the ball's middle is: thrown from that height at that speed, from left to right."""
    x, drop_s = -2.6 + speed * time_s, math.sqrt(2 * (height - RADIUS) / GRAVITY)
    up, since_s = GRAVITY * drop_s, time_s + drop_s  # as if an arc had begun before
    while since_s > 2 * up / GRAVITY:
        since_s -= 2 * up / GRAVITY
        up *= BOUNCE
    return [x, RADIUS + up * since_s - GRAVITY * since_s**2 / 2, 0]
