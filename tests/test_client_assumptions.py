"""What the script on the page takes for granted of Vuer's client: each told by the client itself, alone."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import msgpack
import pytest
import vuer
from playwright.async_api import async_playwright
from vuer.events import GrabRender
from vuer.schemas import Box, CameraView, Obj, Scene, Sphere

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
               pixels: [], blobs: [], chatter: [], draws: 0, sent: []};
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
        server._page = (CLIENT / "index.html").read_text()
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
