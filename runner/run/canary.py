"""Renders a few jobs, spread over all, first, and stops the run if too many of them are bad."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from runner.commands import Commands
from runner.exits import ExitStatus
from runner.job import Extent, Status
from runner.machine import job_bytes, size_text
from runner.reasons import common_reason, normalized, one_line
from runner.report import span
from runner.results import ResultsFolder, told
from runner.run.breaker import Breaker
from runner.run.say import say
from runner.store import Reader, Store

__all__ = [
    "Canary",
    "Portions",
    "Sample",
    "choose_sample",
    "judge",
    "render_in_portions",
    "take_back",
    "told_well",
    "why_to_stop",
]

_SHOWN = 10
# Characters of each job's own reason; the most frequent one is told in full.
_REASON = 100
_SHARE = 0.2


@dataclass(frozen=True)
class Sample:
    """The jobs that are rendered first. attempts: how many each had had before, by its id."""

    attempts: dict[int, int]


@dataclass(frozen=True)
class Bad:
    """A job of the sample that failed, in that attempt, or that may be wrong though it is done."""

    job_id: int
    key: str
    attempt: int
    reason: str
    has_failed: bool
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Canary:
    """The result of the sample.

    done: keys. job_s: mean seconds between two done jobs, over all tabs; None with fewer than two. job_bytes: what a
    done job takes on the disk.
    """

    done: tuple[str, ...]
    bad: tuple[Bad, ...]
    job_s: float | None
    job_bytes: float

    @property
    def judged(self) -> int:
        """How many jobs of the sample have ended."""
        return len(self.done) + sum(one.has_failed for one in self.bad)


def choose_sample(store: Reader, campaign_id: int, count: int) -> Sample:
    """So many ready jobs, evenly spread over all of them."""
    return Sample(
        {
            job_id: store.rows_after(campaign_id, job_id - 1, 1)[0]["attempt"]
            for job_id in store.spread_ids(campaign_id, count)
        }
    )


def judge(store: Reader, campaign_id: int, sample: Sample, results: ResultsFolder) -> Canary:
    """Look at the sample's results. results: where the pictures are."""
    done, bad, times = [], [], []
    for job_id, before in sample.attempts.items():
        (job,) = store.rows_after(campaign_id, job_id - 1, 1)
        suspicion = store.suspicion_of(job_id)
        if job["status"] == Status.DONE.value:
            done.append(job["key"])
            times += [job["grab_ts"] or 0.0, job["end_ts"] or 0.0]
        if job["status"] == Status.DONE.value and suspicion:
            images = [file for file in job["artifacts"] if file["kind"].startswith("image/")]
            pictures = [
                told(results, file, job["attempt"])
                for file in images
                if results.stored(Extent(file["path"], file["start"], file["size"])).is_there
            ]
            bad.append(Bad(job_id, job["key"], job["attempt"], suspicion, False, tuple(pictures)))
        for attempt in store.attempts_of(job_id):
            if attempt["attempt"] > before and attempt["outcome"] in ("failed", "crashed"):
                picture = results.evidence_of(job["key"], attempt["attempt"])
                kept = (str(picture),) if picture is not None else ()
                reason = attempt["error"] or ""
                bad.append(Bad(job_id, job["key"], attempt["attempt"], reason, True, kept))
    job_s = (max(times) - min(times)) / len(done) if len(done) > 1 else None
    counted, files_bytes = store.recent_files_bytes(campaign_id)
    return Canary(tuple(done), tuple(bad), job_s, job_bytes(files_bytes / max(1, counted)))


def why_to_stop(found: Canary, share: float | None, commands: Commands) -> str:
    """Why to stop, with pictures to look at and commands to type; '' if no more than that share is bad."""
    if len(found.bad) <= (_SHARE if share is None else share) * found.judged:
        return ""
    return "\n".join(_told(found, commands))


def _told(found: Canary, commands: Commands) -> Iterator[str]:
    failed = sum(one.has_failed for one in found.bad)
    counts = [f"{failed:,} failed"] if failed else []
    counts += [f"{len(found.bad) - failed:,} may be wrong"] if failed < len(found.bad) else []
    kinds = Counter(normalized(one.reason) for one in found.bad)
    most, times = kinds.most_common(1)[0]
    reason = common_reason(one.reason for one in found.bad if normalized(one.reason) == most)
    alike = "" if len(kinds) == 1 else f", {times:,} of them"
    told = f"{commands.campaign}: of {found.judged:,} jobs that were rendered first"
    yield f"{told}, {' and '.join(counts)}{alike}: {reason}"
    yield "  No job was charged, and none of them counts as done."
    for one in found.bad[:_SHOWN]:
        what = "failed " if one.has_failed else "suspect"
        yield f"  {what}  {one.key}: {one_line(one.reason, _REASON)}"
        yield from (f"           {picture}" for picture in one.pictures)
    if len(found.bad) > _SHOWN:
        yield f"  and {len(found.bad) - _SHOWN:,} more"
    if commands.file is not None:
        yield f"  look       {commands.preview(found.bad[0].key)}"


def told_well(found: Canary, left: int, stays: bool = True) -> str:
    """That all is well, when the remaining jobs will be done, and their room on the disk, if their files stay there."""
    line = f"{len(found.done):,} of {found.judged:,} jobs that were rendered first are done"
    if found.bad:
        line += f", and {len(found.bad):,} failed or may be wrong"
    if left and found.job_s is not None:
        left_s = left * found.job_s
        until = time.strftime("%a %H:%M", time.localtime(time.time() + left_s))
        room = f" and {size_text(left * found.job_bytes)} of disk space" if stays else ""
        line += f"; the other {left:,} take about {span(left_s)}{room}, until {until}"
    return line


def take_back(store: Store, campaign_id: int, found: Canary) -> None:
    """Leave the campaign as it was: nothing charged, nothing done. The pictures stay."""
    store.uncharge(campaign_id, [(one.job_id, one.attempt) for one in found.bad if one.has_failed])
    store.requeue(campaign_id, found.done, "rendered first, to see whether all is well")


@dataclass(frozen=True)
class Portions:
    """How many jobs to render, in which portions.

    canary: how many are rendered first; 0: none. limit: how many in all; None: all. share: how much of the canary
    may be bad; None: the usual share. is_spread: a limit takes jobs from all over the campaign.
    """

    canary: int
    limit: int | None
    share: float | None
    is_spread: bool = False


def render_in_portions(
    store: Store,
    campaign_id: int,
    portions: Portions,
    results: ResultsFolder,
    commands: Commands,
    render: Callable[[Mapping[int, int] | None, Breaker | None], ExitStatus | None],
) -> tuple[ExitStatus | None, str]:
    """Render the canary, and then the rest if it is well. Returns the exit status (None: the rows decide), and why the
    canary has stopped the run, or ''.

    render: renders the jobs with these ids, once each, or all, under that breaker, or the run's own; each id comes with
    the number of attempts that the job had before.
    """
    taken = 0
    if portions.canary:
        sample = choose_sample(
            store.reader, campaign_id, min(portions.canary, portions.limit or portions.canary)
        )
        taken = len(sample.attempts)
        status = render(sample.attempts, Breaker(None))
        if status is not None:
            return status, ""
        found = judge(store.reader, campaign_id, sample, results)
        why = why_to_stop(found, portions.share, commands)
        if why:
            take_back(store, campaign_id, found)
            say(why)
            return ExitStatus.STOPPED, why
        say(told_well(found, store.reader.progress(campaign_id).left, stays=commands.remote is None))
    jobs: Mapping[int, int] | None = None
    if portions.limit is not None:
        count = portions.limit - taken
        spread = store.reader.spread_ids(campaign_id, count) if portions.is_spread and count else []
        following = store.reader.next_ids(campaign_id, count)
        ids = list(dict.fromkeys([*spread, *following]))[:count]
        jobs = store.reader.pending_attempts(ids)
    elif portions.canary and not store.reader.progress(campaign_id).left:
        jobs = {}
    return (None if jobs == {} else render(jobs, None)), ""
