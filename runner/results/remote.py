"""Object stores, reached by a URL through fsspec: files are sent whole, and parts of them are read back.

An address is the URL of one object, such as s3://bucket/prefix/orbit/shards/3f-1a-0001.tar. Credentials and endpoints
come from the store's own tools, or from fsspec's settings.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from runner.errors import UsageError, WorldFault
from runner.reasons import error_line, first_line

__all__ = ["address_of", "fetch", "is_url", "names_below", "object_size", "probe", "read_part", "send"]

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# The extras with the packages for these.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hf": "hf"}
# Those with real folders, which must exist.
_HAVE_FOLDERS = {"file", "local", "memory", "sftp", "ssh", "smb", "hdfs", "webdav"}
# Those that cannot be written to, although fsspec's class has the methods.
_READ_ONLY = {"http", "https", "zip", "tar", "git", "github", "data", "reference"}
_PROBE = ".runner-probe"
_PASSWORD = re.compile(r"[^/]*://[^/@]*:[^/@]*@")
# s3fs waits 15 s for an answer after the system has taken the last bytes, which may still have a slow line before them.
# It tries five times, and botocore would do each of these five times. Ten parts at once would take 600 MB of memory.
_OF_S3 = {
    "config_kwargs": {"read_timeout": 60, "retries": {"total_max_attempts": 1}},
    "max_concurrency": 2,
}
_OPTIONS = {"s3": _OF_S3, "s3a": _OF_S3}
_AT_ONCE = 16 << 20
# After so many failed reads in a row, each with its own retries, the store is not asked for a while: there may be a
# million reads.
_MOST_FAILURES, _AWAY_S = 8, 30.0
_failures: dict[str, tuple[int, float]] = {}
# s3fs cuts files into parts of this size. If it did otherwise, the object is read back to check it.
_S3_PART = 50 << 20
# Without the right to list, S3 answers "permission denied" for a missing object.
_NOT_THERE = (FileNotFoundError, PermissionError)
_FOR_GOOD = (
    PermissionError,
    FileNotFoundError,
    NotADirectoryError,
    NotImplementedError,
    ValueError,
    TypeError,
)


def is_url(text: str) -> bool:
    """Whether results are to go to an object store, not to a folder."""
    return _URL.match(text) is not None


def address_of(url: str, path: str) -> str:
    """The address of a shard below that URL. path: as in its row."""
    return f"{url if url.endswith('://') else url.rstrip('/')}/{path}"


def probe(url: str, campaign_name: str) -> None:
    """Check that objects can be written, found and read there.

    Raises UsageError for lasting errors, such as wrong credentials, and WorldFault for passing ones.
    """
    if _PASSWORD.match(url):
        raise UsageError(
            "--results: leave the password out of the URL, because the database and the log keep the URL"
        )
    # With a name of its own: another run may begin at the same time.
    address = address_of(url, f"{campaign_name}/{_PROBE}-{secrets.token_hex(4)}")
    try:
        fs, path = _opened(address)
        _make_folder(fs, path, address)
        fs.pipe_file(path, _PROBE.encode())
        there, size = fs.cat_file(path), _size(fs, path)
        # Without the right to remove objects, it stays.
        with contextlib.suppress(Exception):
            fs.rm_file(path)
    except UsageError:
        raise
    except Exception as error:
        if _is_for_good(error):
            raise UsageError(
                f"--results {url}: cannot write there ({_told(error)}): check the name and your credentials; nothing "
                "was begun"
            ) from None
        raise WorldFault(f"{url} cannot be reached now ({_told(error)})") from None
    _failures.pop(_store_of(address), None)
    if (there, size) != (_PROBE.encode(), len(_PROBE)):
        raise UsageError(f"--results {url}: what was read back there differs from what was written")


def object_size(address: str) -> int | None:
    """The size of that object in bytes; None where there is none. Raises OSError where it is unknown."""
    with _reached(address) as (fs, path):
        try:
            return _size(fs, path)
        except _NOT_THERE:
            return None


def send(file: Path, opened: IO[bytes], address: str) -> None:
    """Make sure that the whole file is there as that object: send it, unless it is there already.

    opened: the file, open for reading. The object is always checked first, because an earlier try may have been cut off
    before its answer came. Raises OSError.
    """
    with _reached(address) as (fs, path):
        with contextlib.suppress(PermissionError):
            if _has(fs, path, opened):
                return
        _make_folder(fs, path, address)
        fs.put_file(str(file), path)
        if not _has(fs, path, opened):
            raise OSError(f"{address} is not what was sent")


def read_part(address: str, start: int, size: int) -> bytes:
    """Bytes of that object; fewer at its end. Raises FileNotFoundError where there is none, else OSError."""
    if not size:
        return b""
    store = _store_of(address)
    failures, since = _failures.get(store, (0, 0.0))
    if failures >= _MOST_FAILURES and time.monotonic() - since < _AWAY_S:
        raise OSError(f"{address}: {store} did not answer, and is not asked again for now")
    try:
        with _reached(address) as (fs, path):
            content = _part(fs, path, start, size)
    except FileNotFoundError:
        raise
    except OSError:
        _failures[store] = failures + 1, time.monotonic()
        raise
    _failures.pop(store, None)
    return content


def _store_of(address: str) -> str:
    return "/".join(address.split("/", 3)[:3])


def _part(fs: Any, path: str, start: int, size: int) -> bytes:
    try:
        content: bytes = fs.cat_file(path, start=start, end=start + size)
    except FileNotFoundError:
        raise
    except Exception:
        # Some stores raise an error for a part that begins behind the end.
        if _size(fs, path) >= start + size:
            raise
        return b""
    return content


def names_below(address: str) -> list[str]:
    """The names of the objects in that folder; none where there is none. Raises OSError."""
    with _reached(address) as (fs, path):
        fs.invalidate_cache()
        try:
            found = fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)


def fetch(address: str, file: Path) -> None:
    """Write the whole object into that file. Raises OSError."""
    with _reached(address) as (fs, path):
        fs.get_file(path, str(file))


@contextlib.contextmanager
def _reached(address: str) -> Iterator[tuple[Any, str]]:
    """Like _opened, but all errors become FileNotFoundError, or OSError without a number.

    A store's own errors have numbers that would be mistaken for those of this machine's disks.
    """
    try:
        yield _opened(address)
    except UsageError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{address} is not there ({_told(error)})") from None
    except Exception as error:
        raise OSError(f"{address}: {_told(error)}") from None


def _opened(address: str) -> tuple[Any, str]:
    """Its file system, and its path there. Raises UsageError where no package for such a store is installed."""
    protocol = address.partition("://")[0]
    # Before it is opened: in chains, and in lists of references, whoever wrote the address has code run.
    if not is_url(address) or protocol.lower() in _READ_ONLY or "::" in address:
        raise UsageError(
            f"{address}: nothing can be written there: name an object store, such as s3://BUCKET/PREFIX"
        )
    try:
        import fsspec.config
        import fsspec.core
    except ImportError:
        raise UsageError(_missing(protocol, "fsspec")) from None
    try:
        is_set = "config_kwargs" in fsspec.config.conf.get(protocol, {})
        fs, path = fsspec.core.url_to_fs(address, **({} if is_set else _OPTIONS.get(protocol, {})))
    except ImportError as error:
        raise UsageError(_missing(protocol, str(error))) from None
    except ValueError as error:
        if "protocol" in str(error).lower():
            raise UsageError(f"no object store is known by {protocol}:// ({error})") from None
        raise
    return fs, path


def _missing(protocol: str, hint: str) -> str:
    extra = _EXTRAS.get(protocol)
    way = f"pip install 'runner[{extra}]'" if extra else f"pip install fsspec and what it needs ({hint})"
    return f"{protocol}:// needs a package that is not here: {way}"


def _is_for_good(error: BaseException) -> bool:
    """Whether the error is lasting, so that waiting does not help."""
    is_refused = isinstance(error, OSError) and error.errno in (errno.EINVAL, errno.EPERM, errno.EACCES)
    return isinstance(error, _FOR_GOOD) or is_refused or "Credential" in type(error).__name__


def _told(error: BaseException) -> str:
    """A store's own message; the error's class only where there is no message."""
    return f"{first_line(error) if isinstance(error, OSError) else ''}"[:300] or error_line(error)[:300]


def _make_folder(fs: Any, path: str, address: str) -> None:
    # In an object store, making a folder would create a missing bucket.
    if address.partition("://")[0] in _HAVE_FOLDERS:
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)


def _size(fs: Any, path: str) -> int:
    return int(_info(fs, path)["size"])


def _info(fs: Any, path: str) -> dict[str, Any]:
    fs.invalidate_cache()
    info: dict[str, Any] = fs.info(path)
    return info


def _has(fs: Any, path: str, opened: IO[bytes]) -> bool:
    """Whether the object equals the file: by size, and by the store's checksum, or else byte by byte."""
    try:
        info = _info(fs, path)
    except FileNotFoundError:
        return False
    size = opened.seek(0, 2)
    if info["size"] != size:
        return False
    told = {str(info[name]).strip('"') for name in ("ETag", "md5Hash") if info.get(name)}
    if told and told & set(_checksums(opened)):
        return True
    # No checksum matches: it was encrypted by the store, or sent in other parts.
    opened.seek(0)
    for start in range(0, size, _AT_ONCE):
        part = opened.read(_AT_ONCE)
        if fs.cat_file(path, start=start, end=start + len(part)) != part:
            return False
    return True


def _checksums(opened: IO[bytes]) -> Iterator[str]:
    """The checksums that stores use: the MD5 of the file, in hex and base 64, or of the MD5s of its parts."""
    opened.seek(0)
    whole, parts = hashlib.md5(usedforsecurity=False), []
    while part := opened.read(_S3_PART):
        whole.update(part)
        parts.append(hashlib.md5(part, usedforsecurity=False).digest())
    yield whole.hexdigest()
    yield base64.b64encode(whole.digest()).decode()
    yield f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"
