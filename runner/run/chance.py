"""A random generator that a job has seeded is its own until its end, although all jobs of a process share it."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import wraps
from typing import Any

from runner.run.life import CURRENT, Life

__all__ = ["OwnChance", "notice_seeds"]


class OwnChance:
    """Each step of a job's code finds the generators that the job has seeded as its last step has left them."""

    def __init__(self) -> None:
        self._last: Life | None = None

    def enter(self, life: Life) -> None:
        """Before a step of its code."""
        last = self._last
        if last is life:
            return
        if last is not None and not last.is_over:
            last.chance = {name: _state(name) for name in last.chance}
        for name, state in life.chance.items():
            if state is not None:
                _put(name, state)
        self._last = life


def notice_seeds() -> None:
    """From now on a job whose code seeds Python's generator, or NumPy's, is known to have done so."""
    import numpy as np

    for module, names in ((random, ("seed", "setstate")), (np.random, ("seed", "set_state"))):
        for name in names:
            seed = getattr(module, name)
            if not hasattr(seed, "__wrapped__"):
                setattr(module, name, _noticed(module.__name__, seed))


def _noticed(name: str, seed: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(seed)
    def noticed(*args: Any, **options: Any) -> Any:
        life = CURRENT.get()
        if life is not None:
            life.chance.setdefault(name, None)
        return seed(*args, **options)

    return noticed


def _state(name: str) -> Any:
    if name == "random":
        return random.getstate()
    import numpy as np

    return np.random.get_state(legacy=False)


def _put(name: str, state: Any) -> None:
    if name == "random":
        random.setstate(state)
    else:
        import numpy as np

        np.random.set_state(state)
