#!/usr/bin/env python3
"""What the number of jobs costs: a claim in campaigns of 1,000 jobs and more, adding many, SQLite's log.

    scripts/bench_growth.py [--most 1e6] [--rounds 9] [--jobs 100] [--add 1e6] [--add-rounds 3]
                            [--log 1e6] [--json FILE]

Claims: one campaign of each size, all open at once; each round goes through them in shuffled order and
completes and claims so many jobs one at a time. The ratio is the median of the rounds' ratios to the
smallest campaign. 1e7 rows need 4 GB of disk and some minutes.

Adding: Store.add, which checks and encodes params and hashes them into keys, against the driver's
executemany with all that precomputed: same tables and indexes, same pragmas, transactions of 10,000.
Both in turn on fresh databases.

The log: the largest size that SQLite's write-ahead log reaches while so many jobs are claimed and
completed one at a time, and another process reads: first with two snapshots that overlap, so that there
is no moment without a reader, then, for a tenth of the jobs, with one that is held until the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from runner.job import canonical_json, content_key
from runner.store import Store

SMALLEST = 1000
RAW_ADD = "INSERT INTO job (campaign_id, key, params, created_ts) VALUES (?, ?, ?, ?)"


def params_of(number: int) -> dict:
    """Params of the usual kind: a camera's place and a name."""
    return {"azimuth_deg": 0.1 * number, "height_m": 1.5, "scene": f"room-{number % 7}", "seed": number}


class Campaign:
    """A campaign of so many jobs in its own database, and one worker at it."""

    def __init__(self, folder: Path, size: int):
        path = folder / f"{size}.db"
        with Store(path) as store:
            store.submit("bench", map(params_of, range(size)))
        # Opened anew, so that the adding's log is folded into the file.
        self.store = Store(path)
        self.campaign_id = self.store.add_campaign("bench")
        self.worker_id = self.store.start_worker(self.campaign_id)

    def run(self, jobs: int) -> float:
        """Microseconds for each of so many jobs, completed and the next one claimed in one transaction."""
        held = self.store.claim(self.worker_id, self.campaign_id)
        start = time.perf_counter()
        for _ in range(jobs):
            held = self.store.complete_many([(held[0], None)], claim=1)
        elapsed_s = time.perf_counter() - start
        self.store.complete(held[0])
        return elapsed_s / jobs * 1e6


def bench_claims(folder: Path, most: int, rounds: int, jobs: int) -> dict[int, list[float]]:
    """Size → microseconds a job in each round."""
    sizes = [SMALLEST]
    while sizes[-1] * 10 <= most:
        sizes.append(sizes[-1] * 10)
    campaigns = {}
    for size in sizes:
        start = time.perf_counter()
        campaigns[size] = Campaign(folder, size)
        print(f"{size:,} jobs added in {time.perf_counter() - start:.1f} s", file=sys.stderr)
    times = {size: [] for size in sizes}
    for number in range(rounds):
        random.Random(number).shuffle(sizes)
        for size in sizes:
            times[size].append(campaigns[size].run(jobs))
    for campaign in campaigns.values():
        campaign.store.close()
    return dict(sorted(times.items()))


def add_ours(path: Path, count: int) -> float:
    """Seconds that Store.add takes."""
    jobs = [params_of(number) for number in range(count)]
    with Store(path) as store:
        campaign_id = store.add_campaign("bench")
        start = time.perf_counter()
        store.add(campaign_id, jobs)
        return time.perf_counter() - start


def add_raw(path: Path, count: int) -> float:
    """Seconds that the driver takes with keys and texts at hand."""
    texts = [canonical_json(params_of(number)) for number in range(count)]
    with Store(path) as store:
        campaign_id, now = store.add_campaign("bench"), time.time()
        rows = [(campaign_id, content_key(text), text, now) for text in texts]
        driver = store.database._door.driver
        start = time.perf_counter()
        for first in range(0, count, 10_000):
            driver.execute("BEGIN IMMEDIATE")
            driver.executemany(RAW_ADD, rows[first : first + 10_000])
            driver.execute("COMMIT")
        return time.perf_counter() - start


