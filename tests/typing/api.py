"""What users may annotate: mypy checks this file, strictly; nobody runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vuer.schemas import Scene, Sphere

import runner
from runner import Campaign, Frame, Job, JobQueue, RenderJob, RunnerError, Session

campaign = Campaign("orbit", max_failures=3, timeout_s=60, assets="meshes", settle_s=0.5, on_suspect="retry")


@campaign.jobs
def jobs(count: int = 36, tags: tuple[str, ...] = ()) -> Iterator[Job]:
    for number in range(count):
        yield Job({"azimuth_deg": 10.0 * number, "tags": list(tags)}, key=f"a{number}", priority=1)


@campaign.scene
def scene() -> Scene:
    return Scene(Sphere(key="ball", map=campaign.asset("ball.png")))


@campaign.render
async def render(session: Session, job: RenderJob) -> None:
    session.update @ Sphere(key="ball", rotation=[0, job.params["azimuth_deg"], 0])
    await session.ready()
    frame: Frame = await session.grab("ego")
    left, right = await session.grab("left", "right", format="png")
    for step in job.steps(100):
        job.log(step=step, width=frame.width)
    job.save("rgb.jpg", frame)
    job.save("pair.npy", left.array - right.array)
    number: int = job.attempt
    key: str = job.key
    print(number, key)


def look(database: Path) -> dict[str, Any]:
    try:
        orbit = runner.open(database)["orbit"]
    except RunnerError as error:
        return {"error": str(error)}
    done: int = orbit.progress.done
    return {"done": done, "rows": list(orbit.rows(status="done")), "mean": orbit.to_frame()["mean"].mean()}


def fill(queue: JobQueue) -> None:
    queue.append({"azimuth_deg": 30})
    queue.extend({"azimuth_deg": azimuth} for azimuth in range(360))
    with queue.claim() as job:
        print(job)


async def from_python() -> int:
    summary = runner.run(campaign, sessions=1, settings={"count": 72}, add=True)
    again = await runner.arun(Path("orbit.py"), database="runner.db", results="results")
    done: int = summary.done + again.done
    return done


if __name__ == "__main__":
    fill(JobQueue("jobs.db", ttl=60))
