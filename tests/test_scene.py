"""The client's scene, kept here: what operations make of it, and what brings a tab from one to another."""

from __future__ import annotations

from typing import Any

import pytest
import vuer.schemas as v
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vuer.events import Set, Update, Upsert

from runner.errors import FrameError
from runner.sessions.base import BaseScene
from runner.sessions.cameras import Cameras
from runner.sessions.changes import changes
from runner.sessions.messages import plain_message
from runner.sessions.pose import whole_pose
from runner.sessions.scene import ROOT, Scene

NEUTRAL = {
    "position": [0, 0, 0],
    "rotation": [0, 0, 0],
    "scale": [1, 1, 1],
    "material": {},
    "hide": False,
    "materialType": "",
}


def scene_of(*children: dict[str, Any], **branches: Any) -> Scene:
    scene = Scene()
    scene.set({"tag": "Scene", "key": "0", "children": list(children), **branches})
    return scene


def box(key: str, **props: Any) -> dict[str, Any]:
    return {"tag": "Box", "key": key, **props}


def group(key: str, *children: dict[str, Any], tag: str = "VuerGroup", **props: Any) -> dict[str, Any]:
    return {"tag": tag, "key": key, "children": list(children), **props}


class Client:
    """The scene operations of Vuer's client, as its store has them: on a tree, by search."""

    BRANCHES = ("children", "rawChildren", "bgChildren", "htmlChildren")

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {branch: [] for branch in self.BRANCHES}
        self.was_anew: set[Any] = set()

    def find(self, key: Any, node: dict[str, Any] | None = None, branches: tuple[str, ...] = BRANCHES) -> Any:
        node = self.tree if node is None else node
        if node.get("key") == key:
            return node
        for branch in branches:
            for child in node.get(branch) or ():
                found = self.find(key, child, branches)
                if found is not None:
                    return found
        return None

    def apply(self, message: dict[str, Any]) -> None:
        data = message["data"]
        getattr(self, message["etype"].lower())(data)

    def set(self, data: dict[str, Any]) -> None:
        self.tree |= {name: value for name, value in data.items() if name != "key"}

    def add(self, data: dict[str, Any]) -> None:
        for node in data["nodes"]:
            to = data.get("to")
            if to in self.BRANCHES:
                self.tree[to] = [*self.tree[to], node]
                continue
            parent = self.find(to) if to else self.tree
            if parent is not None:
                parent["children"] = [*(parent.get("children") or ()), node]

    def update(self, data: dict[str, Any]) -> None:
        for node in data["nodes"]:
            found = self.find(node["key"])
            if found is not None:
                found |= {name: value for name, value in node.items() if name != "key"}

    def upsert(self, data: dict[str, Any]) -> None:
        for node in data["nodes"]:
            to = data.get("to")
            if not to:
                parent, name, found = self.tree, "children", self.find(node["key"])
            elif to in self.BRANCHES:
                parent, name, found = self.tree, to, self.find(node["key"], self.tree, (to,))
            else:
                parent, name = self.find(to), "children"
                if parent is None:
                    continue
                found = self.find(node["key"], parent, ("children",))
            if found is not None:
                found |= node
            else:
                parent[name] = [*(parent.get(name) or ()), node]

    def remove(self, data: dict[str, Any]) -> None:
        for key in data["keys"]:
            self._take_out(self.tree, key)
        for branch in ("children", "bgChildren"):
            self.tree[branch] = self._without_hollow(self.tree[branch])

    def _take_out(self, node: dict[str, Any], key: Any) -> bool:
        for branch in self.BRANCHES:
            children = node.get(branch) or []
            if any(child["key"] == key for child in children):
                node[branch] = [child for child in children if child["key"] != key]
                return True
            if any(self._take_out(child, key) for child in children):
                return True
        return False

    def _without_hollow(self, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for node in nodes:
            node["children"] = self._without_hollow(node.get("children") or [])
        kept = [node for node in nodes if node["tag"].lower() != "group" or node["children"]]
        return kept if len(kept) == len(nodes) else self._without_hollow(kept)


def plain(node: dict[str, Any]) -> dict[str, Any]:
    """What the client draws by: without what is neutral."""
    rest = {
        name: value
        for name, value in node.items()
        if name not in Client.BRANCHES
        and NEUTRAL.get(name) != value
        # What became a Box once had the colours of a robot's file.
        and (name, value) != ("materialType", "physical")
    }
    return rest | {
        branch: [plain(child) for child in node.get(branch) or ()]
        for branch in Client.BRANCHES
        if node.get(branch)
    }


KEYS = st.sampled_from("abcdefgh")
PROPS = st.fixed_dictionaries(
    {"tag": st.sampled_from(["Box", "Sphere", "group", "VuerGroup", "CameraView", "Urdf"])},
    optional={
        "position": st.sampled_from([[0, 0, 0], [1, 0, 0]]),
        "rotation": st.sampled_from([[0, 0, 1]]),
        "material": st.sampled_from([{}, {"color": "red"}, {"color": "blue"}, {"opacity": 1}]),
        "hide": st.booleans(),
    },
)


@st.composite
def operations(draw: Any) -> list[dict[str, Any]]:
    """Random operations; a key is added only where the scene has it not, for then the client has it twice."""
    scene, made = Scene(), []

    def element(depth: int, taken: set[str]) -> dict[str, Any] | None:
        key = draw(KEYS)
        if key in taken:
            return None
        taken.add(key)
        node = {"key": key, **draw(PROPS)}
        if depth < 2 and draw(st.booleans()):
            inner = [element(depth + 1, taken) for _ in range(draw(st.integers(0, 2)))]
            node["children"] = [child for child in inner if child]
        return node

    for _ in range(draw(st.integers(1, 8))):
        verb = draw(st.sampled_from(["SET", "ADD", "UPDATE", "UPSERT", "REMOVE"]))
        to = draw(st.sampled_from([None, "children", "bgChildren", "rawChildren", "a", "b", "ghost"]))
        if verb == "SET":
            taken: set[str] = set()
            branches = {name: [element(0, taken) for _ in range(3)] for name in ("children", "bgChildren")}
            data: Any = {"tag": "Scene"} | {name: [n for n in nodes if n] for name, nodes in branches.items()}
        elif verb == "REMOVE":
            data = {"keys": draw(st.lists(KEYS, max_size=2))}
        elif verb == "UPDATE":
            data = {"nodes": [{"key": draw(KEYS), **draw(PROPS)} for _ in range(draw(st.integers(1, 2)))]}
        else:
            known = set(scene.places)
            node = element(0, set(known)) if verb == "ADD" or draw(st.booleans()) else None
            if node is None and verb == "UPSERT" and known:
                node = {"key": draw(st.sampled_from(sorted(known))), **draw(PROPS)}
            data = {"nodes": [node] if node else [], "to": to}
        message = {"etype": verb, "data": data}
        trial = scene.copy()
        trial.apply(message)
        if not any("again" in str(key) for key in trial.places):
            scene = trial
            made.append(message)
    return made


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ({"etype": "UPDATE", "data": {"nodes": [box("ball"), box("bal")]}}, "'bal' in the scene (there is 'ball')"),
        ({"etype": "ADD", "data": {"nodes": [box("new")], "to": "arm-1"}}, "no element 'arm-1'"),
        ({"etype": "UPSERT", "data": {"nodes": [box("new")], "to": "nowhere"}}, "no element 'nowhere'"),
        ({"etype": "UPDATE", "data": {"nodes": [{"key": "arm", "hide": True}]}}, ""),
        ({"etype": "UPDATE", "data": {"nodes": [{"up": [0, 0, 1]}]}}, ""),
        ({"etype": "ADD", "data": {"nodes": [box("new")], "to": "bgChildren"}}, ""),
        ({"etype": "UPSERT", "data": {"nodes": [box("new")], "to": "arm"}}, ""),
        ({"etype": "REMOVE", "data": {"keys": ["nowhere"]}}, ""),
    ],
)  # fmt: skip
def test_what_would_do_nothing_without_a_word_is_said(operation, said):
    """A mistyped key, or parent, makes pictures that lack something; to remove what is not there does no harm."""
    why = scene_of(box("ball"), group("arm", box("hand"))).why_nothing(operation)
    assert said in why and bool(said) == bool(why)


