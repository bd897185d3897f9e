"""Programs on a terminal of their own, and what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

from processes import STARTED, command
from waiting import wait_until

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A program on a terminal of its own; text: all that it has shown, without cursor movements."""

    def __init__(self, *arguments: object, columns: int = 100, **environment: str):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        with open(theirs, "wb", buffering=0) as end:
            self.process = subprocess.Popen(
                command(*arguments),
                stdin=end, stdout=end, stderr=end,
                env=os.environ | {"TERM": "xterm"} | environment,
            )  # fmt: skip
        STARTED.append(self.process)
        os.set_blocking(self._ours, False)
        self._shown = b""

    @property
    def raw(self) -> str:
        """All that it was sent."""
        try:
            while part := os.read(self._ours, 65536):
                self._shown += part
        except OSError:
            pass
        return self._shown.decode(errors="replace")

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.raw)

    def end(self) -> int:
        """Its exit status, once it has ended."""
        wait_until(lambda: self.text and self.process.poll() is not None, "the end", timeout_s=120)
        return self.process.wait()

    def lines(self) -> list[str]:
        """Each line, and each state of a line that was written over."""
        return [line.strip() for line in re.split(r"[\r\n]+", self.text) if line.strip()]
