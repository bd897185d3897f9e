"""Folders move and are copied: a database finds the files beside it, and a copy touches only the copy."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import within

import runner
from runner.job import Place
from runner.results import RenderJob, ResultsFolder
from runner.store import Store


def make_night(folder: Path, results: Path) -> Path:
    """A database in that folder of a campaign with three done jobs; returns its path."""
    folder.mkdir(exist_ok=True)
    files = ResultsFolder(results, "night")
    with Store(folder / "runner.db") as store, ThreadPoolExecutor(1) as writer:
        store.submit(
            "night",
            [(f"v{n}", {"n": n}) for n in range(3)],
            place=Place(str(folder / "night.py"), str(results)),
        )
        worker_id = store.start_worker(1)
        for lease in store.claim(worker_id, 1, 3):
            job = RenderJob(lease, files, writer)
            job.save("note.txt", lease.key)
            store.complete(lease, job.finish())
        store.end_worker(worker_id)
    within("log", "--db", folder / "runner.db")
    return folder / "runner.db"


def note(results: Path, key: str = "v1") -> Path:
    return results / "night" / "jobs" / "0000" / key / "note.txt"


@pytest.fixture
def copy(tmp_path) -> Path:
    """A folder that was copied with all that is in it; the original is there, too."""
    make_night(tmp_path / "original", tmp_path / "original" / "results")
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.slow
def test_a_copy_is_a_campaign_of_its_own(copy, is_old):
    """verify, --fix, export and open read and touch the copy alone, also of a database with absolute paths."""
    original = copy.with_name("original")
    if is_old:
        connection = sqlite3.connect(copy / "runner.db")
        connection.execute(
            "UPDATE campaign SET file = ?, results = ?", (f"{original}/night.py", f"{original}/results")
        )
        connection.commit()
        connection.close()
    note(copy / "results").unlink()
    found = within("verify", "--db", copy / "runner.db")
    assert found.exit_code == 1 and f"looked in  {copy}/results/night" in found.stdout
    refused = within("export", "jsonl", copy / "rows.jsonl", "--db", copy / "runner.db")
    assert refused.exit_code == 2 and f"looked in {copy}/results/night" in refused.stderr
    assert within("verify", "--fix", "--db", copy / "runner.db").exit_code == 1
    with runner.open(copy / "runner.db") as campaigns:
        assert campaigns["night"].results == copy / "results" and campaigns["night"].progress.done == 2
    assert note(original / "results").read_text() == "v1"
    assert within("verify", "--db", original / "runner.db").exit_code == 0
    with runner.open(original / "runner.db") as campaigns:
        assert campaigns["night"].progress.done == 3


@pytest.mark.slow
def test_a_folder_that_has_moved_is_whole(copy):
    """Database and results under another name: nothing is missing, and what is told leads there."""
    moved = copy.rename(copy.with_name("moved"))
    shutil.rmtree(copy.with_name("original"))
    assert within("verify", "--db", moved / "runner.db").exit_code == 0
    assert f"results        {moved}/results/night" in within("report", "--db", moved / "runner.db").stdout


@pytest.mark.slow
def test_results_elsewhere_stay_where_they_are_until_they_are_named(tmp_path):
    """A results folder on another disk is no neighbour of the database; --results tells where it has gone."""
    database = make_night(tmp_path / "study", tmp_path / "disk" / "results")
    # An older campaign of that name, beside the database, is not theirs.
    shutil.copytree(tmp_path / "disk" / "results", tmp_path / "study" / "results")
    note(tmp_path / "study" / "results").write_text("another")
    assert within("verify", "--db", database).exit_code == 0
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    gone = within("verify", "--db", database)
    assert gone.exit_code == 1 and f"looked in  {tmp_path}/disk/results/night" in gone.stdout
    assert (
        f"results        none in {tmp_path}/disk/results/night" in within("report", "--db", database).stdout
    )
    named = ["--db", database, "--results", tmp_path / "elsewhere" / "results"]
    assert within("verify", *named).exit_code == 0
    assert within("log", "--rebuild", *named).exit_code == 0
    assert f"results        {tmp_path}/elsewhere/results/night" in within("report", *named).stdout
    assert within("export", "jsonl", tmp_path / "rows.jsonl", *named).exit_code == 0
