#!/usr/bin/env python3
"""Compare runner's queue with raw sqlite3 and with other SQLite queues, all in one run.

    scripts/bench_queue.py [--rounds 7] [--jobs 4000] [--workers 1,4] [--only raw,ours] [--json FILE]

A round takes every contender once, in shuffled order, each with a fresh database on the same disk:
one process adds the jobs as fast as the library can, then the workers claim and complete them all.
A job's work is nothing, so the figures are the queue's own ceiling. Figures are medians; a ratio is
the median of the rounds' ratios of rates to raw sqlite3, one job at a time, at the same durability
(PRAGMA synchronous, asked of the contender's own connection). Trust ratios: a loaded machine
halves the figures of all contenders alike.

The last column must be empty: it counts the jobs that never ran and those that ran twice.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner import JobQueue
from runner.store import Store

LEVELS = {0: "OFF", 1: "NORMAL", 2: "FULL"}


class Contender:
    """One queue library; it is pickled to its workers while closed.

    package: what must be importable. batch: jobs in one claim.
    """

    package = "sqlite3"

    def __init__(self, name: str, synchronous: str, batch: int = 1):
        self.name, self.synchronous, self.batch = name, synchronous, batch
        self.path = ""

    def open(self) -> None:
        """Connect to the database at self.path and make what is missing."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def connection(self) -> sqlite3.Connection:
        """The connection that settles jobs."""
        raise NotImplementedError

    def add(self, jobs: list[dict]) -> None:
        """Add the jobs by the library's best way for many."""
        raise NotImplementedError

    def begin(self) -> None:
        """What a worker does once before its first claim."""

    def step(self) -> list[dict]:
        """Claim and complete for good; the jobs that were done, none at the end."""
        raise NotImplementedError


class Raw(Contender):
    """The reference: what one would write by hand for one campaign, with the same fence."""

    SCHEMA = """
        CREATE TABLE IF NOT EXISTS job (
            id INTEGER PRIMARY KEY, campaign_id INTEGER NOT NULL DEFAULT 1,
            status INTEGER NOT NULL DEFAULT 0, priority INTEGER NOT NULL DEFAULT 0,
            attempt INTEGER NOT NULL DEFAULT 0, worker_id INTEGER, grab_ts REAL, end_ts REAL,
            params TEXT NOT NULL);
        CREATE INDEX IF NOT EXISTS job_ready ON job (campaign_id, priority DESC, id) WHERE status = 0;
        CREATE INDEX IF NOT EXISTS job_running ON job (worker_id) WHERE status = 1;
    """
    CLAIM = """
        UPDATE job SET status = 1, attempt = attempt + 1, worker_id = ?, grab_ts = ? WHERE id IN (
            SELECT id FROM job WHERE campaign_id = 1 AND status = 0 ORDER BY priority DESC, id LIMIT ?)
        RETURNING id, attempt, params
    """
    DONE = """
        UPDATE job SET status = 2, end_ts = ? WHERE id = ? AND worker_id = ? AND attempt = ? AND status = 1
    """

    def open(self):
        self.driver = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        self.driver.execute("PRAGMA journal_mode = WAL")
        self.driver.execute(f"PRAGMA synchronous = {self.synchronous}")
        self.driver.executescript(self.SCHEMA)

    def close(self):
        self.driver.close()
        del self.driver

    def connection(self):
        return self.driver

    def add(self, jobs):
        self.driver.execute("BEGIN IMMEDIATE")
        self.driver.executemany("INSERT INTO job (params) VALUES (?)", [(json.dumps(job),) for job in jobs])
        self.driver.execute("COMMIT")

    def begin(self):
        self.worker_id = random.getrandbits(62)

    def step(self):
        rows = self.driver.execute(self.CLAIM, (self.worker_id, time.time(), self.batch)).fetchall()
        now = time.time()
        fences = [(now, job_id, self.worker_id, attempt) for job_id, attempt, _ in rows]
        if len(rows) == 1:
            changed = self.driver.execute(self.DONE, fences[0]).rowcount
        elif rows:
            self.driver.execute("BEGIN IMMEDIATE")
            changed = self.driver.executemany(self.DONE, fences).rowcount
            self.driver.execute("COMMIT")
        else:
            return []
        assert changed == len(rows)
        return [json.loads(params) for _, _, params in rows]


class LiteQueue(Contender):
    """litequeue: NORMAL, and a bulk add in one transaction; done() has no fence."""

    package = "litequeue"

    def open(self):
        from litequeue import LiteQueue

        self.queue = LiteQueue(self.path, timeout=60)

    def close(self):
        self.queue.close()
        del self.queue

    def connection(self):
        return self.queue.conn

    def add(self, jobs):
        with self.queue.transaction(mode="IMMEDIATE"):
            for job in jobs:
                self.queue.put(json.dumps(job))

    def step(self):
        message = self.queue.pop()
        if message is None:
            return []
        self.queue.done(message.message_id)
        return [json.loads(message.data)]


