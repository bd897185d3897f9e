"""Whether a server can listen at an address."""

from __future__ import annotations

import socket

from runner.errors import UsageError

__all__ = ["no_such_address", "refuse_address"]


def refuse_address(host: str, port: int) -> None:
    """Raises UsageError where nothing can listen there; port 0 stands for any free one."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                # As servers do: a port whose last connections are still closing is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        raise no_such_address(host, port, error) from None


def no_such_address(host: str, port: int, error: OSError) -> UsageError:
    """What to say where that address cannot be had."""
    return UsageError(
        f"cannot listen on {host}:{port} ({error.strerror}): "
        "name another --port, or leave it out for a free one"
    )
