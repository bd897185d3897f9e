// The scene: its objects by name, the fence, the lens of a camera, and what may be taken off the GPU.
import { FENCE } from "./protocol.js";
import { center } from "./center.js";
import { renew } from "./arrays.js";
import { isToldOtherwise, recompile } from "./materials.js";
import { paint, settle, wrongJoints } from "./robots.js";

/** @typedef {import("./react.js").React} React */

// The textures and models that are kept on the GPU though the scene no longer holds them: the latest ones.
const SPARES = 8;
// Spark goes on with splats by timers of a millisecond, one after another: so many of ours, each set when the last has
// ended, end later than those, however slow the machine is.
const SPLATS_TIMERS = 5;

export class Scene {
  #react; #onUnfinished;
  /** @type {any} */ #fence = null;
  /** @type {Map<string, any>} */ #cameras = new Map();
  /** What is on the GPU; the longest unused first. @type {Set<any>} */ #uploaded = new Set();

  /** How the drawing of splats stood at the last picture. */ #splats = "";
  /** The splat renderers that were met. @type {WeakSet<any>} */ #known = new WeakSet();
  /** The splats that a scene holds, as of which commit. @type {WeakMap<any, { commits: number, splats: any[] }>} */
  #splatScenes = new WeakMap();
  /** How many timers have ended. */ #timers = 0;
  /** As of which they were last seen to be under way. */ #splatsTimer = -Infinity;
  /** Which of them had splats to draw in the last drawing. @type {Map<any, boolean>} */ #drawn = new Map();
  /** What was told of the size of what is centred, by its group. @type {WeakMap<any, string>} */ #sizes = new WeakMap();
  /** Where each film stood when it was last uploaded. @type {WeakMap<any, number>} */ #filmTimes = new WeakMap();

