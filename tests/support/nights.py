"""A packed campaign without browsers: claimed, saved, packed and committed by hand, as a run does it."""

from __future__ import annotations

import dataclasses
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.job import Place
from runner.machine import this_process
from runner.results import PackedResults, RenderJob, recover
from runner.results.verify import verify

GONE = dataclasses.replace(this_process(), pid_start="of an earlier process")


class Night:
    """A packed campaign, worked at by hand."""

    def __init__(self, store, root, count=12, remote=None):
        self.store, self.root = store, root
        self.id = store.add_campaign("night", place=Place(results=str(root), remote=remote))
        store.add(self.id, [(f"job{n}", {"n": n, "odd": "\ud83e"}) for n in range(count)])
        self.results = self.folder()

    def folder(self, **options) -> PackedResults:
        return PackedResults(self.root, "night", "ab" * 32, **options)

    def finished(self, worker_id, count, results=None):
        """So many claimed jobs that have rendered."""
        results = results or self.results
        with ThreadPoolExecutor(2) as writer:
            done = []
            for lease in self.store.claim(worker_id, self.id, count):
                files = RenderJob(lease, results, writer)
                files.save("rgb.bin", content_of(lease.params["n"]))
                files.save("views/left.bin", b"left %d" % lease.params["n"])
                files.log(n=lease.params["n"], odd=float("nan"))
                done.append((lease, files.finish()))
        return done

    def complete(self, worker_id, count, results=None):
        """Pack and commit them; returns what was kept."""
        return commit(self.store, (results or self.results).keep(self.finished(worker_id, count, results)))

    def finish(self):
        """What the next run does: the dead are noticed, their tails taken over, what is left is rendered."""
        self.store.reap(self.id, lease_s=60.0)
        worker_id = self.store.start_worker(self.id)
        results = self.folder()
        adopted = recover(self.store, self.id, worker_id, results)
        while self.store.reader.progress(self.id).left:
            self.complete(worker_id, 5, results)
        results.close()
        self.store.end_worker(worker_id)
        return adopted

    def verify(self):
        return verify(self.store.reader, self.store.reader.campaign(self.id))

    def shards(self):
        return sorted((self.root / "night" / "shards").iterdir())

    def assert_whole(self):
        """Each job once, with its own bytes; each shard good to its last byte, with the samples that its row tells."""
        findings = self.verify()
        assert findings.is_well and findings.tails == findings.orphaned == findings.temporary == [], findings
        rows = self.store.reader.rows_after(self.id, 0, 1000)
        for row in rows:
            assert row["status"] == "done" and row["metrics"]["n"] == row["params"]["n"]
            contents = {
                file["name"]: part(self.root / file["path"], file["start"], file["size"])
                for file in row["artifacts"]
            }
            assert contents == {
                "rgb.bin": content_of(row["params"]["n"]),
                "views/left.bin": b"left %d" % row["params"]["n"],
            }
        results = self.store.reader.results_after(self.id, 0, 1000)
        assert sorted(one["key"] for one in results) == sorted(row["key"] for row in rows)
        told = {self.root / shard.path: shard for shard in self.store.reader.shards(self.id)}
        assert sorted(told) == self.shards()
        for file, shard in told.items():
            samples = members_of(file)
            assert (shard.size, shard.jobs) == (file.stat().st_size, len(samples))
            assert all(set(names) == {"rgb.bin", "views.left.bin", "json"} for names in samples.values())


def content_of(n: int) -> bytes:
    return random.Random(n).randbytes(300 * (n % 4))


def part(file: Path, start: int, size: int) -> bytes:
    return file.read_bytes()[start : start + size]


def members_of(file: Path) -> dict[str, dict[str, bytes]]:
    """The samples of a shard as WebDataset groups them: what follows the first dot, by what comes before it."""
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(file, "r|") as tar:
        for member in tar:
            sample, ending = member.name.split(".", 1)
            assert ending not in samples.setdefault(sample, {})
            assert sample == list(samples)[-1], "a sample lies in one piece"
            samples[sample][ending] = tar.extractfile(member).read()
    return samples


def commit(store, kept):
    shards = {one.shard.path: one.shard for one in kept}
    store.complete_many([(one.lease, one.outcome) for one in kept], shards=list(shards.values()))
    return kept
