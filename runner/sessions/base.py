"""The scene that jobs begin with: taken once, so that pages which come later begin with the same one; no I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from vuer.events import Set

from runner.sessions.messages import plain_message
from runner.sessions.scene import encoded_bytes

__all__ = ["BaseScene"]

# What differs in the URL of an asset from process to process, and from version to version.
_VERSION = re.compile(r"/files/[0-9a-f]{32}/")
_ANOTHER = (
    "scene() gives another scene each time: a picture would depend on which page it was made in. Seed what is random "
    "there, and let no job change what it is made of. Pages of one process go on with its first"
)


class BaseScene:
    """What scene() gives in one process.

    make: calls scene(); None where nobody needs to know whether it gives the same again.
    """

    def __init__(self, make: Callable[[], Any] | None = None) -> None:
        self._make = make
        self._first: dict[str, Any] | None = None
        self._likeness = ""

    def take(self, scene: Any) -> tuple[dict[str, Any], str]:
        """The message that shows it, and what a person should know; ''.

        Where it is not like the first one, it is that one's: a job may have changed what scene() makes it of.
        Raises FrameError for what cannot be sent.
        """
        message = plain_message(Set(scene))
        likeness = _likeness(message["data"])
        if self._first is None:
            self._first, self._likeness = message, likeness
            if self._make is not None:
                likeness = _likeness(plain_message(Set(self._make()))["data"])
        elif likeness == self._likeness:
            # Its URLs are those of the files as they are now.
            self._first = message
        return self._first, "" if likeness == self._likeness else _ANOTHER


def _likeness(data: Any) -> str:
    """A text that is equal of two scenes which show the same."""
    numbers: dict[str, str] = {}
    try:
        text = json.dumps(_numbered_anew(data, numbers), sort_keys=True, default=encoded_bytes)
    except (TypeError, ValueError):
        return ""
    return hashlib.sha256(_VERSION.sub("/files/", text).encode()).hexdigest()


def _numbered_anew(value: Any, numbers: dict[str, str]) -> Any:
    """The same, with the numbers that Vuer gives as keys to elements without one counted from the first."""
    if isinstance(value, list):
        return [_numbered_anew(item, numbers) for item in value]
    if not isinstance(value, dict):
        return value
    key = value.get("key")
    made = {name: _numbered_anew(inner, numbers) for name, inner in value.items()}
    if isinstance(key, str) and key.isdigit() and "tag" in value:
        made["key"] = numbers.setdefault(key, f"#{len(numbers)}")
    return made
