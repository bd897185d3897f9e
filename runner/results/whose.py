"""Finds a job's results folder, where runners on several machines each have their own."""

from __future__ import annotations

from runner.results.folder import ResultsFolder
from runner.store import Reader

__all__ = ["Whose"]


class Whose:
    """Knows the jobs whose files are in another runner's folder than the checked one: they are not missing.

    In a folder that the database does not know, such as one into which several were copied, all files are expected.
    """

    def __init__(self, store: Reader, campaign_id: int, results: ResultsFolder):
        own, places = results.id, store.folders(campaign_id)
        self._places: dict[int, str] = {}
        if own in places:
            # An earlier folder at the same place is gone, and its files with it.
            others = {each: place for each, place in places.items() if place != places[own]}
            workers = store.workers(campaign_id) if others else []
            self._places = {
                row["id"]: others[row["folder"] or ""] for row in workers if row["folder"] in others
            }

    def elsewhere(self, worker_id: int | None) -> str:
        """HOST:PATH of the folder with the files of that worker's jobs; '' where it is this one."""
        return self._places.get(worker_id or 0, "")
