"""A browser tab's two ends: the server and session here, the script on the page there."""

from runner.sessions.arrays import keep_arrays
from runner.sessions.base import BaseScene
from runner.sessions.joiners import Joiners
from runner.sessions.live import frame_elsewhere
from runner.sessions.server import Server
from runner.sessions.session import Session
from runner.sessions.view import session_view

__all__ = [
    "BaseScene",
    "Joiners",
    "Server",
    "Session",
    "frame_elsewhere",
    "keep_arrays",
    "session_view",
]
