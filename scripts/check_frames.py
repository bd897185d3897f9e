#!/usr/bin/env python3
"""Render colour-coded jobs in many kinds of scene, kill browsers meanwhile, and see that no frame shows another job.

    python scripts/check_frames.py --frames N [--sessions K] [--kills M] [--seed S] [--by-hand] [--plain-page]
                                    [--keep FOLDER]
    python scripts/check_frames.py --long N [--kind KIND]

Each job's number is in the colours of what it shows. `runner run` renders them as it would any campaign, in
random order, while browser processes are SIGKILLed at random moments. Every stored frame is then read back
and its number compared with its job's. --by-hand: `runner run --sessions 0`, its link opened in K plain
Chromium windows, and again in a new one for each that was killed, as a person would. Exit status 1 when a
frame is wrong or a job is not done.

--long: N jobs in one session, of one update each unless a kind is named; prints the rate, and the memory and
the CPU time of each process, as it goes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

WIDTH, HEIGHT = 64, 48
# Where a picture is looked at: the middles of its left and of its right half.
PROBES = ((16, 24), (48, 24))
# The number is three digits of base 16, one a channel, 15 levels apart.
LEVELS = np.arange(15, 241, 15)
NUMBERS = len(LEVELS) ** 3
# Where the text stands, so that its dash is in the middle of the picture.
DASH_Y = 10.0
VARIANTS = {
    "one update": ["middle"],
    "200 updates": ["probe first", "probe last"],
    "200 elements": ["one update"],
    "5 MB mesh": ["in memory"],
    "5 MB points": ["in memory"],
    "texture": ["new file", "same file", "replaced file"],
    "model": ["obj new", "obj same", "glb new", "glb same", "gltf new", "gltf same", "urdf new", "urdf same"],
    "removal": ["cover"],
    "camera pose": ["move"],
    "text": ["with a font", "without a font"],
    "splats": ["new file", "same file"],
    "billboard": ["turned"],
    "depth points": ["new files", "same files"],
    "lights": ["twelve"],
}

# ---- Campaign: what `runner run` loads from the file that write_campaign makes.

CAMPAIGN = """
import sys
sys.path.insert(0, {scripts!r})
from check_frames import make_campaign
campaign = make_campaign(frames={frames}, seed={seed}, kinds={kinds!r})
"""


def write_campaign(folder: Path, frames: int, seed: int, kinds: list[str] | None = None) -> Path:
    """A campaign file, with the folder that its jobs put their assets into."""
    file = folder / "frames.py"
    scripts = str(Path(__file__).resolve().parent)
    file.write_text(CAMPAIGN.format(scripts=scripts, frames=frames, seed=seed, kinds=kinds or list(VARIANTS)))
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    return file


def make_campaign(frames: int, seed: int, kinds: list[str]):
    """The campaign of that many jobs, the kinds in equal parts, in short runs of one kind and variant."""
    from runner import Campaign

    # Failures and crashes are counted and shown; they must not end a job here.
    campaign = Campaign(
        "frames", max_failures=20, max_crashes=1000, timeout_s=60, backoff_s=0.05, assets="assets"
    )

    @campaign.jobs
    def jobs() -> Iterator[dict]:
        chance = random.Random(seed)
        left = {kind: frames // len(kinds) + (i < frames % len(kinds)) for i, kind in enumerate(kinds)}
        number = chance.randrange(NUMBERS)
        while any(left.values()):
            kind = chance.choice([kind for kind in kinds if left[kind]])
            variant = chance.choice(VARIANTS[kind])
            for _ in range(min(chance.randint(1, 8), left[kind])):
                left[kind] -= 1
                # No multiple of a small number, so that neighbours differ in all three digits.
                number += 1237
                yield {"kind": kind, "variant": variant, "number": number % NUMBERS, "job": number}

    @campaign.scene
    def scene():
        return make_scene()

    @campaign.render
    async def render(session, job):
        kind, variant = job.params["kind"], job.params["variant"]
        kept, cleared = await SHOW[kind](campaign, session, variant, job.params["number"], job.attempt)
        job.save("rgb.jpg", kept)
        for path in cleared:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return campaign


def levels_of(number: int) -> tuple[int, int, int]:
    """The sRGB colour of a number, 0 to 255 a channel."""
    return tuple(int(LEVELS[number >> shift & 15]) for shift in (0, 4, 8))


def linear_of(number: int) -> np.ndarray:
    """The same colour as linear light, 0 to 1: what vertex colours, Ke and glTF factors are taken for."""
    srgb = np.array(levels_of(number)) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def css(number: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*levels_of(number))


def numbers_in(picture: Path) -> set[int | None]:
    """The numbers that a picture's probes tell; None for a colour that is no number's."""
    with Image.open(picture) as image:
        pixels = [np.array(image.convert("RGB").getpixel(probe)) for probe in PROBES]
    found = set()
    for pixel in pixels:
        nearest = np.abs(LEVELS[None, :] - pixel[:, None]).argmin(axis=1)
        is_clear = np.abs(LEVELS[nearest] - pixel).max() <= 5
        found.add(int(sum(n << s for n, s in zip(nearest, (0, 4, 8)))) if is_clear else None)
    return found


# ---- Scenes: one function a kind; each sends its updates, grabs, and returns the frame and files to remove.


def make_scene():
    from vuer.schemas import CameraView, Group, Scene

    home = CameraView(key="home", width=WIDTH, height=HEIGHT, fov=50, position=[0, 0, 3])
    walker = CameraView(key="walker", width=WIDTH, height=HEIGHT, fov=50, position=[0, 0, -97.5])
    # Not the light that the page begins with: it would be in the sums of the lights.
    return Scene(palette(), rawChildren=[home, walker], bgChildren=[Group(key="nothing")])


def palette():
    """A wall of one square for each number, far from all else; the camera that walks looks at one at a time."""
    from vuer.schemas import TriMesh

    cells = np.arange(NUMBERS)
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * 0.5
    vertices = (cell_centers(cells)[:, None, :] + corners).reshape(-1, 3) - [0, 0, 100]
    faces = (4 * cells[:, None, None] + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    colors = np.repeat([np.rint(255 * linear_of(n)) for n in cells], 4, axis=0).astype(np.uint8)
    return TriMesh(key="palette", vertices=vertices, faces=faces, colors=colors, materialType="basic")


def cell_centers(cells: np.ndarray) -> np.ndarray:
    return np.stack([cells % 64 - 31.5, cells // 64 - 31.5, 0 * cells], axis=-1).astype(float)


def half(key: str, number: int, **more):
    """A plane that fills the left or the right half of the picture."""
    from vuer.schemas import Plane

    x = {"left": -0.96, "right": 0.96}[key]
    return Plane(
        key=key,
        args=[1.9, 3],
        position=[x, 0, 0],
        materialType="basic",
        material={"color": css(number)},
        **more,
    )


def whole(key: str, material: dict, z: float = 0.0):
    from vuer.schemas import Plane

    return Plane(key=key, args=[4, 3], position=[0, 0, z], materialType="basic", material=material)


async def show_update(campaign, session, variant, number, attempt):
    session.upsert @ whole("ball", {"color": css(number)})
    return await session.grab("home"), []


async def show_updates(campaign, session, variant, number, attempt):
    probes = [half("left", number), half("right", number)]
    rest = [speck(index, number) for index in range(198)]
    first, last = (probes, []) if variant == "probe first" else ([], probes)
    for element in [*first, *rest, *last]:
        session.upsert @ element
    return await session.grab("home"), []


async def show_elements(campaign, session, variant, number, attempt):
    rest = [speck(index, number) for index in range(198)]
    session.upsert @ [half("left", number), *rest, half("right", number)]
    return await session.grab("home"), []


def speck(index: int, number: int):
    from vuer.schemas import Box

    position = [index % 20 - 10, index // 20 - 5, 8 + number % 7]  # behind the camera
    return Box(key=f"speck-{index}", args=[0.1, 0.1, 0.1], position=position)


GRID_X, GRID_Y = np.meshgrid(np.linspace(-2, 2, 450), np.linspace(-1.5, 1.5, 350))
GRID = np.stack([GRID_X, GRID_Y, 0 * GRID_X], axis=-1).reshape(-1, 3)
CORNER = (np.arange(349)[:, None] * 450 + np.arange(449)).reshape(-1, 1)
GRID_FACES = np.concatenate([CORNER + [0, 1, 451], CORNER + [0, 451, 450]])


async def show_mesh(campaign, session, variant, number, attempt):
    from vuer.schemas import TriMesh

    colors = np.tile(np.rint(255 * linear_of(number)).astype(np.uint8), (len(GRID), 1))
    mesh = TriMesh(key="mesh", vertices=GRID, faces=GRID_FACES, colors=colors, materialType="basic")
    session.upsert @ mesh
    return await session.grab("home"), []


async def show_points(campaign, session, variant, number, attempt):
    from vuer.schemas import PointCloud

    points = np.concatenate([GRID] * 4)[:580_000]
    colors = np.tile(np.rint(255 * linear_of(number)).astype(np.uint8), (len(points), 1))
    session.upsert @ PointCloud(key="points", vertices=points, colors=colors, size=0.1)
    return await session.grab("home"), []


async def show_texture(campaign, session, variant, number, attempt):
    folder = campaign.assets.folder
    name = f"{number}-{attempt}.png" if variant == "new file" else f"{id(session)}.png"
    file = folder / name
    if variant == "replaced file":
        write_texture(folder / f"{id(session)}.part", number)
        os.replace(folder / f"{id(session)}.part", file)
    else:
        write_texture(file, number)
    session.upsert @ whole("texture", {"map": campaign.asset(name)})
    return await session.grab("home"), [file] if variant == "new file" else []


async def show_model(campaign, session, variant, number, attempt):
    from vuer.schemas import Glb, Obj, Urdf

    kind, age = variant.split()
    name = f"{number}-{attempt}" if age == "new" else str(id(session))
    folder = campaign.assets.folder / name
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    WRITE[kind](folder, number)
    tag = {"obj": Obj, "glb": Glb, "gltf": Glb, "urdf": Urdf}[kind]
    session.upsert @ tag(key=f"model-{kind}", src=campaign.asset(f"{name}/model.{kind}"))
    return await session.grab("home"), [folder] if age == "new" else []


async def show_removal(campaign, session, variant, number, attempt):
    other = (number + 2000) % NUMBERS
    session.upsert @ [whole("hidden", {"color": css(number)}), whole("cover", {"color": css(other)}, z=0.5)]
    frame = await session.grab("home")
    if abs(frame.array[24, 32].astype(int) - levels_of(other)).max() > 5:
        raise AssertionError("the cover is not in the picture")
    session.remove @ "cover"
    return await session.grab("home"), []


async def show_pose(campaign, session, variant, number, attempt):
    from vuer.schemas import CameraView

    x, y, _ = cell_centers(np.array(number))
    session.update @ CameraView(key="walker", position=[float(x), float(y), -99.5])
    return await session.grab("walker"), []


async def show_text(campaign, session, variant, number, attempt):
    """A dash so large that it fills the picture."""
    from vuer.schemas import Text

    font = {} if variant == "without a font" else {"font": campaign.asset(write_font(campaign))}
    dash = Text("\u2014", key="text", fontSize=90, color=css(number), position=[0, DASH_Y, 0], **font)
    session.upsert @ dash
    return await session.grab("home"), []


async def show_splats(campaign, session, variant, number, attempt):
    from vuer.schemas import SparkSplats

    name = f"{number}-{attempt}.splat" if variant == "new file" else f"{id(session)}.splat"
    file = campaign.assets.folder / name
    write_splats(file, number)
    session.upsert @ SparkSplats(key="splats", src=campaign.asset(name))
    return await session.grab("home"), [file] if variant == "new file" else []


async def show_billboard(campaign, session, variant, number, attempt):
    """Seen from its edge, if it did not turn to the camera."""
    from vuer.schemas import Billboard

    session.upsert @ Billboard(whole("face", {"color": css(number)}), key="board", rotation=[0, 1.5708, 0])
    return await session.grab("home"), []


async def show_depth_points(campaign, session, variant, number, attempt):
    from vuer.schemas import DepthPointCloud

    name = f"points-{number}-{attempt}" if variant == "new files" else f"points-{id(session)}"
    files = [campaign.assets.folder / f"{name}-{part}.png" for part in ("depth", "rgb")]
    for file, color in zip(files, ((60,) * 3, np.rint(255 * linear_of(number))), strict=True):
        Image.fromarray(np.full((48, 64, 3), color, np.uint8)).save(file)
    depth, rgb = (campaign.asset(file.name) for file in files)
    session.upsert @ DepthPointCloud(key="cloud", depth=depth, rgb=rgb, position=[0, 0, 3], pointSize=9)
    return await session.grab("home"), files if variant == "new files" else []


async def show_lights(campaign, session, variant, number, attempt):
    """The sum of twelve lights is the light of the number, on a wall that is white."""
    from vuer.schemas import AmbientLight

    shares = np.random.default_rng(number).dirichlet(np.ones(12))
    lights = [
        AmbientLight(key=f"light-{i}", color=css(number), intensity=float(np.pi * share))
        for i, share in enumerate(shares)
    ]
    wall = whole("lit", {"color": "#ffffff"})
    wall.materialType = "lambert"
    session.upsert @ [*lights, wall]
    return await session.grab("home"), []


SHOW: dict[str, Callable] = dict(
    zip(
        VARIANTS,
        [
            show_update, show_updates, show_elements, show_mesh, show_points, show_texture, show_model,
            show_removal, show_pose, show_text, show_splats, show_billboard, show_depth_points, show_lights,
        ],
        strict=True,
    )
)  # fmt: skip


# ---- Files: each shows a plane of 4 by 3 in the number's colour, and needs no light.


def write_texture(file: Path, number: int, size: int = 256) -> None:
    noise = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    noise[size // 8 : -size // 8, size // 8 : -size // 8] = levels_of(number)
    Image.fromarray(noise).save(file, format="PNG", compress_level=1)


def write_font(campaign) -> str:
    """A font in the folder of assets; its name."""
    from runner import sessions

    font = Path(sessions.__file__).parent / "page" / "fonts" / "noto-sans-latin-400-normal.woff"
    if not (campaign.assets.folder / font.name).exists():
        shutil.copy(font, campaign.assets.folder / f"{font.name}.{os.getpid()}")
        os.replace(campaign.assets.folder / f"{font.name}.{os.getpid()}", campaign.assets.folder / font.name)
    return font.name


def write_splats(file: Path, number: int) -> None:
    """A wall of 40 by 30 splats, each as wide as their distance."""
    places = np.stack(np.meshgrid(np.linspace(-2, 2, 40), np.linspace(-1.5, 1.5, 30)), axis=-1).reshape(-1, 2)
    linear = np.rint(255 * linear_of(number)).astype(int)
    rows = [
        struct.pack("3f3f4B4B", x, y, 0, 0.1, 0.1, 0.01, *linear, 255, 255, 128, 128, 128) for x, y in places
    ]
    file.with_suffix(".part").write_bytes(b"".join(rows))
    os.replace(file.with_suffix(".part"), file)


def write_obj(folder: Path, number: int) -> None:
    """model.obj, which names parts/model.mtl, whose material gives off its own light."""
    emitted = " ".join(f"{channel:.6f}" for channel in linear_of(number))
    (folder / "parts" / "model.mtl").write_text(f"newmtl m\nKd 0 0 0\nKs 0 0 0\nKe {emitted}\n")
    corners = "v -2 -1.5 0\nv 2 -1.5 0\nv 2 1.5 0\nv -2 1.5 0\nvn 0 0 1\n"
    text = f"mtllib parts/model.mtl\n{corners}usemtl m\nf 1//1 2//1 3//1\nf 1//1 3//1 4//1\n"
    (folder / "model.obj").write_text(text)


def gltf_of(number: int, buffer: dict) -> dict:
    """A glTF 2.0 document of one unlit plane whose 48 bytes of positions are in the buffer."""
    factor = [*map(float, linear_of(number)), 1.0]
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [
            {
                "pbrMetallicRoughness": {"baseColorFactor": factor},
                "extensions": {"KHR_materials_unlit": {}},
                "doubleSided": True,
            }
        ],
        "extensionsUsed": ["KHR_materials_unlit"],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"}
            | {"min": [-2, -1.5, 0], "max": [2, 1.5, 0]},
            {"bufferView": 1, "componentType": 5123, "count": 6, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 48},
            {"buffer": 0, "byteOffset": 48, "byteLength": 12},
        ],
        "buffers": [{"byteLength": 60, **buffer}],
    }  # fmt: skip


POSITIONS = np.array([[-2, -1.5, 0], [2, -1.5, 0], [2, 1.5, 0], [-2, 1.5, 0]], np.float32).tobytes()
INDICES = np.array([0, 1, 2, 0, 2, 3], np.uint16).tobytes()


def write_gltf(folder: Path, number: int) -> None:
    (folder / "parts" / "model.bin").write_bytes(POSITIONS + INDICES)
    (folder / "model.gltf").write_text(json.dumps(gltf_of(number, {"uri": "parts/model.bin"})))


def write_glb(folder: Path, number: int) -> None:
    document = json.dumps(gltf_of(number, {})).encode()
    document += b" " * (-len(document) % 4)
    chunks = [(document, b"JSON"), (POSITIONS + INDICES, b"BIN\0")]
    body = b"".join(len(data).to_bytes(4, "little") + kind + data for data, kind in chunks)
    header = b"glTF" + (2).to_bytes(4, "little") + (12 + len(body)).to_bytes(4, "little")
    (folder / "model.glb").write_bytes(header + body)


def write_urdf(folder: Path, number: int) -> None:
    write_glb(folder, number)
    os.replace(folder / "model.glb", folder / "parts" / "model.glb")
    mesh = '<visual><geometry><mesh filename="parts/model.glb"/></geometry></visual>'
    (folder / "model.urdf").write_text(f'<robot name="one"><link name="base">{mesh}</link></robot>')


WRITE = {"obj": write_obj, "glb": write_glb, "gltf": write_gltf, "urdf": write_urdf}

# ---- Running it, and killing.


def close(window: subprocess.Popen) -> None:
    """End all of its group: what was started may be a script that starts the browser."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(window.pid, signal.SIGKILL)
    window.wait()


