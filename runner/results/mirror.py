"""A second copy of a campaign's metrics log at `--log-root`: a folder, an ML-Logger server, S3 or GCS.

ML-Logger 0.10 takes folders and http(s) servers as roots, and copies single files to s3:// and gs://. A server appends
what it is sent, in no certain order, and fails silently. So here one thread sends one request after the other, checks
each answer, and starts again, overwriting, whenever it is not sure.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from runner.errors import UsageError, WorldFault
from runner.reasons import first_line
from runner.results.metrics import METRICS, PARAMETERS, MetricsLog

__all__ = ["LogMirror"]

_SEND_EVERY_S = 2.0
_RETRY_AFTER_S = 15.0
_REQUEST_LIMIT_S = 30.0
_LARGEST_PART = 4 << 20
_SMALL_FILES = (PARAMETERS, ".charts.yml", "README.md")


class _Place(Protocol):
    """The place of a copy. put raises whatever went wrong."""

    can_append: bool
    send_every_s: float

    def put(self, name: str, content: bytes, is_new: bool) -> None:
        """Overwrite a file, or append to it."""


class LogMirror:
    """Keeps a copy of the log at root, in a thread of its own: its waits hold up nobody.

    root: a folder, http:// or https://, s3://BUCKET[/PREFIX] or gs://BUCKET[/PREFIX]; the copy is below it, under the
    campaign's name. say: takes a line for people when the copy cannot be written, and when it can again. Raises
    UsageError for any other root.
    """

    def __init__(self, log: MetricsLog, root: str, say: Callable[[str], None]):
        self.root = root
        self._log, self._say = log, say
        self._place = _place(root, log.prefix)
        # (edition, bytes) of metrics.pkl that are certainly copied; None: unknown.
        self._sent: tuple[int, int] | None = None
        self._is_failing = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="runner-log-mirror", daemon=True)

    def start(self) -> None:
        """Begin to copy as the log grows."""
        self._thread.start()

    def close(self, limit_s: float = 60.0) -> bool:
        """Copy the rest, for at most so many seconds; returns whether the copy is complete."""
        self._ending.set()
        self._thread.join(limit_s)
        is_complete = not self._thread.is_alive() and not self._is_failing
        if not is_complete:
            self._say(
                f"the copy of the metrics log at {self.root} is not complete; "
                f"to write it again: {self._log.command('--log-root', self.root)}"
            )
        return is_complete

    def copy(self) -> None:
        """Bring the copy up to date, once. Raises WorldFault where that is impossible now."""
        try:
            while self._send_part():
                pass
        except Exception as error:
            # The data may have arrived all the same: appending again could double them.
            self._sent = None
            reason = first_line(error) or type(error).__name__
            raise WorldFault(f"the metrics log cannot be copied to {self.root} now: {reason:.200}") from error

    def _send_part(self) -> bool:
        """Send the next part; False when there is nothing more."""
        edition, sent = self._sent or (None, 0)
        start = sent if self._place.can_append else 0
        current, content = self._log.read(start, _LARGEST_PART if self._place.can_append else 1 << 62)
        if current != edition:
            for name in _SMALL_FILES:
                if (self._log.folder / name).exists():
                    self._place.put(name, (self._log.folder / name).read_bytes(), True)
            self._sent = current, 0
            if start:
                return True
        if not content or start + len(content) == sent:
            return False
        self._place.put(METRICS, content, start == 0)
        self._sent = current, start + len(content)
        return self._place.can_append

    def _keep(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._ending.is_set()
            try:
                self.copy()
                if self._is_failing:
                    self._say(f"the metrics log is copied to {self.root} again")
                self._is_failing = False
            except WorldFault as fault:
                if not self._is_failing:
                    self._say(f"{fault}; rendering goes on")
                self._is_failing = True
            if not is_over:
                self._ending.wait(_RETRY_AFTER_S if self._is_failing else self._place.send_every_s)


def _place(root: str, prefix: str) -> _Place:
    scheme, separator, rest = root.partition("://")
    if not separator:
        return _Folder(Path(root).absolute(), prefix)
    if scheme == "file" and rest.startswith("/"):
        return _Folder(Path(rest), prefix)
    if scheme in ("http", "https") and rest:
        return _Server(root, prefix)
    if scheme in ("s3", "gs") and rest.strip("/"):
        return _Bucket(scheme, f"{rest.rstrip('/')}/{prefix}")
    raise UsageError(
        f"--log-root {root!r}: name a folder, http://HOST:PORT, https://HOST, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
    )


class _Folder:
    can_append = True
    send_every_s = _SEND_EVERY_S

    def __init__(self, root: Path, prefix: str):
        self._root, self._prefix = root, prefix

    def put(self, name: str, content: bytes, is_new: bool) -> None:
        client = _ml_logger(self._root, self._prefix).client
        client.log_buffer(f"{self._prefix}/{name}", buf=content, overwrite=is_new)


class _Server:
    """An ML-Logger server. ML-Logger's own client has no time limit and ignores answers (0.10.24)."""

    can_append = True
    send_every_s = _SEND_EVERY_S

    def __init__(self, url: str, prefix: str):
        self._url, self._prefix = url, prefix
        self._session: Any = None

    def put(self, name: str, content: bytes, is_new: bool) -> None:
        os.environ.setdefault("ML_LOGGER_ROOT", "/")
        import requests
        from ml_logger.serdes import serialize
        from ml_logger.structs import LogEntry, LogOptions

        if self._session is None:
            self._session = requests.Session()
        entry = LogEntry(f"{self._prefix}/{name}", serialize(content), "byte", LogOptions(overwrite=is_new))
        answer = self._session.post(self._url, json=entry._asdict(), timeout=_REQUEST_LIMIT_S)
        answer.raise_for_status()


class _Bucket:
    """S3 or Google Cloud Storage. Files there are written whole, so it is done seldom, and at the end."""

    can_append = False
    send_every_s = 60.0

    def __init__(self, scheme: str, path: str):
        self._scheme, self._path = scheme, path

    def put(self, name: str, content: bytes, _is_new: bool) -> None:
        from ml_logger import ML_Logger

        upload = ML_Logger.upload_s3 if self._scheme == "s3" else ML_Logger.upload_gs
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            upload(file.name, path=f"{self._path}/{name}")


def _ml_logger(root: Path, prefix: str) -> Any:
    """An ML_Logger of a folder."""
    # Its import fails at a relative root (0.10.24).
    if not os.path.isabs(os.environ.get("ML_LOGGER_ROOT", "/")):
        os.environ["ML_LOGGER_ROOT"] = str(root)
    from ml_logger import ML_Logger

    return ML_Logger(root=str(root), prefix=prefix)
