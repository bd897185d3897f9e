"""Which jobs a worker takes: whatever is ready, or only those of a list, once each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from runner.job import Lease, Status
from runner.store import Store

__all__ = ["Agenda"]

_GOLDEN = (5**0.5 - 1) / 2
# So many of a list are looked at in one go, where they wait for their retry.
_LOOKS = 100


class Agenda:
    """Which jobs a worker takes.

    job_ids: of those, in this order, each is taken once; None: whatever is ready, until nothing is left. A job that
    is in other hands, or settled, when its turn comes is passed over. is_spread: without such a list, the jobs
    taken so far are at any moment spread over all of them, in the order in which they were added.
    """

    def __init__(self, job_ids: Iterable[int] | None = None, is_spread: bool = False):
        self._left = None if job_ids is None else deque(job_ids)
        self._is_spread = is_spread
        # The first id, how many ids there are, and how many points have been taken among them.
        self._points: tuple[int, int, int] | None = None

    @property
    def is_spent(self) -> bool:
        """Whether no job of the list is left to be taken."""
        return self._left is not None and not self._left

    def claim(self, store: Store, worker_id: int, campaign_id: int, session_id: int) -> list[Lease]:
        """The next job; empty where none is ready. Raises LeaseLost as Store.claim does."""
        if self._left is None:
            spread = self._claim_spread(store, worker_id, campaign_id, session_id) if self._is_spread else []
            return spread or store.claim(worker_id, campaign_id, 1, session_id)
        for _ in range(min(_LOOKS, len(self._left))):
            leases = store.claim(worker_id, campaign_id, 1, session_id, job_id=self._left[0])
            if leases:
                self._left.popleft()
                return leases
            if store.reader.campaign(campaign_id)["state"] != "open":
                break
            if store.reader.status_of(self._left[0]) == Status.PENDING.value:
                # It waits for its retry.
                self._left.rotate(-1)
            else:
                self._left.popleft()
        return []

    def _claim_spread(self, store: Store, worker_id: int, campaign_id: int, session_id: int) -> list[Lease]:
        """The first job behind the next point, or else the first of all; empty where all that is left has crashed."""
        if self._points is None:
            first = store.reader.first_job_id(campaign_id)
            progress = store.reader.progress(campaign_id)
            # An earlier run's points are gone on from.
            count = store.reader.last_job_id(campaign_id) - first + 1
            self._points = first, count, progress.done + progress.failed
        first, count, taken = self._points
        self._points = first, count, taken + 1
        # Multiples of the golden ratio fill a circle evenly, however many there are.
        at = first + int(taken * _GOLDEN % 1.0 * count)
        for near in (at, first):
            leases = store.claim(worker_id, campaign_id, 1, session_id, near=near)
            if leases:
                return leases
        return []
