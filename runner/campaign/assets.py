"""The campaign's own files that its scenes load: a name becomes a URL that changes whenever the file does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit

from runner.errors import AssetError

__all__ = ["AssetFolder"]

_PREFIX = "files"
# How many versions of folders are remembered; the oldest are forgotten.
_MOST_FOLDERS = 10_000
# A larger file is read while it is sent, and may then be changed meanwhile.
_LARGEST_HELD_BYTES = 64 << 20
# Two writes within one tick of the kernel's clock have the same time.
_TICK_S = 0.01
# These files are self-contained; any other model may name files beside it.
_SELF_CONTAINED = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".gif",
        ".bmp",
        ".hdr",
        ".exr",
        ".ktx2",
        ".glb",
        ".stl",
        ".ply",
        ".pcd",
        ".bvh",
        ".splat",
        ".ksplat",
        ".spz",
        ".sog",
    ]
)


class AssetFolder:
    """One folder whose files a page may load, each only under a URL that this object has made.

    Vuer's client and browsers keep what they loaded under a URL, so a file that changes behind the same
    name would go on showing its old self. Here the URL holds a version: of the file itself where it is
    self-contained (pictures, .glb, .stl, .ply …), otherwise (.obj, .gltf, .urdf, a folder …) of the
    folder with all below it, so that relative names within a model resolve to the right files.
    A version is made of names, sizes, times and inode numbers; no content is read. A file that has changed since its
    URL was made is no longer served under it.

    Hidden files are never served, nor files outside the folder, whether by '..' or by links.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        # Called with each file that is served.
        self.on_use: Callable[[Path], None] = lambda file: None
        self._salt = secrets.token_bytes(16)
        self._folders: dict[str, tuple[PurePosixPath, dict[Path, int]]] = {}

    def url(self, name: str) -> str:
        """The address of a file or folder, named by its path below this folder: '/files/VERSION/cup.obj'.

        The address is relative to the page's own server. Raises AssetError when there is no such file, or it must not
        be served.
        """
        path = PurePosixPath(name)
        file = self._resolve(path)
        if not file.is_dir() and path.suffix.lower() in _SELF_CONTAINED:
            version = self._version(path, {file: _mark(file)})
        else:
            scope = path if file.is_dir() else path.parent
            marks = {file: _mark(file) for file in _files_below(self._resolve(scope))}
            version = self._version(scope, marks)
            self._folders.pop(version, None)
            self._folders[version] = scope, marks
            if len(self._folders) > _MOST_FOLDERS:
                del self._folders[next(iter(self._folders))]
        return quote("/".join(["", _PREFIX, version, *path.parts]))

    def find(self, url_path: str) -> Path | None:
        """The file behind such a URL's path, or behind a path that its model refers to; None for any other."""
        file = self._behind(url_path)
        if file is not None:
            self.on_use(file)
        return file

    def open(self, url_path: str) -> BinaryIO | None:
        """The bytes of the file behind such a URL's path; None where it was changed before they were all read."""
        file = self.find(url_path)
        if file is None:
            return None
        body = _open(file, url_path)
        if os.path.getsize(file) > _LARGEST_HELD_BYTES:
            return body
        with body:
            held = io.BytesIO(body.read())
        return held if self._behind(url_path) is not None else None

    def has(self, url_path: str) -> bool:
        """Whether there is such a file, whatever version is asked for."""
        try:
            return self._resolve(PurePosixPath(url_path.split("/", 3)[-1])).is_file()
        except AssetError:
            return False

    def _behind(self, url_path: str) -> Path | None:
        parts = url_path.split("/", 3)
        if len(parts) < 4 or parts[1] != _PREFIX:
            return None
        version, path = parts[2], PurePosixPath(parts[3])
        try:
            file = self._resolve(path)
            if version in self._folders:
                scope, marks = self._folders[version]
                is_same = path.is_relative_to(scope) and marks.get(file) == _mark(file)
            else:
                asked = self._version(path, {file: _mark(file)})
                is_same = secrets.compare_digest(version.encode(), asked.encode())
        except AssetError:
            return None
        return file if is_same and file.is_file() else None

    def _resolve(self, path: PurePosixPath) -> Path:
        """The file behind the path, links followed. Raises AssetError if there is none, or it is outside the folder."""
        if path.is_absolute() or "\0" in str(path) or any(part.startswith(".") for part in path.parts):
            raise AssetError(
                f"asset {str(path)!r}: write a path below {self.folder}, without '..' or hidden names"
            )
        try:
            folder, file = self.folder.resolve(strict=True), (self.folder / path).resolve(strict=True)
        except (OSError, RuntimeError) as error:  # a RuntimeError means links in a circle
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise AssetError(f"asset {str(path)!r}: {reason}: {self.folder / path}") from None
        if not file.is_relative_to(folder):
            raise AssetError(
                f"asset {str(path)!r}: a link that leads out of {self.folder}: put the file inside"
            )
        return file

    def _version(self, scope: PurePosixPath, marks: dict[Path, int]) -> str:
        # The salt makes it a secret: nobody can ask for a file whose address they were not given.
        digest = hashlib.blake2b(str(scope).encode(), digest_size=16, key=self._salt)
        for file, mark in marks.items():
            digest.update(f"\0{file}\0{mark}".encode())
        return digest.hexdigest()


def _mark(file: Path) -> int:
    """A number that differs when the file does; 0 for a link to nowhere."""
    try:
        stat = file.stat()
        age_s = time.time() - stat.st_ctime
        if 0 <= age_s < _TICK_S:
            time.sleep(_TICK_S - age_s)  # whatever is written from now on has another time
            stat = file.stat()
    except OSError:
        return 0
    # ctime changes even where the time of modification is kept, as by `cp -p` and rsync.
    return hash((stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


def _open(file: Path, url_path: str) -> BinaryIO:
    """The bytes to send for a file that was found behind that path.

    Vuer's client (0.1.6) looks for what a .gltf names beside the page instead of beside the file, so
    these names are sent as whole paths. A .gltf that cannot be read is sent as it is.
    """
    if file.suffix.lower() != ".gltf":
        return file.open("rb")
    content = file.read_bytes()
    try:
        document = json.loads(content)
        for part in [*document.get("buffers", []), *document.get("images", [])]:
            uri = part.get("uri", "")
            if uri and not urlsplit(uri).scheme:
                part["uri"] = urljoin(quote(url_path), uri)
    except (ValueError, AttributeError, TypeError):
        return io.BytesIO(content)
    return io.BytesIO(json.dumps(document).encode())


def _files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder that are not hidden, always in the same order."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))
