"""An S3 server on this machine, which fails when it is told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import urllib.request
from collections.abc import Iterator
from typing import NoReturn

BUCKET = "frames"
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class S3Server:
    """moto's server, behind a door that fails on request. requests: (method, path) of all that came and wrote.

    faults: what is done with the next requests that write, one each, and then with all that follow if the last is to
    `last`: 'error' (500), 'denied' (403), 'cut' (the connection breaks within the body), 'mute' (it breaks when all
    was done, before the answer), 'hold' (waits for `held`).
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Silent(WSGIRequestHandler):
            def log(self, *_: object) -> None:
                pass

        self._app = DomainDispatcherApplication(create_backend_app)
        self.requests: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.always = ""
        self.held = threading.Event()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Silent)
        self._server.daemon_threads = True
        self.environment = SETTINGS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}"}
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.held.set()
        # moto keeps its buckets for the process.
        urllib.request.urlopen(f"{self.environment['AWS_ENDPOINT_URL']}/moto-api/reset", data=b"").close()
        self._server.shutdown()
        self._server.server_close()

    @contextlib.contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        """Every request that writes fails in this way meanwhile."""
        self.always = fault
        try:
            yield
        finally:
            self.always = ""

    def sent(self) -> list[str]:
        """Paths of the objects that were sent whole, each as often as it was."""
        return [path for method, path in self.requests if method == "PUT" and path.endswith(".tar")]

    def _answer(self, environ, start):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method in ("GET", "HEAD"):
            return self._app(environ, start)
        fault = self.always or (self.faults.pop(0) if self.faults else "")
        if fault == "hold":
            self.held.wait()
        if fault in ("error", "denied"):
            return _refused(environ, start, *_REFUSALS[fault])
        if fault == "cut":
            environ["wsgi.input"].read(min(1000, int(environ.get("CONTENT_LENGTH") or 0) // 2))
            return _broken(environ)
        self.requests.append((method, path))
        answer = b"".join(self._app(environ, start))
        return _broken(environ) if fault == "mute" else [answer]


_REFUSALS = {
    "error": ("500 Internal Server Error", "InternalError"),
    "denied": ("403 Forbidden", "AccessDenied"),
}


def _refused(environ, start, status: str, code: str) -> list[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} as told</Message></Error>".encode()
    )
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def _broken(environ) -> NoReturn:
    """The connection is reset, as where a line or a machine fails."""
    connection = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError
