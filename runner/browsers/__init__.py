"""Headless Chromium: found, started, watched, replaced and ended."""

from runner.browsers.browser import Browser
from runner.browsers.cards import best_driver, chosen_drivers, drivers_of, find_cards, find_drivers, undrawn
from runner.browsers.find import find_browser
from runner.browsers.launcher import RASTERIZERS, Launcher, is_software
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
    "best_driver",
    "chosen_drivers",
    "drivers_of",
    "end_orphans",
    "find_browser",
    "find_cards",
    "find_drivers",
    "is_software",
    "temporary_place",
    "undrawn",
]
