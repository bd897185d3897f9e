#!/usr/bin/env python3
"""What a look at a campaign costs: status, report and its faces at several sizes, a tenth of the jobs failed.

    scripts/bench_report.py [--sizes 1e4,1e5,1e6] [--different]

--different: each failure has a message of its own, rather than one of forty. Seconds are of whole processes, with
their start, and what of them the processor was at work; rows are written straight into the tables, without pictures.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runner.job import Place
from runner.store import Store

FACES = (["status"], ["report"], ["report", "--json"], ["report", "--html", "page.html"])
BROWSERS, JOB_S = 4, 0.05


def fill(path: Path, size: int, is_different: bool) -> None:
    """A night of so many jobs, of which every tenth failed at its third try."""
    # Twenty words for the groups; a word of four letters that no other failure has.
    reason = "'AssetError: ' || char(97 + id / 10 % 20) || 'x is missing at ' || id"
    if is_different:
        letters = ", ".join(f"97 + id / {26**place} % 26" for place in range(5))
        reason += f" || ' ' || char({letters})"
    with Store(path) as store:
        campaign_id, _ = store.submit(
            "bench",
            (
                {"azimuth_deg": 0.1 * n, "light": n % 97, "room": f"room-{n % 7}", "seed": n}
                for n in range(size)
            ),
            place=Place(results=str(path.parent)),
        )
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
                f"UPDATE job SET status = 'done', attempt = 1, session_id = 1 + id % {BROWSERS},"
                f" worker_id = {worker_id},"
                f" grab_ts = {start} + id * {JOB_S / BROWSERS}, end_ts = {start} + id * {JOB_S / BROWSERS} + {JOB_S}"
                " + (id * 7919 % 1000) / 20000.0"
            )
            cursor.run(
                f"UPDATE job SET status = 'failed', attempt = 3, failures = 3, error = {reason} WHERE id % 10 = 0"
            )
            for number in (1, 2, 3):
                cursor.run(
                    "INSERT INTO attempt SELECT id, "
                    + str(number)
                    + ", worker_id, session_id, 'failed', error,"
                    " 'Traceback', grab_ts, end_ts FROM job WHERE status = 'failed'"
                )
            cursor.run(
                "INSERT INTO result (campaign_id, job_id, metrics) SELECT campaign_id, id, '{\"mean\": 1.5}' FROM job"
                " WHERE status = 'done'"
            )
            cursor.run(
                f"UPDATE campaign SET done = {size - size // 10}, failed = {size // 10} WHERE id = {campaign_id}"
            )
            cursor.run(f"UPDATE worker SET started_ts = {start} WHERE id = {worker_id}")
        store.end_worker(worker_id)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1e4,1e5,1e6")
    parser.add_argument("--different", action="store_true")
    given = parser.parse_args()
    for size in (int(float(one)) for one in given.sizes.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            fill(folder / "runner.db", size, given.different)
            for face in FACES:
                began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
                environment = os.environ | {"XDG_STATE_HOME": name}
                words = [sys.executable, "-m", "runner", *face]
                out = subprocess.run(
                    words, cwd=folder, env=environment, check=True, capture_output=True, text=True
                )
                took_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
                busy_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                lines = f"{len(out.stdout.splitlines()):,} lines"
                if (folder / "page.html").exists():
                    lines = f"a page of {(folder / 'page.html').stat().st_size / 1e6:.2f} MB"
                print(
                    f"{size:>9,}  {' '.join(face):<24} {took_s:6.2f} s ({busy_s:.2f} s of processor), {lines}"
                )
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            print(f"{size:>9,}  most memory so far {peak:,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
