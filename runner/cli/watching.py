"""Renders a job again whenever one of the files changes that it is made of."""

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

    file: the campaign's. arguments: for preview, without --json. tell: takes the JSON that it prints.
    Looked at are the file, the modules beside it, and whatever the last render has used.
    """
    used: set[str] = set()
    marks: dict[Path, _Mark] = {}
    while True:
        before = _marks_of(file, used)
        command = [sys.executable, "-m", "runner", "preview", str(file), *arguments, "--json"]
        # Another process each time: what was imported is imported anew.
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            try:
                told, _ = child.communicate()
            except KeyboardInterrupt:
                # It has been told so, too, and ends its browser.
                child.wait()
                raise
        if told:
            tell(told)
            trial = json.loads(told)
            used = set(trial["sources"])
            if "--random" in arguments:
                # One's change is to be seen, and not another job.
                arguments = [word for word in arguments if word != "--random"] + ["--key", trial["key"]]
        # What changed while it was rendered is a change; what is looked at for the first time is none.
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
