"""Checks what is sent to a tab's scene: refuses elements that would come out wrong, and notes remarks for people.

The statements about Vuer's client hold for vuer 0.1.6 (client 0.0.102).
"""

from __future__ import annotations

from typing import Any

from runner.errors import FrameError
from runner.sessions.cameras import BRANCHES
from runner.sessions.changes import is_made_anew
from runner.sessions.kinds import refuse_kind, why_ignored, why_unseen
from runner.sessions.messages import nodes_of
from runner.sessions.values import refuse_unusable

__all__ = ["Gate"]

# The client's loaders look at a model's src only: another text or material file under the same key is
# ignored.
_MODEL_SOURCES = ("text", "buff", "mtl")
# From so many elements on, the client's time for a scene grows with their square, and a remark is due.
_MANY_ELEMENTS = 4000


class Gate:
    """Checks operations on one tab's scene.

    remarks: what a person should know about it, by a word for each kind. knows_base: whether the tab's scene has a
    base; then an element can be made anew where the client would go on showing the old one.
    """

    def __init__(self) -> None:
        self.remarks: dict[str, str] = {}
        self.knows_base = False
        self._models: dict[Any, dict[str, Any]] = {}

    def look_through(self, data: Any) -> None:
        """Check each element of a message's data. Raises FrameError for one that would come out wrong."""
        for node in nodes_of(data):
            refuse_kind(node)
            refuse_unusable(node, BRANCHES)
            reason = why_unseen(node)
            if reason:
                self.remarks.setdefault(node["tag"], reason)
            ignored = why_ignored(node)
            if ignored:
                self.remarks.setdefault(ignored.replace(repr(node.get("key")), ""), ignored)
            if any(name in node for name in _MODEL_SOURCES):
                self._refuse_ignored_model(node)

    def count(self, elements: int) -> None:
        """Take the number of elements in the scene."""
        if elements >= _MANY_ELEMENTS:
            self.remarks.setdefault(
                "many",
                f"the scene has {elements:,} elements, and Vuer's client takes four times as long for twice as many: "
                "one TriMesh, PointCloud or model (Glb) can show as much, and at once",
            )

    def note_second(self, key: Any) -> None:
        """Take the key of an element that was added though there is one of that key; None: there was none."""
        if key is not None:
            self.remarks.setdefault(
                "twice",
                f"element {key!r} was added twice: both are drawn, and an update or a removal reaches the first alone; "
                "upsert replaces it, and another key keeps both",
            )

    def note_absent(self, reason: str) -> None:
        """Take why a removal removes nothing; '': it does. A campaign may clear away what is not always there."""
        if reason:
            self.remarks.setdefault("absent", f"{reason}, so that its removal removes nothing")

    def _refuse_ignored_model(self, node: dict[str, Any]) -> None:
        key: Any = node.get("key")
        sources = {name: node.get(name) for name in ("src", *_MODEL_SOURCES)}
        if self.knows_base and is_made_anew(node.get("tag")):
            return
        known = self._models.setdefault(key, sources)
        if known != sources and known["src"] == sources["src"]:
            raise FrameError(
                f"element {key!r}: its {', '.join(n for n in sources if sources[n] != known[n])} cannot change, "
                "because Vuer's client goes on showing what it loaded first; give its file by src, or "
                "remove it and add one under another key instead"
            )
        self._models[key] = sources
