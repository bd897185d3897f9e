"""Prepares foreign text for a row: characters that no database holds are escaped, and endless text is cut."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from runner.reasons import harmless, without_tokens

__all__ = [
    "REASON_BYTES",
    "TRACE_BYTES",
    "cleaned",
    "cleaned_or_none",
    "cleaned_values",
    "is_text",
    "to_json",
]

REASON_BYTES = 2 << 10
TRACE_BYTES = 64 << 10

_CUT_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def cleaned(text: str, most_bytes: int = REASON_BYTES) -> str:
    r"""The text as any database and terminal accepts it; of a long text, its beginning and its end.

    Control characters and lone surrogates (bytes of a file name that are not UTF-8, half an emoji) are escaped as
    Python writes them (\x00, \udce9); terminal colours are left out; two halves of an emoji are joined. most_bytes: in
    UTF-8.
    """
    # Beyond this length, only the two ends can stay.
    if len(text) > 2 * most_bytes:
        text = _cut(text, most_bytes)
    text = without_tokens(text)
    if not text.isprintable():
        text = _CUT_PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
        text = harmless(text)
    return text if len(text.encode()) <= most_bytes else _cut(text, most_bytes)


def cleaned_or_none(text: str | None, most_bytes: int = REASON_BYTES) -> str | None:
    """The same for text that may be missing."""
    return None if text is None else cleaned(text, most_bytes)


def cleaned_values(values: Mapping[str, Any], most_bytes: int = REASON_BYTES) -> dict[str, Any]:
    """The same for each text among the values."""
    return {
        name: cleaned(value, most_bytes) if isinstance(value, str) else value
        for name, value in values.items()
    }


def is_text(text: str) -> bool:
    """Whether every database can hold it unchanged."""
    try:
        return "\x00" not in text and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


def to_json(value: Any) -> str:
    """JSON in ASCII, which can express any text; NaN and infinities become null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cut(text: str, most_bytes: int) -> str:
    """The beginning and the end, where a traceback says what happened, with a mark between them."""
    content = text.encode("utf-8", "surrogatepass")
    mark = f" … ({len(content):,} bytes in all) … "
    half = max(0, most_bytes - len(mark.encode())) // 2
    head, tail = content[:half], content[len(content) - half :]
    # Drop a character that the cut has split, but keep a lone surrogate, which has three bytes.
    return _whole(head) + mark + _whole(tail)


def _whole(content: bytes) -> str:
    start = 0
    while start < len(content) and content[start] & 0xC0 == 0x80:
        start += 1
    end = len(content)
    while end > start:
        try:
            return content[start:end].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            end -= 1
    return ""
