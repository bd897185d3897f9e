// React: every root of every renderer, through its hook for developer tools. Only this file knows fibers and their
// tags.
import { KNOWN_VERSIONS } from "./protocol.js";

/**
 * @typedef {Object} Fiber an element as React keeps it
 * @property {number} tag
 * @property {any} type
 * @property {number} flags
 * @property {number} subtreeFlags
 * @property {any} memoizedProps
 * @property {any} memoizedState
 * @property {any} stateNode
 * @property {Fiber | null} child
 * @property {Fiber | null} sibling
 * @property {Fiber | null} return
 * @property {Fiber | null} alternate
 */
/** @typedef {{ current: Fiber, pendingLanes: number, timeoutHandle: any, containerInfo: any }} Root */
/**
 * @typedef {Object} State what is known of a root
 * @property {boolean} isScene it is react-three-fiber's
 * @property {boolean} hasEffects its last commit still has passive effects to run
 * @property {boolean} isUnseen nobody has looked through its elements since its last commit
 * @property {boolean} hadContent it has rendered something
 * @property {Set<any>} texts objects that are laid out as text
 * @property {Set<any>} films textures of films
 * @property {Fiber[]} centers elements that centre what they hold
 * @property {Fiber[]} robots elements that paint what they hold
 * @property {Fiber[]} arrays elements that are made of arrays
 * @property {Fiber[]} models elements of which a file gives what there is to draw
 * @property {import("./scripts.js").Contrib[]} contribs elements that bring a library
 * @property {string[]} waiting keys of elements that are not in the picture yet
 * @property {string[]} errors what went wrong in which element
 * @property {Set<any>} held textures and models that its elements hold
 */

/**
 * @typedef {Object} Subscriber something that wants to be called once a frame
 * @property {string} key of the element that it belongs to
 * @property {any} store what react-three-fiber knows of its scene
 * @property {any} subscription react-three-fiber's own
 * @property {() => any[]} objects the topmost objects of the element
 */

const TAG = { FUNCTION: 0, CLASS: 1, HOST: 5, SUSPENSE: 13 };
const PASSIVE_FLAGS = 10256; // React 19.2: this commit still has passive effects to run
// Elements that a loader fills. Until then they have no object in the scene.
const SOURCES = ["src", "text", "buff", "depth", "rgb"];
const MODELS = /^(Obj|Ply|Stl|Glb|Dae|Fbx|Pcd)$/;
// Elements that never have one: they are laid over the view, or are a background.
const WITHOUT_OBJECT = /^(Html|Iframe|Img|Markdown|SceneBackground|ImageBackground)$/;
// Components, and keys where they have no name, that do nothing in a frame that a camera's picture would show:
// they draw, follow the mouse or hands, or move a light's helper. Nearly every scene has some.
const FOR_PEOPLE = /^((Perspective|Orthographic)?CameraView|Hands|MotionControllers|\w+Light|SceneCamera\w*)$/;
// The client's hidden panels would render a row for each element of the scene at each update, which costs more than all
// the rest. They are left empty.
const PANELS = ["SceneGraph", "WorkspacePanel"];
// The page loads a library for MuJoCo from the net by itself, as long as no scene has replaced its first one.
const PAGES_OWN_CONTRIB = "contrib-loader-mujoco";

export class React {
  /** @type {Map<number, any>} */ #renderers = new Map();
  /** @type {Map<Root, State>} */ #roots = new Map();
  /** The element of each subscriber to frames; null: it is in none of the scene's own elements, or for people only. @type {WeakMap<any, Fiber | null>} */
  #owners = new WeakMap();
  /** How often a scene was rendered. */ commits = 0;
  #panels = new Set(PANELS);

