"""Room on the disk: how much the jobs that are left will take, and how much there is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from runner.errors import UsageError

__all__ = ["forecast", "free_bytes", "is_plenty", "job_bytes", "parse_size", "size_text"]

_UNITS = ("", "K", "M", "G", "T", "P")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?", re.IGNORECASE)
# The size of a job's row, result and log record; and, where it has files, of their folder and manifest.
_ROWS_BYTES = 1_500
_FOLDER_BYTES = 8_192
# So many times the needed room is plenty.
_PLENTY = 10


def parse_size(text: str) -> int:
    """Bytes of a size such as 500M, 1.5G or 0; units are powers of 1024. Raises UsageError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a size: write 500M, 2G or similar")
    return int(float(found[1]) * 1024 ** _UNITS.index(found[2].upper()))


def size_text(count: float) -> str:
    """Bytes for people, as 1.5 GiB."""
    power = 0
    while count >= 1024.0 and power < len(_UNITS) - 1:
        count, power = count / 1024.0, power + 1
    return f"{count:.1f} {_UNITS[power]}iB" if power else f"{count:.0f} bytes"


def free_bytes(folder: Path) -> int:
    """How much room there is on the disk of a folder, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def job_bytes(files_bytes: float) -> float:
    """What a job takes on the disk. files_bytes: the size of its files, each rounded up to blocks."""
    return files_bytes + _ROWS_BYTES + (_FOLDER_BYTES if files_bytes else 0)


def is_plenty(free: int, needed: float, least_bytes: int) -> bool:
    """Whether there is so much room that nobody need know. least_bytes: what must stay free."""
    return needed * _PLENTY <= free - least_bytes and free >= 2 * least_bytes


def forecast(folder: Path, left: int, files_bytes_a_job: float, least_bytes: int) -> str:
    """One line: what the jobs left will take on the folder's disk; a warning where there is not enough room.

    '' where there is plenty. files_bytes_a_job: the mean over done jobs, each file rounded up to blocks. least_bytes:
    what must stay free.
    """
    free, a_job = free_bytes(folder), job_bytes(files_bytes_a_job)
    if is_plenty(free, left * a_job, least_bytes):
        return ""
    line = (
        f"disk: the {left:,} jobs left will take about {size_text(left * a_job)}, {size_text(free)} are free"
    )
    if left * a_job <= free - least_bytes:
        return line
    fit = max(0, int((free - least_bytes) / a_job))
    return f"warning: {line}: after about {fit:,} of them the run will pause until you make room in {folder}"
