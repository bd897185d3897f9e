"""The files that a campaign's pictures are made from: its own file, the user's modules, files read, assets used."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from runner.job import Source

__all__ = ["Sources"]

# A larger file is told apart by its size and time only.
_READ_UP_TO_BYTES = 64 << 20
# Where each job reads files of its own, they are not what others are made of.
_MOST_FILES = 10_000
# Modules are looked at once they are imported.
_CODE = (".py", ".pyc", ".so", ".pyd")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# The campaign whose own code runs here; the files that it reads are part of its pictures.
_reader: ContextVar[Sources | None] = ContextVar("reader", default=None)


class Sources:
    """The files that a campaign has used so far, each with what it held then.

    A module is noted once: this process keeps what it imported, whatever becomes of the file. An asset, or a file that
    the campaign's own code reads, is noted again whenever its content has changed. Safe to share between threads.
    """

    def __init__(self, file: Path, content: bytes):
        self.folder = file.parent
        places = {Path(path) for path in (sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"))}
        # A campaign may lie where Python was installed, and is then not a part of that.
        self._installed = [place for place in places if not self.folder.is_relative_to(place)]
        self._lock = threading.Lock()
        # What was imported before is runner's own, or another campaign's.
        self._modules = {str(file) for file in self._own_modules() if not file.is_relative_to(self.folder)}
        self._written: set[str] = set()
        self._digests: dict[str, str] = {}
        self._marks: dict[Path, tuple[int, ...]] = {}
        self._modules_seen = 0
        self._new: list[Source] = []
        self._listener: Callable[[Source], None] | None = None
        self._take_down(file, _digest_of(content))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """While the block runs the campaign's own code, note the files that Python opens for it to read."""
        _listen_to_opens()
        token = _reader.set(self)
        try:
            yield
        finally:
            # A render that is let go of unfinished ends in another context than it began in.
            with contextlib.suppress(ValueError):
                _reader.reset(token)

    def opened(self, path: object, flags: int) -> None:
        """The campaign's own code has opened a file; a file that it has written itself is no source."""
        if not isinstance(path, (str, bytes)):
            return
        name = os.path.abspath(os.fsdecode(path))
        if flags & _WRITES:
            self._written.add(name)
        elif not (name in self._written or name.endswith(_CODE) or len(self._marks) >= _MOST_FILES):
            self._use_own(Path(name))

    def _use_own(self, file: Path) -> None:
        """A file is read: it counts where it is neither installed, nor the system's, nor hidden or temporary."""
        is_below = file.is_relative_to(self.folder)
        inner = file.relative_to(self.folder) if is_below else file
        is_hidden = any(part.startswith(".") for part in inner.parts)
        if not (is_hidden or self._is_installed(file) or (not is_below and _is_of_system(file))):
            self.use(file)

    def _is_installed(self, file: Path) -> bool:
        return not {"site-packages", "dist-packages"}.isdisjoint(file.parts) or any(
            map(file.is_relative_to, (*self._installed, Path(__file__).parents[1]))
        )

    def _own_modules(self) -> Iterator[Path]:
        """Files of imported modules that are the user's own: not what is installed."""
        for module in list(sys.modules.values()):
            name = getattr(module, "__file__", None)
            if isinstance(name, str) and os.path.isabs(name) and not self._is_installed(Path(name)):
                yield Path(name)

    def look_at_modules(self) -> None:
        """Note the user's own modules that were imported since the last look."""
        if len(sys.modules) == self._modules_seen:
            return
        self._modules_seen = len(sys.modules)
        for file in self._own_modules():
            if str(file) not in self._modules:
                self._modules.add(str(file))
                self._read(file)

    def use(self, asset: Path) -> None:
        """An asset was served, or a file is read."""
        try:
            status = asset.stat()
            if not stat.S_ISREG(status.st_mode):
                return
            mark = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if self._marks.get(asset) != mark:
                self._read(asset)
                self._marks[asset] = mark
        except OSError:
            pass  # it is gone again, and the page says so

    def current(self) -> dict[str, str]:
        """The digests of all files noted so far, by name."""
        with self._lock:
            return dict(self._digests)

    def listen(self, known: Mapping[str, str], listener: Callable[[Source], None]) -> None:
        """Report each file from now on, and the present ones unless they are known with that digest."""
        with self._lock:
            self._listener = listener
            for source in self._new:
                if known.get(source.name) != source.digest:
                    listener(source)
            self._new.clear()

    @property
    def code_sha256(self) -> str:
        """A hash of all files noted so far."""
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
            pass  # a member of an archive, or removed meanwhile: it has no digest

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


def _is_of_system(file: Path) -> bool:
    return any(
        map(file.is_relative_to, ("/usr", "/etc", "/proc", "/sys", "/dev", "/lib", "/var", _temporary()))
    )


@cache
def _temporary() -> str:
    return tempfile.gettempdir()


@cache
def _listen_to_opens() -> None:
    """Have Python tell of each file that it opens; that cannot be ended, and costs nothing where nobody reads."""
    sys.addaudithook(_on_audit)


def _on_audit(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open":
        return
    sources = _reader.get()
    if sources is None:
        return
    # What is opened from here is not the campaign's; and whatever is wrong here keeps nobody from his file.
    token = _reader.set(None)
    try:
        path, _, flags = arguments
        sources.opened(path, int(flags))  # type: ignore[call-overload]
    except Exception:
        pass
    finally:
        _reader.reset(token)
