"""Starts a Python process that runs one of our modules, with a channel to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from runner.run.channel import Channel

__all__ = ["start_child"]

# It finds modules only where this process finds them.
_BOOT = "import sys; sys.path[:] = sys.argv.pop(1).split(sys.argv.pop(1)); from {module} import main; main()"


def start_child(
    module: str, arguments: Sequence[str] = (), descriptors: Sequence[int] = (), is_apart: bool = False
) -> tuple[subprocess.Popen[bytes], Channel]:
    """Call main() of that module there. Its arguments are its end of the channel, the descriptors, and the others.

    descriptors: those that it inherits. is_apart: it has a session of its own, and gets no signals from a terminal.
    """
    ours, theirs = socket.socketpair()
    passed = (theirs.fileno(), *descriptors)
    path = os.pathsep.join(os.getcwd() if part == "" else part for part in sys.path)
    with theirs:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _BOOT.format(module=module),
                path,
                os.pathsep,
                *map(str, passed),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=passed,
            start_new_session=is_apart,
        )
    return process, Channel(ours)
