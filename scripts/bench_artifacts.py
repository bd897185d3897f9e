#!/usr/bin/env python3
"""Measure how files of jobs are written and listed: beside plain durable writes, and as they grow in number.

All contenders take turns, in chunks of jobs, so that they meet the same disk in the same minutes; what is
printed are ratios. Between the first and the last chunks the folder is filled without waiting for the disk.

    scripts/bench_artifacts.py --jobs 100000 --folder FOLDER_ON_THE_DISK_TO_MEASURE
"""

import argparse
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Iterator

from runner.job import Lease
from runner.results import JobFiles, ResultsFolder

FILES = ("rgb.jpg", "depth.npy")


class Runner:
    """Two artifacts a job, by JobFiles; with the manifest or without."""

    def __init__(self, folder: Path, has_manifest: bool = True):
        self.results = ResultsFolder(folder, "bench")
        if not has_manifest:
            self.results.seal = lambda lease, _outcome, names: self.results.settle(lease, names)
        self.number = 0

    def write(self, content: bytes, count: int, writer: ThreadPoolExecutor) -> None:
        for _ in range(count):
            self.number += 1
            lease = Lease(self.number, 1, 77, 1, f"{self.number:032x}", {"n": self.number}, 0, 0, 0.0, 0.0)
            files = JobFiles(lease, self.results, writer)
            for name in FILES:
                files.save(f"{name}.bin", content)
            files.log(psnr=31.5)
            files.finish()


class Plain:
    """The least that outlives a power cut: write, fsync, rename, and fsync of the folder; all in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.number = 0
        folder.mkdir(parents=True)

    def write(self, content: bytes, count: int, _writer: ThreadPoolExecutor) -> None:
        for _ in range(count):
            self.number += 1
            for name in FILES:
                path = self.folder / f"{self.number:032x}-{name}"
                temporary = path.with_suffix(".tmp")
                with open(temporary, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            descriptor = os.open(self.folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def rate(contender, content: bytes, count: int, writer: ThreadPoolExecutor) -> float:
    began = time.perf_counter()
    contender.write(content, count, writer)
    return count / (time.perf_counter() - began)


def rates(contenders: dict, content: bytes, chunk: int, rounds: int, writer: ThreadPoolExecutor) -> dict:
    """Jobs per second of each, the median over rounds in which they take turns."""
    seen = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            seen[name].append(rate(contender, content, chunk, writer))
    return {name: median(values) for name, values in seen.items()}


def listing_rates(folders: dict, rounds: int = 3) -> tuple[int, dict]:
    """How many files runner has, and files per second of going through each folder with their sizes, once read."""
    seen = {name: [] for name in folders}
    counts = {}
    for turn in range(rounds + 1):
        for name, folder in folders.items():
            began = time.perf_counter()
            count = sum(1 for entry in walk(folder) if entry.stat().st_size)
            if turn:
                seen[name].append(count / (time.perf_counter() - began))
            counts[name] = count
    return counts["runner"], {name: median(values) for name, values in seen.items()}


def walk(folder) -> Iterator[os.DirEntry]:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)
        else:
            yield entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=8_000, help="bytes of each file")
    parser.add_argument("--chunk", type=int, default=20, help="jobs that each contender does in its turn")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--folder", type=Path, help="where to write; removed afterwards")
    options = parser.parse_args()
    content = os.urandom(options.size)
    folder = Path(tempfile.mkdtemp(prefix="bench-artifacts-", dir=options.folder))
    try:
        with ThreadPoolExecutor(4) as writer:
            contenders = {
                "runner": Runner(folder / "runner"),
                "plain": Plain(folder / "plain"),
                "runner, no manifest": Runner(folder / "bare", has_manifest=False),
            }
            folders = {name: folder / name for name in ("runner", "plain")}
            first = rates(contenders, content, options.chunk, options.rounds, writer)
            few, first_listing = listing_rates(folders)
            real, os.fsync = os.fsync, lambda _descriptor: None
            fill = options.jobs - contenders["runner"].number - options.chunk * options.rounds
            for name in folders:
                contenders[name].write(b"x", max(0, fill), writer)
            os.fsync = real
            os.sync()
            last = rates(contenders, content, options.chunk, options.rounds, writer)
            many, last_listing = listing_rates(folders)
        widest = max(len(os.listdir(path)) for path in (folder / "runner/bench/jobs").iterdir())
        print(f"{contenders['runner'].number:,} jobs with {len(FILES)} files each; folders hold at most {widest:,} entries")
        print("jobs written per second, as ratios to plain     at the start    at the end    end to start")
        for name in contenders:
            start, end = first[name] / first["plain"], last[name] / last["plain"]
            print(f"  {name:<40}{start:>18.2f}{end:>14.2f}{last[name] / first[name]:>16.2f}")
        print(f"files listed per second, of {few:,} and of {many:,}")
        for name in folders:
            start, end = first_listing[name] / first_listing["plain"], last_listing[name] / last_listing["plain"]
            print(f"  {name:<40}{start:>18.2f}{end:>14.2f}{last_listing[name] / first_listing[name]:>16.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
