"""`runner` as a process of its own, as people start it, and what it starts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import psutil
from click.testing import CliRunner, Result

# What a test started; it is ended when the test is.
STARTED: list[subprocess.Popen] = []


def end_all() -> None:
    """End whatever start() started and a test that failed has left."""
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                with contextlib.suppress(psutil.Error):
                    one.kill()
            process.wait()


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "runner", *map(str, arguments)]


def start(*arguments: object, environment: dict[str, str] | None = None, **options) -> subprocess.Popen:
    """Start `runner ARGUMENTS` in a process group of its own, its output kept."""
    environment = os.environ | {"NO_COLOR": "1"} | (environment or {})
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )
    STARTED.append(process)
    return process


def lines_of(process: subprocess.Popen) -> list[str]:
    """The messages of a process, growing as they come."""
    lines: list[str] = []

    def read() -> None:
        with process.stdout, process.stderr:
            lines.extend(process.stderr)

    threading.Thread(target=read, daemon=True).start()
    return lines


def within(*arguments: object) -> Result:
    """`runner ARGUMENTS`, to its end, within this process: for what takes long only to start."""
    from runner.cli import main

    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def run(*arguments: object, timeout_s: float = 180.0, **options) -> subprocess.CompletedProcess:
    """`runner ARGUMENTS`, to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout_s, **options)


def browsers_of(process) -> list[psutil.Process]:
    """All processes that the runner has started, directly or not."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
