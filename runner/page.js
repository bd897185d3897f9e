// What runner adds to the page of Vuer's web client: a picture is taken only when everything that was
// sent before it is in the scene and loaded. The client's own code stays as it is.
//
// The server announces each picture request by a text message, sent right before the client's own
// binary one:
//   {type: "grab", reply, fence, wait_s}   hold the request until the scene holds this fence and is
//                                          ready; give up after wait_s
//   {type: "ready", reply, fence, wait_s}  say when it is, without a picture
//   {type: "bye"}                          the run ended: do not reconnect
// and hears:
//   {type: "hello", ok, reason, versions, browser, renderer}  once, after INIT: whether this client can
//                                          be watched; the browser's user agent and its WebGL renderer
//   {type: "ready", reply}                 the scene is ready
//   {type: "refused", reply, reason}       instead of a picture that would be wrong
//
// A fence is an invisible element that the server puts into the scene after a batch of updates; its
// number shows that all of them have arrived. Ready means: the fence is there, React (19.2) has no
// work left in any root, no suspended element shows a stand-in, and no load is under way.
(() => {
  "use strict";
  const FENCE = "__fence"; // session.py puts it there
  const START_LIMIT_MS = 60000, CAMERA_LIMIT_MS = 5000, LOAD_LIMIT_MS = 30000;
  const PASSIVE_FLAGS = 10256; // React 19.2: this commit still has passive effects to run
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
    const isScene = (renderers.get(id) || {}).rendererPackageName === "@react-three/fiber";
    const fiber = root.current;
    const state = roots.get(root) || { isScene };
    roots.set(root, state);
    state.hasEffects = ((fiber.flags | fiber.subtreeFlags) & PASSIVE_FLAGS) !== 0;
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

  // ---- Whether a camera drew when it was asked, and whether its context was alive.
  let drawn = null;
  for (const Context of [window.WebGL2RenderingContext, window.WebGLRenderingContext]) {
    if (!Context) continue;
    const read = Context.prototype.readPixels;
    Context.prototype.readPixels = function () {
      if (drawn) drawn.push(!this.isContextLost());
      return read.apply(this, arguments);
    };
  }

  const encode = window.OffscreenCanvas && OffscreenCanvas.prototype.convertToBlob;
  if (encode) OffscreenCanvas.prototype.convertToBlob = function () {
    const picture = encode.apply(this, arguments);
    if (drawn) picture.catch((error) => { if (line) line.noPicture(`the camera gave no picture: ${error}`); });
    return picture;
  };

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
    if (!(fenceObject && fenceObject.parent)) {
      fenceObject = null;
      for (const [root, state] of roots) {
        if (!state.isScene) continue;
        const store = root.containerInfo && root.containerInfo.getState && root.containerInfo.getState();
        fenceObject = (store && store.scene && store.scene.getObjectByName(FENCE)) || fenceObject;
      }
    }
    return fenceObject ? fenceObject.userData.n : 0;
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
    state.waiting = []; state.errors = [];
    const top = root.current;
    for (let fiber = top; ;) {
      if (fiber.tag === 13 && fiber.memoizedState !== null) state.waiting.push(keyOf(fiber));
      else if (isEmptyModel(fiber)) state.waiting.push(keyOf(fiber));
      else if (fiber.tag === 1 && fiber.memoizedState && fiber.memoizedState.didCatch) {
        state.errors.push(`${keyOf(fiber)}: ${fiber.memoizedState.error}`);
      }
      if (fiber.child) { fiber = fiber.child; continue; }
      while (!fiber.sibling) {
        fiber = fiber.return;
        if (!fiber || fiber === top) return;
      }
      fiber = fiber.sibling;
    }
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
      if (state.unseen) { look(root, state); state.unseen = false; }
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
      this.timer = realInterval(() => this.step(), 100); // for limits only: the hooks drive the rest
      const versions = { three: window.__THREE__ };
      for (const info of renderers.values()) versions[info.rendererPackageName] = info.version;
      const missing = ["three", "react-dom", "@react-three/fiber"].filter((name) => !versions[name]);
      if (missing.length) this.dead = `this page's ${missing.join(", ")} cannot be watched`;
      this.say({
        type: "hello", ok: !this.dead, reason: this.dead, versions,
        browser: navigator.userAgent, renderer: rendererName(),
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
        this.socket.toClient(new MessageEvent("message", { data: { arrayBuffer } }));
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
      drawn = [];
      this.deliver([message], () => {
        const seen = drawn;
        drawn = null;
        if (seen.includes(false)) { this.queue.shift(); this.refuse(grab, "the camera's WebGL context was lost"); }
        else if (seen.length) { this.queue.shift(); this.flight = grab.reply; this.since = 0; }
        else if (now() - this.since < CAMERA_LIMIT_MS) return; // it may be mounted later; the hooks or the timer try again
        else { this.queue.shift(); this.refuse(grab, "no camera of that key answers"); }
        this.step();
      });
      return false;
    }
    refuse(grab, reason) { this.since = 0; this.isReady = false; this.say({ type: "refused", reply: grab.reply, reason }); }
    noPicture(reason) {
      if (!this.flight) return;
      const reply = this.flight;
      this.flight = "";
      this.refuse({ reply }, reason);
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
})();
