"""Shards in an object store: whole there before they go from here, whatever fails in between, and read as ever."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import uuid

import fsspec
import pytest
from buckets import BUCKET, S3Server
from campaigns import number_in, write_colors
from clients import run_for_tabs
from nights import Night, content_of, members_of
from processes import within
from waiting import wait_until

from runner.errors import StoreError, UsageError, WorldFault
from runner.export import ExportOptions, export
from runner.job import ShardEnd, StoredBytes
from runner.machine import Guard
from runner.report import explain_job, open_database, status_of, summarize
from runner.results import ResultsFolder, move_shards, moved_of, probe, remote, settle_moved
from runner.results.verify import fix
from runner.run.mover import Mover

# webdataset 1.0 leaves files to the garbage collector when it reads.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
LEFT = "views/left.bin"


@pytest.fixture(scope="module")
def server():
    server = S3Server()
    before = dict(os.environ)
    os.environ.update(server.environment)
    # fsspec keeps what it made for an address: the server before, if this file's tests run in two parts.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    fs, _ = remote._opened(f"s3://{BUCKET}")
    fs.mkdir(BUCKET)
    # Its own tries would hide what is tested, and take their time.
    fs.retries = 1
    yield server
    server.close()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def s3(server):
    """A place in the bucket that no other test uses."""
    server.requests.clear()
    server.faults.clear()
    server.held.clear()
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def memory():
    return f"memory://{uuid.uuid4().hex}"


class RemoteNight(Night):
    """A packed campaign of twelve jobs in two closed shards."""

    def __init__(self, store, root, url, count=12):
        super().__init__(store, root, count, url)
        self.url = url
        worker_id = store.start_worker(self.id)
        for part in range(2):
            self.complete(worker_id, count - count // 2 if part else count // 2)
            self.results.close()
        store.end_worker(worker_id)

    def move(self):
        return move_shards(self.store, self.id, self.results, self.url)

    def reading(self):
        return ResultsFolder(self.root, "night", moved=moved_of(self.store.reader, self.id))

    def here(self):
        return sorted((self.root / "night" / "shards").glob("*"))

    def assert_stored(self):
        """All is there, told and whole, and nothing is left here."""
        stored = self.store.reader.stored_bytes(self.id)
        assert stored.waiting == 0 and stored.shards == len(self.store.reader.shards(self.id))
        assert self.here() == []
        findings = self.verify()
        assert findings.is_well and findings.files == 2 * findings.jobs, findings
        for shard in self.store.reader.shards(self.id):
            address = self.store.reader.shard_addresses(self.id)[shard.path]
            assert remote.object_size(address) == shard.size


@pytest.fixture
def night(sqlite_store, tmp_path, memory):
    return RemoteNight(sqlite_store, tmp_path / "results", memory)


@pytest.fixture
def s3_night(sqlite_store, tmp_path, s3):
    return RemoteNight(sqlite_store, tmp_path / "results", s3)


def test_closed_shards_are_moved_and_an_open_one_stays(sqlite_store, tmp_path, memory):
    """What a process still writes is its own; a tail that is in no row is no reason to move what is torn."""
    night = RemoteNight(sqlite_store, tmp_path / "results", memory, count=6)
    night.store.add(night.id, [("late0", {"n": 20}), ("late1", {"n": 21})])
    torn = night.here()[0]
    worker_id = night.store.start_worker(night.id)
    night.complete(worker_id, 1)
    with open(torn, "ab") as file:
        file.write(b"of an attempt whose row is to come")
    assert night.move() == 1
    assert len(night.here()) == 2 and torn in night.here()
    assert night.store.reader.stored_bytes(night.id).waiting > 0
    night.complete(worker_id, 1)
    night.results.close()
    night.store.end_worker(worker_id)
    # All are done: what is in no row is nothing.
    assert night.move() == 2
    night.assert_stored()


def test_a_shard_is_closed_by_its_age(night):
    """So that the loss of the machine costs little, also while no job comes."""
    night.store.add(night.id, [("late", {"n": 20})])
    worker_id = night.store.start_worker(night.id)
    night.complete(worker_id, 1)
    night.results.close_older_than(3600.0)
    assert night.move() == 2 and len(night.here()) == 1
    night.results.close_older_than(-1.0)
    assert night.move() == 1 and night.here() == []


def test_the_name_of_a_shard_that_was_moved_is_not_given_again(night):
    """Else its object would be overwritten by the next one."""
    night.store.add(night.id, [(f"late{n}", {"n": 20 + n}) for n in range(3)])
    worker_id = night.store.start_worker(night.id)
    for results in (night.results, night.results, night.folder()):
        night.complete(worker_id, 1, results)
        results.close()
        assert night.move() > 0
    night.assert_stored()
    assert len(night.store.reader.shards(night.id)) == 5


def test_no_row_lets_a_shard_grow_that_was_moved(store):
    """It is moved once, as large as it was told; what would be written into it later is refused."""
    campaign_id = store.add_campaign("night")
    store.add(campaign_id, [{"n": 0}, {"n": 1}, {"n": 2}])
    first, second, third = store.claim(store.start_worker(campaign_id), campaign_id, 3)
    shard, other = ShardEnd("night/a.tar", 10, 1), ShardEnd("night/b.tar", 5, 1)
    store.complete_many([(first, None), (second, None)], shards=[shard, other])
    assert not store.move_shard(campaign_id, shard._replace(size=9), "s3://x/night/a.tar")
    assert store.move_shard(campaign_id, shard, "s3://x/night/a.tar")
    assert not store.move_shard(campaign_id, shard, "s3://elsewhere/night/a.tar")
    assert store.reader.shard_addresses(campaign_id) == {"night/a.tar": "s3://x/night/a.tar"}
    assert store.reader.shard_addresses(campaign_id, "night/b.tar") == {}
    assert store.reader.shards_here(campaign_id) == [other]
    assert store.reader.stored_bytes(campaign_id) == StoredBytes(shards=1, moved=10, waiting=5)
    with pytest.raises(StoreError, match="can take no more jobs"):
        store.complete_many([(third, None)], shards=[shard._replace(size=20, jobs=2)])
    assert store.reader.progress(campaign_id).done == 2


def test_moved_files_are_read_as_ever(night, tmp_path):
    """By name, by verify, by explain and by all exports; a changed or lost object is found, and its jobs named."""
    before = {}
    with open_database(night.store.database.file) as campaigns:
        table = campaigns["night"]
        export(table, night.root, "csv", tmp_path / "before.csv")
        before = {n: table.read(f"job{n}", "rgb.bin") for n in range(12)}
        assert night.move() == 2
        night.assert_stored()
        assert {n: table.read(f"job{n}", "rgb.bin") for n in range(12)} == before
        assert before[7] == content_of(7) and table.read("job3", LEFT) == b"left 3"
        export(table, night.root, "csv", tmp_path / "after.csv")
        assert (tmp_path / "after.csv").read_bytes() == (tmp_path / "before.csv").read_bytes()
        exported = export(table, night.root, "webdataset", tmp_path / "shards")
        assert exported.jobs == 12 and "2 shards were taken whole" in exported.notes[0]
        samples = [
            sample for file in sorted((tmp_path / "shards").iterdir()) for sample in members_of(file).values()
        ]
        assert sorted(one["views.left.bin"] for one in samples) == sorted(b"left %d" % n for n in range(12))
        export(table, night.root, "webdataset", tmp_path / "again", ExportOptions(order=("-n",)))
        export(table, night.root, "folder", tmp_path / "files")
        assert (tmp_path / "files/0000/job5/views/left.bin").read_bytes() == b"left 5"
        (file, _) = explain_job(night.store.reader, night.store.reader.campaign(night.id), "job5").files
        assert file.startswith(f"{night.url}/night/shards/") and file.endswith(".tar:00000006.rgb.bin")


def test_verify_tells_a_lost_object_from_a_store_that_is_away(night, monkeypatch):
    """--fix has the jobs of a lost object rendered again, and touches none while the store cannot be asked."""
    import fsspec

    night.move()
    campaign = night.store.reader.campaign(night.id)

    def away(*_, **__):
        raise ConnectionError("no route")

    with monkeypatch.context() as patch:
        patch.setattr(remote, "_opened", away)
        findings = night.verify()
        # Three of them are empty, for which nobody need be asked.
        assert len(findings.unreadable) == 21 and findings.missing == findings.changed == []
        fix(night.store, campaign, findings)
        assert findings.requeued == 0
    probe(night.url, "night")
    lost, _ = sorted(night.store.reader.shard_addresses(night.id).values())
    fsspec.filesystem("memory").rm(lost)
    findings = night.verify()
    assert {hit["key"] for hit in findings.missing} in (
        {f"job{n}" for n in range(6)},
        {f"job{n}" for n in range(6, 12)},
    )
    with monkeypatch.context() as patch:
        patch.setattr(remote, "_opened", away)
        with pytest.raises(WorldFault, match="cannot be reached now"):
            fix(night.store, campaign, findings)
    fix(night.store, campaign, findings)
    assert findings.requeued == 6
    night.finish()
    night.move()
    assert night.verify().is_well and night.here() == []


def test_objects_of_an_earlier_database_are_told(night):
    """Whoever reads all tar files there would read their frames, too."""
    import fsspec

    night.move()
    assert night.verify().orphaned == []
    other = f"{night.url}/night/shards/abc-1-0001.tar"
    fsspec.filesystem("memory").pipe_file(other, b"")
    assert night.verify().orphaned == [other] and night.verify().is_well


def test_a_store_that_does_not_answer_is_not_asked_for_each_of_a_million_files(night, monkeypatch):
    """After some reads that failed in a row it is let be for a while."""
    night.move()
    asked = []

    def away(address):
        asked.append(address)
        raise ConnectionError("no route")

    monkeypatch.setattr(remote, "_opened", away)
    monkeypatch.setattr(remote, "_MOST_FAILURES", 3)
    (address, _) = night.store.reader.shard_addresses(night.id).values()
    for _ in range(20):
        with pytest.raises(OSError, match=r"no route|did not answer"):
            remote.read_part(address, 0, 10)
    assert len(asked) == 3


def test_status_and_report_tell_what_still_waits(night):
    """Bytes on the disk, and where they go; all done is no verdict before all is there."""
    reader = night.store.reader
    campaign = reader.campaign(night.id)
    waiting = reader.stored_bytes(night.id).waiting
    assert status_of(reader, campaign).waiting_bytes == waiting > 0
    assert f"on the disk for {night.url}" in str(status_of(reader, campaign))
    assert "not all of their files are in memory://" in summarize(reader, campaign).verdict
    night.move()
    assert status_of(reader, campaign).waiting_bytes == 0
    summary = summarize(reader, campaign)
    assert summary.verdict == "night: all 12 jobs are done" and summary.stored.stored_bytes == waiting


@pytest.mark.parametrize("fault", ["error", "cut", "mute", "denied"])
@pytest.mark.slow
def test_a_store_that_fails_costs_nothing_but_time(s3_night, server, fault):
    """500s, refusals, connections cut within an upload or before its answer: nothing is moved that is not there."""
    with server.failing(fault), pytest.raises(WorldFault, match=f"{s3_night.url} accepts no files now"):
        s3_night.move()
    assert len(s3_night.here()) == 2 and s3_night.store.reader.stored_bytes(s3_night.id).shards == 0
    assert s3_night.verify().is_well
    server.requests.clear()
    assert s3_night.move() == 2
    s3_night.assert_stored()
    # An upload whose answer was lost is not done again: its object is looked at first.
    assert len(server.sent()) == (1 if fault == "mute" else 2)


@pytest.mark.slow
def test_large_shards_go_in_parts_or_not_at_all(tmp_path, s3, server, monkeypatch):
    """A part that is lost leaves no object, and nothing that is paid for; the sum of parts is what is compared."""
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda *_, **__: 5 << 20)
    monkeypatch.setattr(remote, "_S3_PART", 5 << 20)
    file, address = tmp_path / "large.tar", f"{s3}/large.tar"
    file.write_bytes(os.urandom(1 << 20) * 11)
    fs, _ = remote._opened(address)
    with open(file, "rb") as opened:
        # The beginning, a part, and then no part more.
        server.faults[:] = ["", ""] + ["cut"] * 40
        with pytest.raises(OSError):
            remote.send(file, opened, address)
        server.faults.clear()
        assert remote.object_size(address) is None
        remote.send(file, opened, address)
        server.requests.clear()
        monkeypatch.setattr(fs, "cat_file", lambda *_, **__: pytest.fail("its checksum was enough"))
        remote.send(file, opened, address)
    assert server.requests == [] and remote.object_size(address) == file.stat().st_size


KILLED = """
import os, signal, sys
from runner.results import PackedResults, move_shards
from runner.store import Store

