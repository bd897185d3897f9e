"""The verb that renders for a run on another machine: join."""

from __future__ import annotations

import click

from runner.cli.options import (
    browser_memory_option,
    gpus_option,
    option,
    rasterizer_option,
    recycle_option,
    require_gpu_option,
)
from runner.exits import ExitStatus

__all__ = ["join"]


@click.command()
@click.argument("link")
@option("--sessions", "-n", type=click.IntRange(1, 64), default=2, help="Headless browsers to start.")
@option(
    "--cert",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Trust the run's server by this certificate, a copy of the run's own --cert; for a certificate that no "
    "authority has signed.",
)
@option(
    "--exit-when-idle",
    "exits_when_idle",
    is_flag=True,
    help="End when no job is left, when none was in progress for a minute, or when the run was away for five minutes.",
)
@option(
    "--max-hours",
    type=click.FloatRange(0.0, min_open=True),
    metavar="H",
    help="Begin no job after so many hours, and end when the jobs in flight have ended.",
)
@rasterizer_option
@require_gpu_option
@gpus_option
@recycle_option
@browser_memory_option
def join(
    link: str,
    sessions: int,
    cert: str | None,
    exits_when_idle: bool,
    max_hours: float | None,
    rasterizer: str,
    require_gpu: bool,
    gpus: str | None,
    recycle_after: int,
    browser_memory_bytes: int,
) -> ExitStatus:
    """Start browsers here that render for a run on another machine.

    LINK is the link that the run prints for tabs, in quotes. Nothing else is needed: no database, no campaign file.
    While the run or the network is away, it waits.

    Example: runner join 'http://render-host:8012/?ws=…' --sessions 4
    """
    from runner.browsers import Limits, drivers_of
    from runner.join import JoinOptions, Link
    from runner.join import join as join_run
    from runner.machine import Certificate

    return join_run(
        JoinOptions(
            Link.parse(link),
            sessions,
            Certificate.read(cert) if cert else None,
            rasterizer,
            require_gpu,
            drivers_of(gpus, rasterizer),
            Limits(recycle_after, browser_memory_bytes),
            exits_when_idle,
            max_hours * 3600.0 if max_hours is not None else None,
        )
    )
