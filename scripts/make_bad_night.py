#!/usr/bin/env python3
"""A campaign after a bad night, to look at what `runner report` tells of it; no browser is started.

    scripts/make_bad_night.py FOLDER [--jobs 1000] [--seed 0]

Rows, pictures and evidence are written through the library as a run writes them, on a clock of their own: four
browsers over some hours. One job in twenty fails: an asset that is not there (wherever a job asks for it), a light
that is too bright (a part of the params), a scene that never ends, and an error with ten thousand characters, colours,
line breaks and markup. Besides there are blank pictures, a browser that was killed and one that answered no more for
a while, browsers that were replaced after their share of jobs, and a pause for want of disk space.
"""

from __future__ import annotations

import argparse
import heapq
import io
import itertools
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from runner.campaign import examples
from runner.frame import Frame
from runner.job import Lease, Phases, Place, Policy, Provenance
from runner.results import RenderJob, ResultsFolder
from runner.run.sheets import draw_sheets
from runner.store import Store

NAME, BROWSERS, HOURS = "bad_night", 4, 7.0
MUGS = (
    "plain",
    "striped",
    "cracked",
    "tall",
    "blue",
    "chipped",
    "glass",
    "tin",
    "enamel",
    "paper",
    "toy",
    "wide",
)
PAUSED_AT, PAUSE_S, KILLED_AT, SICK_FROM = 0.55, 900.0, 0.3, 0.7


def params_of(number: int, rng: random.Random) -> dict:
    """Of the usual kind: a camera's place, a light, a thing to look at."""
    return {
        "azimuth_deg": round(number * 137.5 % 360.0, 1),
        "light": round(rng.uniform(0.2, 4.0), 3),
        "mug": MUGS[number % len(MUGS)] if number % 5 else "plain",
        "seed": number,
    }


def picture_of(params: dict, is_blank: bool = False) -> Image.Image:
    """What the job would have shown, more or less."""
    if is_blank:
        return Image.new("RGB", (320, 240), (24, 24, 28))
    down = np.linspace(0.35, 1.0, 240)[:, None, None] * np.ones((1, 320, 1))
    sky = np.array([140, 165, 205]) * (0.35 + 0.16 * params["light"])
    image = Image.fromarray(np.clip(down * sky, 0, 255).astype(np.uint8))
    draw, angle = ImageDraw.Draw(image), math.radians(params["azimuth_deg"])
    x, y = 160 + 90 * math.cos(angle), 140 + 25 * math.sin(angle)
    hue = 47 * MUGS.index(params["mug"]) % 255
    colour = tuple(int(c) for c in Image.new("HSV", (1, 1), (hue, 170, 220)).convert("RGB").getpixel((0, 0)))
    draw.rectangle([0, 175, 320, 240], fill=(112, 102, 88))
    draw.ellipse([x - 62, y + 38, x + 62, y + 58], fill=(70, 63, 55))
    draw.rounded_rectangle([x - 42, y - 45, x + 42, y + 48], 10, fill=colour)
    draw.arc([x + 28, y - 25, x + 72, y + 25], -100, 100, fill=colour, width=9)
    return image


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


