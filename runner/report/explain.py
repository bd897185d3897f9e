"""Explains one job: every attempt at it, how each ended, and why the job is in its present state."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.commands import Commands
from runner.errors import UsageError
from runner.job import Status
from runner.machine import Identity, is_gone
from runner.reasons import one_line, whole_lines
from runner.report.evidence import Evidence, read_evidence
from runner.report.text import parts_told, span
from runner.results import ResultsFolder, Whose, moved_of, told
from runner.store import AttemptOfTabRow, CampaignRow, JobRow, Reader, WholeJobRow

__all__ = ["Explanation", "PastAttempt", "explain_job", "find_job"]

_ROW = re.compile(r"\d{1,7}")
_SHOWN = 5


@dataclass(frozen=True)
class PastAttempt:
    """One attempt, as far as it is on record; times in Unix seconds.

    outcome: done, failed, crashed, released (handed back, not charged), requeued (was done, and will be done again), or
    in_progress. session: the browser tab's name; renderer: its renderer. waited_s: since the job was added, or the
    attempt before it ended. took_s: from the claim to the end; None while it goes on. picture: what the tab showed
    last, an absolute path. parts: where took_s went; empty if unknown.
    """

    number: int
    outcome: str
    session: str
    renderer: str
    began_ts: float
    waited_s: float
    took_s: float | None
    error: str
    console: tuple[str, ...] = ()
    trace: tuple[str, ...] = ()
    picture: str | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """All that is known of one job. row: its place in the order in which jobs were added, from 0, as in to_frame().

    now: its state, and why; next: commands to type. files: of a done job, absolute paths; for a shard, followed by a
    colon and the member; for an object store, the address. Times are Unix seconds.
    """

    campaign: str
    key: str
    row: int
    params: Mapping[str, Any]
    priority: int
    status: str
    failures: int
    crashes: int
    created_ts: float
    attempts: tuple[PastAttempt, ...]
    metrics: Mapping[str, Any]
    files: tuple[str, ...]
    suspicion: str
    now: str
    next: tuple[str, ...]
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return asdict(self)

    def to_text(self) -> str:
        """As text for people: the job's state first, at the end what to type next."""
        return whole_lines(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.campaign}: job {self.key} (row {self.row:,}) {self.now}"
        yield f"  params    {one_line(json.dumps(self.params, ensure_ascii=False))}"
        yield f"  added     {_clock(self.created_ts)}" + (
            f", priority {self.priority}" if self.priority else ""
        )
        traces: dict[tuple[str, ...], int] = {}
        for attempt in self.attempts:
            yield ""
            yield from _attempt_lines(attempt, traces.setdefault(attempt.trace, attempt.number))
        if self.suspicion or self.metrics or self.files:
            yield ""
        if self.suspicion:
            yield f"  suspect   {one_line(self.suspicion)}"
        yield from (f"  metric    {one_line(f'{name} = {value}')}" for name, value in self.metrics.items())
        yield from (f"  file      {file}" for file in self.files)
        yield ""
        yield from (f"  next      {command}" for command in self.next)


def _attempt_lines(attempt: PastAttempt, first: int) -> Iterator[str]:
    """first: the first attempt that had the same traceback."""
    where = f" in {one_line(attempt.session)}" if attempt.session else ""
    took = "" if attempt.took_s is None else f", took {span(attempt.took_s)}"
    yield (
        f"  attempt {attempt.number}  {attempt.outcome.replace('_', ' ')}{where}: waited {span(attempt.waited_s)}, "
        f"began {_clock(attempt.began_ts)}{took}"
    )
    if attempt.parts:
        yield f"      {parts_told(attempt.parts)}"
    if attempt.error:
        yield f"      {one_line(attempt.error)}"
    if attempt.trace and first < attempt.number:
        yield f"      | the same lines as in attempt {first}"
    else:
        yield from (f"      | {line}" for line in attempt.trace)
    yield from (f"      console  {line}" for line in attempt.console)
    if attempt.picture:
        yield f"      picture  {attempt.picture}"


def find_job(store: Reader, campaign_id: int, word: str) -> list[str]:
    """Keys of the jobs that the word may mean: a key, a row in the order of adding, or the beginning of keys.

    A number of up to seven digits that is not a key is a row, counted from 0, if there are so many.
    """
    if store.job(campaign_id, word) is not None:
        return [word]
    if _ROW.fullmatch(word):
        key = store.key_at(campaign_id, int(word))
        if key is not None:
            return [key]
    return store.keys_like(campaign_id, word, _SHOWN + 1) if word else []


def explain_job(
    store: Reader, campaign: CampaignRow, key: str, clock: Callable[[], float] = time.time
) -> Explanation:
    """All that is on record about the job with that key. campaign: its row. Raises UsageError for an unknown key."""
    brief = store.job(campaign["id"], key)
    if brief is None:
        raise UsageError(f"{campaign['name']} has no job {key!r}")
    (job,) = store.rows_after(campaign["id"], brief["id"] - 1, 1)
    folder = ResultsFolder(campaign["results"] or "", campaign["name"], moved=moved_of(store, campaign["id"]))
    elsewhere = (
        Whose(store, campaign["id"], folder).elsewhere(job["worker_id"]) if campaign["results"] else ""
    )
    commands = Commands.of(campaign, store.database.address)
    suspicion = store.suspicion_of(job["id"]) or ""
    now, following = _now(store, campaign, job, commands, suspicion, clock())
    return Explanation(
        campaign=campaign["name"],
        key=key,
        row=store.place_of(job),
        params=job["params"],
        priority=job["priority"],
        status=job["status"],
        failures=job["failures"],
        crashes=job["crashes"],
        created_ts=job["created_ts"],
        attempts=tuple(_attempts(store, job, folder if campaign["results"] else None)),
        metrics=job["metrics"],
        files=tuple(
            f"{elsewhere}/{file['path']}" if elsewhere else told(folder, file, job["attempt"])
            for file in job["artifacts"]
        ),
        suspicion=suspicion,
        now=now,
        next=tuple(following),
    )


