"""The link of a run: the address of its server, the token, and the URLs to ask for there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from runner import joining
from runner.errors import UsageError

__all__ = ["Link"]

_WANTED = "give the link that the run prints for tabs, in quotes: http://HOST:PORT/?ws=…"


@dataclass(frozen=True)
class Link:
    """safe: 's' where TLS is spoken, else ''. host: as it stands in a URL."""

    safe: str
    host: str
    port: int
    token: str

    @classmethod
    def parse(cls, text: str) -> Link:
        """From its text. Raises UsageError where it is no link for tabs."""
        try:
            parts = urlsplit(text.strip().strip("'\""))
            port = parts.port
        except ValueError:
            raise UsageError(f"this is not a link: {_WANTED}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"this is not a link: {_WANTED}")
        if parts.path.startswith("/live/"):
            raise UsageError(f"this is the link of the live page, which takes no jobs: {_WANTED}")
        query = parse_qs(parts.query)
        socket = parse_qs("".join(query.get("ws", [""])[:1]).partition("?")[2])
        tokens = socket.get("token") or query.get("token")
        if not tokens:
            raise UsageError(f"there is no token in this link: {_WANTED}")
        safe = "s" if parts.scheme == "https" else ""
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(safe, host, port or (443 if safe else 80), tokens[0])

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"{self.host}:{self.port}"

    def asking(self, sessions: int) -> str:
        """The URL at which a joiner with so many sessions gets its welcome."""
        query = urlencode({"token": self.token, "sessions": sessions})
        return f"http{self.safe}://{self.place}{joining.PATH}?{query}"

    def line(self, port: int, line_id: str, name: str) -> str:
        """The URL of the line, at that server of the run."""
        query = urlencode({"token": self.token, "line": line_id, "name": name})
        return f"ws{self.safe}://{self.host}:{port}{joining.PATH}?{query}"

    def page(self, port: int, tab_id: str, name: str, query: Mapping[str, str]) -> str:
        """The URL that a browser opens there."""
        place = f"{self.host}:{port}"
        socket = urlencode({"token": self.token, "name": name, "tab": tab_id})
        return f"http{self.safe}://{place}/?{urlencode({'ws': f'ws{self.safe}://{place}/?{socket}'} | dict(query))}"
