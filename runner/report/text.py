"""The report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from runner.reasons import one_line
from runner.report.summary import PARTS, Event, Failures, Summary

__all__ = ["span", "to_text"]

_GROUPS = 10


def to_text(summary: Summary) -> str:
    """The summary for people: verdict first, at the end what to do next."""
    lines = [_verdict(summary), f"  jobs      {_counts(summary)}", *_times(summary)]
    if summary.attempts:
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(summary.attempts.items()))
        lines.append(f"  attempts that did not end well: {counts}")
    for change in summary.changed_sources:
        done = change.before + change.after
        lines.append(
            f"  warning   {one_line(change.name)} changed after {change.before:,} of {done:,} done jobs"
        )
    for part, counts_by_value in summary.drawn_with.items():
        if len(counts_by_value) > 1 and not (part == "file_sha256" and summary.changed_sources):
            told = "; ".join(f"{one_line(value)} ({count:,})" for value, count in counts_by_value.items())
            lines.append(f"  warning   the done jobs differ in {PARTS[part]}: {told}")
    lines += _events(summary.events)
    if summary.suspects:
        first = summary.suspects[0]
        lines.append(
            f"  suspect   {len(summary.suspects):,} done jobs may be wrong; "
            f"for example {first.key} ({first.reason}); --json lists all"
        )
    lines += [*_failures(summary.failures), ""]
    if summary.results:
        lines.append(f"  results        {summary.results}")
    elif summary.looked_in and summary.done:
        lines.append(f"  results        none in {summary.looked_in}: name the folder above it with --results")
    if summary.contact_sheet:
        lines.append(f"  contact sheet  {summary.contact_sheet}")
    lines += [f"  next           {command}" for command in summary.next]
    return "\n".join(lines).rstrip() + "\n"


def _verdict(summary: Summary) -> str:
    name, total = summary.campaign, summary.total
    if not total:
        return f"{name}: no jobs"
    if summary.left:
        state = "unfinished" if summary.state == "open" else summary.state
        return f"{name}: {state}, {summary.left:,} of {total:,} jobs are left"
    if summary.failed:
        return f"{name}: finished, but {summary.failed:,} of {total:,} jobs failed"
    return f"{name}: all {total:,} jobs are done"


def _counts(summary: Summary) -> str:
    return (
        f"{summary.done:,} done, {summary.failed:,} failed, "
        f"{summary.in_progress:,} in progress, {summary.pending:,} pending"
    )


def _times(summary: Summary) -> Iterator[str]:
    if summary.jobs_per_s is not None and summary.done:
        runs = "1 run" if summary.runs == 1 else f"{summary.runs} runs"
        yield f"  rate      {summary.jobs_per_s:.2f} jobs/s over {span(summary.active_s)} in {runs}"
    if summary.duration_s:
        times = summary.duration_s
        yield (
            f"  job time  median {span(times.median)}, 95 % within {span(times.p95)}, "
            f"longest {span(times.longest)} ({times.longest_key})"
        )


def _events(events: tuple[Event, ...]) -> Iterator[str]:
    for event in events[:_GROUPS]:
        times = "" if event.count == 1 else f" ({event.count:,} times)"
        yield f"  {event.kind:<9} {event.message}{times}"
    if len(events) > _GROUPS:
        yield f"  and {len(events) - _GROUPS:,} more events; --json lists all"


def _failures(groups: tuple[Failures, ...]) -> Iterator[str]:
    for group in groups[:_GROUPS]:
        yield ""
        yield f"  {group.count:,} failed: {group.reason}"
        example = "" if group.example == group.reason else f": {group.example}"
        yield f"      for example {group.key}{example}"
        yield from (f"      | {line}" for line in group.traceback)
    if len(groups) > _GROUPS:
        count = sum(group.count for group in groups[_GROUPS:])
        yield ""
        yield f"  and {len(groups) - _GROUPS:,} more reasons, of {count:,} failed jobs; --json lists all"


def span(seconds: float) -> str:
    """A duration for people."""
    if seconds < 1.0:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120.0:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 120.0 else f"{hours:.1f} h"
