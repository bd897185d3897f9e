"""The morning report: what happened, why, and which command to type next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.commands import Commands
from runner.job import Progress
from runner.store import Store

# Pictures may differ where one of these does.
PARTS = {
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
        "next": _next_commands(campaign, progress, Commands.of(campaign, store.address)),
    }


def _drawn_with(store: Store, campaign_id: int) -> dict[str, dict[str, int]]:
    """What the done jobs were drawn with: of each part, how many jobs each value has drawn."""
    sessions = {session["id"]: session for session in store.sessions(campaign_id)}
    drawn_with: dict[str, dict[str, int]] = {part: {} for part in PARTS}
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


def _next_commands(campaign: dict[str, Any], progress: Progress, commands: Commands) -> list[str]:
    following = []
    if progress.failed:
        following.append(commands.verb("retry"))
    if campaign["state"] != "open" and (progress.failed or progress.left):
        following.append(commands.verb("resume"))
    if commands.file and (progress.failed or progress.left):
        following.append(commands.run())
    return following


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
