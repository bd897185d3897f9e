"""The messages that make a tab show another scene, as if it had never shown anything else; no I/O.

Vuer's client (0.1.6) passes an element's props to React, where much depends on earlier values: a prop that is no longer
given may keep its value or become 0, a material stays as it was compiled, and a group that is hidden and shown again
loses its scale. So an element is changed in place only by props whose earlier values leave no trace. Otherwise it is
made anew: for one rendering, a component that shows nothing takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.sessions.cameras import CAMERA_DEFAULTS
from runner.sessions.kinds import PRIMITIVES
from runner.sessions.pose import POSE, whole_pose
from runner.sessions.scene import ROOT, ROOT_BRANCHES, Key, Scene

__all__ = ["Changes", "changes", "is_made_anew"]

_ABSENT = object()

# A component of the client that shows nothing and keeps nothing: the placeholder for an element.
_PLACEHOLDER = "PlaybackContext"
# Default values. Sending them undoes a prop, because the client cannot be told to forget one.
_NEUTRAL: dict[str, Any] = {"position": [0, 0, 0], "rotation": [0, 0, 0], "scale": [1, 1, 1]}
_POSE = frozenset(_NEUTRAL)
_PRIMITIVE_NEUTRAL = _NEUTRAL | {
    "material": {},
    "materialType": "physical",
    "wireframe": False,
    "outlines": False,
    "hide": False,
    "visible": True,
    "renderOrder": 0,
    "castShadow": True,
    "receiveShadow": True,
}
# The props that leave no trace, by tag. Changes of an element that is not listed may stay in the page for good.
_OTHERS = """
    AmbientLight DirectionalLight HemisphereLight PointLight RectAreaLight SpotLight
    AmbientLightStage HemisphereLightStage Grid
    Dae Fbx Pcd Frustum OrthographicFrustum PerspectiveFrustum
    Text Billboard BoundingBox DepthPointCloud InPlaceDepthPointCloud
    Line CatmullRomLine CubicBezierLine QuadraticBezierLine
