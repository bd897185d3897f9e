"""What the script on the page takes for granted of Vuer's client: each told by the client itself, alone."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
import vuer
from playwright.async_api import async_playwright
from vuer.events import GrabRender
from vuer.schemas import (
    AmbientLight,
    BackgroundColor,
    Box,
    CameraView,
    CoordsMarker,
    Group,
    Obj,
    PointCloud,
    Scene,
    Sphere,
    Urdf,
)

from runner.browsers import RASTERIZERS
from runner.sessions import Server
from runner.sessions.protocol import KNOWN_VERSIONS
from runner.sessions.scene import STAGING

# One page is asked by all.
pytestmark = pytest.mark.xdist_group("stock client")

CLIENT = Path(vuer.__file__).parent / "client_build"
# Looks on before the client's scripts run, and changes nothing.
WATCH = """
window.seen = {roots: new Map(), commits: 0, renderers: {}, reads: [], steps: [], managers: [], shaders: [],
               pixels: [], blobs: [], chatter: [], draws: 0, sent: [], updates: 0};
let vuer;
Object.defineProperty(window, "VUER", {configurable: true, get: () => vuer, set(value) {
  vuer = value;
  const {ops} = value.useSceneStore.getState(), {update} = ops;
  ops.update = (event) => { seen.updates++; update(event); };
}});
window.__REACT_DEVTOOLS_GLOBAL_HOOK__ = {
  supportsFiber: true, renderers: new Map(), onCommitFiberUnmount() {}, onPostCommitFiberRoot() {},
  inject(info) { seen.renderers[info.rendererPackageName] = info.version; this.last = (this.last || 0) + 1;
                 this.renderers.set(this.last, info); return this.last; },
  onCommitFiberRoot(id, root) { const name = this.renderers.get(id).rendererPackageName;
                                seen.roots.set(root, name); seen.commits += name === "@react-three/fiber"; },
};
window.fibers = function* (name) {
  for (const [root, owner] of seen.roots) {
    if (owner !== name) continue;
    const todo = [root.current];
    while (todo.length) {
      const one = todo.pop();
      yield one;
      if (one.sibling) todo.push(one.sibling);
      if (one.child) todo.push(one.child);
    }
  }
};
window.objectNamed = (name) => {
  for (const [root, owner] of seen.roots) {
    const found = owner === "@react-three/fiber" && root.containerInfo.getState().scene.getObjectByName(name);
    if (found) return found;
  }
  return null;
};
let isBetween = false;
const timeout = window.setTimeout;
window.setTimeout = function (f, ms) {
  if (isBetween && !ms) seen.steps.push("timeout");
  return timeout.apply(window, arguments);
};
window.WebSocket = class extends WebSocket {
  constructor(...args) { super(...args); this.binaryType = "arraybuffer"; }
  send(data) { seen.sent.push(String.fromCharCode(...new Uint8Array(data).subarray(0, 200))); super.send(data); }
  get onmessage() { return null; }
  set onmessage(handler) {
    super.onmessage = (event) => {
      const at = seen.reads.push(0) - 1;
      handler.call(this, new MessageEvent("message", {data: {arrayBuffer: () => {
        seen.reads[at]++;
        queueMicrotask(() => {
          isBetween = true;
          queueMicrotask(() => { isBetween = false; seen.steps.push("end"); });
        });
        return Promise.resolve(event.data);
      }}}));
    };
  }
};
Object.defineProperty(Object.prototype, "itemStart", {configurable: true, get() {}, set(value) {
  seen.managers.push(typeof value);
  Object.defineProperty(this, "itemStart", {value, writable: true, configurable: true, enumerable: true});
}});
const gl = WebGL2RenderingContext.prototype, {shaderSource, readPixels, drawElements} = gl;
gl.shaderSource = function (shader, source) { seen.shaders.push(source); return shaderSource.apply(this, arguments); };
gl.drawElements = function () { seen.draws++; return drawElements.apply(this, arguments); };
gl.readPixels = function (x, y, width, height, format, type, into) {
  const {canvas} = this;
  const isWhole = x === 0 && y === 0 && width === canvas.width && height === canvas.height;
  seen.pixels.push([isWhole, format === this.RGBA, type === this.UNSIGNED_BYTE, into.constructor.name,
                    canvas.constructor.name].join());
  return readPixels.apply(this, arguments);
};
const {convertToBlob} = OffscreenCanvas.prototype;
OffscreenCanvas.prototype.convertToBlob = function (options) {
  seen.blobs.push(options.type);
  return convertToBlob.apply(this, arguments);
};
const {log} = console;
console.log = function (first) { if (typeof first === "string") seen.chatter.push(first); };
"""


class StockPage:
    """The stock client in a browser, at the far end of one of our sessions."""

    def __init__(self, browser_path: str):
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._do(self._open(browser_path))

    def _do(self, task):
        return self._loop.run_until_complete(asyncio.wait_for(task, 60))

    async def _open(self, browser_path: str) -> None:
        async def work(session):
            await session.closed

        server = Server(work)
        server._client = replace(server._client, page=(CLIENT / "index.html").read_text())
        await server.start()
        self._stack.push_async_callback(server.stop)
        playwright = await self._stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path=browser_path, args=RASTERIZERS["swiftshader"]
        )
        self._stack.push_async_callback(browser.close)
        self.page = await browser.new_page(viewport={"width": 320, "height": 240})
        await self.page.add_init_script(WATCH)
        await self.page.goto(server.link())
        await self.page.wait_for_function("seen.sent.some((text) => text.includes('INIT'))")
        (self.session,) = server.sessions
        # What is sent before its scene has mounted is lost.
        camera = CameraView(key="ego", width=64, height=48, fov=50, position=[0, 0, 4])
        for _ in range(300):
            self.session.set @ Scene(Sphere(key="ball"), rawChildren=[camera])
            await self.session.flush()
            await asyncio.sleep(0.1)
            if await self.page.evaluate("Boolean(objectNamed('__camera:ego'))"):
                return
        pytest.fail("the client has not put the scene in")

    def ask(self, expression: str):
        return self._do(self.page.evaluate(expression))

    def until(self, fact: str) -> None:
        self._do(self.page.wait_for_function(fact))

    def send(self, act) -> None:
        """Do act(session), and have it sent."""

        async def sent():
            act(self.session)
            await self.session.flush()

        self._do(sent())

    def send_as_it_is(self, etype: str, **data) -> None:
        """Send a message that the session's own bookkeeping does not see."""
        packed = msgpack.packb({"etype": etype, "ts": 0, "data": data}, use_single_float=True)
        self._do(self.session._socket.send_bytes(packed))

    def picture(self, key: str) -> None:
        """Have a picture taken, to its end."""
        before = self.ask("seen.sent.length")
        self.send(lambda session: session._post(GrabRender(key=key)._serialize()))
        self.until(f"seen.sent.slice({before}).some((text) => text.includes('GRAB_RENDER_RESPONSE'))")

    def close(self) -> None:
        self._do(self._stack.aclose())
        self._loop.close()