store = Store(sys.argv[1])
at = sys.argv[4]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if at == "before the row":
    store.move_shard = die
else:
    store.database.make_durable = die
move_shards(store, 1, PackedResults(sys.argv[2], "night"), sys.argv[3])
"""


@pytest.mark.parametrize("at", ["before the row", "after it"])
def test_a_kill_between_two_steps_of_a_move_costs_no_step(s3_night, server, at):
    """The next one finds the object, writes the row that is missing, and removes what is left here."""
    arguments = [s3_night.store.database.file, s3_night.root, s3_night.url, at]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(server.sent()) == 1 and len(s3_night.here()) == 2
    assert s3_night.store.reader.stored_bytes(s3_night.id).shards == (at == "after it")
    settle_moved(s3_night.store, s3_night.id, s3_night.results, s3_night.url)
    s3_night.move()
    assert len(server.sent()) == len(set(server.sent())) == 2
    s3_night.assert_stored()


def test_a_row_that_a_power_cut_took_back_is_written_again(night):
    """The object has the size that the shard's row tells; where it has not, its files are missing."""
    night.move()
    with night.store.database.write() as cursor:
        cursor.run("UPDATE shard SET address = NULL")
    assert len(night.verify().missing) == 24
    settle_moved(night.store, night.id, night.results, night.url)
    night.assert_stored()


