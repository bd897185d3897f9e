"""The report for a terminal."""

from __future__ import annotations

from typing import Any

from runner.report.summary import PARTS


def to_text(summary: dict[str, Any]) -> str:
    """The summary for people: verdict first, at the end what to do next."""
    lines = [_verdict(summary), _counts(summary)]
    if summary["jobs_per_s"] is not None and summary["done"]:
        runs = "1 run" if summary["runs"] == 1 else f"{summary['runs']} runs"
        lines.append(
            f"  rate      {summary['jobs_per_s']:.2f} jobs/s over {span(summary['active_s'])} in {runs}"
        )
    if summary["duration_s"]:
        times = summary["duration_s"]
        lines.append(
            f"  job time  median {span(times['median'])}, 95 % within {span(times['p95'])}, "
            f"longest {span(times['longest'])} ({times['longest_key']})"
        )
    if summary["attempts"]:
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(summary["attempts"].items()))
        lines.append(f"  attempts that did not end well: {counts}")
    for part, counts in summary["drawn_with"].items():
        if len(counts) > 1:
            told = "; ".join(f"{value} ({count:,})" for value, count in counts.items())
            lines.append(f"  warning   the done jobs differ in {PARTS[part]}: {told}")
    for group in summary["events"]:
        times = "" if group["count"] == 1 else f" ({group['count']:,} times)"
        lines.append(f"  {group['kind']:<9} {group['message']}{times}")
    if summary["suspects"]:
        first = summary["suspects"][0]
        lines.append(
            f"  suspect   pictures of {len(summary['suspects']):,} done jobs may be wrong; "
            f"for example {first['key']} ({first['reason']}); --json lists all"
        )
    for group in summary["failures"]:
        lines += ["", f"  {group['count']:,} failed: {group['reason']}", f"      for example {group['key']}"]
        lines += [f"      | {line}" for line in group["traceback"]]
    lines.append("")
    if summary["results"]:
        lines.append(f"  results        {summary['results']}")
    if summary["contact_sheet"]:
        lines.append(f"  contact sheet  {summary['contact_sheet']}")
    lines += [f"  next           {command}" for command in summary["next"]]
    return "\n".join(lines).rstrip() + "\n"


def _verdict(summary: dict[str, Any]) -> str:
    name, total = summary["campaign"], summary["total"]
    left = summary["pending"] + summary["in_progress"]
    if not total:
        return f"{name}: no jobs"
    if left:
        return f"{name}: unfinished, {left:,} of {total:,} jobs are left"
    if summary["failed"]:
        return f"{name}: finished, but {summary['failed']:,} of {total:,} jobs failed"
    return f"{name}: all {total:,} jobs are done"


def _counts(summary: dict[str, Any]) -> str:
    counts = ", ".join(f"{summary[name]:,} {name}" for name in ("done", "failed", "in_progress", "pending"))
    return f"  jobs      {counts.replace('in_progress', 'in progress')}"


def span(seconds: float) -> str:
    if seconds < 1.0:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120.0:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 120.0 else f"{hours:.1f} h"
