"""The cameras of one tab: the wanted size and lens of each, and the key under which Vuer's client honours them.

The client (of vuer 0.1.6) keeps the first size, lens and kind of a camera that it saw under a key as long as the page
lives, whatever is sent later. So a camera with a new size gets another key inside the page, which render functions
never see; the page script sets its lens and pose before each picture.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections import OrderedDict
from typing import Any

from runner.errors import FrameError
from runner.sessions.pose import POSE, still_held, whole_pose

__all__ = ["BRANCHES", "CAMERA_DEFAULTS", "Cameras"]

# The client's defaults, except downsample and the last four, which are ours: the client would halve the size, draw its
# cameras into each other's pictures, and show them in the main view.
CAMERA_DEFAULTS = {
    "width": 640,
    "height": 480,
    "ctype": "perspective",
    "renderDepth": False,
    "fov": 60.0,
    "near": 0.1,
    "far": 20.0,
    "top": 1.0,
    "bottom": -1.0,
    "left": -1.0,
    "right": 1.0,
    "downsample": 1,
    "showCamera": False,
    "stream": "ondemand",
    "monitor": False,
}
_MOUNTED = ("width", "height", "downsample", "ctype", "renderDepth")
_LENS = {"perspective": ("fov", "near", "far"), "orthographic": ("near", "far")}
# These determine the size of an orthographic camera's picture.
_FRUSTUM = ("top", "bottom", "left", "right")
# Each camera is a WebGL context in the page, which is never freed; a browser keeps 16.
_MOST_AT_ONCE = 10
_WORN_AFTER = 50
# Those in the main view. The page would load a font for their labels, and lay them out, before its first picture.
_PREVIEWS = "CameraPreviewThumbs"
# The fields in which an element, or an operation, holds its elements.
BRANCHES = ("children", "rawChildren", "bgChildren", "htmlChildren", "nodes")


class _Camera:
    """One camera: its props so far, its place in the scene, and its key inside the page."""

    def __init__(self, node: dict[str, Any], parent: str | None, inner: str):
        self.node, self.parent, self.inner = node, parent, inner


class Cameras:
    """Follows the scene operations of one page, and rewrites those that concern cameras."""

    def __init__(self) -> None:
        self._cameras: dict[str, _Camera] = {}
        self._inner: dict[tuple[Any, ...], str] = {}
        self._present: OrderedDict[str, None] = OrderedDict()

    @property
    def is_worn(self) -> bool:
        """Whether the page has made so many cameras that it should be reloaded."""
        return len(self._inner) >= _WORN_AFTER

    def translate(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages to send for one of Vuer's serialized events, which is changed in place."""
        kind: Any = message.get("etype")
        data: Any = message.get("data")
        if kind == "REMOVE":
            self._remove(data)
            return [message]
        if kind == "SET":
            self._cameras.clear()
            self._present.clear()
        more: list[dict[str, Any]] = []
        if isinstance(data, dict):
            self._walk(data, kind, data.get("to"), more, is_top=True)
        if kind == "UPDATE" and more and not data["nodes"]:
            return more
        return [message, *more]

    def _walk(
        self, node: dict[str, Any], kind: str, parent: str | None, more: list[dict[str, Any]], is_top: bool
    ) -> None:
        for branch in BRANCHES:
            kept = []
            for child in _list_of(node.get(branch)):
                if not isinstance(child, dict):
                    kept.append(child)
                    continue
                where = parent if branch == "nodes" else node.get("key") if not is_top else branch
                is_change = branch == "nodes" and kind in ("UPDATE", "UPSERT")
                # An update need not name the tag.
                known = child.get("key") if is_change and "tag" not in child else None
                if child.get("tag") == "CameraView" or known in self._cameras:
                    if self._take(child, where, is_change, kind, more):
                        kept.append(child)
                else:
                    if child.get("tag") == _PREVIEWS:
                        child.setdefault("showLabels", False)
                    kept.append(child)
                    self._walk(child, kind, child.get("key"), more, is_top=False)
            if branch in node:
                node[branch] = kept

    def _take(
        self, node: dict[str, Any], parent: str | None, is_change: bool, kind: str, more: list[dict[str, Any]]
    ) -> bool:
        """Note a camera's props, and change its node; returns whether the node stays in its message."""
        key: Any = node.get("key")
        known = self._cameras.get(key)
        if known is None and kind == "UPDATE" and is_change:
            return True  # the client ignores updates of what is not there
        before = known.node if known and is_change else CAMERA_DEFAULTS
        if "stream" in node:
            node["stream"] = CAMERA_DEFAULTS["stream"]  # pictures are taken when they are asked for
        full = {name: before[name] for name in before if name not in POSE} | still_held(before, node) | node
        _refuse_blind(key, full)
        inner = self._inner_key(key, full)
        is_same = known is not None and is_change and inner == known.inner
        if known is not None and is_change:
            parent = known.parent
        self._cameras[key] = _Camera(full, parent, inner)
        exact = _exact_size(full)
        if is_same:
            node |= {"key": inner} | {name: value for name, value in exact.items() if name in node}
        else:
            node |= full | exact | {"key": inner, "name": _object_name(inner)}
        node.pop("lookAt", None)  # the client would overwrite a property of three.js with this name
        if is_same:
            return True
        self._present[inner] = None
        self._present.move_to_end(inner)
        self._make_room(more)
        if kind != "UPDATE":
            return True
        more.append({"etype": "UPSERT", "ts": 0, "data": {"nodes": [node], "to": parent}})
        return False

    def _inner_key(self, key: str, node: dict[str, Any]) -> str:
        mounted = _MOUNTED + (("near", "far") if node["renderDepth"] else ())
        mounted += _FRUSTUM if node["ctype"] == "orthographic" else ()
        mount = (key, *(node[name] for name in mounted))
        if mount not in self._inner:
            count = sum(other[0] == key for other in self._inner)
            # Another camera may have such a name from the start.
            names = itertools.chain(
                [key] * (not count), (f"{key}~{number}" for number in itertools.count(count + 1))
            )
            taken = set(self._inner.values())
            self._inner[mount] = next(name for name in names if name not in taken)
        return self._inner[mount]

    def _make_room(self, more: list[dict[str, Any]]) -> None:
        """When there are too many cameras, remove the one from the page that has been unused for longest."""
        in_use = {camera.inner for camera in self._cameras.values()}
        for inner in list(self._present):
            if len(self._present) <= _MOST_AT_ONCE:
                return
            if inner not in in_use:
                del self._present[inner]
                more.append({"etype": "REMOVE", "ts": 0, "data": {"keys": [inner]}})

    def _remove(self, data: dict[str, Any]) -> None:
        keys = []
        for key in data["keys"]:
            camera = self._cameras.pop(key, None)
            inner_keys = (
                [inner for mount, inner in self._inner.items() if mount[0] == key] if camera else [key]
            )
            for inner in inner_keys:
                self._present.pop(inner, None)
            keys += inner_keys
        data["keys"] = keys

    # -- taking pictures -----------------------------------------------------------------------

    def find(self, key: str | None) -> str:
        """The key itself, or that of the only camera. Raises FrameError if there is no such camera."""
        if key is None and len(self._cameras) == 1:
            return next(iter(self._cameras))
        if key not in self._cameras:
            known = ", ".join(map(repr, self._cameras)) or "none"
            raise FrameError(f"no camera {key!r} in the scene; there is: {known}")
        return key

    def inner_key(self, key: str) -> str:
        """The key that the camera goes by inside the page."""
        return self._cameras[key].inner

    def lens(self, key: str) -> dict[str, Any]:
        """What the page script sets on the camera before a picture: the object's name, its lens and its pose."""
        camera = self._cameras[key]
        # As the client gets them: in messages, numbers are single-precision.
        values = {name: _single(camera.node[name]) for name in _LENS.get(camera.node["ctype"], ())}
        pose = {name: _singles(value) for name, value in whole_pose(camera.node).items()}
        return {"name": _object_name(camera.inner), "pose": pose} | values

    def size(self, key: str) -> tuple[int, int]:
        """The requested width and height in pixels."""
        node = self._cameras[key].node
        return int(node["width"] / node["downsample"]), int(node["height"] / node["downsample"])

    def depth_range(self, key: str) -> tuple[float, float] | None:
        """near and far, where the camera renders depth."""
        node = self._cameras[key].node
        return (_single(node["near"]), _single(node["far"])) if node["renderDepth"] else None