def test_two_that_move_at_once_send_each_shard_once(s3_night, server):
    """As two runs on one machine do: a lock on the shard lets one of them."""
    server.faults[:] = ["hold"]
    counts = []
    first = threading.Thread(target=lambda: counts.append(s3_night.move()))
    first.start()
    wait_until(lambda: not server.faults, "the first upload")
    counts.append(s3_night.move())
    server.held.set()
    first.join()
    assert sum(counts) == 2 and len(server.sent()) == 2
    s3_night.assert_stored()


class Said(list):
    def __call__(self, line):
        self.append(line)


def test_while_the_store_is_away_work_waits_on_the_disk_and_then_the_run_pauses(s3_night, server):
    """Said once; the pause has its reason, ends by itself, and what waited is moved."""
    said = Said()
    guard = Guard(said, [])
    server.always = "error"
    of = (s3_night.store, s3_night.id, s3_night.results, s3_night.url, guard)
    with Mover(*of, most_bytes=1000, look_every_s=0.05) as mover:
        guard.probes = [mover.probe]
        wait_until(lambda: mover.trouble, "the fault to be noticed")
        guard.look()
        assert guard.fault is not None
        assert f"wait in {s3_night.root / 'night'}, more than --spool allows" in str(guard.fault)
        assert "accepts no files now" in str(guard.fault)
        server.always = ""
        wait_until(lambda: (guard.look(), guard.fault is None)[1], "the end of the pause")
        assert mover.finish() == 0
    assert [line for line in said if "what is rendered waits in" in line] == said[:1]
    assert f"{s3_night.url} takes files again" in said and len(said) == 4, said
    s3_night.assert_stored()


