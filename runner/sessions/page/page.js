// What runner adds to the page of Vuer's web client: a picture is taken only when everything that was
// sent before it is in the scene and loaded. The client's own code stays as it is.
//
// The server announces each picture request by a text message, sent right before the client's own
// binary one:
//   {type: "grab", reply, fence, wait_s, format, camera, depth}
//                                          hold the request until the scene holds this fence and is
//                                          ready; give up after wait_s. The picture is to be of this
//                                          format: jpeg, png, webp or raw. camera: the name of the
//                                          three.js object and the lens it is to have; depth: whether it
//                                          renders depth
//   {type: "ready", reply, fence, wait_s}  say when it is, without a picture
//   {type: "bye"}                          the run ended: do not reconnect
// and hears:
//   {type: "hello", ok, reason, versions, browser, renderer}  once, after INIT: whether this client can
//                                          be watched; the browser's user agent and its WebGL renderer
//   {type: "ready", reply}                 the scene is ready
//   {type: "refused", reply, reason, isLost}  instead of a picture that would be wrong; isLost: the
//                                          browser cannot draw any more, which is not the job's doing
//
// A fence is an invisible element that the server puts into the scene after a batch of updates; its
// number shows that all of them have arrived. Ready means: the fence is there, React (19.2) has no
// work left in any root, no suspended element shows a stand-in, and no load is under way.
const FENCE = "__fence"; // session.py puts it there
const START_LIMIT_MS = 60000, CAMERA_LIMIT_MS = 5000, LOAD_LIMIT_MS = 30000;
const PASSIVE_FLAGS = 10256; // React 19.2: this commit still has passive effects to run
const KNOWN_REACT = "19.2.4"; // of which components may be emptied; session.py names it, too
const CHATTER = ["Updated tree:", "scale", "movalble"];
const MODELS = /^(Obj|Fbx|Stl|Dae|Ply|Pcd|Glb|Bvh|Urdf)$/;

// A turn of the event loop without the 4 ms that browsers add to nested timers.
const channel = new MessageChannel(), turns = [];
channel.port1.onmessage = () => turns.shift()();
const nextTurn = (f) => { turns.push(f); channel.port2.postMessage(0); };
const now = () => performance.now();

// ---- React: every root of every renderer, through the hook it offers to its developer tools.
const renderers = new Map(), roots = new Map();
const hook = window.__REACT_DEVTOOLS_GLOBAL_HOOK__ ||
  (window.__REACT_DEVTOOLS_GLOBAL_HOOK__ = { supportsFiber: true, renderers: new Map() });
const before = { inject: hook.inject, commit: hook.onCommitFiberRoot, post: hook.onPostCommitFiberRoot };
let lastRenderer = 0;
hook.inject = function (info) {
  const id = before.inject ? before.inject.apply(this, arguments) : ++lastRenderer;
  renderers.set(id, info);
  return id;
};
hook.onCommitFiberRoot = function (id, root) {
  const info = renderers.get(id) || {}, isScene = info.rendererPackageName === "@react-three/fiber";
  const fiber = root.current;
  const state = roots.get(root) || { isScene };
  roots.set(root, state);
  state.hasEffects = ((fiber.flags | fiber.subtreeFlags) & PASSIVE_FLAGS) !== 0;
  if (info.rendererPackageName === "react-dom" && info.version === KNOWN_REACT) emptyPanels(root);
  state.unseen = true;
  if (before.commit) before.commit.apply(this, arguments);
  changed();
};
hook.onPostCommitFiberRoot = function (id, root) {
  const state = roots.get(root);
  if (state) state.hasEffects = false;
  if (before.post) before.post.apply(this, arguments);
  changed();
};
hook.onCommitFiberUnmount = hook.onCommitFiberUnmount || (() => {});

