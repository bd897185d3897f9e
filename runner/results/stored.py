"""Where bytes are stored: in their own file on disk, or in a part of a shard, on disk or in an object store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from runner.errors import UsageError
from runner.job import Extent
from runner.results import remote
from runner.store import Reader

__all__ = ["Moved", "Stored", "moved_of", "nowhere"]

_AT_ONCE = 1 << 20
# Gives the address of a shard by its path; None unless it is in an object store.
Moved = Callable[[str], "str | None"]


def nowhere(path: str) -> str | None:
    """For campaigns without shards in an object store."""
    return None


def moved_of(store: Reader, campaign_id: int) -> Moved:
    """The addresses of the campaign's shards in an object store; may be asked while a run moves them."""
    known: dict[str, str] = {}

    def address(path: str) -> str | None:
        if path not in known:
            known.update(store.shard_addresses(campaign_id, path))
        return known.get(path)

    return address


@dataclass(frozen=True)
class Stored:
    """The bytes of one file. start: where they begin in `file`, which is a shard; None: they are the whole file.

    path: of the file below RESULTS. moved: gives the address of the shard once it is no longer there.
    """

    file: Path
    start: int | None
    size: int
    path: str = ""
    moved: Moved = field(default=nowhere, repr=False, compare=False)

    @classmethod
    def of(cls, root: Path, extent: Extent, moved: Moved = nowhere) -> Stored:
        """The bytes at that place below the results folder `root`. Raises UsageError for a path that leads out."""
        if extent.path.startswith("/") or "/../" in f"/{extent.path}/" or "\0" in extent.path:
            raise UsageError(
                f"{extent.path!r} is not a path below a results folder: this database was changed by another program"
            )
        return cls(root / extent.path, extent.start, extent.size, extent.path, moved)

    def __str__(self) -> str:
        return self.where if self.start is None else f"{self.where} (from byte {self.start})"

    @property
    def where(self) -> str:
        """The file that holds them, or the address of the object."""
        return str(self.file) if self.file.exists() else self._address or str(self.file)

    @property
    def is_there(self) -> bool:
        """Whether its file exists, or its shard is recorded to be in an object store."""
        return self.file.exists() or self._address is not None

    @property
    def _address(self) -> str | None:
        return None if self.start is None else self.moved(self.path)

    def read_bytes(self) -> bytes:
        """All of them. Raises OSError."""
        try:
            if self.start is None:
                return self.file.read_bytes()
            with open(self.file, "rb") as file:
                file.seek(self.start)
                return file.read(self.size)
        except FileNotFoundError:
            # Asked only now: a run may move the shard at any moment, and writes its row first.
            address = self._address
            if address is None:
                raise
        return remote.read_part(address, self.start or 0, self.size)

    def fault(self, sha256: str) -> str | None:
        """Their fault: missing, changed, unreadable, or None."""
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
            return "missing" if self._address is None else self._fault_there(sha256)
        except OSError:
            return "unreadable"
        return None if content.hexdigest() == sha256 else "changed"

    def _fault_there(self, sha256: str) -> str | None:
        try:
            content = self.read_bytes()
        except FileNotFoundError:
            return "missing"
        except (OSError, UsageError):
            return "unreadable"
        if len(content) < self.size:
            return "missing"
        return None if hashlib.sha256(content).hexdigest() == sha256 else "changed"


def _chunks_of(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := file.read(min(size, _AT_ONCE))):
        size -= len(chunk)
        yield chunk