def bench_add(folder: Path, count: int, rounds: int) -> dict[str, list[float]]:
    """Contender → seconds in each round."""
    times = {"raw": [], "ours": []}
    turns = [("raw", add_raw), ("ours", add_ours)]
    for _ in range(rounds):
        for name, add in turns:
            with tempfile.TemporaryDirectory(dir=folder) as fresh:
                times[name].append(add(Path(fresh) / "add.db", count))
        turns.reverse()
        print(f"added {count:,} jobs both ways", file=sys.stderr)
    return times


def read_overlapping(path: Path, stop) -> None:
    """Snapshots of 10 ms and more, each opened before the last one is let go, until told to stop."""
    readers = [sqlite3.connect(path, isolation_level=None) for _ in range(2)]
    reading, resting = readers
    while not stop.wait(0.01):
        resting.execute("BEGIN")
        resting.execute("SELECT count(*) FROM campaign").fetchone()
        if reading.in_transaction:
            reading.execute("COMMIT")
        reading, resting = resting, reading


def read_one_snapshot(path: Path, stop) -> None:
    """One snapshot until told to stop."""
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM campaign").fetchone()
    stop.wait()


def bench_log(folder: Path, jobs: int, read) -> tuple[int, int]:
    """The log's largest size in bytes while so many jobs are settled, and 10,000 jobs after the reader's end."""
    campaign = Campaign(folder, jobs + 20_000)
    path = Path(campaign.store.database.url.database)
    log = path.with_name(path.name + "-wal")
    stop = multiprocessing.Event()
    reader = multiprocessing.Process(target=read, args=(path, stop))
    reader.start()
    largest = 0
    for _ in range(jobs // 1000):
        campaign.run(999)
        largest = max(largest, log.stat().st_size)
    stop.set()
    reader.join()
    for _ in range(10):
        campaign.run(999)
    after = log.stat().st_size
    campaign.store.close()
    path.unlink()
    return largest, after


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--most", type=float, default=1e6, help="jobs in the largest campaign; 0 leaves claims out"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=100, help="jobs of each campaign in each round")
    parser.add_argument("--add", type=float, default=1e6, help="jobs to add at once; 0 leaves adding out")
    parser.add_argument("--add-rounds", type=int, default=3)
    parser.add_argument(
        "--log", type=float, default=0, help="jobs to settle while others read; 0, the default, leaves it out"
    )
    parser.add_argument("--folder", default=".", help="the disk to measure")
    parser.add_argument("--json", help="write every round's figures to this file")
    arguments = parser.parse_args()
    if arguments.rounds * (arguments.jobs + 1) > SMALLEST:
        parser.error(f"--rounds times --jobs must stay below {SMALLEST}, the smallest campaign's jobs")

    claims, adds, logs = {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.folder) as folder:
        if arguments.most:
            claims = bench_claims(Path(folder), int(arguments.most), arguments.rounds, arguments.jobs)
            print(f"\n{'jobs':>12}{'claim+complete, us':>20}{'x 1,000':>9}")
            for size, times in claims.items():
                ratio = statistics.median(time / base for time, base in zip(times, claims[SMALLEST]))
                print(f"{size:12,}{statistics.median(times):20.1f}{ratio:9.2f}")
        if arguments.add:
            adds = bench_add(Path(folder), int(arguments.add), arguments.add_rounds)
            print(f"\n{'adding':12}{'jobs/s':>20}{'x raw':>9}")
            for name, times in adds.items():
                ratio = statistics.median(raw / time for time, raw in zip(times, adds["raw"]))
                print(f"{name:12}{arguments.add / statistics.median(times):20,.0f}{ratio:9.2f}")
        if arguments.log:
            print(f"\n{'readers':12}{'jobs settled':>14}{'largest log, MB':>17}{'when they left':>16}")
            for name, read, jobs in [
                ("overlapping", read_overlapping, int(arguments.log)),
                ("one, held", read_one_snapshot, int(arguments.log / 10)),
            ]:
                logs[name] = bench_log(Path(folder), jobs, read)
                largest, after = logs[name]
                print(f"{name:12}{jobs:14,}{largest / 1e6:17,.0f}{after / 1e6:16,.0f}")
    if arguments.json:
        Path(arguments.json).write_text(
            json.dumps({"claim_us": claims, "add_s": adds, "log_bytes": logs}, indent=1)
        )


if __name__ == "__main__":
    main()
