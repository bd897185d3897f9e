#!/usr/bin/env python3
"""What each command costs at several sizes of a campaign: seconds, processor time, memory, and how long it is silent.

    scripts/bench_commands.py [--sizes 1e4,1e5,1e6] [--only run,status] [--most-files 1e6] [--different]
                              [--until-claimed]

A campaign of each size is made: of ten jobs eight are done, one failed at its third try, one is pending. Rows are
written straight into the tables; each done job has a file of its own of 1 KB, up to --most-files jobs. Beyond these,
jobs have no file, and what reads files is left out. --different: each failure has a message of its own, rather than
one of twenty. Every command is a process of its own, with its start; stderr is a terminal, stdout a file.

s, cpu: of the whole process and all that it waits for. MiB: the most that the process itself held in memory.
silent: the longest time in which nothing came on the terminal. Of a run: the seconds until its first line, until a job
was claimed by a browser, and until all that the file yields was in the database; it is then interrupted. "run known"
knows all jobs, to "run new" all are new; "run" is both. --until-claimed: it is killed once a job was claimed, with no
end, for which a log of so many jobs would have to be there.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import pty
import select
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from runner.job import Artifact, Place
from runner.results import ResultsFolder
from runner.store import Store, statements

BROWSERS, JOB_S = 4, 0.05
CAMPAIGN = '''\
"""A campaign of as many jobs as are asked for."""

from vuer.schemas import CameraView, Scene

from runner import Campaign

campaign = Campaign("bench")


@campaign.jobs
def jobs(count=1):
    for n in range(count):
        yield {"azimuth_deg": 0.1 * n, "light": n % 97, "room": f"room-{n % 7}", "seed": n}


@campaign.scene
def scene():
    return Scene(rawChildren=[CameraView(key="ego", width=64, height=48)])


@campaign.render
async def render(session, job):
    job.save("rgb.jpg", await session.grab("ego"))
'''
RUNNER = [sys.executable, "-m", "runner"]
FRAME = "import runner; print(len(runner.open('runner.db')['bench'].to_frame()))"
# By name: what is typed, and whether it reads the files. What changes rows comes last.
COMMANDS: dict[str, tuple[list[str], bool]] = {
    "status": ([*RUNNER, "status"], False),
    "report": ([*RUNNER, "report"], False),
    "report --json": ([*RUNNER, "report", "--json"], False),
    "report --html": ([*RUNNER, "report", "--html", "page.html"], False),
    "list": ([*RUNNER, "list"], False),
    "list --limit 0": ([*RUNNER, "list", "--limit", "0"], False),
    "to_frame": ([sys.executable, "-c", FRAME], False),
    "log": ([*RUNNER, "log", "--rebuild"], False),
    "verify": ([*RUNNER, "verify"], True),
    "export csv": ([*RUNNER, "export", "csv", "out.csv", "--allow-incomplete"], True),
    "export parquet": ([*RUNNER, "export", "parquet", "out.parquet", "--allow-incomplete"], True),
    "retry --error": ([*RUNNER, "retry", "--error", "ax is missing"], False),
    "retry": ([*RUNNER, "retry"], False),
    "retry --done --where": ([*RUNNER, "retry", "--done", "--where", "light == 3"], False),
}
RUNS = ("run known", "run new")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1e4,1e5,1e6")
    parser.add_argument("--only", default="", help=f"of {', '.join((*RUNS, *COMMANDS))}")
    parser.add_argument("--most-files", default="1e6")
    parser.add_argument("--different", action="store_true")
    parser.add_argument("--until-claimed", action="store_true")
    parser.add_argument("--folder", help="the disk to measure")
    given = parser.parse_args()
    chosen = [name.strip() for name in given.only.split(",") if name.strip()] or [*RUNS, *COMMANDS]
    if "run" in chosen:
        chosen += RUNS
    for size in (int(float(one)) for one in given.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=given.folder) as name:
            folder = Path(name)
            (folder / "bench.py").write_text(CAMPAIGN)
            has_files = size <= float(given.most_files)
            began = time.perf_counter()
            fill(folder, size, has_files, given.different)
            print(
                f"\n{size:,} jobs (made in {time.perf_counter() - began:.0f} s)\n"
                f"{'':24}{'s':>8}{'cpu':>8}{'MiB':>7}{'silent':>8}",
                flush=True,
            )
            if {*RUNS} & {*chosen} and not given.until_claimed:
                # Or the run would bring it up to date at its end.
                watched(COMMANDS["log"][0], folder)
            for run, prepare in zip(RUNS, (_with_copy, _with_none)):
                if run in chosen:
                    with prepare(folder):
                        print(f"{run:24}{_line(start_of_run(folder, size, given.until_claimed))}", flush=True)
            for command, (words, reads_files) in COMMANDS.items():
                if command in chosen and (has_files or not reads_files):
                    print(f"{command:24}{_line(watched(words, folder))}", flush=True)


# -- the campaign --------------------------------------------------------------------------------


def fill(folder: Path, size: int, has_files: bool, is_different: bool) -> None:
    """A night of so many jobs, of which every tenth failed at its third try, and every tenth is left."""
    # Twenty words for the groups; a word of five letters that no other failure has.
    reason = "'AssetError: ' || char(97 + id / 10 % 20) || 'x is missing at ' || id"
    if is_different:
        letters = ", ".join(f"97 + id / {26**place} % 26" for place in range(5))
        reason += f" || ' ' || char({letters})"
    results = ResultsFolder(folder / "results", "bench")
    place = Place(file=str(folder / "bench.py"), results=str(results.root))
    with Store(folder / "runner.db") as store:
        campaign_id, _ = store.submit("bench", _params(size), place=place)
        store.write_parameters(campaign_id, {"settings": {"count": str(size)}})
        worker_id = store.start_worker(campaign_id)
        start = time.time() - size * JOB_S / BROWSERS
        with store.database.write() as cursor:
            for slot in range(BROWSERS):
                cursor.run(
                    "INSERT INTO session (id, campaign_id, worker_id, name, browser, renderer, client, runner, vuer,"
                    f" settings, started_ts) VALUES ({slot + 1}, {campaign_id}, {worker_id}, 'browser-{slot + 1}', 'b',"
                    f" 'r', '{{}}', '1', '1', '{{}}', {start})"
                )
            cursor.run(
                f"UPDATE job SET status = CASE id % 10 WHEN 0 THEN 'failed' ELSE 'done' END, attempt = 1,"
                f" session_id = 1 + id % {BROWSERS}, worker_id = {worker_id},"
                f" grab_ts = {start} + id * {JOB_S / BROWSERS}, end_ts = {start} + id * {JOB_S / BROWSERS} + {JOB_S}"
                " + (id * 7919 % 1000) / 20000.0 WHERE id % 10 <> 5"
            )
            cursor.run(f"UPDATE job SET attempt = 3, failures = 3, error = {reason} WHERE status = 'failed'")
            for number in (1, 2, 3):
                cursor.run(
                    f"INSERT INTO attempt SELECT id, {number}, worker_id, session_id, 'failed', error,"
                    " 'Traceback', grab_ts, end_ts FROM job WHERE status = 'failed'"
                )
            cursor.run(
                "INSERT INTO result (campaign_id, job_id, metrics) SELECT campaign_id, id, '{\"mean\": 1.5}' FROM job"
                " WHERE status = 'done'"
            )
            done, failed = (
                cursor.run(f"SELECT COUNT(*) FROM job WHERE status = '{status}'").fetchall()[0][0]
                for status in ("done", "failed")
            )
            cursor.run(f"UPDATE campaign SET done = {done}, failed = {failed} WHERE id = {campaign_id}")
            cursor.run(f"UPDATE worker SET started_ts = {start} WHERE id = {worker_id}")
        digest = hashlib.sha256((folder / "bench.py").read_bytes()).hexdigest()
        store.write_events(campaign_id, worker_id, [(start, "source", f"{digest} bench.py")])
        if has_files:
            _write_files(store, campaign_id, results)
        store.end_worker(worker_id)


def _params(size: int) -> Iterator[dict[str, object]]:
    """As the campaign yields them."""
    return (
        {"azimuth_deg": 0.1 * n, "light": n % 97, "room": f"room-{n % 7}", "seed": n} for n in range(size)
    )


def _write_files(store: Store, campaign_id: int, results: ResultsFolder) -> None:
    """A file for each done job, not flushed to the disk."""
    lot: list[dict[str, object]] = []

    def write() -> None:
        with store.database.write() as cursor:
            cursor.run_many(statements.WRITE_ARTIFACT, lot)
        lot.clear()

    for job_id, key, _, status in store.reader.keys_of(campaign_id):
        if status == "done":
            path = results.attempt_folder(job_id, key, 1) / "rgb.jpg"
            content = hashlib.sha256(key.encode()).digest() * 32
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
            artifact = Artifact(
                name="rgb.jpg",
                path=path.relative_to(results.root).as_posix(),
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                kind="image/jpeg",
            )
            lot.append({"job": job_id} | vars(artifact))
        if len(lot) == 10_000:
            write()
    write()


@contextlib.contextmanager
def _with_copy(folder: Path) -> Iterator[None]:
    """The database is put back afterwards."""
    shutil.copyfile(folder / "runner.db", folder / "kept.db")
    try:
        yield
    finally:
        _forget_database(folder)
        (folder / "kept.db").rename(folder / "runner.db")


@contextlib.contextmanager
def _with_none(folder: Path) -> Iterator[None]:
    """There is no database meanwhile, nor results."""
    for name in ("runner.db", "results"):
        (folder / name).rename(folder / f"{name}.kept")
    try:
        yield
    finally:
        _forget_database(folder)
        shutil.rmtree(folder / "results", ignore_errors=True)
        for name in ("runner.db", "results"):
            (folder / f"{name}.kept").rename(folder / name)


def _forget_database(folder: Path) -> None:
    for name in ("runner.db", "runner.db-wal", "runner.db-shm"):
        (folder / name).unlink(missing_ok=True)


# -- a command, watched --------------------------------------------------------------------------


@dataclass
class Figures:
    """Of one command: see above. moments: of a run, what was seen when, in seconds."""

    took_s: float
    cpu_s: float
    peak_mib: float
    silent_s: float
    moments: dict[str, float]


def _line(one: Figures) -> str:
    told = "  ".join(f"{name} {at_s:.1f}" for name, at_s in one.moments.items())
    return f"{one.took_s:8.1f}{one.cpu_s:8.1f}{one.peak_mib:7,.0f}{one.silent_s:8.1f}  {told}".rstrip()


def watched(
    words: list[str],
    folder: Path,
    look: Callable[[float, dict[str, float]], bool] = lambda now_s, moments: False,
    is_run: bool = False,
    is_killed: bool = False,
) -> Figures:
    """Run it to its end, or until `look`, given the seconds and what was seen so far, says that it is enough.

    is_killed: and then end it at once.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    environment = os.environ | {"XDG_STATE_HOME": str(folder / "state")}
    # Whoever has installed runner has it compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    with open(folder / "stdout", "wb") as stdout:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=stdout, stderr=theirs)
    os.close(theirs)
    moments: dict[str, float] = {}
    heard_s = silent_s = peak_mib = others_s = 0.0
    said = b""
    is_told = False
    while True:
        readable, _, _ = select.select([ours], [], [], 0.05)
        now_s = time.perf_counter() - began
        silent_s = max(silent_s, now_s - heard_s)
        if readable:
            try:
                said += os.read(ours, 1 << 16)
            except OSError:  # the last who could write has ended
                break
            heard_s = now_s
            if is_run:
                moments.setdefault("first line", now_s)
        peak_mib = max(peak_mib, _peak_mib(process.pid))
        if not is_told and look(now_s, moments):
            is_told = True
            if is_killed:
                others_s = _cpu_of_others(process.pid)
            process.send_signal(signal.SIGKILL if is_killed else signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    took_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 143, -signal.SIGKILL if is_killed else 0):
        sys.exit(f"{' '.join(words)} ended with {process.returncode}:\n{said.decode()}")
    return Figures(took_s, usage.ru_utime + usage.ru_stime + others_s, peak_mib, silent_s, moments)


