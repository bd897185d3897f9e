// The short way: an update that only changes values of three.js objects is set on them directly, as react-three-fiber
// would do it, and React is told later. Vuer's client renders its whole scene for each update, and that costs more than
// a picture.
//
// It stands between the client's messages and its store. Before anything else goes to the store, React is told about
// the short updates, and renders them; it is told at once when it renders by itself.
import { KNOWN_VERSIONS } from "./protocol.js";
import { remade } from "./arrays.js";
import { hasLeftovers, isStill, lightOf, waysOf } from "./elements.js";
import { recompile } from "./materials.js";
import { standing } from "./robots.js";

// The operations that change the store.
const OPERATIONS = ["set", "add", "update", "upsert", "removeByKey", "timeout", "rawUpdate"];
const BRANCHES = ["children", "bgChildren", "rawChildren"];
// What the client itself gives each material.
const OF_MATERIAL = ["attach", "displacementMap", "displacementScale", "normalMap", "normalScale", "map", "wireframe"];
// The client's own, of a background's colour.
const DEFAULT_BACKGROUND = "#131416";
// Their objects have no name.
const NAMELESS = ["Arrow", "CoordsMarker"];

/** @typedef {import("./react.js").React} React */
/** react-three-fiber's record of an object. @typedef {{ type: string, props: Record<string, any>, object: any, children: Instance[], isHidden: boolean }} Instance */

export class Shortcut {
  #page; #react; #onDone;
  /** @type {any} */ #store = null;
  /** The store's own. @type {(event: any) => void} */ #update = () => {};
  /** Updates that came together; React would render only their sum. @type {any[]} */ #batch = [];
  /** Their sum: props by key. @type {Map<string, Record<string, any>>} */ #coming = new Map();
  /** The props that React does not know yet, by key. @type {Map<string, Record<string, any>>} */ #untold = new Map();
  /** Operations that wait until React has rendered. @type {(() => void)[]} */ #held = [];
  #isTelling = false;
  /** Whether the store's content is rendered. */ #isRendered = false;
  /** The rendering for which the rest is known. */ #seen = -1;
  /** All objects before the last rendering, if that was of such an update. @type {any[] | null} */ #before = null;
  /** Whether rendering once more would remake nothing. */ #isSettled = false;
  /** The elements, by key; null: one of them is not known. @type {Map<string, any> | null} */ #nodes = null;
  /** Their objects, by name; null where there are several. @type {Map<string, any>} */ #objects = new Map();

