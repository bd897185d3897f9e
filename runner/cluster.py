"""Runners on a cluster. Each is one job of the scheduler, drains before its time is up, and submits itself again."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import UsageError
from runner.exits import ExitStatus

__all__ = ["Shift", "submit"]

# The part of the scheduler's time that is kept for jobs in flight and for signing off: a tenth, but not more than this.
_LONGEST_END_S = 600.0
# How long jobs in flight may go on when the scheduler wants its node back.
_GRACE_S = 30.0

# The runs that this process waits for, where it is itself a job of the scheduler.
_running: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Shift:
    """One job of the scheduler: a run, for so many hours at most, which submits itself again while jobs are left.

    command: as `runner run FILE …`, the program first. name: for the scheduler's lists. folder: where submitit keeps
    what it needs, and what runs print. cluster: submitit's name for the scheduler, 'slurm' or 'local'. gpus: cards
    each. parameters: submitit's others, such as slurm_partition.
    """

    command: tuple[str, ...]
    name: str
    hours: float
    folder: str
    cluster: str
    gpus: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def limits(self) -> list[str]:
        """What the run is told of its time."""
        hours = self.hours - min(0.1 * self.hours, _LONGEST_END_S / 3600)
        return ["--max-hours", f"{hours:.6g}", "--grace", f"{_GRACE_S:g}"]

    def __call__(self) -> int:
        """Called by submitit, on the node. Raises UsageError where the run could not go on."""
        # Slurm tells all that runs in a job by that signal that its time is up, and it would end who does not know it.
        process = subprocess.Popen([*self.command, *self.limits], preexec_fn=_ignore_usr2)
        _running.append(process)
        status = process.wait()
        _running.clear()
        if status == ExitStatus.UNFINISHED:
            (job_id,) = submit(self, 1)
            print(f"jobs are left: the next job of the scheduler is {job_id}", flush=True)
        elif status not in (ExitStatus.DONE, ExitStatus.SOME_FAILED, ExitStatus.NOTHING_TO_DO):
            raise UsageError(f"the run ended with {status}, and is not started again: its messages are above")
        return status

    def checkpoint(self) -> Any:
        """Called by submitit when the scheduler wants its node back; returns what to call on the next node."""
        import submitit

        for process in _running:
            process.send_signal(signal.SIGTERM)
            # This interrupts __call__, whose own waiting holds the lock that process.wait() would take.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return submitit.helpers.DelayedSubmission(self)


def _ignore_usr2() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def submit(shift: Shift, count: int) -> list[str]:
    """Submit so many such shifts; returns the scheduler's ids for them. Raises UsageError."""
    try:
        import submitit
    except ModuleNotFoundError:
        raise UsageError("a cluster needs the package submitit: pip install 'runner[slurm]'") from None
    _refuse_unwritable(shift)
    Path(shift.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    # If this process is itself a job, the next job must not inherit its scheduler variables.
    with submitit.helpers.clean_env():
        try:
            executor = submitit.AutoExecutor(folder=f"{shift.folder}/%j", cluster=shift.cluster)
            executor.update_parameters(
                name=shift.name,
                timeout_min=math.ceil(60 * shift.hours),
                nodes=1,
                tasks_per_node=1,
                gpus_per_node=shift.gpus,
                **shift.parameters,
            )
            with executor.batch():
                jobs: Sequence[Any] = [executor.submit(shift) for _ in range(count)]
        except (RuntimeError, NameError, ValueError, submitit.core.utils.FailedJobError) as error:
            raise UsageError(f"{shift.cluster} does not accept the job: {error}") from None
    return [job.job_id for job in jobs]


def _refuse_unwritable(shift: Shift) -> None:
    """ML-Logger asks for a cloudpickle of 2020, by which submitit can write nothing under Python 3.14."""
    import cloudpickle

    try:
        cloudpickle.dumps(shift)
    except Exception as error:
        raise UsageError(
            f"cloudpickle {cloudpickle.__version__} cannot write what submitit needs under Python "
            f"{platform.python_version()} ({error}): 'pip install -U cloudpickle' brings one that can, though pip says "
            "that ml-logger asks for the other"
        ) from None
