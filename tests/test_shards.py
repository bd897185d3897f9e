"""Files of done jobs packed into shards: nothing torn, nothing lost, nothing twice; read alike wherever they lie."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from campaigns import PACED, assert_whole, done_count, write_colors
from clients import run_for_tabs, start_for_tabs
from nights import GONE, Night, commit, content_of, members_of
from pictures import picture
from PIL import Image
from processes import within
from waiting import wait_until

from runner.errors import ArtifactError, LeaseLost, UsageError
from runner.export import ExportOptions, export
from runner.job import Checkpoint
from runner.report import explain_job, open_database
from runner.results import RenderJob, ResultsFolder, recover
from runner.results.verify import fix
from runner.store import Store

# webdataset 1.0 leaves files to the garbage collector when it reads.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SCRIPT = Path(__file__).parents[1] / "scripts" / "crash_packed.py"


@pytest.fixture
def night(sqlite_store, tmp_path):
    night = Night(sqlite_store, tmp_path / "results")
    yield night
    night.results.close()


def test_a_job_is_a_sample_of_its_files_and_its_record(night):
    """tar and WebDataset read it; the JSON has the job's record as metrics.pkl has it."""
    import webdataset

    worker_id = night.store.start_worker(night.id)
    night.complete(worker_id, 12)
    night.results.close()
    night.store.end_worker(worker_id)
    night.assert_whole()
    (shard,) = night.shards()
    listed = subprocess.run(["tar", "-tf", shard], capture_output=True, text=True, check=True)
    assert listed.stderr == "" and len(listed.stdout.split()) == 36
    samples = webdataset.WebDataset(str(shard), shardshuffle=False).decode()
    records = [sample["json"] for sample in samples]
    assert [record["n"] for record in records] == list(range(12))
    assert records[0].keys() >= {"key", "attempt", "grab_ts", "done_ts", "duration_s", "odd", "artifacts"}


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_kill_or_a_power_cut_leaves_is_taken_over_or_cut_off(store, tmp_path, seed):
    """Any last commits and bytes lost, garbage behind: what is whole is not rendered again, nothing torn is left."""
    chance = random.Random(seed)
    night = Night(store, tmp_path / "results")
    dead = store.start_worker(night.id, GONE)
    results = night.folder(shard_bytes=chance.choice((2000, 4000, 1 << 20)))
    ends = {}
    for lost in (False, chance.random() < 0.5, True):
        for one in results.keep(night.finished(dead, chance.randint(1, 4), results)):
            ends.setdefault(one.shard.path, []).append((one.shard.size, not lost))
            if not lost:
                commit(store, [one])
    results.close()
    least = most = 0
    for path, told in ends.items():
        file = night.root / path
        committed = max([size for size, is_committed in told if is_committed], default=0)
        size = chance.randint(committed, file.stat().st_size)
        os.truncate(file, size)
        least += sum(committed < end <= size for end, _ in told)
        # It may be cut in the padding behind the last one.
        most += sum(committed < end < size + 512 for end, _ in told)
        if chance.random() < 0.5:
            with open(file, "ab") as opened:
                opened.write(chance.choice((bytes(700), chance.randbytes(700))))
    assert least <= night.finish() <= most
    night.assert_whole()
    assert night.finish() == 0


def test_a_shard_whose_writer_lives_is_left_alone(night):
    """Its tail is a group on its way to the database; and what another database's worker wrote is nobody's here."""
    store = night.store
    alive = store.start_worker(night.id)
    night.results.keep(night.finished(alive, 3))
    (shard,) = night.shards()
    other = shard.with_name("abc-1-0001.tar")
    shutil.copy(shard, other)
    size = shard.stat().st_size
    assert recover(store, night.id, store.start_worker(night.id), night.folder()) == 0
    assert shard.stat().st_size == other.stat().st_size == size
    findings = night.verify()
    assert findings.tails == [] and findings.orphaned == ["night/shards/abc-1-0001.tar"]


def test_a_sample_that_the_database_knows_better_about_is_not_taken_over(night):
    """An attempt that was handed back, or another campaign file's, is rendered again."""
    store = night.store
    dead = store.start_worker(night.id, GONE)
    released, other = night.finished(dead, 2)
    night.results.keep([released])
    night.results._file_sha256 = "cd" * 32
    night.results.keep([other])
    night.results.close()
    store.release(released[0])
    assert night.finish() == 0
    night.assert_whole()


def test_a_shard_holds_each_job_once_after_another_took_one_of_a_group(night):
    """The second of three packed jobs was claimed before the shard was looked at: its sample is not left there."""
    store = night.store
    dead = store.start_worker(night.id, GONE)
    finished = night.finished(dead, 3)
    night.results.keep(finished)
    night.results.close()
    store.release(finished[1][0])
    assert night.finish() == 1
    night.assert_whole()
    samples = [name.split("-")[0] for shard in night.shards() for name in members_of(shard)]
    assert len(samples) == len(set(samples)) == 12, samples


