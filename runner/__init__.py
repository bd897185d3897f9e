"""Persistent, resumable batch rendering with Vuer: jobs are rows, done means a verified frame on disk."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runner.errors import RunnerError
from runner.job import Job

if TYPE_CHECKING:
    from runner.arrays import Depth
    from runner.campaign import Campaign
    from runner.frame import Frame
    from runner.queue import JobQueue
    from runner.records import read_records
    from runner.report import open_database
    from runner.results import RenderJob
    from runner.run.notebook import arun, run
    from runner.sessions import Session

    open = open_database

__all__ = [
    "Campaign",
    "Depth",
    "Frame",
    "Job",
    "JobQueue",
    "RenderJob",
    "RunnerError",
    "Session",
    "arun",
    "read_records",
    "run",
]
__version__ = "0.2.0"

# Imported only when asked for: they bring SQLAlchemy, NumPy, Pillow or aiohttp, and a campaign file needs none of them.
# Nor does a command that looks on need what reads campaign files.
_LATE = {
    "Campaign": ("runner.campaign", "Campaign"),
    "Depth": ("runner.arrays", "Depth"),
    "Frame": ("runner.frame", "Frame"),
    "JobQueue": ("runner.queue", "JobQueue"),
    "RenderJob": ("runner.results", "RenderJob"),
    "Session": ("runner.sessions", "Session"),
    "arun": ("runner.run.notebook", "arun"),
    "read_records": ("runner.records", "read_records"),
    "open": ("runner.report", "open_database"),
}


def __getattr__(name: str) -> Any:
    if name == "run":
        # The package runner.run can itself be called. Once it is imported, Python no longer comes here.
        return import_module("runner.run")
    if name not in _LATE:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    module, attribute = _LATE[name]
    return getattr(import_module(module), attribute)