  /**
   * @param {Pick<React, "stores" | "held" | "texts" | "films" | "centers" | "robots" | "arrays" | "commits">} react
   * @param {() => void} onUnfinished told of something that was found unfinished, and will not tell when it has ended
   */
  constructor(react, onUnfinished = () => {}) {
    this.#react = react;
    this.#onUnfinished = onUnfinished;
  }
  /** The number that tells how much of what was sent is in the scene. @returns {number} */
  fence() {
    if (!(this.#fence && this.#fence.parent)) this.#fence = this.#find(FENCE);
    return this.#fence ? this.#fence.userData.n : 0;
  }
  /**
   * The client keeps the lens that a camera first had; nothing else sets it after that. Its pose is set to what was
   * said last, whatever the client has made of all that was said before.
   * @param {import("./protocol.js").Grab["camera"]} camera
   */
  aim({ name, pose, ...lens }) {
    this.#drawn.clear();
    let camera = this.#cameras.get(name);
    if (!camera || !camera.parent) this.#cameras.set(name, camera = this.#find(name));
    if (!camera) return;
    let isNew = false;
    for (const [part, value] of Object.entries(lens)) {
      if (camera[part] !== value) { camera[part] = value; isNew = true; }
    }
    if (isNew) camera.updateProjectionMatrix();
    setPose(camera, pose);
  }
  /** What is in the scene and still being made: by name, where it has one. */
  unfinished() {
    /** @type {string[]} */
    const found = [];
    for (const text of this.#react.texts()) if (text._isSyncing) found.push("the layout of a text");
    for (const film of this.#react.films()) if (!this.#isFilmShown(film)) found.push("the first picture of a film");
    for (const { scene } of this.#react.stores()) {
      if (this.#splatsIn(scene).some((splats) => splats.isInitialized === false)) found.push("splats");
    }
    for (const { defaultView: view, pendingUpdate } of this.#splatRenderers()) {
      if (view.sorting || view.pending || pendingUpdate.timeoutId !== -1) this.#splatsTimer = this.#timers;
    }
    if (this.#timers - this.#splatsTimer < SPLATS_TIMERS) found.push("the order of splats");
    if (found.length) this.#onUnfinished();
    return found;
  }
  /** A timer has ended that was set because something was unfinished. */
  timerEnded() { this.#timers++; }
  /**
   * Spark makes splats ready by drawing them once, and sorts them as seen from there. Whether the last drawing
   * has found others, or elsewhere, or from elsewhere, than the one before.
   */
  haveSplatsMoved() {
    const views = this.#splatRenderers().map(({ defaultView: { display, viewToWorld } }) => [
      display && display.accumulator.splatsVersion, display && display.viewToWorld.elements, viewToWorld.elements,
    ]);
    const places = [...this.#react.stores()].flatMap(({ scene }) => this.#splatsIn(scene).map(({ matrixWorld }) => matrixWorld.elements));
    const splats = views.length ? `${this.#react.commits} ${views.join()} ${places.join()}` : "";
    const haveMoved = splats !== this.#splats;
    this.#splats = splats;
    return haveMoved;
  }
  /** Whether splats that are to be seen were not in the last drawing, because what draws them was not there yet. */
  lacksSplats() {
    for (const store of this.#react.stores()) {
      this.#splatScenes.delete(store.scene); // some come without a commit
      if (!this.#splatsIn(store.scene).length) continue;
      let isWanted = false;
      store.scene.traverseVisible((/** @type {any} */ object) => { if (object.numSplats > 0 && "generator" in object) isWanted = true; });
      if (isWanted && !this.#splatRenderers().some((spark) => this.#drawn.get(spark))) return true;
    }
    return false;
  }
  /**
   * three.js uploads a film's picture when the browser tells of a new one, which it does not for one that nobody plays.
   * @param {any} film a texture
   */
  #isFilmShown(film) {
    const { readyState, seeking, currentTime } = film.image;
    if (readyState < 2 || seeking) return false;
    if (this.#filmTimes.get(film) !== currentTime) { this.#filmTimes.set(film, currentTime); film.needsUpdate = true; }
    return true;
  }
  /** The client has one in every scene. Here are those that have splats, or still show some that are gone. */
  #splatRenderers() {
    /** @type {any[]} */
    const found = [];
    for (const store of this.#react.stores()) {
      for (const child of store.scene.children || []) {
        if (!isSplatRenderer(child)) continue;
        if (!this.#splatsIn(store.scene).length && !showsSplats(child)) continue;
        if (!this.#known.has(child)) { this.#known.add(child); sortFromAnywhere(child); keepNewest(child); drawWhereAsked(child, () => this.#drawn.set(child, hasDrawn(child))); }
        found.push(child);
      }
    }
    return found;
  }
  /** @param {any} scene @returns {any[]} */
  #splatsIn(scene) {
    const { commits } = this.#react, known = this.#splatScenes.get(scene);
    if (known && known.commits === commits) return known.splats;
    /** @type {any[]} */
    const splats = [];
    if (scene && scene.traverse) scene.traverse((/** @type {any} */ object) => {
      if ("numSplats" in object && "generator" in object) splats.push(object);
    });
    if (scene) this.#splatScenes.set(scene, { commits, splats });
    return splats;
  }
  /** Centre what is to be; what it holds is there by now. A stage puts its lights by what it is told of that. */
  centerAll() {
    const { THREE } = /** @type {any} */ (globalThis);
    if (THREE) for (const { props, outer } of this.#react.centers()) {
      const measured = center(THREE, props, outer);
      if (!measured || !props.onCentered) continue;
      const size = [measured.width, measured.height, measured.depth].join();
      if (this.#sizes.get(outer) === size) continue;
      this.#sizes.set(outer, size);
      props.onCentered(measured);
    }
  }
  /** Robots look as they were told; their meshes are there by now. */
  paintAll() {
    const { THREE } = /** @type {any} */ (globalThis);
    if (THREE) for (const { props, robot } of this.#react.robots()) if (robot) { paint(THREE, props, robot); settle(props, robot); }
  }
  /** What is made of arrays, and each material, is drawn as it was told last. */
  renewAll() {
    for (const { props, object } of this.#react.arrays()) if (object) renew(props, object);
    let isWorn = false;
    for (const { scene } of this.#react.stores()) scene.traverse((/** @type {any} */ { material }) => {
      for (const one of [].concat(material || [])) { recompile(one); isWorn = isToldOtherwise(one) || isWorn; }
    });
    // React renders once more.
    if (isWorn) /** @type {any} */ (globalThis).VUER.useSceneStore.setState({});
  }
  /** What is wrong with the values of robots' joints. */
  wrongJoints() {
    const found = [];
    for (const { props, robot } of this.#react.robots()) if (robot) found.push(wrongJoints(props, robot));
    return found.filter(Boolean);
  }
  /**
   * The client keeps every texture and model that it ever showed on the GPU. Here those that the scene no
   * longer holds are taken off it; three uploads anew what is shown again.
   */
  looked() {
    const held = this.#react.held();
    for (const thing of held) { this.#uploaded.delete(thing); this.#uploaded.add(thing); }
    for (const thing of this.#uploaded) {
      if (held.has(thing) || this.#uploaded.size - held.size <= SPARES) return;
      this.#uploaded.delete(thing);
      if (thing.isTexture) thing.dispose(); else freeModel(thing);
    }
  }
  /** @param {string} name */
  #find(name) {
    for (const store of this.#react.stores()) {
      const object = store.scene && store.scene.getObjectByName(name);
      if (object) return object;
    }
    return null;
  }
}

/**
 * As the client sets these props on a camera that has none yet; only lookAt has no effect there.
 * @param {any} camera
 * @param {Record<string, any>} pose
 */
function setPose(camera, { position, rotation, quaternion, matrix, lookAt, up }) {
  if (matrix) {
    camera.matrix.fromArray(matrix).decompose(camera.position, camera.quaternion, camera.scale);
    return;
  }
  camera.scale.set(1, 1, 1);
  camera.position.set(...position);
  if (lookAt) {
    camera.up.set(...up);
    camera.lookAt(...lookAt);
  } else if (quaternion) camera.quaternion.set(...quaternion);
  else camera.rotation.set(rotation[0], rotation[1], rotation[2], rotation[3] || "XYZ");
}
/** Whether it is Spark's. @param {any} object */
export function isSplatRenderer(object) { return Boolean(object.defaultView && object.pendingUpdate); }
/** @param {any} spark */
function showsSplats({ active, defaultView: { display } }) {
  return [active, display && display.accumulator].some((made) => made && made.splats && made.splats.numSplats > 0);
}
/** @param {any} spark */
function hasDrawn({ defaultView: { display }, geometry }) {
  return Boolean(display) && display.accumulator.splats.numSplats > 0 && geometry.instanceCount > 0;
}
/**
 * Spark's renderer makes its splats in the main view's WebGL context, which no camera sees into: have it make
 * them in the one that they are about to be drawn in.
 * @param {any} spark
 * @param {() => void} onDraw
 */
function drawWhereAsked(spark, onDraw) {
  const { onBeforeRender } = spark;
  spark.onBeforeRender = function (/** @type {any} */ renderer) {
    if (spark.renderer !== renderer) { spark.renderer = renderer; spark.needsUpdate = true; }
    const result = onBeforeRender.apply(spark, arguments);
    onDraw();
    return result;
  };
}
/**
 * Spark sorts splats anew only where the view has moved by a centimetre, or turned by some degrees: a picture would show
 * the order of an earlier one. Where it has moved at all, here.
 * @param {any} spark
 */
function sortFromAnywhere({ defaultView }) {
  defaultView.sortDistance = 1e-9;
  defaultView.sortCoorient = 1 - 1e-10; // that of a view with itself is 1 but for rounding
}
/**
 * Where splats move while they are sorted for another view, Spark shows them as they are now, and, once that is sorted, as
 * they were, for ever.
 * @param {any} spark
 */
function keepNewest({ defaultView: view }) {
  const { updateDisplay } = view;
  view.updateDisplay = function (/** @type {any} */ sorted) {
    const isOld = view.display && sorted.accumulator.splatsVersion < view.display.accumulator.splatsVersion;
    return updateDisplay.call(view, { ...sorted, displayed: sorted.displayed || isOld });
  };
}
/** @param {any} model */
function freeModel(model) {
  model.traverse((/** @type {any} */ part) => {
    if (part.geometry && part.geometry.dispose) part.geometry.dispose();
    for (const material of [].concat(part.material || [])) {
      for (const value of /** @type {any[]} */ (Object.values(material))) {
        if (value && value.isTexture && !value.isRenderTargetTexture) value.dispose();
      }
      /** @type {any} */ (material).dispose();
    }
  });
}
