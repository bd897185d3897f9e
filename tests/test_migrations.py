"""A database that an older version made is brought along, whole and once, by whoever may make tables."""

from __future__ import annotations

import gzip
import math
import multiprocessing
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

import runner
from runner.errors import StoreError
from runner.store import Access, Store, migrations, schema

DATA = Path(__file__).parent / "data"
ROWS = ("campaign", "job", "worker", "session", "attempt", "event", "result", "artifact", "checkpoint")


@pytest.fixture
def old_file(tmp_path) -> Path:
    """A database that runner 0.1.0 made: a campaign with a job done, one half done, one failed, two waiting."""
    file = tmp_path / "runner.db"
    file.write_bytes(gzip.decompress((DATA / "runner-0.1.0.db.gz").read_bytes()))
    return file


@pytest.fixture
def old_url(database_url, old_file) -> str:
    """The same, on each database in turn."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{old_file}"
    engine = sa.create_engine(database_url)
    with engine.begin() as connection, closing(sqlite3.connect(old_file)) as old:
        for statement in (DATA / "tables-2.postgresql.sql").read_text().split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        old.row_factory = sqlite3.Row
        for table in ("schema_version", *ROWS):
            for row in old.execute(f"SELECT * FROM {table}"):
                names = row.keys()
                values = ", ".join(f":{name}" for name in names)
                connection.execute(
                    sa.text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"), dict(row)
                )
    engine.dispose()
    return database_url


def rows_of(file: Path) -> dict[str, list[dict[str, object]]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return {table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")] for table in ROWS}


def shape_of(url: str) -> list[object]:
    """Columns, constraints and indexes of all tables, as the database itself tells them."""
    engine = sa.create_engine(url)
    shape: list[object] = []
    with engine.connect() as connection:
        look = sa.inspect(connection)
        for table in sorted(look.get_table_names()):
            columns = [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in look.get_columns(table)
            ]
            checks = sorted((check["name"], check["sqltext"]) for check in look.get_check_constraints(table))
            uniques = sorted(str(unique["column_names"]) for unique in look.get_unique_constraints(table))
            keys = look.get_pk_constraint(table)["constrained_columns"]
            indexes = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = '%s' ORDER BY name"
            if engine.name != "sqlite":
                indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = '%s' ORDER BY indexname"
            indexes = connection.exec_driver_sql(indexes % table).scalars().all()
            shape.append((table, columns, keys, checks, uniques, indexes))
    engine.dispose()
    return shape


def test_older_tables_become_those_that_are_made_today(old_url, tmp_path):
    """Column by column, with all rules and indexes."""
    Store(old_url).close()
    migrated = shape_of(old_url)
    if old_url.startswith("sqlite"):
        fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    else:
        fresh = old_url
        engine = sa.create_engine(old_url)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        engine.dispose()
    Store(fresh).close()
    assert migrated == shape_of(fresh)
    assert len(migrated) == len(schema.metadata.tables)


def test_what_an_older_version_recorded_is_all_there_and_goes_on(old_url):
    """Rows are as they were; a number that JSON has no word for is told beside the metrics."""
    with Store(old_url) as store:
        assert "older version" in store.database.news
        (campaign,) = store.reader.campaigns()
        assert campaign["name"] == "orbit" and campaign["file"] == "/campaigns/orbit.py"
        rows = store.reader.rows_after(campaign["id"], 0, 10)
        assert [row["status"] for row in rows] == ["done", "pending", "failed", "pending", "pending"]
        assert rows[0]["metrics"]["mean"] == 12.5 and math.isnan(rows[0]["metrics"]["loss"])
        assert rows[0]["artifacts"][0]["name"] == "rgb.jpg"
        with store.database.read() as connection:
            query = sa.select(schema.result.c.metrics, schema.result.c.marks)
            assert tuple(connection.execute(query).one()) == ('{"mean":12.5,"loss":null}', '{"loss":"NaN"}')
        worker_id = store.start_worker(campaign["id"])
        (lease,) = store.claim(worker_id, campaign["id"])
        assert lease.key == "steps" and store.reader.checkpoint_of(lease).step == 3
        store.complete(lease)
    with Store(old_url) as store:
        assert store.database.news == "" and store.reader.progress(campaign["id"]).done == 2


def test_the_file_is_kept_as_it_was(old_file):
    """The copy beside it has the rows, also those that were still in the log, and is named for what it is."""
    with closing(sqlite3.connect(old_file)) as writer:
        # As after a crash: the last change is in the log alone.
        writer.execute("UPDATE job SET priority = 7")
        writer.commit()
        before = rows_of(old_file)
        with Store(old_file) as store:
            assert str(old_file.parent / "runner.before-tables-3.db") in store.database.news
    copy = migrations.copy_of(old_file)
    assert rows_of(copy) == before and {row["priority"] for row in before["job"]} == {7}
    assert sorted(path.name for path in old_file.parent.iterdir()) == [
        "runner.before-tables-3.db",
        "runner.db",
    ]
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(2,)]


def test_looking_at_older_tables_says_what_to_do(old_url, old_file):
    """And changes nothing; so does an operator's command."""
    before = old_file.read_bytes()
    for access in (Access.LOOK, Access.CHANGE):
        with pytest.raises(StoreError, match=r"older version of runner: run its campaign .*runner run FILE"):
            Store(old_url, access=access)
    with pytest.raises(StoreError, match="older version"):
        runner.open(old_url)
    assert old_file.read_bytes() == before and not migrations.copy_of(old_file).exists()


def test_a_step_that_fails_leaves_all_as_it_was(old_url, old_file, monkeypatch):
    """All steps are one transaction."""
    steps = (*migrations.STEPS[2], "INSERT INTO no_such_table VALUES (1)")
    monkeypatch.setitem(migrations.STEPS, 2, steps)
    with pytest.raises(StoreError, match="no_such_table"):
        Store(old_url)
    monkeypatch.undo()
    with Store(old_url) as store:
        assert len(store.reader.jobs(1)) == 5


def test_tables_are_not_changed_under_a_runner_that_is_at_work(old_file):
    """An older runner would go on writing older rows: it is named, and nothing is changed."""
    child = multiprocessing.get_context("spawn").Process(target=_live, args=(gate := _gate(), old_file))
    child.start()
    gate[0].wait(60)
    try:
        with pytest.raises(StoreError, match=rf"process {child.pid} is at work .* older version"):
            Store(old_file)
        assert not migrations.copy_of(old_file).exists()
    finally:
        gate[1].set()
        child.join()
    Store(old_file).close()


def _gate():
    context = multiprocessing.get_context("spawn")
    return context.Event(), context.Event()


def _live(gate, file: Path) -> None:
    """Stands for a worker of 0.1.0."""
    from runner.machine import this_process

    me = this_process()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "INSERT INTO worker (id, campaign_id, host, boot, pid, pid_start, started_ts, beat_ts) "
            "VALUES (1, 1, ?, ?, ?, ?, 0, 0)",
            (me.host, me.boot, me.pid, me.pid_start),
        )
        connection.commit()
    gate[0].set()
    gate[1].wait(60)


def test_two_that_start_at_once_bring_it_along_once(old_url):
    """The lock lets one do it; both go on."""
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_open, args=(old_url,)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    with Store(old_url) as store:
        assert len(store.reader.jobs(1)) == 5


def _open(url: str) -> None:
    Store(url).close()
