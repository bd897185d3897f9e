"""Addresses: where a server can listen, how others reach it, and with which certificate."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl

from runner.errors import UsageError

__all__ = ["is_loopback", "no_such_address", "reachable_host", "refuse_address", "tls_context"]

# An address reserved for documentation (RFC 5737). Nothing is sent there, but the system tells the route.
_ELSEWHERE = ("192.0.2.1", 9)


def refuse_address(host: str, port: int) -> None:
    """Raises UsageError where nothing can listen there; port 0 stands for any free one."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                # As servers do: a port counts as free while its last connections are still closing.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        raise no_such_address(host, port, error) from None


def no_such_address(host: str, port: int, error: OSError) -> UsageError:
    """The error for an address that cannot be used."""
    cure = "name another --port, or leave it out for a free one"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        cure = "name an address of this machine, as in --host 127.0.0.1"
    return UsageError(f"cannot listen on {host}:{port} ({error.strerror}): {cure}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    # Python tells of an IPv4 address in the clothes of IPv6 since 3.13 only.
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def reachable_host(host: str) -> str:
    """How another machine can name this one in a URL, if a server listens at that host."""
    if host in ("", "0.0.0.0", "::"):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(_ELSEWHERE)
                host = probe.getsockname()[0]
        except OSError:
            host = socket.gethostname()
    return f"[{host}]" if ":" in host else host


def tls_context(cert: str, key: str) -> ssl.SSLContext | None:
    """The TLS context of a server; None without a certificate.

    cert: a file with the certificate and its chain. key: the file of its private key; '' where it is in the same file.
    Raises UsageError.
    """
    if not cert:
        if key:
            raise UsageError(f"--key {key} is a private key: its certificate is missing, name it with --cert")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without this, OpenSSL would ask for a password at the terminal.
        context.load_cert_chain(cert, key or None, password="")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else str(error)
        raise UsageError(
            f"cannot use --cert {cert}{f' with --key {key}' if key else ''} ({reason}): both must be PEM files, and "
            "the key must belong to the certificate and have no password"
        ) from None
    return context
