"""What a render leaves behind in its process, so that pictures depend on which jobs that rendered before."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Leftovers"]

_LUCK = (
    "render draws from a random generator that all jobs of a process share ({}): a picture then depends on which jobs "
    "came before it, and an interrupted run draws the same numbers again. job.rng begins anew with each job"
)
_PLACE = (
    "job {} has left the process in another working directory ({}), which was put back; what the jobs beside it opened "
    "by relative paths meanwhile was looked for there"
)


class Leftovers:
    """What is to be seen of it when one attempt has ended.

    key: the job's. space: the names of the render function's module. home: where relative paths begin.
    """

    def __init__(self, key: str, space: Mapping[str, Any], home: str):
        self._key, self._luck, self._home = key, _Luck(space), home

    def told(self) -> dict[str, str]:
        """What a person should know, by a word that stands for its kind. Puts back what can be."""
        told = {}
        drawn = self._luck.drawn_from()
        if drawn:
            told["chance"] = _LUCK.format(drawn)
        with contextlib.suppress(OSError):
            place = os.getcwd()
            if place != self._home:
                os.chdir(self._home)
                told["place"] = _PLACE.format(self._key, place)
        return told


class _Luck:
    """The state of each random generator that a render function finds when it begins.

    space: its module's names. Those of Python and of NumPy are looked at, too.
    """

    def __init__(self, space: Mapping[str, Any]):
        self._own = {
            name: value
            for name, value in space.items()
            if isinstance(value, (random.Random, *_NUMPYS)) and not isinstance(value, random.SystemRandom)
        }
        self._before = self._states()

    def drawn_from(self) -> str:
        """The name of one of which a number was drawn since; ''. One that was seeded meanwhile is the job's own."""
        now = self._states()
        return next((name for name, state in now.items() if _is_drawn(self._before[name], state)), "")

    def _states(self) -> dict[str, Any]:
        states = {"random": _marks(random.getstate()), "numpy.random": _marks(np.random.get_state())}
        for name, value in self._own.items():
            if isinstance(value, random.Random):
                states[name] = _marks(value.getstate())
            elif isinstance(value, np.random.RandomState):
                states[name] = _marks(value.get_state())
            else:
                states[name] = (name, repr(value.bit_generator.state["state"]))
        return states


_NUMPYS = (np.random.Generator, np.random.RandomState)


def _marks(state: Any) -> tuple[Any, Any]:
    """Of a Mersenne Twister: its first word, which a seed changes, and how many of its words were drawn."""
    words = state[1]
    # Python keeps the count behind the words, NumPy beside them.
    return (int(words[0]), int(state[2])) if isinstance(words, np.ndarray) else (words[0], words[-1])


def _is_drawn(before: tuple[Any, Any], now: tuple[Any, Any]) -> bool:
    return bool(before[0] == now[0] and before[1] != now[1])
