"""Renders a job again whenever one of its files changes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

__all__ = ["preview_again_and_again"]

_LOOK_EVERY_S = 0.3
_Mark = tuple[int, int, int] | None


def preview_again_and_again(file: Path, arguments: list[str], tell: Callable[[str], None]) -> None:
    """Have `runner preview` render the job in a process of its own, now and after each change, until Ctrl-C.

    file: the campaign's. arguments: for preview, without --json. tell: takes the JSON that it prints. It watches the
    file, the modules beside it, and all that the last render has used.
    """
    used: set[str] = set()
    marks: dict[Path, _Mark] = {}
    while True:
        before = _marks_of(file, used)
        command = [sys.executable, "-m", "runner", "preview", str(file), *arguments, "--json"]
        # A new process each time imports everything anew.
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            try:
                told, _ = child.communicate()
            except KeyboardInterrupt:
                # It got the signal, too, and ends its browser.
                child.wait()
                raise
        if told:
            tell(told)
            trial = json.loads(told)
            used = set(trial["sources"])
            if "--random" in arguments:
                # The user wants to see the change, not another job.
                arguments = [word for word in arguments if word != "--random"] + ["--key", trial["key"]]
        # A file that changed during the render counts as changed; a file seen for the first time does not.
        marks = _marks_of(file, used) | before
        click.echo(f"waiting for a change of {file} or what it uses; Ctrl-C ends", err=True)
        while _marks_of(file, used) == marks:
            time.sleep(_LOOK_EVERY_S)


def _marks_of(file: Path, used: Iterable[str]) -> dict[Path, _Mark]:
    files = {file.absolute(), *file.absolute().parent.glob("*.py"), *map(Path, used)}
    return {path: _mark(path) for path in files}


def _mark(path: Path) -> _Mark:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