def test_each_process_writes_its_own_shards_and_begins_new_ones_by_size(night):
    """Two that work at once share no file; one that was taken for dead and came back goes on in a new one."""
    store = night.store
    workers = [store.start_worker(night.id) for _ in range(2)]
    folders = [night.folder(shard_bytes=3000) for _ in range(2)]
    for _ in range(2):
        for worker_id, results in zip(workers, folders):
            night.complete(worker_id, 2, results)
    returned = store.come_back(workers[0], night.id)
    last = night.complete(returned, 1, folders[0])
    for results in folders:
        results.close()
    names = [file.name.split("-")[0] for file in night.shards()]
    assert set(names) == {f"{worker_id:x}" for worker_id in (*workers, returned)} and len(names) > 3
    assert f"{returned:x}-" in last[0].shard.path
    store.end_worker(returned)
    night.finish()
    night.assert_whole()


def test_a_group_that_cannot_be_written_leaves_nothing_behind(night, monkeypatch):
    """As on a full disk: no attempt of the group is kept, and the next one goes to a shard that is whole."""
    store = night.store
    worker_id = store.start_worker(night.id)
    night.complete(worker_id, 2)
    group = night.finished(worker_id, 2)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        assert [str(error) for error in night.results.keep(group)] == [
            "[Errno 28] No space left on device"
        ] * 2
    commit(store, night.results.keep(group))
    night.results.close()
    store.end_worker(worker_id)
    night.finish()
    night.assert_whole()


def test_files_whose_names_would_meet_in_a_sample_are_refused(night):
    """A folder becomes a dot there, and 'json' is the record's: the job fails by name, before anything is written."""
    (lease,) = night.store.claim(night.store.start_worker(night.id), night.id)
    with ThreadPoolExecutor(1) as writer:
        for first, second in (("a/b.bin", "a.B.bin"), ("x", "JSON")):
            files = RenderJob(lease, night.results, writer)
            files.save(first, b"")
            files.save(second, b"")
            with pytest.raises(ArtifactError, match="job job0: in a shard"):
                files.finish()
    assert not (night.root / "night").exists()


def test_steps_are_kept_in_a_folder_until_their_job_is_packed(night):
    """A crash between two steps costs no step; a done job is one sample, and no folder is left of it."""
    store = night.store
    dead = store.start_worker(night.id, GONE)
    (lease,) = store.claim(dead, night.id)
    with ThreadPoolExecutor(1) as writer:
        files = RenderJob(lease, night.results, writer)
        files.save("first.bin", b"before the steps")
        recorded = []
        files._persist = lambda make: writer.submit(lambda: recorded.append(make()))
        for number in files.steps(2):
            files.save(f"{number}.bin", b"%d" % number)
            if number == 1:
                break
        files._recording.result()
        store.checkpoint(lease, recorded[0])
        store.reap(night.id, lease_s=60.0)
        worker_id = store.start_worker(night.id)
        (lease,) = store.claim(worker_id, night.id, job=(lease.job_id, lease.attempt))
        checkpoint = store.reader.checkpoint_of(lease)
        assert checkpoint == Checkpoint(1, checkpoint.artifacts, {}) and len(checkpoint.artifacts) == 2
        files = RenderJob(lease, night.results, writer, checkpoint)
        for number in files.steps(2):
            files.save(f"{number}.bin", b"%d" % number)
        outcome = files.finish()
        (kept,) = commit(store, night.results.keep([(lease, outcome)]))
        assert night.results.has_leftovers(lease, outcome)
        night.results.clean_up(lease, outcome)
    night.results.close()
    (shard,) = night.shards()
    sample = members_of(shard)["00000001-2"]
    assert {name: sample[name] for name in sorted(sample) if name != "json"} == {
        "0.bin": b"0",
        "1.bin": b"1",
        "first.bin": b"before the steps",
    }
    assert all(map(night.results.is_whole, kept.outcome.artifacts))
    assert not list((night.root / "night").glob("jobs/*/*"))


def test_an_attempt_that_saves_very_much_is_not_kept_in_memory(night, monkeypatch):
    """Beyond some megabytes its files go to its folder, from where they are packed."""
    monkeypatch.setattr("runner.results.folder._MOST_HELD", 100)
    worker_id = night.store.start_worker(night.id)
    finished = night.finished(worker_id, 12)
    assert list((night.root / "night" / "jobs").glob("*/*/rgb.bin"))
    commit(night.store, night.results.keep(finished))
    for lease, outcome in finished:
        if night.results.has_leftovers(lease, outcome):
            night.results.clean_up(lease, outcome)
    night.results.close()
    night.store.end_worker(worker_id)
    assert not list((night.root / "night" / "jobs").glob("*/*"))
    night.assert_whole()


