"""What changed since one last looked. The last look at each campaign is noted in the user's own state folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.machine import own_folder
from runner.report.summary import Since, Summary

__all__ = ["LastLook"]

_REASONS = 200


@dataclass(frozen=True)
class _Seen:
    """The state at that look."""

    made_ts: float
    done: int
    failed: int
    suspects: int
    reasons: tuple[str, ...]


class LastLook:
    """When a person last looked at that campaign, and its state then. database: its address.

    It is kept below XDG_STATE_HOME (~/.local/state), because looking writes nothing beside the campaign. Without such a
    folder there is no last look.
    """

    def __init__(self, database: str, campaign: str):
        name = hashlib.blake2b(
            f"{database}\0{campaign}".encode(errors="backslashreplace"), digest_size=12
        ).hexdigest()
        # Nothing can be kept in the latter.
        folder = own_folder("XDG_STATE_HOME", ".local/state") or Path(os.devnull)
        self._file = folder / "looks" / f"{name}.json"

    def since(self, summary: Summary) -> Since | None:
        """What has changed; None at the first look."""
        seen = self._seen()
        if seen is None:
            return None
        reasons = [group.reason for group in summary.failures]
        return Since(
            seen.made_ts,
            summary.done - seen.done,
            summary.failed - seen.failed,
            len(summary.suspects) - seen.suspects,
            tuple(reason for reason in reasons if reason not in seen.reasons),
            tuple(reason for reason in seen.reasons if reason not in reasons),
        )

    def note(self, summary: Summary) -> None:
        """A person has looked now."""
        reasons = tuple(group.reason for group in summary.failures)[:_REASONS]
        seen = _Seen(summary.made_ts, summary.done, summary.failed, len(summary.suspects), reasons)
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}.tmp")
            temporary.write_text(json.dumps(asdict(seen)))
            temporary.replace(self._file)

    def _seen(self) -> _Seen | None:
        try:
            known: dict[str, Any] = json.loads(self._file.read_text())
            return _Seen(**known | {"reasons": tuple(known["reasons"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None
