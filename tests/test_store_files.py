"""A database that cannot be used is said in one line, and nothing is changed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from campaigns import GOOD
from processes import run

from runner.errors import StoreError
from runner.job import Outcome
from runner.store import Store


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_filesystem_is_refused_with_the_two_ways_out(tmp_path, monkeypatch, kind):
    """SQLite's log needs locks and shared memory that such filesystems do not have."""
    mounts = [
        SimpleNamespace(mountpoint="/", fstype="ext4"),
        SimpleNamespace(mountpoint=str(tmp_path / "share"), fstype=kind),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    (tmp_path / "share").mkdir()
    with pytest.raises(StoreError, match=rf"{kind}.*a local path with --db.*postgresql://"):
        Store(tmp_path / "share" / "runner.db")
    assert not list((tmp_path / "share").iterdir())
    Store(tmp_path / "runner.db").close()


def test_a_full_disk_is_said_and_changes_nothing(tmp_path):
    """SQLite's own error for a disk that fills in the middle of an addition."""
    with Store(tmp_path / "runner.db") as store:
        campaign_id, _ = store.submit("night", ({"n": n} for n in range(100)))
        worker_id = store.start_worker(campaign_id)
        pages = store.database._door.driver.execute("PRAGMA page_count").fetchone()[0]
        store.database._door.driver.execute(f"PRAGMA max_page_count = {pages + 20}")
        with pytest.raises(StoreError, match="the disk is full; make room"):
            store.add(campaign_id, ({"m": m, "pad": "x" * 500} for m in range(5000)))
        assert store.reader.progress(campaign_id).total == 100 == len(store.reader.jobs(campaign_id))
        (lease,) = store.claim(worker_id, campaign_id)
        store.complete(lease, Outcome())


def test_a_folder_that_may_not_be_written_to_is_said(tmp_path):
    """Without the right to write there is no database, and no traceback."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0o555)
    code = f"from runner.store import Store; Store({str(tmp_path / 'closed' / 'runner.db')!r})"
    as_nobody = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    for folder in tmp_path.parents:
        if as_nobody and folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    if as_nobody:
        # The interpreter may lie where nobody else may look.
        probe = subprocess.run([*as_nobody, sys.executable, "-c", "import runner"], capture_output=True)
        if probe.returncode:
            code = f"import os; os.setresuid(65534, 65534, 65534); {code}"
            code = f"import runner.store, sqlalchemy.dialects.sqlite.pysqlite, psutil; {code}"
            as_nobody = []
    end = subprocess.run([*as_nobody, sys.executable, "-c", code], capture_output=True, text=True)
    assert end.returncode == 1
    # No StoreUnavailable, which a run would wait for.
    assert "errors.StoreError: " in end.stderr
    assert "its folder is missing or may not be written to" in end.stderr.splitlines()[-1]
    assert not list((tmp_path / "closed").iterdir())


@pytest.mark.slow
def test_a_damaged_database_is_found_after_an_unclean_end(tmp_path):
    """After a crash the file is looked through before it is relied on."""
    (tmp_path / "good.py").write_text(GOOD)
    code = (
        "import os; from runner.store import Store; s = Store('runner.db'); "
        "i, _ = s.submit('good', ({'n': n, 'pad': 'x' * 900} for n in range(3000))); "
        "s.claim(s.start_worker(i), i); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    with sqlite3.connect(tmp_path / "runner.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'job_waiting'").fetchone()[
            0
        ]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.close()
    content = bytearray((tmp_path / "runner.db").read_bytes())
    damaged = (root + pages) // 2 * 4096
    content[damaged : damaged + 4096] = b"\xa5" * 4096
    (tmp_path / "runner.db").write_bytes(content)
    end = run("run", tmp_path / "good.py")
    assert end.returncode == 2 and "damaged" in end.stderr and "Traceback" not in end.stderr


@pytest.mark.slow
def test_the_write_ahead_log_stays_bounded_under_readers(tmp_path, monkeypatch):
    """Readers that overlap without a gap do not let the log grow with the number of claims."""
    monkeypatch.setattr("runner.store.database.LARGEST_LOG", 1 << 20)
    monkeypatch.setattr("runner.store.database._LOOK_AT_LOG_EVERY", 100)
    stop = threading.Event()

    def read(store):
        # Two connections whose snapshots overlap: at no moment is there no reader.
        connections = [sqlite3.connect(tmp_path / "runner.db", isolation_level=None) for _ in range(2)]
        turn = 0
        while not stop.wait(0.01):
            connections[turn].execute("BEGIN")
            connections[turn].execute("SELECT count(*) FROM job").fetchone()
            turn = 1 - turn
            if connections[turn].in_transaction:
                connections[turn].execute("ROLLBACK")
        for connection in connections:
            connection.close()

    with Store(tmp_path / "runner.db") as store:
        campaign_id, _ = store.submit("night", ({"n": n} for n in range(6000)))
        worker_id = store.start_worker(campaign_id)
        reader = threading.Thread(target=read, args=(store,))
        reader.start()
        largest = 0
        while leases := store.claim(worker_id, campaign_id):
            store.complete(leases[0])
            largest = max(largest, (tmp_path / "runner.db-wal").stat().st_size)
        stop.set()
        reader.join()
    # 6,000 jobs write about 100 MB of log in all.
    assert largest < 8 << 20


def test_another_process_takes_nothing_away_from_one_that_has_opened_the_file_twice(tmp_path):
    """A process that closes a file loses its locks on it; whoever looked in then would remove the log under it."""
    file = tmp_path / "runner.db"
    look = f"from runner.store import Store\nwith Store({str(file)!r}) as store: print(len(store.reader.campaigns()))"

    def seen_elsewhere() -> int:
        return int(
            subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
        )

    with Store(file) as store:
        store.add_campaign("one")
        Store(file).close()
        assert seen_elsewhere() == 1
        store.add_campaign("two")
        assert seen_elsewhere() == 2
