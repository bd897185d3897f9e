"""Recovers the end of a shard that no row knows, once its writer is gone: jobs are adopted, the rest is cut off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from runner.job import ShardEnd
from runner.results.folder import ResultsFolder, finished_of
from runner.results.shards import FOLDER, Sample, ended_shard, samples_behind, writer_of
from runner.store import Reader, Store

__all__ = ["cut_tails", "recover", "tails"]


def recover(store: Store, campaign_id: int, worker_id: int, results: ResultsFolder) -> int:
    """Adopt jobs that killed processes have packed and not recorded; returns how many are done by it.

    worker_id: the worker that claims them for that. Store.adopt has the rules. From the first sample on that cannot be
    adopted, the rest is cut off and rendered again: whoever reads the shard itself must find each job there once. If
    this process is killed, too, the next one goes on: one transaction makes a job done and extends the valid part of
    its shard.
    """
    adopted = 0
    for unseen in (results.folder / FOLDER).glob(".*.tar.tmp"):
        # Its writer was killed just as it began.
        if _has_ended(store.reader, campaign_id, unseen):
            unseen.unlink(missing_ok=True)
    for path in tails(store.reader, campaign_id, results):
        with ended_shard(results.root / path) as opened:
            if opened is None:
                continue
            good = _good_end(store.reader, campaign_id, path)
            for sample in samples_behind(opened, path, good.size):
                end = ShardEnd(path, sample.end, good.jobs + 1)
                if not _adopt(store, campaign_id, worker_id, results, sample, end):
                    break
                good = end
                adopted += 1
            _cut(opened, results.root / path, good.size)
    return adopted


def _adopt(
    store: Store, campaign_id: int, worker_id: int, results: ResultsFolder, sample: Sample, end: ShardEnd
) -> bool:
    """Make the sample's job done, unless the database knows better."""
    finished = finished_of(sample.manifest)
    job = store.reader.job(campaign_id, sample.manifest["key"])
    if job is None or not results.is_of(sample.manifest, job["key"], job["params"]):
        return False
    if not store.may_adopt(job["id"], finished):
        return False
    for lease in store.claim(worker_id, campaign_id, job=(job["id"], job["attempt"])):
        if store.adopt(lease, finished, [end]):
            results.remove_earlier(lease, finished.outcome.artifacts)
            return True
        store.release(lease, "another attempt had finished it")
    return False


def tails(store: Reader, campaign_id: int, results: ResultsFolder) -> list[str]:
    """Paths, below RESULTS, of shards with bytes that no row knows, and whose worker is no longer at work.

    Shards of workers that this database does not know belong to another one, and are left alone.
    """
    good = {shard.path: shard.size for shard in store.shards(campaign_id)}
    found = []
    for file in sorted((results.folder / FOLDER).glob("*.tar")):
        path = file.relative_to(results.root).as_posix()
        try:
            size = file.stat().st_size
        except FileNotFoundError:
            # It was moved meanwhile.
            continue
        if (size > good.get(path, 0) or path not in good) and _has_ended(store, campaign_id, file):
            found.append(path)
    return found


def _has_ended(store: Reader, campaign_id: int, shard: Path) -> bool:
    """Whether it was begun for a worker of this campaign that can complete no more jobs."""
    worker = store.worker(writer_of(shard) or 0)
    return worker is not None and worker["campaign_id"] == campaign_id and worker["state"] != "live"


def cut_tails(store: Reader, campaign_id: int, results: ResultsFolder) -> int:
    """Cut off bytes that no row knows; returns from how many shards."""
    count = 0
    for path in tails(store, campaign_id, results):
        with ended_shard(results.root / path) as opened:
            if opened is not None:
                _cut(opened, results.root / path, _good_end(store, campaign_id, path).size)
                count += 1
    return count


def _good_end(store: Reader, campaign_id: int, path: str) -> ShardEnd:
    """Read again: its writer may have recorded more before it let go."""
    return next((shard for shard in store.shards(campaign_id) if shard.path == path), ShardEnd(path, 0, 0))


def _cut(opened: IO[bytes], file: Path, size: int) -> None:
    if not size:
        file.unlink(missing_ok=True)
    elif size < os.fstat(opened.fileno()).st_size:
        os.ftruncate(opened.fileno(), size)
        os.fsync(opened.fileno())
