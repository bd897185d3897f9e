"""The README tells what is: its commands run, its reference is the commands' own, its diagram is the store's."""

from __future__ import annotations

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

from runner.cli import main
from runner.job import Finished, Outcome, Policy
from runner.machine import this_process

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def shell_blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_every_command_is_in_the_readme_with_help_and_an_example():
    """The reference in the README is what the commands say of themselves."""
    path = str(ROOT / "scripts" / "write_command_reference")
    loader = importlib.machinery.SourceFileLoader("write_command_reference", path)
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(script)
    block = script.BLOCK.search(README)[2]
    assert block == script.reference(), "run scripts/write_command_reference"
    for name, command in main.commands.items():
        assert f"Example: runner {name}" in command.help
        assert all(param.help for param in command.params if param.param_type_name == "option")


def test_the_first_example_is_the_file_that_init_writes():
    """What a reader copies from the README is what is shipped, and what the tests render."""
    shipped = (ROOT / "runner" / "campaign" / "examples" / "orbit.py").read_text()
    assert re.search(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[1] == shipped


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
    arrows = re.findall(r"^    (\S+) --> (\S+): (.*)$", README, re.MULTILINE)
    drawn = {(before, after, move) for before, after, moves in arrows for move in moves.split(", ")}
    assert drawn == moves_of(sqlite_store)
    life = README.split("## A job's life")[1].split("## ")[0]
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
    for path in [*ROOT.glob("runner/**/*.py"), *ROOT.glob("scripts/*"), ROOT / "README.md"]:
        if path.is_file():
            assert not re.search(r"(?<![\w$.])/(root|home|work)/", path.read_text()), path


@pytest.mark.long
@pytest.mark.usefixtures("browser_path")
def test_the_readmes_commands_run_in_a_fresh_copy(tmp_path):
    """scripts/demo twice, and then the quick start, as a new user would type them; no C compiler is needed."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    clone = tmp_path / "clone"
    for name in filter(None, files):
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    two_commands, quick_start = shell_blocks()
    assert two_commands.split() == ["scripts/demo", "scripts/test"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"CC": "/bin/false", "PATH": f"{clone}/.venv/bin:{os.environ['PATH']}"}

    def shell(script):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=clone, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    first = shell("scripts/demo")
    assert first.returncode == 0, first.stderr
    assert "all 60 jobs are done" in first.stdout and "contact_sheet.jpg" in first.stdout
    again = shell("scripts/demo")
    assert again.returncode == 0 and "60 done, 0 failed, 0 left" in again.stderr
    quick = shell(quick_start)
    assert quick.returncode == 0, quick.stderr
    assert "orbit: all 36 jobs are done" in quick.stdout
    pictures = [path.read_bytes() for path in clone.glob("results/orbit/jobs/*/*/rgb.jpg")]
    assert len(set(pictures)) == len(pictures) == 36
    wheel_files = shell("pip show -f runner | grep -c schema.sql; pip check").stdout
    assert wheel_files.startswith("1")