// The client's panels are hidden, and yet render a row for each element of the scene anew at each update,
// which costs more than all the rest: they are left empty.
const panels = new Set(["SceneGraph", "WorkspacePanel"]);
function emptyPanels(root) {
  if (!panels.size) return;
  for (let fiber = root.current; fiber; fiber = nextFiber(fiber, root.current)) {
    if (fiber.tag !== 0 || !panels.delete(fiber.type.name)) continue;
    fiber.type = () => null;
    if (fiber.alternate) fiber.alternate.type = fiber.type;
  }
}
function nextFiber(fiber, top) {
  if (fiber.child) return fiber.child;
  while (!fiber.sibling) {
    fiber = fiber.return;
    if (!fiber || fiber === top) return null;
  }
  return fiber.sibling;
}

// ---- Loads: three's loading managers, fetches with their bodies, decoding of pictures.
const loads = new Map();
let lastLoad = 0, failedLoads = [];
const beginLoad = (what) => { loads.set(++lastLoad, String(what)); return lastLoad; };
const endLoad = (id) => { if (loads.delete(id)) changed(); };
const watchLoad = (what, promise) => {
  const id = beginLoad(what);
  promise.then(() => endLoad(id), () => { failedLoads.push(String(what)); endLoad(id); });
  return promise;
};
// three.js keeps its managers to itself, but each sets its own itemStart when it is made.
Object.defineProperty(Object.prototype, "itemStart", {
  configurable: true,
  get() { return undefined; },
  set(start) {
    const own = (value) => Object.defineProperty(
      this, "itemStart", { value, writable: true, configurable: true, enumerable: true });
    if (typeof start !== "function") { own(start); return; }
    const open = new Map();
    own(function (url) {
      open.set(url, [...(open.get(url) || []), beginLoad(url)]);
      return start.apply(this, arguments);
    });
    queueMicrotask(() => { // its constructor has finished
      const end = this.itemEnd, fail = this.itemError;
      this.itemEnd = function (url) {
        try { return end.apply(this, arguments); } finally { endLoad((open.get(url) || []).pop()); }
      };
      this.itemError = function (url) { failedLoads.push(String(url)); return fail.apply(this, arguments); };
    });
  },
});
const realFetch = window.fetch;
window.fetch = function (request) {
  const answer = watchLoad((request && request.url) || request, realFetch.apply(this, arguments));
  answer.then((a) => { if (!a.ok && a.type !== "opaque") failedLoads.push(`${a.url} (${a.status})`); }, () => {});
  return answer;
};
for (const reader of ["arrayBuffer", "blob", "json", "text"]) {
  const read = Response.prototype[reader];
  Response.prototype[reader] = function () { return watchLoad(this.url, read.apply(this, arguments)); };
}
const realBitmap = window.createImageBitmap;
window.createImageBitmap = function () { return watchLoad("a picture", realBitmap.apply(this, arguments)); };

// What draws here; WEBGL_debug_renderer_info is not offered where a browser hides it.
function rendererName() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return "";
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  const release = gl.getExtension("WEBGL_lose_context"); // a page may hold few contexts
  if (release) release.loseContext();
  return String(name);
}

// The client tells the console about each rendering; what reads the console costs more than the picture.
const realLog = console.log;
console.log = function (first) { if (!CHATTER.includes(first)) realLog.apply(this, arguments); };

// ---- The client hands each message to its subscribers by setTimeout(f, 0): take these, to run them in order.
const realTimeout = window.setTimeout.bind(window), realInterval = window.setInterval.bind(window);
let taken = null;
window.setTimeout = function (f, ms, ...args) {
  if (taken && typeof f === "function" && !ms) { taken.push(() => f(...args)); return 0; }
  const id = realTimeout(f, ms, ...args);
  if (ms > 10 && ms <= 300) nextTurn(() => showAtOnce(id, f));
  return id;
};
// React holds a finished commit back for up to 300 ms after a stand-in was shown, lest the screen
// flickers; root.timeoutHandle is then the timer that makes the commit. No camera need wait for it.
function showAtOnce(id, commit) {
  for (const root of roots.keys()) {
    if (root.timeoutHandle === id) { clearTimeout(id); commit(); return; }
  }
}

