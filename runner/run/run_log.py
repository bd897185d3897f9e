"""The log file of a run: its messages, and all that is printed meanwhile, each line with its time and job."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.reasons import harmless, normalized, one_line, without_tokens
from runner.run.life import CURRENT

__all__ = ["RunLog", "end_lines", "keep_printed", "printed_to"]

# The logger of pages' console lines, from runner.browsers; a page may say the same with each picture.
_PAGES = "runner.browsers.tab"
_DISTINCT_LINES, _LONGEST_REST, _LONGEST_PAGE_LINE = 1000, 10_000, 500


class RunLog:
    """A run's log file. Several processes may add to it at the same time. Raises OSError."""

    def __init__(self, path: Path):
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def add(self, text: str) -> None:
        """Add a message; a disk that accepts nothing is reported elsewhere."""
        for line in harmless(text).split("\n"):
            _write(self.descriptor, f"{_now()} {line}\n")

    def close(self) -> None:
        os.close(self.descriptor)


class _Printed(io.TextIOWrapper):
    """A stream like sys.stdout that writes its lines to the log, with their time and the key of their job."""

    def __init__(self, descriptor: int, on_first: Callable[[], None] = lambda: None):
        raw = open(descriptor, "ab", buffering=0, closefd=False)
        super().__init__(raw, "utf-8", "backslashreplace", write_through=True)
        self._descriptor, self._on_first = descriptor, on_first
        self._has_told = False
        # The line that has not ended yet, and the job that it belongs to.
        self._rest, self._who = "", ""

    def write(self, text: str, /) -> int:
        life = CURRENT.get()
        who = "" if life is None else f"[{life.key}] "
        if self._rest and who != self._who:
            self.end_line()
        self._who = who
        *lines, self._rest = (self._rest + text).split("\n")
        if lines:
            _write(self._descriptor, "".join(f"{_now()} {who}{_as_shown(line)}\n" for line in lines))
        if len(self._rest) > _LONGEST_REST:
            # A progress bar that is redrawn again and again.
            self._rest = _as_shown(self._rest)[-_LONGEST_REST:]
        if life is not None and lines and not self._has_told:
            self._has_told = True
            self._on_first()
        return len(text)

    def flush(self) -> None:
        """Does nothing: whole lines are written at once."""

    def end_line(self) -> None:
        """Write out a line that has not ended."""
        if self._rest:
            rest, self._rest = self._rest, ""
            _write(self._descriptor, f"{_now()} {self._who}{_as_shown(rest)}\n")


class _Page(logging.Handler):
    """Logs what pages print, but only the first of lines that are alike."""

    def __init__(self, log: RunLog):
        super().__init__()
        self._log = log
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = one_line(record.getMessage(), _LONGEST_PAGE_LINE)
        kind = normalized(line)
        if kind not in self._seen and len(self._seen) < _DISTINCT_LINES:
            self._seen.add(kind)
            self._log.add(f"page: {line}")


def end_lines() -> None:
    """At the end of a process that has called keep_printed: write out lines that have not ended."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Printed):
            stream.end_line()
        else:
            stream.flush()


def keep_printed(path: Path, on_first: Callable[[], None]) -> None:
    """From now on send all that this process and its children print to that log.

    on_first: called when a job's own code prints for the first time. If the file cannot be opened, nothing changes.
    """
    try:
        log = RunLog(path)
    except OSError:
        return
    for number in (1, 2):
        os.dup2(log.descriptor, number)
    sys.stdout, sys.stderr = _Printed(1, on_first), _Printed(2, on_first)
    pages = logging.getLogger(_PAGES)
    pages.setLevel(logging.INFO)
    pages.propagate = False
    pages.addHandler(_Page(log))


@contextlib.contextmanager
def printed_to(log: RunLog) -> Iterator[None]:
    """While the block runs, send what this process's Python code prints to the log; held streams stay as they are."""
    with (
        contextlib.redirect_stdout(_Printed(log.descriptor)),
        contextlib.redirect_stderr(_Printed(log.descriptor)),
    ):
        yield


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _as_shown(line: str) -> str:
    """The line as a terminal would show it, after overwriting with carriage returns."""
    return harmless(line.rstrip("\r").rsplit("\r", 1)[-1])


def _write(descriptor: int, text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(descriptor, without_tokens(text).encode("utf-8", "backslashreplace"))
