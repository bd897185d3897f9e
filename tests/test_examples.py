"""The examples that ship: `runner init` lists and writes them, and each renders as it stands."""

from __future__ import annotations

import asyncio
import configparser
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checks import check_isolation, make_example_assets
from needs import quick_rasterizer
from PIL import Image
from processes import within

from runner.campaign import AssetFolder, Choice, load_campaign, pick_job
from runner.job import Lease, Outcome
from runner.results import RenderJob, ResultsFolder
from runner.sessions import session_view

# All are rendered once, for all tests that look at them.
looks_at_them = pytest.mark.xdist_group("examples")
SHIPPED = Path(__file__).parents[1] / "runner" / "campaign" / "examples"
# Those of `runner doctor` and `runner demo` are for these alone.
NAMES = sorted({file.stem for file in SHIPPED.glob("*.py")} - {"__init__", "doctor", "demo"})
# Of each, these jobs are rendered, one after the other.
PLACES = (0, 7)


def test_without_a_file_all_examples_are_listed_with_a_line_each():
    """On stdout, with what each says of itself first; and how to write one."""
    lines = within("init").stdout.splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines[: lines.index("")])
    assert sorted(listed) == sorted([*NAMES, "notebook"]) and next(iter(listed)) == "orbit"
    for name in NAMES:
        assert f'"""{listed[name]}\n' in (SHIPPED / f"{name}.py").read_text()
        assert listed[name].endswith(".") and len(f"{name} {listed[name]}") < 120
    assert listed["notebook"].endswith(".") and "init FILE.py --example NAME" in lines[-1]
    unnamed = within("init", "--example", "robot")
    assert unnamed.exit_code == 2 and "init robot.py --example robot" in unnamed.stderr


def test_what_an_example_loads_is_written_beside_it_and_over_nothing(tmp_path):
    """Under the same names as it is shipped; a second example shares it; what is another's is refused."""
    assert within("init", tmp_path / "arm.py", "--example", "robot").exit_code == 0
    written = {file.relative_to(tmp_path) for file in tmp_path.rglob("*.*")}
    needed = {file.relative_to(SHIPPED / "robot") for file in (SHIPPED / "robot").rglob("*.*")}
    assert written == needed | {Path("arm.py")} and len(needed) > 2
    assert within("init", tmp_path / "other.py", "--example", "robot").exit_code == 0
    (tmp_path / "assets" / "robot" / "hand.stl").write_text("mine")
    refused = within("init", tmp_path / "third.py", "--example", "robot")
    assert refused.exit_code == 2 and "hand.stl exists already" in refused.stderr
    assert not (tmp_path / "third.py").exists()
    assert (tmp_path / "assets" / "robot" / "hand.stl").read_text() == "mine"


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    """Who gives the command again is told so, and keeps the file."""
    file = tmp_path / "mine.py"
    assert within("init", file).exit_code == 0
    file.write_text("mine")
    refused = within("init", file)
    assert refused.exit_code == 2 and "exists already" in refused.stderr and file.read_text() == "mine"


def test_all_files_of_the_examples_are_in_the_package():
    """setup.cfg names them, or a wheel would lack them."""
    setup = configparser.ConfigParser()
    setup.read(SHIPPED.parents[2] / "setup.cfg")
    patterns = setup["options.package_data"]["runner.campaign.examples"].split(", ")
    named = {file for pattern in patterns for file in SHIPPED.glob(pattern)}
    there = {file for file in SHIPPED.rglob("*.*") if file.suffix not in (".py", ".pyc")}
    assert there == named


def test_what_ships_is_what_the_script_makes(tmp_path):
    """The robot and the tree can be made again, and so be changed."""
    make_example_assets.main(tmp_path)
    made = {file.relative_to(tmp_path) for file in tmp_path.rglob("*.*")}
    folders = [folder for folder in SHIPPED.iterdir() if folder.is_dir() and folder.name in NAMES]
    assert made == {file.relative_to(SHIPPED) for folder in folders for file in folder.rglob("*.*")}
    for path in made - {Path("camera_path/camera_path.pkl")}:  # it tells when it was recorded
        assert (tmp_path / path).read_bytes() == (SHIPPED / path).read_bytes(), path


