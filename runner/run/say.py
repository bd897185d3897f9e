"""Messages for people: to stderr, around the progress bar."""

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
