#!/usr/bin/env python3
"""What runner itself can take: frames a second by how many worker processes, and moves a second of the database.

Tabs that draw nothing (tests/support/clients.py) answer each picture request at once with a JPEG of 320x240
pixels, so what is measured is runner alone: protocol, checks, files, rows. The tabs are a process of their own, whose
CPU time is told apart. Then processes that do nothing but claim and complete jobs, each with a file and a metric, show
what the database lets through. All is interleaved round by round: what counts are ratios, and CPU time a frame.

    scripts/bench_processes.py [--rounds N] [--seconds S] [--workers 1,2,4] [--tabs N] [--postgres URL]
                               [--only frames|queue] [--pack] [--beside TREE] [--as-run] [--json]

--pack: the frames go into shards, not into folders. --beside: frames are measured with another tree of this project,
too. --as-run: such a process claims in one thread and completes, up to six at once, in another, as a run does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from clients import LINK, Tabs, noisy

from runner.job import Artifact, Lease, Outcome, Progress
from runner.store import Store

HERE = Path(__file__).resolve().parents[1]
SIZE = (320, 240)
JOBS = 20_000
WARM_UP_FRAMES, LONGEST_START_S = 1000, 120.0
CAMPAIGN = f"""
from vuer.schemas import CameraView, DefaultScene, Sphere
from runner import Campaign

campaign = Campaign("bench")

@campaign.jobs
def jobs():
    for number in range({JOBS}):
        yield str(number), {{"number": number}}

@campaign.scene
def scene():
    camera = CameraView(key="ego", width=320, height=240, fov=50, position=[0, 0, 3])
    return DefaultScene(ball(0), rawChildren=[camera])

def ball(number):
    color = f"#{{number % 4096:06x}}"
    return Sphere(key="ball", args=[1, 32, 32], rotation=[0, 0.1 * number, 0], material={{"color": color}})

@campaign.render
async def render(session, job):
    session.update @ ball(job.params["number"])
    job.save("rgb.jpg", await session.grab("ego"))
