"""Runners of one campaign that have each their own results folder: the other's files are told from missing ones."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from campaigns import read_metrics
from processes import within

import runner
from runner.errors import ExportError, UsageError
from runner.export import export
from runner.job import Place
from runner.report import explain_job, summarize
from runner.results import MetricsLog, RenderJob, ResultsFolder
from runner.results.verify import fix, verify
from runner.store import Store


@pytest.fixture
def night(database_url, tmp_path):
    """A campaign of six jobs: `here` has done job0 to job2, another runner the others, in its own folder."""
    with Store(database_url) as store:
        here, there = (ResultsFolder(tmp_path / name, "night") for name in ("here", "there"))
        campaign_id = store.add_campaign("night", place=Place(results=str(here.root)))
        store.add(campaign_id, [(f"job{n}", {"n": n}) for n in range(6)])
        for results in (here, there):
            store.add_folder(campaign_id, results.named(), f"{results.root.name}-host:{results.root}")
            worker_id = store.start_worker(campaign_id, folder_id=results.id)
            with ThreadPoolExecutor(2) as writer:
                for lease in store.claim(worker_id, campaign_id, 3):
                    files = RenderJob(lease, results, writer)
                    files.save("rgb.bin", b"picture %d" % lease.params["n"])
                    store.complete(lease, files.finish())
        yield store, here, there


def looked_at(store, results):
    row = store.reader.campaign(1) | {"results": str(results.root)}
    return row, verify(store.reader, row)


def test_verify_tells_what_another_has_from_what_is_missing(night):
    """Each folder is judged by its own runner's jobs; nothing of another's is requeued."""
    store, here, there = night
    shutil.rmtree(there.root / "night" / "jobs" / "0000" / "job4")
    row, findings = looked_at(store, here)
    assert (findings.jobs, findings.files, findings.missing) == (3, 3, [])
    assert findings.elsewhere == {f"there-host:{there.root}": 3}
    (here.folder / "jobs" / "0000" / "job1" / "rgb.bin").unlink()
    row, findings = looked_at(store, here)
    fix(store, row, findings)
    assert store.reader.job(1, "job1")["status"] == "pending" and store.reader.progress(1).done == 5
    _, findings = looked_at(store, there)
    assert [hit["key"] for hit in findings.missing] == ["job4"] and list(findings.elsewhere.values()) == [2]


def test_a_folder_is_known_wherever_it_is_moved(night, tmp_path):
    """And folders that were copied into one are looked at as one: there nothing is missing, unless it is."""
    store, here, there = night
    shutil.move(here.root, tmp_path / "archive")
    moved = ResultsFolder(tmp_path / "archive", "night")
    assert looked_at(store, moved)[1].elsewhere
    shutil.copytree(there.folder / "jobs", moved.folder / "jobs", dirs_exist_ok=True)
    _, findings = looked_at(store, moved)
    assert (findings.jobs, findings.files, findings.elsewhere) == (6, 6, {})
    (moved.folder / ".folder").unlink()
    shutil.rmtree(moved.folder / "jobs" / "0000" / "job5")
    assert [hit["key"] for hit in looked_at(store, moved)[1].missing] == ["job5"]


def test_report_explain_and_export_say_whose_folder_has_the_files(night, database_url, tmp_path):
    """How many jobs each holds; where one job's files are; and what to do before an export."""
    store, here, there = night
    row = store.reader.campaign(1)
    assert summarize(store.reader, row).folders == {
        f"here-host:{here.root}": 3,
        f"there-host:{there.root}": 3,
    }
    shown = within("report", "--db", database_url).stdout
    assert f"3 jobs in there-host:{there.root}" in shown
    assert explain_job(store.reader, row, "job5").files[0].startswith(f"there-host:{there.root}/night/")
    assert explain_job(store.reader, row, "job0").files[0].startswith(f"{here.root}/night/")
    table = runner.open(database_url)["night"]
    assert table.read("job2", "rgb.bin") == b"picture 2"
    with pytest.raises(UsageError, match="job3 is not here, but below there-host:"):
        table.read("job3", "rgb.bin")
    with pytest.raises(ExportError, match=r"3 jobs in there-host:.*copy these folders into one") as refused:
        export(table, here.root, "folder", tmp_path / "out")
    assert "--fix" not in str(refused.value)


def test_each_folder_has_a_log_of_its_own_of_all_jobs(night):
    """Two runners that write by turns never undo what the other has written; a requeued job is in neither."""
    store, here, there = night
    logs = [MetricsLog(store, 1, results) for results in (here, there)]
    assert [log.sync() for log in logs] == [6, 6]
    inodes = [os.stat(log.folder / "metrics.pkl").st_size for log in logs]
    assert [log.sync() for log in logs] == [0, 0] and [log.edition for log in logs] == [0, 0]
    assert inodes[0] == inodes[1]
    store.requeue(1, ["job0"])
    assert [log.sync() for log in logs] == [5, 5]
    for log, results in zip(logs, (here, there)):
        assert list(read_metrics(results.root, "night")["n"]) == [1, 2, 3, 4, 5]
        assert looked_at(store, results)[1].is_log_exact
        log.close()
    assert json.loads(within("verify", "--db", store.database.address, "--json").stdout)[0]["is_well"]
