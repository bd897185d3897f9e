"""A browser tab's two ends: the server and session here, the script on the page there."""

from runner.sessions.server import Server
from runner.sessions.session import Session

__all__ = [
    "Server",
    "Session",
]
