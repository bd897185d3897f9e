#!/usr/bin/env python3
"""See that every element of vuer.schemas is in our pictures as it is in the stock client's, or is refused by name.

    python scripts/check_elements.py [--only NAME …] [--part I/N] [--sessions K …] [--keep FOLDER] [--write]

Each sample of element_samples.py is shown alone, changed under its key, removed, and shown beside others: by
Vuer's own server in its own client, as a person sees it two seconds after each, and by `runner run`, with one
session and with two. The pictures are compared; a table tells what came of it, and a contact sheet shows them,
the stock client's above and ours below. --write puts the table into runner/docs/elements.md.

The stock client's pictures are kept in FOLDER/stock, and taken again where a sample has changed. Exit status 1
when a picture is wrong, a sample is not what it is expected to be, or an element has no sample.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import io
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from element_assets import write_assets
from element_samples import (
    FONT,
    REFUSED,
    SET,
    SHOWN,
    UNSEEN,
    Sample,
    beside,
    camera,
    daylight,
    samples,
    scene,
    stage,
    untested,
)
from PIL import Image, ImageDraw

DOCUMENT = Path(__file__).parent.parent / "runner" / "docs" / "elements.md"
BEGIN, END = "<!-- table: scripts/check_elements.py --write -->", "<!-- end of table -->"
# As a person looks: so long after each change.
LOOK_S = 2.0
# So many pages of the stock client wait at a time.
PAGES = 3
EMPTY, ALONE, CHANGED, REMOVED, ANEW, BESIDE = "empty", "alone", "changed", "removed", "anew", "beside"
# What a job shows, in this order. The stock client shows no ANEW: BESIDE has the same element made anew.
PARTS = {"steps": (EMPTY, ALONE, CHANGED, REMOVED), "beside": (ANEW, BESIDE)}
PHASES = (ALONE, CHANGED, REMOVED, BESIDE)
# Two pictures are alike when so few pixels differ by more than so many levels of 255: JPEGs of a software
# renderer do, by a level or two, before they are encoded, and more after that.
LEVELS, PIXELS = 12, 20
# The pictures of a film are decoded with so many levels of difference, here and in another browser.
DECODED = 2


def send(session: Any, sample: Sample, phase: str) -> None:
    """Show what a phase is about; each goes on from the one before it."""
    is_scene = sample.to == SET
    if phase in (ALONE, CHANGED, ANEW):
        element = sample.first if phase == ALONE else sample.second
        if is_scene:
            session.set @ element
        elif sample.to == "children":
            session.upsert @ element
        else:
            session.upsert(element, to=sample.to)
    elif phase == REMOVED:
        if is_scene:
            session.set @ scene()
        else:
            session.remove @ sample.first.key
    elif phase == BESIDE:
        session.upsert @ beside()


# ---- Ours: what `runner run` loads from the file that write_campaign makes.

CAMPAIGN = """
import sys
sys.path.insert(0, {scripts!r})
from check_elements import make_campaign
campaign = make_campaign({names!r})
"""


def make_campaign(names: list[str]) -> Any:
    """Two jobs a sample: its steps, and beside others."""
    from runner import Campaign
    from runner.errors import FrameError

    campaign = Campaign("elements", assets="assets", max_failures=1, max_crashes=1, timeout_s=90)
    known: dict[str, Sample] = {}

    @campaign.jobs
    def jobs() -> Iterator[tuple[str, dict]]:
        for sample in samples(campaign.asset):
            if sample.name in names:
                for part in PARTS:
                    yield f"{sample.slug}.{part}", {"name": sample.name, "part": part}

    campaign.scene(scene)

    @campaign.render
    async def render(session: Any, job: Any) -> None:
        if not known:
            known.update((sample.name, sample) for sample in samples(campaign.asset))
        for phase in PARTS[job.params["part"]]:
            send(session, known[job.params["name"]], phase)
            try:
                job.save(f"{phase}.jpg", await session.grab("ego"))
            except FrameError as error:
                job.save("error.json", {"phase": phase, "error": str(error)})
                return

    return campaign


def render_ours(folder: Path, names: list[str], sessions: int, rasterizer: str) -> dict[str, Shown]:
    """`runner run` with that many sessions; what each sample looks like, by name."""
    from runner.store import Store

    shutil.rmtree(folder, ignore_errors=True)
    write_assets(folder / "assets", FONT)
    file = folder / "elements.py"
    file.write_text(CAMPAIGN.format(scripts=str(Path(__file__).resolve().parent), names=names))
    command = [sys.executable, "-m", "runner", "run", str(file), "-n", str(sessions), "--halt", "never"]
    subprocess.run([*command, "--rasterizer", rasterizer], check=False)
    found: dict[str, Shown] = {name: Shown() for name in names}
    with Store(folder / "runner.db") as store:
        (campaign,) = store.reader.campaigns()
        jobs = {job["key"]: job for job in store.reader.jobs(campaign["id"])}
    for job in jobs.values():
        if job["status"] != "done":
            found[job["params"]["name"]].error = str(job["error"] or job["status"])
    for path in sorted((folder / "results").rglob("*")):
        key = path.parent.name.split("~")[0]
        if key not in jobs or path.name.startswith("."):
            continue
        shown = found[jobs[key]["params"]["name"]]
        if path.name == "error.json":
            told = json.loads(path.read_text())
            shown.error = shown.error or f"{told['phase']}: {told['error']}"
        elif path.suffix == ".jpg":
            shown.pictures[path.stem] = path.read_bytes()
    return found


@dataclass
class Shown:
    """JPEGs by phase, and why there are no more."""

    pictures: dict[str, bytes] = field(default_factory=dict)
    error: str = ""


# ---- The stock server and client.


class Stock:
    """Vuer's own server, and its client in pages of one browser."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._sessions: asyncio.Queue[Any] = asyncio.Queue()
        self._port = free_port()
        self._loading = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Stock]:
        from playwright.async_api import async_playwright
        from vuer import Vuer

        from runner.browsers.find import find_browser
        from runner.browsers.launcher import _FLAGS, RASTERIZERS

        app = Vuer(host="localhost", port=self._port, workspace=self._folder)

        @app.spawn
        async def main(session: Any) -> None:
            self._sessions.put_nowait(session)
            await session.forever()

        with contextlib.redirect_stdout(io.StringIO()):
            app.start()
            await asyncio.sleep(1)
            async with async_playwright() as playwright:
                flags = [*RASTERIZERS["swiftshader"], *_FLAGS]
                self._browser = await playwright.chromium.launch(executable_path=find_browser(), args=flags)
                yield self
                await self._browser.close()

    def url(self, name: str) -> str:
        """As runner's are: the client's OBJ loader makes nonsense of the path to a material below a whole URL."""
        return f"/workspace/{name}"

    async def show(self, todo: list[Sample], seen: Callable[[Sample, Shown], None]) -> None:
        """Each sample in all its phases, in a page of one's own; a fresh one where the last has left something."""
        context = await self._browser.new_context(viewport={"width": 320, "height": 240})
        page, session = await context.new_page(), None
        while todo:
            sample = todo.pop()
            if session is None:
                async with self._loading:
                    await page.goto(f"http://localhost:{self._port}?ws=ws://localhost:{self._port}")
                    session = await asyncio.wait_for(self._sessions.get(), 180)
                session.set @ scene()
                # On a busy machine the page is not there yet.
                while np.ptp(pixels_of(empty := await grab_later(session))) == 0:
                    session.set @ scene()
            shown = await show_stock(session, sample, empty)
            seen(sample, shown)
            if sample.to == SET or shown.error or not are_alike(shown.pictures[REMOVED], empty):
                session = None
            else:
                session.remove @ [sample.first.key, "other"]


