"""Moves a run's shards to an object store, beside the rendering, and all that are left at the end."""

from __future__ import annotations

import threading

from runner.errors import WorldFault
from runner.machine import Guard, size_text
from runner.results import ResultsFolder, move_shards, settle_moved
from runner.run.say import say
from runner.store import Store

__all__ = ["Mover"]

_LOOK_EVERY_S = 2.0
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
# After so many failed tries a run ends without the object store.
_LAST_TRIES = 3
# When a run is ended from outside, a shard on its way is waited for no longer than this.
_LONGEST_END_S = 10.0


class Mover:
    """Moves closed shards; those that cannot be moved now wait on the disk. To be used in a with block.

    most_bytes: when so many wait, the run pauses. trouble: why the object store takes no more; ''.
    """

    def __init__(
        self,
        store: Store,
        campaign_id: int,
        results: ResultsFolder,
        url: str,
        guard: Guard,
        most_bytes: int,
        look_every_s: float = _LOOK_EVERY_S,
    ):
        self._store, self._campaign_id, self._results = store, campaign_id, results
        self.url, self._guard, self._most_bytes, self._look_every_s = url, guard, most_bytes, look_every_s
        self.trouble = ""
        self._has_settled = False
        self._tries = 0
        self._is_last = self._is_over = False
        self._wake, self._ended = threading.Event(), threading.Event()
        # Do not wait if the run is ended from outside: the next run goes on with the moving.
        self._thread = threading.Thread(target=self._work, name="runner-mover", daemon=True)

    def __enter__(self) -> Mover:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._wake.set()
        self._ended.wait(_LONGEST_END_S)

    @property
    def waiting_bytes(self) -> int:
        """How much of the campaign waits on this disk. A run on another machine moves what is on its own disk."""
        here = self._store.reader.shards_here(self._campaign_id)
        return sum(shard.size for shard in here if (self._results.root / shard.path).exists())

    def probe(self) -> None:
        """Raises WorldFault while too much waits."""
        waiting = self.waiting_bytes
        if waiting > self._most_bytes:
            why = self.trouble or f"{self.url} takes files more slowly than they are made"
            raise WorldFault(
                f"{size_text(waiting)} wait in {self._results.folder}, more than --spool allows "
                f"({size_text(self._most_bytes)}): {why}"
            )

    def finish(self) -> int:
        """Move all that is left, unless the object store is away; returns how many bytes still wait."""
        waiting = self.waiting_bytes
        if waiting:
            say(f"moving the last {size_text(waiting)} to {self.url}")
        self._is_last, self._tries = True, 0
        self._wake.set()
        self._ended.wait()
        return self.waiting_bytes

    def _work(self) -> None:
        try:
            while not self._is_over:
                is_last = self._is_last
                self._round()
                if is_last and (not self._tries or self._tries >= _LAST_TRIES):
                    return
                self._wake.wait(self._pause_s())
                self._wake.clear()
        finally:
            self._ended.set()

    def _pause_s(self) -> float:
        if not self._tries:
            return self._look_every_s
        return min(_SHORTEST_WAIT_S * 2.0 ** min(self._tries - 1, 10), _LONGEST_WAIT_S)

    def _round(self) -> None:
        try:
            if not self._has_settled:
                settle_moved(self._store, self._campaign_id, self._results, self.url)
                self._has_settled = True
            move_shards(self._store, self._campaign_id, self._results, self.url)
        except Exception as error:
            if self._is_over:
                return
            # Faults of the database and the disk are reported elsewhere, too.
            self._tries += 1
            if not self.trouble:
                self._guard.tell("remote", f"{error}; what is rendered waits in {self._results.folder}")
            self.trouble = str(error)
        else:
            if self.trouble:
                self._guard.tell("remote", f"{self.url} takes files again")
            self._tries, self.trouble = 0, ""
