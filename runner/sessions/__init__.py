"""A browser tab's two ends: the server and session here, the script on the page there."""

from runner.sessions.joiners import Joiners
from runner.sessions.live import frame_elsewhere
from runner.sessions.server import Server
from runner.sessions.session import Session
from runner.sessions.view import session_view

__all__ = [
    "Joiners",
    "Server",
    "Session",
    "frame_elsewhere",
    "session_view",
]
