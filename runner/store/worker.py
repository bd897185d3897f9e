"""This process as a worker in a campaign's database: it starts, beats, claims, comes back, and ends."""

from __future__ import annotations

import threading

from runner.errors import LeaseLost
from runner.job import Lease
from runner.store.store import Store

__all__ = ["Worker"]


class Worker:
    """Registered when it is made; safe to share between threads.

    lease_s: how long another worker may be silent before its jobs are taken back. This one must beat several times in
    that time: call beat() whenever is_due, from a thread of its own, because a render function may take any time. If
    the database is unavailable, the caller must wait and try again.

    folder_id: of the results folder in which it keeps files, if it has one. id: in the database. It changes when this
    process was silent for too long (suspended, or held up), was declared lost, and came back: its jobs are lost then,
    and nobody is charged. A process that only claims for it must be told the new id.
    """

    def __init__(self, store: Store, campaign_id: int, lease_s: float, folder_id: str | None = None):
        self._store, self._campaign_id, self._lease_s = store, campaign_id, lease_s
        self._folder_id = folder_id
        self._mutex = threading.Lock()
        self._has_ended = False
        self.id = store.start_worker(campaign_id, folder_id=folder_id)
        self._last_beat = store.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time to beat."""
        return self._store.monotonic() >= self._last_beat + self._lease_s / 6

    def beat(self) -> None:
        """Say that this worker lives. If it was declared lost, it comes back; if it has ended, it does not."""
        known = self.id
        try:
            self._store.beat(known)
        except LeaseLost:
            self._come_back(known)
        now = self._store.monotonic()
        if now > self._last_beat + self._lease_s / 2:
            # Whatever held this one up may have held up the others, too.
            self._store.observe_anew()
        self._last_beat = now

    def take_back(self) -> int:
        """Take back the jobs of dead workers; returns how many."""
        if self._store.monotonic() > self._last_beat + self._lease_s / 2:
            self.beat()
        return self._store.reap(self._campaign_id, self._lease_s)

    def claim(self, count: int = 1, session_id: int | None = None) -> list[Lease]:
        """Up to so many jobs, as from Store.claim. A worker that was declared lost comes back first."""
        known = self.id
        try:
            return self._store.claim(known, self._campaign_id, count, session_id)
        except LeaseLost:
            self._come_back(known)
            return self._store.claim(self.id, self._campaign_id, count, session_id)

    def end(self) -> int:
        """Sign off; jobs that it still holds go back uncharged. Returns how many.

        A worker that was declared lost comes back first, so that nobody is charged for the jobs taken from it. If the
        database is away, others take back its jobs once they see that this process is gone.
        """
        self.beat()
        with self._mutex:
            count = self._store.end_worker(self.id)
            self._has_ended = True
        return count

    def _come_back(self, lost_id: int) -> None:
        with self._mutex:
            # Several threads may find it lost; one of them brings it back. A beat may come after its end.
            if self.id == lost_id and not self._has_ended:
                self.id = self._store.come_back(lost_id, self._campaign_id, self._folder_id)
