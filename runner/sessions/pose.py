"""The pose of a camera, from all props that were sent for it one after the other; no I/O.

In Vuer's client (0.1.6) a prop stays beside later ones, and an unchanged one is not applied again: so after
quaternion=… an earlier rotation=… would not come back. lookAt=… has no effect there. Here the last one counts, and the
page script sets it on the camera before each picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["POSE", "still_held", "whole_pose"]

_TURNS = ("rotation", "quaternion", "lookAt")
# All props of a camera's pose.
POSE = frozenset({"position", "matrix", "up", *_TURNS})


def still_held(props: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """The earlier props that still hold beside new ones. A matrix, as in Vuer's client, replaces the whole pose."""
    held = {name: props[name] for name in POSE if name in props and name not in named}
    if "matrix" in named:
        return {}
    turned = any(name in named for name in _TURNS)
    matrix = held.get("matrix")
    if matrix is not None and turned:
        del held["matrix"]
        if "position" not in named:
            held["position"] = list(matrix[12:15])
    elif matrix is not None and "position" in named:
        held["matrix"] = [*matrix[:12], *named["position"][:3], matrix[15]]
    if turned:
        held = {name: value for name, value in held.items() if name not in _TURNS}
    return held


def whole_pose(props: Mapping[str, Any]) -> dict[str, Any]:
    """All props to send so that a camera has the pose of these props, whatever it had before."""
    if props.get("matrix") is not None:
        return {"matrix": props["matrix"]}
    pose = {"position": props.get("position", [0, 0, 0])}
    # Of two that were sent at once, the client takes the later one; no prop removes a target.
    turns = [name for name in props if name in _TURNS]
    if "lookAt" in turns:
        return pose | {"lookAt": props["lookAt"], "up": props.get("up", [0, 1, 0])}
    turn = turns[-1] if turns else "rotation"
    return pose | {turn: props.get(turn, [0, 0, 0])}
