"""`runner verify` finds what is not as recorded, and --fix brings disk and rows together again."""

from __future__ import annotations

import dataclasses
import json
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from campaigns import assert_whole, read_metrics, write_colors
from clients import run_for_tabs
from processes import within

from runner import read_records
from runner.job import Checkpoint, Place
from runner.machine import this_process
from runner.results import MANIFEST, MetricsLog, RenderJob, ResultsFolder
from runner.results.verify import fix, verify
from runner.store import Store


class Night:
    """A campaign of done jobs, each with a picture and a table of depths."""

    def __init__(self, store, root, count=6):
        self.store, self.root = store, root
        self.results = ResultsFolder(root, "night")
        self.id = store.add_campaign("night", place=Place(results=str(root)))
        store.add(self.id, [(f"job{n}", {"n": n}) for n in range(count)])
        self.worker_id = store.start_worker(self.id)
        with ThreadPoolExecutor(2) as writer:
            for lease in store.claim(self.worker_id, self.id, count):
                files = RenderJob(lease, self.results, writer)
                files.save("rgb.bin", b"picture %d" % lease.params["n"])
                files.save("views/depth.bin", b"depth %d" % lease.params["n"])
                files.log(psnr=30.0 + lease.params["n"])
                store.complete(lease, files.finish())
        self.log = MetricsLog(store, self.id, self.results)
        self.log.sync()
        self.log.close()

    def path(self, n, name="rgb.bin"):
        return self.root / "night/jobs/0000" / f"job{n}" / name

    def verify(self):
        return verify(self.store.reader, self.store.reader.campaign(self.id))


@pytest.fixture
def night(store, tmp_path):
    return Night(store, tmp_path / "results")


def test_a_whole_campaign_is_well(night):
    """Nothing is said of files that are as they were recorded; manifests are nobody's orphans."""
    findings = night.verify()
    assert findings.is_well and (findings.jobs, findings.files) == (6, 12)
    assert not (findings.orphaned or findings.temporary)


def test_each_file_and_each_record_is_counted_once(night):
    """What is told meanwhile comes to twice the done jobs: their files, and their records in the log."""
    looked = []
    verify(night.store.reader, night.store.reader.campaign(night.id), looked.append)
    assert sum(looked) == 12


def test_each_kind_of_damage_is_named(night):
    """Missing, changed in size, changed in content, orphaned and temporary: each by its path."""
    night.path(0).unlink()
    night.path(1).write_bytes(b"picture")
    night.path(2, "views/depth.bin").write_bytes(b"DEPTH 2")
    night.path(3, "notes.txt").write_text("mine")
    night.path(4, f".rgb.bin.{77:x}.tmp").write_bytes(b"pic")
    (night.results.folder / "jobs/0007").mkdir()
    (night.results.folder / "jobs/0007/stray").write_bytes(b"")
    findings = night.verify()
    assert not findings.is_well
    assert [hit["path"] for hit in findings.missing] == ["night/jobs/0000/job0/rgb.bin"]
    assert [(hit["key"], hit["name"]) for hit in findings.changed] == [
        ("job1", "rgb.bin"),
        ("job2", "views/depth.bin"),
    ]
    assert findings.orphaned == ["night/jobs/0000/job3/notes.txt", "night/jobs/0007/stray"]
    assert findings.temporary == [f"night/jobs/0000/job4/.rgb.bin.{77:x}.tmp"]


def test_fix_requeues_the_jobs_hit_and_no_others(night):
    """Changed files may be somebody's, and are set aside under another name; temporary ones go; the log is right."""
    night.path(0).unlink()
    night.path(1).write_bytes(b"edited by hand")
    night.path(3, "notes.txt").write_text("mine")
    temporary = night.path(4, f".rgb.bin.{77:x}.tmp")
    temporary.write_bytes(b"pic")
    findings = night.verify()
    fix(night.store, night.store.reader.campaign(night.id), findings)
    assert (findings.requeued, findings.removed, findings.set_aside) == (2, 1, 1)
    statuses = {row["key"]: row["status"] for row in night.store.reader.jobs(night.id)}
    assert [key for key, status in statuses.items() if status == "pending"] == ["job0", "job1"]
    assert not night.path(0).parent.exists() and not temporary.exists()
    assert not night.path(1).exists() and night.path(3, "notes.txt").exists()
    aside = night.results.folder / "aside/0000/job1/changed-rgb.bin"
    assert aside.read_bytes() == b"edited by hand"
    reasons = {row["key"]: row["error"] for row in night.store.reader.attempts(night.id)}
    assert reasons == {"job0": "rgb.bin is missing", "job1": "rgb.bin is changed"}
    assert sorted(read_metrics(night.root, "night")["n"]) == [2, 3, 4, 5]
    again = night.verify()
    assert again.is_well and again.orphaned == ["night/jobs/0000/job3/notes.txt"] and again.strays == []


def test_a_search_finds_the_files_of_the_rows_and_no_others(night):
    """Whatever was killed, changed or left behind: under the jobs' names there are only the files that rows name."""
    store, results = night.store, night.results
    store.add(night.id, [("killed", {"n": 8}), ("stepped", {"n": 9}), ("twice", {"n": 10})])
    for attempt in (1, 2):
        # A process that is gone left files, one recorded step, and a manifest of what nobody took over.
        dead = store.start_worker(night.id, dataclasses.replace(this_process(), pid_start="earlier"))
        leases = {lease.key: lease for lease in store.claim(dead, night.id, 3)}
        for lease in leases.values():
            results.write(lease, "rgb.bin", b"x", "x")
        step = results.write(leases["stepped"], f"{attempt}.bin", b"kept", "x")
        store.checkpoint(leases["stepped"], Checkpoint(attempt, (step,)))
        store.reap(night.id, lease_s=60.0)
    night.path(0).write_bytes(b"edited by hand")
    stray = results.folder / "jobs/0000/nobody/rgb.bin"
    stray.parent.mkdir()
    stray.write_bytes(b"of another time")
    fix(store, store.reader.campaign(night.id), night.verify())
    store.promote(night.id)
    with ThreadPoolExecutor(1) as writer:
        for lease in store.claim(night.worker_id, night.id, 4):
            files = RenderJob(lease, results, writer, store.reader.checkpoint_of(lease))
            files.save("rgb.bin", b"new")
            # Here the process may be killed, too.
            store.complete(lease, files.finish())
    rows = {night.root / row["path"] for row in store.reader.artifacts(night.id)}
    assert len(rows) == 6 + 5 + 3 + 2 and store.reader.progress(night.id).done == 9
    for name in ("rgb.bin", "1.bin", "2.bin"):
        assert set(night.root.glob(f"**/{name}")) == {path for path in rows if path.name == name}
    aside = {path.name: path.read_bytes() for path in results.folder.glob("aside/**/*.bin")}
    assert aside == {"changed-rgb.bin": b"edited by hand", "orphaned-rgb.bin": b"of another time"}
    assert night.verify().is_well


def test_what_a_killed_attempt_left_is_removed(night):
    """Kills leave files of attempts that came to nothing; --fix makes room, and keeps what steps have recorded."""
    store = night.store
    store.add(night.id, [("killed", {"n": 8}), ("stepped", {"n": 9})])
    gone = dataclasses.replace(this_process(), pid_start="of an earlier process")
    dead = store.start_worker(night.id, gone)
    killed, stepped = store.claim(dead, night.id, 2)
    for lease in (killed, stepped):
        night.results.write(lease, "views/rgb.bin", b"x", "x")
    kept = night.results.write(stepped, "0.bin", b"kept", "x")
    store.checkpoint(stepped, Checkpoint(1, (kept,)))
    store.reap(night.id, lease_s=60.0)
    findings = night.verify()
    assert findings.is_well and findings.abandoned == ["night/jobs/0000/killed/views/rgb.bin"]
    assert findings.orphaned == ["night/jobs/0000/stepped/views/rgb.bin"]
    fix(store, store.reader.campaign(night.id), findings)
    assert not night.results.folder_of(killed).exists() and night.results.is_whole(kept)
    assert night.verify().abandoned == []


def test_a_disk_that_is_not_mounted_is_not_taken_for_lost_work(night):
    """Where the whole folder is gone, --fix changes nothing."""
    from runner.errors import UsageError

    night.results.folder.rename(night.root / "elsewhere")
    findings = night.verify()
    assert len(findings.missing) == 12
    with pytest.raises(UsageError, match="is its disk mounted"):
        fix(night.store, night.store.reader.campaign(night.id), findings)
    assert night.store.reader.progress(night.id).done == 6