def test_a_lease_that_was_lost_costs_the_others_of_its_group_nothing(night):
    """Its sample stays in the shard and is no row's: the row of the shard tells that there is one more."""
    store = night.store
    worker_id = store.start_worker(night.id)
    kept = night.results.keep(night.finished(worker_id, 3))
    store.release(kept[1].lease)
    with pytest.raises(LeaseLost):
        commit(store, kept)
    commit(store, kept[:1]), commit(store, kept[2:])
    (shard,) = store.reader.shards(night.id)
    assert shard.jobs == 3 and store.reader.progress(night.id).done == 2


def done(night):
    worker_id = night.store.start_worker(night.id)
    night.complete(worker_id, 6)
    night.results.close()
    results = night.folder()
    night.complete(worker_id, 6, results)
    results.close()
    night.store.end_worker(worker_id)
    return night


def damage(night, key, name="rgb.bin"):
    (row,) = [
        row for row in night.store.reader.artifacts(night.id) if (row["key"], row["name"]) == (key, name)
    ]
    with open(night.root / row["path"], "r+b") as file:
        file.seek(row["start"])
        file.write(b"changed")
    return night.root / row["path"]


def test_verify_finds_a_changed_frame_in_a_shard_and_fix_has_it_rendered_again(night):
    """The shard itself stays where it is, with all others in it."""
    done(night)
    file = damage(night, "job3")
    size = file.stat().st_size
    findings = night.verify()
    assert [(hit["key"], hit["name"]) for hit in findings.changed] == [("job3", "rgb.bin")]
    fix(night.store, night.store.reader.campaign(night.id), findings)
    assert findings.requeued == 1 and findings.set_aside == 0 and file.stat().st_size == size
    night.finish()
    assert night.verify().is_well
    (row,) = [row for row in night.store.reader.jobs(night.id) if row["key"] == "job3"]
    assert (row["status"], row["attempt"]) == ("done", 2)


def test_a_lost_shard_is_missing_files(night):
    """Its jobs are named, and no others; a tail of a finished campaign is cut off by --fix."""
    done(night)
    first, second = night.shards()
    second.unlink()
    with open(first, "ab") as file:
        file.write(b"torn")
    findings = night.verify()
    assert {hit["key"] for hit in findings.missing} <= {f"job{n}" for n in range(12)}
    assert len(findings.missing) == 12 and findings.tails == [f"night/shards/{first.name}"]
    fix(night.store, night.store.reader.campaign(night.id), findings)
    night.finish()
    assert night.verify().is_well and night.verify().tails == []


@pytest.fixture
def table(night):
    done(night)
    with open_database(night.store.database.file) as campaigns:
        yield campaigns["night"]


def test_bytes_are_read_alike_wherever_they_lie(table, night):
    """By job and name, checked by their hash; a row tells where they are."""
    assert table.read("job3", "views/left.bin") == b"left 3" and table.read("job7", "rgb.bin") == content_of(
        7
    )
    with pytest.raises(UsageError, match=r"no file 'x.bin' of job job3; its files: rgb.bin, views/left.bin"):
        table.read("job3", "x.bin")
    damage(night, "job3")
    with pytest.raises(UsageError, match=r"rgb.bin of job job3 is changed, in .*from byte"):
        table.read("job3", "rgb.bin")
    files = table.to_frame()["artifacts"][3]
    assert files[0]["start"] > 0 and files[0]["path"].startswith("night/shards/")


def test_webdataset_links_shards_and_copies_what_lies_among_others(table, night, tmp_path):
    """The linked files are the very same; what was requeued since is left behind, and the rest of its shard copied."""
    exported = export(table, night.root, "webdataset", tmp_path / "all")
    linked = sorted((tmp_path / "all").iterdir())
    assert [file.stat().st_ino for file in linked] == [file.stat().st_ino for file in night.shards()]
    assert exported.jobs == 12 and "2 shards were linked, not copied" in exported.notes[0]
    inode = {file: file.stat().st_ino for file in night.shards()}
    changed = damage(night, "job3")
    fix(night.store, night.store.reader.campaign(night.id), night.verify())
    night.finish()
    exported = export(table, night.root, "webdataset", tmp_path / "again")
    assert (
        exported.jobs == 12 and "2 shards were linked" in exported.notes[0] and "5 jobs" in exported.notes[0]
    )
    files = sorted((tmp_path / "again").iterdir())
    assert inode[changed] not in {file.stat().st_ino for file in files} and len(files) == 3
    samples = [sample for file in files for sample in members_of(file).values()]
    assert sorted(sample["views.left.bin"] for sample in samples) == sorted(b"left %d" % n for n in range(12))
    ordered = export(table, night.root, "webdataset", tmp_path / "ordered", ExportOptions(order=("-n",)))
    assert ordered.notes == ()
    (file,) = (tmp_path / "ordered").iterdir()
    assert next(iter(members_of(file).values()))["views.left.bin"] == b"left 11"


