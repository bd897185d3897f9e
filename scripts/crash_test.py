#!/usr/bin/env python3
"""Render a campaign through a storm of faults, and see that nothing was lost, torn, done twice or charged.

    python scripts/crash_test.py --faults N [--seed S] [--workers N] [--lock-s SECONDS] [--only KIND] [--pack]
        [--keep FOLDER]

A real `runner run` with two headless browsers, of one worker process or one each, while at random moments the
runner, a worker process, a browser, its renderer or its GPU process is SIGKILLed, a browser is SIGSTOPped, the
disk of database and results is filled and freed, the clock of the processes jumps, or another program locks the
database. One job in sixty misbehaves in its
first attempt: it blocks the event loop, calls sys.exit, leaves a task running, swallows its cancellation, or
crashes its process; it alone may be charged. The runner is started again whenever it is gone, with more jobs
when all were done. After the storm a last run ends the campaign; then every row,
file and metrics record is looked at. The seed and the log of the faults are printed; the same seed draws the
same faults. Filling the disk needs the right to mount one, and is left out without it. Exit status 1 when
anything is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from campaigns import content_of, number_in, read_metrics, write_colors

# What dies with the runner is charged with a crash, and it dies often here.
POLICY = ", max_failures=2, max_crashes=10_000, timeout_s=15"
# Every process of the runner has a clock that goes wrong when the storm says so.
SHIFTED = """
import os, time
real, offset = time.time, os.environ["STORM_CLOCK"]
time.time = lambda: real() + float(open(offset).read() or 0)
"""
# What one job in sixty does in its first attempt: each kind in turn.
GUILTY_EVERY = 60
BODY = f"""
    if job.attempt == 1 and job.params["number"] % {GUILTY_EVERY} == {GUILTY_EVERY - 1}:
        await MISDEEDS[job.params["number"] // {GUILTY_EVERY} % len(MISDEEDS)]()"""
MISDEEDS = """

import ctypes, sys, time

async def block():
    time.sleep(3600)

async def leave():
    sys.exit(1)

async def stray():
    asyncio.create_task(asyncio.sleep(3600))
    asyncio.create_task(swallow())
    await asyncio.sleep(0.1)

async def swallow():
    while True:
        try:
            await asyncio.sleep(3600)
        except:
            pass

async def crash():
    ctypes.string_at(0)

MISDEEDS = [block, leave, stray, swallow, crash]
"""
JOBS_AT_A_TIME = 300
DISK = "size=384m"
FINISH_S = 900.0


class Storm:
    """A campaign in a folder of its own, the runner at work on it, and what befalls them."""

    def __init__(self, folder: Path, seed: int, lock_s: float, workers: int, is_packed: bool):
        self.folder, self.lock_s, self.workers, self.is_packed = folder, lock_s, workers, is_packed
        self.chance = random.Random(seed)
        self.began = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.troubles: list[str] = []
        self.jobs = JOBS_AT_A_TIME
        self.done_at_kill = 0
        self.process: subprocess.Popen | None = None
        self.temporary = Path(tempfile.mkdtemp(prefix="storm-"))
        self.clock = self.temporary / "clock"
        self.clock.write_text("0")
        (self.temporary / "site").mkdir()
        (self.temporary / "site" / "sitecustomize.py").write_text(SHIFTED)
        self.messages = self.temporary / "messages"
        self.disk = folder / "disk"
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", str(self.disk)]
        self.has_disk = (
            bool(shutil.which("mount")) and not subprocess.run(mount, stderr=subprocess.DEVNULL).returncode
        )
        self.file = write_colors(self.disk, 0, BODY, POLICY)
        self.file.write_text(self.file.read_text() + MISDEEDS)
        self.database = self.disk / "runner.db"

    def log(self, words: str) -> None:
        print(f"{time.monotonic() - self.began:8.1f} s  {self.done():6,} done  {words}", flush=True)

    # -- the runner ------------------------------------------------------------------------------

    def keep_running(self) -> None:
        """Start the runner where it is not, and look at how it ended."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None and self.process.returncode not in (0, -9):
            tail = "".join(self.messages.read_text().splitlines(keepends=True)[-5:])
            self.troubles.append(f"the runner ended by itself with {self.process.returncode}: {tail}")
        if self.process is not None and self.process.returncode == 0:
            self.jobs += JOBS_AT_A_TIME
        arguments = ["run", self.file, "--set", f"count={self.jobs}", "--halt", "never", "--min-free", "1M"]
        arguments += ["--workers", self.workers]
        if self.is_packed:
            arguments.append("--pack")
        with open(self.messages, "a") as messages:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runner", *map(str, arguments)],
                stdout=messages,
                stderr=messages,
                env=os.environ
                | {
                    "NO_COLOR": "1",
                    "TMPDIR": str(self.temporary),
                    "STORM_CLOCK": str(self.clock),
                    "PYTHONPATH": os.pathsep.join(
                        [str(self.temporary / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
                    ),
                },
            )

    def done(self) -> int:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database,
        ):
            for (done,) in database.execute("SELECT done FROM campaign"):
                return done
        return 0

    def processes(self, kind: str) -> list[psutil.Process]:
        """The runner's worker processes, or those of browsers of that kind: browser, renderer, gpu-process."""
        found = []
        with suppress(psutil.Error):
            for one in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    command = " ".join(one.cmdline())
                    wanted = f"--type={kind}" in command if kind != "browser" else "--type=" not in command
                    wanted &= "--user-data-dir=" in command
                    if kind == "worker":
                        wanted = "runner.run.worker_process" in command
                    if wanted and one.status() != psutil.STATUS_ZOMBIE:
                        found.append(one)
        return found

    # -- the faults ------------------------------------------------------------------------------

    def kill_runner(self) -> str:
        self.process.kill()
        self.process.wait()
        return f"SIGKILL to the runner, {self.process.pid}"

    def _signal(self, kind: str, verb: str) -> str:
        number = self.chance.random()
        victims = self.processes(kind)
        if not victims:
            return ""
        victim = victims[int(number * len(victims))]
        with suppress(psutil.Error):
            getattr(victim, verb)()
        return f"{'SIGKILL' if verb == 'kill' else 'SIGSTOP'} to a {kind}, {victim.pid}"

    def kill_worker(self) -> str:
        # Of workers that end before they do anything a run despairs.
        if self.done() <= self.done_at_kill:
            return ""
        self.done_at_kill = self.done()
        return self._signal("worker", "kill")

    def kill_browser(self) -> str:
        return self._signal("browser", "kill")

    def kill_renderer(self) -> str:
        return self._signal("renderer", "kill")

    def kill_gpu(self) -> str:
        return self._signal("gpu-process", "kill")

    def stop_browser(self) -> str:
        return self._signal("browser", "suspend")

    def fill_disk(self) -> str:
        held_s = self.chance.uniform(1.0, 5.0)
        filler = self.disk / "filler"
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        with suppress(OSError), open(filler, "ab", buffering=0) as file:
            while True:
                file.write(bytes(512))
        time.sleep(held_s)
        filler.unlink()
        return f"the disk was full for {held_s:.1f} s"

    def shift_clock(self) -> str:
        shift_s = self.chance.choice((-86_400, -3_600, -30, 30, 3_600, 86_400))
        # Whole at any moment: the runner reads it at each look at the clock.
        (self.temporary / "clock.new").write_text(str(shift_s))
        (self.temporary / "clock.new").replace(self.clock)
        return f"the clock goes wrong by {shift_s:+,} s"

    def lock_database(self) -> str:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(self.database, isolation_level=None, timeout=30)) as other,
        ):
            other.execute("BEGIN IMMEDIATE")
            time.sleep(self.lock_s)
            other.execute("ROLLBACK")
        return f"another program locked the database for {self.lock_s:g} s"

    def rage(self, faults: int, only: str | None) -> None:
        """So many faults, at random moments."""
        kinds = {
            "runner": (self.kill_runner, 4),
            "worker": (self.kill_worker, 3),
            "browser": (self.kill_browser, 4),
            "renderer": (self.kill_renderer, 3),
            "gpu": (self.kill_gpu, 3),
            "stop": (self.stop_browser, 2),
            "disk": (self.fill_disk, 2 if self.has_disk else 0),
            "clock": (self.shift_clock, 2),
            "lock": (self.lock_database, 1),
        }
        while sum(self.counts.values()) < faults and not self.troubles:
            kind = only or self.chance.choices(list(kinds), [weight for _, weight in kinds.values()])[0]
            # Long enough for new browsers to come to work now and then, and short enough to hit them
            # starting.
            self.wait(self.chance.choice((0.3, 2.0, 5.0, 8.0)) * self.chance.uniform(0.5, 1.5))
            words = kinds[kind][0]()
            if words:
                self.counts[kind] += 1
                self.log(f"{sum(self.counts.values()):4}  {words}")

    def wait(self, span_s: float) -> None:
        until = time.monotonic() + span_s
        self.keep_running()
        while time.monotonic() < until:
            time.sleep(0.05)
            self.keep_running()

    # -- afterwards ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Let the campaign end in peace."""
        self.clock.write_text("0")
        self.keep_running()
        until = time.monotonic() + FINISH_S
        while self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        if self.process.poll() is None:
            self.troubles.append(f"the campaign did not end within {FINISH_S:.0f} s: {self.done():,} done")
            self.kill_runner()
        elif self.process.returncode != 0:
            self.troubles.append(f"the last run ended with {self.process.returncode}")

    def check(self) -> None:
        """Rows, files and records; what is left of processes and folders."""
        from runner.results.verify import verify
        from runner.store import Reader, Store

        with Store(self.database) as store:
            (campaign,) = store.reader.campaigns()
            jobs = store.reader.jobs(campaign["id"])
            artifacts = Counter(row["key"] for row in store.reader.artifacts(campaign["id"]))
            paths = {row["key"]: row for row in store.reader.artifacts(campaign["id"])}
            results = Counter(
                row["key"] for row in store.reader.results_after(campaign["id"], 0, 10 * len(jobs))
            )
            events = Counter(event["kind"] for event in store.reader.events(campaign["id"]))
            ended = store.reader.attempts(campaign["id"])
        keys = [row["key"] for row in jobs]
        self.expect("jobs lost", self.jobs - sum(row["status"] == "done" for row in jobs))
        attempts = Counter(row["outcome"] for row in ended)
        innocent = [row for row in jobs if (row["params"]["number"] + 1) % GUILTY_EVERY]
        by_code = {row["key"] for row in ended if "it ended the worker process" in (row["error"] or "")}
        self.expect("innocent jobs charged with a failure", sum(row["failures"] > 0 for row in innocent))
        self.expect(
            "innocent jobs charged with a crash of code", sum(row["key"] in by_code for row in innocent)
        )
        charged = [row["error"] or "" for row in ended if row["outcome"] == "failed" or row["key"] in by_code]
        print(f"charged: {dict(Counter(error.partition(' at ')[0][:50] for error in charged))}")
        self.expect("jobs done twice", sum(count != 1 for count in results.values()))
        self.expect("jobs without their file", sum(artifacts[key] != 1 for key in keys))
        torn = wrong = 0
        for job in jobs:
            row = paths.get(job["key"])
            if row is None:
                continue
            there = (self.disk / "results" / row["path"]).exists()
            content = content_of(self.disk / "results", row) if there else b""
            if len(content) != row["size"] or hashlib.sha256(content).hexdigest() != row["sha256"]:
                torn += 1
                continue
            wrong += number_in(io.BytesIO(content)) != job["params"]["number"] % 4096
        self.expect("torn files", torn)
        with Reader(self.database) as reader:
            findings = verify(reader, reader.campaigns()[0])
        self.expect("shards with a tail, and files of nobody", len(findings.tails) + len(findings.orphaned))
        self.expect("frames of another job", wrong)
        frame = read_metrics(self.disk / "results", "colors")
        records = Counter(frame["key"])
        self.expect("metrics records missing or doubled", sum(records[key] != 1 for key in set(keys)))
        self.expect("metrics records of nobody", len(set(frame["key"]) - set(keys)))
        self.expect("browser folders left", len(list(self.temporary.glob("runner-browsers-*"))))
        left = [one for one in psutil.process_iter() if str(self.temporary) in command_of(one)]
        self.expect("processes left", len(left))
        print(f"attempts that did not end well: {dict(attempts)}; events: {dict(events)}")

    def expect(self, what: str, count: int) -> None:
        print(f"{count:6,} {what}")
        if count:
            self.troubles.append(f"{count:,} {what}")

    def clear(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill_runner()
        for one in psutil.process_iter():
            if str(self.temporary) in command_of(one):
                with suppress(psutil.Error):
                    one.kill()
        if self.has_disk:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)
        shutil.rmtree(self.temporary, ignore_errors=True)


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--lock-s", type=float, default=40.0, help="how long the database is locked")
    parser.add_argument(
        "--only", choices=("runner", "worker", "browser", "renderer", "gpu", "stop", "disk", "clock", "lock")
    )
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--pack", action="store_true", help="pack the files into shards")
    parser.add_argument("--keep", type=Path, default=None, help="leave the runner's messages in this folder")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="crash-test-") as folder:
        storm = Storm(Path(folder), seed, options.lock_s, options.workers, options.pack)
        if not storm.has_disk:
            print("no right to mount a disk: none is filled")
        try:
            storm.rage(options.faults, options.only)
            if not storm.troubles:
                storm.finish()
                storm.check()
        finally:
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(storm.messages, options.keep / "messages.txt")
                if storm.troubles:
                    shutil.copytree(storm.disk, options.keep / "campaign", dirs_exist_ok=True)
            storm.clear()
    print(f"{sum(storm.counts.values())} faults {dict(storm.counts)}, {storm.jobs:,} jobs, seed {seed}")
    for trouble in storm.troubles:
        print(f"WRONG: {trouble}")
    return 1 if storm.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