@given(operations())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_scene_is_what_the_client_makes_of_the_operations(messages):
    """Every operation gives the tree that the client's own steps give."""
    scene, client = Scene(), Client()
    for message in messages:
        scene.apply(message)
        client.apply(_copy(message))
    assert plain(scene.node(ROOT)) == plain(client.tree)


@given(operations(), operations())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_changes_make_the_wanted_scene_of_the_one_that_is_shown(before, after):
    """Whatever a tab shows, the messages bring its client to the wanted elements, in the wanted order.

    But for what a camera keeps, which is told: the page is loaded anew then.
    """
    shown, wanted = Scene(), Scene()
    for message in before:
        shown.apply(message)
    for message in after:
        wanted.apply(message)
    client = Client()
    client.set(shown.node(ROOT))
    found = changes(shown, wanted)
    for message in [*found.first, *found.rest]:
        client.apply(_copy(message))
    drawn, due = plain(client.tree), plain(wanted.node(ROOT))
    # One reason is told of several.
    keeps = any(
        old.get("tag") == "CameraView" and old.keys() - wanted.props.get(key, old).keys()
        for key, old in shown.props.items()
    )
    if not (found.lasting.startswith("its camera") or (found.lasting and keeps)):
        assert [drawn.get(branch) for branch in Client.BRANCHES] == [
            due.get(branch) for branch in Client.BRANCHES
        ]
    assert changes(wanted, wanted.copy()).rest == []


