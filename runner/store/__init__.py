"""Rows and the rules of their moves, in SQLite or PostgreSQL."""

from runner.store.database import Access, Cursor, Database
from runner.store.reader import Reader
from runner.store.rows import (
    ArtifactRow,
    AttemptOfTabRow,
    AttemptRow,
    CampaignRow,
    EndedRow,
    EventRow,
    FailureRow,
    FileRow,
    JobBriefRow,
    JobRow,
    ResultRow,
    SessionRow,
    ShownJobRow,
    WholeJobRow,
    WorkerRow,
    first_picture,
)
from runner.store.spool import Comparison, Spool, compare
from runner.store.store import Store
from runner.store.worker import Worker

__all__ = [
    "Access",
    "ArtifactRow",
    "AttemptOfTabRow",
    "AttemptRow",
    "CampaignRow",
    "Comparison",
    "Cursor",
    "Database",
    "EndedRow",
    "EventRow",
    "FailureRow",
    "FileRow",
    "JobBriefRow",
    "JobRow",
    "Reader",
    "ResultRow",
    "SessionRow",
    "ShownJobRow",
    "Spool",
    "Store",
    "WholeJobRow",
    "Worker",
    "WorkerRow",
    "compare",
    "first_picture",
]