class Run:
    """`runner run` of a campaign file, with the browsers that belong to it, and their killer."""

    def __init__(self, file: Path, sessions: int, by_hand: bool, *more: str):
        self.folder, self.by_hand = file.parent, by_hand
        self.windows: list[subprocess.Popen] = []
        self.link = ""
        command = [
            sys.executable,
            "-m",
            "runner",
            "run",
            str(file),
            "--sessions",
            str(0 if by_hand else sessions),
        ]
        command += more
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            if line.startswith("http"):
                self.link = line.strip()
            print(line, end="", file=sys.stderr, flush=True)

    def open_window(self) -> None:
        """A browser as a person starts it, but headless, with a profile of its own and software WebGL."""
        from runner.browsers import find_browser

        profile = tempfile.mkdtemp(prefix="profile-", dir=self.folder)
        flags = ["--headless=new", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run"]
        # One without windows ends at once, where nobody could ask it anything.
        flags.append("--remote-debugging-port=0")
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        command = [find_browser(), *flags, f"--user-data-dir={profile}", self.link]
        quiet = subprocess.DEVNULL
        self.windows.append(subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True))

    def browser_processes(self) -> list[psutil.Process]:
        """Every process of every browser; Playwright's own driver is not one of them."""
        roots = [psutil.Process(window.pid) for window in self.windows if window.poll() is None]
        found = list(roots)
        for root in roots or [psutil.Process(self.process.pid)]:
            found += root.children(recursive=True)
        return [process for process in found if is_browser(process)]

    def done(self) -> int:
        from runner.store import Store

        if not (self.folder / "runner.db").exists():
            return 0
        with Store(self.folder / "runner.db") as store:
            campaigns = store.reader.campaigns()
            return store.reader.progress(campaigns[0]["id"]).done if campaigns else 0

    def end(self) -> int:
        """Wait for the run; close what this script has opened; its exit status."""
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()
        for window in self.windows:
            close(window)
        return self.process.returncode