# -- its attempts --------------------------------------------------------------------------------


def _attempts(store: Reader, job: WholeJobRow, folder: ResultsFolder | None) -> Iterator[PastAttempt]:
    since_ts = job["created_ts"]
    for row in store.attempts_of(job["id"]):
        yield _past(row, since_ts, folder.evidence_of(job["key"], row["attempt"]) if folder else None)
        since_ts = row["end_ts"]
    if job["status"] in (Status.DONE.value, Status.IN_PROGRESS.value) and job["grab_ts"] is not None:
        session, renderer = store.session(job["session_id"] or 0)
        is_done = job["status"] == Status.DONE.value and job["end_ts"] is not None
        took_s = (job["end_ts"] or 0.0) - job["grab_ts"] if is_done else None
        phases = store.whole_jobs([job["id"]])[0]["phases"]
        yield PastAttempt(
            number=job["attempt"],
            outcome=job["status"],
            session=session,
            renderer=renderer,
            began_ts=job["grab_ts"],
            waited_s=max(0.0, job["grab_ts"] - since_ts),
            took_s=took_s,
            error="",
            parts=phases.parts(took_s) if phases is not None and took_s is not None else {},
        )


def _past(row: AttemptOfTabRow, since_ts: float, picture: Path | None) -> PastAttempt:
    evidence: Evidence = read_evidence(row["traceback"])
    return PastAttempt(
        number=row["attempt"],
        outcome=row["outcome"],
        session=row["session"] or "",
        renderer=row["renderer"] or "",
        began_ts=row["grab_ts"],
        waited_s=max(0.0, row["grab_ts"] - since_ts),
        took_s=row["end_ts"] - row["grab_ts"],
        error=row["error"] or "",
        console=evidence.console,
        trace=evidence.trace,
        picture=str(picture) if picture is not None else None,
        parts=evidence.phases.parts(row["end_ts"] - row["grab_ts"]) if evidence.phases else {},
    )


# -- why it is where it is -----------------------------------------------------------------------


def _now(
    store: Reader, campaign: CampaignRow, job: JobRow, commands: Commands, suspicion: str, now_ts: float
) -> tuple[str, list[str]]:
    """Its state, in words that follow "job KEY", and what to type next."""
    key, again = job["key"], [commands.run()] if commands.file else []
    looks = [commands.preview(key)] if commands.file else []
    if job["status"] == Status.DONE.value:
        doubt = ", but may be wrong" if suspicion else ""
        return f"is done{doubt}", [commands.verb("retry", "--done", "--key", key), *looks]
    if job["status"] == Status.FAILED.value:
        return f"failed for good: {_spent(campaign, job)}", [
            *looks,
            commands.verb("retry", "--key", key),
            *again,
        ]
    is_at_work = any(not is_gone(process) for _, process, _ in store.live_workers(campaign["id"]))
    if job["status"] == Status.IN_PROGRESS.value:
        return _holder(store, job), [] if is_at_work else again
    if campaign["state"] != "open":
        return f"is pending, and no job is handed out: the campaign is {campaign['state']}", [
            commands.verb("resume"),
            *([] if is_at_work else again),
        ]
    reason = _waits_for(store, job, now_ts)
    if not is_at_work:
        return f"is pending: no run is at work ({reason})", [*again, *looks]
    return f"is pending: {reason}", []


def _spent(campaign: CampaignRow, job: JobRow) -> str:
    charges = []
    if job["failures"]:
        charges.append(f"{job['failures']} of {campaign['max_failures']} failures")
    if job["crashes"]:
        charges.append(f"{job['crashes']} of {campaign['max_crashes']} crashes")
    return f"{' and '.join(charges) or 'set aside'} ({one_line(job['error'] or '')})"


def _holder(store: Reader, job: JobRow) -> str:
    session, _ = store.session(job["session_id"] or 0)
    worker = store.worker(job["worker_id"] or 0)
    where = f" in {one_line(session)}" if session else ""
    if worker is None:
        return f"is in progress{where}"
    process = Identity(worker["host"], worker["boot"], worker["pid"], worker["pid_start"])
    by = f"{where} by process {worker['pid']} on {worker['host']}"
    if is_gone(process):
        return f"was in progress{by}, which is gone: the next run takes it back"
    return f"is in progress{by}, since {_clock(job['grab_ts'] or 0.0)}"


def _waits_for(store: Reader, job: JobRow, now_ts: float) -> str:
    if job["not_before_ts"] is not None:
        left_s = job["not_before_ts"] - now_ts
        if left_s <= 0.0:
            return "its wait for the next attempt is over"
        return f"it waits until {_clock(job['not_before_ts'])} ({span(left_s)}) for its next attempt"
    before = store.ready_before(job)
    behind = ", after all jobs that never crashed" if job["crashes"] else ""
    return f"{before:,} jobs come before it{behind}" if before else f"it is the next one{behind}"


def _clock(ts: float) -> str:
    """Local time, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ts))
