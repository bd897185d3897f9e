"""Headless Chromium: found, started, watched, replaced and ended."""

from runner.browsers.browser import Browser
from runner.browsers.find import find_browser
from runner.browsers.launcher import RASTERIZERS, Launcher
from runner.browsers.pool import BrowserPool, Doors, Limits
from runner.browsers.processes import end_orphans, temporary_place
from runner.browsers.tab import Tab

__all__ = [
    "Browser",
    "BrowserPool",
    "Doors",
    "Launcher",
    "Limits",
    "RASTERIZERS",
    "Tab",
    "end_orphans",
    "find_browser",
    "temporary_place",
]
