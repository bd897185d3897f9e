"""Messages for people, and questions: to stderr, around the progress bar, and to the run's log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TextIO

from runner.reasons import harmless
from runner.run.run_log import RunLog, printed_to

__all__ = ["ask", "say", "said_to", "terminal"]

# While a run is under way: where it keeps what is said, and the stream for people, which sys.stderr is not then.
_log: RunLog | None = None
_stream: TextIO | None = None


def terminal() -> TextIO:
    """The stream for people, also while what else is printed goes to a log."""
    return _stream or sys.stderr


def say(line: str) -> None:
    """A message for people: to stderr, around the progress bar. What it tells of others commands no terminal."""
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
    """Keep in the log what is said meanwhile; and what is printed, where the process's streams are the run's own."""
    global _log, _stream
    _log, _stream = log, sys.stderr
    try:
        with printed_to(log) if owns_streams else contextlib.nullcontext():
            yield
    finally:
        _log = _stream = None


def ask(question: str) -> bool:
    """Whether the person at the terminal says yes; no where nobody sits at one."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