@given(operations(), operations())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_scene_can_be_gone_on_from_in_another_process(before, after):
    """As a text, what a job has made of the base gives the same scene, and another base is refused."""
    base = Scene()
    for message in before:
        base.apply(message)
    scene = base.copy()
    for message in after:
        scene.apply(message)
    text = scene.difference(base)
    again = Scene.from_difference(text, base.copy())
    assert (again.props, again.places) == (scene.props, scene.places)
    assert plain(again.node(ROOT)) == plain(scene.node(ROOT))
    other = base.copy()
    other.add([box("other")])
    assert Scene.from_difference(text, other) is None


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(inner) for name, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, (list, tuple)) else value


# -- single promises -------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [{"rotation": [1, 2, 3]}, {}])
def test_the_order_of_axes_that_a_job_has_named_is_not_the_next_jobs(after):
    """three.js turns by the order that was named last, where a rotation names none: the element is made anew."""
    turned, plainly = scene_of(box("it", rotation=[1, 2, 3, "ZYX"])), scene_of(box("it", **after))
    found = changes(turned, plainly)
    assert found.first[0]["data"]["nodes"][0]["key"] == "it" and found.lasting == ""
    assert changes(plainly, turned).first == []


def test_a_robot_has_the_colours_of_its_file_unless_it_is_told_otherwise():
    """Vuer's client would paint white what of it has been loaded by chance; a later update says nothing of it."""
    scene = scene_of(
        {"tag": "Urdf", "key": "arm", "src": "a"}, {"tag": "Urdf", "key": "leg", "materialType": "basic"}
    )
    scene.update([{"tag": "Urdf", "key": "leg", "src": "b"}])
    assert [scene.props[key]["materialType"] for key in ("arm", "leg")] == ["", "basic"]


def test_a_robots_pose_is_whole_and_put_back_in_place():
    """A joint stays where it was last put, also by an update that came with another; nothing of it lasts."""
    base = scene_of({"tag": "Urdf", "key": "arm", "src": "a"})
    poses = [{"elbow": 1, "thumb": 1}, {"elbow": 2}]
    messages = [update({"key": "arm", "jointValues": pose}) for pose in poses]
    moved = base.copy()
    for message in messages:
        moved.apply(message)
    # In the order in which they were put, because a joint may follow another.
    assert list(moved.props["arm"]["jointValues"].items()) == [("thumb", 1), ("elbow", 2)]
    moved.complete(messages[1]["data"])
    assert messages[1]["data"]["nodes"][0]["jointValues"] == {"thumb": 1, "elbow": 2}
    for shown, wanted, pose in ((base, moved, {"thumb": 1, "elbow": 2}), (moved, base, {})):
        found = changes(shown, wanted)
        (message,) = found.rest
        assert message["data"]["nodes"] == [{"key": "arm", "jointValues": pose}]
        assert found.first == [] and found.lasting == ""
    again = moved.copy()
    again.update([{"key": "arm", "jointValues": {"thumb": 1}}])
    assert changes(moved, again).rest, "the thumb is put last now"