// ---- What the scene still lacks.
let fenceObject = null;
function fenceInScene() {
  if (!(fenceObject && fenceObject.parent)) fenceObject = objectInScene(FENCE);
  return fenceObject ? fenceObject.userData.n : 0;
}
function objectInScene(name) {
  for (const [root, state] of roots) {
    if (!state.isScene) continue;
    const store = root.containerInfo && root.containerInfo.getState && root.containerInfo.getState();
    const object = store && store.scene && store.scene.getObjectByName(name);
    if (object) return object;
  }
  return null;
}
// The client keeps the lens that a camera first had; nothing else sets it after that.
const cameras = new Map();
function setLens({ name, ...lens }) {
  let camera = cameras.get(name);
  if (!camera || !camera.parent) cameras.set(name, camera = objectInScene(name));
  if (!camera) return;
  let isNew = false;
  for (const [part, value] of Object.entries(lens)) {
    if (camera[part] !== value) { camera[part] = value; isNew = true; }
  }
  if (isNew) camera.updateProjectionMatrix();
}
const keyOf = (fiber) => {
  for (; fiber; fiber = fiber.return) if (fiber.memoizedProps && fiber.memoizedProps._key) return fiber.memoizedProps._key;
  return "an element";
};
const hasObject = (fiber) => {
  for (; fiber; fiber = fiber.sibling) if (fiber.tag === 5 || hasObject(fiber.child)) return true;
  return false;
};
const isEmptyModel = (fiber) => {
  const props = fiber.memoizedProps;
  return fiber.tag === 0 && props && MODELS.test(props.tag) && !props.hide &&
    (props.src || props.text || props.buff) && !hasObject(fiber.child);
};
// Fiber tags: 0 a function component, 1 a class component, 5 an object of the scene, 13 Suspense.
function look(root, state) {
  state.waiting = []; state.errors = []; state.held = new Set();
  const top = root.current;
  for (let fiber = top; fiber; fiber = nextFiber(fiber, top)) {
    if (fiber.tag === 5) {
      for (const value of Object.values(fiber.memoizedProps || {})) {
        if (value && (value.isTexture ? !value.isRenderTargetTexture : value.isObject3D)) state.held.add(value);
      }
    }
    if (fiber.tag === 13 && fiber.memoizedState !== null) state.waiting.push(keyOf(fiber));
    else if (isEmptyModel(fiber)) state.waiting.push(keyOf(fiber));
    else if (fiber.tag === 1 && fiber.memoizedState && fiber.memoizedState.didCatch) {
      state.errors.push(`${keyOf(fiber)}: ${fiber.memoizedState.error}`);
    }
  }
}
// The client keeps every texture and model that it ever showed on the GPU. Here those that the scene no
// longer holds are taken off it, but for the latest; three uploads anew what is shown again.
const SPARES = 8;
const uploaded = new Set(); // the longest unused first
function freeUnused() {
  const held = new Set();
  for (const state of roots.values()) for (const thing of state.held || []) held.add(thing);
  for (const thing of held) { uploaded.delete(thing); uploaded.add(thing); }
  for (const thing of uploaded) {
    if (held.has(thing) || uploaded.size - held.size <= SPARES) return;
    uploaded.delete(thing);
    if (thing.isTexture) thing.dispose(); else freeModel(thing);
  }
}
function freeModel(model) {
  model.traverse((part) => {
    if (part.geometry && part.geometry.dispose) part.geometry.dispose();
    for (const material of [].concat(part.material || [])) {
      for (const value of Object.values(material)) {
        if (value && value.isTexture && !value.isRenderTargetTexture) value.dispose();
      }
      material.dispose();
    }
  });
}
// What is still to come, and, once nothing moves any more, what went wrong.
function inspect(fence) {
  const pending = [], wrong = [];
  if (fence && fenceInScene() !== fence) pending.push("updates that were sent");
  for (const [root, state] of roots) {
    if (!root.current.child) continue; // it was unmounted
    if (root.pendingLanes || state.hasEffects) pending.push("updates that React has begun");
  }
  for (const url of loads.values()) pending.push(url.slice(0, 200));
  if (pending.length) return { pending, wrong };
  for (const [root, state] of roots) {
    if (!state.isScene) continue;
    if (state.unseen) { look(root, state); state.unseen = false; freeUnused(); }
    pending.push(...state.waiting);
    wrong.push(...state.errors);
  }
  wrong.push(...failedLoads.map((url) => `could not load ${url}`));
  return { pending, wrong };
}

