#!/usr/bin/env python3
"""Measure how files of jobs are written and listed: beside plain durable writes, and as they grow in number.

The contenders take turns, a few jobs each, so that they meet the same disk in the same second; what is
printed
is the median of the ratios in each turn. Plain durable writes go to a new folder in each turn, and so cost
the
same at any time: runner's ratio to them at the end beside that at the start tells what growth costs. Between
the two the folder is filled without waiting for the disk.

    scripts/bench_artifacts.py --jobs 100000 --folder FOLDER_ON_THE_DISK_TO_MEASURE
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from runner.job import Lease
from runner.results import RenderJob, ResultsFolder

FILES = ("rgb.jpg", "depth.npy")


class Runner:
    """Two artifacts a job, by RenderJob."""

    def __init__(self, folder: Path):
        self.results = ResultsFolder(folder, "bench")
        self.number = 0

    def write(self, content: bytes, count: int, writer: ThreadPoolExecutor) -> None:
        for _ in range(count):
            self.number += 1
            lease = Lease(self.number, 1, 77, 1, f"{self.number:032x}", {"n": self.number}, 0, 0, 0.0, 0.0)
            files = RenderJob(lease, self.results, writer)
            for name in FILES:
                files.save(f"{name}.bin", content)
            files.log(psnr=31.5)
            files.finish()


class Plain:
    """The least that outlives a power cut: write, fsync, rename, and fsync of the folder; a new one each turn."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.turns = 0

    def write(self, content: bytes, count: int, _writer: ThreadPoolExecutor) -> None:
        self.turns += 1
        folder = self.folder / str(self.turns)
        folder.mkdir(parents=True)
        for number in range(count):
            for name in FILES:
                path = folder / f"{number:032x}-{name}"
                temporary = path.with_suffix(".tmp")
                with open(temporary, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            descriptor = os.open(folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def seconds(act, *arguments) -> float:
    began = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - began


def write_ratios(
    contenders: dict, content: bytes, chunk: int, rounds: int, writer: ThreadPoolExecutor
) -> dict:
    """Jobs a second of each contender to those of plain."""
    ratios = {name: [] for name in contenders if name != "plain"}
    for _ in range(rounds):
        times = {
            name: seconds(contender.write, content, chunk, writer) for name, contender in contenders.items()
        }
        for name in ratios:
            ratios[name].append(times["plain"] / times[name])
    return {name: median(values) for name, values in ratios.items()}


def listing_ratio(folder: Path, reference: Path, rounds: int = 5) -> tuple[int, float]:
    """How many files the folder has, and its files a second, with their sizes, to those of the reference."""
    ratios = []
    for _ in range(rounds + 1):
        rates = []
        for each in (folder, reference):
            began = time.perf_counter()
            count = sum(1 for entry in walk(each) if entry.stat().st_size)
            rates.append((count, count / (time.perf_counter() - began)))
        ratios.append(rates[0][1] / rates[1][1])
    # The first time the folders are read from the disk.
    return rates[0][0], median(ratios[1:])


def walk(folder) -> Iterator[os.DirEntry]:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)
        else:
            yield entry


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
            }
            first = write_ratios(contenders, content, options.chunk, options.rounds, writer)
            shutil.copytree(folder / "runner", folder / "reference")
            few, first_listing = listing_ratio(folder / "runner", folder / "reference")
            real, os.fsync = os.fsync, lambda _descriptor: None
            fill = options.jobs - contenders["runner"].number - options.chunk * options.rounds
            contenders["runner"].write(b"x", max(0, fill), writer)
            os.fsync = real
            os.sync()
            last = write_ratios(contenders, content, options.chunk, options.rounds, writer)
            many, last_listing = listing_ratio(folder / "runner", folder / "reference")
        widest = max(len(os.listdir(path)) for path in (folder / "runner/bench/jobs").iterdir())
        print(
            f"{contenders['runner'].number:,} jobs with {len(FILES)} files each; "
            f"folders hold at most {widest:,} entries"
        )
        print("jobs written a second, as ratios to plain durable writes    at the start    at the end")
        for name, ratio in first.items():
            print(f"  {name:<54}{ratio:>16.2f}{last[name]:>14.2f}")
        print(
            f"files listed a second among {many:,}, to those among {few:,}: {last_listing / first_listing:.2f}"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
