"""A campaign from Python: rows and DataFrames that say what the database says."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

import runner
from runner.errors import StoreError
from runner.job import Artifact, Outcome, Policy, Provenance
from runner.report import table

FILE = Artifact("rgb.jpg", "orbit/jobs/0000/a/rgb.jpg", 12, "ab" * 32, "image/jpeg")


@pytest.fixture
def campaign(store, database_url, clock):
    """One job done, one failed, one waiting, one in progress; two other campaigns around them."""
    store.submit("other", [{"n": n} for n in range(3)])
    jobs = [
        ("a", {"x": 1, "name": "left"}),
        ("b", {"x": 2.5, "key": "mine"}),
        ("c", {}),
        ("d", {"matrix": [1.0, 2.0]}),
    ]
    campaign_id, _ = store.submit("orbit", jobs[:2], Policy(max_failures=1))
    store.submit("third", [{"n": 1}])
    store.add(campaign_id, jobs[2:])
    worker_id = store.start_worker(campaign_id)
    session_id = store.start_session(worker_id, campaign_id, Provenance("tab 1", "Chromium 1", "Mesa 2"))
    (done,) = store.claim(worker_id, campaign_id, session_id=session_id)
    failed, released, _running = store.claim(worker_id, campaign_id, count=3)
    clock.now += 2.0
    outcome = Outcome((FILE, dataclasses.replace(FILE, name="depth.png")), {"mean": 0.5})
    store.complete(done, outcome)
    store.fail(failed, "ValueError: no mesh")
    store.release(released)
    with runner.open(database_url) as campaigns:
        yield campaigns["orbit"]


def test_a_frame_has_a_row_a_job_with_params_metrics_and_files(campaign):
    """In the order in which jobs were added; a param that hides a column has its own name."""
    frame = campaign.to_frame()
    assert list(frame["key"]) == ["a", "b", "c", "d"]
    assert list(frame["status"]) == ["done", "failed", "pending", "in_progress"]
    assert frame["x"].tolist()[:2] == [1.0, 2.5] and frame["x"].isna().tolist() == [False, False, True, True]
    assert frame["params/key"][1] == "mine" and frame["matrix"][3] == [1.0, 2.0]
    assert frame["renderer"][0] == "Mesa 2" and frame["renderer"][1:].isna().all()
    assert (
        frame["mean"][0] == 0.5
        and frame["duration_s"][0] == 2.0
        and frame["error"][1] == "ValueError: no mesh"
    )
    assert frame["done_ts"].notna().tolist() == [True, False, False, False]
    assert [file["name"] for file in frame["artifacts"][0]] == ["depth.png", "rgb.jpg"]
    assert frame["artifacts"][0][1]["sha256"] == FILE.sha256 and frame["artifacts"][1] == []
    assert list(frame.columns) == [*table.COLUMNS, "name", "x", "mean", "params/key", "matrix", "artifacts"]


def test_frames_in_chunks_are_the_frame(campaign, monkeypatch):
    """Whatever the size of a chunk, each job is in one of them."""
    monkeypatch.setattr(table, "_CHUNK", 3)
    chunks = list(campaign.iter_frames(chunk=2))
    assert [len(chunk) for chunk in chunks] == [2, 2]
    assert list(pd.concat(chunks)["key"]) == ["a", "b", "c", "d"]
    assert [row["key"] for row in campaign.rows(status="failed")] == ["b"]
    assert next(iter(campaign.iter_frames(status="done")))["key"].tolist() == ["a"]


def test_an_empty_campaign_is_an_empty_frame(store, database_url):
    """With the columns that every job has."""
    store.submit("empty", [])
    frame = runner.open(database_url)["empty"].to_frame()
    assert len(frame) == 0 and list(frame.columns) == [*table.COLUMNS, "artifacts"]


def test_campaigns_are_found_by_name(campaign, database_url):
    """As in a dict, in the order they were made."""
    with runner.open(database_url) as campaigns:
        assert list(campaigns) == ["other", "orbit", "third"] and len(campaigns) == 3
        assert len(campaigns["orbit"]) == 4 and campaigns["orbit"].progress.done == 1
        with pytest.raises(KeyError):
            campaigns["fourth"]


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    """Reading is no reason to write."""
    with pytest.raises(StoreError, match="no database"):
        runner.open(tmp_path / "runner.db")
    assert not list(tmp_path.iterdir())


def test_reading_goes_on_while_others_write(sqlite_store):
    """Neither a long addition nor anything else that writes keeps a reader from opening the database."""
    sqlite_store.submit("orbit", [{"n": n} for n in range(3)])
    with sqlite_store.database.write() as cursor:
        cursor.run("UPDATE job SET priority = 1")
        assert runner.open(sqlite_store.database.url.database)["orbit"].to_frame()["priority"].tolist() == [
            0,
            0,
            0,
        ]
