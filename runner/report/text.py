"""The report for a terminal: about one screen of a hundred columns, verdict first."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from runner.machine import size_text
from runner.reasons import one_line, whole_lines
from runner.report.summary import PARTS, Event, Failures, Since, Summary

__all__ = ["parts_told", "span", "to_text"]

_GROUPS, _EVENTS, _WIDE = 10, 8, 96
# With more reasons than this, only the first shows its traceback.
_TRACEBACKS = 3


def to_text(summary: Summary) -> str:
    """The summary for people: verdict first, what to do next at the end."""
    lines = [
        summary.verdict,
        f"  jobs      {_counts(summary)}",
        *_since(summary.since),
        *_times(summary),
        *_warnings(summary),
    ]
    lines += _events(summary.events)
    if summary.suspects:
        first = summary.suspects[0]
        few = _cut(f"for example {first.key} ({first.reason})", _WIDE - 12)
        count = len(summary.suspects)
        lines += [
            f"  suspect   {count:,} done jobs may be wrong; --json lists all",
            f"            {few}",
        ]
    lines += [*_failures(summary), ""]
    if summary.results:
        lines.append(f"  results        {summary.results}{_disk(summary)}")
    elif summary.looked_in and summary.done:
        lines.append(f"  results        none in {summary.looked_in}: name the folder above it with --results")
    lines += _stored(summary)
    lines += [f"  files          {count:,} jobs in {place}" for place, count in summary.folders.items()]
    files = {
        "contact sheet": summary.contact_sheet,
        "suspects": summary.suspects_sheet,
        "failures": summary.failures_sheet,
        "log": summary.log,
    }
    lines += [f"  {name:<14} {file}" for name, file in files.items() if file]
    lines += [f"  next           {command}" for command in summary.next]
    while lines and not lines[-1]:
        lines.pop()
    return whole_lines(lines)


def _counts(summary: Summary) -> str:
    again = f" ({summary.done_after_retry:,} after a retry)" if summary.done_after_retry else ""
    return (
        f"{summary.done:,} done{again}, {summary.failed:,} failed, "
        f"{summary.in_progress:,} in progress, {summary.pending:,} pending"
    )


def _since(since: Since | None) -> Iterator[str]:
    """Changes since the last look."""
    if since is None:
        return
    counts = ((since.done, "done"), (since.failed, "failed"), (since.suspects, "that may be wrong"))
    told = ", ".join(f"{count:+,} {name}" for count, name in counts if count) or "nothing new"
    new = f"; new: {'; '.join(since.new_reasons[:2])}" if since.new_reasons else ""
    yield "  " + _cut(f"since {_clock(since.made_ts)}, when you last looked: {told}{new}")


def _times(summary: Summary) -> Iterator[str]:
    if summary.jobs_per_s is not None and summary.done:
        runs = "1 run" if summary.runs == 1 else f"{summary.runs} runs"
        yield f"  rate      {_rate(summary.jobs_per_s)} over {span(summary.active_s)} in {runs}"
    run = summary.last_run
    if run and summary.runs > 1:
        rate = f", {_rate(run.jobs_per_s)}" if run.jobs_per_s and run.done else ""
        took = span(run.seen_ts - run.started_ts)
        yield f"  last run  {run.done:,} done in {took}{rate}, from {_clock(run.started_ts)}"
    if summary.duration_s:
        times = summary.duration_s
        yield (
            f"  job time  median {span(times.median)}, 95 % within {span(times.p95)}, "
            f"longest {span(times.longest)} ({times.longest_key})"
        )
        if summary.slowest and summary.slowest[0].parts:
            yield f"            of the longest {parts_told(summary.slowest[0].parts)}"


def parts_told(parts: Mapping[str, float]) -> str:
    """Where a job's time went, for people; parts that took none are left out."""
    words = {"assets": "for assets", "drawing": "drawing", "code": "in its own code", "settling": "settling"}
    return ", ".join(f"{span(seconds)} {words[name]}" for name, seconds in parts.items() if seconds >= 0.0005)


def _rate(jobs_per_s: float) -> str:
    return f"{jobs_per_s:.2f} jobs/s" if jobs_per_s >= 0.1 else f"{3600 * jobs_per_s:.0f} jobs an hour"


