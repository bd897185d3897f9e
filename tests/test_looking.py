"""Looking writes nothing: not in another program's file, not in one's own, and where nothing may be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from needs import missing

import runner
from runner.cli import main
from runner.errors import StoreError
from runner.job import Outcome, Place
from runner.results import MetricsLog, RenderJob, ResultsFolder
from runner.store import Access, Reader, Store

LOOKS = [
    ("status",), ("report",), ("verify",), ("export", "csv", "jobs.csv"), ("pause",), ("cancel",), ("retry",), ("log",),
]  # fmt: skip


def command(*words: object) -> tuple[int, str]:
    """The exit status and all output of a command, in this process."""
    end = CliRunner().invoke(main, [str(word) for word in words])
    return end.exit_code, end.output


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file below the folder with its time and its content."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def finished(tmp_path) -> Path:
    """A folder with a finished campaign of three jobs, a file each: runner.db and results."""
    folder = tmp_path / "finished"
    folder.mkdir()
    with Store(folder / "runner.db") as store, ThreadPoolExecutor(1) as executor:
        results = ResultsFolder(folder / "results", "night")
        campaign_id, _ = store.submit(
            "night", ({"n": n} for n in range(3)), place=Place(results=str(folder / "results"))
        )
        worker_id = store.start_worker(campaign_id)
        for lease in store.claim(worker_id, campaign_id, 3):
            files = RenderJob(lease, results, executor)
            files.save("depth.bin", b"depth")
            files.log(loss=float("nan"))
            store.complete(lease, files.finish())
        store.end_worker(worker_id)
        log = MetricsLog(store, campaign_id, results)
        log.sync()
        log.close()
    return folder


@pytest.fixture
def archive(finished, tmp_path):
    """The same in a place where nothing may be written."""
    place = tmp_path / "archive"
    place.mkdir()
    if os.geteuid() != 0:
        shutil.copytree(finished, place, dirs_exist_ok=True)
        folders = [place, *(path for path in place.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        yield place
        for folder in folders:
            folder.chmod(0o755)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        missing("the right to mount a disk")
    shutil.copytree(finished, place, dirs_exist_ok=True)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_another_program_s_database_is_refused_by_name_and_left_alone(tmp_path, mode):
    """By every command and by every way of opening; not a byte of it changes, and nothing is made beside it."""
    file = tmp_path / "bookmarks.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE moz_places (url TEXT)")
        # A name that other programs use, too.
        connection.execute("CREATE TABLE schema_version (version INTEGER)")
        connection.commit()
    before = state_of(tmp_path)
    for words in LOOKS:
        status, output = command(*words, "--db", file)
        assert status == 2 and "another program's database" in output and "moz_places" in output, words
    for access in Access:
        with pytest.raises(StoreError, match="moz_places"):
            Store(file, access=access)
    with pytest.raises(StoreError, match="moz_places"):
        runner.open(file)
    with pytest.raises(StoreError, match="moz_places"):
        runner.JobQueue(file)
    assert state_of(tmp_path) == before


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_another_program_s_tables_on_a_server_are_refused_by_name(database_url):
    """A table that is called as one of ours is not ours; others beside them do not matter."""
    import sqlalchemy as sa

    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE job (title TEXT)")
    with pytest.raises(StoreError, match=r"tables of another program \(job\)"):
        Store(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE job RENAME TO position")
    Store(database_url).close()
    engine.dispose()


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    """Only a run or an addition makes one; neither does an empty file become one."""
    (tmp_path / "empty.db").touch()
    for name in ("empty.db", "none.db", "no/folder.db"):
        for words in LOOKS:
            status, output = command(*words, "--db", tmp_path / name)
            assert status == 2 and output.startswith("runner: there is no "), (words, output)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_looking_at_one_s_own_leaves_every_file_as_it_was(finished):
    """No byte, no time, no file beside it."""
    before = state_of(finished)
    for words in (("status",), ("report",), ("verify",)):
        assert command(*words, "--db", finished / "runner.db")[0] == 0, words
    with runner.open(finished / "runner.db") as campaigns:
        assert len(campaigns["night"].to_frame()) == 3
    assert state_of(finished) == before


def test_a_finished_campaign_can_be_read_where_nothing_may_be_written(archive, tmp_path):
    """Status, report, verify, export and runner.open; what would change it says in one line that it cannot."""
    database = archive / "runner.db"
    assert command("status", "--db", database) == (
        0,
        "night: 3 of 3 done, 0 failed, 0 in progress, 0 pending\n",
    )
    assert command("report", "--db", database)[0] == 0
    status, output = command("verify", "--db", database)
    assert status == 0 and "all are whole" in output, output
    assert command("export", "csv", tmp_path / "jobs.csv", "--db", database)[0] == 0
    assert len((tmp_path / "jobs.csv").read_text().splitlines()) == 4
    with runner.open(database) as campaigns:
        assert campaigns["night"].to_frame()["loss"].isna().all()
    for words in (("pause",), ("retry",), ("verify", "--fix"), ("log",)):
        status, output = command(*words, "--db", database)
        assert status == 2 and "may not be written to" in output.splitlines()[-1], output


def test_what_is_in_the_log_alone_is_read_or_missed_aloud(finished, tmp_path):
    """A database that was copied with its log to where nothing may be written is never read without it."""
    with closing(sqlite3.connect(finished / "runner.db")) as writer:
        writer.execute("UPDATE campaign SET done = 2")
        writer.commit()
        place = tmp_path / "archive"
        place.mkdir()
        for name in ("runner.db", "runner.db-wal"):
            shutil.copy(finished / name, place)
    code = (
        "import os, sys; import runner.store, sqlalchemy.dialects.sqlite.pysqlite\n"
        "if os.geteuid() == 0: os.setresuid(65534, 65534, 65534)\n"
        "with runner.store.Reader(sys.argv[1]) as reader: print(reader.progress(1).done)"
    )
    for folder in (place, *place.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    place.chmod(0o555)
    end = subprocess.run(
        [sys.executable, "-c", code, place / "runner.db"], capture_output=True, text=True, cwd=tmp_path
    )
    place.chmod(0o755)
    told = "its last changes are in runner.db-wal, and its folder may not be written to"
    assert end.stdout == "2\n" or told in end.stderr, end


def test_looking_sees_what_a_run_has_just_written(tmp_path):
    """A database that is open elsewhere is read with its log, and may go on."""
    with Store(tmp_path / "runner.db") as store, Reader(tmp_path / "runner.db") as reader:
        campaign_id, _ = store.submit("night", [{"n": 1}])
        worker_id = store.start_worker(campaign_id)
        (lease,) = store.claim(worker_id, campaign_id)
        assert reader.progress(campaign_id).in_progress == 1
        store.complete(lease, Outcome())
        assert reader.progress(campaign_id).done == 1
        with pytest.raises(AssertionError, match="only looks"), reader.database.write():
            pass
