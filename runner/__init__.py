"""Persistent, resumable batch rendering with Vuer: jobs are rows, claims are transactions, done means a frame on disk."""

from runner.campaign import Campaign
from runner.errors import RunnerError
from runner.job import Job

__all__ = ["Campaign", "Job", "JobQueue", "RunnerError"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # Both bring SQLAlchemy with them, which a campaign file has no need of.
    if name == "JobQueue":
        from runner.queue import JobQueue

        return JobQueue
    if name == "open":
        from runner.table import open_database

        return open_database
    raise AttributeError(f"module 'runner' has no attribute {name!r}")
