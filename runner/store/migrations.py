"""Upgrades the tables: the steps from each version to the next, and who may take them.

To change the tables, change all of these together (tests hold them equal):
  1. schema.py, and schema.sql for readers. A new column comes last in its table, and is NULL or has a default, so that
  existing rows need no change. 2. STEPS below: SQL for both databases that makes the last version's tables equal to
  that. Until a version is released, add to its step; afterwards raise schema.VERSION and begin a new step. 3. rows.py,
  if the row leaves the store.

Steps are taken by those that may make tables (`runner run`, JobQueue), in one transaction, after copying the SQLite
file beside itself. A command that only looks, or an older runner, says what to do.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from runner.errors import StoreError
from runner.job import metrics_to_json
from runner.machine import Identity, is_gone, this_process
from runner.store import schema

__all__ = ["OLDEST", "STEPS", "bring_along", "copy_of"]


def _mark_metrics(connection: sa.Connection, table: str) -> None:
    """Move NaN and infinities, which are not JSON, from the metrics to their marks."""
    wrong = f"SELECT job_id, metrics FROM {table} WHERE metrics LIKE '%NaN%' OR metrics LIKE '%Infinity%'"
    mend = sa.text(f"UPDATE {table} SET metrics = :metrics, marks = :marks WHERE job_id = :job")
    for job_id, text in connection.execute(sa.text(wrong)).fetchall():
        metrics, marks = metrics_to_json(json.loads(text))
        connection.execute(mend, {"job": job_id, "metrics": metrics, "marks": marks})


# For each version, the steps to the next, in order.
STEPS: dict[int, tuple[str | Callable[[sa.Connection], None], ...]] = {
    2: (
        "ALTER TABLE result ADD COLUMN marks TEXT",
        "ALTER TABLE result ADD COLUMN phases TEXT",
        "ALTER TABLE checkpoint ADD COLUMN marks TEXT",
        "ALTER TABLE checkpoint ADD COLUMN scene TEXT",
        "ALTER TABLE artifact ADD COLUMN start BIGINT",
        "CREATE TABLE shard (campaign_id BIGINT NOT NULL, path TEXT NOT NULL, size BIGINT NOT NULL, "
        "jobs BIGINT NOT NULL, address TEXT, PRIMARY KEY (campaign_id, path))",
        "ALTER TABLE campaign ADD COLUMN remote TEXT",
        "ALTER TABLE worker ADD COLUMN folder TEXT",
        # Each folder has its own log position: the next run rewrites the log, and records it.
        "ALTER TABLE campaign DROP COLUMN logged_id",
        "ALTER TABLE campaign DROP COLUMN logged_bytes",
        "CREATE TABLE folder (campaign_id BIGINT NOT NULL, id TEXT NOT NULL, place TEXT NOT NULL, "
        "logged_id BIGINT DEFAULT 0 NOT NULL, logged_bytes BIGINT DEFAULT 0 NOT NULL, "
        "PRIMARY KEY (campaign_id, id))",
        partial(_mark_metrics, table="result"),
        partial(_mark_metrics, table="checkpoint"),
    ),
}
OLDEST = min(STEPS)


def bring_along(connection: sa.Connection, version: int, file: Path | None) -> None:
    """Take all steps from that version on, in the connection's transaction, which holds the write lock.

    file: of a SQLite database; it is copied first. Raises StoreError while a runner is at work there.
    """
    _refuse_at_work(connection)
    if file is not None:
        _copy(file, copy_of(file))
    for step in range(version, schema.VERSION):
        for act in STEPS[step]:
            if isinstance(act, str):
                connection.exec_driver_sql(act)
            else:
                act(connection)
    connection.execute(sa.update(schema.schema_version).values(version=schema.VERSION))


def copy_of(file: Path) -> Path:
    """The copy of the file as it was before the upgrade."""
    return file.with_name(f"{file.stem}.before-tables-{schema.VERSION}{file.suffix}")


def _refuse_at_work(connection: sa.Connection) -> None:
    """A running runner of the older version goes on writing the older tables."""
    worker = schema.worker.c
    columns = (worker.host, worker.boot, worker.pid, worker.pid_start)
    here = this_process()
    for row in connection.execute(sa.select(*columns).where(worker.state == "live")):
        process = Identity(*row)
        if process.host == here.host and process != here and not is_gone(process):
            raise StoreError(
                f"process {process.pid} is at work in this database with an older version of runner: "
                "wait for its end, or end it, and start again"
            )


def _copy(file: Path, copy: Path) -> None:
    """Copy by SQLite itself, which includes its log; the copy appears whole or not at all."""
    unfinished = copy.with_name(f".{copy.name}.tmp")
    unfinished.unlink(missing_ok=True)
    # With the permissions of the database itself.
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT, 0o600))
    os.chmod(unfinished, file.stat().st_mode & 0o777)
    try:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        descriptor = os.open(unfinished, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(unfinished, copy)
    finally:
        unfinished.unlink(missing_ok=True)