class PersistQueue(Contender):
    """persist-queue's SQLiteAckQueue: FULL; it selects and marks in two steps: two workers may get one job."""

    package = "persistqueue"

    def open(self):
        from persistqueue import SQLiteAckQueue

        path = Path(self.path)
        self.queue = SQLiteAckQueue(
            str(path.parent), multithreading=True, auto_resume=False, timeout=60, db_file_name=path.name
        )

    def close(self):
        self.queue.close()
        del self.queue

    def connection(self):
        return self.queue._putter

    def add(self, jobs):
        for job in jobs:
            self.queue.put(job)

    def step(self):
        from persistqueue import Empty

        try:
            message = self.queue.get(block=False, raw=True)
        except Empty:
            return []
        self.queue.ack(id=message["pqid"])
        return [message["data"]]


class Huey(Contender):
    """huey's SqliteStorage: FULL; a claim deletes the job, so a killed worker loses it."""

    package = "huey"

    def open(self):
        from huey.storage import SqliteStorage

        self.storage = SqliteStorage("bench", filename=self.path, timeout=60)

    def close(self):
        self.storage.close()
        del self.storage

    def connection(self):
        return self.storage.conn

    def add(self, jobs):
        for job in jobs:
            self.storage.enqueue(json.dumps(job).encode())

    def step(self):
        data = self.storage.dequeue()
        if data is None:
            return []
        job = json.loads(bytes(data))
        self.storage.put_data(str(job["n"]), b"1", is_result=True)
        return [job]


class Ours(Contender):
    """runner.store.Store: complete a batch and claim the next one in one transaction."""

    def open(self):
        self.store = Store(self.path, synchronous=self.synchronous)
        self.campaign_id = self.store.add_campaign("bench")

    def close(self):
        self.store.close()
        del self.store

    def connection(self):
        return self.store.database._door.driver

    def add(self, jobs):
        self.store.add(self.campaign_id, jobs)

    def begin(self):
        self.worker_id = self.store.start_worker(self.campaign_id)
        self.held = None

    def step(self):
        if self.held is None:
            self.held = self.store.claim(self.worker_id, self.campaign_id, self.batch)
        if not self.held:
            return []
        done = self.held
        self.held = self.store.complete_many([(lease, None) for lease in done], claim=self.batch)
        return [lease.params for lease in done]


class OursInTwo(Ours):
    """runner.store.Store: claim() and complete(), a transaction each."""

    def step(self):
        leases = self.store.claim(self.worker_id, self.campaign_id)
        for lease in leases:
            self.store.complete(lease)
        return [lease.params for lease in leases]


class OursTake(Ours):
    """runner.JobQueue: take() and mark_done(), as the tutorial has them."""

    def open(self):
        self.queue = JobQueue(self.path)
        self.store = self.queue.store

    def close(self):
        self.queue.close()
        del self.queue, self.store

    def add(self, jobs):
        self.queue.extend(jobs)

    def begin(self):
        pass

    def step(self):
        job, mark_done, _ = self.queue.take()
        if job is None:
            return []
        mark_done()
        return [job["job_params"]]


class OursWith(OursTake):
    """runner.JobQueue: with queue.claim()."""

    def step(self):
        with self.queue.claim() as job:
            return [] if job is None else [job["job_params"]]


CONTENDERS = [
    Raw("raw", "NORMAL"),
    Raw("raw-16", "NORMAL", 16),
    LiteQueue("litequeue", "NORMAL"),
    Ours("ours", "NORMAL"),
    OursInTwo("ours-in-two", "NORMAL"),
    OursTake("take", "NORMAL"),
    OursWith("with-claim", "NORMAL"),
    Ours("ours-16", "NORMAL", 16),
    Raw("raw", "FULL"),
    Raw("raw-16", "FULL", 16),
    PersistQueue("persist-queue", "FULL"),
    Huey("huey", "FULL"),
    Ours("ours", "FULL"),
    OursInTwo("ours-in-two", "FULL"),
    Ours("ours-16", "FULL", 16),
]


@dataclass
class Figures:
    """One contender in one round. add, claim: jobs a second; cpu_us: of its workers, for a job. lost, twice: jobs."""

    add: float
    claim: float
    cpu_us: float
    lost: int
    twice: int


def measure(contender: Contender, jobs: int, workers: int, folder: Path) -> Figures:
    """Add, claim and complete so many jobs in a fresh database with so many processes."""
    fresh = Path(tempfile.mkdtemp(dir=folder))
    contender.path = str(fresh / "queue.db")
    try:
        contender.open()
        check_durability(contender)
        params = [{"n": n} for n in range(jobs)]
        start = time.perf_counter()
        contender.add(params)
        add_s = time.perf_counter() - start
        contender.close()
        context = multiprocessing.get_context("fork")
        barrier = context.Barrier(workers)
        with ProcessPoolExecutor(workers, context, initializer=_share, initargs=(barrier,)) as pool:
            runs = [run.result() for run in [pool.submit(drain, contender) for _ in range(workers)]]
    finally:
        shutil.rmtree(fresh)
    claim_s = max(end for _, end, _, _ in runs) - min(start for start, _, _, _ in runs)
    cpu_us = sum(cpu_s for _, _, cpu_s, _ in runs) / jobs * 1e6
    times = Counter(n for _, _, _, numbers in runs for n in numbers)
    twice = sum(count > 1 for count in times.values())
    return Figures(jobs / add_s, len(times) / claim_s, cpu_us, jobs - len(times), twice)


