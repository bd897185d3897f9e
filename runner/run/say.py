"""Messages and questions for people: to stderr, around the progress bar, and to the run's log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TextIO

from runner.reasons import harmless
from runner.run.run_log import RunLog, printed_to

__all__ = ["ask", "say", "said_to", "terminal"]

# While a run is under way: its log, and the stream for people, because sys.stderr then goes to the log.
_log: RunLog | None = None
_stream: TextIO | None = None


def terminal() -> TextIO:
    """The stream for people, even while all else that is printed goes to a log."""
    return _stream or sys.stderr


def say(line: str) -> None:
    """A message for people: to stderr, around the progress bar. Foreign text in it cannot command the terminal."""
    line = harmless(line)
    if _log is not None:
        _log.add(line)
    tqdm, stream = sys.modules.get("tqdm"), terminal()
    # The terminal may be gone; the run is not.
    with contextlib.suppress(OSError, ValueError):
        if tqdm is not None and (stream.isatty() or "ipykernel" in sys.modules):
            tqdm.tqdm.write(line, file=stream)
        else:
            print(line, file=stream, flush=True)


@contextlib.contextmanager
def said_to(log: RunLog, owns_streams: bool) -> Iterator[None]:
    """While the block runs, log all messages, and also what is printed, if the process's streams belong to the run."""
    global _log, _stream
    _log, _stream = log, sys.stderr
    try:
        with printed_to(log) if owns_streams else contextlib.nullcontext():
            yield
    finally:
        _log = _stream = None


def ask(question: str) -> bool:
    """Whether the person at the terminal says yes; False without a terminal."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