"""
_IN_PLACE: dict[str, frozenset[str]] = {
    **dict.fromkeys(PRIMITIVES, _POSE | {"args", "material"}),
    **dict.fromkeys(("VuerGroup", "Group", "group", "Glb", "Obj", "Ply", "Stl"), _POSE),
    **dict.fromkeys(("TriMesh", "Arrow", "CoordsMarker"), frozenset({"position", "rotation"})),
    "PointCloud": frozenset({"position", "rotation", "vertices", "colors"}),
    **dict.fromkeys(_OTHERS.split(), frozenset()),
}
# Values that a material adopts without being recompiled.
_UNIFORM = frozenset({"color", "emissive", "emissiveIntensity", "opacity", "roughness", "metalness", "map"})
# Values that the client keeps under a name of its own as long as the page lives.
_KEPT_MATERIAL = ("displacementMap", "displacementScale", "normalMap", "normalScale")
# A camera's props go through Cameras: these and its pose leave no trace; others may.
_CAMERA = "CameraView"
_CAMERA_NEUTRAL = CAMERA_DEFAULTS | _NEUTRAL
# Elements that may leave traces, but not by these props. The joints of a robot: see robots.js.
_ROBOT_NEUTRAL = _NEUTRAL | {"jointValues": {}}
_TRACELESS = {"Urdf": frozenset(_ROBOT_NEUTRAL), "BackgroundColor": frozenset({"color"})}


@dataclass(frozen=True)
class Changes:
    """The messages that change a tab's scene.

    first: those that must be rendered before the rest is sent; mostly none. rest: the others, with updates last.
    lasting: a change by a job that stays in the page whatever is sent later, as a sentence; or ''.
    """

    first: list[dict[str, Any]]
    rest: list[dict[str, Any]]
    lasting: str = ""


def changes(shown: Scene, wanted: Scene) -> Changes:
    """The changes from the scene that a tab shows to the wanted one."""
    if shown.props[ROOT] != wanted.props[ROOT]:
        empty = {"tag": "Scene", **{branch: [] for branch in ROOT_BRANCHES}}
        whole = {"tag": "Scene", **wanted.node(ROOT)}
        reason = "it has set what belongs to the scene itself, such as its background"
        return Changes([_message("SET", empty)], [_message("SET", whole)], reason)
    found = _differences(shown, wanted)
    updates, anew, lost = found.updates, found.anew, found.lost
    first: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    tops = [
        key for key in anew | lost if not any(other in anew or other in lost for other in _above(wanted, key))
    ]
    held = [key for key in tops if key in anew]
    within = {below for key in tops for below in wanted.below(key)}
    page = shown.copy() if tops or shown.lists != wanted.lists else shown
    if held:
        first.append(_message("UPDATE", {"nodes": [_placeholder(shown, key) for key in held]}))
    if len(tops) > len(held):
        first.append(_message("REMOVE", {"keys": [key for key in tops if key in lost]}))
    for message in first:
        page.apply(message)
    doomed = _remove_misplaced(page, wanted, set(held)) if page is not shown else []
    if doomed:
        rest.append(_message("REMOVE", {"keys": doomed}))
    renewed = [_whole(shown, wanted, key, updates[key]) for key in held if key in page.props]
    if renewed:
        rest.append(_message("UPDATE", {"nodes": renewed}))
        page.apply(rest[-1])
    if page is not shown:
        rest += _additions(page, wanted, updates)
    nodes = [
        {"key": key, **named} for key, named in updates.items() if key in page.props and key not in within
    ]
    if nodes:
        rest.append(_message("UPDATE", {"nodes": nodes}))
    return Changes(first, rest, found.lasting)


@dataclass(frozen=True)
class _Differences:
    """Differences of the elements that are in both scenes at the same place.

    updates: the props to send, by key. anew: those elements among them that must be made anew. lost: elements that
    cannot be changed by sending props, and are removed and added. lasting: as in Changes, for all elements.
    """

    updates: dict[Key, dict[str, Any]]
    anew: set[Key]
    lost: set[Key]
    lasting: str


def _differences(shown: Scene, wanted: Scene) -> _Differences:
    reasons: list[str] = []
    anew: set[Key] = set()
    lost: set[Key] = set()
    updates: dict[Key, dict[str, Any]] = {}
    for key, new in wanted.props.items():
        old = shown.props.get(key)
        if old is None:
            reasons += _kept(key, new)
        elif old is not new and key is not ROOT and shown.places[key] == wanted.places[key]:
            named = _difference(old, new)
            if not named:
                continue
            is_smooth, reason = _how(shown, wanted, key, named)
            reasons += [reason] if reason else []
            # A new kind of element would take over props of the old one, such as a neutral position.
            if _ABSENT in named.values() or old.get("tag") != new.get("tag"):
                lost.add(key)
            else:
                updates[key] = named
                if not is_smooth:
                    anew.add(key)
    reasons += [
        reason for key, old in shown.props.items() if key not in wanted.props for reason in _kept(key, old)
    ]
    return _Differences(updates, anew, lost, reasons[0] if reasons else "")


def is_made_anew(tag: Any) -> bool:
    """Whether an element of this kind can be made anew where the client would go on showing the old one."""
    return tag in _IN_PLACE


# -- single elements -------------------------------------------------------------------------------


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The props to send so that the new values hold; _ABSENT for one that cannot be undone by sending a value."""
    tag = new.get("tag")
    neutral = _neutral_of(tag) if tag == old.get("tag") else {}
    named: dict[str, Any] = {}
    names = dict.fromkeys([*new, *old])
    if tag == _CAMERA == old.get("tag") and not POSE.isdisjoint(names):
        shown_pose = whole_pose(old)
        named = {
            name: value
            for name, value in whole_pose(new).items()
            if not _is_equal(shown_pose.get(name, _ABSENT), value)
        }
        names = {name: None for name in names if name not in POSE}
    for name in names:
        before = old.get(name, neutral.get(name, _ABSENT))
        after = new.get(name, neutral.get(name, _ABSENT))
        if before is not after and not (_is_equal(before, after) and _are_put_alike(name, before, after)):
            named[name] = after
    return named


def _are_put_alike(name: str, before: Any, after: Any) -> bool:
    """Whether joints are put in the same order: one that mimics another follows it."""
    return name != "jointValues" or list(before or ()) == list(after or ())


def _neutral_of(tag: Any) -> Mapping[str, Any]:
    if tag in _IN_PLACE:
        return (
            _PRIMITIVE_NEUTRAL if "args" in _IN_PLACE[tag] else _NEUTRAL if "scale" in _IN_PLACE[tag] else {}
        )
    return _CAMERA_NEUTRAL if tag == _CAMERA else _ROBOT_NEUTRAL if tag == "Urdf" else {}


