"""The morning report: what happened, why, and which command to type next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from runner.store import Store

__all__ = ["summarize", "to_text"]

# Pictures may differ where one of these does.
_PARTS = {
    "renderer": "WebGL renderer",
    "browser": "browser",
    "client": "web client",
    "vuer": "Vuer's version",
    "runner": "runner's version",
    "file_sha256": "campaign file (sha256)",
}


def summarize(store: Store, campaign: dict[str, Any]) -> dict[str, Any]:
    """Everything the report says of one campaign, as plain JSON values; times in seconds."""
    import pandas as pd

    campaign_id = campaign["id"]
    progress = store.progress(campaign_id)
    durations = pd.DataFrame(store.done_times(campaign_id), columns=["key", "grab_ts", "end_ts"])
    durations["duration_s"] = durations["end_ts"] - durations["grab_ts"]
    attempts = pd.DataFrame(store.attempts(campaign_id))
    active_s = _union_s([(w["started_ts"], w["beat_ts"]) for w in store.workers(campaign_id)])
    sheet = _existing(campaign["results"], campaign["name"], "contact_sheet.jpg")
    return {
        "campaign": campaign["name"],
        "file": campaign["file"],
        "results": _existing(campaign["results"], campaign["name"]),
        "contact_sheet": sheet,
        "total": progress.total,
        "done": progress.done,
        "failed": progress.failed,
        "in_progress": progress.in_progress,
        "pending": progress.pending,
        "runs": len(store.workers(campaign_id)),
        "active_s": round(active_s, 3),
        "jobs_per_s": round(progress.done / active_s, 3) if active_s else None,
        "duration_s": _quantiles(durations),
        "attempts": {} if attempts.empty else attempts["outcome"].value_counts().to_dict(),
        "drawn_with": _drawn_with(store, campaign_id),
        "events": _group_events(store.events(campaign_id)),
        "suspects": [{"key": key, "reason": reason} for key, reason in store.suspects(campaign_id)],
        "failures": _group_failures(store.failures(campaign_id)),
        "next": _next_commands(campaign, progress),
    }


def to_text(summary: dict[str, Any]) -> str:
    """The summary for people: verdict first, at the end what to do next."""
    lines = [_verdict(summary), _counts(summary)]
    if summary["jobs_per_s"] is not None and summary["done"]:
        runs = "1 run" if summary["runs"] == 1 else f"{summary['runs']} runs"
        lines.append(
            f"  rate      {summary['jobs_per_s']:.2f} jobs/s over {_span(summary['active_s'])} in {runs}"
        )
    if summary["duration_s"]:
        times = summary["duration_s"]
        lines.append(
            f"  job time  median {_span(times['median'])}, 95 % within {_span(times['p95'])}, "
            f"longest {_span(times['longest'])} ({times['longest_key']})"
        )
    if summary["attempts"]:
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(summary["attempts"].items()))
        lines.append(f"  attempts that did not end well: {counts}")
    for part, counts in summary["drawn_with"].items():
        if len(counts) > 1:
            told = "; ".join(f"{value} ({count:,})" for value, count in counts.items())
            lines.append(f"  warning   the done jobs differ in {_PARTS[part]}: {told}")
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


def _drawn_with(store: Store, campaign_id: int) -> dict[str, dict[str, int]]:
    """What the done jobs were drawn with: of each part, how many jobs each value has drawn."""
    sessions = {session["id"]: session for session in store.sessions(campaign_id)}
    drawn_with: dict[str, dict[str, int]] = {part: {} for part in _PARTS}
    for session_id, count in store.done_by_session(campaign_id).items():
        session = sessions.get(session_id)
        for part, counts in drawn_with.items():
            value = session and session[part]
            if isinstance(value, dict):
                value = ", ".join(f"{name} {version}" for name, version in sorted(value.items()))
            if session is not None and value is not None:
                counts[value] = counts.get(value, 0) + count
    return {
        part: dict(sorted(counts.items(), key=lambda item: -item[1])) for part, counts in drawn_with.items()
    }


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


def _quantiles(durations: Any) -> dict[str, Any] | None:
    if durations.empty:
        return None
    seconds = durations["duration_s"]
    longest = durations.loc[seconds.idxmax()]
    return {
        "median": round(float(seconds.median()), 4),
        "p95": round(float(seconds.quantile(0.95)), 4),
        "longest": round(float(longest["duration_s"]), 4),
        "longest_key": str(longest["key"]),
    }


def _group_events(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What befell the runs, by kind and message, each with how often and when first and last."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        first = {"kind": event["kind"], "message": event["message"], "count": 0, "first_ts": event["ts"]}
        group = groups.setdefault((event["kind"], event["message"]), first)
        group["count"] += 1
        group["last_ts"] = event["ts"]
    return list(groups.values())


def _group_failures(failures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Failed jobs by their reason, most frequent first, each with an example."""
    groups: dict[str, dict[str, Any]] = {}
    for row in failures:
        group = groups.setdefault(
            row["error"],
            {
                "reason": row["error"],
                "count": 0,
                "key": row["key"],
                # The end of a traceback is the user's own line.
                "traceback": (row["traceback"] or "").strip().splitlines()[-4:],
            },
        )
        group["count"] += 1
    return sorted(groups.values(), key=lambda group: -group["count"])


def _next_commands(campaign: dict[str, Any], progress: Any) -> list[str]:
    run = f"runner run {shlex.quote(campaign['file'])}" if campaign["file"] else ""
    commands = []
    if progress.failed:
        commands.append(f"runner retry {campaign['name']}")
    if run and (progress.failed or progress.left):
        commands.append(run)
    return commands


def _existing(results: str | None, *parts: str) -> str | None:
    path = Path(results, *parts) if results else None
    return str(path) if path and path.exists() else None


def _union_s(spans: list[tuple[float, float]]) -> float:
    """The length of the union of time spans: overlapping runs count once."""
    total = 0.0
    until = float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def _span(seconds: float) -> str:
    if seconds < 1.0:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120.0:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 120.0 else f"{hours:.1f} h"