def _warnings(summary: Summary) -> Iterator[str]:
    if summary.attempts:
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(summary.attempts.items()))
        yield f"  attempts that did not end well: {counts}"
    for change in summary.changed_sources:
        done = change.before + change.after
        yield f"  warning   {one_line(change.name)} changed after {change.before:,} of {done:,} done jobs"
    for part, counts_by_value in summary.drawn_with.items():
        if len(counts_by_value) > 1 and not (part == "file_sha256" and summary.changed_sources):
            told = "; ".join(f"{one_line(value)} ({count:,})" for value, count in counts_by_value.items())
            yield f"  warning   the done jobs differ in {PARTS[part]}: {told}"


def _events(events: tuple[Event, ...]) -> Iterator[str]:
    """The events of the runs, each with its time; browsers that were replaced in good time are one line."""
    told = [event for event in events if not event.is_routine]
    for event in told[:_EVENTS]:
        times = "" if event.count == 1 else f" ({event.count:,} times until {_clock(event.last_ts)})"
        yield f"  {event.kind:<9} {_clock(event.first_ts)} {_cut(event.message, _WIDE - 18)}{times}"
    if len(told) > _EVENTS:
        yield f"  and {len(told) - _EVENTS:,} more events; --json lists all"
    routine = [event for event in events if event.is_routine]
    if routine:
        count = sum(event.count for event in routine)
        most = max(routine, key=lambda event: event.count)
        yield f"  browser   {_cut(f'{count:,} replaced as planned, most often because {most.message}', _WIDE - 12)}"


def _failures(summary: Summary) -> Iterator[str]:
    groups = summary.failures
    has_room = len(groups) <= _TRACEBACKS
    for number, group in enumerate(groups[:_GROUPS]):
        if has_room or number == 0:
            yield ""
        yield f"  {group.count:,} failed: {_cut(group.reason)}"
        yield f"      {_cut(_where(group, summary) + _example(group), _WIDE - 4)}"
        if has_room or number == 0:
            yield from (f"      | {_cut(line, _WIDE - 6)}" for line in group.traceback)
        if group.evidence:
            yield f"      picture {group.evidence}"
    if len(groups) > _GROUPS:
        count = summary.failed - sum(group.count for group in groups[:_GROUPS])
        more = summary.failure_reasons - _GROUPS
        lists = "all" if summary.failure_reasons == len(groups) else f"the first {len(groups):,}"
        yield f"  and {more:,} more reasons, of {count:,} failed jobs; --json lists {lists}"


def _where(group: Failures, summary: Summary) -> str:
    """In how many of the sessions that have rendered anything."""
    at_work = sum(1 for session in summary.sessions if session.done or session.tries)
    return f"in {group.sessions:,} of {at_work:,} sessions, " if group.sessions and at_work > 1 else ""


def _example(group: Failures) -> str:
    return f"for example {group.key}" + ("" if group.example == group.reason else f": {group.example}")


def _stored(summary: Summary) -> list[str]:
    """How much is in an object store, and how much waits for it."""
    if summary.stored is None:
        return []
    count = summary.stored.shards
    shards = f"{count:,} shard{'s' * (count != 1)}, {size_text(summary.stored.stored_bytes)}"
    lines = [f"  stored         {summary.remote or 'in an object store'} ({shards})"]
    if summary.remote and summary.stored.waiting_bytes:
        lines.append(
            f"  not stored     {size_text(summary.stored.waiting_bytes)} wait on the disk for a run to move them"
        )
    return lines


def _disk(summary: Summary) -> str:
    """The disk space that they take, where it is enough to matter."""
    disk = summary.disk
    if disk is None or disk.used + disk.left < disk.free / 100:
        return ""
    left = f", those left will take {size_text(disk.left)}" if disk.left else ""
    return f" (about {size_text(disk.used)}{left}; {size_text(disk.free)} are free)"


def _cut(text: str, longest: int = _WIDE) -> str:
    return one_line(text, longest)


def _clock(ts: float) -> str:
    """The local time of day; on another day, with its date."""
    then, now = time.localtime(ts), time.localtime()
    is_near = time.time() - ts < 16 * 3600 or then[:3] == now[:3]
    return time.strftime("%H:%M" if is_near else "%Y-%m-%d %H:%M", then)


def span(seconds: float) -> str:
    """A duration for people."""
    if seconds < 1.0:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120.0:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 120.0 else f"{hours:.1f} h"
