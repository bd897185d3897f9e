"""Where bytes lie on disk: in a file of their own, or in a part of a shard."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runner.job import Extent

__all__ = ["Stored"]

_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Stored:
    """The bytes of one file. start: where they begin in `file`, which is a shard; None: they are all of it."""

    file: Path
    start: int | None
    size: int

    @classmethod
    def of(cls, root: Path, extent: Extent) -> Stored:
        """What lies there below the results folder `root`."""
        return cls(root / extent.path, extent.start, extent.size)

    def __str__(self) -> str:
        return str(self.file) if self.start is None else f"{self.file} (from byte {self.start})"

    def read_bytes(self) -> bytes:
        """All of them. Raises OSError."""
        if self.start is None:
            return self.file.read_bytes()
        with open(self.file, "rb") as file:
            file.seek(self.start)
            return file.read(self.size)

    def fault(self, sha256: str) -> str | None:
        """What is wrong with them: missing, changed, unreadable, or None."""
        content = hashlib.sha256()
        try:
            with open(self.file, "rb") as file:
                there = os.fstat(file.fileno()).st_size
                if self.start is None and there != self.size:
                    return "changed"
                if self.start is not None and there < self.start + self.size:
                    return "missing"
                file.seek(self.start or 0)
                for chunk in _chunks_of(file, self.size):
                    content.update(chunk)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return "missing"
        except OSError:
            return "unreadable"
        return None if content.hexdigest() == sha256 else "changed"


def _chunks_of(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := file.read(min(size, _AT_ONCE))):
        size -= len(chunk)
        yield chunk