def test_the_colour_behind_all_is_changed_in_place():
    """As domain randomisation does with each job; another such element may leave something behind."""
    base = scene_of({"tag": "BackgroundColor", "key": "sky", "color": "red"})
    recoloured = sent(base, update({"key": "sky", "color": "blue"}))
    assert recoloured.first == [] and recoloured.lasting == ""
    assert sent(base, {"etype": "REMOVE", "data": {"keys": ["sky"]}}).lasting
    more = base.copy()
    more.add([{"tag": "BackgroundColor", "key": "other"}])
    assert more.backgrounds == {"sky", "other"}
    again = Scene.from_difference(more.difference(base), base)
    assert again.backgrounds == more.backgrounds
    again.update([{"key": "sky", "tag": "Box"}])
    more.remove(["sky"])
    assert again.backgrounds == more.backgrounds == {"other"} and base.backgrounds == {"sky"}


def sent(shown: Scene, *messages: dict[str, Any]) -> Any:
    wanted = shown.copy()
    for message in messages:
        wanted.apply(message)
    return changes(shown, wanted)


def update(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"etype": "UPDATE", "data": {"nodes": list(nodes)}}


@pytest.mark.parametrize("tag", ["Arrow", "CoordsMarker"])
def test_a_marker_is_moved_and_put_back_in_place(tag):
    """Each other change makes it anew."""
    base = scene_of({"tag": tag, "key": "frame", "position": [0, 1, 0]})
    moved = base.copy()
    moved.update([{"key": "frame", "position": [1, 1, 0]}])
    for shown, wanted in ((base, moved), (moved, base)):
        found = changes(shown, wanted)
        assert found.first == [] and found.lasting == ""
    assert sent(base, update({"key": "frame", "color": "red"})).first


def test_what_the_next_job_names_anyway_costs_nothing():
    """From a job's scene to the next one's, only what differs is sent, in one update."""
    base = scene_of(
        box("ball", material={"color": "red"}), {"tag": "CameraView", "key": "ego", "position": [0, 0, 1]}
    )
    one, two = base.copy(), base.copy()
    one.update([box("ball", material={"color": "blue"}), {"key": "ego", "position": [0, 0, 2]}])
    two.update([box("ball", material={"color": "green"}), {"key": "ego", "position": [0, 0, 3]}])
    found = changes(one, two)
    (message,) = found.rest
    assert (found.first, found.lasting, message["etype"]) == ([], "", "UPDATE")
    assert message["data"]["nodes"] == [
        {"key": "ball", "material": {"color": "green"}}, {"key": "ego", "position": [0, 0, 3]}
    ]  # fmt: skip


def test_a_pose_goes_back_to_the_neutral_one_in_place():
    """A rotation that the base does not name is put back by naming the neutral one."""
    base = scene_of(box("ball"))
    turned = base.copy()
    turned.update([box("ball", rotation=[0, 0, 1], scale=[2, 2, 2])])
    found = changes(turned, base)
    assert found.first == []
    assert found.rest[0]["data"]["nodes"] == [{"key": "ball", "rotation": [0, 0, 0], "scale": [1, 1, 1]}]


@pytest.mark.parametrize(
    "props",
    [
        {"material": {"color": "red", "transparent": True}},
        {"materialType": "basic"},
        {"hide": True},
        {"outlines": True},
    ],
)
def test_what_has_a_past_is_made_anew(props):
    """An element whose material would be another, or that was hidden, is unmounted before it is set."""
    base = scene_of(box("ball", material={"color": "red"}), box("crate"))
    changed = base.copy()
    changed.update([{"key": "ball", **props}])
    found = changes(changed, base)
    assert [node["key"] for node in found.first[0]["data"]["nodes"]] == ["ball"]
    (message,) = found.rest
    assert {"tag": "Box", "material": {"color": "red"}}.items() <= message["data"]["nodes"][0].items()


def test_an_element_of_another_kind_takes_nothing_from_the_old_one():
    """What was named to put the old one back, such as a neutral position, is no prop of the new one: it is added."""
    base = scene_of(group("arm"))
    base.update([{"key": "arm", "position": [0, 0, 0]}])
    changed = base.copy()
    changed.update([{"key": "arm", "tag": "DirectionalLight"}])
    found = changes(base, changed)
    assert found.first == [{"etype": "REMOVE", "ts": 0.0, "data": {"keys": ["arm"]}}]
    assert [message["etype"] for message in found.rest] == ["ADD"]


