"""The last words of a run: how far it came, where things are, and what to type next."""

from __future__ import annotations

from pathlib import Path

from runner.commands import Commands
from runner.exits import ExitStatus
from runner.machine import size_text
from runner.report import span
from runner.store import Reader

__all__ = ["status_of_rows", "told_end"]


def told_end(
    store: Reader,
    campaign_id: int,
    commands: Commands,
    folder: Path,
    log_file: Path | None,
    status: ExitStatus,
    took_s: float,
    waits: str = "",
) -> str:
    """The lines to say.

    folder: the campaign's in the results folder. log_file: of the run. took_s: how long it was at work. waits: what is
    not in the object store yet, and why; ''.
    """
    name, progress = commands.campaign, store.progress(campaign_id)
    if status is ExitStatus.NOTHING_TO_DO:
        return f"{name}: there are no jobs"
    state = store.campaign(campaign_id)["state"]
    line = f"{name}: all {progress.total:,} jobs are done"
    if waits:
        line = f"{name}: all {progress.total:,} jobs are rendered, but not all files are where they belong"
    if progress.done < progress.total:
        line = f"{name}: {progress.done:,} of {progress.total:,} jobs are done, {progress.failed:,} failed"
    if progress.left:
        line += f", {progress.left:,} left" + ("" if state == "open" else f"; it is {state}")
    suspects = store.count_suspects(campaign_id)
    if suspects:
        line += f"; {suspects:,} may be wrong"
    lines = [f"{line} (this run took {span(took_s)})", f"  results        {folder}"]
    files = {
        "contact sheet": folder / "contact_sheet.jpg",
        "suspects": folder / "suspects.jpg",
        "failures": folder / "failures.jpg",
        "log": log_file,
    }
    lines += [f"  {title:<14} {file}" for title, file in files.items() if file is not None and file.exists()]
    stored = store.stored_bytes(campaign_id)
    if stored.shards:
        shards = f"{stored.shards:,} shard{'s' * (stored.shards > 1)}, {size_text(stored.moved)}"
        lines.insert(
            2, f"  stored         {store.campaign(campaign_id)['remote'] or 'in an object store'} ({shards})"
        )
    lines.append(f"  report         {commands.verb('report')}")
    if progress.failed:
        lines.append(f"  try again      {commands.verb('retry')}")
    if waits:
        lines.append(f"  go on          {commands.run()}")
        lines.append(f"  not stored     {waits}")
    elif progress.left:
        lines.append(f"  go on          {commands.run() if state == 'open' else commands.verb('resume')}")
    return "\n".join(lines)


def status_of_rows(store: Reader, campaign_id: int) -> ExitStatus:
    """The exit status of a run that nothing has stopped, by the rows."""
    progress = store.progress(campaign_id)
    if progress.left:
        is_cancelled = store.campaign(campaign_id)["state"] == "cancelled"
        return ExitStatus.STOPPED if is_cancelled else ExitStatus.UNFINISHED
    if progress.failed:
        return ExitStatus.SOME_FAILED
    return ExitStatus.DONE if progress.total else ExitStatus.NOTHING_TO_DO
