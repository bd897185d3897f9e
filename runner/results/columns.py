"""The names of a job's values in every record, table and export: no value hides another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["COLUMNS", "FILES", "MANIFEST_FIELD", "RECORD_COLUMNS", "named"]

# The columns that every job has, before its params and metrics.
COLUMNS = (
    "key", "status", "attempt", "failures", "crashes", "priority", "created_ts", "grab_ts", "done_ts", "duration_s",
    "error", "browser", "renderer",
)  # fmt: skip
# After them, in tables: the job's files.
FILES = "artifacts"
# The columns in a record of metrics.pkl.
RECORD_COLUMNS = ("key", "attempt", "grab_ts", "done_ts", "duration_s")
# The further fields of a record in a shard.
MANIFEST_FIELD = "_runner"
_TAKEN = frozenset((*COLUMNS, FILES, MANIFEST_FIELD))
_PREFIXES = ("params/", "metrics/")


def named(params: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Params, then metrics, each under its own name, as text that can be written anywhere.

    A param keeps its name, or becomes params/NAME if a column has that name. A metric keeps its name, or becomes
    metrics/NAME if a column has that name, or a param with another value; a metric that repeats its param is that
    param. Names that already look prefixed get a prefix, too, so that no two ever collide.
    """
    row: dict[str, Any] = {}
    for name, value in _prefixed(params, metrics):
        row[_new_name(name, row)] = _legible(value)
    return row


def _prefixed(params: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        yield f"params/{name}" if _is_taken(name) else name, value
    for name, value in metrics.items():
        if name not in params or _is_taken(name):
            yield f"metrics/{name}" if _is_taken(name) else name, value
        elif not _is_same(value, params[name]):
            yield f"metrics/{name}", value


def _legible(value: Any) -> Any:
    """The value; what UTF-8 has no bytes for (half a character, such as odd file names have) as caf\\udce9."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [_legible(item) for item in value]
    if isinstance(value, dict):
        legible: dict[str, Any] = {}
        for name, inner in value.items():
            legible[_new_name(name, legible)] = _legible(inner)
        return legible
    return value


def _new_name(name: str, taken: Mapping[str, Any]) -> str:
    # In Arrow's files a NUL ends a name.
    name = _legible(name).replace("\0", "\\x00")
    while name in taken:
        # Only the escaped part made the names different.
        name += "_"
    return name


def _is_taken(name: str) -> bool:
    return name in _TAKEN or name.startswith(_PREFIXES)


def _is_same(metric: Any, param: Any) -> bool:
    """1 and 1.0 are the same, 1 and True are not."""
    return isinstance(metric, bool) == isinstance(param, bool) and bool(metric == param)