def _cpu_of_others(pid: int) -> float:
    """What all processes have used that it has started, in seconds."""
    used = [one.cpu_times() for one in psutil.Process(pid).children(recursive=True)]
    return float(sum(times.user + times.system for times in used))


def _peak_mib(pid: int) -> float:
    """The most that the process has held in memory so far; without what it has started."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def start_of_run(folder: Path, size: int, is_soon_over: bool) -> Figures:
    """Start a run with one browser, and interrupt it once a job was claimed, and all jobs are there if need be."""

    def look(now_s: float, moments: dict[str, float]) -> bool:
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{folder / 'runner.db'}?mode=ro", uri=True)) as database,
        ):
            # The index of running jobs.
            running = "SELECT 1 FROM job WHERE status = 'in_progress' AND worker_id > 0 LIMIT 1"
            if database.execute(running).fetchone():
                moments.setdefault("claimed", now_s)
            if database.execute("SELECT total FROM campaign").fetchone() == (size,):
                moments.setdefault("all there", now_s)
        return "claimed" in moments and (is_soon_over or "all there" in moments)

    words = [*RUNNER, "run", "bench.py", "--set", f"count={size}", "--sessions", "1"]
    return watched(words, folder, look, is_run=True, is_killed=is_soon_over)


if __name__ == "__main__":
    main()
