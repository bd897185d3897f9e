"""The second way in which the files of jobs are kept: packed into shards, which costs a flush for many jobs.

Files of recorded steps, and those of a job that saves very much, lie in jobs/ until it has finished, as those of a job
that is not packed do for good.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import ArtifactError
from runner.job import Artifact, Lease, Outcome
from runner.results.columns import MANIFEST_FIELD
from runner.results.folder import Held, Kept, ResultsFolder
from runner.results.metrics import record_of
from runner.results.shards import SIDECAR, Shard, sample_name

__all__ = ["PackedResults"]

_SHARD_BYTES = 256 << 20
_OF_FILE = ("name", "size", "sha256", "kind")
_ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class PackedResults(ResultsFolder):
    """A campaign's folder that packs the files of done jobs into shards. Safe to call from any thread.

    shard_bytes: a shard of that size takes no more; 0: the usual size.
    """

    # A sample's record lies in the shard that is flushed.
    is_record_flushed = seals_at_once = True

    def __init__(
        self,
        root: str | Path,
        campaign_name: str,
        file_sha256: str | None = None,
        shard_bytes: int = 0,
    ):
        super().__init__(root, campaign_name, file_sha256)
        self._shard_bytes = shard_bytes or _SHARD_BYTES
        self._shard: Shard | None = None
        self._mutex = threading.Lock()

    def seal(self, lease: Lease, outcome: Outcome, names: Iterable[str]) -> Outcome:
        # Readers do not tell upper from lower case.
        taken = {SIDECAR}
        for artifact in outcome.artifacts:
            ending = artifact.name.replace("/", ".").casefold()
            if ending in taken:
                raise ArtifactError(
                    f"job {lease.key}: in a shard, {artifact.name!r} would be the second {ending!r} of its job: "
                    "name one differently"
                )
            taken.add(ending)
        return outcome

    def keep(self, finished: Sequence[tuple[Lease, Outcome]]) -> list[Kept | Exception]:
        with self._mutex:
            try:
                kept: list[Kept | Exception] = [self._append(lease, outcome) for lease, outcome in finished]
                if self._shard is not None:
                    self._shard.flush()
            except OSError as error:
                self._close()
                return [error] * len(finished)
        return kept

    def _append(self, lease: Lease, outcome: Outcome) -> Kept | Exception:
        if not outcome.artifacts:
            return Kept(lease, outcome)
        try:
            files = [(artifact, self._content(artifact)) for artifact in outcome.artifacts]
            sidecar = _ENCODE(self._sidecar(lease, outcome)).encode()
        except Exception as error:
            return error
        shard = self._shard_for(lease.worker_id)
        placed = shard.append(sample_name(lease.job_id, lease.attempt), files, sidecar)
        self._held.pop(lease.job_id, None)
        return Kept(lease, replace(outcome, artifacts=tuple(placed)), shard.end)

    def _content(self, artifact: Artifact) -> bytes:
        return artifact.content if isinstance(artifact, Held) else self.stored(artifact.extent).read_bytes()

    def _sidecar(self, lease: Lease, outcome: Outcome) -> Mapping[str, Any]:
        """The job's record, as in metrics.pkl, and all that its rows would hold."""
        manifest = self.manifest(lease, outcome)
        files = [{name: getattr(artifact, name) for name in _OF_FILE} for artifact in outcome.artifacts]
        del manifest["artifacts"]
        return record_of(manifest) | {"artifacts": files, MANIFEST_FIELD: manifest}

    def _shard_for(self, worker_id: int) -> Shard:
        """The shard to append to. A worker that was taken for dead and came back begins a new one."""
        shard = self._shard
        if shard is not None and (shard.size >= self._shard_bytes or shard.worker_id != worker_id):
            shard.flush()
            self._close()
        if self._shard is None:
            self._shard = Shard(self.root, self.campaign_name, worker_id)
        return self._shard

    def has_leftovers(self, lease: Lease, outcome: Outcome) -> bool:
        is_held = all(isinstance(artifact, Held) for artifact in outcome.artifacts)
        return lease.attempt > 1 or outcome.has_checkpoint or not is_held

    def clean_up(self, lease: Lease, outcome: Outcome) -> None:
        self.remove_earlier(lease, ())
        self.discard(lease)

    def close_older_than(self, age_s: float) -> None:
        """Close the open shard if it is that old; the next job begins a new one."""
        with self._mutex:
            if self._shard is not None and time.monotonic() - self._shard.began > age_s:
                self._close()

    def close(self) -> None:
        with self._mutex:
            self._close()

    def _close(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None
