"""A picture depends on its job alone: each job begins with the scene that the scene function gives."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from pathlib import Path

import pytest
from campaigns import number_of
from checks import check_isolation
from needs import quick_rasterizer
from processes import run, start
from waiting import wait_until

from runner.store import Store

pytestmark = pytest.mark.usefixtures("browser_path")

# Each fourth job adds a box of its own, as domain randomisation does; the others add none.
BOXES = """
from vuer.schemas import Box, CameraView, DefaultScene, Plane
from runner import Campaign

campaign = Campaign("boxes", timeout_s=60{policy})

@campaign.jobs
def jobs():
    for number in range(12):
        yield f"v{{number:02d}}", {{"number": number}}

@campaign.scene
def scene():
    floor = Plane(key="p", args=[20, 20], materialType="basic", material={{"color": "#000000"}})
    camera = CameraView(key="ego", width=160, height=120, fov=50, position=[0, 0, 4])
    return DefaultScene(floor, rawChildren=[camera])

@campaign.render
async def render(session, job):
    number = job.params["number"]
    if number % 4 == 0:
        place = {{"args": [0.5, 0.5, 0.5], "position": [-1.2 + number * 0.3, 0, 0]}}
        look = {{"materialType": "basic", "material": {{"color": "#ffffff"}}}}
        session.add @ Box(key=f"box{{number}}", **place, **look)
    {body}
    frame = await session.grab("ego")
    job.save("rgb.jpg", frame)
    row = frame.array[60, :, 0] > 128
    job.log(boxes=int((row[1:] & ~row[:-1]).sum()), session=session.name)
"""


def boxes_of(
    folder: Path, *options: str, policy: str = "", body: str = "pass"
) -> tuple[list[int], list[str], str]:
    """Boxes in each job's picture, in the jobs' order; the events of the report; what the run said."""
    file = folder / "boxes.py"
    file.write_text(BOXES.format(policy=policy, body=body))
    end = run("run", file, *options)
    assert end.returncode == 0, end.stderr
    with Store(folder / "runner.db") as store:
        metrics = {row["key"]: row["metrics"] for row in store.reader.results_after(1, 0, 100)}
        events = [event["message"] for event in store.reader.events(1)]
    return [metrics[key]["boxes"] for key in sorted(metrics)], events, end.stderr


@pytest.mark.parametrize("sessions", [1, 2])
def test_what_a_job_adds_is_gone_in_the_next(tmp_path, sessions):
    """Each job's picture holds its own boxes, and no other's, however many sessions there are."""
    boxes, events, _ = boxes_of(tmp_path, "-n", str(sessions))
    assert boxes == [1, 0, 0, 0] * 3
    assert events == []


def test_a_campaign_may_keep_what_jobs_leave_behind(tmp_path):
    """isolate=False: each job goes on where the one before it ended, and the report says what that means."""
    boxes, events, _ = boxes_of(tmp_path, "-n", "1", policy=", isolate=False")
    assert boxes == [1] * 4 + [2] * 4 + [3] * 4
    assert [event for event in events if "order" in event]


def test_what_cannot_be_put_back_gives_a_fresh_page(tmp_path):
    """A job that changes the scene's own settings leaves nothing to the next; it is said once."""
    body = """if number % 4 == 0:
        from vuer.schemas import Scene
        ego = CameraView(key="ego", width=160, height=120, fov=50, position=[0, 0, 4])
        session.set @ Scene(Box(key="b", args=[1, 1, 1]), up=[0, 0, 1], rawChildren=[ego])"""
    boxes, events, said = boxes_of(tmp_path, "-n", "1", body=body)
    assert boxes[1:4] == boxes[5:8] == boxes[9:] == [0, 0, 0]
    assert len([event for event in events if "loaded anew" in event]) == said.count("loaded anew") == 1


# Jobs whose scene grows by each step. Each ends its process in a step of its own; the last one is left alone.
GROWING = """
import asyncio, contextlib, os, signal, sqlite3
from pathlib import Path
from vuer.schemas import Box, CameraView, DefaultScene, Sphere
from runner import Campaign

campaign = Campaign("growing")

@campaign.jobs
def jobs():
    for ends_in in ("outside", *range(4), None):
        yield f"ends in {ends_in}", {"ends_in": ends_in}

@campaign.scene
def scene():
    camera = CameraView(key="ego", width=96, height=72, position=[0, 0, 6])
    return DefaultScene(Sphere(key="ball"), rawChildren=[camera])

def recorded(key):
    query = "SELECT coalesce(max(step), 0) FROM checkpoint JOIN job ON job.id = job_id WHERE key = ?"
    with contextlib.closing(sqlite3.connect(Path(__file__).with_name("runner.db"))) as database:
        return database.execute(query, [key]).fetchone()[0]

@campaign.render
async def render(session, job):
    ends_in = job.params["ends_in"]
    for step in job.steps(4):
        look = {"color": f"#{40 * step:02x}8040", "transparent": step % 2 == 0, "opacity": 0.5}
        session.add @ Box(args=[0.6, 0.6, 0.6], position=[step - 2.5, 1, 0], rotation=[0, 0.3 * step, 0], material=look)
        session.update @ Sphere(key="ball", position=[0, -0.2 * step, 0], **({"material": look} if step > 1 else {}))
        job.save(f"{step}.png", await session.grab("ego", format="png"))
        job.log(**{f"m{step}": step})
        if step == ends_in and job.attempt == 1:
            while recorded(job.key) < step:
                await asyncio.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        # A step is recorded a second after the last one that was.
        if ends_in == "outside" or step + 1 == ends_in and job.attempt == 1:
            await asyncio.sleep(1.1)
"""


@pytest.mark.long
def test_a_killed_job_of_steps_goes_on_in_the_scene_that_it_had(tmp_path):
    """SIGKILL at each step of a growing scene, of the worker or all: pictures and metrics are the unharmed job's."""
    file = tmp_path / "growing.py"
    file.write_text(GROWING)
    process = start("run", file, "-n", "1")

    step = "SELECT max(step) FROM checkpoint JOIN job ON job.id = job_id WHERE key = 'ends in outside'"
    wait_until(lambda: number_of(tmp_path, step) >= 2, "two recorded steps of the first job")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert run("run", file, "-n", "1").returncode == 0
    with Store(tmp_path / "runner.db") as store:
        metrics = {row["key"]: row["metrics"] for row in store.reader.results_after(1, 0, 99)}
        files, folders = defaultdict(dict), defaultdict(set)
        for row in store.reader.artifacts(1):
            files[row["key"]][row["name"]] = row["sha256"]
            folders[row["key"]].add(row["path"].rsplit("/", 1)[0])
        charged = [row["key"] for row in store.reader.jobs(1) if row["failures"] or row["crashes"]]
    unharmed = "ends in None"
    assert len(files) == len(metrics) == 6
    assert all(names == files[unharmed] for names in files.values())
    assert all(names == metrics[unharmed] for names in metrics.values())
    # What was recorded was not done again; the run that was killed is charged with a crash.
    assert len(folders[unharmed]) == 1
    assert all(len(folders[f"ends in {name}"]) >= 2 for name in ("outside", *range(1, 4)))
    assert set(charged) <= {"ends in outside"}


@pytest.mark.long
def test_random_jobs_in_random_order_give_the_pictures_of_each_alone():
    """Nested, transparent, textured, models, texts, in two pages: each pixel is that of a fresh page."""
    done, wrong, _ = asyncio.run(check_isolation.check(120, 6, 3, 2, quick_rasterizer(), print))
    assert (done, wrong) == (120, [])
