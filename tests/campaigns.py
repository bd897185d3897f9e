"""Campaign files that tests render, and what is true of a campaign afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
from PIL import Image

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


# At most ten frames a second and session, however fast the machine: what a test does in the middle of a run
# comes before its end.
PACED = "await asyncio.sleep(0.1)"


def write_colors(folder: Path, count: int, body: str = "pass", policy: str = "") -> Path:
    """A campaign file of `count` colour-coded jobs; body: what its render does after the grab."""
    file = folder / "colors.py"
    file.write_text(COLORS.format(count=count, body=body, policy=policy))
    return file


def number_in(picture: Path) -> int:
    """The job number that the picture's colour tells."""
    with Image.open(picture) as image:
        pixel = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    return sum(round((channel - 15) / 15) << shift for channel, shift in zip(pixel, (0, 4, 8)))


# What a test started; it is ended when the test is.
STARTED: list[subprocess.Popen] = []


def end_all() -> None:
    """End whatever start() started and a test that failed has left."""
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                with contextlib.suppress(psutil.Error):
                    one.kill()
            process.wait()


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "runner", *map(str, arguments)]


def start(*arguments: object, environment: dict[str, str] | None = None, **options) -> subprocess.Popen:
    """Start `runner ARGUMENTS` in a process group of its own, its output kept."""
    environment = os.environ | {"NO_COLOR": "1"} | (environment or {})
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )
    STARTED.append(process)
    return process


def lines_of(process: subprocess.Popen) -> list[str]:
    """The messages of a process, growing as they come."""
    lines: list[str] = []

    def read() -> None:
        with process.stdout, process.stderr:
            lines.extend(process.stderr)

    threading.Thread(target=read, daemon=True).start()
    return lines


def run(*arguments: object, timeout_s: float = 180.0, **options) -> subprocess.CompletedProcess:
    """`runner ARGUMENTS`, to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout_s, **options)


def read_metrics(results: Path, campaign: str):
    """The campaign's records as ML-Logger reads them, a DataFrame."""
    os.environ.setdefault("ML_LOGGER_USER", "runner")
    from ml_logger import ML_Logger

    frame = ML_Logger(root=str(results), prefix=campaign).read_metrics()
    return frame["metrics.pkl"] if isinstance(frame, dict) else frame


def assert_whole(folder: Path, count: int, name: str = "colors") -> None:
    """Every job done exactly once, every artifact whole and its own job's, every record there once."""
    with Store(folder / "runner.db") as store:
        (campaign,) = store.campaigns()
        jobs = store.jobs(campaign["id"])
        artifacts = {row["key"]: row for row in store.artifacts(campaign["id"])}
        progress = store.progress(campaign["id"])
        results = store.results_after(campaign["id"], 0, 10 * count)
    assert [row["status"] for row in jobs] == ["done"] * count
    assert (progress.total, progress.done, progress.failed, progress.in_progress) == (count, count, 0, 0)
    assert sorted(row["key"] for row in results) == sorted(row["key"] for row in jobs)
    for job in jobs:
        artifact = artifacts[job["key"]]
        content = (folder / "results" / artifact["path"]).read_bytes()
        assert len(content) == artifact["size"]
        assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
        assert number_in(folder / "results" / artifact["path"]) == job["params"]["number"]
    metrics = read_metrics(folder / "results", name)
    assert sorted(metrics["key"]) == sorted(row["key"] for row in jobs)
    assert dict(zip(metrics["key"], metrics["attempt"])) == {row["key"]: row["attempt"] for row in jobs}