def test_what_a_job_added_is_taken_out_and_the_rest_is_left_alone():
    """The base's own elements are not sent again."""
    base = scene_of(box("ball"), box("crate"))
    more = base.copy()
    more.add([box("new")])
    (message,) = changes(more, base).rest
    assert (message["etype"], message["data"]) == ("REMOVE", {"keys": ["new"]})


def test_what_the_page_keeps_for_good_is_told():
    """Elements of a kind that is not known to be without a past, the scene's settings, a camera's gizmo."""
    base = scene_of(box("ball"), rawChildren=[{"tag": "CameraView", "key": "ego"}])
    assert (
        "Urdf" in sent(base, {"etype": "ADD", "data": {"nodes": [{"tag": "Urdf", "key": "robot"}]}}).lasting
    )
    assert "scene itself" in sent(base, {"etype": "SET", "data": {"tag": "Scene", "up": [0, 0, 1]}}).lasting
    assert "movable" in sent(base, update({"key": "ego", "movable": False})).lasting
    assert sent(base, update({"key": "ego", "matrix": [1] * 16})).lasting == ""
    assert "normalMap" in sent(base, update(box("ball", material={"normalMap": "url"}))).lasting
    assert sent(base, update(box("ball", material={"color": "red"}))).lasting == ""


MATRIX = [0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 1]


@pytest.mark.parametrize(
    "said, pose",
    [
        ([], {"position": [0, 0, 0], "rotation": [0, 0, 0]}),
        ([{"quaternion": [0, 0, 1, 0]}], {"position": [0, 0, 0], "quaternion": [0, 0, 1, 0]}),
        ([{"quaternion": [0, 0, 1, 0]}, {"rotation": [1, 0, 0]}], {"position": [0, 0, 0], "rotation": [1, 0, 0]}),
        ([{"rotation": [1, 0, 0], "quaternion": [0, 0, 1, 0]}], {"position": [0, 0, 0], "quaternion": [0, 0, 1, 0]}),
        ([{"position": [4, 5, 6], "quaternion": [0, 0, 1, 0]}, {"matrix": MATRIX}], {"matrix": MATRIX}),
        ([{"matrix": MATRIX}, {"position": [4, 5, 6]}], {"matrix": [*MATRIX[:12], 4, 5, 6, 1]}),
        ([{"matrix": MATRIX}, {"rotation": [1, 0, 0]}], {"position": [1, 2, 3], "rotation": [1, 0, 0]}),
        ([{"matrix": MATRIX}, {"position": [4, 5, 6]}, {"quaternion": [0, 0, 1, 0]}],
         {"position": [4, 5, 6], "quaternion": [0, 0, 1, 0]}),
        ([{"lookAt": [0, 0, 1]}, {"position": [4, 5, 6]}],
         {"position": [4, 5, 6], "lookAt": [0, 0, 1], "up": [0, 1, 0]}),
        ([{"lookAt": [0, 0, 1], "up": [0, 0, 1]}, {"rotation": [1, 0, 0]}],
         {"position": [0, 0, 0], "rotation": [1, 0, 0]}),
    ],
)  # fmt: skip
def test_of_a_cameras_pose_what_was_said_last_holds(said, pose):
    """Also where Vuer's client would keep what was said before; each such pose leads to each other in place."""
    base = scene_of(rawChildren=[{"tag": "CameraView", "key": "ego", "position": [7, 8, 9]}])
    alone = scene_of(rawChildren=[{"tag": "CameraView", "key": "ego"}])
    scene = alone.copy()
    for props in said:
        scene.update([{"key": "ego", **props}])
    assert whole_pose(scene.props["ego"]) == pose
    for start, goal in ((base, scene), (scene, base)):
        cameras = Cameras()
        cameras.translate({"etype": "SET", "data": start.node(ROOT)})
        found = changes(start, goal)
        for message in found.rest:
            cameras.translate(message)
        told = cameras.lens("ego")["pose"]
        assert (found.first, found.lasting, told) == ([], "", whole_pose(goal.props["ego"]))


def test_a_key_that_is_given_twice_stands_for_two_elements():
    """Both are drawn; the key means the first."""
    scene = scene_of(box("ball"))
    scene.add([box("ball", position=[1, 0, 0])])
    scene.update([box("ball", args=[2])])
    first, second = scene.node(ROOT)["children"]
    assert (first["args"], second["position"], "args" in second) == ([2], [1, 0, 0], False)


