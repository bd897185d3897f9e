#!/usr/bin/env python3
"""Pack a campaign of small frames into shards, kill its writers at random moments, and look through all that is left.

    python scripts/crash_packed.py --jobs N --kills K [--workers W] [--seed S] [--folder DIR] [--kind folders]
                                   [--remote URL | --tabs N]

W processes claim jobs, pack their frames and have them done through the real store, without browsers. K times, at
random moments spread over the campaign, all of them are SIGKILLed and others start in their place. Then every frame
is read back, every shard is walked from end to end, and rows, records and samples are held against each other.
With --remote one more process moves closed shards to that object store meanwhile, and is killed with them. The store is
then looked through instead of the disk, which must be empty.
With --tabs the writers are a real `runner run` with W worker processes, which N tabs that draw nothing work for, and it
is that which is killed, with all its processes: claims, protocol, checks, shards and rows as in any run.
Exit status 1 when anything was lost, torn or is there twice. It also tells how many inodes that takes, and how much
CPU the writers used.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Forked writers start in milliseconds when everything is imported beforehand.
import sqlalchemy.dialects.sqlite.pysqlite  # noqa: F401

from runner.errors import WorldFault
from runner.job import Extent, Place, Policy
from runner.results import (
    PackedResults,
    RenderJob,
    ResultsFolder,
    fetch,
    move_shards,
    moved_of,
    recover,
    settle_moved,
)
from runner.results.verify import verify
from runner.store import Reader, Store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from clients import Tabs, link_in, painted

FORK = multiprocessing.get_context("fork")
NAME = "packed"
# A killed process is known by its pid; no writer here is ever called dead for being slow.
LEASE_S = 3600.0
AT_ONCE = 16
# What dies with the run is charged with a crash, and it dies often here.
CAMPAIGN = """
from vuer.schemas import CameraView, Scene, Sphere
from runner import Campaign

campaign = Campaign("{name}", max_crashes=1_000_000)

@campaign.jobs
def jobs():
    for n in range({jobs}):
        yield f"{{n:08d}}", {{"n": n}}

@campaign.scene
def scene():
    return Scene(ball(0), rawChildren=[CameraView(key="ego", width=64, height=48)])

def ball(n):
    return Sphere(key="ball", material={{"color": f"#{{n:06x}}"}})

@campaign.render
async def render(session, job):
    session.update @ ball(job.params["n"])
    job.save("rgb.bin", bytes((await session.grab("ego")).data))
    job.log(n=job.params["n"])
"""


def frame_of(arguments: argparse.Namespace, number: int) -> bytes:
    """The frame of a job: bytes that are no other job's."""
    if arguments.tabs:
        return painted.__wrapped__(f"#{number:06x}")
    return hashlib.shake_128(b"%d" % number).digest(arguments.bytes)