def test_folder_writes_what_a_run_that_packs_nothing_keeps(table, night, tmp_path):
    """0000/KEY/NAME for each file, from either kind."""
    export(table, night.root, "folder", tmp_path / "files")
    found = {
        path.relative_to(tmp_path / "files").as_posix(): path.read_bytes()
        for path in (tmp_path / "files").rglob("*.bin")
    }
    assert len(found) == 24 and found["0000/job5/views/left.bin"] == b"left 5"


def test_a_table_is_the_same_for_both_kinds(table, night, tmp_path):
    """But for where the files lie."""
    export(table, night.root, "jsonl", tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["n"] for row in rows] == list(range(12))
    assert all(file["start"] > 0 for row in rows for file in row["artifacts"])


def test_pictures_are_shown_from_shards(sqlite_store, tmp_path):
    """In sheets and on the page; a job that is explained names its shard and the member."""
    from runner.report import page_of
    from runner.run.sheets import draw_sheets

    night = Night(sqlite_store, tmp_path / "results", count=4)
    worker_id = sqlite_store.start_worker(night.id)
    with ThreadPoolExecutor(1) as writer:
        finished = []
        for lease in sqlite_store.claim(worker_id, night.id, 4):
            files = RenderJob(lease, night.results, writer)
            files.save("rgb.jpg", picture("jpeg"))
            finished.append((lease, files.finish()))
    commit(sqlite_store, night.results.keep(finished))
    night.results.close()
    draw_sheets(sqlite_store.reader, night.id, ResultsFolder(night.root, "night"))
    with Image.open(night.root / "night/contact_sheet.jpg") as sheet:
        low, high = sheet.convert("L").getextrema()
        assert high - low > 100
    campaign = sqlite_store.reader.campaign(night.id)
    page = page_of(sqlite_store.reader, campaign)
    assert all(one.thumbnail and one.part for one in page.gallery.sheet) and len(page.gallery.sheet) == 4
    (file,) = explain_job(sqlite_store.reader, campaign, "job2").files
    shard, member = file.rsplit(":", 1)
    out = subprocess.run(["tar", "-xOf", shard, member], capture_output=True, check=True)
    assert out.stdout == picture("jpeg")


@pytest.mark.parametrize("kind", ["shards", "folders", "stored"])
@pytest.mark.slow
def test_a_storm_of_kills_loses_doubles_and_tears_nothing(kind, tmp_path):
    """Writers SIGKILLed at random moments: each job done once, its frame whole, each shard whole from end to end."""
    seed = os.environ.get("RUNNER_TEST_SEED", "1")
    command = [sys.executable, SCRIPT, "--jobs", "600", "--kills", "6", "--shard-mb", "0.5", "--seed", seed]
    command += ["--remote", f"file://{tmp_path}/bucket"] if kind == "stored" else ["--kind", kind]
    storm = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert storm.returncode == 0, storm.stdout + storm.stderr


@pytest.mark.slow
def test_a_packed_campaign_from_its_start_to_its_export(tmp_path):
    """run --pack, SIGKILL, the same again, verify, a shard damaged, --fix, run, export: each frame its own job's."""
    count = 60
    file = write_colors(tmp_path, count, PACED)
    process, _ = start_for_tabs(file, "--pack")
    wait_until(lambda: done_count(tmp_path) >= 10, "the first jobs")
    process.kill()
    process.wait()
    end = run_for_tabs(file, "--pack")
    assert end.returncode == 0, end.stderr
    assert_whole(tmp_path, count)
    assert not (tmp_path / "results/colors/jobs").exists()
    database = tmp_path / "runner.db"
    assert "60 files of 60 done jobs: all are whole" in within("verify", "--db", database).stdout
    with Store(database) as store:
        damaged = store.reader.artifacts(1)[7]
    with open(tmp_path / "results" / damaged["path"], "r+b") as shard:
        shard.seek(damaged["start"] + 20)
        shard.write(b"damaged")
    assert "1 jobs requeued" in within("verify", "--fix", "--db", database).stdout
    # Without --pack, the job that is rendered again has a folder of its own.
    assert run_for_tabs(file).returncode == 0
    assert_whole(tmp_path, count)
    linked = within("export", "webdataset", tmp_path / "shards", "--db", database)
    assert linked.exit_code == 0 and "linked, not copied" in linked.stderr, linked.stderr
    folders = within("export", "folder", tmp_path / "folders", "--db", database)
    assert folders.exit_code == 0 and len(list((tmp_path / "folders").glob("0000/*/rgb.jpg"))) == count
