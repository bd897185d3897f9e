"""README and pages tell what is: commands run, references are the code's own, the diagram is the store's."""

from __future__ import annotations

import ast
import colorsys
import configparser
import dataclasses
import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from environments import make_environment, required
from PIL import Image

from runner.cli import main
from runner.job import Finished, Outcome, Policy
from runner.machine import this_process

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {page.stem: page.read_text() for page in sorted((ROOT / "runner" / "docs").glob("*.md"))}


def blocks(kind: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def script(name: str):
    """The script of that name, as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "scripts" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_every_command_is_in_the_reference_with_help_and_an_example():
    """The reference of commands is what they say of themselves."""
    writer = script("write_command_reference")
    block = writer.BLOCK.search(PAGES["commands"])[2]
    assert block == writer.reference(), "run scripts/write_command_reference"
    for name, command in main.commands.items():
        assert f"Example: runner {name}" in command.help
        assert all(param.help for param in command.params if param.param_type_name == "option")


def test_what_can_be_called_is_told_by_its_docstrings():
    """The page is written by a script, and up to date."""
    assert PAGES["api"] == script("write_api_reference").reference(), "run scripts/write_api_reference"


def test_each_page_is_printed_by_help_and_linked_from_the_readme():
    """Whoever has the package has its pages; a topic that there is not is told with those that there are."""
    for topic, text in PAGES.items():
        assert CliRunner().invoke(main, ["help", topic]).stdout == text
        assert f"(runner/docs/{topic}.md)" in README
    listed = CliRunner().invoke(main, ["help"]).stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(PAGES)
    unknown = CliRunner().invoke(main, ["help", "framse"])
    assert unknown.exit_code == 2 and "did you mean frames" in unknown.output
    assert "--halt SHARE" in CliRunner().invoke(main, ["help", "run"]).stdout


def test_links_lead_somewhere():
    """In the README and on each page."""
    for folder, text in [(ROOT, README), *((ROOT / "runner" / "docs", text) for text in PAGES.values())]:
        for target in re.findall(r"\]\(([^)#]+)", text):
            assert target.startswith("https://") or (folder / target).exists(), target


def test_what_stands_in_python_is_python():
    """Each block can be compiled."""
    for text in [README, *PAGES.values()]:
        for block in blocks("python", text):
            compile(block, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_troubles_have_the_words_that_are_printed():
    """Each heading can be found by what somebody has on the screen."""
    source = "\n".join(
        path.read_text() for path in (ROOT / "runner").rglob("*") if path.suffix in (".py", ".js")
    )
    for heading in re.findall(r"^## (.*)$", PAGES["troubleshooting"], re.MULTILINE):
        for words in heading.split("…"):
            assert words.strip() in source, heading


def moves_of(store) -> set[tuple[str, str, str]]:
    """(from, to, move) of every move that the store makes, each made once and read from the row."""
    campaign_id = store.add_campaign("moves", Policy(max_failures=2, max_crashes=2, backoff_s=0.0))
    worker_id = store.start_worker(campaign_id)
    dead_id = store.start_worker(campaign_id, dataclasses.replace(this_process(), pid_start="0"))
    store.reap(campaign_id, lease_s=60.0)
    seen = set()

    def make(move, call):
        before = store.reader.job(campaign_id, "job")
        call()
        after = store.reader.job(campaign_id, "job")
        seen.add((before["status"] if before else "[*]", after["status"] if after else "[*]", move))

    def claim():
        store.promote(campaign_id)
        leases.extend(store.claim(worker_id, campaign_id))

    leases = []
    make("add", lambda: store.add(campaign_id, [("job", {})]))
    by_operator = {"retry", "requeue"}
    arguments = {
        "fail": ["why"],
        "reclaim": ["why"],
        "adopt": [Finished(Outcome(), 99, dead_id, None, 1.0, 2.0)],
    }
    for move in [
        "release",
        "fail",
        "fail",
        "retry",
        "reclaim",
        "reclaim",
        "retry",
        "complete",
        "requeue",
        "adopt",
    ]:
        if move not in by_operator:
            make("claim", claim)
        target = [campaign_id, ["job"]] if move in by_operator else [leases[-1], *arguments.get(move, [])]
        make(move, partial(getattr(store, move), *target))
    store.requeue(campaign_id, ["job"])
    make("prune", lambda: store.prune(campaign_id, [leases[-1].job_id]))
    return seen


def test_the_diagram_shows_the_stores_moves(sqlite_store):
    """Each arrow is what the rows show of a move, from where to where; each move has a line that says who makes it."""
    arrows = re.findall(r"^    (\S+) --> (\S+): (.*)$", PAGES["design"], re.MULTILINE)
    drawn = {(before, after, move) for before, after, moves in arrows for move in moves.split(", ")}
    assert drawn == moves_of(sqlite_store)
    life = PAGES["design"].split("## A job's life")[1].split("## ")[0]
    lines = [
        [cell.strip() for cell in line.split("|")] for line in life.splitlines() if line.startswith("| ")
    ]
    told = {
        (cells[2] or "[*]", after or "[*]", cells[1]) for cells in lines[1:] for after in cells[3].split(", ")
    }
    assert drawn == told


def test_the_changelog_names_the_version():
    """Users find what changed in the version that they have."""
    from runner import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_nothing_names_a_machine():
    """No absolute path of a machine stands in what is shipped."""
    for path in [
        *ROOT.glob("runner/**/*.py"),
        *ROOT.glob("scripts/*"),
        *ROOT.glob("runner/docs/*.md"),
        ROOT / "README.md",
    ]:
        if path.is_file():
            assert not re.search(r"(?<![\w$.])/(root|home|work)/", path.read_text()), path


def shape(line: str, folder: Path) -> str:
    """A line of output without what is another each time."""
    line = (
        line.replace(f"{folder}/", "")
        .replace(f" --db {folder / 'runner.db'}", "")
        .replace(" --db runner.db", "")
    )
    line = re.sub(r"\b[0-9a-f]{32}\b", "KEY", line)
    return re.sub(r"\d[\d.,:TZ-]*( (ms|s|min|h)\b)?", "N", line).rstrip()


def assert_demo_colors(sheet: Path) -> None:
    """The demo's contact sheet shows each ball in its colour."""
    with Image.open(sheet) as image:
        picture = image.convert("RGB")
    width, height = picture.width // 10, picture.height // 6
    for index in range(60):
        row, column = divmod(index, 10)
        pixel = picture.getpixel((column * width + width // 2, row * height + height // 2))
        wanted = [255 * channel for channel in colorsys.hsv_to_rgb(index / 60, 0.85, 0.95)]
        assert max(abs(a - b) for a, b in zip(pixel, wanted)) < 12, f"tile {index}: {pixel}, not {wanted}"


@pytest.mark.long
@pytest.mark.usefixtures("browser_path")
def test_the_first_hour_in_a_fresh_copy(tmp_path):
    """The demo, and the README's commands and campaign, typed by a newcomer, print what it shows.

    Nothing is there but what setup.cfg requires, linked from here: .ci/run has installed it, without a C compiler.
    """
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    clone, folder = tmp_path / "clone", tmp_path / "hour"
    for name in filter(None, files):
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    folder.mkdir()
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = setup["options"]["install_requires"].strip().splitlines()
    make_environment(clone / ".venv", {*required(wanted), "pip"})
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"CC": "/bin/false", "PATH": f"{clone}/.venv/bin:{os.environ['PATH']}"}

    def shell(script, cwd=folder):
        return subprocess.run(
            ["bash", "-uo", "pipefail", "-c", script],
            cwd=cwd, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    first = shell("scripts/demo", clone)
    assert first.returncode == 0, first.stderr
    sheet = clone / "runner-demo" / "results" / "demo" / "contact_sheet.jpg"
    assert "demo: all 60 jobs are done" in first.stdout and str(sheet) in first.stdout
    assert_demo_colors(sheet)
    again = shell("scripts/demo", clone)
    assert again.returncode == 0 and "60 done, 0 failed, 0 left" in again.stderr
    two_commands, install, _ = blocks("sh")
    assert shell(install, clone).returncode == 0
    # The first run ends halfway, as in the README.
    quick = shell(two_commands.replace("run orbit.py", "run orbit.py --limit 17; runner run orbit.py"))
    assert quick.returncode == 0, quick.stderr
    pictures = [path.read_bytes() for path in folder.glob("results/orbit/jobs/*/*/rgb.jpg")]
    assert len(set(pictures)) == len(pictures) == 36
    (folder / "places.csv").write_text(blocks("csv")[0])
    (folder / "turntable.py").write_text(blocks("python")[0])
    printed, shown = [quick.stdout, quick.stderr], []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            if "orbit" in command or "Killed" in expected:
                continue
            if "--update" in command:
                (folder / "places.csv").write_text(blocks("csv")[0].rstrip("\n") + "1\n")
            end = shell(command)
            printed += [end.stdout, end.stderr]
            shown += [line for line in expected.splitlines() if line]
    lines = {shape(line, folder) for text in printed for line in text.splitlines()}
    assert [line for line in shown if shape(line, folder) not in lines] == [], lines
    wheel_files = shell("pip show -f runner | grep -c 'schema.sql\\|docs/frames.md'; pip check").stdout
    assert wheel_files.startswith("2")