class Run:
    """A real run of the campaign, with all its processes, as multiprocessing has one."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, port: int):
        self._log = folder / "said"
        command = [sys.executable, "-m", "runner", "run", str(folder / "campaign.py"), "--sessions", "0"]
        command += [
            "--workers",
            str(arguments.workers),
            "--port",
            str(port),
            "--db",
            str(folder / "runner.db"),
        ]
        command += ["--results", str(folder / "results"), *(["--pack"] if arguments.kind == "shards" else [])]
        self._command = command

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        # Its workers end with it.
        self._process.kill()

    def join(self) -> None:
        self._process.wait()

    @property
    def exitcode(self) -> int:
        return self._process.returncode


def open_tabs(folder: Path, count: int) -> None:
    """The process of the tabs, which come back to each run at its port, until one says that all is done."""

    def link() -> str:
        said = folder / "said"
        return link_in([said.read_text()]) if said.exists() else ""

    Tabs(link, count, painted.__wrapped__).join()


def pack(arguments: argparse.Namespace, folder: Path) -> None:
    """One writer: takes over what killed ones have left, and then packs until no job is ready."""
    with Store(folder / "runner.db") as store, ThreadPoolExecutor(4) as threads:
        campaign_id = store.reader.campaigns()[0]["id"]
        store.reap(campaign_id, LEASE_S)
        worker_id = store.start_worker(campaign_id)
        results = results_of(arguments, folder)
        recover(store, campaign_id, worker_id, results)
        leases = store.claim(worker_id, campaign_id, AT_ONCE)
        while leases:
            finished = []
            for lease in leases:
                files = RenderJob(lease, results, threads)
                files.save("rgb.bin", frame_of(arguments, lease.params["n"]))
                files.log(n=lease.params["n"])
                finished.append((lease, files.finish()))
            kept = results.keep(finished)
            for one in kept:
                if isinstance(one, Exception):
                    raise one
            shards = {one.shard.path: one.shard for one in kept if one.shard is not None}
            settled = [(one.lease, one.outcome) for one in kept]
            leases = store.complete_many(settled, claim=AT_ONCE, shards=list(shards.values()))
        results.close()
        store.end_worker(worker_id)


def move(arguments: argparse.Namespace, folder: Path) -> None:
    """Move shards that are closed, until all jobs are done and all is moved."""
    with Store(folder / "runner.db") as store:
        campaign_id = store.reader.campaigns()[0]["id"]
        results = ResultsFolder(folder / "results", NAME)
        is_left = True
        while is_left:
            store.reap(campaign_id, LEASE_S)
            is_left = store.reader.progress(campaign_id).left > 0 or bool(
                store.reader.live_workers(campaign_id)
            )
            try:
                settle_moved(store, campaign_id, results, arguments.remote)
                move_shards(store, campaign_id, results, arguments.remote)
            except WorldFault:
                # The store fails, which it may.
                is_left = True
            time.sleep(0.002)


def results_of(arguments: argparse.Namespace, folder: Path) -> ResultsFolder:
    if arguments.kind == "folders":
        return ResultsFolder(folder / "results", NAME)
    return PackedResults(folder / "results", NAME, shard_bytes=int(arguments.shard_mb * (1 << 20)))


def storm(arguments: argparse.Namespace, folder: Path, chance: random.Random) -> int:
    """Kill and start writers until all jobs are done; returns how many were killed."""
    moments = sorted(chance.uniform(0.02, 0.98) * arguments.jobs for _ in range(arguments.kills))
    killed, port = 0, free_port()
    if arguments.tabs:
        (folder / "campaign.py").write_text(CAMPAIGN.format(name=NAME, jobs=arguments.jobs))
        FORK.Process(target=open_tabs, args=(folder, arguments.tabs), daemon=True).start()
    with Reader(folder / "runner.db") as reader:
        (campaign,) = reader.campaigns()
        while reader.progress(campaign["id"]).left:
            crew: list[Run | multiprocessing.Process] = (
                [Run(arguments, folder, port)]
                if arguments.tabs
                else [FORK.Process(target=pack, args=(arguments, folder)) for _ in range(arguments.workers)]
            )
            if arguments.remote:
                crew.append(FORK.Process(target=move, args=(arguments, folder)))
            for process in crew:
                process.start()
            while moments and any(process.is_alive() for process in crew):
                if reader.progress(campaign["id"]).done >= moments[0]:
                    moments.pop(0)
                    time.sleep(chance.uniform(0.0, 0.05))
                    for process in crew:
                        process.kill()
                        killed += 1
                    break
                time.sleep(0.002)
            for process in crew:
                process.join()
                if process.exitcode not in (0, -signal.SIGKILL):
                    raise SystemExit(f"a writer ended by itself with exit code {process.exitcode}")
            tell(f"{reader.progress(campaign['id']).done:,} of {arguments.jobs:,} done, {killed} killed")
    if arguments.remote:
        # The last kill may have come when all was done.
        move(arguments, folder)
    return killed


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return int(taken.getsockname()[1])


def violations(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Whatever rows, frames, records and shards contradict each other in."""
    wrong: list[str] = []
    with Reader(folder / "runner.db") as reader:
        (campaign,) = reader.campaigns()
        progress = reader.progress(campaign["id"])
        if progress.done != arguments.jobs:
            wrong.append(f"not every job is done: {progress}")
        findings = verify(reader, campaign)
        left = findings.missing or findings.changed or findings.unreadable or findings.orphaned
        if left or findings.abandoned or findings.temporary or findings.tails:
            wrong.append(f"verify: {findings}")
        if findings.files != arguments.jobs:
            wrong.append(f"{findings.files} files, not {arguments.jobs}")
        results = ResultsFolder(folder / "results", NAME, moved=moved_of(reader, campaign["id"]))
        after, times = 0, Counter[str]()
        while rows := reader.rows_after(campaign["id"], after, 10_000):
            after = rows[-1]["id"]
            for row in rows:
                (file,) = row["artifacts"]
                frame = results.stored(Extent(file["path"], file["start"], file["size"]))
                if frame.read_bytes() != frame_of(arguments, row["params"]["n"]):
                    wrong.append(f"job {row['key']} has another frame")
        after = 0
        while records := reader.results_after(campaign["id"], after, 10_000):
            after = records[-1]["id"]
            times.update(record["key"] for record in records)
        if set(times.values()) != {1} or len(times) != arguments.jobs:
            wrong.append(f"{len(times)} jobs have a result; the most that one has: {max(times.values())}")
        told = {shard.path: shard for shard in reader.shards(campaign["id"])}
        if arguments.remote:
            if list(results.folder.glob("shards/*")):
                wrong.append("there are shards left on the disk")
            for path, address in reader.shard_addresses(campaign["id"]).items():
                fetch(address, results.root / path)
    samples = 0
    for file in results.folder.glob("shards/*"):
        shard = told.pop(file.relative_to(results.root).as_posix(), None)
        with tarfile.open(file) as tar:
            names = [member.name for member in tar if member.name.endswith(".json")]
        samples += len(names)
        if shard is None or (shard.size, shard.jobs) != (file.stat().st_size, len(names)):
            wrong.append(f"{file.name} has {len(names)} samples in {file.stat().st_size} bytes, not {shard}")
        if len(set(names)) != len(names):
            wrong.append(f"{file.name} has samples twice")
    if told or (arguments.kind == "shards" and samples != arguments.jobs):
        wrong.append(f"{samples} samples for {arguments.jobs} jobs; shards that are gone: {list(told)}")
    return wrong


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000, help="how many jobs (default: 10,000)")
    parser.add_argument(
        "--kills", type=int, default=10, help="how often all writers are killed (default: 10)"
    )
    parser.add_argument("--workers", type=int, default=2, help="writers at a time (default: 2)")
    parser.add_argument("--bytes", type=int, default=3000, help="of a frame (default: 3000)")
    parser.add_argument("--shard-mb", type=float, default=256.0, help="of a shard (default: 256)")
    parser.add_argument("--kind", choices=("shards", "folders"), default="shards")
    parser.add_argument(
        "--remote", metavar="URL", help="the object store to which shards are moved meanwhile"
    )
    parser.add_argument("--tabs", type=int, default=0, help="of a real run, which is killed")
    parser.add_argument("--seed", type=int, help="of the kills; a random one is chosen and printed")
    parser.add_argument("--folder", type=Path, help="a new folder, which stays; default: a temporary one")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    tell(f"seed {seed}")
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        folder.mkdir(exist_ok=True)
        with Store(folder / "runner.db") as store:
            place = Place(results=str(folder / "results"))
            # Each kill is a crash of the jobs that were claimed.
            policy = Policy(max_crashes=1_000_000)
            store.submit(NAME, ((f"{n:08d}", {"n": n}) for n in range(arguments.jobs)), policy, place=place)
        killed = storm(arguments, folder, random.Random(seed))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        files = sum(len(names) + len(folders) for _, folders, names in os.walk(folder / "results"))
        cpu_ms = 1000 * (used.ru_utime + used.ru_stime) / arguments.jobs
        wrong = violations(arguments, folder)
    # Of a run that was killed nobody knows what its workers used.
    cpu = "" if arguments.tabs else f", {cpu_ms:.2f} ms of the writers' CPU a job"
    what = "runs" if arguments.tabs else "writers"
    print(
        f"{arguments.kind}: {arguments.jobs:,} jobs, {killed} {what} killed, {files:,} inodes "
        f"({arguments.jobs / files:,.0f} jobs an inode){cpu}"
    )
    for line in wrong[:20]:
        print(line)
    if wrong:
        print(f"FAILED: {len(wrong)} violations; --seed {seed}")
        return 1
    print("ok: each job done once, each frame its own job's and whole, each shard whole from end to end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