def check_durability(contender: Contender) -> None:
    row = contender.connection().execute("PRAGMA synchronous").fetchone()
    level = LEVELS[row["synchronous"] if isinstance(row, dict) else row[0]]
    if level != contender.synchronous:
        sys.exit(f"{contender.name} runs at synchronous={level}, not at {contender.synchronous}")


def _share(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def drain(contender: Contender) -> tuple[float, float, float, list[int]]:
    """In a worker: start and end by the monotonic clock that all share, seconds of CPU, and the jobs done."""
    contender.open()
    contender.begin()
    _barrier.wait(60)
    numbers = []
    start, cpu_s = time.monotonic(), time.process_time()
    while done := contender.step():
        numbers += [job["n"] for job in done]
    end, cpu_s = time.monotonic(), time.process_time() - cpu_s
    contender.close()
    return start, end, cpu_s, numbers


def table(names: list[Contender], rounds: dict[tuple[str, str], list[Figures]]) -> list[str]:
    lines = [
        f"{'':16}{'synchronous':12}{'claim+complete/s':>17}{'x raw':>7}{'cpu µs':>8}{'x raw':>7}"
        f"{'add/s':>10}{'x raw':>7}  wrong"
    ]
    for contender in names:
        figures = rounds[contender.name, contender.synchronous]
        raw = rounds["raw", contender.synchronous]
        wrong = [
            f"{count} {what}"
            for what, count in [
                ("lost", sum(one.lost for one in figures)),
                ("run twice", sum(one.twice for one in figures)),
            ]
            if count
        ]
        lines.append(
            f"{contender.name:16}{contender.synchronous:12}"
            f"{statistics.median(one.claim for one in figures):17,.0f}"
            f"{statistics.median(one.claim / ref.claim for one, ref in zip(figures, raw)):7.2f}"
            f"{statistics.median(one.cpu_us for one in figures):8.0f}"
            f"{statistics.median(ref.cpu_us / one.cpu_us for one, ref in zip(figures, raw)):7.2f}"
            f"{statistics.median(one.add for one in figures):10,.0f}"
            f"{statistics.median(one.add / ref.add for one, ref in zip(figures, raw)):7.2f}"
            f"  {', '.join(wrong)}".rstrip()
        )
    return lines


def chosen(only: str) -> list[Contender]:
    """The contenders named, and raw for their ratios; exits where a package is missing."""
    names = only.split(",") if only else [contender.name for contender in CONTENDERS]
    unknown = set(names) - {contender.name for contender in CONTENDERS}
    if unknown:
        known = ", ".join(dict.fromkeys(contender.name for contender in CONTENDERS))
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {known}")
    levels = {one.synchronous for one in CONTENDERS if one.name in names}
    found = [
        one for one in CONTENDERS if one.name in names or (one.name == "raw" and one.synchronous in levels)
    ]
    missing = sorted({one.package for one in found if importlib.util.find_spec(one.package) is None})
    if missing:
        sys.exit(
            f"not installed: {', '.join(missing)}. Install them with: pip install '.[bench]'\n"
            "or leave them out: --only raw,raw-16,ours,ours-in-two,ours-16"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=4000, help="jobs in each database")
    parser.add_argument("--workers", default="1,4", help="processes at work, one table each")
    parser.add_argument("--only", default="", help="names of contenders, with commas")
    parser.add_argument("--folder", default=".", help="the disk to measure")
    parser.add_argument("--json", help="write every round's figures to this file")
    arguments = parser.parse_args()

    contenders = chosen(arguments.only)
    counts = [int(count) for count in arguments.workers.split(",")]
    results = {count: {(one.name, one.synchronous): [] for one in contenders} for count in counts}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.folder) as folder:
        for number in range(arguments.rounds):
            runs = [(one, count) for one in contenders for count in counts]
            random.Random(number).shuffle(runs)
            for contender, count in runs:
                figures = measure(contender, arguments.jobs, count, Path(folder))
                results[count][contender.name, contender.synchronous].append(figures)
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    for count in counts:
        print(f"\n{count} process{'es' * (count > 1)}, {arguments.jobs:,} jobs, {arguments.rounds} rounds")
        print(*table(contenders, results[count]), sep="\n")
    if arguments.json:
        rows = [
            {"workers": count, "name": name, "synchronous": level, "rounds": [asdict(one) for one in figures]}
            for count in counts
            for (name, level), figures in results[count].items()
        ]
        Path(arguments.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
