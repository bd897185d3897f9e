"""Reports the progress of long steps, so that nobody waits in silence."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

__all__ = ["told_while"]

_FIRST_LINE_S, _LONGEST_WAIT_S = 2.0, 30.0


@contextlib.contextmanager
def told_while(tell: Callable[[], object]) -> Iterator[None]:
    """Call tell in a thread after two seconds, and then ever more seldom, as long as the block runs."""
    ended = threading.Event()

    def go() -> None:
        wait_s = _FIRST_LINE_S
        while not ended.wait(wait_s):
            tell()
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    threading.Thread(target=go, name="runner-telling", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