class Night:
    """The hours in which it happens; the store's clock is this one's."""

    def __init__(self, folder: Path, jobs: int, seed: int):
        self.rng, self.now = random.Random(seed), time.time() - (HOURS + 0.5) * 3600
        self.began, self.mean_s = self.now, HOURS * 3600 * BROWSERS / jobs
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.folder = folder / f"{NAME}.py", folder
        source = Path(examples.__file__).with_name("orbit.py").read_text()
        self.file.write_text(source.replace('Campaign("orbit"', f'Campaign("{NAME}"'))
        self.store = Store(folder / "runner.db", clock=lambda: self.now)
        self.results = ResultsFolder(folder / "results", NAME)
        place = Place(str(self.file), str(folder / "results"))
        policy = Policy(max_failures=2, backoff_s=60.0, timeout_s=180.0)
        made = (params_of(number, self.rng) for number in range(jobs))
        self.campaign, _ = self.store.submit(NAME, made, policy, place)
        self.worker = self.store.start_worker(self.campaign)
        self.lives, self.served = (
            dict.fromkeys(range(1, BROWSERS + 1), 0),
            dict.fromkeys(range(1, BROWSERS + 1), 0),
        )
        self.sessions = {slot: self.new_session(slot) for slot in self.lives}
        self.recycle_after, self.has_paused, self.has_killed = max(20, jobs // 9), False, False
        self.executor = ThreadPoolExecutor(1)

    @property
    def share(self) -> float:
        """How much of the night is over."""
        return (self.now - self.began) / (HOURS * 3600)

    def new_session(self, slot: int) -> int:
        self.lives[slot] += 1
        self.served[slot] = 0
        name = f"browser-{slot}" if self.lives[slot] == 1 else f"browser-{slot}.{self.lives[slot]}"
        drawn = Provenance(
            name, "Chromium 140.0", "ANGLE (Mesa, llvmpipe)", {"three": "0.178"}, "0.3", "0.1.6"
        )
        return self.store.start_session(self.worker, self.campaign, drawn)

    def note(self, kind: str, message: str) -> None:
        self.store.write_events(self.campaign, self.worker, [(self.now, kind, message)])

    def run(self) -> None:
        """All jobs, in the order of the clock: who is due first claims, or settles what it has."""
        order = itertools.count()
        due = [(self.now + slot, next(order), slot, None, 0.0) for slot in self.sessions]
        while due:
            self.now, _, slot, lease, took_s = heapq.heappop(due)
            if lease is not None:
                self.settle(slot, lease, took_s)
            if not self.has_paused and self.share > PAUSED_AT:
                self.pause(due, slot)
                continue
            self.store.promote(self.campaign)
            leases = self.store.claim(self.worker, self.campaign, 1, self.sessions[slot])
            progress = self.store.reader.progress(self.campaign)
            if leases:
                took_s = self.mean_s * self.rng.lognormvariate(-0.1, 0.35)
                took_s = 180.0 if self.is_stuck(slot) or leases[0].params["seed"] % 120 == 51 else took_s
                heapq.heappush(due, (self.now + took_s, next(order), slot, leases[0], took_s))
            elif progress.left:
                heapq.heappush(due, (self.now + 30.0, next(order), slot, None, 0.0))
        self.store.end_worker(self.worker)

    def pause(self, due: list, slot: int) -> None:
        """The disk is full for a while, for everybody."""
        self.has_paused = True
        self.note("pause", "OSError: [Errno 28] No space left on device")
        due[:] = [(at + PAUSE_S, *rest) for at, *rest in due]
        heapq.heappush(due, (self.now + PAUSE_S, -1, slot, None, 0.0))
        heapq.heapify(due)
        self.now += PAUSE_S
        self.note("resume", f"after {PAUSE_S:.1f} s: OSError: [Errno 28] No space left on device")

    def is_stuck(self, slot: int) -> bool:
        return slot == 3 and SICK_FROM < self.share < SICK_FROM + 0.06

    def settle(self, slot: int, lease: Lease, took_s: float) -> None:
        """The end of an attempt, for better or worse."""
        self.served[slot] += 1
        if slot == 2 and not self.has_killed and self.share > KILLED_AT:
            self.has_killed = True
            self.note("browser", "it was killed by signal 9")
            self.store.reclaim(lease, "crash: it was killed by signal 9")
            self.sessions[slot] = self.new_session(slot)
            return
        error = self.error_of(slot, lease, took_s)
        if error:
            self.fail(lease, error)
        else:
            self.complete(lease)
        if self.served[slot] >= self.recycle_after:
            self.note("recycle", f"it has rendered {self.served[slot]:,} jobs")
            self.sessions[slot] = self.new_session(slot)

    def error_of(self, slot: int, lease: Lease, took_s: float) -> str:
        params = lease.params
        if took_s == 180.0:
            return "TimeoutError: no end after 180 s"
        if params["mug"] == "cracked" and params["seed"] % 24 == 2:
            return (
                f"AssetError: http://localhost:4{params['seed']:04d}/assets/mugs/cracked.glb: 404 Not Found"
            )
        if params["light"] > 3.95:
            return f"ValueError: light {params['light']} is too bright: at most 3.95"
        if params["seed"] % 250 == 77:
            return (
                "RuntimeError: \x1b[31mshader\x1b[0m\n<script>alert('no')</script> | `x` "
                + "at line 7; " * 900
            )
        if lease.attempt == 1 and self.rng.random() < 0.01:
            return "FrameError: the picture is torn"
        return ""

    def fail(self, lease: Lease, error: str) -> None:
        where = f'  File "{self.file}", line 41, in render\n    session.update @ mug(job.params)\n'
        lines = ["page console: warning: THREE.WebGLRenderer: context is busy"]
        if not error.startswith("AssetError"):
            frame = Frame(jpeg(picture_of(lease.params).point(lambda level: level // 3)))
            self.results.keep_evidence(lease, frame)
        lines.append(f"Traceback (most recent call last):\n{where}{error}")
        self.store.fail(lease, " ".join(error.split("\n")), "\n".join(lines))

    def complete(self, lease: Lease) -> None:
        is_blank = lease.params["seed"] % 97 == 13
        image = picture_of(lease.params, is_blank)
        files = RenderJob(lease, self.results, self.executor)
        files.save("rgb.jpg", jpeg(image))
        files.log(mean=float(np.asarray(image).mean()), sharpness=self.rng.gauss(40.0, 6.0))
        took_s = self.now - lease.grab_ts
        phases = Phases(took_s * self.rng.uniform(0.0, 0.5), took_s * 0.3, took_s * 0.9)
        outcome = replace(files.finish(), phases=phases)
        if is_blank:
            outcome = replace(outcome, suspicion="rgb.jpg: all pixels are of one colour")
        self.store.complete(lease, outcome)

    def close(self) -> None:
        self.executor.shutdown()
        self.store.close()


def make(folder: Path, jobs: int = 1000, seed: int = 0) -> Path:
    """Write the night into a folder; returns the path of its database."""
    night = Night(folder.absolute(), jobs, seed)
    night.run()
    draw_sheets(night.store.reader, night.campaign, night.results)
    night.close()
    return folder.absolute() / "runner.db"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(make(given.folder, given.jobs, given.seed))
