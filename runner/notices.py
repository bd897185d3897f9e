"""Notices to a person who is away, by apprise. They are sent beside the run, and can neither delay nor break it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from runner.errors import UsageError

__all__ = ["Notices", "shown_address"]

_KNOWN = "https://github.com/caronc/apprise/wiki"
# How many notices wait for an address that does not answer; more are dropped.
_MOST_WAITING = 20


def shown_address(url: str) -> str:
    """An address as it may be shown: all after the scheme may be a secret."""
    scheme, colon, _ = url.partition("://")
    return f"{scheme}://…" if colon and scheme.isascii() and scheme.replace("+", "").isalnum() else "…"


class Notices:
    """Sends short texts to addresses that apprise knows, each from a thread of its own.

    urls: such as mailto://…, slack://…, ntfy://topic, json://host/path; without any, nothing is sent. say: takes a line
    for people when a notice could not be sent. Raises UsageError for a bad address.
    """

    def __init__(self, urls: Sequence[str], say: Callable[[str], None]):
        self._say = say
        self._lines = [_Line(url, target, self._tell) for url, target in zip(urls, _targets(urls))]

    @property
    def has_addresses(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._lines)

    def send(self, title: str, body: str) -> None:
        """Send it in the background; returns at once, and raises nothing."""
        for line in self._lines:
            line.put(title, body or title)  # apprise sends no empty text

    def close(self, limit_s: float = 10.0) -> list[str]:
        """Wait for notices on their way, at most that long; returns the addresses that did not get all, as they may be
        shown.

        limit_s: in seconds, for all of them together.
        """
        deadline = time.monotonic() + limit_s
        late = [line for line in self._lines if not line.end(deadline)]
        for line in late:
            self._tell(f"a notice to {line.shown} was not sent within {limit_s:.0f} s, and was given up")
        return [line.shown for line in self._lines if line in late or line.failed]

    def _tell(self, line: str) -> None:
        try:
            self._say(line)
        except Exception:
            pass  # nobody is there to hear it


class _Line:
    """One address, and the thread that sends to it."""

    def __init__(self, url: str, target: Any, tell: Callable[[str], None]):
        self.shown = shown_address(url)
        self.failed = False
        self._target, self._tell = target, tell
        self._waiting: queue.Queue[tuple[str, str] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="runner-notices", daemon=True)
        self._thread.start()

    def put(self, title: str, body: str) -> None:
        try:
            self._waiting.put_nowait((title, body))
        except queue.Full:
            self.failed = True

    def end(self, deadline: float) -> bool:
        """Wait until then (monotonic clock); returns whether all was sent or refused."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return False
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (notice := self._waiting.get()) is not None:
            title, body = notice
            try:
                well, why = (
                    bool(self._target.notify(title=title, body=body)),
                    "it was refused, or nobody is there",
                )
            except Exception as error:  # whatever a plugin raises
                # Its text may contain the address.
                well, why = False, type(error).__name__
            if not well and not self.failed:
                self._tell(
                    f"a notice to {self.shown} could not be sent ({why}); 'runner doctor --notify' tries it"
                )
            self.failed = self.failed or not well


def _targets(urls: Sequence[str]) -> list[Any]:
    """An apprise sender for each address. Raises UsageError."""
    if not urls:
        return []
    try:
        import apprise
    except ImportError:
        raise UsageError("notices need the package apprise: pip install 'runner[notify]'") from None
    # apprise logs addresses, with their secrets.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    targets = []
    for number, url in enumerate(urls, 1):
        target = apprise.Apprise()
        try:
            is_known = target.add(url)
        except Exception:  # whatever a plugin raises
            is_known = False
        if not is_known:
            raise UsageError(
                f"notice address {number} of {len(urls)} ({shown_address(url)}) is none that apprise knows, or lacks a "
                f"part; {_KNOWN} lists them, such as ntfy://TOPIC, mailto://USER:PASSWORD@HOST or json://HOST/PATH"
            )
        targets.append(target)
    return targets