def is_browser(process: psutil.Process) -> bool:
    try:
        return "chrom" in process.name().lower() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def type_of(process: psutil.Process) -> str:
    """What a Chromium process is: browser, renderer, gpu-process, utility …"""
    try:
        types = [word[7:] for word in process.cmdline() if word.startswith("--type=")]
    except psutil.Error:
        return "gone"
    return types[0] if types else "browser"


VICTIMS = ("browser", "renderer", "gpu-process")


def kill_at(
    run: Run, marks: list[int], sessions: int, chance: random.Random, victim: str | None = None
) -> Counter:
    """SIGKILL a browser, a renderer or a GPU process whenever that many jobs are done; what was killed."""
    killed: Counter = Counter()
    for mark in [*marks, None]:
        while run.process.poll() is None and (mark is None or run.done() < mark):
            if run.by_hand and run.link:
                # A person opens another window when one has gone.
                for window in [window for window in run.windows if window.poll() is not None]:
                    close(window)
                    run.windows.remove(window)
                if len(run.windows) < sessions:
                    run.open_window()
            time.sleep(0.2)
        if run.process.poll() is not None or mark is None:
            break
        wanted = victim or chance.choice(VICTIMS if not run.by_hand else ("browser",))
        victims = [process for process in run.browser_processes() if type_of(process) == wanted]
        if victims:
            chance.choice(victims).kill()
            killed[wanted] += 1
    return killed


