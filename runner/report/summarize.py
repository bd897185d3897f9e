"""Makes the morning's summary from the rows: what happened, why, and which command to type next."""

from __future__ import annotations

import shutil
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.commands import Commands
from runner.job import Progress, Source
from runner.machine import is_gone
from runner.reasons import common_reason, normalized, one_line
from runner.report.evidence import end_of_own, read_evidence
from runner.report.grouping import Failed, Tried
from runner.report.summary import (
    PARTS,
    ChangedSource,
    Counts,
    Disk,
    Durations,
    Event,
    Failures,
    Run,
    Session,
    Slow,
    Stored,
    Summary,
    Suspect,
    Tries,
)
from runner.report.timings import Timings
from runner.results import ResultsFolder
from runner.store import CampaignRow, EventRow, Reader, SessionRow, WorkerRow

__all__ = ["Look", "look_at", "session_names", "summarize"]

# Of a traceback, with the user's own line.
_TRACEBACK_LINES = 4
_SLOWEST, _REASONS = 10, 100


@dataclass(frozen=True)
class Look:
    """A summary, and the data that were read for it.

    timings: of the done jobs. tries: of attempts that failed or crashed. failed: jobs in groups; failed_ids: of all.
    """

    summary: Summary
    timings: Timings
    tries: Timings
    failed: Failed
    failed_ids: Sequence[int]


def look_at(store: Reader, campaign: CampaignRow) -> Look:
    """Read all that the report says about one campaign. campaign: its row."""
    campaign_id = campaign["id"]
    timings = Timings(store.done_times(campaign_id))
    failed_ids = array("q")
    failed = Failed(_noted(store.failures_in_lots(campaign_id), failed_ids))
    tried = Tried()
    tries = Timings(tried.charged(store.attempts_in_lots(campaign_id)))
    return Look(_summary(store, campaign, timings, tries, tried, failed), timings, tries, failed, failed_ids)


def summarize(store: Reader, campaign: CampaignRow) -> Summary:
    """The summary of one campaign; campaign: its row."""
    return look_at(store, campaign).summary


def _noted(lots: Iterator[list[Any]], ids: array[int]) -> Iterator[list[Any]]:
    for lot in lots:
        ids.extend([row[0] for row in lot])
        yield lot


def _summary(
    store: Reader,
    campaign: CampaignRow,
    timings: Timings,
    tries: Timings,
    tried: Tried,
    failed: Failed,
) -> Summary:
    campaign_id = campaign["id"]
    progress, stored = store.progress(campaign_id), _stored(store, campaign)
    workers, sessions = store.workers(campaign_id), store.sessions(campaign_id)
    active_s = _union_s([(worker["started_ts"], worker["beat_ts"]) for worker in workers])
    name_of = session_names(sessions)
    return Summary(
        **vars(Counts.of(campaign, progress)),
        file=campaign["file"],
        looked_in=str(Path(campaign["results"], campaign["name"])) if campaign["results"] else None,
        results=_existing(campaign["results"], campaign["name"]),
        folders=store.done_by_folder(campaign_id),
        contact_sheet=_existing(campaign["results"], campaign["name"], "contact_sheet.jpg"),
        suspects_sheet=_existing(campaign["results"], campaign["name"], "suspects.jpg"),
        failures_sheet=_existing(campaign["results"], campaign["name"], "failures.jpg"),
        log=_last_log(campaign),
        made_ts=round(time.time(), 3),
        done_after_retry=tries.jobs_also_in(timings),
        runs=len({_process_of(worker) for worker in workers}),
        last_run=_last_run(workers, timings),
        active_s=round(active_s, 3),
        jobs_per_s=round(progress.done / active_s, 3) if active_s else None,
        duration_s=_durations(store, timings),
        slowest=_slowest(store, timings),
        disk=_disk(store, campaign, progress),
        remote=campaign["remote"],
        stored=stored,
        attempts=dict(tried.outcomes.most_common()),
        drawn_with=_drawn_with(sessions, timings),
        changed_sources=_changed_sources(store.sources(campaign_id), timings),
        events=_group_events(store.events(campaign_id)),
        sessions=_sessions(sessions, timings, tried, name_of),
        suspects=tuple(Suspect(key, one_line(reason)) for key, reason in store.suspects(campaign_id)),
        failures=_failures(store, campaign, failed, tried),
        failure_reasons=failed.reasons,
        tries=_tries(failed, tried, name_of),
        next=_next_commands(store, campaign, progress, stored),
    )