def _is_equal(one: Any, other: Any) -> bool:
    """Whether the client gets the same value; 1 equals 1.0, but not True."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_equal(one[name], other[name]) for name in one)
    return bool(one == other)


def _how(shown: Scene, wanted: Scene, key: Key, named: dict[str, Any]) -> tuple[bool, str]:
    """Whether the element may change in place, and why the page must be reloaded afterwards, or ''."""
    old, new = shown.props[key], wanted.props[key]
    tag = new.get("tag")
    if tag == _CAMERA == old.get("tag"):
        unknown = [name for name in named if name not in _CAMERA_NEUTRAL and name not in POSE]
        for name in unknown:
            if named[name] is _ABSENT:
                del named[name]
        # The client moves a camera's children by any props that it ever got.
        if wanted.lists.get((key, "children")) and whole_pose(old).keys() != whole_pose(new).keys():
            unknown.append("pose, with what it holds")
        return True, f"its camera {key!r} keeps: {', '.join(unknown)}" if unknown else ""
    is_told = _ABSENT not in named.values() and "matrix" not in new and not _loses_order(old, new, named)
    if is_told and tag == old.get("tag") and named.keys() <= _TRACELESS.get(str(tag), frozenset()):
        return True, ""
    if tag not in _IN_PLACE or old.get("tag") not in _IN_PLACE:
        return tag == old.get("tag"), f"its element {key!r}, a {tag}, may keep traces of the change"
    reason = next(iter(_kept(key, old, new)), "")
    if tag == old.get("tag") and named.keys() <= _IN_PLACE[tag] and _ABSENT not in named.values():
        is_smooth = "material" not in named or _is_uniform(old.get("material", {}), new.get("material", {}))
        # A cloud without colours has a different material.
        is_smooth = is_smooth and not (tag == "PointCloud" and ("colors" in old) != ("colors" in new))
        if is_smooth and not _loses_order(old, new, named):
            return True, reason
    holds_camera = any(
        scene.props[other].get("tag") == _CAMERA for scene in (shown, wanted) for other in scene.below(key)
    )
    return False, f"its element {key!r}, which holds a camera, was made anew" if holds_camera else reason


def _loses_order(old: Mapping[str, Any], new: Mapping[str, Any], named: Mapping[str, Any]) -> bool:
    """Whether a rotation without an order of axes would take the one that was sent last."""
    has_order, keeps_order = (len(props.get("rotation") or ()) > 3 for props in (old, new))
    return "rotation" in named and has_order and not keeps_order


def _is_uniform(old: Any, new: Any) -> bool:
    if not isinstance(old, dict) or not isinstance(new, dict) or list(old) != list(new):
        return False
    return all(
        _is_equal(old[name], new[name]) or (name in _UNIFORM and None not in (old[name], new[name]))
        for name in new
    )


def _kept(key: Key, *all_props: Mapping[str, Any]) -> list[str]:
    """What the client keeps of such an element for good, once it has shown it."""
    for props in all_props:
        if props.get("tag") not in _IN_PLACE and props.get("tag") != _CAMERA:
            return [f"its element {key!r} ({props.get('tag')}) may leave something behind"]
        material = props.get("material")
        if isinstance(material, dict) and any(name in material for name in _KEPT_MATERIAL):
            return [
                f"the {', '.join(n for n in _KEPT_MATERIAL if n in material)} of its element {key!r} is kept"
            ]
    return []


def _placeholder(shown: Scene, key: Key) -> dict[str, Any]:
    return {"key": key, "tag": _PLACEHOLDER} | (
        {"children": []} if shown.lists.get((key, "children")) else {}
    )


def _whole(shown: Scene, wanted: Scene, key: Key, named: Mapping[str, Any]) -> dict[str, Any]:
    """The element with all below it, to replace its placeholder."""
    node = {**named, **wanted.node(key)}
    return node if "children" in node or not shown.lists.get((key, "children")) else node | {"children": []}


def _above(scene: Scene, key: Key) -> Iterator[Key]:
    while (key := scene.places[key][0]) is not ROOT:
        yield key


# -- places ----------------------------------------------------------------------------------------


def _remove_misplaced(page: Scene, wanted: Scene, held: set[Key]) -> list[Key]:
    """Remove elements that the page should not show, or that come after a missing element.

    The rest of each list is then the beginning of the wanted one, because the client only adds at the end. held:
    elements with a placeholder; their own update brings all that is below them.
    """
    doomed: list[Key] = []
    while True:
        more = []
        for place, keys in page.lists.items():
            goal = wanted.lists.get(place, ())
            if keys is goal or place[0] in held or (place[0] is not ROOT and place[0] not in wanted.props):
                continue
            reached = 0
            for key in keys:
                if reached < len(goal) and goal[reached] == key:
                    reached += 1
                else:
                    more.append(key)
        if not more:
            return doomed
        # Removing has a side effect on empty groups: look again.
        page.remove(more)
        doomed += more


def _additions(page: Scene, wanted: Scene, updates: Mapping[Key, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The messages that add what the page lacks.

    An element that is removed and added at once stays the same one to React, so its updates are sent, too.
    """
    for (parent, branch), goal in wanted.lists.items():
        if parent is not ROOT and parent not in page.props:
            continue  # it comes with its parent
        missing = goal[len(page.lists.get((parent, branch), ())) :]
        if missing:
            nodes = [_updated(wanted.node(key), updates) for key in missing]
            yield _message("ADD", {"nodes": nodes, "to": branch if parent is ROOT else parent})


def _updated(node: dict[str, Any], updates: Mapping[Key, dict[str, Any]]) -> dict[str, Any]:
    node = {**updates.get(node["key"], {}), **node}
    if "children" in node and isinstance(node["children"], list):
        node["children"] = [
            _updated(child, updates) if isinstance(child, dict) else child for child in node["children"]
        ]
    return node


def _message(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"etype": kind, "ts": 0.0, "data": data}
