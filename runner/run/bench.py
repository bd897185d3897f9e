"""Measures how fast a campaign's own jobs are rendered, with several numbers of browsers and with each rasterizer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean, median
from typing import Any

from runner.campaign import Campaign, read_jobs
from runner.commands import typed
from runner.errors import BrowserError, UsageError
from runner.exits import ExitStatus
from runner.job import Job
from runner.report import parts_told, span
from runner.run.options import RunOptions
from runner.run.say import say
from runner.run.trial import render_apart
from runner.store import Reader, ShownJobRow

__all__ = ["Bench", "Measured", "run_bench"]

# As many jobs as can be rendered in a while.
_JOBS = 3000


@dataclass(frozen=True)
class Measured:
    """The result of one way to render. jobs_per_s: of each round, after each browser has done a job; job_s: the median
    from claim to end, in seconds. failed: jobs that failed. renderer: as WebGL names it. parts: where a job's seconds
    went, on average.
    """

    rasterizer: str
    sessions: int
    jobs_per_s: tuple[float, ...]
    job_s: float
    failed: int
    renderer: str
    parts: dict[str, float]

    @property
    def rate(self) -> float:
        """Jobs a second: the median over the rounds."""
        return median(self.jobs_per_s)


@dataclass(frozen=True)
class Bench:
    """The results for a campaign, the fastest first.

    seconds: how long each measurement took. absent: rasterizers that do not work here, and why. error: why a job
    failed, if one did.
    """

    campaign: str
    file: str
    seconds: float
    measured: tuple[Measured, ...]
    absent: dict[str, str]
    error: str

    @property
    def failed(self) -> int:
        """How many jobs failed, over all rounds."""
        return sum(one.failed for one in self.measured)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return asdict(self)

    def to_text(self) -> str:
        """As text for people."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"{self.campaign}: its own jobs, rendered for {span(self.seconds)} each time"
        yield f"  {'rasterizer':<12} {'sessions':>8} {'jobs/s':>8} {'from … to':>16} {'a job takes':>12} {'failed':>7}"
        for one in self.measured:
            rates = f"{min(one.jobs_per_s):.1f} … {max(one.jobs_per_s):.1f}"
            yield (
                f"  {one.rasterizer:<12} {one.sessions:>8} {one.rate:>8.1f} {rates:>16} {span(one.job_s):>12} "
                f"{one.failed:>7,}"
            )
        for rasterizer, reason in self.absent.items():
            yield f"  {rasterizer:<12} does not work here: {reason}"
        if self.failed:
            yield f"  a job failed: {self.error}; the rate of failing jobs means nothing"
        elif self.measured:
            best = self.measured[0]
            yield f"  drawn by     {best.renderer}"
            if best.parts:
                yield f"  of a job     {parts_told(best.parts)}"
            how = ("--sessions", best.sessions, "--rasterizer", best.rasterizer)
            yield f"  fastest      {typed('run', self.file, *how)}"


def run_bench(
    campaign: Campaign, options: RunOptions, sessions: Sequence[int], rounds: int, seconds: float
) -> Bench | ExitStatus:
    """Render for so many seconds in each way (number of browsers, rasterizer): all ways once, and then again.

    It uses a temporary folder; the campaign's database and results are not touched. options: rasterizer 'auto' means
    all available ones. Returns only the exit status if a signal ended it. Raises a RunnerError.
    """
    jobs = _sample(campaign, _JOBS)
    choice = ("egl", "swiftshader") if options.rasterizer == "auto" else (options.rasterizer,)
    found: dict[tuple[str, int], list[Measured]] = {}
    absent: dict[str, str] = {}
    error = ""
    for number in range(rounds):
        for rasterizer in choice:
            for browsers in sessions if rasterizer not in absent else ():
                say(
                    f"round {number + 1} of {rounds}: {rasterizer}, {browsers} session{'' if browsers == 1 else 's'}"
                )
                way = replace(options, rasterizer=rasterizer, sessions=browsers)
                try:
                    one = _measure(campaign, jobs, way, seconds)
                except BrowserError as problem:
                    absent[rasterizer] = str(problem)
                    break
                if isinstance(one, ExitStatus):
                    return one
                error = error or one[1]
                found.setdefault((rasterizer, browsers), []).append(one[0])
    measured = sorted(map(_joined, found.values()), key=lambda one: -one.rate)
    return Bench(campaign.name, str(campaign.file), seconds, tuple(measured), absent, error)


def _sample(campaign: Campaign, count: int) -> list[Job]:
    """Its jobs, or so many of them, spread over all; repeated where they are few."""
    with read_jobs(campaign, say) as spool:
        spread = islice(spool, 0, None, max(1, len(spool) // count))
        jobs = {job.key: Job(json.loads(job.params), job.key) for job in islice(spread, count)}
    if not jobs:
        raise UsageError(f"{campaign.file} yields no jobs: there is nothing to measure")
    ones = list(jobs.values())
    return [Job(one.params, str(number)) for number, one in enumerate(islice(cycle(ones), count))]


def _measure(
    campaign: Campaign, jobs: list[Job], options: RunOptions, seconds: float
) -> tuple[Measured, str] | ExitStatus:
    """Render for a while; returns the measurements, and why a job failed, or ''."""
    with tempfile.TemporaryDirectory(prefix="runner-bench-") as folder:
        options = replace(options, database=str(Path(folder, "bench.db")), results=Path(folder, "results"))
        status = render_apart(campaign, jobs, options, measured_s=seconds)
        if status is not None:
            return status
        with Reader(options.database) as store:
            (row,) = store.campaigns()
            done = [job for job in store.rows_after(row["id"], 0, len(jobs)) if job["status"] == "done"]
            parts = _mean_parts(store.whole_jobs([job["id"] for job in done]))
            failures = store.failures(row["id"])
    # The first job of each browser also waits for its page.
    first: dict[int | None, float] = {}
    for job in done:
        first[job["session_id"]] = min(first.get(job["session_id"], float("inf")), job["end_ts"] or 0.0)
    warm_ts = max(first.values(), default=0.0)
    warm = [job["end_ts"] for job in done if (job["end_ts"] or 0.0) > warm_ts]
    rate = len(warm) / (max(filter(None, warm)) - warm_ts) if warm else 0.0
    took = [(job["end_ts"] or 0.0) - (job["grab_ts"] or 0.0) for job in done]
    renderer = next((job["renderer"] for job in done if job["renderer"]), "")
    measured = Measured(
        options.rasterizer, options.sessions, (rate,), median(took or [0.0]), len(failures), renderer, parts
    )
    return measured, next((failure["error"] or "" for failure in failures), "")


def _mean_parts(jobs: Sequence[ShownJobRow]) -> dict[str, float]:
    known = [
        job["phases"].parts((job["end_ts"] or 0.0) - (job["grab_ts"] or 0.0)) for job in jobs if job["phases"]
    ]
    return {name: fmean(one[name] for one in known) for name in known[0]} if known else {}


def _joined(rounds: list[Measured]) -> Measured:
    """One way to render, over all its rounds."""
    return replace(
        rounds[0],
        jobs_per_s=tuple(rate for one in rounds for rate in one.jobs_per_s),
        job_s=median(one.job_s for one in rounds),
        failed=sum(one.failed for one in rounds),
        parts={name: fmean(one.parts.get(name, 0.0) for one in rounds) for name in rounds[0].parts},
    )
