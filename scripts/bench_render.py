#!/usr/bin/env python3
"""Frames a second: the loop of Vuer's tutorial, this runner with 1, 2 and 3 sessions, plain three.js, and pyrender.

Every contender renders the same scene at true 320x240 pixels, in the same browser with the same
rasteriser, interleaved round by round; each frame is checked to be its own job's. What counts are the
ratios. The tutorial's loop is what Vuer's documentation shows: its own server, an 800x600 window, an
update, a short sleep, a grab. The ceiling is what the same three.js objects give in that browser
without any of it: set the scene, draw, read back, encode as JPEG.

Where pyrender is installed (extra bench), processes of it stand beside: the same sphere and size on Mesa's EGL, one
file a frame, JPEG at full quality too; without jobs, checks, records and flushes.

    scripts/bench_render.py [--rounds N] [--seconds S] [--scene NAME …] [--only NAME …] [--json]

Scenes: ball, which is what the tutorial's loop renders; 100, 1000 and 5000 elements, of which that ball alone
changes; mixed100 and mixed1000, the same with a text, a line and a bounding box; robot, 30 nested groups which all
turn, each with a box; arm, a Urdf of 30 joints which all turn, alone and beside 1000 other elements. For these a run
with one session, as it is and with a plain page, stands beside plain three.js; `cost` is the browser's CPU of a frame
to that of plain three.js.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
from PIL import Image

WIDTH, HEIGHT = 320, 240
MEASURED = ("frames_per_s", "server_ms", "browser_ms", "memory_mb")
SCENES = ("ball", "100", "1000", "5000", "mixed100", "mixed1000", "robot", "arm", "arm1000")
# Vuer's client takes minutes to show the largest scene.
SHOWN_WITHIN_S = 1200

SCENE = """
import math
from urllib.parse import quote
from vuer.schemas import BoundingBox, Box, CameraView, DefaultScene, Group, Line, Sphere, Text, Urdf

LEVELS = ("10", "80", "f0")
KIND = "ball"


def others():
    if KIND == "robot":
        return [link(0, 0)]
    arms = [Urdf(key="arm", src=urdf(), position=[-1.3, -0.9, 0])] if KIND.startswith("arm") else []
    mixed = [
        Text("a label", key="label", fontSize=0.1, position=[0, -1, 0]),
        Line(key="path", points=[[-1, -1, 0], [0, -0.9, 0], [1, -1, 0]], lineWidth=3, color="red"),
        BoundingBox(key="bounds", position=[1.1, 0, 0], scale=[0.1, 0.1, 0.1]),
    ] if KIND.startswith("mixed") else []
    count = int(KIND.removeprefix("arm").removeprefix("mixed") or 1) - 1 if KIND != "ball" else 0
    small = [0.02, 0.02, 0.02]
    return arms + mixed + [Box(key=f"box{n}", args=small, position=place(n)) for n in range(count)]


