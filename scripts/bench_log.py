#!/usr/bin/env python3
"""Measure what the metrics log costs the claim path: claims and completions with it and without, in turns.

The log is written as in a run: by a thread, twice a second. Once flat out, with no rendering at all, and once
with a pause after each job, as rendering would make.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from runner.job import Outcome
from runner.results import MetricsLog, ResultsFolder
from runner.store import Store

_SYNC_EVERY_S = 0.5


def moves(store: Store, campaign_id: int, worker_id: int, duration_s: float, wait_s: float) -> float:
    """Claim and complete for a while; how many jobs a second."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() < began + duration_s:
        (lease,) = store.claim(worker_id, campaign_id)
        store.complete(lease, Outcome((), {"psnr": 31.5, "ssim": 0.97}))
        count += 1
        if wait_s:
            time.sleep(wait_s)
    return count / (time.perf_counter() - began)


def with_log(log: MetricsLog, act) -> float:
    over = threading.Event()

    def keep() -> None:
        while not over.wait(_SYNC_EVERY_S):
            log.sync()

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        return act()
    finally:
        over.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--round-s", type=float, default=2.0, help="seconds of one turn")
    parser.add_argument("--render-s", type=float, default=0.005, help="the pause after each job, in seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-log-") as name, Store(Path(name) / "bench.db") as store:
        campaign_id, _ = store.submit("bench", ({"n": n} for n in range(400_000)))
        log = MetricsLog(store, campaign_id, ResultsFolder(Path(name) / "results", "bench"))
        worker_id = store.start_worker(campaign_id)
        pauses = {
            "flat out": 0.0,
            f"with {options.render_s * 1000:g} ms of rendering a job": options.render_s,
        }
        for title, wait_s in pauses.items():

            def act(wait_s: float = wait_s) -> float:
                return moves(store, campaign_id, worker_id, options.round_s, wait_s)

            ratios = []
            for _ in range(options.rounds):
                log.sync()
                without = act()
                log.sync()
                logged = with_log(log, act)
                ratios.append(logged / without)
            print(
                f"{title}: with the log, claims and completions run at {median(ratios):.3f} of the rate without"
            )
        log.sync()
        log.close()


if __name__ == "__main__":
    main()