def session_names(sessions: list[SessionRow]) -> Callable[[int | None], str]:
    """A name for each browser tab by its id: its own, with a number where a tab of another run has the same."""
    names: dict[int | None, str] = {}
    seen: Counter[str] = Counter()
    for row in sessions:
        name = one_line(row["name"], 40) or "a tab"
        seen[name] += 1
        names[row["id"]] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return lambda session_id: names.get(session_id, "no browser")


def _last_run(workers: list[WorkerRow], timings: Timings) -> Run | None:
    if not workers:
        return None
    its = [worker for worker in workers if _process_of(worker) == _process_of(workers[-1])]
    began_ts, beat_ts = its[0]["started_ts"], max(worker["beat_ts"] for worker in its)
    done = len(timings) - timings.ended_before(began_ts)
    rate = round(done / (beat_ts - began_ts), 3) if beat_ts > began_ts else None
    return Run(began_ts, beat_ts, done, rate)


def _process_of(worker: WorkerRow) -> tuple[Any, ...]:
    """The run that it belonged to. A run has a row for each worker process, and one more for each replacement."""
    return worker["host"], worker["boot"], worker["pid"], worker["pid_start"]


def _durations(store: Reader, timings: Timings) -> Durations | None:
    if not len(timings):
        return None
    ((job_id, longest_s),) = timings.slowest(1)
    key = store.key_of(job_id) or ""
    return Durations(
        round(timings.quantile_s(0.5), 4), round(timings.quantile_s(0.95), 4), round(longest_s, 4), key
    )


def _slowest(store: Reader, timings: Timings) -> tuple[Slow, ...]:
    slowest = dict(timings.slowest(_SLOWEST))
    rows = store.whole_jobs(list(slowest))
    return tuple(
        Slow(
            row["key"],
            round(slowest[row["id"]], 4),
            row["created_ts"],
            row["grab_ts"],
            row["end_ts"],
            row["attempt"],
            row["phases"].parts(slowest[row["id"]]) if row["phases"] is not None else {},
        )
        for row in sorted(rows, key=lambda row: -slowest[row["id"]])
        if row["grab_ts"] is not None and row["end_ts"] is not None
    )


def _disk(store: Reader, campaign: CampaignRow, progress: Progress) -> Disk | None:
    if campaign["remote"] or not campaign["results"] or not Path(campaign["results"]).is_dir():
        return None
    jobs, size = store.recent_files_bytes(campaign["id"])
    a_job = size / jobs if jobs else 0.0
    free = shutil.disk_usage(campaign["results"]).free
    return Disk(int(a_job * progress.done), int(a_job * progress.left), free)


def _stored(store: Reader, campaign: CampaignRow) -> Stored | None:
    stored = store.stored_bytes(campaign["id"])
    return Stored(*stored) if campaign["remote"] or stored.shards else None


def _drawn_with(sessions: list[SessionRow], timings: Timings) -> dict[str, dict[str, int]]:
    by_id: dict[int, Mapping[str, Any]] = {row["id"]: row for row in sessions}
    drawn_with: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
    for session_id, count in timings.done_by_session().items():
        session: Mapping[str, Any] = by_id.get(session_id or 0, {})
        for part, counts in drawn_with.items():
            value = session.get(part)
            if isinstance(value, dict):
                value = ", ".join(f"{name} {version}" for name, version in sorted(value.items()))
            if value is not None:
                counts[value] += count
    return {part: dict(counts.most_common()) for part, counts in drawn_with.items()}