def place(n):
    return [(n % 2 * 2 - 1) * (1.2 + 0.03 * (n // 60)), 0.05 * (n % 60 - 30), -1]


def link(n, number):
    box = Box(key=f"part{n}", args=[0.02, 0.06, 0.02])
    return Group(box, *([link(n + 1, number)] if n < 29 else []), key=f"link{n}", **pose(n, number))


def pose(n, number):
    return {"position": [0, 0.06, 0] if n else [-1.3, -0.9, 0], "rotation": [0, 0, 0.02 * math.sin(0.1 * number + n)]}


def urdf():
    box = '<origin xyz="0 0.03 0"/><geometry><box size="0.02 0.06 0.02"/></geometry>'
    parts = "".join(f'<link name="part{n}"><visual>{box}</visual></link>' for n in range(31))
    for n in range(30):
        ends = f'<parent link="part{n}"/><child link="part{n + 1}"/><origin xyz="0 0.06 0"/><axis xyz="0 0 1"/>'
        parts += f'<joint name="joint{n}" type="continuous">{ends}</joint>'
    return "data:text/xml," + quote(f'<robot name="arm">{parts}</robot>')


def changes(number):
    if KIND.startswith("arm"):
        angles = {f"joint{n}": 0.02 * math.sin(0.1 * number + n) for n in range(30)}
        return [ball(number), Urdf(key="arm", jointValues=angles)]
    links = [Group(key=f"link{n}", **pose(n, number)) for n in range(30)] if KIND == "robot" else []
    return [ball(number), *links]


def ball(number):
    color = "#" + "".join(LEVELS[number // 3**place % 3] for place in range(3))
    turn = [0, 0.1 * number, 0]
    return Sphere(key="ball", args=[1, 32, 32], rotation=turn, material={"color": color})

def scene():
    camera = CameraView(key="ego", stream="ondemand", monitor=False, showCamera=False, downsample=1,
                        width=320, height=240, fov=50, position=[0, 0, 3])
    return DefaultScene(ball(0), *others(), rawChildren=[camera])
"""

TUTORIAL = (
    SCENE
    + """
import sys, time, json, threading
from asyncio import sleep
from pathlib import Path
from vuer import Vuer

folder, port = Path(sys.argv[1]), int(sys.argv[2])
app = Vuer(host="localhost", port=port, queries=dict(grid=False))
times = open(folder / "times", "w", buffering=1)

@app.spawn(start=True)
async def main(proxy):
    proxy.set @ scene()
    await sleep(2.0)
    number = 0
    while True:
        proxy.update @ ball(number)
        await sleep(0.02)
        result = await proxy.grab_render(downsample=1, key="ego", ttl=30.0)
        (folder / f"{number}.jpg").write_bytes(result.value["frame"])
        print(number, time.time(), file=times)
        number += 1
"""
)

CAMPAIGN = (
    SCENE
    + """
from runner import Campaign

campaign = Campaign("bench", timeout_s=3000)

@campaign.jobs
def jobs():
    for number in range(100000):
        yield str(number), {"number": number}

campaign.scene(scene)

@campaign.render
async def render(session, job):
    session.update @ changes(job.params["number"])
    job.save("rgb.jpg", await session.grab("ego"))
"""
)

# One process of so many: every so manieth frame is its own.
PYRENDER = """
import sys, time
from pathlib import Path
import numpy as np, pyrender, trimesh
from PIL import Image

folder, first, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
scene = pyrender.Scene(ambient_light=[0.12] * 3, bg_color=[255, 255, 255, 255])
ball = trimesh.creation.uv_sphere(count=[32, 32])
material = pyrender.MetallicRoughnessMaterial(metallicFactor=0.0)
part = pyrender.Primitive(ball.vertices, ball.vertex_normals, indices=ball.faces, material=material)
sphere = scene.add(pyrender.Mesh([part]))
camera = np.eye(4)
camera[2, 3] = 3
scene.add(pyrender.PerspectiveCamera(yfov=np.radians(50)), pose=camera)
scene.add(pyrender.DirectionalLight(intensity=0.5), pose=camera)
renderer = pyrender.OffscreenRenderer(320, 240)
times = open(folder / f"times{first}", "w", buffering=1)
for number in range(first, 10**9, step):
    levels = [(0x10, 0x80, 0xf0)[number // 3**place % 3] / 255 for place in range(3)]
    material.baseColorFactor = [*np.power(levels, 2.2), 1.0]
    turn, c, s = np.eye(4), np.cos(0.1 * number), np.sin(0.1 * number)
    turn[[0, 0, 2, 2], [0, 2, 0, 2]] = c, s, -s, c
    scene.set_pose(sphere, turn)
    pixels, _ = renderer.render(scene)
    Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=100, subsampling=0)
    print(number, time.time(), file=times)
"""

# The same objects in the same three.js, taken from the client's own scene. Encoding in a worker, two
# pictures at a time, is the fastest way that was found.
CEILING = """
async ([width, height, seconds]) => {
  const encode = async ({ data: pixels }) => {
    const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
    const image = new ImageData(new Uint8ClampedArray(pixels.buffer), WIDTH, HEIGHT);
    canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 1 });
    const bytes = await blob.arrayBuffer();
    postMessage(bytes, [bytes]);
  };
  const code = `onmessage = ${encode}`.replaceAll("WIDTH", width).replaceAll("HEIGHT", height);
  const worker = new Worker(URL.createObjectURL(new Blob([code])));
  let encoded = 0, wake = null;
  worker.onmessage = () => { encoded++; if (wake) wake(); };

  const { scene, gl } = await window.__bench_store();
  const renderer = new gl.constructor({ canvas: new OffscreenCanvas(width, height), antialias: false });
  renderer.setSize(width, height, false);
  let camera = null, ball = null;
  const links = [];
  scene.traverse((o) => {
    if (o.isPerspectiveCamera && o.name === "__camera:ego") camera = o;
    if (o.isMesh && o.geometry.type === "SphereGeometry") ball = o;
    if ((o.isGroup && o.name.startsWith("link")) || o.isURDFJoint) links.push(o);
  });
  const context = renderer.getContext(), end = performance.now() + 1000 * seconds;
  let frames = 0, start = 0;
  while (performance.now() < end) {
    ball.rotation.y = 0.1 * frames;
    ball.material.color.setRGB(frames % 3 / 3, 0.5, 0.5);
    for (let n = 0; n < links.length; n++) links[n].rotation.z = 0.02 * Math.sin(0.1 * frames + n);
    renderer.render(scene, camera);
    const pixels = new Uint8Array(4 * width * height);
    context.readPixels(0, 0, width, height, context.RGBA, context.UNSIGNED_BYTE, pixels);
    worker.postMessage(pixels, [pixels.buffer]);
    if (++frames === 10) start = performance.now();
    while (frames - encoded >= 2) await new Promise((resolve) => { wake = resolve; });
  }
  return (frames - 10) / ((performance.now() - start) / 1000);
}
"""

SWIFTSHADER = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
EGL = ("--use-angle=gl-egl", "--ignore-gpu-blocklist")
COMMON = ("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update")


class Usage:
    """CPU seconds and memory of a process and all below it, by kind: server or browser."""

    def __init__(self, root: int):
        self.root = psutil.Process(root)

    def read(self) -> dict[str, float]:
        found = {"server_cpu_s": 0.0, "browser_cpu_s": 0.0, "memory_mb": 0.0}
        for process in [self.root, *self.root.children(recursive=True)]:
            try:
                times, memory = process.cpu_times(), process.memory_full_info()
                is_browser = "chrom" in process.name()
            except psutil.Error:
                continue
            found["browser_cpu_s" if is_browser else "server_cpu_s"] += times.user + times.system
            found["memory_mb"] += memory.pss / 1e6
        return found


def result_of(times: list[float], before: dict, after: dict) -> dict[str, float]:
    frames = len(times) - 1
    return {
        "frames": frames,
        "frames_per_s": frames / (times[-1] - times[0]),
        "server_ms": 1000 * (after["server_cpu_s"] - before["server_cpu_s"]) / frames,
        "browser_ms": 1000 * (after["browser_cpu_s"] - before["browser_cpu_s"]) / frames,
        "memory_mb": after["memory_mb"],
    }


def measure(root: int, read_times, warm_up: int, seconds: float) -> dict[str, float]:
    """Let it warm up for some frames, then count frames, CPU and memory for so many seconds."""
    usage, deadline = Usage(root), time.monotonic() + SHOWN_WITHIN_S
    while len(read_times()) < warm_up:
        if time.monotonic() > deadline:
            raise SystemExit(f"no frames came within {SHOWN_WITHIN_S} s")
        time.sleep(0.2)
    start, before = time.time(), usage.read()
    time.sleep(seconds)
    end, after = time.time(), usage.read()
    return result_of([t for t in read_times() if start <= t <= end], before, after)


def check(picture: Path, number: int) -> bool:
    """Whether the ball in the picture has the job's colours: each channel low, middle or high."""
    with Image.open(picture) as image:
        if image.size != (WIDTH, HEIGHT):
            return False
        pixels = list(image.convert("RGB").crop((140, 60, 180, 180)).get_flattened_data())
    means = [statistics.fmean(pixel[channel] for pixel in pixels) for channel in range(3)]
    seen = [0 if mean < 30 else 1 if mean < 87 else 2 for mean in means]
    return seen == [number // 3**place % 3 for place in range(3)]


def run_tutorial(folder: Path, flags: tuple[str, ...], seconds: float) -> dict[str, float]:
    """The tutorial's loop: Vuer's server in a process, one tab of 800x600."""
    from playwright.sync_api import sync_playwright

    from runner.browsers import find_browser

    script = folder / "tutorial.py"
    script.write_text(TUTORIAL)
    port = 18000 + os.getpid() % 1000
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, script, folder, str(port)], **silent)

    def times() -> list[float]:
        file = folder / "times"
        lines = file.read_text().splitlines() if file.exists() else []
        return [float(line.split()[1]) for line in lines if " " in line]

    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=[*flags, *COMMON])
            page = browser.new_page(viewport={"width": 800, "height": 600})
            url = f"http://localhost:{port}?ws=ws://localhost:{port}&grid=False"
            for _ in range(100):
                try:
                    page.goto(url)
                    break
                except Exception:
                    time.sleep(0.2)
            found = measure(os.getpid(), times, 5, seconds)
            browser.close()
    finally:
        server.kill()
        server.wait()
    pictures = {int(file.stem): file for file in folder.glob("*.jpg")}
    whole = len(times())  # the last picture may be half written
    found["wrong"] = sum(not check(file, number) for number, file in pictures.items() if number < whole)
    return found


def run_ours(
    folder: Path,
    sessions: int,
    flags: tuple[str, ...],
    seconds: float,
    scene: str = "ball",
    options: tuple[str, ...] = (),
) -> dict[str, float]:
    """`runner run` itself: database, checks, files, log and all."""
    import sqlite3

    (folder / "bench.py").write_text(CAMPAIGN.replace('"ball"', repr(scene), 1))
    rasterizer = "egl" if flags == EGL else "swiftshader"
    command = [sys.executable, "-m", "runner", "run", folder / "bench.py", "--sessions", str(sessions)]
    command += ["--rasterizer", rasterizer, *options]
    log = open(folder / "log", "w")
    process = subprocess.Popen(command, stderr=log)

    def rows():
        if not (folder / "runner.db").exists():
            return []
        with sqlite3.connect(folder / "runner.db", timeout=60) as database:
            try:
                query = "SELECT end_ts, key FROM job WHERE status = 'done' ORDER BY end_ts"
                return database.execute(query).fetchall()
            except sqlite3.OperationalError:
                return []

    warm_up = 300 * sessions if scene == "ball" else 10
    try:
        found = measure(process.pid, lambda: [row[0] for row in rows()], warm_up, seconds)
    finally:
        process.send_signal(signal.SIGTERM)  # a shell has its background jobs ignore SIGINT
        process.wait()
    done = [int(key) for _, key in rows()]
    found["wrong"] = sum(not check(picture_of(folder, number), number) for number in done)
    return found


def run_pyrender(folder: Path, processes: int, seconds: float) -> dict[str, float]:
    """Processes of pyrender, which share the frames."""
    script = folder / "render.py"
    script.write_text(PYRENDER)
    environment = os.environ | {"PYOPENGL_PLATFORM": "egl"}
    ones = [
        subprocess.Popen([sys.executable, script, folder, str(number), str(processes)], env=environment)
        for number in range(processes)
    ]

    def lines() -> list[list[str]]:
        found = [line.split() for file in folder.glob("times*") for line in file.read_text().splitlines()]
        return sorted((line for line in found if len(line) == 2), key=lambda line: float(line[1]))

    try:
        found = measure(os.getpid(), lambda: [float(line[1]) for line in lines()], 50 * processes, seconds)
    finally:
        for one in ones:
            one.kill()
            one.wait()
    found["wrong"] = sum(not check(folder / f"{number}.jpg", int(number)) for number, _ in lines())
    return found


def picture_of(folder: Path, number: int) -> Path:
    (found,) = folder.glob(f"results/bench/jobs/*/{number}/rgb.jpg")
    return found


def run_ceiling(
    folder: Path, flags: tuple[str, ...], seconds: float, scene: str = "ball"
) -> dict[str, float]:
    """Plain three.js in a tab that a session has furnished."""
    return asyncio.run(_ceiling(flags, seconds, scene))


async def _ceiling(flags: tuple[str, ...], seconds: float, scene: str) -> dict[str, float]:
    from playwright.async_api import async_playwright

    from runner.browsers import find_browser
    from runner.sessions import Server

    namespace: dict = {}
    exec(SCENE.replace('"ball"', repr(scene), 1), namespace)
    furnished = asyncio.Event()

    async def work(session):
        session.set @ namespace["scene"]()
        await session.grab("ego")
        furnished.set()
        await session.closed

    server = Server(work)
    await server.start()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=[*flags, *COMMON])
        page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        await page.add_init_script(FIND_STORE)
        await page.goto(server.link("bench"))
        await furnished.wait()
        before = Usage(os.getpid()).read()
        rate = await page.evaluate(CEILING, [WIDTH, HEIGHT, seconds])
        after = Usage(os.getpid()).read()
        await browser.close()
    await server.stop()
    frames = rate * seconds
    return {
        "frames": int(frames),
        "frames_per_s": rate,
        "wrong": 0,
        "server_ms": 0.0,
        "browser_ms": 1000 * (after["browser_cpu_s"] - before["browser_cpu_s"]) / frames,
        "memory_mb": after["memory_mb"],
    }


# React's hook for developer tools tells of the scene's root; the page script keeps what was there.
FIND_STORE = """
(() => {
  let root = null;
  window.__REACT_DEVTOOLS_GLOBAL_HOOK__ = { supportsFiber: true, renderers: new Map(),
    onCommitFiberRoot(id, r) { if (r.containerInfo && r.containerInfo.getState) root = r; } };
  window.__bench_store = () => root.containerInfo.getState();
})();
"""


def contenders_of(scenes: list[str]) -> dict[str, Callable[[Path, float], dict[str, float]]]:
    """What is measured, by its name; all that belongs to one scene and renderer in turn, plain three.js last."""
    found: dict[str, Callable[[Path, float], dict[str, float]]] = {}
    for scene in scenes:
        for name, flags in (("SwiftShader", SWIFTSHADER), ("EGL", EGL)):
            if scene == "ball":
                found[f"tutorial, {name}"] = partial(run_tutorial, flags=flags)
                for sessions in (1, 2, 3):
                    found[f"runner, {sessions} sessions, {name}"] = partial(
                        run_ours, sessions=sessions, flags=flags
                    )
                if name == "EGL" and importlib.util.find_spec("pyrender"):
                    for processes in (1, 2):
                        found[f"pyrender, {processes} processes"] = partial(run_pyrender, processes=processes)
                found[f"plain three.js, {name}"] = partial(run_ceiling, flags=flags)
                continue
            ours = partial(run_ours, sessions=1, flags=flags, scene=scene)
            found[f"{scene}: runner, {name}"] = ours
            found[f"{scene}: runner, plain page, {name}"] = partial(ours, options=("--plain-page",))
            found[f"{scene}: plain three.js, {name}"] = partial(run_ceiling, flags=flags, scene=scene)
    return found


def main() -> None:
    # So that what it has started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    keep_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep_lines)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each contender in each round")
    parser.add_argument("--scene", action="append", choices=SCENES, help="ball")
    parser.add_argument("--only", action="append", help="part of a contender's name")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    contenders = contenders_of(arguments.scene or ["ball"])
    if arguments.only:
        contenders = {
            name: run for name, run in contenders.items() if any(part in name for part in arguments.only)
        }
    results: dict[str, list[dict]] = {name: [] for name in contenders}
    for number in range(arguments.rounds):
        for name, run in contenders.items():
            with tempfile.TemporaryDirectory(prefix="bench_render") as folder:
                found = run(Path(folder), seconds=arguments.seconds)
            results[name].append(found)
            print(f"round {number + 1}: {name}: {found['frames_per_s']:.1f} frames/s", file=sys.stderr)
    base = statistics.median(r["frames_per_s"] for r in next(iter(results.values())))
    rows = [
        {"contender": name, "ratio": statistics.median(r["frames_per_s"] for r in runs) / base}
        | {key: statistics.median(r[key] for r in runs) for key in MEASURED}
        | {"frames": sum(r["frames"] for r in runs), "wrong": sum(r["wrong"] for r in runs)}
        for name, runs in results.items()
    ]
    plain_ms = 0.0
    for row in reversed(rows):
        plain_ms = row["browser_ms"] if "three.js" in row["contender"] else plain_ms
        row["cost"] = row["browser_ms"] / plain_ms if plain_ms else 0.0
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    heads = (
        ("ratio", 7),
        ("frames/s", 10),
        ("server ms", 11),
        ("browser ms", 12),
        ("cost", 7),
        ("MB", 7),
        ("frames", 8),
        ("wrong", 7),
    )
    print(" " * 34 + "".join(f"{head:>{width}}" for head, width in heads))
    for row in rows:
        print(
            f"{row['contender']:34}{row['ratio']:7.1f}{row['frames_per_s']:10.1f}{row['server_ms']:11.2f}"
            f"{row['browser_ms']:12.1f}{row['cost']:7.2f}{row['memory_mb']:7.0f}{row['frames']:8d}{row['wrong']:7d}"
        )


if __name__ == "__main__":
    main()