@pytest.fixture(scope="module")
def rendered(browser_path, tmp_path_factory) -> dict[str, list[tuple[Outcome, dict[str, bytes]]]]:
    """Of each example, what some of its jobs gave: all rendered in one browser, from one folder."""
    folder = tmp_path_factory.mktemp("examples")
    for name in NAMES:
        assert within("init", folder / f"{name}.py", "--example", name).exit_code == 0
    assets = AssetFolder(folder / "assets")

    async def render_all():
        async with check_isolation.Pages(SimpleNamespace(folder=assets)).open(quick_rasterizer()) as pages:
            return {name: await some_jobs(pages, folder / f"{name}.py", assets) for name in NAMES}

    return asyncio.run(render_all())


async def some_jobs(pages, file: Path, assets: AssetFolder) -> list[tuple[Outcome, dict[str, bytes]]]:
    """What the jobs gave, in a page of their own as a run has it: a fresh one where the last job spoiled it."""
    campaign = load_campaign(file)
    campaign.assets = campaign.assets and assets
    results, session, given = ResultsFolder(file.parent / "results", campaign.name), None, []
    with ThreadPoolExecutor(1) as writer:
        for number, place in enumerate(PLACES):
            if session is None or session.is_spoiled:
                session = await pages.fresh()
                session.set_base(campaign.make_scene())
            found = pick_job(campaign, Choice(index=place))
            job = RenderJob(Lease(number, 1, 1, 1, found.key, found.params, 0, 0, 0.0, 0.0), results, writer)
            session.begin_job()
            await campaign.render_job(session_view(session, lambda deed: None), job)
            outcome = job.finish()
            files = {
                artifact.name: (results.root / artifact.path).read_bytes() for artifact in outcome.artifacts
            }
            given.append((outcome, files))
    return given


@looks_at_them
@pytest.mark.parametrize("name", NAMES)
def test_an_example_renders_as_it_stands(rendered, name):
    """Nothing that it shows is suspect, and each job's first picture is another."""
    pictures = []
    for outcome, files in rendered[name]:
        assert outcome.suspicion == ""
        first = min(file for file in files if file.endswith(".jpg"))
        pictures.append(np.asarray(Image.open(io.BytesIO(files[first])), int))
    for picture in pictures:
        assert share_of_other_pixels(picture, picture[0, 0]) > 0.05, "hardly more than the background is seen"
    assert share_of_other_pixels(*pictures) > 0.01, "they look alike"


def share_of_other_pixels(one: np.ndarray, other: np.ndarray) -> float:
    """How much of a picture differs by more than what its encoding or another renderer changes."""
    return float((abs(one - other).max(axis=-1) > 30).mean())


@looks_at_them
def test_the_robot_has_the_colours_of_its_urdf(rendered):
    """Vuer's client paints white those parts that came before it looked; its base is dark in each picture."""
    for _, files in rendered["robot"]:
        base = np.asarray(Image.open(io.BytesIO(files["rgb.jpg"])), int)[295:310, 310:330]
        assert base.max() < 140


@looks_at_them
def test_the_views_come_with_depth(rendered):
    """Each camera's is kept in metres and in millimetres, and the two agree."""
    for _, files in rendered["views"]:
        for camera in ("front", "left", "top"):
            metres = np.load(io.BytesIO(files[f"{camera}_depth.npy"]))
            millimetres = np.asarray(Image.open(io.BytesIO(files[f"{camera}_depth.png"])))
            is_there = np.isfinite(metres)
            assert 0.2 < is_there.mean() < 0.9 and ((millimetres > 0) == is_there).all()
            assert abs(millimetres[is_there] - 1000 * metres[is_there]).max() <= 0.51


@looks_at_them
def test_the_steps_are_all_kept(rendered):
    """A picture of each step, and the one of all."""
    for _, files in rendered["steps"]:
        assert sorted(files) == ["all.jpg", *(f"step-{step:03d}.jpg" for step in range(24))]
