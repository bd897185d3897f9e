"""Campaign files that tests render, and what is true of a campaign afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sqlite3
from pathlib import Path

from PIL import Image

from runner.job import Outcome
from runner.store import Store

# The job's number is in the ball's colour: 16 levels of red, green and blue each, 15 apart.
COLORS = """
import asyncio
from vuer.schemas import CameraView, Scene, Sphere
from runner import Campaign

campaign = Campaign("colors"{policy})

@campaign.jobs
def jobs(count={count}):
    for number in range(int(count)):
        yield {{"number": number}}

@campaign.scene
def scene():
    camera = CameraView(key="ego", width=64, height=48, fov=50, position=[0, 0, 3])
    return Scene(ball(0), rawChildren=[camera])

def ball(number):
    red, green, blue = ((number >> shift & 15) * 15 + 15 for shift in (0, 4, 8))
    color = f"#{{red:02x}}{{green:02x}}{{blue:02x}}"
    return Sphere(key="ball", args=[2, 24, 24], materialType="basic", material={{"color": color}})

@campaign.render
async def render(session, job):
    session.update @ ball(job.params["number"])
    frame = await session.grab("ego")
    {body}
    job.save("rgb.jpg", frame)
    job.log(red=int(frame.array[24, 32, 0]))
"""


# A campaign of one job that renders nothing.
GOOD = """
from runner import Campaign
campaign = Campaign("good")
@campaign.jobs
def jobs():
    yield {"x": 1}
@campaign.scene
def scene():
    from vuer.schemas import Scene
    return Scene()
@campaign.render
async def render(session, job):
    pass
"""


# At most ten frames a second and session, however fast the machine: what a test does in the middle of a run
# comes before its end.
PACED = "await asyncio.sleep(0.1)"


def write_colors(folder: Path, count: int, body: str = "pass", policy: str = "") -> Path:
    """A campaign file of `count` colour-coded jobs; body: what its render does after the grab."""
    file = folder / "colors.py"
    file.write_text(COLORS.format(count=count, body=body, policy=policy))
    return file


def content_of(results: Path, artifact) -> bytes:
    """The bytes of a file, where its row says that they lie."""
    content = (results / artifact["path"]).read_bytes()
    start = artifact["start"]
    return content if start is None else content[start : start + artifact["size"]]


def number_in(picture: Path | io.BytesIO) -> int:
    """The job number that the picture's colour tells."""
    with Image.open(picture) as image:
        pixel = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    return sum(round((channel - 15) / 15) << shift for channel, shift in zip(pixel, (0, 4, 8)))


def read_metrics(results: Path, campaign: str):
    """The campaign's records as ML-Logger reads them, a DataFrame."""
    os.environ.setdefault("ML_LOGGER_USER", "runner")
    from ml_logger import ML_Logger

    frame = ML_Logger(root=str(results), prefix=campaign).read_metrics()
    return frame["metrics.pkl"] if isinstance(frame, dict) else frame


def assert_whole(folder: Path, count: int, name: str = "colors") -> None:
    """Every job done exactly once, every artifact whole and its own job's, every record there once."""
    with Store(folder / "runner.db") as store:
        (campaign,) = store.reader.campaigns()
        jobs = store.reader.jobs(campaign["id"])
        artifacts = {row["key"]: row for row in store.reader.artifacts(campaign["id"])}
        progress = store.reader.progress(campaign["id"])
        results = store.reader.results_after(campaign["id"], 0, 10 * count)
    assert [row["status"] for row in jobs] == ["done"] * count
    assert (progress.total, progress.done, progress.failed, progress.in_progress) == (count, count, 0, 0)
    assert sorted(row["key"] for row in results) == sorted(row["key"] for row in jobs)
    for job in jobs:
        artifact = artifacts[job["key"]]
        content = content_of(folder / "results", artifact)
        assert len(content) == artifact["size"]
        assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
        assert number_in(io.BytesIO(content)) == job["params"]["number"]
    found = set((folder / "results").glob("**/rgb.jpg"))
    own = [row for row in artifacts.values() if row["start"] is None]
    assert found == {folder / "results" / row["path"] for row in own}
    metrics = read_metrics(folder / "results", name)
    assert sorted(metrics["key"]) == sorted(row["key"] for row in jobs)
    assert dict(zip(metrics["key"], metrics["attempt"])) == {row["key"]: row["attempt"] for row in jobs}


def number_of(folder: Path, query: str) -> int:
    """What that query of a run's database gives; 0 while there is nothing. Cheap enough to be asked in a loop."""
    # Not yet a database, or not yet its tables.
    with contextlib.suppress(sqlite3.OperationalError):
        connection = sqlite3.connect(f"file:{folder / 'runner.db'}?mode=ro", uri=True)
        with contextlib.closing(connection):
            return (connection.execute(query).fetchone() or [0])[0] or 0
    return 0


def done_count(folder: Path) -> int:
    """How many jobs of the first campaign are done, read while the run goes on."""
    return number_of(folder, "SELECT done FROM campaign ORDER BY id")


def assert_nobody_was_charged(folder) -> None:
    """No attempt at the first campaign's jobs cost anything; at most it was handed back."""
    with Store(folder / "runner.db") as store:
        assert not any(row["failures"] or row["crashes"] for row in store.reader.jobs(1))
        assert {row["outcome"] for row in store.reader.attempts(1)} <= {"released"}


def complete_jobs(store, campaign_id, count, first=0):
    """Add that many jobs to a campaign and have them done, with a metric."""
    store.add(campaign_id, ({"n": n} for n in range(first, first + count)))
    worker_id = store.start_worker(campaign_id)
    for lease in store.claim(worker_id, campaign_id, count=count):
        store.complete(lease, Outcome((), {"twice": 2 * lease.params["n"]}))
    store.end_worker(worker_id)
