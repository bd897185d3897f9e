"""A scene as Vuer's client keeps it, and the effect of each scene operation; no I/O.

The model for this is the client of vuer 0.1.6: addNode, updateNode, upsertNode, removeByKey, removeEmptyGroups.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from runner.sessions.pose import POSE, still_held

__all__ = ["ROOT", "ROOT_BRANCHES", "STAGING", "Key", "Scene", "encoded_bytes"]

Key = Any
_LONGEST_TEXT = 4 << 20
_BYTES = "bytes in base64"
# The scene itself: the parent of the elements in its branches.
ROOT = None
# The branches of the scene, in the order in which the client looks for a key. Elements have only children.
ROOT_BRANCHES = ("children", "rawChildren", "bgChildren", "htmlChildren")
# What the client's page has in bgChildren at first, as far as a picture shows it. It stays until a scene names others.
STAGING = ({"tag": "Grid", "key": "grid"}, {"tag": "HemisphereLightStage", "key": "light-stage"})
# Props that are set unless they are given. Without materialType, Vuer's client paints those parts of a robot white that
# have been loaded by a certain moment; with an empty one, the robot has the colours of its file.
_UNLESS_GIVEN: Mapping[str, Mapping[str, Any]] = {"Urdf": {"materialType": ""}}


class Scene:
    """Elements by their keys.

    props: all props of an element except its key and its children; those of the scene itself under ROOT. lists: the
    keys in a branch of an element, in order, by (key of the element, branch). places: the list that contains a key.

    Values in props and lists are never changed in place, so that copies are cheap and equal parts identical. When a key
    is used a second time, the second element is kept under another key, because the client draws both, and finds the
    first. second, second_camera: the key of an element that was added a second time, and of such a camera; None: there
    was none. backgrounds: the keys of the elements that give the scene its background colour.
    """

    def __init__(self) -> None:
        self.props: dict[Key, Mapping[str, Any]] = {ROOT: {}}
        self.lists: dict[tuple[Key, str], tuple[Key, ...]] = {(ROOT, branch): () for branch in ROOT_BRANCHES}
        self.places: dict[Key, tuple[Key, str]] = {}
        self.second: Key = None
        self.second_camera: Key = None
        self.backgrounds: set[Key] = set()
        self._groups: set[Key] = set()

    def copy(self) -> Scene:
        """A copy of the scene, which may change independently."""
        other = Scene.__new__(Scene)
        other.props, other.lists, other.places = dict(self.props), dict(self.lists), dict(self.places)
        other._groups, other.second, other.second_camera = set(self._groups), None, None
        other.backgrounds = set(self.backgrounds)
        return other

    # -- operations ----------------------------------------------------------------------------

    def apply(self, message: Mapping[str, Any]) -> bool:
        """Change as the client does for one of Vuer's serialized events; False if it is not a scene operation."""
        data: Any = message.get("data")
        match message.get("etype"):
            case "SET":
                self.set(data)
            case "ADD":
                self.add(data["nodes"], data.get("to"))
            case "UPDATE":
                self.update(data["nodes"])
            case "UPSERT":
                self.upsert(data["nodes"], data.get("to"))
            case "REMOVE":
                self.remove(data["keys"])
            case _:
                return False
        return True

    def set(self, data: Mapping[str, Any]) -> None:
        """Replace the named props of the scene; the rest stays."""
        self._assign(ROOT, {name: value for name, value in data.items() if name != "key"})

    def add(self, nodes: list[Any], to: Key = None) -> None:
        """Add at the end of a branch of the scene, or of the children of an element; do nothing if that is missing."""
        for node in nodes:
            if to in ROOT_BRANCHES:
                self._insert(node, ROOT, to)
            elif not to:
                self._insert(node, ROOT, "children")
            elif to in self.places:
                self._insert(node, to, "children")

    def update(self, nodes: list[Any]) -> None:
        """Replace the named props of an element; the rest stays. Do nothing if the element is missing."""
        for node in nodes:
            key = node.get("key", ROOT)
            if key in self.places or (key is ROOT and "key" not in node):
                self._assign(key, node)

    def upsert(self, nodes: list[Any], to: Key = None) -> None:
        """Update elements that exist in the named branch or below the named element; add the others."""
        for node in nodes:
            key = node.get("key")
            if to and to not in ROOT_BRANCHES and to not in self.places:
                continue
            if key in self.places and self._is_within(key, to):
                self._assign(key, node)
            else:
                self.add([node], to)

    def remove(self, keys: Any) -> None:
        """Remove these elements with all below them and, as the client does, every empty group."""
        for key in keys:
            if key in self.places:
                self._drop(key)
        while True:
            hollow = [
                key for key in self._groups if not self.lists.get((key, "children")) and self._is_pruned(key)
            ]
            if not hollow:
                return
            for key in hollow:
                self._drop(key)

    def complete(self, data: Any) -> None:
        """Have what is sent say what is said unless it is given, as the scene does that it was applied to."""
        if isinstance(data, dict):
            for node in data.get("nodes", [data]):
                self._complete(node)

    def _complete(self, node: dict[str, Any]) -> None:
        known = self.props.get(node.get("key"), {})
        if isinstance(node.get("jointValues"), dict):
            node["jointValues"] = known.get("jointValues", node["jointValues"])
        for name, value in _UNLESS_GIVEN.get(node.get("tag", ""), {}).items():
            if name not in node and known.get(name) == value:
                node[name] = value
        for branch in ROOT_BRANCHES:
            for child in node.get(branch) or ():
                if isinstance(child, dict):
                    self._complete(child)

    # -- reading -------------------------------------------------------------------------------

    def why_nothing(self, message: Mapping[str, Any]) -> str:
        """Why the client would silently do nothing for an operation; '' if it does something."""
        data: Any = message.get("data")
        match message.get("etype"):
            case "UPDATE":
                for node in data["nodes"]:
                    if "key" in node and node["key"] not in self.places:
                        return f"{self._no_element(node['key'])}, and an update makes none: send it by upsert or add"
            case "ADD" | "UPSERT":
                to = data.get("to")
                if to and to not in ROOT_BRANCHES and to not in self.places:
                    return f"{self._no_element(to)} to add another to"
                for node in data["nodes"]:
                    if "tag" not in node and node.get("key") not in self.places:
                        return f"{self._no_element(node.get('key'))}, and what has no tag makes none"
        return ""

    def why_removes_nothing(self, message: Mapping[str, Any]) -> str:
        """Why a removal removes nothing; '' if it does, or the operation is another."""
        keys: Any = message["data"]["keys"] if message.get("etype") == "REMOVE" else ()
        return next((self._no_element(key) for key in keys if key not in self.places), "")

    def _no_element(self, key: Key) -> str:
        near = difflib.get_close_matches(str(key), [str(other) for other in self.places], n=1)
        return f"there is no element {key!r} in the scene" + (f" (there is {near[0]!r})" if near else "")

    def node(self, key: Key) -> dict[str, Any]:
        """An element as it is sent, with all below it; the whole scene for ROOT."""
        node = dict(self.props[key]) if key is ROOT else {**self.props[key], "key": key}
        branches = ROOT_BRANCHES if key is ROOT else ("children",)
        for branch in branches:
            if (key, branch) in self.lists:
                node[branch] = [self.node(child) for child in self.lists[key, branch]]
        return node

    def below(self, key: Key) -> Iterator[Key]:
        """The keys of all below an element, and its own first."""
        yield key
        for branch in ROOT_BRANCHES if key is ROOT else ("children",):
            for child in self.lists.get((key, branch), ()):
                yield from self.below(child)

    # -- as a text -----------------------------------------------------------------------------

    def difference(self, base: Scene) -> str | None:
        """The difference from a base scene, as a text; None if it cannot be expressed, or is too long."""
        props = [[key, own] for key, own in self.props.items() if base.props.get(key) is not own]
        lists = [[*place, keys] for place, keys in self.lists.items() if base.lists.get(place, ()) != keys]
        lists += [[*place, ()] for place in base.lists if place not in self.lists and place[0] in self.props]
        gone = [key for key in base.props if key not in self.props]
        try:
            parts = {"base": base.digest(), "props": props, "lists": lists, "gone": gone}
            text = json.dumps(parts, default=encoded_bytes)
        except (TypeError, ValueError):
            return None
        return text if len(text) <= _LONGEST_TEXT else None

    @classmethod
    def from_difference(cls, text: str, base: Scene) -> Scene | None:
        """The scene from the text of its difference; None if the base has changed."""
        parts = json.loads(text, object_hook=_decoded_bytes)
        if parts["base"] != base.digest():
            return None
        # Vuer may use a number that it has given as a key again in another process.
        keys = {key for key, _ in parts["props"] if key not in base.props and str(key).isdigit()}
        new = {key: f"{key}~kept" for key in keys}
        scene = base.copy()
        for key in parts["gone"]:
            del scene.props[key]
            scene.lists.pop((key, "children"), None)
            scene._note_kind(key, None)
        for key, props in parts["props"]:
            key = new.get(key, key)
            scene.props[key] = props
            scene._note_kind(key, props.get("tag"))
        for key, branch, children in parts["lists"]:
            scene.lists[new.get(key, key), branch] = tuple(new.get(child, child) for child in children)
        scene.places = {child: place for place, children in scene.lists.items() for child in children}
        return scene

    def digest(self) -> str:
        """A hash of the whole scene."""
        text = json.dumps(self.node(ROOT), sort_keys=True, default=encoded_bytes)
        return hashlib.sha256(text.encode()).hexdigest()

    # -- parts ---------------------------------------------------------------------------------

    def _insert(self, node: Any, parent: Key, branch: str) -> None:
        key = node.get("key")
        if key in self.places:
            self.second = key
            if node.get("tag") == "CameraView":
                self.second_camera = key
        if key is None or key in self.places:
            key = next(other for n in itertools.count(2) if (other := f"{key}~again{n}") not in self.places)
        self.places[key] = (parent, branch)
        self.lists[parent, branch] = (*self.lists.get((parent, branch), ()), key)
        self.props[key] = {}
        self._assign(key, {**_UNLESS_GIVEN.get(node.get("tag"), {}), **node})

    def _assign(self, key: Key, named: Mapping[str, Any]) -> None:
        branches = ROOT_BRANCHES if key is ROOT else ("children",)
        rest = {name: value for name, value in named.items() if name != "key"}
        for branch in branches:
            value = rest.get(branch)
            if branch not in rest or not _are_elements(value):
                continue
            del rest[branch]
            if branch in self.props[key]:
                self.props[key] = {name: value for name, value in self.props[key].items() if name != branch}
            for child in self.lists.get((key, branch), ()):
                self._drop(child, is_listed=False)
            self.lists[key, branch] = ()
            for child in value or ():
                self._insert(child, key, branch)
        if rest:
            self.props[key] = {**_still_held(self.props[key], rest), **rest, **_joints(self.props[key], rest)}
            if "tag" in rest:
                self._note_kind(key, rest["tag"])

    def _note_kind(self, key: Key, tag: Any) -> None:
        """Keep the sets of elements of certain kinds. tag: None for one that is gone."""
        is_element = key is not ROOT
        (self._groups.add if is_element and str(tag).lower() == "group" else self._groups.discard)(key)
        (self.backgrounds.add if is_element and tag == "BackgroundColor" else self.backgrounds.discard)(key)

    def _drop(self, key: Key, is_listed: bool = True) -> None:
        place = self.places.pop(key)
        if is_listed:
            self.lists[place] = tuple(other for other in self.lists[place] if other != key)
        for child in self.lists.pop((key, "children"), ()):
            self._drop(child, is_listed=False)
        del self.props[key]
        self._note_kind(key, None)

    def _is_within(self, key: Key, to: Key) -> bool:
        """Whether the client finds the key when it looks there."""
        if not to:
            return True
        if to == key:
            return True
        while key is not ROOT:
            key, branch = self.places[key]
            if to in ROOT_BRANCHES:
                if branch != to:
                    return False
            elif key == to:
                return True
        return to in ROOT_BRANCHES

    def _is_pruned(self, key: Key) -> bool:
        """Whether the client looks for empty groups at the place of this one."""
        branch = ""
        while key is not ROOT:
            key, branch = self.places[key]
        return branch in ("children", "bgChildren")


def _still_held(props: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    """The props of an element that still hold beside new ones; for a camera's pose, the last ones sent."""
    if props.get("tag") != "CameraView" or POSE.isdisjoint(named):
        return props
    return {name: props[name] for name in props if name not in POSE} | still_held(props, named)


def _joints(props: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    """A robot's whole pose: a joint stays where it was last put. Those put last come last: others may follow them."""
    before, now = props.get("jointValues"), named.get("jointValues")
    if "jointValues" not in named or not isinstance(before, dict) or not isinstance(now, (dict, type(None))):
        return {}
    now = now or {}
    return {"jointValues": {name: value for name, value in before.items() if name not in now} | now}


def _are_elements(value: Any) -> bool:
    return value is None or (
        isinstance(value, (list, tuple)) and all(isinstance(item, dict) for item in value)
    )


def encoded_bytes(value: Any) -> Any:
    """Bytes, and NumPy's own values, for JSON."""
    if isinstance(value, (bytes, bytearray)):
        return {_BYTES: base64.b64encode(value).decode()}
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"the scene holds a {type(value).__name__}, which cannot be kept")


def _decoded_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value[_BYTES]) if value.keys() == {_BYTES} else value
