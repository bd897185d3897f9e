"""Persistent, resumable batch rendering with Vuer: jobs are rows, claims are transactions, done means a frame on disk."""

from runner.campaign import Campaign
from runner.errors import RunnerError
from runner.job import Job

__all__ = ["Campaign", "Job", "JobQueue", "RunnerError"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # The queue brings SQLAlchemy with it, which a campaign file has no need of.
    if name == "JobQueue":
        from runner.queue import JobQueue

        return JobQueue
    raise AttributeError(f"module 'runner' has no attribute {name!r}")
