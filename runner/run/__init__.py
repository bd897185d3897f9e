"""One run of a campaign, from its first claim to its exit status."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runner.run.process import early_worker

if TYPE_CHECKING:
    from runner.run.one_run import RunOptions, run_campaign

__all__ = ["RunOptions", "early_worker", "run_campaign"]


def __getattr__(name: str) -> Any:
    # They bring all the rest, which takes long to import: a worker process is to be started before that.
    if name not in __all__:
        raise AttributeError(f"module 'runner.run' has no attribute {name!r}")
    return getattr(import_module("runner.run.one_run"), name)
