"""Shared memory in which a worker process shows that its event loop turns, and whose code is running."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from dataclasses import dataclass

__all__ = ["LOOP", "SLOTS", "Board", "Running"]

# One slot for the event loop, and so many for threads that run a job's code.
LOOP, SLOTS = 0, 33
_BEATS, _FORKED, _SLOT = struct.Struct("=Q"), struct.Struct("=q"), struct.Struct("=Qqq")
_FIRST_SLOT = _BEATS.size + _FORKED.size
_SIZE = _FIRST_SLOT + SLOTS * _SLOT.size
_NOBODY = _SLOT.pack(0, 0, 0)


@dataclass(frozen=True)
class Running:
    """A job whose code is running, in which attempt, and in which of the worker's threads."""

    thread: int
    job_id: int
    attempt: int
    is_loop: bool


class Board:
    """A few bytes that the worker process writes and the supervisor reads, even after the worker has died.

    descriptor: of the shared file; None makes one.
    """

    def __init__(self, descriptor: int | None = None):
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                file.truncate(_SIZE)
                descriptor = os.dup(file.fileno())
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._count = 0

    def beat(self) -> None:
        """The event loop turns."""
        self._count += 1
        _BEATS.pack_into(self._memory, 0, self._count)

    def enter(self, slot: int, thread: int, job_id: int, attempt: int) -> None:
        """That job's code runs in that slot from now on."""
        _SLOT.pack_into(self._memory, _FIRST_SLOT + slot * _SLOT.size, thread, job_id, attempt)

    def leave(self, slot: int) -> None:
        """No job's code runs in that slot any more."""
        at = _FIRST_SLOT + slot * _SLOT.size
        self._memory[at : at + _SLOT.size] = _NOBODY

    def note_fork(self, job_id: int) -> None:
        """That job's code forked, and the child came back into the worker's loop."""
        _FORKED.pack_into(self._memory, _BEATS.size, job_id)

    def take_fork(self, job_id: int) -> bool:
        """Whether that was noted for the job; clears the note."""
        found: int = _FORKED.unpack_from(self._memory, _BEATS.size)[0]
        if found == job_id:
            _FORKED.pack_into(self._memory, _BEATS.size, 0)
        return found == job_id

    @property
    def beats(self) -> int:
        count: int = _BEATS.unpack_from(self._memory, 0)[0]
        return count

    def running(self) -> list[Running]:
        """Whose code is running: on the event loop first, then in threads."""
        found = []
        for slot in range(SLOTS):
            thread, job_id, attempt = _SLOT.unpack_from(self._memory, _FIRST_SLOT + slot * _SLOT.size)
            if job_id:
                found.append(Running(thread, job_id, attempt, slot == LOOP))
        return found

    def close(self) -> None:
        """Release the memory."""
        self._memory.close()
        os.close(self.descriptor)
