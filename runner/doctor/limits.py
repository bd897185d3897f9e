"""Checks of the system's limits: open files, shared memory, memory, and whether the machine falls asleep."""

from __future__ import annotations

import contextlib
import resource
import shutil
import sys
from pathlib import Path

import psutil

from runner.doctor.check import Check, State, answer_of
from runner.machine import memory_bytes, size_text

__all__ = ["check_memory", "check_open_files", "check_shared_memory", "check_sleep"]

_LEAST_FILES, _ENOUGH_FILES = 256, 1024
# The memory of a browser with a scene of some size, and of runner and its worker.
_BROWSER_BYTES, _RUNNER_BYTES = 700 << 20, 600 << 20
_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_GNOME = "org.gnome.settings-daemon.plugins.power"
_SLEEPS = ("suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate", "poweroff", "halt")


def check_open_files() -> Check:
    """How many files a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _ENOUGH_FILES:
        return Check(
            "open files", State.OK, "unlimited" if soft == resource.RLIM_INFINITY else f"{soft:,} allowed"
        )
    state = State.WARN if soft >= _LEAST_FILES else State.FAIL
    most = "" if hard == resource.RLIM_INFINITY or hard >= 4096 else f" (this account may have {hard:,})"
    return Check("open files", state, f"{soft:,} allowed", f"ulimit -n 4096{most}")


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """Whether there is any. The browsers here do not need it: they use temporary files instead."""
    if sys.platform != "linux":
        return Check("shared memory", State.OK, "not a folder on this system")
    if not folder.is_dir():
        fix = "mount it (docker run --shm-size 1g): Python's own pools of processes need it"
        return Check("shared memory", State.WARN, f"{folder} is missing", fix)
    free = shutil.disk_usage(folder).free
    return Check(
        "shared memory", State.OK, f"{folder}: {size_text(free)} free (browsers here do not need it)"
    )


def check_memory(sessions: int) -> Check:
    """Whether there is enough for so many browsers."""
    total, needed = memory_bytes(), _RUNNER_BYTES + sessions * _BROWSER_BYTES
    found = f"{size_text(total)}, of which a run takes about {size_text(needed)}"
    if needed <= total:
        return Check("memory", State.OK, found)
    fit = max(1, (total - _RUNNER_BYTES) // _BROWSER_BYTES)
    return Check("memory", State.WARN, found, f"--sessions {fit}")


def check_sleep() -> Check:
    """Whether the machine goes to sleep by itself, as far as it says so."""
    if _is_masked():
        return Check("sleep", State.OK, "switched off in systemd")
    told = {}
    action = answer_of("busctl", "get-property", *_LOGIND, "IdleAction")
    if action:
        told["logind's IdleAction"] = action.split()[-1].strip('"')
    desktop = answer_of("gsettings", "get", _GNOME, "sleep-inactive-ac-type")
    seconds = answer_of("gsettings", "get", _GNOME, "sleep-inactive-ac-timeout")
    if desktop and seconds and seconds.split()[-1] != "0":
        told["the desktop's setting"] = f"{desktop.strip(chr(39))} after {seconds.split()[-1]} s"
    sleepy = {name: value for name, value in told.items() if value.split()[0] in _SLEEPS}
    battery = None
    # There is no such function on some systems, and in some containers no folder that it reads.
    with contextlib.suppress(AttributeError, OSError):
        battery = psutil.sensors_battery()
    if sleepy:
        found = ", ".join(f"{name} is {value}" for name, value in sleepy.items())
        return Check("sleep", State.WARN, found, "systemd-inhibit --what=idle:sleep runner run FILE …")
    if battery is not None and not battery.power_plugged:
        return Check("sleep", State.WARN, f"on battery, {battery.percent:.0f} %", "plug it in")
    return Check(
        "sleep",
        State.OK,
        ", ".join(f"{name} is {value}" for name, value in told.items()) or "no setting found",
    )


def _is_masked() -> bool:
    """Whether systemd was told never to sleep."""
    return any(
        Path(folder, "sleep.target").resolve() == Path("/dev/null")
        for folder in ("/etc/systemd/system", "/run/systemd/system")
    )