@pytest.fixture(scope="module")
def stock(browser_path):
    page = StockPage(browser_path)
    yield page
    page.close()


def test_its_parts_are_those_that_were_tried(stock):
    """react-dom, react-three-fiber and three tell their versions, by these names."""
    found = stock.ask("({...seen.renderers, three: window.__THREE__})")
    assert {name: found.get(name) for name in KNOWN_VERSIONS} == KNOWN_VERSIONS


def test_it_reads_each_message_once_and_hands_it_on_by_timers(stock):
    """arrayBuffer() once a message; the timers of its subscribers are set between the next two microtasks."""
    stock.ask("seen.reads.length = seen.steps.length = 0")
    stock.send(lambda session: session.update @ Sphere(key="ball", position=[1, 0, 0]))
    stock.until("seen.steps.includes('end')")
    assert stock.ask("seen.reads") == [1]
    steps = stock.ask("seen.steps")
    assert len(steps) >= 2 and set(steps[:-1]) == {"timeout"} and steps[-1] == "end"


def test_an_update_renders_the_scene(stock):
    """What is sent is committed by react-three-fiber's own root, whose effects React tells of."""
    before = stock.ask("seen.commits")
    stock.send(lambda session: session.update @ Sphere(key="ball", position=[0.5, 0, 0]))
    stock.until(f"seen.commits > {before}")


def test_a_bare_object_is_put_into_the_scene_by_its_key_with_its_data(stock):
    """The fence is such an object, and its number changes by an update."""
    for number in (1, 2):
        node = {"tag": "object3D", "key": "__fence", "visible": False, "userData": {"n": number}}
        stock.send_as_it_is("UPSERT", nodes=[node], to="children")
        stock.until(f"objectNamed('__fence') && objectNamed('__fence').userData.n === {number}")


def test_a_scene_without_background_children_has_the_pages_own(stock):
    """Its grid and its lights, which a runner's scene has, too, where it names none."""
    keys = stock.ask("[...fibers('@react-three/fiber')].map((fiber) => fiber.memoizedProps?._key)")
    assert {node["key"] for node in STAGING} <= set(keys)


