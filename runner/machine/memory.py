"""How much memory there is: the machine's, or what a container or batch job may have of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["memory_bytes"]

_CONTROL = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def memory_bytes() -> int:
    """The memory that processes here can use, all together."""
    total = int(psutil.virtual_memory().total)
    for file in _limits():
        with contextlib.suppress(OSError, ValueError):  # there is no such limit
            total = min(total, int(file.read_text()))
    return total


def _limits() -> Iterator[Path]:
    """The files with the limits of this process's control group, and of each around it (Linux, cgroups(7))."""
    try:
        groups = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if not controllers:
            root, name = _CONTROL, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _CONTROL / "memory", "memory.limit_in_bytes"
        else:
            continue
        # A container is told its path on the machine, and may see its own group as the root.
        place = root / path.lstrip("/")
        yield from (around / name for around in (place, *place.parents) if around.is_relative_to(root))
