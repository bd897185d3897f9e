"""Error messages as one harmless line, and normalized so that only numbers and names may differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = [
    "common_reason",
    "error_line",
    "first_line",
    "harmless",
    "normalized",
    "one_line",
    "whole_lines",
    "without_tokens",
]

_LONGEST, _LONGEST_ERROR = 300, 500
# Colours and other commands to a terminal: CSI … letter, OSC … bell, and two-letter ones.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]")
# Control characters but line breaks and tabs, what turns the direction of writing, what nobody sees, lone surrogates.
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
# In the address of a tab's page or of its websocket, which pages and browsers tell of.
_TOKEN = re.compile(r"(token(?:=|%3D)|/live/)[\w-]{8,}", re.IGNORECASE)
_NAMES = re.compile(
    # All matches begin with one of these; everything else is skipped at once.
    r"""
    (?= ['"0-9a-fA-F] ) (?:
    (?P<quoted> (?<!\w) (?: '[^']*' | "[^"]*" ) (?!\w) )
  | (?P<code> \b (?:
        0x[0-9a-fA-F]+                                      # an address
      | [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}         # a UUID
      | (?=[a-fA-F]*[0-9]) [0-9a-fA-F]{8,}                  # a hash, which has a digit among its letters
    ) \b )
  | (?P<number>
        (?: (?<![A-Za-z0-9]) [0-9]+                         # also mesh_7
          | (?<=[A-Za-z]) (?<!float) (?<!int) [0-9]{2,}     # frame0012, but not float32, vec3
        ) (?:\.[0-9]+)* (?:e[+-]?[0-9]+)? )
    )
    """,
    re.VERBOSE,
)
_STANDS_FOR = {"quoted": "'…'", "code": "…", "number": "N"}


def one_line(text: str, longest: int = _LONGEST) -> str:
    """The text without colours, line breaks and control characters, cut to so many characters."""
    text = text[: 20 * longest]
    if text.isprintable() and len(text) <= longest:
        return " ".join(text.split())
    plain = _ESCAPES.sub("", text)
    line = " ".join("".join(c if c.isprintable() else " " for c in plain).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def harmless(text: str) -> str:
    r"""The text without colours, with other terminal commands escaped, as \x1b; lines stay lines."""
    if text.isprintable():
        return text
    return _ODD.sub(_escaped, _COLOURS.sub("", text).replace("\r\n", "\n"))


def _escaped(odd: re.Match[str]) -> str:
    code = ord(odd[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def whole_lines(lines: Iterable[str]) -> str:
    """The text of these lines: each is one line and harmless, whatever is in it."""
    return "".join(f"{line if line.isprintable() else _line(line)}\n" for line in lines)


def _line(text: str) -> str:
    return harmless(text).replace("\n", "\\n")


def without_tokens(text: str) -> str:
    """The text without tokens, which would let its reader into a run."""
    return _TOKEN.sub(r"\1…", text) if "oken" in text or "/live/" in text else text


def first_line(error: BaseException) -> str:
    """The first line of its message; '' where there is none."""
    try:
        return str(error).strip().split("\n")[0]
    except Exception:
        # A user's own exception class may fail in its __str__.
        return ""


def error_line(error: BaseException) -> str:
    """TypeName: first line of the message."""
    message = first_line(error)
    return f"{type(error).__name__}: {message}"[:_LONGEST_ERROR] if message else type(error).__name__


# As many as a bad night has failures; each attempt repeats its reason.
@lru_cache(maxsize=1 << 17)
def normalized(reason: str) -> str:
    """The reason with each number, address, hash and quoted name replaced, so that it is the same for all jobs."""
    # Longer than what is shown, because the place of the cut depends on the numbers before it.
    line = one_line(reason, 2 * _LONGEST)
    told = _NAMES.sub(lambda found: _STANDS_FOR[str(found.lastgroup)], line)
    return told if len(told) <= _LONGEST else told[: _LONGEST - 1] + "…"


def common_reason(reasons: Iterable[str]) -> str:
    """A name for reasons that are equal when normalized: the reason itself if all are the same."""
    distinct = set(reasons)
    return one_line(distinct.pop()) if len(distinct) == 1 else normalized(distinct.pop())