def test_elements_are_function_components_with_their_key_and_props(stock):
    """A fiber of tag 0 has _key, tag and src of what was sent."""
    stock.send(lambda session: session.upsert @ Obj(key="cup", text="v 0 0 0"))
    stock.until(
        "[...fibers('@react-three/fiber')].some(({tag, memoizedProps: props}) => "
        "tag === 0 && props && props._key === 'cup' && props.tag === 'Obj' && props.text)"
    )
    stock.send(lambda session: session.remove @ "cup")
    stock.until("![...fibers('@react-three/fiber')].some((fiber) => fiber.memoizedProps?._key === 'cup')")


def test_a_camera_keeps_the_lens_that_it_first_had(stock):
    """Its position follows, its field of view does not: the page sets that."""
    node = {"tag": "CameraView", "key": "ego", "fov": 25, "position": [0, 0, 7]}
    stock.send_as_it_is("UPDATE", nodes=[node])
    stock.until(
        "objectNamed('__camera:ego').getWorldPosition(objectNamed('__camera:ego').position.clone()).z > 6.9"
    )
    assert stock.ask("objectNamed('__camera:ego').fov") == 50


def test_a_picture_is_read_whole_and_encoded_as_jpeg(stock):
    """The camera reads all bytes of its own canvas, then has the canvas encoded."""
    stock.ask("seen.pixels.length = seen.blobs.length = 0")
    stock.picture("ego")
    assert set(stock.ask("seen.pixels")) == {"true,true,true,Uint8Array,OffscreenCanvas"}
    assert stock.ask("seen.blobs") == ["image/jpeg"]


def test_depth_is_drawn_by_a_shader_that_is_known(stock):
    """The line that is replaced for depth in 24 bits is in it, and depth is a second picture."""
    camera = CameraView(key="deep", width=64, height=48, renderDepth=True)
    stock.send(lambda session: session.upsert @ camera)
    stock.until("objectNamed('__camera:deep')")
    stock.ask("seen.blobs.length = 0")
    stock.picture("deep")
    assert stock.ask("seen.blobs.length") == 2
    line = "gl_FragColor.rgb = 1.0 - vec3( depth );"
    assert stock.ask(f"seen.shaders.some((source) => source.includes('{line}'))")


def test_no_frame_is_drawn_for_the_main_view(stock):
    """Under frameloop=never an update draws nothing."""
    before = stock.ask("[seen.draws, seen.commits]")
    stock.send(lambda session: session.upsert @ Box(key="box", position=[0, 1, 0]))
    stock.until(f"seen.commits > {before[1]}")
    assert stock.ask("seen.draws") == before[0]


def test_loading_managers_set_their_own_functions(stock):
    """Each of three's managers assigns itemStart when it is made."""
    assert "function" in stock.ask("seen.managers")


def test_panels_are_components_of_these_names(stock):
    """The two that are emptied, because they render a row an element."""
    found = stock.ask("[...fibers('react-dom')].filter((f) => f.tag === 0).map((f) => f.type.name)")
    assert {"SceneGraph", "WorkspacePanel"} <= set(found)


def test_the_console_is_told_of_each_rendering(stock):
    """The first words that are kept from the console are still those."""
    stock.ask("seen.chatter.length = 0")
    stock.send(lambda session: session.update @ Sphere(key="ball", position=[0.7, 0, 0]))
    stock.until("seen.chatter.includes('Updated tree:')")


# -- what shortcut.js and elements.js take for granted ---------------------------------------------


def test_its_store_is_shown_before_it_subscribes(stock):
    """Whoever stands in for an operation of window.VUER's store gets all messages; the store's copy is as told."""
    before = stock.ask("seen.updates")
    stock.send(lambda session: session.update @ Sphere(key="ball", position=[0.25, 0, 0]))
    stock.until(f"seen.updates > {before}")
    names = ["set", "add", "update", "upsert", "removeByKey", "timeout", "rawUpdate"]
    assert (
        stock.ask(f"{names}.map((name) => typeof VUER.useSceneStore.getState().ops[name])")
        == ["function"] * 7
    )
    assert stock.ask("VUER.useSceneStore.getState().ops.getNode('ball').position") == [0.25, 0, 0]


