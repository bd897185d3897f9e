"""The processes and folders of browsers, seen from outside, and the end of both."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import psutil

from runner.errors import BrowserError
from runner.machine import Identity, is_gone

FOLDER_PREFIX = "runner-browsers-"
OWNER = "owner.json"
# A Unix socket's path may hold 104 bytes (macOS; Linux 108), and Chromium's adds up to 46 to its temporary
# folder.
LONGEST_TMPDIR = 58


def temporary_place() -> Path:
    """The folder for browsers' folders: that for temporary files, unless a socket's path would be too long there."""
    place = Path(tempfile.gettempdir())
    return place if len(os.fsencode(place)) <= LONGEST_TMPDIR else Path("/tmp")


def end_orphans() -> int:
    """End the browsers that dead runners left behind, and remove their folders; returns how many folders."""
    count = 0
    for folder in temporary_place().glob(f"{FOLDER_PREFIX}*"):
        try:
            is_mine = folder.stat().st_uid == os.getuid()
            owner = Identity(**json.loads((folder / OWNER).read_text()))
            is_left = is_gone(owner)
        except (OSError, ValueError, TypeError):
            # Its runner was killed before it wrote who it is; a living one does so at once.
            is_left = folder.exists() and time.time() - folder.stat().st_mtime > 3600.0
        if is_mine and is_left:
            end_folder(folder)
            count += 1
    return count


def profile_of(process_id: int) -> Path:
    for word in psutil.Process(process_id).cmdline():
        if word.startswith("--user-data-dir="):
            return Path(word.partition("=")[2])
    raise BrowserError("the browser has no profile of its own")


def end_folder(folder: Path) -> None:
    """Kill all processes that work in the folder, and remove it."""
    while found := _processes_in(folder):
        for one in found:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(found, timeout=1.0)
    shutil.rmtree(folder, ignore_errors=True)


def _processes_in(folder: Path) -> list[psutil.Process]:
    own = os.getpid()
    return [
        one
        for one in psutil.process_iter()
        if str(folder) in _command(one) and one.pid != own and is_alive(one)
    ]


def _command(process: psutil.Process) -> str:
    try:
        return str(" ".join(process.cmdline()))
    except psutil.Error:
        return ""


def status_of(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.Error:
        return str(psutil.STATUS_DEAD)


def is_alive(process: psutil.Process | None) -> bool:
    return process is not None and process.is_running() and status_of(process) != psutil.STATUS_ZOMBIE
