"""How far a campaign is, and who is at work on it: the data of `runner status`, quick at any size."""

from __future__ import annotations

from dataclasses import dataclass

from runner.machine import is_gone, size_text
from runner.reasons import one_line
from runner.report.summary import Counts
from runner.store import CampaignRow, Reader

__all__ = ["AtWork", "Status", "status_of"]


@dataclass(frozen=True)
class AtWork:
    """A run that is at work. since_ts: Unix seconds; beat_ts: its last sign of life, by its own clock."""

    host: str
    pid: int
    since_ts: float
    beat_ts: float


@dataclass(frozen=True)
class Status(Counts):
    """Counts, and the runs that are at work. A dead run on another machine counts until another run notices.

    remote: the object store to which files go, or None. waiting_bytes: how much waits on the disk for it. hidden_tabs:
    names of tabs that are out of sight, and so slowed down by their browsers.
    """

    at_work: tuple[AtWork, ...] = ()
    remote: str | None = None
    waiting_bytes: int = 0
    hidden_tabs: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left for a run to do."""
        return not (self.pending or self.in_progress)

    def __str__(self) -> str:
        counts = super().__str__()
        if self.waiting_bytes:
            counts += f", {size_text(self.waiting_bytes)} on the disk for {self.remote}"
        if self.is_over:
            return counts
        runs = ", ".join(f"process {run.pid} on {run.host}" for run in self.at_work)
        hidden = f"; hidden tab: {', '.join(map(one_line, self.hidden_tabs))}" if self.hidden_tabs else ""
        return f"{counts}; " + (f"at work: {runs}{hidden}" if runs else "no run is at work")


def status_of(store: Reader, campaign: CampaignRow) -> Status:
    """From the campaign's row, the counters in it, and the workers that live."""
    counts = Counts.of(campaign, store.progress(campaign["id"]))
    runs, worker_ids = {}, []
    for worker_id, identity, _ in store.live_workers(campaign["id"]):
        worker = store.worker(worker_id)
        if worker is not None and not is_gone(identity):
            runs[identity] = AtWork(identity.host, identity.pid, worker["started_ts"], worker["beat_ts"])
            worker_ids.append(worker_id)
    hidden = store.hidden_tabs(campaign["id"], worker_ids) if worker_ids else []
    remote = campaign["remote"]
    waiting = store.stored_bytes(campaign["id"]).waiting if remote else 0
    return Status(
        **vars(counts),
        at_work=tuple(runs.values()),
        remote=remote,
        waiting_bytes=waiting,
        hidden_tabs=tuple(hidden),
    )
