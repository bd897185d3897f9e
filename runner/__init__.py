"""Persistent, resumable batch rendering with Vuer: jobs are rows, claims are transactions, done means a frame on disk."""

from runner.campaign import Campaign
from runner.errors import RunnerError
from runner.job import Job

__all__ = ["Campaign", "Job", "RunnerError"]
__version__ = "0.1.0"