async def show_stock(session: Any, sample: Sample, empty: bytes) -> Shown:
    shown = Shown({EMPTY: empty})
    for phases in ((ALONE,), (CHANGED,), (REMOVED,), (ANEW, BESIDE)):
        for phase in phases:
            send(session, sample, phase)
        try:
            shown.pictures[phases[-1]] = await grab_later(session)
        except Exception as error:
            shown.error = f"{phases[-1]}: {type(error).__name__}"
            break
    return shown


async def grab_later(session: Any) -> bytes:
    await asyncio.sleep(LOOK_S)
    event = await session.grab_render(key="ego", ttl=20.0)
    return bytes(event.value["frame"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


async def render_stock(folder: Path, chosen: list[str]) -> dict[str, Shown]:
    """What each sample looks like in the stock client, by name; from the folder where it is known."""
    write_assets(folder / "assets", FONT)
    found: dict[str, Shown] = {}
    digests = {sample.name: digest_of(sample) for sample in samples(lambda name: name)}
    missing = []
    for name in chosen:
        place = folder / digests[name]
        if (place / "shown.json").exists():
            pictures = {file.stem: file.read_bytes() for file in place.glob("*.jpg")}
            found[name] = Shown(pictures, json.loads((place / "shown.json").read_text())["error"])
        else:
            missing.append(name)
    if not missing:
        return found
    stock = Stock(folder / "assets")

    def seen(sample: Sample, shown: Shown) -> None:
        found[sample.name] = shown
        place = folder / digests[sample.name]
        place.mkdir(exist_ok=True)
        for phase, picture in shown.pictures.items():
            (place / f"{phase}.jpg").write_bytes(picture)
        (place / "shown.json").write_text(json.dumps({"name": sample.name, "error": shown.error}))
        print(f"stock client: {sample.name}: {shown.error or 'seen'}", file=sys.stderr, flush=True)

    async with stock.open():
        todo = [sample for sample in samples(stock.url) if sample.name in missing][::-1]
        await asyncio.gather(*(stock.show(todo, seen) for _ in range(PAGES)))
    return found


def digest_of(sample: Sample) -> str:
    """Of all that decides how a sample looks in the stock client."""
    elements = [*stage(), *daylight(), camera(), sample.first, sample.second, *beside()]
    parts = [json.dumps(one._serialize(), default=repr, sort_keys=True) for one in elements]
    return hashlib.sha256("".join([sample.to, *parts]).encode()).hexdigest()[:20]


# ---- Comparing.


def pixels_of(picture: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def are_alike(one: bytes, other: bytes) -> bool:
    return one == other or difference(one, other)[0] <= PIXELS


def difference(one: bytes, other: bytes) -> tuple[int, int]:
    """How many pixels differ by more than LEVELS, and the largest difference."""
    a, b = pixels_of(one), pixels_of(other)
    if a.shape != b.shape:
        return a.size, 255
    worst = np.abs(a - b).max(axis=-1)
    return int((worst > LEVELS).sum()), int(worst.max())


@dataclass
class Row:
    """A line of the table, and what is wrong with it."""

    name: str
    note: str
    by: str
    cells: dict[str, str]
    wrong: list[str]
    worst: int = 0
    is_compared: bool = False


def judge(sample: Sample, ours: list[Shown], stock: Shown | None) -> Row:
    """ours: of each number of sessions. stock: None where it was not asked."""
    row = Row(sample.name, sample.note, changed_props(sample), dict.fromkeys(PHASES, "–"), [])
    one = ours[0]
    if one.error:
        row.cells[ALONE] = REFUSED
        if sample.expect != REFUSED:
            row.wrong.append(f"it fails: {one.error}")
        return row
    for other in ours[1:]:
        for phase, picture in one.pictures.items():
            if phase not in other.pictures or difference(picture, other.pictures[phase])[1] > DECODED:
                row.wrong.append(f"{phase}: with more sessions it is another picture {other.error}")
    have = one.pictures
    is_seen = not (are_alike(have[ALONE], have[EMPTY]) and are_alike(have[ANEW], have[EMPTY]))
    if is_seen != (sample.expect == SHOWN):
        row.wrong.append(f"it is expected to be {sample.expect}")
    is_new, is_old = are_alike(have[CHANGED], have[ANEW]), are_alike(have[CHANGED], have[ALONE])
    is_gone = are_alike(have[REMOVED], have[EMPTY])
    row.cells[ALONE] = row.cells[BESIDE] = SHOWN if is_seen else UNSEEN
    if is_seen:
        row.cells[REMOVED] = "gone" if is_gone else "stays"
        if is_old:
            row.cells[CHANGED] = "no effect" if is_new else "ignored"
        else:
            row.cells[CHANGED] = "takes effect" if is_new else "partly"
    if stock is None or sample.note:
        return row
    row.is_compared = True
    for phase in PHASES:
        if phase not in stock.pictures:
            row.wrong.append(f"the stock client gives no picture: {stock.error}")
            return row
        count, worst = difference(have[phase], stock.pictures[phase])
        if count <= PIXELS:
            row.worst = max(row.worst, worst)
        elif phase == CHANGED and is_new and not is_old:
            row.cells[CHANGED] = "takes effect; in Vuer not"
        elif phase == REMOVED and is_gone:
            row.cells[REMOVED] = "gone; in Vuer it stays"
        else:
            is_in_stock = not are_alike(stock.pictures[phase], stock.pictures[EMPTY])
            there = "something" if is_in_stock else "nothing"
            row.wrong.append(
                f"{phase}: {count} pixels differ from Vuer's, by up to {worst}; there it shows {there}"
            )
    return row


def changed_props(sample: Sample) -> str:
    """The props by which the second differs from the first."""
    first, second = sample.first._serialize(), sample.second._serialize()
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return ", ".join(name for name in names if name != "key")


# ---- Telling.


def without_vuer(cell: str) -> str:
    """What a cell of the table says of our own pictures."""
    return cell.split(": ")[-1].split("; in Vuer")[0]


def table_of(rows: list[Row]) -> str:
    lines = ["| element | alone | changed | removed | beside |", "|---|---|---|---|---|"]
    for row in rows:
        changed = row.cells[CHANGED]
        if row.by and changed not in ("–", ""):
            changed = f"{row.by}: {changed}"
        lines.append(
            f"| {row.name} | {row.cells[ALONE]} | {changed} | {row.cells[REMOVED]} | {row.cells[BESIDE]} |"
        )
    return "\n".join(lines)


def summary_of(rows: list[Row]) -> str:
    """How alike they are, in a sentence."""
    compared = [row for row in rows if row.is_compared]
    equal = sum(row.worst == 0 for row in compared)
    most = max((row.worst for row in compared), default=0)
    elements = len({row.name.split()[0] for row in rows})
    return (
        f"{len(rows)} samples of {elements} elements. Of {len(compared)} that were compared with the stock client's "
        f"pictures, {equal} are the same in every pixel of every phase, but where the table says that Vuer differs; "
        f"the others differ by at most {most} levels of 255."
    )


def write_document(rows: list[Row]) -> None:
    before, rest = DOCUMENT.read_text().split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{summary_of(rows)}\n\n{table_of(rows)}\n{END}{after}")


def write_sheet(file: Path, rows: list[Row], ours: dict[str, Shown], stock: dict[str, Shown]) -> None:
    """All pictures: the stock client's above, ours below, a sample's phases from left to right; red: wrong."""
    width, height, across = 80, 60, 5
    tile = (4 * width + 8, 2 * height + 20)
    sheet = Image.new("RGB", (across * tile[0], -(-len(rows) // across) * tile[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for index, row in enumerate(rows):
        x, y = index % across * tile[0], index // across * tile[1]
        if row.wrong:
            draw.rectangle((x, y, x + tile[0] - 2, y + tile[1] - 2), fill="#ff9090")
        draw.text((x + 2, y + 2), row.name[:50], fill="black")
        for line, shown in enumerate((stock.get(row.name), ours[row.name])):
            for column, phase in enumerate(PHASES):
                picture = shown.pictures.get(phase) if shown else None
                if picture:
                    with Image.open(io.BytesIO(picture)) as image:
                        sheet.paste(
                            image.resize((width, height)),
                            (x + column * width + column, y + 16 + line * height),
                        )
    sheet.save(file)


def check(
    folder: Path,
    names: list[str],
    sessions: list[int],
    with_stock: bool = True,
    rasterizer: str = "swiftshader",
) -> tuple[list[Row], list[dict[str, Shown]], dict[str, Shown]]:
    """Render all of them everywhere, and compare. rasterizer: of ours; the stock client's is SwiftShader."""
    ours = [render_ours(folder / f"ours-{count}", names, count, rasterizer) for count in sessions]
    stock = asyncio.run(render_stock(folder / "stock", names)) if with_stock else {}
    chosen = [sample for sample in samples(lambda name: name) if sample.name in names]
    rows = [judge(sample, [run[sample.name] for run in ours], stock.get(sample.name)) for sample in chosen]
    # Every job begins with the same scene, whatever the ones before it have shown.
    empties = [run[row.name].pictures.get(EMPTY) for run in ours for row in rows]
    usual = max(set(empties), key=empties.count)
    for run in ours:
        for row in rows:
            if run[row.name].pictures.get(EMPTY, usual) != usual:
                row.wrong.append("its job began with something of another's")
    return rows, ours, stock


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="samples whose name begins so")
    parser.add_argument("--part", default="0/1", metavar="I/N", help="each Nth sample, from the Ith on")
    parser.add_argument("--sessions", type=int, action="append", help="how many; 1 and 2")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this folder and keep it")
    parser.add_argument("--no-stock", action="store_true", help="do not compare with the stock client")
    parser.add_argument("--write", action="store_true", help="put the table into the documentation")
    options = parser.parse_args()
    began = time.monotonic()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="check-elements-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    first, step = map(int, options.part.split("/"))
    names = [sample.name for sample in samples(lambda name: name)][first::step]
    if options.only:
        names = [name for name in names if any(name.startswith(part) for part in options.only)]
    try:
        rows, ours, stock = check(folder, names, options.sessions or [1, 2], not options.no_stock)
        write_sheet(folder / "sheet.png", rows, ours[0], stock)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(table_of(rows))
    print(summary_of(rows))
    wrong = [f"{row.name}: {reason}" for row in rows for reason in row.wrong]
    wrong += [f"{name} has no sample" for name in untested()]
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    print(f"{len(rows)} samples, {len(wrong)} wrong; {time.monotonic() - began:.0f} s", file=sys.stderr)
    if options.write:
        write_document(rows)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
