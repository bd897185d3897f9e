#!/usr/bin/env python3
"""How soon `runner run` has its first finished job, and which process the time until then goes to.

    python scripts/bench_start.py [--rounds N] [--sessions N] [--beside TREE …] [-- MORE OPTIONS OF RUN]

A campaign of pictures of a ball is started afresh in each round, and ended when its first job is done. Of each
process the start and the processor time until then are read from /proc (Linux), the rest from the rows. --beside:
the same with the package of another working tree, in turn, so that both meet the same neighbours. The figures are
medians over the rounds. By the clock they mean something on a quiet machine alone; processor time does on any.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
LOOK_S, LONGEST_S = 0.02, 120.0
CAMPAIGN = '''\
"""A ball on a floor, in as many colours as there are jobs."""

from vuer.schemas import CameraView, DefaultScene, Sphere

from runner import Campaign

campaign = Campaign("start")


@campaign.jobs
def jobs():
    for n in range(1000):
        yield {"red": n % 256}


@campaign.scene
def scene():
    return DefaultScene(Sphere(key="ball"), rawChildren=[CameraView(key="ego", width=320, height=240)])


@campaign.render
async def render(session, job):
    session.update @ Sphere(key="ball", material={"color": f"#{job.params['red']:02x}4080"})
    job.save("rgb.jpg", await session.grab("ego"))
'''
# Each process by what stands in its command line; the first that fits. What is left belongs to the command itself.
ROLES = {
    "worker process": "runner.run.worker_process",
    "Playwright's driver": "run-driver",
    "GPU process": "--type=gpu-process",
    "tab": "--type=renderer",
    "other browser processes": "--type=",
    "browser": "--user-data-dir",
}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# Whoever has installed runner has it compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# What the rows tell, by the name of the line.
ROWS = {
    "the worker is told what to do": "SELECT min(started_ts) FROM worker",
    "its page is connected": "SELECT min(started_ts) FROM session",
    "the first job is taken": "SELECT min(grab_ts) FROM job",
    "the first job is done": "SELECT min(end_ts) FROM job WHERE status = 'done'",
}
# And what is known of processes.
STARTS = {
    "worker process": "the worker process is started",
    "Playwright's driver": "Playwright's driver is started",
    "browser": "the browser is started",
    "tab": "its tab is opened",
}
CLOCK = [
    *list(STARTS.values())[:1],
    "the worker is told what to do",
    *list(STARTS.values())[1:],
    *list(ROWS)[1:],
]


class Watch:
    """The processes below one, as they come: role, start (Unix seconds) and processor time (s) of each."""

    def __init__(self, pid: int):
        self._boot_ts = time.time() - float(Path("/proc/uptime").read_text().split()[0])
        self._pid = pid
        self.seen: dict[int, tuple[str, float, float]] = {}

    def look(self) -> None:
        left = [self._pid]
        while left:
            pid = left.pop()
            # It may be gone.
            with contextlib.suppress(OSError, IndexError, ValueError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                role = next((role for role, part in ROLES.items() if part in command), "")
                role = role or (self.seen[pid][0] if pid in self.seen else "command")
                started_ts = self._boot_ts + int(facts[19]) * TICK_S
                # With the children that have ended and were waited for.
                self.seen[pid] = role, started_ts, sum(map(int, facts[11:15])) * TICK_S
                for task in Path(f"/proc/{pid}/task").iterdir():
                    left += map(int, (task / "children").read_text().split())


def one_round(tree: Path, options: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds since the start of what has happened, and seconds of processor time, each by name."""
    with tempfile.TemporaryDirectory(prefix="bench-start-") as name:
        folder = Path(name)
        (folder / "start.py").write_text(CAMPAIGN)
        began_ts = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", "runner", "run", "start.py", *options],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(tree)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        watch = Watch(process.pid)
        try:
            while not is_done(folder / "runner.db"):
                watch.look()
                if process.poll() is not None or time.time() - began_ts > LONGEST_S:
                    process.kill()
                    sys.exit(f"no job was done: {process.communicate()[1]}")
                time.sleep(LOOK_S)
            watch.look()
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()
        clock = {}
        for role, line in STARTS.items():
            clock[line] = (
                min((ts for one, ts, _ in watch.seen.values() if one == role), default=began_ts) - began_ts
            )
        with contextlib.closing(sqlite3.connect(folder / "runner.db")) as database:
            for line, query in ROWS.items():
                clock[line] = database.execute(query).fetchone()[0] - began_ts
    cpu: dict[str, float] = defaultdict(float)
    for role, _, spent_s in watch.seen.values():
        cpu[role] += spent_s
    return clock, cpu | {"all": sum(cpu.values())}


def is_done(database: Path) -> bool:
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened,
    ):
        return any(done for (done,) in opened.execute("SELECT done FROM campaign"))
    return False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", default="2")
    parser.add_argument("--beside", type=Path, action="append", default=[], metavar="TREE")
    parser.add_argument("more", nargs="*", help="options of run")
    given = parser.parse_args()
    trees = [ROOT, *given.beside]
    found: dict[Path, list[tuple[dict[str, float], dict[str, float]]]] = {tree: [] for tree in trees}
    for number in range(given.rounds):
        for tree in trees if number % 2 else trees[::-1]:
            found[tree].append(one_round(tree, ["--sessions", given.sessions, *given.more]))
    heads = ["here", *(tree.name for tree in given.beside)]
    for which, title, lines in (
        (0, "by the clock, s", CLOCK),
        (1, "processor time until then, s", ["command", *ROLES, "all"]),
    ):
        print(f"| {title} | " + " | ".join(heads) + " |\n|---|" + "---:|" * len(heads))
        for line in lines:
            cells = [f"{median(one[which].get(line, 0.0) for one in found[tree]):.2f}" for tree in trees]
            print(f"| {line} | " + " | ".join(cells) + " |")
        print()


if __name__ == "__main__":
    main()
