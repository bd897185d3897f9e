"""Notices while a run is at work, for a person who is away: a long pause, its end, a disk that fills."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from runner.commands import Commands
from runner.errors import WorldFault
from runner.machine import Guard, is_loopback, size_text
from runner.notices import Notices

__all__ = ["Alarm"]

# A shorter pause is not worth a notice.
LONG_PAUSE_S = 60.0
LOOK_EVERY_S = 1.0
_DISK_EVERY_S = 10.0
_REACHED_S = 2.0


class Alarm:
    """Watches the guard and the disks from its own threads, and sends notices; it changes nothing.

    campaign: its name.
    """

    def __init__(self, notices: Notices, campaign: str, guard: Guard):
        self._notices, self._campaign, self._guard = notices, campaign, guard
        self._next, self._link, self._least_bytes = "", "", 0
        self._folders: list[Path] = []
        self._over = threading.Event()
        self._fault: WorldFault | None = None
        self._since = 0.0
        self._is_told = False

    def know(self, commands: Commands, folders: list[Path], least_bytes: int) -> None:
        """Take what is known once the database is open.

        folders: the run pauses when their disks have less than least_bytes free; below twice that, one notice is sent.
        """
        self._next = f"\nHow far it is: {commands.verb('status')}"
        self._folders, self._least_bytes = folders, least_bytes

    def know_link(self, link: str) -> None:
        """Take the live page's link; notices have it if other machines can reach it."""
        self._link = link

    def _onwards(self) -> str:
        """The end of a notice about a run that goes on."""
        return self._next + (f"\nHow it goes: {self._link}" if _is_reachable(self._link) else "")

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Alarm]:
        """Watch while the block runs, if there is anybody to tell. Checks that hang on a disk are not waited for."""
        looks = [(self._look_at_pause, LOOK_EVERY_S), (self._look_at_disks, _DISK_EVERY_S)]
        for look, every_s in looks if self._notices.has_addresses else []:
            threading.Thread(
                target=self._watch, args=(look, every_s), name="runner-alarm", daemon=True
            ).start()
        try:
            yield self
        finally:
            self._over.set()

    def _watch(self, look: Callable[[], None], every_s: float) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                look()
            self._over.wait(every_s)

    def _look_at_pause(self) -> None:
        fault, name = self._guard.fault, self._campaign
        if fault is not self._fault:
            if self._is_told and fault is None:
                self._notices.send(f"{name}: goes on", f"It was paused for {self._lasted()}: {self._fault}")
            if fault is None or self._fault is None:
                self._since, self._is_told = time.monotonic(), False
            self._fault = fault
        elif fault is not None and not self._is_told and time.monotonic() - self._since >= LONG_PAUSE_S:
            self._is_told = True
            self._notices.send(
                f"{name}: paused for {self._lasted()}",
                f"{fault}\nNo job is charged. The run goes on by itself when the fault is over.{self._onwards()}",
            )

    def _lasted(self) -> str:
        return f"{max(1, round((time.monotonic() - self._since) / 60))} min"

    def _look_at_disks(self) -> None:
        for folder in list(self._folders):
            free = shutil.disk_usage(folder).free
            if free < 2 * self._least_bytes:
                self._folders.remove(folder)
                self._notices.send(
                    f"{self._campaign}: little room on the disk",
                    f"The disk of {folder} has {size_text(free)} left; below {size_text(self._least_bytes)} the run "
                    f"pauses until you make room.{self._onwards()}",
                )


def _is_reachable(link: str) -> bool:
    """Whether a server listens there, and not for this machine alone."""
    place = urlsplit(link)
    if not place.hostname or is_loopback(place.hostname):
        return False
    try:
        with socket.create_connection((place.hostname, place.port or 80), _REACHED_S):
            return True
    except OSError:
        return False
