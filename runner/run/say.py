"""Messages for people, and questions: to stderr, around the progress bar."""

from __future__ import annotations

import contextlib
import sys


def say(line: str) -> None:
    """A message for people: to stderr, around the progress bar."""
    tqdm = sys.modules.get("tqdm")
    # The terminal may be gone; the run is not.
    with contextlib.suppress(OSError):
        if tqdm is not None and sys.stderr.isatty():
            tqdm.tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)


def ask(question: str) -> bool:
    """Whether the person at the terminal says yes; no where nobody sits at one."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