def test_what_changes_nothing_in_the_store_is_not_rendered(stock):
    """The same values again leave the store's state what it was."""
    stock.send_as_it_is("UPDATE", nodes=[{"key": "ball", "visible": True}])
    stock.until("VUER.useSceneStore.getState().ops.getNode('ball').visible === true")
    again = "VUER.useSceneStore.getState().ops.update({data: {nodes: [{key: 'ball', visible: true}]}})"
    stock.ask(f"window.stateBefore = VUER.useSceneStore.getState(), {again}, 0")
    assert stock.ask("window.stateBefore === VUER.useSceneStore.getState()")


def test_objects_know_what_react_three_fiber_was_given(stock):
    """By the key as their name; the material is a part, with the values that were sent; scale is not given."""
    box = Box(key="known", scale=[1, 2, 1], position=[0, 1, 0], material={"color": "#ff0000"})
    stock.send(lambda session: session.upsert @ box)
    stock.until("objectNamed('known')")
    given = stock.ask(
        "(({__r3f: {type, props, isHidden}}) => ({type, ...props, isHidden}))(objectNamed('known'))"
    )
    assert (given["type"], given["name"], given["position"]) == ("mesh", "known", [0, 1, 0])
    assert "scale" not in given and not given["isHidden"]
    part = "objectNamed('known').__r3f.children.find(({object}) => object === objectNamed('known').material).props"
    assert stock.ask(f"[{part}.color, {part}.attach]") == ["#ff0000", "material"]
    stock.until("objectNamed('known').scale.y === 2")


def test_its_own_function_sets_props_as_react_does(stock):
    """FIBER.applyProps, of an object that the client has made."""
    stock.ask(
        "FIBER.applyProps(objectNamed('ball'), {position: [1, 2, 3], rotation: [0, 1, 0, 'ZYX'], visible: false}), 0"
    )
    found = "[...position.toArray(), ...rotation.toArray(), visible]"
    assert stock.ask(f"(({{position, rotation, visible}}) => {found})(objectNamed('ball'))") == [
        1,
        2,
        3,
        0,
        1,
        0,
        "ZYX",
        False,
    ]
    stock.ask("FIBER.applyProps(objectNamed('ball'), {rotation: [0, 0, 0, 'XYZ'], visible: true}), 0")


def test_a_primitives_material_is_made_anew_at_its_second_rendering_alone(stock):
    """So one more rendering tells whether anything would change by another."""
    stock.send(lambda session: session.upsert @ Box(key="second"))
    stock.until("objectNamed('second')")
    materials = []
    for x in (1, 2, 3, 4):
        materials.append(stock.ask("objectNamed('second').material.uuid"))
        stock.send(lambda session, x=x: session.update @ Sphere(key="ball", position=[x, 0, 0]))
        stock.until(f"objectNamed('ball').position.x === {x}")
        stock.until("[...seen.roots.keys()].every((root) => !root.pendingLanes)")
    materials.append(stock.ask("objectNamed('second').material.uuid"))
    assert len(set(materials[:2])) == 2 and len(set(materials[1:])) == 1


def test_a_light_is_made_anew_and_stands_last(stock):
    """By another intensity; by another position it is moved."""
    stock.send(lambda session: session.add @ AmbientLight(key="lamp", intensity=1))
    stock.until("objectNamed('lamp')")
    stock.send(lambda session: session.add @ Box(key="after lamp"))
    stock.until("objectNamed('after lamp')")
    before = stock.ask("objectNamed('lamp').uuid")
    stock.send(lambda session: session.update @ AmbientLight(key="lamp", position=[0, 1, 0]))
    stock.until("objectNamed('lamp').position.y === 1")
    assert stock.ask("objectNamed('lamp').uuid") == before
    stock.send(lambda session: session.update @ AmbientLight(key="lamp", intensity=2))
    stock.until("objectNamed('lamp').intensity === 2")
    assert stock.ask("objectNamed('lamp').uuid") != before
    assert stock.ask("objectNamed('lamp').parent.children.at(-1) === objectNamed('lamp')")


def test_a_groups_matrix_takes_the_place_of_its_pose(stock):
    """An effect sets it, and has three.js leave it alone."""
    matrix = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 5, 6, 7, 1]
    stock.send(lambda session: session.add @ Group(Box(key="held"), key="holder", matrix=matrix))
    stock.until("objectNamed('holder') && !objectNamed('holder').matrixAutoUpdate")
    assert stock.ask("objectNamed('holder').matrix.toArray()") == matrix


