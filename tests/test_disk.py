"""Sizes as people write them, and what the jobs left will take."""

from __future__ import annotations

import shutil

import pytest

from runner.errors import UsageError
from runner.job import Artifact, Outcome
from runner.machine import forecast, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("500", 500),
        ("2K", 2048),
        ("500M", 500 << 20),
        ("1.5G", 3 << 29),
        ("2GiB", 2 << 30),
        ("3 MB", 3 << 20),
    ],
)
def test_sizes_are_read_as_people_write_them(text, count):
    """Units are powers of 1024, with or without B."""
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "-1", "1.2.3G", "G", "5 parsecs"])
def test_a_mistyped_size_is_refused(text):
    """A mistyped floor does not become none."""
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)


def test_sizes_are_written_with_their_unit():
    """One digit is enough to plan by."""
    assert [size_text(count) for count in (0, 1536, 5 << 30)] == ["0 bytes", "1.5 KiB", "5.0 GiB"]


def test_the_forecast_warns_where_there_is_not_the_room(tmp_path):
    """Also for a folder that is not there yet; the floor counts as taken."""
    folder = tmp_path / "not" / "yet"
    free = shutil.disk_usage(tmp_path).free
    few = int(free / 3 / 13_784)
    assert forecast(folder, few, 4096.0, 0).startswith(f"disk: the {few:,} jobs left will take about")
    assert forecast(folder, 10, 4096.0, 0) == ""
    assert forecast(folder, 10**12, 4096.0, 0).startswith("warning: disk:")
    assert "after about 0 of them" in forecast(folder, 10, 4096.0, 1 << 60)


def test_the_mean_job_is_that_of_the_jobs_done_last(store):
    """Files count in whole blocks; a job without files counts as a job."""
    campaign_id, _ = store.submit("night", ({"n": n} for n in range(4)))
    worker_id = store.start_worker(campaign_id)
    assert store.reader.recent_files_bytes(campaign_id) == (0, 0)
    sizes = [[1_000_000], [1, 4096], [], [4097]]
    for lease, files in zip(store.claim(worker_id, campaign_id, 4), sizes):
        artifacts = tuple(Artifact(str(n), f"p{n}", size, "ab", "x") for n, size in enumerate(files))
        store.complete(lease, Outcome(artifacts))
    assert store.reader.recent_files_bytes(campaign_id, sample=3) == (3, 4 * 4096)
