"""What a campaign's pictures are made of on disk: its file, the modules beside it, the assets it has used."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from runner.job import Source

__all__ = ["Sources"]

# A larger file is told by its size and time.
_READ_UP_TO_BYTES = 64 << 20


class Sources:
    """The files that a campaign has used so far, each with what it held then.

    A module is taken down once: what was imported stays as it is in this process, whatever becomes of its file.
    An asset is taken down again whenever another content was given out. Safe to share between threads.
    """

    def __init__(self, file: Path, content: bytes):
        self.folder = file.parent
        self._lock = threading.Lock()
        self._modules: set[str] = set()
        self._digests: dict[str, str] = {}
        self._marks: dict[Path, tuple[int, ...]] = {}
        self._modules_seen = 0
        self._new: list[Source] = []
        self._listener: Callable[[Source], None] | None = None
        self._take_down(file, _digest_of(content))

    def look_at_modules(self) -> None:
        """Take down what has been imported from the campaign's folder and below since the last look."""
        if len(sys.modules) == self._modules_seen:
            return
        self._modules_seen = len(sys.modules)
        for file in _modules_below(self.folder):
            if str(file) not in self._modules:
                self._modules.add(str(file))
                self._read(file)

    def use(self, asset: Path) -> None:
        """An asset was given out."""
        try:
            status = asset.stat()
            mark = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if self._marks.get(asset) != mark:
                self._read(asset)
                self._marks[asset] = mark
        except OSError:
            pass  # gone again: the page says so

    def current(self) -> dict[str, str]:
        """The digests of all files taken down so far, by their names."""
        with self._lock:
            return dict(self._digests)

    def listen(self, known: Mapping[str, str], listener: Callable[[Source], None]) -> None:
        """Tell of each file from now on, and of those that there are, unless they are known with that digest."""
        with self._lock:
            self._listener = listener
            for source in self._new:
                if known.get(source.name) != source.digest:
                    listener(source)
            self._new.clear()

    @property
    def code_sha256(self) -> str:
        """A hash of all that was taken down so far."""
        with self._lock:
            return _digest_of(repr(sorted(self._digests.items())).encode())

    def _read(self, file: Path) -> None:
        try:
            status = file.stat()
            if status.st_size > _READ_UP_TO_BYTES:
                self._take_down(file, f"{status.st_size} bytes of {status.st_mtime_ns}")
            else:
                self._take_down(file, _digest_of(file.read_bytes()))
        except OSError:
            pass  # an archive's member, or removed meanwhile: nothing can be said of it

    def _take_down(self, file: Path, digest: str) -> None:
        name = file.relative_to(self.folder).as_posix() if file.is_relative_to(self.folder) else str(file)
        with self._lock:
            if self._digests.get(name) != digest:
                self._digests[name] = digest
                source = Source(time.time(), name, digest)
                if self._listener is None:
                    self._new.append(source)
                else:
                    self._listener(source)


def _digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _modules_below(folder: Path) -> Iterator[Path]:
    """Files of imported modules that lie below it: the user's own, not what is installed there."""
    installed = [Path(path) for path in {sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib")}]
    installed = [path for path in installed if path.is_relative_to(folder)]
    package = Path(__file__).parents[1]
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not isinstance(name, str) or not name.startswith(str(folder) + os.sep):
            continue
        file = Path(name)
        if not ("site-packages" in file.parts or any(map(file.is_relative_to, [*installed, package]))):
            yield file
