// What runner adds to the page of Vuer's web client: a picture is taken only when everything that was sent
// before it is in the scene and loaded. Here its parts are put together, before the client's own scripts run.
import { KNOWN_VERSIONS } from "./protocol.js";
import { Clamp, Timers, patientClock } from "./timers.js";
import { React } from "./react.js";
import { Loads, watchLoads } from "./loads.js";
import { Scene } from "./scene.js";
import { Order } from "./order.js";
import { Chance } from "./chance.js";
import { Frames } from "./frames.js";
import { Faults } from "./faults.js";
import { Scripts } from "./scripts.js";
import { watchMedia } from "./media.js";
import { watchWorkers } from "./workers.js";
import { inspect } from "./readiness.js";
import { Inlet, contains, messagesIn, quieten, takeSockets } from "./client.js";
import { Line } from "./line.js";
import { Pictures, rendererName } from "./pictures.js";
import { Shortcut } from "./shortcut.js";

const STEP_MS = 100, RECONNECT_MS = 1000, LONGEST_RECONNECT_MS = 10000;

inject(window);

/** @param {Window & typeof globalThis} window */
function inject(window) {
  const realFetch = window.fetch.bind(window);
  /** @type {Line | null} */
  let line = null;
  let changes = 0, isAskedToStep = false;
  function changed() {
    changes++;
    if (isAskedToStep || !line) return;
    isAskedToStep = true;
    queueMicrotask(() => { isAskedToStep = false; step(); });
  }
  function step() {
    if (shortcut) shortcut.step();
    if (line) line.step();
  }

  // For work that does not report its end.
  let willLook = false;
  function lookSoon() {
    if (willLook) return;
    willLook = true;
    timers.setTimeout(() => { willLook = false; scene.timerEnded(); if (line) line.step(); }, 4);
  }

  // Done only for speed, and not in a plain page: pixels that are read anyway are encoded, by a table where
  // they are half floats (pictures.js, lookup.js), hidden panels are left empty (react.js), the console is not told of
  // each rendering (client.js), and updates go the short way (shortcut.js).
  const isPlain = /[?&]plain=true/.test(window.location.search);
  const react = new React(window, changed, isPlain);
  // If a person looks at it, panels show the client's store.
  const isAlone = /[?&]frameloop=never/.test(window.location.search);
  const shortcut = isAlone && !isPlain ? new Shortcut(window, react, changed) : null;
  const timers = new Timers(window, (timer, f) => react.showAtOnce(timer, f));
  let clamp = new Clamp(timers.now, (f) => timers.nextTurn(f), STEP_MS);
  const loads = new Loads(changed);
  const scene = new Scene(react, lookSoon);
  const order = new Order(window);
  const chance = new Chance(window);
  const frames = new Frames(react, (text) => faults.thrown.push(text), (seconds) => chance.pass(seconds));
  const isStirred = () => loads.count > 0 || react.unfinished() > 0 || scene.unfinished().length > 0;
  const pictures = new Pictures(window, isPlain, (grab, reason, isLost) => {
    if (line) line.noPicture(grab, reason, isLost);
  });
  const faults = new Faults(window, changed);
  const scripts = new Scripts(window, changed);
  watchLoads(window, loads);
  watchMedia(window, loads);
  watchWorkers(window, loads);
  if (!isPlain) quieten(window);
  let stop = () => {};
  takeSockets(window, {
    onInit(socket) {
      const inlet = new Inlet(timers, (event) => socket.toClient(event));
      const say = (/** @type {import("./protocol.js").FromPage} */ message) => {
        if (socket.readyState === 1) socket.sendText(JSON.stringify(message, cut));
      };
      clamp = new Clamp(timers.now, (f) => timers.nextTurn(f), STEP_MS);
      const { document } = window;
      const tellHidden = () => say({ type: "hidden", is_hidden: document.hidden, held_s: clamp.held_ms / 1000 });
      const timer = timers.setInterval(() => { if (clamp.tick()) tellHidden(); step(); }, STEP_MS); // for limits only: the hooks drive the rest
      document.addEventListener("visibilitychange", tellHidden);
      stop = () => { clearInterval(timer); document.removeEventListener("visibilitychange", tellHidden); };
      const hello = greeting(window, react);
      pictures.drawnBy(hello.renderer);
      line = new Line({
        now: patientClock(timers.now),
        nextTurn: (f) => timers.nextTurn(f),
        inspect: (fence) => {
          if (shortcut) shortcut.step();
          const lack = inspect(react, scene, order, loads, scripts, faults, timers.now(), fence);
          if (shortcut && shortcut.isBehind) lack.pending.push("updates that were sent");
          return lack;
        },
        isIncomplete: () => scene.lacksSplats(),
        isStirred: () => scene.haveSplatsMoved() || loads.count > 0 || react.isLayingOut(),
        settle: (request, isFirst) => {
          if (isFirst) frames.begin();
          return frames.settle(isStirred);
        },
        fault: () => faults.said.join("; "),
        wrong: () => faults.thrown.join("; "),
        loads: () => loads.count,
        isRendered: () => !react.unfinished() && !(shortcut && shortcut.isBehind),
        changes: () => changes,
        begin: (seed) => chance.begin(seed),
        deliver: (messages, then) => inlet.deliver(messages, then),
        aim: (grab) => scene.aim(grab.camera),
        expose: (grab) => { faults.forget(); return pictures.expose(grab); },
        isReadLater: (grab) => pictures.isReadLater(grab),
        say,
      }, hello.reason);
      say(hello);
      if (document.hidden) tellHidden();
    },
    onMessage(socket, data) { clamp.turn(); for (const message of messagesIn(data)) if (line) line.receive(message); },
    maySend(socket, data) { return !line || line.send((text) => contains(data, text)); },
    mayClose() {
      if (!line || !faults.said.length) return true;
      // React removes everything from a page after an error that no element catches.
      line.die(`the scene is gone: ${faults.said.join("; ")}`);
      return false;
    },
    onClose() {
      const isOver = line && line.isOver;
      stop();
      line = null;
      if (!isOver) reconnect(RECONNECT_MS);
    },
  });

  /**
   * The client never reconnects by itself: reload as soon as the server answers, however long that takes.
   * @param {number} wait_ms
   */
  async function reconnect(wait_ms) {
    const signal = AbortSignal.timeout(LONGEST_RECONNECT_MS);
    try {
      if ((await realFetch(window.location.href, { cache: "no-store", signal })).ok) { window.location.reload(); return; }
    } catch (error) { /* not there yet */ }
    timers.setTimeout(() => reconnect(Math.min(1.2 * wait_ms, LONGEST_RECONNECT_MS)), wait_ms);
  }
}

// An error may contain the data URL of a whole texture, and the server accepts no text that long.
const LONGEST_TEXT = 2000;
/** @param {string} _name @param {any} value */
function cut(_name, value) { return typeof value === "string" ? value.slice(0, LONGEST_TEXT) : value; }

/**
 * @param {Window & typeof globalThis} window
 * @param {React} react
 * @returns {import("./protocol.js").Hello}
 */
function greeting(window, react) {
  /** @type {Record<string, string>} */
  const versions = { three: /** @type {any} */ (window).__THREE__, ...react.versions() };
  const missing = Object.keys(KNOWN_VERSIONS).filter((name) => !versions[name]);
  const renderer = rendererName(window);
  let reason = "";
  if (missing.length) reason = `this page's ${missing.join(", ")} cannot be watched`;
  // After its GPU process has died under a site, Chromium offers no WebGL to it until the browser restarts.
  else if (!renderer) reason = "this browser offers no WebGL, or none any more: start it anew, or see its chrome://gpu";
  return { type: "hello", ok: !reason, reason, versions, browser: window.navigator.userAgent, renderer };
}
