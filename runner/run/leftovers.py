"""What a render leaves behind in its process, so that pictures depend on which jobs that rendered before."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Leftovers"]

_LUCK = (
    "render draws from a random generator that all jobs of a process share ({}): a picture then depends on which jobs "
    "came before it, and an interrupted run draws the same numbers again. job.rng begins anew with each job"
)
_STATE = (
    "render changes {} of its module, which all jobs of a process share: what a picture takes from there depends on "
    "which jobs came before it, and on the number of sessions"
)
_THREADS = (
    "render leaves threads running, {} so far, among them {}: they take the time of all jobs of the process, which "
    "become slower and slower. Join what it starts, or keep one pool for all jobs"
)
_PLACE = (
    "job {} has left the process in another working directory ({}), which was put back; what the jobs beside it opened "
    "by relative paths meanwhile was looked for there"
)


# Fewer may be a library's own.
_MANY_THREADS = 64


class Leftovers:
    """What is to be seen of it when one attempt has ended.

    key: the job's. space: the names of the render function's module. home: where relative paths begin.
    """

    def __init__(self, key: str, space: Mapping[str, Any], home: str):
        self._key, self._luck, self._home = key, _Luck(space), home
        self._space, self._kept = space, _kept(space)
        self._threads = _threads()

    def told(self, seeded: Collection[str] = ()) -> dict[str, str]:
        """What a person should know, by a word that stands for its kind. Puts back what can be.

        seeded: names of generators that the job is known to have seeded.
        """
        told = {}
        drawn = self._luck.drawn_from(seeded)
        if drawn:
            told["chance"] = _LUCK.format(drawn)
        now = _kept(self._space)
        changed = [name for name, value in self._kept.items() if now.get(name, value) != value]
        if changed:
            told["state"] = _STATE.format(" and ".join(changed[:3]))
        threads = _threads()
        # A pool, and what a library starts for itself, stay as many.
        if len(threads) > max(_MANY_THREADS, len(self._threads)):
            told["threads"] = _THREADS.format(len(threads), threads[-1])
        with contextlib.suppress(OSError):
            place = os.getcwd()
            if place != self._home:
                os.chdir(self._home)
                told["place"] = _PLACE.format(self._key, place)
        return told


def _threads() -> list[str]:
    """The names of the threads that are neither runner's nor Python's own."""
    return [
        thread.name
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.name.startswith("runner-")
    ]


def _kept(space: Mapping[str, Any]) -> dict[str, tuple[type, float]]:
    """A module's own numbers, and the lengths of its lists. What a dict gains is mostly a cache, which does no harm."""
    return {
        name: (type(value), len(value) if isinstance(value, list) else value)
        for name, value in [*space.items()]
        if type(value) in (int, float, bool, list) and not name.startswith("__")
    }


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

    def drawn_from(self, seeded: Collection[str]) -> str:
        """The name of one of which a number was drawn since; ''. One that was seeded meanwhile is the job's own."""
        now = {name: state for name, state in self._states().items() if name not in seeded}
        return next((name for name, state in now.items() if _is_drawn(self._before[name], state)), "")

    def _states(self) -> dict[str, Any]:
        states: dict[str, Any] = {"random": _SHARED.of_python(), "numpy.random": _SHARED.of_numpy()}
        for name, value in self._own.items():
            if isinstance(value, random.Random):
                states[name] = _of_python(value)
            elif isinstance(value, np.random.RandomState):
                states[name] = _of_numpy(value)
            else:
                states[name] = repr(value.bit_generator.state["state"])
        return states


class _Twister(NamedTuple):
    """The state of a Mersenne Twister: its 624 words, and how many of them were drawn."""

    words: Sequence[int]
    drawn: int


def _of_python(generator: random.Random) -> _Twister:
    words = generator.getstate()[1]
    return _Twister(words, words[-1])


def _of_numpy(generator: Any) -> Any:
    state = generator.get_state(legacy=False)
    is_twister = state["bit_generator"] == "MT19937"
    return _Twister(state["state"]["key"], state["state"]["pos"]) if is_twister else repr(state["state"])


class _Shared:
    """The generators of Python and NumPy that all code shares, read where their states lie in memory.

    To ask for a state takes 0.02 ms (Python 3.11) and 0.1 ms (NumPy 2.4), and it is asked for twice a job.
    """

    def __init__(self) -> None:
        self._of_python = _memory_of_python(random.random.__self__)  # type: ignore[attr-defined]
        self._numpys: object = None
        self._of_numpys: Any = None

    def of_python(self) -> _Twister:
        """The state of random's functions."""
        if self._of_python is None:
            return _of_python(random)  # type: ignore[arg-type]
        state = memoryview(bytes(self._of_python)).cast("I")
        return _Twister(state[1:], state[0])

    def of_numpy(self) -> Any:
        """The state of numpy.random's functions."""
        find = getattr(np.random, "get_bit_generator", None)
        found = find() if find is not None else None
        if found is not self._numpys:
            self._numpys, self._of_numpys = found, _memory_of_numpy(found)
        if self._of_numpys is None:
            return _of_numpy(np.random)
        state = memoryview(bytes(self._of_numpys)).cast("I")
        return _Twister(state, state[-1])


def _memory_of_python(generator: object) -> Any:
    """The count of words that were drawn, and the words; None where they lie otherwise than expected (CPython)."""
    if not isinstance(generator, random.Random) or sys.implementation.name != "cpython":
        return None
    memory = (ctypes.c_uint32 * (_WORDS + 1)).from_address(id(generator) + object.__basicsize__)
    *words, drawn = generator.getstate()[1]
    return memory if [*memory] == [drawn, *words] else None


def _memory_of_numpy(generator: object) -> Any:
    """Its words and the count of those that were drawn; None where they lie otherwise than expected."""
    if not isinstance(generator, np.random.MT19937):
        return None
    memory = (ctypes.c_uint32 * (_WORDS + 1)).from_address(generator.ctypes.state_address)
    state = generator.state["state"]
    return memory if [*memory] == [*state["key"], state["pos"]] else None


def _is_drawn(before: Any, now: Any) -> bool:
    if not (isinstance(before, _Twister) and isinstance(now, _Twister)):
        return bool(before != now)
    if before.words[0] == now.words[0]:
        return before.drawn != now.drawn
    return _comes_to(before, now)


def _comes_to(before: _Twister, now: _Twister) -> bool:
    """Whether drawing leads from one state to the other; else it was seeded meanwhile, and that is not our concern.

    All words are made anew when the last one is drawn. Some million draws are followed, which takes milliseconds.
    """
    global _patience
    if not _patience:
        return False
    aim = _twister(now.words, 0).random_raw()
    path = _twister(before.words, _WORDS)
    for _ in range(8):
        if aim in path.random_raw(_WORDS * 2000)[::_WORDS]:
            return True
    # A render that seeds does so for each job.
    _patience -= 1
    return False


def _twister(words: Sequence[int], drawn: int) -> np.random.MT19937:
    twister = np.random.MT19937()
    key = np.array(words[:_WORDS], np.uint32)
    twister.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": drawn}}
    return twister


_NUMPYS = (np.random.Generator, np.random.RandomState)
_WORDS = 624
_SHARED = _Shared()
# How often one still tries to tell a draw from a seed, by process.
_patience = 3
