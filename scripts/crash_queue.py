#!/usr/bin/env python3
"""Kill workers of one queue at random moments and see that every job is done exactly once.

    python scripts/crash_queue.py --rounds N [--seed S] [--database URL] [--workers W]

Each round SIGKILLs some of W worker processes and starts others in their place. Workers that nobody
kills then finish what is left, and the rows are held against each other and against what the workers
had noted, on disk, as acknowledged. Exit status 1 when anything was lost, torn or done twice.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# Forked workers start in milliseconds when everything is imported, drivers included, beforehand.
import psycopg  # noqa: F401
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite.pysqlite  # noqa: F401

from runner.job import Outcome, Policy, Status
from runner.store import Store

FORK = multiprocessing.get_context("fork")
CAMPAIGN = "storm"
POLICY = Policy(max_failures=3, max_crashes=3, backoff_s=0.01, backoff_max_s=0.02)
# A killed process is known by its pid; no worker here is ever called dead for being slow.
LEASE_S = 3600.0
FINISH_S = 60.0


class Notes:
    """What one worker knows to be committed; on disk before the next move is made."""

    def __init__(self, folder: Path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(folder / f"{os.getpid()}-{time.monotonic_ns()}.log", flags)

    def write(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())
        os.fsync(self._file)


def work(database: str, folder: Path, seed: str, storming) -> None:
    """One worker: while the storm lasts it also fails, hands back, and adds jobs when it finds none."""
    chance = random.Random(seed)
    notes = Notes(folder)
    with Store(database) as store:
        campaign_id = store.add_campaign(CAMPAIGN, POLICY)
        store.reap(campaign_id, LEASE_S)
        worker_id = store.start_worker(campaign_id)
        leases = []
        while True:
            leases = leases or store.claim(worker_id, campaign_id, count=chance.choice((1, 1, 2, 3)))
            if leases:
                leases = settle(store, leases, chance, notes, storming.value)
            elif store.promote(campaign_id) or store.reap(campaign_id, LEASE_S):
                continue
            elif storming.value:
                keys = [f"{seed}-{chance.getrandbits(60):x}" for _ in range(20)]
                store.add(campaign_id, [(key, {"key": key}) for key in keys])
                notes.write("added", *keys)
            elif store.reader.progress(campaign_id).left:
                # Another worker holds the last jobs, or they wait for their next attempt.
                time.sleep(0.005)
            elif store.retry(campaign_id) == 0:
                break
        store.end_worker(worker_id)


def settle(store, leases, chance, notes, storming) -> list:
    """Settle one lease, or all of them at once; returns those still held, or claimed in the same move."""
    dice = chance.random() if storming else 1.0
    lease, *others = leases
    if dice < 0.1:
        store.fail(lease, "unlucky")
    elif dice < 0.2:
        store.release(lease)
    elif dice < 0.3:
        store.reclaim(lease, "its browser died")
    elif dice < 0.5:
        claimed = store.complete_many([(lease, outcome_of(lease)) for lease in leases], claim=2)
        for lease in leases:
            notes.write("done", lease.key, lease.attempt)
        return claimed
    else:
        store.complete(lease, outcome_of(lease))
        notes.write("done", lease.key, lease.attempt)
    return others


def outcome_of(lease) -> Outcome:
    return Outcome(metrics={"attempt": lease.attempt})


def storm(database: str, folder: Path, rounds: int, workers: int, seed: int) -> tuple[int, list[str]]:
    """Kill and start workers for so many rounds, then let clean ones finish.

    Returns the number of kills, and what was wrong with the way the workers ended.
    """
    chance = random.Random(seed)
    storming = FORK.RawValue("b", 1)  # no lock that a killed process could take with it
    crew, wrong, started, kills = [], [], 0, 0

    def start() -> None:
        nonlocal started
        started += 1
        name = f"{seed}-{started}"
        crew.append(FORK.Process(target=work, args=(database, folder, name, storming), name=name))
        crew[-1].start()

    def see_off(process) -> None:
        crew.remove(process)
        if process.exitcode not in (0, -signal.SIGKILL):
            wrong.append(f"worker {process.name} ended by itself with exit code {process.exitcode}")

    for _ in range(rounds):
        while len(crew) < workers:
            start()
        # Some die while they connect; but on a busy machine all would, and nothing would be put to the test.
        if chance.random() < 0.7:
            wait_for_a_note(folder)
        time.sleep(chance.uniform(0.01, 0.08))
        for process in chance.sample(crew, chance.randint(1, max(1, workers - 1))):
            if process.is_alive():
                process.kill()
                kills += 1
            process.join()
            see_off(process)
    for process in crew:
        process.kill()
        kills += 1
    for process in list(crew):
        process.join()
        see_off(process)
    storming.value = 0
    start()
    start()
    deadline = time.monotonic() + FINISH_S
    for process in list(crew):
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            wrong.append(f"worker {process.name} did not finish in {FINISH_S:.0f} s: jobs are stuck")
            process.kill()
            process.join()
        see_off(process)
    return kills, wrong


def wait_for_a_note(folder: Path) -> None:
    """Return when some worker has noted something more, or after FINISH_S seconds."""

    def size() -> int:
        return sum(path.stat().st_size for path in folder.glob("*.log"))

    before, deadline = size(), time.monotonic() + FINISH_S
    while size() == before and time.monotonic() < deadline:
        time.sleep(0.005)


def notes_of(folder: Path) -> tuple[list[tuple[str, int]], set[str]]:
    """What all workers had noted: (key, attempt) of acknowledged jobs, and keys of added ones."""
    done, added = [], set()
    for path in folder.glob("*.log"):
        # A worker may die within its last line.
        whole_lines = path.read_text().split("\n")[:-1]
        for verb, *words in map(str.split, whole_lines):
            if verb == "done":
                done.append((words[0], int(words[1])))
            else:
                added.update(words)
    return done, added


def violations(store: Store, folder: Path) -> list[str]:
    """Whatever the rows and the workers' notes contradict each other in."""
    wrong = []

    def check(fact: bool, what: str) -> None:
        if not fact:
            wrong.append(what)

    (campaign,) = store.reader.campaigns()
    rows = {row["key"]: row for row in store.reader.jobs(campaign["id"])}
    statuses = Counter(row["status"] for row in rows.values())
    check(set(statuses) == {Status.DONE.value}, f"not every job is done: {dict(statuses)}")
    counters = [campaign["total"], campaign["done"], campaign["failed"]]
    counts = [len(rows), statuses[Status.DONE.value], statuses[Status.FAILED.value]]
    check(counters == counts, f"total, done and failed are counted as {counters}, and are {counts}")

    records = store.reader.results_after(campaign["id"], 0, 10**9)
    times = Counter(record["key"] for record in records)
    for key in rows:
        check(times[key] == 1, f"job {key} has {times[key]} results")
    for record in records:
        noted, attempt = record["metrics"]["attempt"], rows[record["key"]]["attempt"]
        check(noted == attempt, f"job {record['key']}: result of attempt {noted}, row at {attempt}")

    acknowledged, added = notes_of(folder)
    for key, count in Counter(key for key, _attempt in acknowledged).items():
        check(count == 1, f"job {key} was acknowledged done {count} times")
    for key, attempt in acknowledged:
        row = rows.get(key)
        check(
            row is not None and (row["status"], row["attempt"]) == (Status.DONE.value, attempt),
            f"job {key} was acknowledged done in attempt {attempt}, and its row says {row}",
        )
    check(added <= rows.keys(), f"acknowledged as added, but gone: {sorted(added - rows.keys())[:5]}")

    # Each claim but the one that led to done was put on record when it ended.
    ended: dict[str, list[int]] = {key: [] for key in rows}
    for attempt in store.reader.attempts(campaign["id"]):
        ended[attempt["key"]].append(attempt["attempt"])
    for key, attempts in ended.items():
        expected = list(range(1, rows[key]["attempt"]))
        check(sorted(attempts) == expected, f"job {key}: attempts {sorted(attempts)}, not {expected}")

    if store.database.is_sqlite:
        connection = sqlite3.connect(store.database.url.database)
        verdict = connection.execute("PRAGMA integrity_check").fetchall()
        connection.close()
        check(verdict == [("ok",)], f"integrity_check: {verdict[:3]}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, required=True, help="how often to kill")
    parser.add_argument("--seed", type=int, help="of the kills; a random one is chosen and printed")
    parser.add_argument("--database", help="URL of an empty database; default: a temporary SQLite file")
    parser.add_argument("--workers", type=int, default=3, help="worker processes at a time (default: 3)")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = arguments.database or str(folder / "runner.db")
        kills, wrong = storm(database, folder, arguments.rounds, arguments.workers, seed)
        with Store(database) as store:
            wrong += violations(store, folder)
            jobs = store.reader.progress(store.reader.campaigns()[0]["id"]).total
    for what in wrong[:20]:
        print(what)
    if wrong:
        print(f"FAILED: {len(wrong)} violations in {jobs} jobs after {kills} kills; --seed {seed}")
        return 1
    print(f"ok: {jobs} jobs, each done exactly once, after {kills} kills in {arguments.rounds} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
