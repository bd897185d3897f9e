"""The specification that a worker process gets when it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runner.run.share import Share

__all__ = ["WorkerSpec"]


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker process renders, where to, and how; plain values only.

    file, settings: of the campaign. database: a path or URL. worker_id: under which it claims. sources: digests
    of the files that are known to be used. share: what it has of the run. token, host, port, cert, key, names: of its
    server; port 0 takes a free one.
    renders, memory_bytes: when a browser has done enough. earlier_renderer: what drew the pictures so far.
    log: the file for what is printed; ''.
    found_rasterizer, attempts_known, steps_known: what an earlier worker of this run has found out: what draws
    here, and how long attempts and steps take, as TimeLimit.known tells it. suspects: the ids of jobs of which
    one has ended or blocked a worker: each is to be rendered while no other is. drivers: the EGL drivers' files
    that browsers are pinned to, in turn. jobs: the ids of the only jobs that are to be rendered by the run, once
    each, in this order, with how many attempts each had before; None: all. order: as they were added, or spread.
    is_shown: a person's own tab is to show the scene. is_packed: whether files are packed into shards.
    has_all: whether all jobs are in the database; where they are not, it is told when they are.
    shard_bytes: a shard that has so many takes no more, and shard_age_s: one that was begun so long ago; 0: as usual.
    plain_page: it does nothing for speed alone.
    tab_lease_s: a tab of which nothing was heard for so long is given up.
    """

    file: str
    settings: Mapping[str, str]
    database: str
    results: str
    campaign_id: int
    sources: Mapping[str, str]
    host: str
    port: int
    token: str
    rasterizer: str
    require_gpu: bool
    renders: int
    memory_bytes: int
    earlier_renderer: str
    worker_id: int = 0
    share: Share = Share()
    log: str = ""
    found_rasterizer: str = ""
    attempts_known: tuple[int, float] = (0, 0.0)
    steps_known: tuple[int, float] = (0, 0.0)
    suspects: Sequence[int] = ()
    drivers: Sequence[str] = ()
    jobs: Sequence[tuple[int, int]] | None = None
    order: str = "added"
    cert: str = ""
    key: str = ""
    names: Sequence[str] = ()
    is_shown: bool = False
    is_packed: bool = False
    has_all: bool = True
    plain_page: bool = False
    shard_bytes: int = 0
    shard_age_s: float = 0.0
    tab_lease_s: float = 30.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> WorkerSpec:
        """As to_json gave it."""
        return cls(**values | {"share": Share(**values["share"])})