@pytest.mark.parametrize("damage", ["flipped", "short", "gone"])
def test_a_log_that_is_not_what_the_database_says_is_found(night, damage):
    """A byte that changed amid metrics.pkl is seen by no reader; here it is, and mended."""
    path = night.results.folder / "metrics.pkl"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[content.index(b"job3") + 3] ^= 1
    path.write_bytes(content[:-1] if damage == "short" else content)
    if damage == "gone":
        path.unlink()
    findings = night.verify()
    assert not findings.is_log_exact and not findings.is_well
    fix(night.store, night.store.reader.campaign(night.id), findings)
    assert night.verify().is_well


def test_a_planted_log_runs_nothing_and_takes_no_memory(night, tmp_path):
    """Python's own pickle would call what the file names, or fill the memory for its memo."""
    path = night.results.folder / "metrics.pkl"
    planted = tmp_path / "planted"
    code = f"cos\nsystem\n(S'touch {planted}'\ntR.".encode()
    memo = b"\x80\x04}r\xff\xff\xff\x07."
    tracemalloc.start()
    for attack in (code, memo):
        path.write_bytes(attack + path.read_bytes())
        findings = night.verify()
        assert not findings.is_log_exact and not planted.exists()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 32 << 20


def test_a_log_that_another_version_has_pickled_is_as_exact(night):
    """What counts is what the records hold, not their bytes."""
    path = night.results.folder / "metrics.pkl"
    records = read_records(path)
    path.write_bytes(b"".join(pickle.dumps(record, protocol=5) for record in records))
    night.store.write_log_cursor(night.id, night.results.id, len(records), path.stat().st_size)
    assert night.verify().is_log_exact


def test_what_is_being_written_is_neither_orphaned_nor_temporary(night):
    """A run may go on meanwhile; and what a crash left finished waits to be taken over."""
    store = night.store
    store.add(night.id, [("at work", {"n": 8}), ("crashed", {"n": 9})])
    gone = dataclasses.replace(this_process(), pid_start="of an earlier process")
    dead = store.start_worker(night.id, gone)
    at_work, crashed = store.claim(night.worker_id, night.id)[0], store.claim(dead, night.id)[0]
    with ThreadPoolExecutor(1) as writer:
        for lease in (at_work, crashed):
            files = RenderJob(lease, night.results, writer)
            files.save("rgb.bin", b"x")
            files.finish()
    store.reap(night.id, lease_s=60.0)
    folder = night.results.folder_of(at_work)
    (folder / MANIFEST).unlink()
    (folder / f".depth.bin.{night.worker_id:x}.tmp").write_bytes(b"")
    findings = night.verify()
    assert findings.is_well and not (findings.orphaned or findings.temporary)


@pytest.mark.slow
def test_verify_fix_and_run_make_a_damaged_campaign_whole(tmp_path):
    """The commands that the report names, on a campaign whose results were damaged behind its back."""
    file = write_colors(tmp_path, count=8)
    assert run_for_tabs(file).returncode == 0
    database = tmp_path / "runner.db"
    well = within("verify", "--db", database)
    assert (
        well.exit_code == 0 and "8 files of 8 done jobs: all are whole" in well.stdout and well.stderr == ""
    )
    pictures = sorted((tmp_path / "results/colors/jobs").rglob("rgb.jpg"))
    pictures[0].unlink()
    pictures[1].write_bytes(pictures[2].read_bytes())
    end = within("verify", "--json", "--db", database)
    (findings,) = json.loads(end.stdout)
    assert end.exit_code == 1 and len(findings["missing"]) == len(findings["changed"]) == 1
    fixed = within("verify", "colors", "--fix", "--db", database)
    assert fixed.exit_code == 1 and "2 jobs requeued" in fixed.stdout
    again = run_for_tabs(file)
    assert again.returncode == 0 and "6 done, 0 failed, 2 left" in again.stderr
    assert_whole(tmp_path, 8)
    assert within("verify", "--db", database).exit_code == 0
    with Store(database) as store:
        assert [row["outcome"] for row in store.reader.attempts(1)] == ["requeued", "requeued"]
