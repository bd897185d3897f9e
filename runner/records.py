"""Reads what ML-Logger keeps, pickles one after the other, as plain data: nothing in such a file is run.

Python's own pickle calls whatever a file names, and a recording or a metrics log may come from anywhere.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

from runner.errors import UsageError

__all__ = ["load", "read_records"]

# What arrays and single numbers of NumPy are made of, by versions 1 and 2; none of it calls anything else.
_NUMPY = {
    f"numpy{core}.{name}"
    for core in (".core", "._core")
    for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
}
_BUILTIN = {f"{of}.{name}" for of in ("builtins", "__builtin__") for name in ("set", "frozenset", "complex")}
_PLAIN = _NUMPY | _BUILTIN | {"numpy.ndarray", "numpy.dtype", "collections.OrderedDict"}


class _NotPlain(pickle.UnpicklingError):
    """A pickle names something that is not plain data."""


# Not the one that is written in C: a few bytes have that one take any amount of memory for its memo.
class _PlainUnpickler(pickle._Unpickler):
    """Loads numbers, texts, bytes, None, lists, tuples, sets, dicts, and NumPy's arrays. Raises for others."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _PLAIN:
            raise _NotPlain(f"it names {module}.{name}, which is not plain data")
        return super().find_class(module, name)


def load(file: IO[bytes]) -> Any:
    """The next one. Raises EOFError at the end, and whatever damaged bytes lead to."""
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
            f"{path}: record {len(found) + 1:,} is not taken in: {error}. Where you trust the file, read it with "
            "pickle yourself, and write plain lists"
        ) from None
    except Exception as error:
        raise UsageError(
            f"{path} is not a file of records, or is cut off: record {len(found) + 1:,} cannot be read ({error})"
        ) from None
    return found
