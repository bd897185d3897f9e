"""The summary for spreadsheets (CSV), and for where people talk (Markdown)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from runner.cells import cell
from runner.reasons import one_line, whole_lines
from runner.report.summary import Failures, Summary
from runner.report.text import span

__all__ = ["to_csv", "to_markdown"]

_GROUPS = 10
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@-])")


def to_csv(summaries: Iterable[Summary]) -> str:
    """A line of numbers for each campaign, under a line of names; times in seconds, empty where unknown."""
    file = io.StringIO()
    writer = None
    for summary in summaries:
        row = _csv_row(summary)
        if writer is None:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return file.getvalue()


def _cell(value: Any) -> Any:
    return cell(whole_lines([value])[:-1]) if isinstance(value, str) else value


def _csv_row(summary: Summary) -> dict[str, Any]:
    names = ("campaign", "state", "total", "done", "failed", "in_progress", "pending", "done_after_retry")
    times = asdict(summary.duration_s) if summary.duration_s else {}
    most = summary.failures[0] if summary.failures else None
    return {
        **{name: getattr(summary, name) for name in names},
        "suspects": len(summary.suspects),
        "runs": summary.runs,
        "active_s": summary.active_s,
        "jobs_per_s": summary.jobs_per_s,
        **{f"{name}_s": times.get(name) for name in ("median", "p95", "longest")},
        "longest_key": times.get("longest_key"),
        "failure_reasons": summary.failure_reasons,
        "most_frequent_reason": most.reason if most else None,
        "most_frequent_count": most.count if most else 0,
        "made_ts": summary.made_ts,
    }


def to_markdown(summary: Summary) -> str:
    """A heading, counts, a table of reasons, and the commands. Error texts are escaped, never markup."""
    again = f", {summary.done_after_retry:,} of them after a retry" if summary.done_after_retry else ""
    lines = [f"## {_text(summary.verdict)}", "", f"- {summary.done:,} of {summary.total:,} done{again}"]
    lines.append(
        f"- {summary.failed:,} failed, {len(summary.suspects):,} may be wrong, {summary.left:,} left"
    )
    if summary.duration_s:
        times = summary.duration_s
        lines.append(f"- a job took {span(times.median)} (median), 95 % within {span(times.p95)}")
    if summary.failures:
        lines += ["", "| failed | reason | sessions | for example |", "|---:|---|---:|---|"]
        lines += map(_markdown_row, summary.failures[:_GROUPS])
    more = summary.failure_reasons - _GROUPS
    if more > 0:
        lines += ["", f"and {more:,} more reasons"]
    if summary.next:
        lines += ["", "```sh", whole_lines(summary.next) + "```"]
    return "\n".join(lines) + "\n"


def _markdown_row(group: Failures) -> str:
    return f"| {group.count:,} | {_text(group.reason)} | {group.sessions:,} | {_text(group.key)} |"


def _text(text: str) -> str:
    return _MARKUP.sub(r"\\\1", one_line(text, 160))