def test_a_run_ends_without_the_store_after_some_tries(night, monkeypatch):
    """What still waits is told in bytes; nothing was lost."""

    def away(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("runner.run.mover._SHORTEST_WAIT_S", 0.01)
    monkeypatch.setattr(remote, "_opened", away)
    with Mover(night.store, night.id, night.results, night.url, Guard(Said(), []), 1 << 30) as mover:
        assert mover.finish() == night.store.reader.stored_bytes(night.id).waiting > 0
    assert "no route" in mover.trouble and len(night.here()) == 2


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://no-such-bucket/x", "cannot write there .*bucket does not exist.*; nothing was begun"),
        ("ftp://me:secret@host/x", "leave the password out of the URL"),
        ("gopher://x", "no object store is known by gopher://"),
        ("https://example.org/x", "nothing can be written there"),
        ("gs://x/y", r"needs a package that is not here: pip install 'runner\[gs\]'"),
    ],
)
def test_what_cannot_take_files_is_refused_by_name(s3, url, told, monkeypatch):
    """Before a run starts, in one line that says what to do."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UsageError, match=told) as refused:
        probe(url, "night")
    assert "\n" not in str(refused.value)


def test_wrong_credentials_are_told_from_a_store_that_is_away(s3, server):
    """The one is refused, the other may pass; a probe leaves nothing behind."""
    with server.failing("denied"), pytest.raises(UsageError, match=r"AccessDenied as told.*credentials"):
        probe(s3, "night")
    with server.failing("error"), pytest.raises(WorldFault, match="cannot be reached now"):
        probe(s3, "night")
    probe(s3, "night")
    assert remote.names_below(f"{s3}/night") == []


def test_doctor_looks_at_the_store(s3, tmp_path, monkeypatch):
    """An object is written, read and removed; what is wrong there is told before the night."""
    monkeypatch.chdir(tmp_path)
    well = within("doctor", "--sessions", 0, "--results", s3)
    assert f"{s3}: an object was written, read and removed" in well.stdout
    wrong = within("doctor", "--sessions", 0, "--results", "s3://no-such-bucket")
    assert wrong.exit_code == 1 and "bucket does not exist" in wrong.stdout


def test_nothing_of_it_is_imported_by_who_does_not_use_it(tmp_path):
    """A local run, and all that reads, start without fsspec."""
    code = (
        "import sys, runner, runner.results, runner.report, runner.export, runner.cli.group\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('fsspec', 's3fs', 'botocore')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().splitlines()[-1] == "[]"


def test_a_folder_is_meant_where_files_are_only_read(tmp_path):
    """The rows tell where they are; memory ends with the process that renders."""
    write_colors(tmp_path, 2)
    read = within("verify", "--results", "s3://x/y", "--db", tmp_path / "runner.db")
    assert read.exit_code == 2 and "the database itself knows the address" in read.stderr
    rendered = within("run", tmp_path / "colors.py", "--results", "memory://x")
    assert rendered.exit_code == 2 and "ends with this process" in rendered.stderr


@pytest.mark.slow
def test_a_campaign_in_a_store_from_its_start_to_its_export(tmp_path, s3, server):
    """A run whose store goes away ends by name; the same command moves what waited; all is read from there."""
    file = write_colors(tmp_path, 12)
    # The probe passes: it is written and removed.
    server.faults[:] = ["", ""] + ["error"] * 200
    end = run_for_tabs(file, "--results", s3, environment=server.environment)
    assert end.returncode == 8, end.stderr
    lines = end.stderr.strip().splitlines()
    assert "not stored" in lines[-1] and s3 in lines[-1] and "accepts no files now" in lines[-1]
    assert "all 12 jobs are rendered, but not all files are where they belong" in end.stderr
    server.faults.clear()
    end = run_for_tabs(file, "--results", s3, environment=server.environment)
    assert end.returncode == 0 and "all 12 jobs are done" in end.stderr, end.stderr
    assert not list((tmp_path / "results/colors/shards").iterdir())
    database = tmp_path / "runner.db"
    with open_database(database) as campaigns:
        table = campaigns["colors"]
        for row in table.rows():
            picture = io.BytesIO(table.read(row["key"], "rgb.jpg"))
            assert (row["status"], number_in(picture)) == ("done", row["number"])
    assert "12 files of 12 done jobs: all are whole" in within("verify", "--db", database).stdout
    assert within("export", "webdataset", tmp_path / "out", "--db", database).exit_code == 0
    assert f"stored         {s3} (" in within("report", "--db", database).stdout
    page = tmp_path / "page.html"
    assert within("report", "--html", page, "--db", database).exit_code == 0
    assert page.read_text().count("data:image/jpeg") >= 12