def _refuse_blind(key: str, node: dict[str, Any]) -> None:
    """Raises FrameError for a camera that would show nothing, or everything at one depth, without a word."""
    near, far, fov = (float(node[name]) for name in ("near", "far", "fov"))
    is_perspective = node["ctype"] == "perspective"
    why = ""
    if not (near < far and (near > 0 or not is_perspective)):
        why = f"near={near:g} and far={far:g}: near must be less than far" + " and above 0" * is_perspective
    elif is_perspective and not 0 < fov < 180:
        why = f"fov={fov:g}: that is in degrees, between 0 and 180"
    elif min(node["width"], node["height"]) < 1 or any(node[side] % 1 for side in ("width", "height")):
        why = f"width={node['width']:g} and height={node['height']:g}: these are whole numbers of pixels"
    if why:
        raise FrameError(f"camera {key!r} has {why}")


def _object_name(inner: str) -> str:
    return f"__camera:{inner}"


def _exact_size(node: dict[str, Any]) -> dict[str, float]:
    """The size to send where the client would render one pixel too few.

    It computes the width as floor(aspect * height), and the aspect as a quotient: in 5 % of all sizes, rounding costs a
    pixel. A thousandth of a pixel more prevents that.
    """
    width, height = node["width"], node["height"]
    if node["ctype"] == "orthographic":
        top, bottom, left, right = (_single(node[name]) for name in _FRUSTUM)
        wide = (right - left) / (top - bottom) * height
        if math.floor(wide) == width - 1 and round(wide) == width:
            return {"right": left + (width + 0.001) / height * (top - bottom)}
    elif math.floor(width / height * height) < width:
        return {"width": width + 0.001}
    return {}


def _single(value: Any) -> float:
    return float(struct.unpack("f", struct.pack("f", float(value)))[0])


def _singles(values: Any) -> list[Any]:
    """As the client gets them; the order of a rotation is a text."""
    return [value if isinstance(value, str) else _single(value) for value in values]


def _list_of(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []
