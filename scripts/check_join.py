#!/usr/bin/env python3
"""Render with a browser in another network, cut that off in the middle of a job, and see that nothing is lost or twice.

    python scripts/check_join.py [--jobs 260] [--cut-s 90] [--lease-s 30] [--keep FOLDER]

Two network namespaces, joined by a pair of virtual cables: a real `runner run` with one browser of its own in the one,
`runner join` with another in the other, by TLS. While both render, the cable is made to lose every packet: nothing is
delivered, and nothing refused. After so many seconds it works again; the run goes on meanwhile. Then every row, file
and metrics record is looked at. Needs root (ip netns). Exit status 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from campaigns import assert_nobody_was_charged, assert_whole, done_count, write_colors

from runner.store import Store

RUN, JOIN = "10.77.0.1", "10.77.0.2"
PORT = 8012
# A packet to that address is taken in by nobody.
NOWHERE = "02:00:00:00:00:99"
BODY = "await asyncio.sleep(0.7)"


class Networks:
    """Two namespaces, and the cable between them."""

    def __init__(self) -> None:
        own = os.getpid()
        self.names = {RUN: f"runner-a{own}", JOIN: f"runner-b{own}"}
        self._cables = {RUN: f"rna{own}", JOIN: f"rnb{own}"}

    def __enter__(self) -> Networks:
        for name in self.names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        first, second = self._cables.values()
        ip("link", "add", first, "type", "veth", "peer", "name", second)
        for address, name in self.names.items():
            ip("link", "set", self._cables[address], "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", self._cables[address])
            ip("-n", name, "link", "set", self._cables[address], "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names.values():
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)

    def cut(self) -> None:
        """Lose every packet, both ways."""
        for (address, name), other in zip(self.names.items(), (JOIN, RUN)):
            place = ("dev", self._cables[address])
            ip("-n", name, "neigh", "replace", other, "lladdr", NOWHERE, "nud", "permanent", *place)

    def mend(self) -> None:
        """Deliver them again."""
        for (address, name), other in zip(self.names.items(), (JOIN, RUN)):
            ip("-n", name, "neigh", "del", other, "dev", self._cables[address])

    def command(self, address: str, *words: object) -> Command:
        """`runner WORDS`, there."""
        return Command(
            ["ip", "netns", "exec", self.names[address], sys.executable, "-m", "runner", *map(str, words)]
        )


class Command:
    """A process; lines: what it says, with the second in which it did."""

    def __init__(self, words: list[str]):
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        self.lines: list[tuple[float, str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append((time.monotonic(), line.rstrip()))

    def said(self, words: str) -> float | None:
        """When it said so last; None: it did not."""
        return next((at for at, line in reversed(self.lines) if words in line), None)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def until(fact: Callable[[], object], what: str, limit_s: float = 180.0) -> float:
    """Wait for it; the monotonic time then."""
    deadline = time.monotonic() + limit_s
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:.0f} s in vain for {what}")
        time.sleep(0.05)
    return time.monotonic()


def certificate(folder: Path) -> tuple[str, str]:
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    names = ("-subj", "/CN=render-host", "-keyout", key, "-out", cert)
    subprocess.run(["openssl", "req", *kind, *names], check=True, capture_output=True)
    return cert, key


@contextlib.contextmanager
def folder_of(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="check-join-") as name:
        yield Path(name)


def jobs_of_joiner(folder: Path) -> tuple[int, int, Counter[str]]:
    """How many done jobs were rendered there, how many attempts were handed back, and their reasons."""
    with Store(folder / "runner.db") as store:
        names = {row["id"]: row["name"] for row in store.reader.sessions(1)}
        done = store.reader.done_by_session(1)
        there = sum(count for session, count in done.items() if "browser-1" in names.get(session, "")[1:])
        attempts = store.reader.attempts(1)
    return there, len(attempts), Counter(str(row["error"]) for row in attempts)


def check(folder: Path, jobs: int, cut_s: float, lease_s: float) -> None:
    """Render, cut, mend, and look. Raises AssertionError."""
    file = write_colors(folder, jobs, BODY)
    cert, key = certificate(folder)
    tls = ("--cert", cert, "--key", key)
    with Networks() as networks:
        served = ("--host", RUN, "--port", PORT, "--sessions", 1, "--tab-lease", lease_s)
        run = networks.command(RUN, "run", file, *served, *tls)
        commands = [run]
        try:
            until(lambda: run.said("?ws="), "the link")
            link = next(line for _, line in run.lines if "?ws=" in line)
            joiner = networks.command(JOIN, "join", link, "--sessions", 1, "--cert", cert, "--exit-when-idle")
            commands.append(joiner)
            until(lambda: run.said("has joined"), "the joiner")
            until(lambda: jobs_of_joiner(folder)[0] >= 5, "jobs from there")

            networks.cut()
            cut_at, before = time.monotonic(), done_count(folder)
            time.sleep(cut_s)
            meanwhile, there = done_count(folder) - before, jobs_of_joiner(folder)[0]
            networks.mend()
            mended_at = time.monotonic()
            first_at = until(lambda: jobs_of_joiner(folder)[0] > there, "jobs from there after the cut")
            status = run.process.wait(600), joiner.process.wait(120)
        finally:
            for command in commands:
                command.end()
        silent_at, away_at = run.said("has left (nothing"), joiner.said("is away")
        assert status == (0, 0), status
        told = "".join(line for command in commands for _, line in command.lines)
        assert silent_at and away_at, f"one of the two did not notice the cut:\n{told}"
        assert "Traceback" not in told, told
    assert_whole(folder, jobs)
    assert_nobody_was_charged(folder)
    total, handed_back, reasons = jobs_of_joiner(folder)
    assert handed_back >= 1, "no job was in flight there when the network went"
    noticed = next(at for at, line in joiner.lines if "is away" in line)
    print(f"cut for {cut_s:g} s; jobs {jobs}, each done once, its picture its own; {total} of them there")
    print(f"the run noticed after {silent_at - cut_at:.1f} s, the joiner after {noticed - cut_at:.1f} s")
    print(
        f"meanwhile {meanwhile} jobs were done; the first one there came {first_at - mended_at:.1f} s after the end"
    )
    print(f"attempts handed back, uncharged: {handed_back}")
    for reason, count in reasons.items():
        print(f"  {count} x {re.sub(r'[0-9a-f]{8,}', '…', reason)}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=260)
    parser.add_argument("--cut-s", type=float, default=90.0)
    parser.add_argument("--lease-s", type=float, default=30.0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if os.geteuid() or shutil.which("ip") is None:
        print("check_join.py needs root, and ip of the package iproute2", file=sys.stderr)
        return 1
    with folder_of(options.keep) as folder:
        try:
            check(folder, options.jobs, options.cut_s, options.lease_s)
        except AssertionError as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"wrong, in {where.name}: {error or where.line}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