def _changed_sources(sources: list[Source], timings: Timings) -> tuple[ChangedSource, ...]:
    """Source files that changed after jobs were done."""
    last: dict[str, str] = {}
    changes = []
    for source in sources:
        if last.setdefault(source.name, source.digest) != source.digest:
            before = timings.ended_before(source.ts)
            if before:
                changes.append(ChangedSource(source.name, source.ts, before, len(timings) - before))
        last[source.name] = source.digest
    return tuple(changes)


def _group_events(rows: list[EventRow]) -> tuple[Event, ...]:
    """By kind and message, in the order in which each first came."""
    groups: dict[tuple[str, str], list[EventRow]] = {}
    for row in rows:
        groups.setdefault((row["kind"], normalized(row["message"])), []).append(row)
    return tuple(
        Event(
            kind,
            common_reason(row["message"] for row in group),
            len(group),
            group[0]["ts"],
            group[-1]["ts"],
            is_routine=kind == "recycle",
        )
        for (kind, _), group in groups.items()
    )


def _sessions(
    rows: list[SessionRow], timings: Timings, tried: Tried, name_of: Callable[[int | None], str]
) -> tuple[Session, ...]:
    done, tries = timings.done_by_session(), tried.by_session
    return tuple(
        Session(name_of(row["id"]), row["started_ts"], done.get(row["id"], 0), tries[row["id"]])
        for row in rows
    )


def _tries(failed: Failed, tried: Tried, name_of: Callable[[int | None], str]) -> tuple[Tries, ...]:
    """The most frequent reasons, each with the sessions by name."""
    shown = {group.normalized: group.reason for group in failed.largest}
    told = []
    for reason, counts in tried.sessions_of(tried.most_frequent(_REASONS)).items():
        named: Counter[str] = Counter()
        for session_id, count in counts.items():
            named[name_of(session_id)] += count
        told.append(Tries(shown.get(reason, reason), named.total(), dict(named.most_common())))
    return tuple(told)


def _failures(store: Reader, campaign: CampaignRow, failed: Failed, tried: Tried) -> tuple[Failures, ...]:
    """The most frequent reasons, each with the evidence of one of its jobs."""
    folder = ResultsFolder(campaign["results"], campaign["name"]) if campaign["results"] else None
    failures = []
    groups = failed.largest[:_REASONS]
    sessions = tried.sessions_of(group.normalized for group in groups)
    for group in groups:
        job_id, key, error, attempt = group.first[0]
        lines = end_of_own(read_evidence(store.traceback_of(job_id, attempt)).trace, _TRACEBACK_LINES)
        kept = (
            (folder.evidence_of(key, attempt) for _, key, _, attempt in group.first) if folder else iter(())
        )
        evidence = next((str(path) for path in kept if path), None)
        failures.append(
            Failures(
                reason=group.reason,
                count=group.count,
                sessions=len(sessions[group.normalized]),
                key=key,
                example=one_line(error or ""),
                traceback=tuple(map(one_line, lines)),
                evidence=evidence,
            )
        )
    return tuple(failures)


def _next_commands(
    store: Reader, campaign: CampaignRow, progress: Progress, stored: Stored | None
) -> tuple[str, ...]:
    state, commands = campaign["state"], Commands.of(campaign, store.database.address)
    # A second run is not what comes next.
    is_at_work = any(not is_gone(process) for _, process, _ in store.live_workers(campaign["id"]))
    following = []
    if progress.failed:
        following.append(commands.verb("retry"))
    if state != "open" and (progress.failed or progress.left):
        following.append(commands.verb("resume"))
    waits = commands.remote is not None and stored is not None and stored.waiting_bytes > 0
    if commands.file and (progress.failed or progress.left or waits) and not is_at_work:
        following.append(commands.run())
    return tuple(following)


def _existing(results: str | None, *parts: str) -> str | None:
    path = Path(results, *parts) if results else None
    return str(path) if path and path.exists() else None


def _last_log(campaign: CampaignRow) -> str | None:
    """The log file of the last run."""
    logs = ResultsFolder(campaign["results"], campaign["name"]).run_logs() if campaign["results"] else []
    return str(logs[-1]) if logs else None


def _union_s(spans: list[tuple[float, float]]) -> float:
    """The length of the union of time spans: overlapping runs count once."""
    total = 0.0
    until = float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
