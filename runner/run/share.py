"""How worker processes share the sessions of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Share", "shares_of"]

# One process can keep so many tabs at work; see "All cores" in runner/docs/performance.md.
_SESSIONS_OF_ONE = 4
# Drawing needs more of the cores than checking and storing.
_CORES_FOR_ONE = 2


@dataclass(frozen=True)
class Share:
    """One worker process's share of a run.

    which, of: its number, from 0, and how many processes there are. sessions: headless browsers that it starts; 0:
    people open tabs. first_session: the number of the first of these, from 1.
    """

    which: int = 0
    of: int = 1
    sessions: int = 0
    first_session: int = 1


def shares_of(sessions: int, workers: int | None = None) -> list[Share]:
    """The share of each worker process.

    sessions: headless browsers of the run; 0: people open tabs, nobody knows how many. workers: how many processes;
    None: as many as these sessions and the machine's cores call for. Each process has at least one session.
    """
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(-(-sessions // _SESSIONS_OF_ONE), cores // _CORES_FOR_ONE)
    of = max(1, min(workers, sessions) if sessions else workers)
    counts = [sessions // of + (which < sessions % of) for which in range(of)]
    return [Share(which, of, count, 1 + sum(counts[:which])) for which, count in enumerate(counts)]