def check(folder: Path, kinds: list[str]) -> tuple[list[tuple], bool]:
    """Rows (kind, frames, wrong, refused, crashed), and whether every job is done and right."""
    from runner.store import Store

    counts = {kind: Counter() for kind in kinds}
    with Store(folder / "runner.db") as store:
        (campaign,) = store.reader.campaigns()
        jobs = {row["key"]: row for row in store.reader.jobs(campaign["id"])}
        artifacts = store.reader.artifacts(campaign["id"])
        attempts = store.reader.attempts(campaign["id"])
    for row in artifacts:
        params = jobs[row["key"]]["params"]
        found = numbers_in(folder / "results" / row["path"])
        counts[params["kind"]]["frames"] += 1
        if found != {params["number"]}:
            counts[params["kind"]]["wrong"] += 1
            told = ", ".join(map(str, found))
            print(f"WRONG: {row['path']} ({params}) shows {told}", file=sys.stderr)
    for row in attempts:
        counts[jobs[row["key"]]["params"]["kind"]][row["outcome"]] += 1
    for job in jobs.values():
        counts[job["params"]["kind"]][job["status"]] += 1
    reasons = Counter(row["error"] for row in attempts if row["outcome"] == "failed")
    for reason, count in reasons.most_common(10):
        print(f"{count} times: {reason}", file=sys.stderr)
    rows = [
        (kind, c["frames"], c["wrong"], c["failed"], c["crashed"] + c["released"])
        for kind, c in counts.items()
    ]
    is_right = all(job["status"] == "done" for job in jobs.values()) and not any(row[2] for row in rows)
    return rows, is_right and len(artifacts) == len(jobs)


