"""Reads ML-Logger's files, pickles one after the other, as plain data: nothing in such a file is run.

Python's own pickle calls anything that a file names, and a recording or a metrics log may come from anywhere.
"""

from __future__ import annotations

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from runner.errors import UsageError
from runner.reasons import one_line

__all__ = ["load", "read_records"]

# Booleans, numbers and texts; an array of objects would hold addresses in memory.
_NUMBERS = re.compile(r"[biufcSU][1-9][0-9]{0,8}")


class _NotPlain(pickle.UnpicklingError):
    """A pickle names something that is not plain data."""


@dataclass
class _Type:
    """Stands for NumPy's dtype, which a file could make take any bytes for addresses."""

    found: Any

    def build(self, state: Any) -> None:
        _, order, *parts = state
        if any(parts[:3]) or order not in ("<", ">", "|", "="):
            raise _NotPlain("it holds an array of parts, which is not plain data")
        self.found = self.found.newbyteorder(order)


def _type(code: Any, *_: Any) -> _Type:
    import numpy as np

    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        raise _NotPlain(f"it holds an array of {code!r:.20}, which is not plain data")
    return _Type(np.dtype(code))


def _array(raw: bytes | bytearray, of: _Type, shape: tuple[int, ...], order: str) -> Any:
    import numpy as np

    return np.frombuffer(raw, of.found).reshape(shape, order="F" if order == "F" else "C")


def _scalar(of: _Type, raw: bytes) -> Any:
    (found,) = _array(raw, of, (-1,), "C")
    return found


def _empty(*_: Any) -> Any:
    """An array that is to be built."""
    import numpy as np

    return np.empty(0)


def _build(array: Any, state: Any) -> None:
    _, shape, of, is_fortran, raw = state
    # NumPy does not check these.
    if (
        not isinstance(raw, bytes)
        or min(shape, default=0) < 0
        or math.prod(shape) * of.found.itemsize != len(raw)
    ):
        raise ValueError("an array of another size")
    array.__setstate__((1, shape, of.found, is_fortran, raw))


# The names that a file may use, and their stand-ins. None of these calls anything else, or can be changed by a file.
_PLAIN: dict[str, Callable[..., Any] | None] = {
    f"{of}.{kind.__name__}": kind for of in ("builtins", "__builtin__") for kind in (set, frozenset, complex)
}
_PLAIN |= {"collections.OrderedDict": OrderedDict, "numpy.dtype": _type, "numpy.ndarray": None}
for _core in ("numpy.core", "numpy._core"):
    _PLAIN |= {f"{_core}.multiarray._reconstruct": _empty, f"{_core}.multiarray.scalar": _scalar}
    _PLAIN |= {f"{_core}.numeric._frombuffer": _array}


# Not the C version: a few bytes can make it allocate any amount of memory for its memo.
class _PlainUnpickler(pickle._Unpickler):
    """Loads numbers, texts, bytes, None, lists, tuples, sets, dicts and NumPy arrays. Raises for all else."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _PLAIN:
            raise _NotPlain(f"it names {one_line(f'{module}.{name}')}, which is not plain data")
        return _PLAIN[f"{module}.{name}"]

    def load_build(self) -> None:
        """Give what was made last its state."""
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, _Type):
            made.build(state)
        elif type(made).__name__ == "ndarray":
            _build(made, state)
        else:
            raise _NotPlain(f"it changes a {type(made).__name__}, which is not plain data")

    dispatch[pickle.BUILD[0]] = load_build


def load(file: IO[bytes]) -> Any:
    """The next record. Raises EOFError at the end, and for damaged bytes any error."""
    return _PlainUnpickler(file).load()


def read_records(path: str | Path) -> list[Any]:
    """The records of an ML-Logger file, such as a recorded camera path. Raises UsageError where it is not such a file.

    Records hold numbers, texts, lists, dicts and NumPy's arrays; a file that names anything else is refused, and
    nothing in it is run.
    """
    found: list[Any] = []
    try:
        with open(path, "rb") as file:
            while file.peek(1):
                found.append(load(file))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except _NotPlain as error:
        raise UsageError(
            f"{path}: record {len(found) + 1:,} is refused: {error}. If you trust the file, read it with pickle "
            "yourself, and write plain lists"
        ) from None
    except Exception as error:
        raise UsageError(
            f"{path} is not a file of records, or is truncated: record {len(found) + 1:,} cannot be read "
            f"({one_line(str(error))})"
        ) from None
    return found