"""


def open_tabs(link: str, count: int) -> None:
    """The process of the tabs."""
    pictures = noisy(16, SIZE)

    def picture(color: str) -> bytes:
        return pictures[int(color[1:], 16) % len(pictures)]

    tabs = Tabs(lambda: link, count, picture)
    signal.sigwait({signal.SIGTERM})
    tabs.close()


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure_frames(
    root: Path, tree: Path, is_packed: bool, workers: int, tabs: int, seconds: float, database: str | None
) -> dict[str, float]:
    """Frames a second of a run of that tree, and what each took of the processor, in milliseconds.

    root: what is made there stays, for where many files were removed a moment ago, others are made more slowly (ext4).
    """
    folder = Path(tempfile.mkdtemp(dir=root))
    (folder / "bench.py").write_text(CAMPAIGN)
    command = [sys.executable, "-m", "runner", "run", str(folder / "bench.py"), "--sessions", "0"]
    command += ["--workers", str(workers), *(["--db", database] if database else [])]
    command += ["--pack"] if is_packed else []
    environment = os.environ | {"PYTHONPATH": str(tree)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    link = next(found[0] for line in process.stderr if (found := LINK.search(line)))
    clients = multiprocessing.get_context("spawn").Process(target=open_tabs, args=(link, tabs))
    clients.start()
    try:
        with Store(database or str(folder / "runner.db")) as store:

            def done() -> int:
                return store.reader.progress(1).done

            deadline = time.monotonic() + LONGEST_START_S
            # The first ones are rendered while others are added still.
            while not is_warm(store.reader.progress(1)) and time.monotonic() < deadline:
                time.sleep(0.1)
            supervisor = psutil.Process(process.pid)
            each = {
                "supervisor": [supervisor],
                "workers": supervisor.children(),
                "tabs": [psutil.Process(clients.pid)],
            }
            began, frames = time.monotonic(), done()
            before = {kind: sum(map(cpu_s, ones)) for kind, ones in each.items()}
            time.sleep(seconds)
            took_s, frames = time.monotonic() - began, done() - frames
            used = {kind: sum(map(cpu_s, ones)) - before[kind] for kind, ones in each.items()}
    finally:
        clients.terminate()
        clients.join()
        # Where this script runs in a shell's background, its processes ignore SIGINT.
        process.terminate()
        process.communicate(timeout=60)
    return {"per_s": frames / took_s} | {f"{kind}_ms": 1000 * s / frames for kind, s in used.items()}


def is_warm(progress: Progress) -> bool:
    return progress.total == JOBS and progress.done >= WARM_UP_FRAMES


def outcome_of(lease: Lease) -> Outcome:
    path = f"bench/jobs/{lease.job_id}/rgb.jpg"
    return Outcome((Artifact("rgb.jpg", path, 20_000, "0" * 64, "image/jpeg"),), {"mean": 0.5})


def move_jobs(database: str, seconds: float, as_run: bool, begin: Any, counts: Any) -> None:
    """One process that claims and completes; it tells how many jobs, and its CPU seconds."""
    with Store(database) as store:
        worker_id = store.start_worker(1)
        begin.wait()
        end, before_s = time.monotonic() + seconds, time.process_time()
        done = move_in_threads(store, worker_id, end) if as_run else 0
        while time.monotonic() < end and (leases := store.claim(worker_id, 1)):
            store.complete(leases[0], outcome_of(leases[0]))
            done += 1
        counts.put((done, time.process_time() - before_s))
        store.end_worker(worker_id)


def move_in_threads(store: Store, worker_id: int, end: float) -> int:
    """How many jobs are done by then, claimed in another thread."""
    claimed: queue.Queue[Lease | None] = queue.Queue(8)

    def claim() -> None:
        while time.monotonic() < end:
            for lease in store.claim(worker_id, 1):
                claimed.put(lease)
        claimed.put(None)

    claiming = threading.Thread(target=claim)
    claiming.start()
    done, is_last = 0, False
    while not is_last:
        some = [claimed.get()]
        while len(some) < 6 and not claimed.empty():
            some.append(claimed.get())
        is_last = None in some
        if leases := [lease for lease in some if lease is not None]:
            store.complete_many([(lease, outcome_of(lease)) for lease in leases])
            done += len(leases)
    claiming.join()
    return done


def measure_moves(processes: int, seconds: float, database: str | None, as_run: bool) -> dict[str, float]:
    """Jobs that are claimed and completed in a second by so many processes together, and what each took."""
    with tempfile.TemporaryDirectory(prefix="runner-bench-") as name:
        url = database or str(Path(name) / "bench.db")
        with Store(url) as store:
            store.submit("bench", ({"number": number} for number in range(int(6000 * seconds))))
        spawn = multiprocessing.get_context("spawn")
        begin, counts = spawn.Barrier(processes), spawn.Queue()
        ones = [
            spawn.Process(target=move_jobs, args=(url, seconds, as_run, begin, counts))
            for _ in range(processes)
        ]
        for one in ones:
            one.start()
        told = [counts.get() for _ in ones]
        for one in ones:
            one.join()
    done = sum(count for count, _ in told)
    return {"per_s": done / seconds, "workers_ms": 1000 * sum(used_s for _, used_s in told) / done}


class Postgres:
    """Empty databases on a server, one after the other."""

    def __init__(self, url: str):
        import sqlalchemy as sa

        self._url = sa.make_url(url)
        self._admin = sa.create_engine(self._url, isolation_level="AUTOCOMMIT")
        self._count = 0

    def new(self) -> str:
        self._count += 1
        name = f"runner_bench_{os.getpid()}_{self._count}"
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop_all(self) -> None:
        with self._admin.connect() as connection:
            for number in range(1, self._count + 1):
                name = f"runner_bench_{os.getpid()}_{number}"
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def tell(what: str, kind: str, count: int, one: dict[str, float]) -> None:
    figures = ", ".join(f"{name} {value:.2f}" for name, value in one.items())
    print(f"{what} on {kind}, {count} processes: {figures}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--tabs", type=int, default=8)
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--only", choices=("frames", "queue"))
    parser.add_argument("--pack", action="store_true")
    parser.add_argument("--beside", metavar="TREE", type=Path)
    parser.add_argument("--as-run", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    postgres = Postgres(options.postgres) if options.postgres else None
    databases = {"sqlite": lambda: None} | ({"postgresql": postgres.new} if postgres else {})
    trees = {"frames": HERE} | ({"beside": options.beside.resolve()} if options.beside else {})
    found: dict[tuple[str, str, int], list[dict[str, float]]] = defaultdict(list)
    root = tempfile.TemporaryDirectory(prefix="runner-bench-")
    try:
        for _ in range(options.rounds):
            for count in map(int, options.workers.split(",")):
                for kind, new in databases.items():
                    for what, tree in trees.items() if options.only != "queue" else ():
                        of = count, options.tabs, options.seconds
                        one = measure_frames(Path(root.name), tree, options.pack, *of, new())
                        found[what, kind, count].append(one)
                        tell(what, kind, count, one)
                    if options.only != "frames":
                        one = measure_moves(count, options.seconds / 2, new(), options.as_run)
                        found["moves", kind, count].append(one)
                        tell("moves", kind, count, one)
    finally:
        root.cleanup()
        if postgres:
            postgres.drop_all()
    if options.json:
        rounds = [
            dict(zip(("what", "database", "processes"), key)) | {"rounds": ones}
            for key, ones in found.items()
        ]
        print(json.dumps(rounds))
        return
    print(
        f"{'':<8} {'database':<11} {'processes':>9} {'per s':>7} {'growth':>7}   CPU ms: workers, supervisor, tabs"
    )
    for (what, kind, count), ones in sorted(found.items()):
        one = {name: statistics.median(each[name] for each in ones) for name in ones[0]}
        first = found[what, kind, min(number for w, k, number in found if (w, k) == (what, kind))]
        growth = statistics.median(now["per_s"] / then["per_s"] for now, then in zip(ones, first))
        cpu = "  ".join(
            f"{one[name]:5.2f}" for name in ("workers_ms", "supervisor_ms", "tabs_ms") if name in one
        )
        print(f"{what:<8} {kind:<11} {count:>9} {one['per_s']:>7.0f} {growth:>7.2f}   {cpu}")


if __name__ == "__main__":
    main()
