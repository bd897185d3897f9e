"""The tables, defined once for SQLite and PostgreSQL; schema.sql describes the same for readers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

VERSION = 3

metadata = sa.MetaData()

# INTEGER PRIMARY KEY is SQLite's rowid; PostgreSQL must be told to use 8 bytes.
_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_ts: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL, "sqlite")


def _partial_index(name: str, *columns: sa.ColumnElement[Any], where: str) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=sa.text(where))


def create_tables(connection: sa.Connection) -> None:
    """Make all tables and indexes."""
    if connection.dialect.name == "postgresql":
        # To name this option earlier has SQLAlchemy import that dialect: a twentieth of a short command's time.
        for index in (index for table in metadata.tables.values() for index in table.indexes):
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]
    metadata.create_all(connection)


schema_version = sa.Table(
    "schema_version",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)

campaign = sa.Table(
    "campaign",
    metadata,
    sa.Column("id", _id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("state", sa.Text, nullable=False, server_default="open"),
    sa.Column("max_failures", sa.Integer, nullable=False),
    sa.Column("max_crashes", sa.Integer, nullable=False),
    sa.Column("backoff_s", _ts, nullable=False),
    sa.Column("backoff_max_s", _ts, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("done", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("failed", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("file", sa.Text),
    sa.Column("results", sa.Text),
    sa.Column("parameters", sa.Text),
    sa.Column("created_ts", _ts, nullable=False),
    sa.Column("remote", sa.Text),
    sa.CheckConstraint("state IN ('open', 'paused', 'cancelled')", name="campaign_state"),
)

folder = sa.Table(
    "folder",
    metadata,
    sa.Column("campaign_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("logged_id", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("logged_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("id", _id, primary_key=True),
    sa.Column("campaign_id", sa.BigInteger, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("params", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="pending"),
    sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("attempt", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("failures", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("crashes", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("worker_id", sa.BigInteger),
    sa.Column("session_id", sa.BigInteger),
    sa.Column("created_ts", _ts, nullable=False),
    sa.Column("not_before_ts", _ts),
    sa.Column("grab_ts", _ts),
    sa.Column("end_ts", _ts),
    sa.Column("error", sa.Text),
    # Not IN: for more than two values SQLite would build a temporary table at each change of a row.
    sa.CheckConstraint(
        "status = 'pending' OR status = 'in_progress' OR status = 'done' OR status = 'failed'",
        name="job_status",
    ),
    sa.CheckConstraint(
        "status <> 'in_progress' OR (worker_id IS NOT NULL AND grab_ts IS NOT NULL)",
        name="job_lease",
    ),
    sa.CheckConstraint("status = 'pending' OR not_before_ts IS NULL", name="job_wait"),
)
sa.Index("job_key", job.c.campaign_id, job.c.key, unique=True)
_partial_index(
    "job_ready",
    job.c.campaign_id,
    job.c.priority.desc(),
    job.c.crashes,
    job.c.id,
    where="status = 'pending' AND not_before_ts IS NULL",
)
_partial_index("job_waiting", job.c.campaign_id, job.c.not_before_ts, where="not_before_ts IS NOT NULL")
_partial_index("job_running", job.c.worker_id, where="status = 'in_progress'")
_partial_index("job_failed", job.c.campaign_id, job.c.id, where="status = 'failed'")

worker = sa.Table(
    "worker",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=False),
    sa.Column("campaign_id", sa.BigInteger, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("boot", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("pid_start", sa.Text, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("state", sa.Text, nullable=False, server_default="live"),
    sa.Column("started_ts", _ts, nullable=False),
    sa.Column("beat_ts", _ts, nullable=False),
    sa.Column("folder", sa.Text),
    sa.CheckConstraint("state IN ('live', 'ended', 'lost')", name="worker_state"),
)
_partial_index("worker_live", worker.c.campaign_id, where="state = 'live'")

session = sa.Table(
    "session",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=False),
    sa.Column("campaign_id", sa.BigInteger, nullable=False),
    sa.Column("worker_id", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("browser", sa.Text, nullable=False),
    sa.Column("renderer", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("runner", sa.Text, nullable=False),
    sa.Column("vuer", sa.Text, nullable=False),
    sa.Column("file_sha256", sa.Text),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("started_ts", _ts, nullable=False),
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("job_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("worker_id", sa.BigInteger, nullable=False),
    sa.Column("session_id", sa.BigInteger),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("traceback", sa.Text),
    sa.Column("grab_ts", _ts, nullable=False),
    sa.Column("end_ts", _ts, nullable=False),
    sa.CheckConstraint("outcome IN ('failed', 'crashed', 'released', 'requeued')", name="attempt_outcome"),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", _id, primary_key=True),
    sa.Column("campaign_id", sa.BigInteger, nullable=False),
    sa.Column("worker_id", sa.BigInteger, nullable=False),
    sa.Column("ts", _ts, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
)
sa.Index("event_campaign", event.c.campaign_id, event.c.id)

result = sa.Table(
    "result",
    metadata,
    sa.Column("id", _id, primary_key=True),
    sa.Column("campaign_id", sa.BigInteger, nullable=False),
    sa.Column("job_id", sa.BigInteger, nullable=False, unique=True),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("suspicion", sa.Text),
    sa.Column("marks", sa.Text),
    sa.Column("phases", sa.Text),
    sqlite_autoincrement=True,
)
_partial_index("result_suspicion", result.c.campaign_id, result.c.job_id, where="suspicion IS NOT NULL")

artifact = sa.Table(
    "artifact",
    metadata,
    sa.Column("job_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("start", sa.BigInteger),
)

shard = sa.Table(
    "shard",
    metadata,
    sa.Column("campaign_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("jobs", sa.BigInteger, nullable=False),
    sa.Column("address", sa.Text),
)

checkpoint = sa.Table(
    "checkpoint",
    metadata,
    sa.Column("job_id", _id, primary_key=True, autoincrement=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("marks", sa.Text),
    sa.Column("scene", sa.Text),
)
