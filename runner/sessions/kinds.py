"""Kinds of elements that no camera's picture shows, and those that are refused; as scripts/check_elements.py found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.errors import FrameError

__all__ = ["refuse_kind", "why_unseen"]

_OVER_THE_VIEW = "the client lays it over its main view"
_OWN_LAYER = "no camera sees the layer that it is in: layer=0 is one that they see"
# By their tags.
_UNSEEN = {
    "Html": _OVER_THE_VIEW,
    "ViewportHud": _OVER_THE_VIEW,
    "fog": "the client gives the fog to a group, not to the scene",
    "SceneBackground": "the client draws it with a negative intensity; take ImageBackground",
    **dict.fromkeys(("PerspectiveFrustum", "FisheyeFrustum", "OrthographicFrustum"), _OWN_LAYER),
}
_REFUSED = {
    "Splat": "Vuer's client draws it in its main view alone; SparkSplats shows the same file",
    **dict.fromkeys(
        ("WebRTCVideoPlane", "WebRTCStereoVideoPlane"), "no picture of a live stream is the same twice"
    ),
}


def refuse_kind(node: Mapping[str, Any]) -> None:
    """Raises FrameError for an element that would be in no picture as it should."""
    reason = _REFUSED.get(str(node.get("tag")))
    if reason:
        raise FrameError(f"element {node.get('key')!r} is a {node['tag']}: {reason}")


def why_unseen(node: Mapping[str, Any]) -> str:
    """Why no camera's picture shows such an element; '' where one may."""
    reason = _UNSEEN.get(str(node.get("tag")))
    if not reason or (reason is _OWN_LAYER and "layer" in node):
        return ""
    return f"element {node.get('key')!r}: no camera's picture shows a {node['tag']}: {reason}"
