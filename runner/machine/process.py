"""The identity of this process, and whether another process is certainly gone."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Identity:
    """A process, named so that no other can be mistaken for it.

    boot: this boot of this machine (or of this container's pid namespace). pid_start: when the process started, by the
    kernel; a reused pid differs in it.
    """

    host: str
    boot: str
    pid: int
    pid_start: str


def this_process() -> Identity:
    """The identity of the calling process."""
    pid = os.getpid()
    return Identity(socket.gethostname(), _boot(), pid, _pid_start(pid) or "")


def is_gone(identity: Identity) -> bool:
    """True only where the process is certainly dead: same host, and another boot or no such process.

    A process on another host is never called gone: only its heartbeat can tell.
    """
    if identity.host != socket.gethostname():
        return False
    if identity.boot != _boot():
        # Containers may share a host name, and their processes cannot be seen from another pid namespace.
        return _machine_boot(identity.boot) != _machine_boot(_boot())
    return _pid_start(identity.pid) != identity.pid_start


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot_id} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        # Elsewhere than on Linux: the boot time, to the minute because it drifts with the clock.
        return str(int(psutil.boot_time()) // 60)


def _machine_boot(boot: str) -> str:
    return boot.split(" ")[0]


def _pid_start(pid: int) -> str | None:
    """When the process started; None when there is none, or only its unreaped remains."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        # proc(5): the command's name, field 2, may hold anything; state is field 3, starttime field 22.
        fields = stat[stat.rindex(b")") + 2 :].split()
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except ProcessLookupError:
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None
