"""A certificate in a file, to know a server by that no authority vouches for."""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import dataclass

from runner.errors import UsageError

__all__ = ["Certificate"]

_END = "-----END CERTIFICATE-----"
# The fields before the key in a certificate (RFC 5280): serial number, algorithm, issuer, validity, subject.
_BEFORE_KEY, _VERSION = 5, 0xA0


@dataclass(frozen=True)
class Certificate:
    """sha256: of the whole. key_sha256: of its public key, in base 64, as Chromium takes it."""

    sha256: bytes
    key_sha256: str

    @classmethod
    def read(cls, path: str) -> Certificate:
        """The first certificate in a PEM file. Raises UsageError."""
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                text = file.read()
            begin = text.index("-----BEGIN CERTIFICATE-----")
            content = ssl.PEM_cert_to_DER_cert(text[begin : text.index(_END, begin) + len(_END)])
            key = _key_of(content)
        except (OSError, ValueError, IndexError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it holds no PEM certificate"
            raise UsageError(f"cannot use --cert {path}: {reason}") from None
        key_sha256 = base64.b64encode(hashlib.sha256(key).digest()).decode()
        return cls(hashlib.sha256(content).digest(), key_sha256)


def _key_of(certificate: bytes) -> bytes:
    """The DER part with the public key."""
    _, at, _ = _part(certificate, 0)
    _, at, _ = _part(certificate, at)
    tag, _, end = _part(certificate, at)
    if tag == _VERSION:
        at = end
    for _ in range(_BEFORE_KEY):
        _, _, at = _part(certificate, at)
    return certificate[at : _part(certificate, at)[2]]


def _part(content: bytes, at: int) -> tuple[int, int, int]:
    """The DER part that begins there: its tag, the start of its content, and its end."""
    tag, length, start = content[at], content[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(content[start : start + count], "big"), start + count
    return tag, start, start + length
