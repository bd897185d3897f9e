"""Every error that runner raises for its users, as one tree.

RunnerError                 anything runner itself reports; the message says what to do next
├── UsageError              the command or call cannot be carried out as given
│   ├── CampaignError       the campaign file or its jobs are not usable
│   ├── AssetError          a file that a scene should load is not there, or must not be served
│   ├── ExportError         the jobs cannot be exported like this; nothing was written
│   └── StoreError          the database cannot be used
│       └── StoreUnavailable  for now: full, locked, unreachable (a WorldFault too)
├── WorldFault              the machine fails, not a job: a run pauses until it is over, and charges no job
├── LeaseLost               the job was taken away from this attempt; nothing was changed
├── JobOver                 a job's code used what it was given after the end of its attempt
├── SessionGone             the browser tab of this session is no longer connected
├── FrameError              the picture that came back is not whole, or not what was asked for
├── ArtifactError           a job's file cannot be stored under that name
└── BrowserError            no browser could be found or started
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "AssetError",
    "BrowserError",
    "CampaignError",
    "ExportError",
    "FrameError",
    "JobOver",
    "LeaseLost",
    "RunnerError",
    "SessionGone",
    "StoreError",
    "StoreUnavailable",
    "UsageError",
    "WorldFault",
]


class RunnerError(Exception):
    """Anything runner itself reports; the message says what to do next."""

    def _render_traceback_(self) -> list[str]:
        """What IPython, and so a notebook, shows instead of runner's own lines. `%debug` has them all the same."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(RunnerError):
    """The command or call cannot be carried out as given."""


class CampaignError(UsageError):
    """The campaign file or its jobs are not usable."""


class AssetError(UsageError):
    """A file that a scene should load is not there, or must not be served."""


class ExportError(UsageError):
    """The jobs cannot be exported like this; nothing was written."""


class StoreError(UsageError):
    """The database cannot be used."""


class WorldFault(RunnerError):
    """The machine fails, not a job: a run pauses until it is over, and charges no job."""


class StoreUnavailable(StoreError, WorldFault):
    """The database cannot be used for now: its disk is full, it is locked, or its server is away."""


class LeaseLost(RunnerError):
    """The job was taken away from this attempt; nothing was changed."""


class JobOver(RunnerError):
    """A job's code used what it was given after the end of its attempt."""


class SessionGone(RunnerError):
    """The browser tab of this session is no longer connected."""


class FrameError(RunnerError):
    """The picture that came back is not whole, or not what was asked for."""


class ArtifactError(RunnerError):
    """A job's file cannot be stored under that name."""


class BrowserError(RunnerError):
    """No browser could be found or started."""
