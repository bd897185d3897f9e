"""The options of a run, from the command line or from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.browsers import Limits
from runner.results import is_url
from runner.run.progress import Screen

__all__ = ["RunOptions", "places"]


def places(results: str | Path | None, beside: Path) -> dict[str, Any]:
    """The options of RunOptions for the place of results: the given folder, or the one beside the campaign.

    For an object store's URL it is both: shards wait in that folder, and all other files stay there.
    """
    if results is not None and is_url(str(results)):
        return {"results": (beside / "results").absolute(), "remote": str(results)}
    return {"results": Path(results or beside / "results").absolute()}


@dataclass(frozen=True)
class RunOptions:
    """How to run a campaign.

    sessions: headless browsers to start. workers: processes that share them; None: as many as they call for.
    database: a path or URL. results: the folder RESULTS.
    host, port: where the server listens; port 0 takes a free one. cert, key: PEM files with which it speaks TLS.
    allow_hosts: names of this machine that others call it by.
    rasterizer: what the browsers draw with, or 'auto'.
    require_gpu: refuse to render in software. gpus: the cards to draw with, as all or 0,1.
    limits: when a browser has done enough.
    halt_share: the run halts when different jobs failed in this share of the last attempts; None: never.
    add: jobs are added also where that looks like a mistake. prune: pending jobs that the campaign no longer
    yields are taken out. update: jobs that it yields with other params than are stored take these, and are rendered
    again. worker_memory_bytes: a worker process that holds more is ended; None:
    half the machine's, shared among all. notify: addresses that notices are sent to; they may hold secrets.
    verbose: show a bar for each job of many steps. screen: what shows how far it is; None: what stderr can.
    show_progress: with a bar, or a line now and then.
    limit: at most so many jobs are taken, once each; None: all. canary: so many are rendered first, spread over all;
    where more of them than halt_share are bad, the run ends. order: 'added', or 'spread' over all of them.
    plain_page: the page does nothing for speed alone, for comparing.
    tab_lease_s: a tab of which nothing was heard for so long is given up, and its job handed back.
    owns_streams: whatever else this process prints goes to the run's log. is_shown: without browsers of its own, the
    link for a person's tab is opened, and shows the scene. pack: the files of done jobs are packed into shards, also
    where the campaign does not say so. remote: the URL of an object store, to which they go from the results folder;
    spool_bytes: when so many of them wait there, the run pauses. longest_s: after so long no job is begun, and the run
    ends when those in flight have; None: when none is left. grace_s: for how long SIGTERM lets those in flight go on
    before they are handed back.
    """

    sessions: int
    database: str
    results: Path
    host: str = "localhost"
    port: int = 0
    cert: str = ""
    key: str = ""
    allow_hosts: Sequence[str] = ()
    rasterizer: str = "auto"
    require_gpu: bool = False
    gpus: str | None = None
    limits: Limits = Limits()
    halt_share: float | None = 0.2
    log_root: str | None = None
    min_free_bytes: int = 0
    add: bool = False
    prune: bool = False
    update: bool = False
    worker_memory_bytes: int | None = None
    notify: Sequence[str] = field(default=(), repr=False)
    show_progress: bool = True
    workers: int | None = None
    limit: int | None = None
    canary: int = 0
    order: str = "added"
    pack: bool = False
    verbose: bool = False
    plain_page: bool = False
    tab_lease_s: float = 30.0
    owns_streams: bool = False
    screen: Screen | None = None
    is_shown: bool = False
    remote: str = ""
    spool_bytes: int = 8 << 30
    longest_s: float | None = None
    grace_s: float = 0.0