  /**
   * @param {any} page the window
   * @param {Pick<React, "stores" | "unfinished" | "rendered" | "placed" | "versions" | "commits">} react
   * @param {() => void} onDone told when updates are on their objects
   */
  constructor(page, react, onDone) {
    this.#page = page;
    this.#react = react;
    this.#onDone = onDone;
    let vuer = page.VUER;
    // The client shows its parts to other scripts before it begins.
    Object.defineProperty(page, "VUER", {
      configurable: true, enumerable: true, get: () => vuer,
      set: (value) => { vuer = value; if (value && value.useSceneStore) this.#take(value.useSceneStore); },
    });
  }
  /** Whether something has yet to reach the scene. */
  get isBehind() { return this.#isTelling || this.#held.length > 0 || this.#batch.length > 0; }
  /** To be called whenever React has rendered something. */
  step() {
    if (this.#hasRenderedOfItself()) this.#tell();
    if (!this.isBehind || !this.#isAtRest()) return;
    if (this.#isTelling) {
      this.#isTelling = false;
      this.#look();
    }
    for (const go of this.#held.splice(0)) go();
  }

  /** @param {any} store the client's */
  #take(store) {
    const { ops } = store.getState(), versions = /** @type {any} */ ({ three: this.#page.__THREE__, ...this.#react.versions() });
    const isKnown = Object.entries(KNOWN_VERSIONS).every(([name, version]) => versions[name] === version);
    if (!isKnown || Object.isFrozen(ops) || OPERATIONS.some((name) => !ops[name])) return;
    this.#store = store;
    this.#update = ops.update;
    for (const name of OPERATIONS) {
      const operate = ops[name];
      ops[name] = (/** @type {any} */ event) => { if (name === "update") this.#change(event); else this.#pass(operate, event); };
    }
  }
  /** @param {any} event an update */
  #change(event) {
    if (this.#hasRenderedOfItself()) this.#tell();
    if (this.#mustWait()) { this.#held.push(() => this.#change(event)); return; }
    const isAtRest = this.#isAtRest();
    if (isAtRest) this.#look();
    else if (this.#before) this.#nodes = nodesOf(this.#store.getState());
    const isKnown = (isAtRest || this.#before) && this.#stepsOf(event.data.nodes, this.#coming) !== null;
    if (isKnown && isAtRest && this.#isSettled) {
      if (!this.#batch.length) queueMicrotask(() => this.#apply());
      this.#batch.push(event);
      merge(this.#coming, event.data.nodes);
      return;
    }
    // Once it has been rendered by React, it is seen whether anything was made anew for it.
    const before = isKnown ? (isAtRest ? this.#all() : this.#before) : null;
    this.#pass(this.#update, event);
    this.#before = before;
  }
  #apply() {
    if (!this.#batch.length) return;
    const nodes = [...this.#coming].map(([key, props]) => ({ key, ...props }));
    const isUnchanged = this.#isAtRest() && this.#react.commits === this.#seen, steps = isUnchanged ? this.#stepsOf(nodes, new Map()) : null;
    if (!steps) { this.#leave(); return; }
    this.#batch = [];
    this.#coming.clear();
    for (const step of steps) step();
    merge(this.#untold, nodes);
    this.#onDone();
  }
  /** Leave all that was not set to React. */
  #leave() {
    this.#coming.clear();
    for (const event of this.#batch.splice(0)) this.#pass(this.#update, event);
  }
  /** Leave it to React, after all that came before. @param {(event: any) => void} operate @param {any} event */
  #pass(operate, event) {
    this.#leave();
    if (this.#untold.size) this.#tell();
    if (this.#mustWait()) { this.#held.push(() => this.#pass(operate, event)); return; }
    this.#before = null;
    this.#operate(operate, event);
  }
  #tell() {
    const nodes = [...this.#untold].map(([key, props]) => ({ key, ...props }));
    this.#untold.clear();
    this.#isTelling = this.#operate(this.#update, { data: { nodes } });
  }
  /** Whether there is something to render then. @param {(event: any) => void} operate @param {any} event */
  #operate(operate, event) {
    const before = this.#store.getState();
    operate(event);
    if (this.#store.getState() === before) return false;
    this.#isRendered = false;
    return true;
  }
  #mustWait() { return this.#isTelling || this.#held.length > 0; }
  #hasRenderedOfItself() { return this.#untold.size > 0 && this.#react.commits !== this.#seen; }
  /** The client hands its scene from one renderer of React's to the other in several turns, while neither has work. */
  #isAtRest() {
    if (this.#react.unfinished()) return false;
    this.#isRendered = this.#isRendered || isRendered(this.#store.getState(), this.#react.rendered());
    return this.#isRendered;
  }

  /** Record the elements and objects, if React has rendered anything since. */
  #look() {
    if (this.#react.commits === this.#seen) return;
    this.#seen = this.#react.commits;
    this.#nodes = nodesOf(this.#store.getState());
    this.#objects.clear();
    const all = this.#nodes && this.#all((object) => {
      const name = object.__r3f && object.__r3f.props.name;
      if (name) this.#objects.set(name, this.#objects.has(name) ? null : object);
    });
    for (const [key, node] of this.#nodes || []) if (node.tag === "BackgroundColor") this.#objects.set(key, this.#backgroundOf(node));
    for (const { key, object } of this.#react.placed(NAMELESS)) this.#objects.set(key, object);
    this.#isSettled = Boolean(all && this.#before && areEqual(all, this.#before));
  }
  /** The colour that this element has given its scene. @param {any} node */
  #backgroundOf({ color = DEFAULT_BACKGROUND }) {
    const all = [...this.#react.stores()].map(({ scene }) => scene.background);
    const found = all.filter((one) => one && one.isColor && one.__r3f && one.__r3f.props.args[0] === color);
    return found.length === 1 ? found[0] : null;
  }
  /** All objects, and what they are made of, in their order; not those of clouds, which React makes anew for other points. */
  #all(onObject = (/** @type {any} */ object) => {}) {
    /** @type {any[]} */
    const all = [];
    for (const { scene } of this.#react.stores()) {
      scene.traverse((/** @type {any} */ object) => {
        const node = this.#nodes && object.isPoints && object.__r3f && this.#nodes.get(object.__r3f.props.name);
        if (!(node && node.tag === "PointCloud")) all.push(object, object.geometry, ...[].concat(object.material));
        onObject(object);
      });
    }
    return all;
  }
  /**
   * The actions for an update; null if it must be left to React.
   * @param {any[]} changes
   * @param {Map<string, Record<string, any>>} coming what comes before it
   */
  #stepsOf(changes, coming) {
    const nodes = this.#nodes, { FIBER } = this.#page;
    if (!nodes || !FIBER || !FIBER.applyProps) return null;
    /** @type {(() => void)[]} */
    const steps = [];
    const changed = new Set();
    for (const { key, ...named } of changes) {
      const known = nodes.get(key);
      if (!known || changed.has(key)) return null;
      const node = { ...known, ...this.#untold.get(key), ...coming.get(key) }, ways = waysOf(node, named);
      if (!ways) return null;
      changed.add(key);
      if (ways.every(([, way]) => way === "picture")) continue;
      const object = this.#objects.get(key), instance = object && object.__r3f;
      if (!isUsable(instance) || hasLeftovers(node, named, Object.keys(instance.props))) return null;
      // A cloud that React makes anew once it is told would have forgotten the order of its axes.
      if (node.tag === "PointCloud" && named.rotation && named.rotation.length < 4 && object.rotation.order !== "XYZ") return null;
      for (const [name, way] of ways) {
        const step = this.#step(way, instance, name, node, named);
        if (!step) return null;
        steps.push(step);
      }
    }
    return steps;
  }
  /**
   * @param {import("./elements.js").Way} way
   * @param {Instance} instance
   * @param {string} name
   * @param {any} node the element as it is
   * @param {any} named what it is told
   * @returns {(() => void) | null}
   */
  #step(way, instance, name, node, named) {
    const { object } = instance, before = node[name], value = named[name], told = { ...node, ...named };
    if (way === "object") return () => this.#set(instance, { [name]: value });
    if (way === "matrix") return () => { object.matrix.fromArray(value); object.matrixAutoUpdate = false; };
    if (way === "scale") {
      const old = before || [1, 1, 1];
      return Array.isArray(old) ? () => { if (!areEqual(value, old)) object.scale.set(...value); } : null;
    }
    if (way === "material") {
      const material = instance.children.find((child) => child.object === object.material);
      if (!isUsable(material) || Object.keys(material.props).some((part) => !(part in value) && !OF_MATERIAL.includes(part))) return null;
      const parts = Object.entries(value).filter(([part, own]) => !Object.is(own, before[part]));
      return () => { this.#set(material, Object.fromEntries(parts)); recompile(material.object); };
    }
    if (way === "background") return () => object.copy(new object.constructor(value));
    if (way === "joints") return standing(before, value, object);
    if (way === "cloud") return remade(told, object, name);
    if (way === "light") {
      const light = lightFrom(object);
      return light && isUsable(light.__r3f) ? () => shine(light, lightOf(told) || {}) : null;
    }
    return () => {};
  }
  /** Set the differences as react-three-fiber does. @param {Instance} instance @param {Record<string, any>} props */
  #set({ props: given, object }, props) {
    /** @type {Record<string, any>} */
    const changed = {};
    for (const [name, value] of Object.entries(props)) if (!isSame(value, given[name])) changed[name] = value;
    if (!Object.keys(changed).length) return;
    Object.assign(given, changed);
    this.#page.FIBER.applyProps(object, changed);
  }
}

/**
 * The elements of a scene by key, in the order in which they are rendered; null where one of them is not known.
 * @param {any} scene as the client's store has it
 */
function nodesOf(scene) {
  /** @type {Map<string, any>} */
  const nodes = new Map();
  /** @type {(list: any[]) => boolean} */
  const areKnown = (list) => list.every((node) => {
    if (typeof node === "string") return true; // what a text says
    if (!node || typeof node !== "object" || nodes.has(node.key) || !isStill(node)) return false;
    nodes.set(node.key, node);
    return areKnown(node.children || []);
  });
  /** @type {(list: any[]) => boolean} */
  const areFree = (list) => list.every((node) => !nodes.has(node.key) && areFree(node.children || []));
  return BRANCHES.every((branch) => areKnown(scene[branch] || [])) && areFree(scene.htmlChildren || []) ? nodes : null;
}
/**
 * Whether these elements are those of the scene, with its own values.
 * @param {any} scene as the client's store has it
 * @param {Iterable<Record<string, any>>} rendered their props
 */
function isRendered(scene, rendered) {
  const nodes = new Map(), seen = new Set();
  const walk = (/** @type {any[]} */ list) => { for (const node of list) { nodes.set(node.key, node); walk(node.children || []); } };
  for (const branch of BRANCHES) walk(scene[branch] || []);
  for (const props of rendered) {
    const { key, ...node } = nodes.get(props._key) || {};
    if (key !== props._key || Object.entries(node).some(([name, value]) => props[name] !== value)) return false;
    seen.add(key);
  }
  return BRANCHES.every((branch) => (scene[branch] || []).every((/** @type {any} */ node) => node.hide || seen.has(node.key)));
}
/** @param {Map<string, Record<string, any>>} all props by key @param {any[]} nodes what comes to them */
function merge(all, nodes) {
  for (const { key, ...props } of nodes) all.set(key, { ...all.get(key), ...props });
}
/** @param {Instance | undefined} instance @returns {instance is Instance} */
function isUsable(instance) { return Boolean(instance && instance.object && !instance.isHidden && !instance.props.onUpdate); }
/** @param {any} light @param {Record<string, any>} values */
function shine(light, values) {
  for (const [part, value] of Object.entries(values)) if (light[part].isColor) light[part].set(value); else light[part] = value;
}
/** The light that an element has made, or holds in a group of its own. @param {any} object */
function lightFrom(object) { return object && (object.isLight ? object : object.children.find((/** @type {any} */ child) => child.isLight)); }
/** @param {any[]} some @param {any[]} others */
function areEqual(some, others) { return some.length === others.length && some.every((one, i) => Object.is(one, others[i])); }
/** As react-three-fiber compares props. @param {any} value @param {any} given */
function isSame(value, given) {
  return value === given || (Array.isArray(value) && Array.isArray(given) && value.length === given.length && value.length > 0 && value.every((one, i) => one === given[i]));
}
