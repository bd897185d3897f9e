#!/usr/bin/env python3
"""Where many runners on one PostgreSQL server meet a wall: what a job costs there, measured, and what follows.

    scripts/simulate_fleet.py --postgres URL [--jobs 1e8] [--browsers 1000] [--runners 50] [--per-browser 10]
                              [--cores 16] [--processes 1,2,4] [--at-once 48] [--seconds 5] [--json]

Measured, on a server of this machine's own, whose processes are looked at: processes that claim in one thread and
complete in groups of up to --at-once in another, as a run's workers do; the same with claims of as many, so that only
completions and their turns are left; adding jobs, and comparing with those that are there; the metrics log, which
reads each result; the connections that real runs hold, with tabs that draw nothing, and what a run asks for that has
nothing to do. From these follows by arithmetic how many jobs a second each part would let through for that fleet:
--per-browser, pictures a second of one browser; --cores, of the server.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import psutil
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))
from bench_processes import CAMPAIGN, JOBS, LINK, Postgres, cpu_s, open_tabs, outcome_of

from runner.job import Lease
from runner.results import MetricsLog, ResultsFolder
from runner.store import Spool, Store, compare

SPAWN = multiprocessing.get_context("spawn")
LOGGED = 5000


class Server:
    """The server's own side of things, seen from this machine."""

    def __init__(self, url: str):
        self._engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
        self._postmaster = psutil.Process(self.ask("SELECT pg_backend_pid()")).parent()

    def ask(self, question: str) -> Any:
        with self._engine.connect() as connection:
            return connection.exec_driver_sql(question).scalar()

    def cpu_s(self) -> float:
        """Of all its processes that are there; one that has ended is missed."""
        return sum(cpu_s(one) for one in self._postmaster.children(recursive=True))

    def wal_bytes(self) -> int:
        return int(self.ask("SELECT pg_current_wal_insert_lsn() - '0/0'"))

    def connections(self, database: str) -> int:
        return int(self.ask(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"))

    def statements(self, database: str) -> int:
        asked = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname"
        return int(self.ask(f"{asked} = '{database}'"))

    def size(self, database: str) -> int:
        return int(self.ask(f"SELECT pg_database_size('{database}')"))


# -- what is measured ----------------------------------------------------------------------------


def work(url: str, seconds: float, at_once: int, lot: int, begin: Any, told: Any, is_over: Any) -> None:
    """One worker process: claims in one thread, completes up to so many at once in another. lot: of each claim."""
    with Store(url) as store:
        worker_id = store.start_worker(1)
        claimed: Queue[Lease | None] = Queue(2 * at_once)
        begin.wait()
        end, before_s = time.monotonic() + seconds, time.process_time()

        def claim() -> None:
            while time.monotonic() < end:
                for lease in store.claim(worker_id, 1, lot):
                    claimed.put(lease)
            claimed.put(None)

        threading.Thread(target=claim).start()
        done, groups, is_last = 0, 0, False
        while not is_last:
            some = [claimed.get()]
            while len(some) < at_once and not claimed.empty():
                some.append(claimed.get())
            is_last = None in some
            if leases := [lease for lease in some if lease is not None]:
                store.complete_many([(lease, outcome_of(lease)) for lease in leases])
                groups, done = groups + 1, done + len(leases)
        told.put((done, groups, time.process_time() - before_s))
        is_over.wait()


def measure_moves(
    server: Server, url: str, processes: int, at_once: int, lot: int, seconds: float
) -> dict[str, float]:
    """Jobs a second of so many processes, and what a job costs them, the server, its log and its disk."""
    name = str(sa.make_url(url).database)
    with Store(url) as store:
        store.submit("fleet", ({"number": number} for number in range(int(3000 * seconds * processes))))
    begin, told, is_over = SPAWN.Barrier(processes + 1), SPAWN.Queue(), SPAWN.Event()
    ones = [
        SPAWN.Process(target=work, args=(url, seconds, at_once, lot, begin, told, is_over))
        for _ in range(processes)
    ]
    for one in ones:
        one.start()
    size, before_s, before_bytes = server.size(name), server.cpu_s(), server.wal_bytes()
    begin.wait()
    found = [told.get() for _ in ones]
    used_s, wal_bytes = server.cpu_s() - before_s, server.wal_bytes() - before_bytes
    is_over.set()
    for one in ones:
        one.join()
    done, groups = sum(one[0] for one in found), sum(one[1] for one in found)
    return {
        "processes": processes,
        "at_once": at_once,
        "lot": lot,
        "jobs_s": done / seconds,
        "group": done / groups,
        "groups_s": groups / seconds,
        "client_ms": 1000 * sum(one[2] for one in found) / done,
        "server_ms": 1000 * used_s / done,
        "wal_bytes": wal_bytes / done,
        "disk_bytes": (server.size(name) - size) / done,
    }


@contextmanager
def counted(server: Server, into: dict[str, float], name: str, count: int) -> Iterator[None]:
    """Milliseconds of processor time for each of `count`, of this process and of the server."""
    before_s, server_s = time.process_time(), server.cpu_s()
    yield
    into[f"{name}_client_ms"] = 1000 * (time.process_time() - before_s) / count
    into[f"{name}_server_ms"] = 1000 * (server.cpu_s() - server_s) / count


def measure_single(server: Server, url: str, count: int = 20_000) -> dict[str, float]:
    """What it costs to add a job, to know one, and to log one that is done; how many bytes one takes that is added."""
    found: dict[str, float] = {}
    name = str(sa.make_url(url).database)
    with Store(url) as store, Spool() as spool, tempfile.TemporaryDirectory() as folder:
        empty = server.size(name)
        with counted(server, found, "add", count):
            store.submit("fleet", ({"number": number} for number in range(count)))
        found["added_bytes"] = (server.size(name) - empty) / count
        with counted(server, found, "know", count):
            spool.extend({"number": number} for number in range(count))
            compare(spool, store.reader.keys_of(1))
        worker_id = store.start_worker(1)
        leases = store.claim(worker_id, 1, LOGGED)
        store.complete_many([(lease, outcome_of(lease)) for lease in leases])
        log = MetricsLog(store, 1, ResultsFolder(folder, "fleet"))
        with counted(server, found, "log", LOGGED):
            log.sync()
        log.close()
    return found


def measure_run(server: Server, url: str, workers: int, seconds: float) -> dict[str, float]:
    """A real run with four tabs a worker process: its connections; and paused: its statements, and their cost."""
    name = str(sa.make_url(url).database)
    with tempfile.TemporaryDirectory(prefix="runner-fleet-") as folder:
        file = Path(folder, "bench.py")
        file.write_text(CAMPAIGN.replace(f"range({JOBS})", "range(5000)"))
        command = [sys.executable, "-m", "runner", "run", str(file), "--sessions", "0", "--db", url]
        process = subprocess.Popen(
            [*command, "--workers", str(workers), "--pack"], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        link = next(found[0] for line in process.stderr if (found := LINK.search(line)))
        tabs = SPAWN.Process(target=open_tabs, args=(link, 4 * workers))
        tabs.start()
        try:
            with Store(url) as store:
                while store.reader.progress(1).done < 500:
                    time.sleep(0.1)
                connections = server.connections(name) - 2  # this script's own
                store.set_state(1, "paused")
                time.sleep(2.0)
                before, before_s = server.statements(name), server.cpu_s()
                time.sleep(seconds)
                asked_s = (server.statements(name) - before) / seconds
                used_ms_s = 1000 * (server.cpu_s() - before_s) / seconds
        finally:
            tabs.terminate()
            tabs.join()
            process.terminate()
            process.communicate(timeout=60)
    return {
        "workers": workers,
        "connections": connections,
        "idle_statements_s": asked_s,
        "idle_ms_s": used_ms_s,
    }


# -- what follows --------------------------------------------------------------------------------


def walls(
    given: argparse.Namespace, moves: list[dict[str, float]], single: dict[str, float], runs: list[dict]
) -> list[tuple[str, str, str]]:
    """What the fleet asks of each part; what that part gives; and what it would take."""
    per_s = given.browsers * given.per_browser
    single_claims = [one for one in moves if one["lot"] == 1]
    first, most = single_claims[0], single_claims[-1]
    turns = max((one for one in moves if one["lot"] > 1), key=lambda one: one["jobs_s"])
    server_ms = most["server_ms"]
    workers = math.ceil(given.browsers / given.runners / 4)
    at_rest = {name: of_workers(runs, name, workers) for name in runs[0] if name != "workers"}
    log_server_ms, log_client_ms = single["log_server_ms"], single["log_client_ms"]
    idle_cores = given.runners * at_rest["idle_ms_s"] / 1000
    days = given.jobs / per_s / 86_400
    told: list[tuple[str, str, str]] = [
        ("the fleet", f"{per_s:,.0f} jobs a second", f"{given.jobs:,.0f} jobs in {days:.1f} days"),
        (
            "the server's cores: claims and completions",
            f"{per_s * server_ms / 1000:.1f} cores",
            f"{given.cores} let {1000 * given.cores / server_ms:,.0f} jobs a second through",
        ),
        (
            "claims, one by one, each with its flush",
            f"{per_s / (given.runners * workers):.0f} a second of each of {given.runners * workers} processes",
            f"{first['jobs_s']:.0f} a second of one process here, {most['jobs_s']:.0f} of {most['processes']}",
        ),
        (
            "turns of completions",
            f"{per_s / turns['groups_s']:.0f} jobs a turn",
            f"{turns['groups_s']:.0f} turns a second here, of {turns['group']:.0f} jobs: {turns['jobs_s']:,.0f} jobs",
        ),
        (
            "the server's log and disk",
            f"{per_s * most['wal_bytes'] / 1e6:.0f} MB/s",
            f"{most['wal_bytes']:,.0f} bytes of log a job; "
            f"{given.jobs * (single['added_bytes'] + most['disk_bytes']) / 1e9:,.0f} GB of tables at the end",
        ),
        (
            "each runner's metrics log, of all jobs",
            f"{given.runners * per_s * log_server_ms / 1000:.1f} cores of the server, "
            f"{per_s * log_client_ms / 1000:.2f} of each runner",
            f"one core of a runner's reads {1000 / log_client_ms:,.0f} records a second",
        ),
        (
            "connections",
            f"{given.runners * at_rest['connections']:,.0f}",
            f"{at_rest['connections']:.0f} a runner of {workers} worker processes; the server's usual limit is 100",
        ),
        (
            "beats and looks of idle runs",
            f"{given.runners * at_rest['idle_statements_s']:,.0f} statements a second",
            f"{idle_cores:.1f} cores",
        ),
        (
            "adding the jobs, by one runner",
            f"{given.jobs * (single['add_client_ms'] + single['add_server_ms']) / 3.6e6:.1f} hours of a core",
            "",
        ),
        (
            "knowing them, at each start of a runner",
            f"{given.jobs * single['know_client_ms'] / 3.6e6:.1f} hours of its core",
            f"{given.runners * given.jobs * single['know_server_ms'] / 3.6e6:.0f} hours of the server's for all",
        ),
    ]
    return told


def of_workers(runs: list[dict[str, float]], name: str, workers: int) -> float:
    """What a run of so many worker processes would have of it: each adds as much as the second one does."""
    (one, few), (two, more) = ((run["workers"], run[name]) for run in runs)
    return few + (workers - one) * max(0.0, more - few) / (two - one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--postgres", metavar="URL", required=True)
    parser.add_argument("--jobs", type=float, default=1e8)
    parser.add_argument("--browsers", type=int, default=1000)
    parser.add_argument("--runners", type=int, default=50)
    parser.add_argument("--per-browser", type=float, default=10.0)
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--at-once", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    postgres, server = Postgres(given.postgres), Server(given.postgres)
    moves, runs = [], []
    try:
        for lot in (1, given.at_once):
            for processes in map(int, given.processes.split(",")):
                of = processes, given.at_once, lot
                moves.append(measure_moves(server, postgres.new(), *of, given.seconds))
                tell("moves", moves[-1])
        single = measure_single(server, postgres.new())
        tell("single jobs", single)
        for workers in (1, 2):
            runs.append(measure_run(server, postgres.new(), workers, given.seconds))
            tell("a run", runs[-1])
    finally:
        postgres.drop_all()
    told = walls(given, moves, single, runs)
    if given.json:
        print(json.dumps({"moves": moves, "single": single, "runs": runs, "walls": told}))
        return
    for what, asked, gives in told:
        print(f"{what:<44}{asked:<52}{gives}")


def tell(what: str, one: dict[str, float]) -> None:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in one.items())
    print(f"{what}: {figures}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
