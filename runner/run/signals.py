"""The signals that end a run: the first hands back what is in flight, or lets it end; the second ends everything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import psutil

from runner.exits import ExitStatus
from runner.run.ending import Ending

_ENDED_BY: dict[int, ExitStatus] = {
    signal.SIGINT: ExitStatus.INTERRUPTED,
    signal.SIGTERM: ExitStatus.TERMINATED,
    signal.SIGHUP: ExitStatus.TERMINATED,
}


__all__ = ["Interrupts", "Signals"]

_LONGEST_END_S = 30.0


class Interrupts(Protocol):
    """Ends a run from outside.

    status: the exit status of a run that was ended so; None before that. tell: says how far the run is.
    """

    status: ExitStatus | None
    tell: Callable[[], object]

    def __enter__(self) -> Interrupts:
        """From now on."""

    def __exit__(self, *_: object) -> None:
        """No longer."""

    def ending(self, ending: Ending) -> contextlib.AbstractContextManager[None]:
        """A run is under way, and will be ended in order."""


class Signals:
    """The first SIGINT, SIGTERM or SIGHUP hands back jobs in flight; the second ends everything at once.

    If the run has a grace, SIGTERM first lets jobs in flight end by themselves, for so long. While no run is under way,
    the first signal ends everything, because nothing is in flight. A second SIGHUP does not count: when a terminal
    closes, the kernel sends one, and the shell another. say: takes a line for people.

    Python's own handlers are used, not the event loop's: they also run while a render function blocks the loop. They do
    not run while the main thread waits in SQLite for a lock, so while no run is under way, a thread watches, too.

    SIGUSR1 ends nothing: it calls tell, which says how far the run is.

    status: the exit status of a run that a signal ended; None before that.
    """

    def __init__(self, say: Callable[[str], None]):
        self._say = say
        self.status: ExitStatus | None = None
        self._under_way: tuple[Ending, asyncio.AbstractEventLoop] | None = None
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        # Signals that are ignored stay ignored, as under nohup and in a shell's background.
        numbers = [number for number in _ENDED_BY if signal.getsignal(number) is not signal.SIG_IGN]
        self.tell: Callable[[], object] = lambda: say("the run is starting: no job is handed out yet")
        self._before = {number: signal.signal(number, self._on_signal) for number in numbers}
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda number, frame: self.tell())
        signal.set_wakeup_fd(self._writing)
        # A signal to a process that the campaign forks is not for this process, not even in the middle of the fork.
        hold = partial(signal.pthread_sigmask, signal.SIG_BLOCK, _ENDED_BY)
        os.register_at_fork(before=hold, after_in_parent=_release, after_in_child=self._let_go)
        threading.Thread(target=self._watch, args=(reading,), name="runner-signals", daemon=True).start()

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()
        os.close(self._writing)

    def _let_go(self) -> None:
        signal.set_wakeup_fd(-1)
        while self._before:
            signal.signal(*self._before.popitem())
        _release()

    @contextlib.contextmanager
    def ending(self, ending: Ending) -> Iterator[None]:
        """A run is under way; the first signal ends it in order."""
        self._under_way = ending, asyncio.get_running_loop()
        try:
            yield
        finally:
            self._under_way = None

    def _watch(self, reading: int) -> None:
        while number := os.read(reading, 1):
            if self._under_way is None and number[0] in _ENDED_BY and number[0] in self._before:
                self._end_at_once(number[0])
        os.close(reading)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._under_way is not None and self.status is None:
            self.status = _ENDED_BY[number]
            ending, loop = self._under_way
            grace_s = ending.grace_s if number == signal.SIGTERM else 0.0
            latest_s = grace_s + _LONGEST_END_S
            threading.Thread(target=self._end_in_the_end, args=(number, latest_s), daemon=True).start()
            loop.call_soon_threadsafe(self._drain if grace_s else self._stop, ending)
        elif self._under_way is None or number != signal.SIGHUP:
            self._end_at_once(number)

    def _end_in_the_end(self, number: int, latest_s: float) -> None:
        """End the process if anything holds up the end for too long, such as a locked database or a hanging disk."""
        time.sleep(latest_s)
        self._end_at_once(number)

    def _end_at_once(self, number: int) -> None:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        os._exit(self.status or _ENDED_BY[number])

    def _drain(self, ending: Ending) -> None:
        self._say(
            f"stopping: jobs in flight may end within {ending.grace_s:g} s, no other is begun; "
            "once more to stop at once"
        )
        ending.drain("the run was interrupted")
        asyncio.get_running_loop().call_later(ending.grace_s, ending.stop, "the run was interrupted")

    def _stop(self, ending: Ending) -> None:
        self._say("stopping: jobs in flight are handed back; once more to stop at once")
        ending.stop("the run was interrupted")


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDED_BY)
