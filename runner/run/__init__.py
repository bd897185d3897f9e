"""One run of a campaign, from its first claim to its exit status. The package can be called: runner.run(campaign)."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from runner.run.process import early_worker

if TYPE_CHECKING:
    from runner.run.bench import run_bench
    from runner.run.dry import dry_run
    from runner.run.one_run import run_campaign
    from runner.run.options import RunOptions, places
    from runner.run.trial import Trial, fresh_folder, try_job

__all__ = [
    "RunOptions",
    "Trial",
    "dry_run",
    "early_worker",
    "fresh_folder",
    "places",
    "run_bench",
    "run_campaign",
    "try_job",
]

_MODULES = {
    "RunOptions": "options",
    "places": "options",
    "run_bench": "bench",
    "Trial": "trial",
    "dry_run": "dry",
    "fresh_folder": "trial",
    "try_job": "trial",
}


def __getattr__(name: str) -> Any:
    # These import all the rest, which takes long: a worker process should be started before that.
    if name not in __all__:
        raise AttributeError(f"module 'runner.run' has no attribute {name!r}")
    return getattr(import_module(f"runner.run.{_MODULES.get(name, 'one_run')}"), name)


class _Wing(ModuleType):
    """The module runner.run, which is the function runner.run as well."""

    def __call__(self, campaign: Any, **options: Any) -> Any:
        """Do what `runner run` does, and return the Summary: see runner.run.notebook.run."""
        return import_module("runner.run.notebook").run(campaign, **options)


sys.modules[__name__].__class__ = _Wing