// ---- The line to the server: messages go to the client strictly in order, pictures when all is ready.
let line = null, askedToStep = false, changes = 0;
function changed() {
  changes++;
  if (askedToStep || !line) return;
  askedToStep = true;
  queueMicrotask(() => { askedToStep = false; if (line) line.step(); });
}
const contains = (data, text) => {
  if (!(data instanceof ArrayBuffer || ArrayBuffer.isView(data))) return false;
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return String.fromCharCode(...bytes.subarray(0, 200)).includes(text);
};

class Line {
  constructor(socket) {
    Object.assign(this, { socket, queue: [], announced: null, heard: false, dead: "", busy: false, flight: "" });
    Object.assign(this, { isReady: false, checking: false, woken: false, bornAt: now(), since: 0, loadingSince: 0 });
    // The client keeps its last event as React state, and renders for each that is another; it reads them in order.
    this.readers = [];
    this.event = new MessageEvent("message", { data: { arrayBuffer: () => this.readers.shift()() } });
    this.timer = realInterval(() => this.step(), 100); // for limits only: the hooks drive the rest
    const versions = { three: window.__THREE__ };
    for (const info of renderers.values()) versions[info.rendererPackageName] = info.version;
    const missing = ["three", "react-dom", "@react-three/fiber"].filter((name) => !versions[name]);
    const renderer = rendererName();
    canLookUp = !PLAIN && SOFTWARE.test(renderer);
    if (missing.length) this.dead = `this page's ${missing.join(", ")} cannot be watched`;
    // Chromium offers no WebGL to a site under which its GPU process has died, until the browser is started anew.
    else if (!renderer) this.dead = "this browser offers no WebGL, or none any more: start it anew, or see its chrome://gpu";
    this.say({
      type: "hello", ok: !this.dead, reason: this.dead, versions,
      browser: navigator.userAgent, renderer,
    });
  }
  say(message) { if (this.socket.readyState === 1) this.socket.sendText(JSON.stringify(message)); }
  close() { clearInterval(this.timer); if (line === this) line = null; }
  receive(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "grab") this.announced = message;
      if (message.type === "bye") this.socket.isOver = true;
      if (message.type !== "ready") return;
      this.queue.push({ data: null, grab: message });
    } else {
      this.queue.push({ data, grab: this.announced });
      this.announced = null;
    }
    if (!this.woken) { this.woken = true; nextTurn(() => { this.woken = false; this.step(); }); }
  }
  // Hand messages to the client; then(how many subscribers the last had), when all of them have run.
  deliver(messages, then) {
    this.busy = true;
    const calls = [];
    let left = messages.length, last = 0, read = 0;
    for (const message of messages) {
      // The client awaits data.arrayBuffer(), decodes, and calls setTimeout for each subscriber: that
      // runs between these two microtasks, of which one is queued before its await and one after.
      const arrayBuffer = () => {
        read++;
        queueMicrotask(() => {
          taken = [];
          queueMicrotask(() => {
            last = taken.length;
            calls.push(...taken);
            taken = null;
            if (--left) return;
            for (const call of calls) { try { call(); } catch (error) { console.error(error); } }
            this.busy = false;
            then(last);
          });
        });
        return Promise.resolve(message.data);
      };
      this.readers.push(arrayBuffer);
      this.socket.toClient(this.event);
    }
    if (!read) { this.busy = false; this.dead = "this page does not read its messages as the known client does"; }
  }
  step() {
    while (!this.busy && this.queue.length) {
      const first = this.queue[0];
      if (this.dead) {
        this.queue.shift();
        if (first.grab) this.refuse(first.grab, this.dead);
      } else if (this.flight) { // nothing moves until the picture is on its way
        return;
      } else if (!this.heard && first.data) { // what is sent before the client listens is lost: try until it is heard
        if (now() - this.bornAt > START_LIMIT_MS) { this.dead = "the client does not listen to scene messages"; continue; }
        this.deliver([first], (subscribers) => {
          if (!subscribers) return;
          this.heard = true;
          this.queue.shift();
          this.step();
        });
        return;
      } else if (!first.grab && this.mustLoadFirst()) {
        return;
      } else if (!first.grab) { // all that wait at once, so that React renders once
        const end = this.queue.findIndex((message) => message.grab);
        this.isReady = false;
        this.deliver(this.queue.splice(0, end < 0 ? this.queue.length : end), () => this.step());
      } else if (!this.grab(first)) {
        return;
      }
    }
  }
  // The client lets an earlier load that ends late replace a later one: let each end before the next begins.
  mustLoadFirst() {
    if (!loads.size) { this.loadingSince = 0; return false; }
    this.loadingSince = this.loadingSince || now();
    return now() - this.loadingSince < LOAD_LIMIT_MS;
  }
  // Move the picture request that is next by one step; whether there may be more to do at once.
  grab(message) {
    const { grab } = message;
    this.since = this.since || now();
    const { pending, wrong } = inspect(grab.fence);
    if (pending.length && !wrong.length) {
      this.isReady = false;
      if (now() - this.since < grab.wait_s * 1000) return false;
      this.queue.shift();
      this.refuse(grab, `not in the picture after ${grab.wait_s} s: ${pending.join(", ")}`);
      return true;
    }
    if (!this.isReady) { // still so one turn later?
      if (this.checking) return false;
      this.checking = true;
      const seen = changes;
      nextTurn(() => { this.checking = false; this.isReady = seen === changes; this.step(); });
      return false;
    }
    if (wrong.length) { this.queue.shift(); this.refuse(grab, wrong.join("; ")); return true; }
    if (grab.type === "ready") {
      this.queue.shift();
      this.since = 0;
      this.say({ type: "ready", reply: grab.reply });
      return true;
    }
    setLens(grab.camera);
    shot = { grab, seen: [] };
    this.deliver([message], () => {
      const { seen } = shot;
      shot = null;
      if (seen.includes(false)) { this.queue.shift(); this.refuse(grab, LOST, true); }
      else if (seen.length) {
        this.queue.shift();
        this.since = 0;
        // The pixels are in hand, but for depth, which is read when the first picture is encoded.
        if (grab.depth || PLAIN) this.flight = grab.reply;
      }
      else if (now() - this.since < CAMERA_LIMIT_MS) return; // it may be mounted later; the hooks or the timer try again
      else { this.queue.shift(); this.refuse(grab, "no camera of that key answers"); }
      this.step();
    });
    return false;
  }
  refuse(grab, reason, isLost = false) {
    this.since = 0; this.isReady = false;
    this.say({ type: "refused", reply: grab.reply, reason, isLost });
  }
  noPicture(grab, reason, isLost) {
    if (this.flight === grab.reply) this.flight = "";
    this.refuse(grab, reason, isLost);
    this.step();
  }
  sent(data) { if (this.flight && contains(data, this.flight)) { this.flight = ""; this.step(); } }
}

const RealSocket = window.WebSocket;
window.WebSocket = class WebSocket extends RealSocket {
  #handler = null;
  constructor(...args) {
    super(...args);
    this.binaryType = "arraybuffer";
    this.isOver = false;
    super.addEventListener("message", (event) => { if (line) line.receive(event.data); });
    super.addEventListener("close", () => { if (line) line.close(); if (!this.isOver) reconnect(); });
  }
  get onmessage() { return this.#handler; }
  set onmessage(handler) { this.#handler = handler; }
  toClient(event) { if (this.#handler) this.#handler.call(this, event); }
  sendText(text) { super.send(text); }
  send(data) {
    super.send(data);
    if (line) line.sent(data);
    else if (contains(data, "INIT")) line = new Line(this);
  }
};

// The client never connects again by itself: begin anew as soon as the server answers.
async function reconnect(triesLeft = 30) {
  try {
    if ((await realFetch(location.href, { cache: "no-store" })).ok) { location.reload(); return; }
  } catch (error) { /* not there yet */ }
  if (triesLeft) realTimeout(() => reconnect(triesLeft - 1), 1000);
}
