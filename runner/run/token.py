"""The token of a run's link: given, or kept beside the database, so that the link stays the same."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from runner.errors import UsageError

__all__ = ["kept_token", "new_token"]

GIVEN = "RUNNER_TOKEN"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}")


def new_token() -> str:
    """192 random bits."""
    return secrets.token_urlsafe(24)


def kept_token(place: Path) -> str:
    """The token in RUNNER_TOKEN, or in that file; if there is none yet, one is made, readable by its owner only.

    Raises UsageError if it is not a token, or others may read the file; OSError.
    """
    given = os.environ.get(GIVEN)
    if given is not None:
        return _checked(given, GIVEN)
    if not place.exists():
        _make(place)
    if place.stat().st_mode & 0o077:
        raise UsageError(
            f"others may read {place}, and anybody with the token can take jobs: remove it, and the next run makes a "
            "new link"
        )
    return _checked(place.read_text(errors="replace").strip(), str(place))


def _make(place: Path) -> None:
    """Written whole or not at all; of two runs that make one, the first wins."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{new_token()}\n")
    try:
        os.link(temporary, place)
    except FileExistsError:
        pass
    except OSError:
        # A filesystem without hard links.
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


def _checked(token: str, origin: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            f"{origin} holds no token: a token has at least 20 letters, digits, - and _, and nothing else"
        )
    return token
