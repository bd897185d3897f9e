"""Which jobs a worker takes: any that are ready, or only those of a list, once each."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from runner.job import Lease
from runner.store import Store

__all__ = ["Agenda"]

_GOLDEN = (5**0.5 - 1) / 2
# So many jobs of a list are tried in one go, where they wait for a retry or others have them.
_LOOKS = 100


class Agenda:
    """Which jobs a worker takes.

    jobs: the ids of the only jobs to take, once each, in this order; None: any that are ready, until nothing is left.
    Each comes with its number of attempts so far: if it has had more by now, or another worker has it, it is passed
    over. is_spread: without such a list, at any moment the jobs taken so far are spread evenly over all, in the order
    in which they were added. which, of: this worker's number, from 0, and how many workers share the list or the
    places; it takes the others' part of the list last, from its end.
    """

    def __init__(
        self, jobs: Mapping[int, int] | None = None, is_spread: bool = False, which: int = 0, of: int = 1
    ):
        self._left: deque[tuple[int, int]] | None = None
        if jobs is not None:
            ones = list(jobs.items())
            others = [one for place, one in enumerate(ones) if place % of != which]
            self._left = deque([*ones[which::of], *reversed(others)])
        self._is_spread, self._which, self._of = is_spread, which, of
        # The first id, how many ids there are, and the number of the next point among them.
        self._points: tuple[int, int, int] | None = None

    @property
    def is_spent(self) -> bool:
        """Whether no job of the list is left."""
        return self._left is not None and not self._left

    def claim(self, store: Store, worker_id: int, campaign_id: int, session_id: int) -> list[Lease]:
        """The next job; empty where none is ready. Raises LeaseLost as Store.claim does."""
        if self._left is None:
            spread = self._claim_spread(store, worker_id, campaign_id, session_id) if self._is_spread else []
            return spread or store.claim(worker_id, campaign_id, 1, session_id)
        looks = min(_LOOKS, len(self._left))
        while looks and self._left:
            looks -= 1
            leases = store.claim(worker_id, campaign_id, 1, session_id, job=self._left[0])
            if leases:
                self._left.popleft()
                return leases
            if store.reader.campaign(campaign_id)["state"] != "open":
                break
            self._pass_over(store)
        return []

    def _pass_over(self, store: Store) -> None:
        """Skip the list's first job, which waits for a retry or was taken, and those behind it that may be likewise."""
        assert self._left is not None
        some = [self._left.popleft() for _ in range(min(_LOOKS, len(self._left)))]
        pending = store.reader.pending_attempts([job_id for job_id, _ in some])
        there = [(job_id, before) for job_id, before in some if pending.get(job_id) == before]
        if there[:1] == some[:1]:
            self._left.append(there.pop(0))
        self._left.extendleft(reversed(there))

    def _claim_spread(self, store: Store, worker_id: int, campaign_id: int, session_id: int) -> list[Lease]:
        """The first job behind the next point, or else the first of all; empty if all jobs left have crashed before."""
        if self._points is None:
            first = store.reader.first_job_id(campaign_id)
            progress = store.reader.progress(campaign_id)
            # Go on from an earlier run's points.
            count = store.reader.last_job_id(campaign_id) - first + 1
            self._points = first, count, progress.done + progress.failed + self._which
        first, count, point = self._points
        self._points = first, count, point + self._of
        # Multiples of the golden ratio fill a circle evenly, however many there are.
        at = first + int(point * _GOLDEN % 1.0 * count)
        for near in (at, first):
            leases = store.claim(worker_id, campaign_id, 1, session_id, near=near)
            if leases:
                return leases
        return []