def test_updates_that_come_together_are_rendered_once(stock):
    """Only what they come to reaches the objects."""
    watch = "function (x) { seenX.push(x[0]); return setX.apply(this, arguments); }"
    stock.ask("window.seenX = [], window.setX = objectNamed('ball').position.fromArray, 0")
    stock.ask(f"objectNamed('ball').position.fromArray = {watch}, 0")
    update = (
        "VUER.useSceneStore.getState().ops.update({data: {nodes: [{key: 'ball', position: [%d, 0, 0]}]}})"
    )
    stock.ask(f"{update % 8}, {update % 9}, 0")
    stock.until("seenX.includes(9)")
    assert stock.ask("seenX") == [9]


def test_a_robot_is_put_by_an_effect_of_its_joint_values(stock):
    """By its own setJointValues, on the object of the element's name; without values it is put by none."""
    link = '<link name="%s"/>'
    joint = '<joint name="j" type="continuous"><parent link="a"/><child link="b"/><axis xyz="1 0 0"/></joint>'
    file = f"data:text/xml,<robot name='r'>{link % 'a'}{link % 'b'}{joint}</robot>".replace('"', "'")
    stock.send(lambda session: session.upsert @ Urdf(key="robot", src=file))
    stock.until("objectNamed('robot') && objectNamed('robot').isURDFRobot")
    stock.ask("window.puts = [], window.putSo = objectNamed('robot').setJointValues, 0")
    stock.ask(
        "objectNamed('robot').setJointValues = function (v) { puts.push(v); return putSo.call(this, v); }, 0"
    )
    stock.send(lambda session: session.update @ Urdf(key="robot", jointValues={"j": 0.5}))
    stock.until("objectNamed('robot').joints.j.jointValue[0] === 0.5")
    assert stock.ask("puts.at(-1)") == {"j": 0.5}
    stock.send(lambda session: session.remove @ "robot")
    stock.until("!objectNamed('robot')")


def test_a_clouds_points_are_half_floats_and_its_colours_bytes(stock):
    """In attributes of these names; the cloud is made anew for others."""
    places = np.float32([[1, -2, 0.333], [6e-8, 65504, -0.0]])
    colors = np.uint8([[255, 0, 51], [1, 2, 3]])
    stock.send(lambda session: session.upsert @ PointCloud(key="cloud", vertices=places, colors=colors))
    stock.until("objectNamed('cloud')")
    found = stock.ask(
        "(({position, color}) => [[...position.array], [...color.array]])(objectNamed('cloud').geometry.attributes)"
    )
    assert found[0] == places.astype(np.float16).astype(float).flatten().tolist()
    assert found[1] == (colors / 255).astype(np.float32).astype(float).flatten().tolist()
    before = stock.ask("objectNamed('cloud').uuid")
    stock.send(lambda session: session.update @ PointCloud(key="cloud", vertices=places[::-1].copy()))
    stock.until("objectNamed('cloud').geometry.attributes.position.array[0] < 1")
    assert stock.ask("objectNamed('cloud').uuid") != before


def test_a_background_and_a_marker_are_what_their_elements_were_told(stock):
    """The scene's colour knows what it was made of, and a marker is a group without a name, at its place."""
    stock.send(lambda session: session.upsert @ [BackgroundColor(key="sky", color="#102030")])
    stock.send(lambda session: session.upsert @ CoordsMarker(key="frame", position=[1, 2, 3]))
    background = "objectNamed('ball').parent.background"
    stock.until(f"{background} && {background}.isColor")
    assert stock.ask(f"{background}.__r3f.props.args") == ["#102030"]
    marker = "[...fibers('@react-three/fiber')].find((one) => one.memoizedProps?._key === 'frame' && one.tag === 0)"
    stock.until(marker)
    # Its first object, some components down.
    group = f"(() => {{ let one = {marker}; while (one.tag !== 5) one = one.child; return one.stateNode.object; }})()"
    assert stock.ask(f"[{group}.type, {group}.name, ...{group}.position]") == ["Group", "", 1, 2, 3]


def test_a_material_that_is_told_other_names_is_made_anew_one_rendering_later(stock):
    """So it is rendered once more before a picture."""
    stock.send(lambda session: session.upsert @ Box(key="worn", material={"color": "#ff0000"}))
    stock.until("objectNamed('worn')")
    materials = []
    for x, material in ((1, {}), (2, {}), (3, {"opacity": 0.5}), (4, {"opacity": 0.5})):
        stock.send(
            lambda session, x=x, m=material: (
                session.update @ Box(key="worn", position=[x, 0, 0], material={"color": "#ff0000"} | m)
            )
        )
        stock.until(f"objectNamed('worn').position.x === {x}")
        stock.until("[...seen.roots.keys()].every((root) => !root.pendingLanes)")
        materials.append(stock.ask("objectNamed('worn').material.uuid"))
    assert materials[1] == materials[2] != materials[3]