def test_what_a_text_keeps():
    """Bytes are kept; what Vuer gave a number for a key gets one of its own; what is no JSON cannot be told."""
    base = scene_of(box("ball"), box("7"))
    scene = base.copy()
    scene.add([{"tag": "TriMesh", "key": "12", "vertices": b"\0\1"}])
    again = Scene.from_difference(scene.difference(base), base)
    assert again.node("12~kept") == {"tag": "TriMesh", "key": "12~kept", "vertices": b"\0\1"}
    assert "7" in again.places
    scene.add([box("odd", position=object())])
    assert scene.difference(base) is None


# -- the scene that jobs begin with -----------------------------------------------------------------


def test_pages_begin_with_the_scene_that_came_first():
    """What a job changes of scene()'s own objects is in no later page; the number of an element without a key is."""
    color, key = {"color": "#0000ff"}, iter("0123")
    base = BaseScene(make := lambda: v.Scene(v.Sphere(key="ball", material=color), v.Box(key=next(key))))
    first, told = base.take(make())
    assert not told
    again, told = base.take(make())
    assert not told and again is not first
    color["color"] = "#00ff00"
    shown, told = base.take(make())
    assert shown is again and "another scene each time" in told


def test_a_scene_by_chance_is_told_at_its_first_page():
    """It is made twice, and compared."""
    place = iter(range(9))
    base = BaseScene(make := lambda: v.Scene(v.Sphere(key="ball", position=[next(place), 0, 0])))
    assert "another scene each time" in base.take(make())[1]


def test_a_texture_of_another_use_is_another_one():
    """Its repetition, and whether it has colours: the client keeps these by address, as they were when it was drawn."""

    def shown(name="map", **material):
        (node,) = plain_message(Update(v.Box(key="ball", material=material)))["data"]["nodes"]
        return node["material"][name]

    assert len({shown(name, **{name: "/a.png"}) for name in ("map", "normalMap", "displacementMap")}) == 3

    plain, many, few = (
        shown(map="/a.png"),
        shown(map="/a.png", mapRepeat=[4, 4]),
        shown(map="/a.png", mapRepeat=[2, 1]),
    )
    assert plain == "/a.png" and len({plain, many, few}) == 3
    assert {url.partition("#")[0] for url in (many, few)} == {plain}


def test_what_was_sent_stays_though_its_dict_is_changed_later():
    """An element given as a dict, at the top or within another, is sent as it was when it was given."""
    look = {"color": "#ff0000"}
    child = {"tag": "Box", "key": "b", "material": look}
    for event in (
        Upsert([child], to=None),
        Upsert([v.Group(v.Group(child, key="h"), key="g")], to=None),
        Set(v.Scene(child)),
    ):
        sent = plain_message(event)
        look["color"] = "#00ff00"
        assert "#ff0000" in repr(sent)
        look["color"] = "#ff0000"


# -- cameras that would be taken for others, or see nothing -----------------------------------------


def camera(**props: Any) -> dict[str, Any]:
    return {
        "etype": "UPSERT",
        "ts": 0,
        "data": {"nodes": [{"tag": "CameraView", **props}], "to": "rawChildren"},
    }


def test_no_two_cameras_share_a_key_inside_the_page():
    """One of another size goes by another name there, which may be that of a camera of the user's."""
    cameras = Cameras()
    for props in ({"key": "ego"}, {"key": "ego", "width": 32}, {"key": "ego~2"}, {"key": "ego", "width": 64}):
        cameras.translate(camera(**props))
        assert cameras.inner_key("ego") not in (
            cameras.inner_key("ego~2") if "ego~2" in cameras._cameras else "",
        )


@pytest.mark.parametrize(
    ("props", "said"),
    [
        ({"near": 0}, "near=0 and far=20"), ({"far": 0.05}, "far=0.05"), ({"fov": 180}, "fov=180"),
        ({"width": 0}, "width=0"), ({"height": 320.5}, "height=320.5"),
    ],
)  # fmt: skip
def test_a_camera_that_would_show_nothing_is_refused(props, said):
    """By what it was asked for, whether that came at once or bit by bit."""
    cameras = Cameras()
    cameras.translate(camera(key="ego"))
    with pytest.raises(FrameError, match=said):
        cameras.translate(camera(key="ego", **props))