  /**
   * @param {Window & typeof globalThis} window
   * @param {() => void} onChange told of each commit, and of the end of its effects
   * @param {boolean} isPlain the client's panels stay as they are
   */
  constructor(window, onChange, isPlain = false) {
    if (isPlain) this.#panels.clear();
    const page = /** @type {any} */ (window);
    const hook = page.__REACT_DEVTOOLS_GLOBAL_HOOK__ ||
      (page.__REACT_DEVTOOLS_GLOBAL_HOOK__ = { supportsFiber: true, renderers: new Map() });
    const before = { inject: hook.inject, commit: hook.onCommitFiberRoot, post: hook.onPostCommitFiberRoot };
    const renderers = this.#renderers;
    let lastRenderer = 0;
    hook.inject = function (/** @type {any} */ info) {
      const id = before.inject ? before.inject.apply(this, arguments) : ++lastRenderer;
      renderers.set(id, info);
      return id;
    };
    const committed = this.#committed.bind(this), settled = this.#settled.bind(this);
    hook.onCommitFiberRoot = function (/** @type {number} */ id, /** @type {Root} */ root) {
      committed(id, root);
      if (before.commit) before.commit.apply(this, arguments);
      onChange();
    };
    hook.onPostCommitFiberRoot = function (/** @type {number} */ id, /** @type {Root} */ root) {
      settled(root);
      if (before.post) before.post.apply(this, arguments);
      onChange();
    };
    hook.onCommitFiberUnmount = hook.onCommitFiberUnmount || (() => {});
  }
  /** The renderers and their versions. */
  versions() {
    /** @type {Record<string, string>} */
    const versions = {};
    for (const info of this.#renderers.values()) versions[info.rendererPackageName] = info.version;
    return versions;
  }
  /** How many roots have unfinished work. */
  unfinished() {
    let count = 0;
    for (const [root, state] of this.#roots) {
      if (!root.current.child) continue; // it was unmounted
      if (root.pendingLanes || state.hasEffects) count++;
    }
    return count;
  }
  /** The props with which each of the scenes' elements was rendered last. */
  *rendered() {
    for (const { root } of this.#scenes()) {
      const top = root.current;
      for (let fiber = /** @type {Fiber | null} */ (top); fiber; fiber = nextFiber(fiber, top)) {
        const props = fiber.tag === TAG.FUNCTION && fiber.memoizedProps;
        if (props && "_key" in props && props.tag) yield props;
      }
    }
  }
  /** The topmost object of each of the scenes' elements of such a kind, by key. @param {string[]} tags */
  *placed(tags) {
    for (const { root } of this.#scenes()) {
      const top = root.current;
      for (let fiber = /** @type {Fiber | null} */ (top); fiber; fiber = nextFiber(fiber, top)) {
        const props = fiber.tag === TAG.FUNCTION && fiber.memoizedProps;
        if (props && tags.includes(props.tag) && props._key) yield { key: props._key, object: objectsOf(fiber)[0] };
      }
    }
  }
  /** Each scene, and all objects that React has made for it, in the order of its elements. */
  *scenes() {
    for (const { root, store } of this.#scenes()) yield { scene: store.scene, made: objectsOf(root.current, true) };
  }
  /** react-three-fiber's state of each scene. */
  *stores() {
    for (const { store } of this.#scenes()) yield store;
  }
  *#scenes() {
    for (const [root, state] of this.#roots) {
      const store = state.isScene && root.containerInfo && root.containerInfo.getState && root.containerInfo.getState();
      if (store) yield { root, store };
    }
  }
  /**
   * The subscribers to frames among the sent elements.
   */
  subscribers() {
    /** @type {Subscriber[]} */
    const found = [];
    for (const { root, store } of this.#scenes()) {
      const { subscribers } = store.internal;
      if (subscribers.some((/** @type {any} */ one) => !this.#owners.has(one.ref))) this.#findOwners(root, subscribers);
      for (const subscription of subscribers) {
        const owner = this.#owners.get(subscription.ref);
        const element = owner && elementOf(owner);
        // With a priority above 0 it draws.
        if (!element || subscription.priority > 0) continue;
        found.push({ key: element.memoizedProps._key, store, subscription, objects: () => objectsOf(element) });
      }
    }
    return found;
  }
  /**
   * What the scenes' elements wait for, and their errors; computed again only after a commit. onLook: called when it
   * was.
   * @param {() => void} onLook
   */
  elements(onLook) {
    /** @type {{ waiting: string[], errors: string[] }} */
    const found = { waiting: [], errors: [] };
    for (const [root, state] of this.#roots) {
      if (!state.isScene) continue;
      if (state.isUnseen) { look(root, state); state.isUnseen = false; onLook(); }
      found.waiting.push(...state.waiting);
      found.errors.push(...state.errors);
    }
    return found;
  }
  /**
   * A scene that React has removed from the page because of an error.
   * @param {string} error the last that nobody caught
   */
  lost(error) {
    for (const [root, state] of this.#roots) {
      if (state.isScene && state.hadContent && !root.current.child) return [`the scene is gone: ${error || "it was unmounted"}`];
    }
    return [];
  }
  /** Text of troika's that the scenes hold. */
  *texts() {
    for (const state of this.#roots.values()) yield* state.texts;
  }
  /** Films that the scenes' elements hold, as textures. */
  *films() {
    for (const state of this.#roots.values()) yield* state.films;
  }
  /** Elements that centre their content: their props, and the group that they have made. */
  *centers() {
    for (const state of this.#roots.values()) {
      for (const fiber of state.centers) yield { props: fiber.memoizedProps, outer: objectsOf(fiber)[0] };
    }
  }
  /** Robots: their elements' props, and the model, if it is there. */
  *robots() {
    for (const state of this.#roots.values()) {
      for (const fiber of state.robots) yield { props: fiber.memoizedProps, robot: objectsOf(fiber)[0] };
    }
  }
  /** What is made of arrays: the elements' props, and the object, if it is there. */
  *arrays() {
    for (const state of this.#roots.values()) {
      for (const fiber of state.arrays) yield { props: fiber.memoizedProps, object: objectsOf(fiber)[0] };
    }
  }
  /** Keys of models that are there, and hold nothing that could be drawn. */
  *hollow() {
    for (const state of this.#roots.values()) {
      state.models = state.models.filter((fiber) => !objectsOf(fiber).some(canBeDrawn));
      yield* state.models.map(keyOf);
    }
  }
  /** Elements that bring a library. */
  *contribs() {
    for (const state of this.#roots.values()) yield* state.contribs;
  }
  isLayingOut() {
    for (const text of this.texts()) if (text._isSyncing) return true;
    return false;
  }
  /** All textures and models that the scenes' elements hold. */
  held() {
    const held = new Set();
    for (const state of this.#roots.values()) for (const thing of state.held) held.add(thing);
    return held;
  }
  /**
   * React delays a finished commit for up to 300 ms after showing a placeholder, to avoid flicker; root.timeoutHandle
   * is then the timer that makes the commit. A camera need not wait for it.
   * @param {any} timer
   * @param {() => void} commit
   */
  showAtOnce(timer, commit) {
    for (const root of this.#roots.keys()) {
      if (root.timeoutHandle === timer) { clearTimeout(timer); commit(); return; }
    }
  }

  /** @param {Root} root @param {any[]} subscribers */
  #findOwners(root, subscribers) {
    const refs = new Set();
    for (const { ref } of subscribers) if (!this.#owners.has(ref)) { refs.add(ref); this.#owners.set(ref, null); }
    const top = root.current;
    for (let fiber = /** @type {Fiber | null} */ (top); fiber; fiber = nextFiber(fiber, top)) {
      if (fiber.tag === TAG.HOST || fiber.tag === TAG.CLASS) continue;
      // A component's hooks are a list; that of useRef holds the ref itself.
      for (let hook = fiber.memoizedState; hook && typeof hook === "object" && "next" in hook; hook = hook.next) {
        if (refs.has(hook.memoizedState) && !FOR_PEOPLE.test(fiber.type.name || keyOf(fiber))) this.#owners.set(hook.memoizedState, fiber);
      }
    }
  }
  /** @param {number} id @param {Root} root */
  #committed(id, root) {
    const info = this.#renderers.get(id) || {}, fiber = root.current;
    let state = this.#roots.get(root);
    if (!state) {
      const isScene = info.rendererPackageName === "@react-three/fiber";
      state = { isScene, hasEffects: false, isUnseen: true, hadContent: false, ...nothingSeen() };
      this.#roots.set(root, state);
    }
    state.hasEffects = ((fiber.flags | fiber.subtreeFlags) & PASSIVE_FLAGS) !== 0;
    state.isUnseen = true;
    if (state.isScene) this.commits++;
    if (fiber.child) state.hadContent = true;
    if (info.rendererPackageName === "react-dom" && info.version === KNOWN_VERSIONS["react-dom"]) this.#emptyPanels(fiber);
  }
  /** @param {Root} root */
  #settled(root) {
    const state = this.#roots.get(root);
    if (state) state.hasEffects = false;
  }
  /** @param {Fiber} top */
  #emptyPanels(top) {
    if (!this.#panels.size) return;
    for (let fiber = /** @type {Fiber | null} */ (top); fiber; fiber = nextFiber(fiber, top)) {
      if (fiber.tag !== TAG.FUNCTION || !this.#panels.delete(fiber.type.name)) continue;
      fiber.type = () => null;
      if (fiber.alternate) fiber.alternate.type = fiber.type;
    }
  }
}

/** @param {Fiber} fiber @param {Fiber} top @returns {Fiber | null} */
function nextFiber(fiber, top) {
  if (fiber.child) return fiber.child;
  while (!fiber.sibling) {
    if (!fiber.return || fiber.return === top) return null;
    fiber = fiber.return;
  }
  return fiber.sibling;
}
/** What look finds, before it has looked. @returns {Pick<State, "texts" | "films" | "centers" | "robots" | "arrays" | "models" | "contribs" | "waiting" | "errors" | "held">} */
function nothingSeen() {
  return { texts: new Set(), films: new Set(), centers: [], robots: [], arrays: [], models: [], contribs: [], waiting: [], errors: [], held: new Set() };
}
/** @param {Root} root @param {State} state */
function look(root, state) {
  Object.assign(state, nothingSeen());
  const top = root.current;
  for (let fiber = /** @type {Fiber | null} */ (top); fiber; fiber = nextFiber(fiber, top)) {
    if (fiber.tag === TAG.HOST) {
      for (const value of Object.values(fiber.memoizedProps || {})) {
        if (value && value.isObject3D && "_isSyncing" in value) state.texts.add(value);
        if (value && (value.isTexture ? !value.isRenderTargetTexture : value.isObject3D)) state.held.add(value);
      }
    }
    const { map, tag, _key, onCentered } = fiber.memoizedProps || {};
    if ((tag === "Center" && _key) || onCentered) state.centers.push(fiber);
    if (tag === "Urdf" && _key) state.robots.push(fiber);
    if ((tag === "PointCloud" || tag === "TriMesh") && _key) state.arrays.push(fiber);
    if (MODELS.test(tag) && _key && !fiber.memoizedProps.hide) state.models.push(fiber);
    if (tag === "ContribLoader" && _key && _key !== PAGES_OWN_CONTRIB) state.contribs.push({ key: _key, library: fiber.memoizedProps.library });
    if (map && map.isVideoTexture) state.films.add(map);
    if (fiber.tag === TAG.SUSPENSE && fiber.memoizedState !== null) state.waiting.push(keyOf(fiber));
    else if (isEmptyModel(fiber)) state.waiting.push(keyOf(fiber));
    else if (fiber.tag === TAG.CLASS && fiber.memoizedState && fiber.memoizedState.didCatch) {
      const { error } = fiber.memoizedState;
      state.errors.push(`${keyOf(fiber)}: ${error || "it cannot be shown"}`);
    }
  }
}
/**
 * The sent element that this is a part of.
 * @param {Fiber | null} fiber
 */
function elementOf(fiber) {
  for (; fiber; fiber = fiber.return) if (fiber.memoizedProps && fiber.memoizedProps._key) return fiber;
  return null;
}
/** @param {Fiber | null} fiber @returns {string} */
function keyOf(fiber) {
  const element = elementOf(fiber);
  return element ? element.memoizedProps._key : "an element";
}
/**
 * The topmost objects of the scene that an element has made, or all of them, in their order.
 * @param {Fiber} element
 */
function objectsOf(element, isDeep = false) {
  /** @type {any[]} */
  const found = [];
  const walk = (/** @type {Fiber | null} */ fiber) => {
    for (; fiber; fiber = fiber.sibling) {
      const object = fiber.tag === TAG.HOST && fiber.stateNode && fiber.stateNode.object, isFound = object && object.isObject3D;
      if (isFound) found.push(object);
      if (!isFound || isDeep) walk(fiber.child);
    }
  };
  walk(element.child);
  return found;
}
/** @param {any} object @returns {boolean} */
function canBeDrawn(object) {
  const places = object.geometry && object.geometry.attributes && object.geometry.attributes.position;
  return Boolean(places && places.count) || object.children.some(canBeDrawn);
}
/** @param {Fiber | null} fiber @returns {boolean} */
function hasObject(fiber) {
  for (; fiber; fiber = fiber.sibling) if (fiber.tag === TAG.HOST || hasObject(fiber.child)) return true;
  return false;
}
/** @param {Fiber} fiber */
function isEmptyModel(fiber) {
  const props = fiber.memoizedProps;
  return fiber.tag === TAG.FUNCTION && props && props.tag && props._key && !props.hide &&
    SOURCES.some((name) => props[name]) && !WITHOUT_OBJECT.test(props.tag) && !hasObject(fiber.child);
}