def check_frames(
    folder: Path, frames: int, sessions: int, kills: int, seed: int, by_hand: bool, kinds: list[str],
    victim: str | None, more: list[str],
) -> bool:  # fmt: skip
    """Render, kill, read back, print; whether all frames are right."""
    chance = random.Random(seed)
    marks = sorted(chance.randrange(frames) for _ in range(kills))
    began = time.monotonic()
    run = Run(write_campaign(folder, frames, seed, kinds), sessions, by_hand, *more)
    try:
        killed = kill_at(run, marks, sessions, chance, victim)
    except BaseException:
        run.process.terminate()
        run.end()
        raise
    status = run.end()
    took_s = time.monotonic() - began
    rows, is_right = check(folder, kinds)
    total = ("all", *(sum(column) for column in list(zip(*rows))[1:]))
    print(f"{'kind':14}{'frames':>8}{'wrong':>8}{'refused':>9}{'cut short':>11}")
    for row in [*rows, total]:
        print("{:14}{:8,}{:8,}{:9,}{:11,}".format(*row))
    told = ", ".join(f"{count} {kind}" for kind, count in killed.items()) or "none"
    print(f"killed: {told}; {took_s:.0f} s; seed {seed}; exit status of the run {status}")
    return is_right and status == 0


def run_long(folder: Path, frames: int, kinds: list[str]) -> bool:
    """Jobs of those kinds in one session; a line every 20th part of the way."""
    run = Run(write_campaign(folder, frames, 0, kinds), 1, False, "--recycle-after", str(frames + 1))
    kinds_of = ("runner", "renderer", "gpu-process", "browser")
    print(f"{'':18}{'memory, MB':>32}{'CPU, ms a frame':>35}")
    print("{:>8}{:>10}{:>8}{:>10}{:>5}{:>9}{:>11}{:>10}{:>5}{:>9}".format(
        "frames", "frames/s", *("runner", "renderer", "gpu", "browser") * 2
    ))  # fmt: skip
    last_done, last_s, rates, last_cpu = 0, time.monotonic(), [], Counter()
    for part in range(1, 21):
        while run.process.poll() is None and run.done() < max(1, frames * part // 20 - 1):
            time.sleep(0.2)
        if run.process.poll() is not None:
            break
        memory, cpu = Counter(), Counter()
        for process in [psutil.Process(run.process.pid), *run.browser_processes()]:
            try:
                kind = "runner" if process.pid == run.process.pid else type_of(process)
                memory[kind] += process.memory_info().rss / 1e6
                cpu[kind] += sum(process.cpu_times()[:2]) * 1e3
            except psutil.Error:
                pass
        if not cpu["renderer"]:
            break
        done, now_s = run.done(), time.monotonic()
        rates.append((done - last_done) / (now_s - last_s))
        used = [(cpu[kind] - last_cpu[kind]) / (done - last_done) for kind in kinds_of]
        sizes = [memory[kind] for kind in kinds_of]
        last_done, last_s, last_cpu = done, now_s, cpu
        line = "{:8,}{:10.1f}{:8.0f}{:10.0f}{:5.0f}{:9.0f}{:11.2f}{:10.2f}{:5.2f}{:9.2f}"
        print(line.format(done, rates[-1], *sizes, *used), flush=True)
    status = run.end()
    if len(rates) > 4:
        print(f"rate of the last quarter to that of the second: {sum(rates[-5:]) / sum(rates[5:10]):.2f}")
    return status == 0 and check(folder, kinds)[1]


def main() -> int:
    # So that what it has started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=900)
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--victim", choices=VICTIMS, help="kill only these processes")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--by-hand", action="store_true")
    parser.add_argument("--plain-page", action="store_true", help="without what the page does for speed")
    parser.add_argument("--kind", action="append", choices=list(VARIANTS), help="only these kinds")
    parser.add_argument(
        "--long", type=int, metavar="N", help="N jobs in one session, with rate, memory and CPU"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this new folder and keep it")
    options = parser.parse_args()
    seed = time.time_ns() % 10**6 if options.seed is None else options.seed
    folder = options.keep or Path(tempfile.mkdtemp(prefix="check-frames-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    try:
        if options.long:
            is_right = run_long(folder, options.long, options.kind or ["one update"])
        else:
            is_right = check_frames(
                folder, options.frames, options.sessions, options.kills, seed, options.by_hand,
                options.kind or list(VARIANTS), options.victim, ["--plain-page"] * options.plain_page,
            )  # fmt: skip
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
