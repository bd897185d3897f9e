// Frames: the actions of the client's elements in each frame. The main view is not drawn, so no frame happens by
// itself. Before a picture, frames are made to happen here, without drawing, if an element wants them.

/** @typedef {import("./react.js").Subscriber} Subscriber */

// Time passes in fixed steps, from the same start for each picture, so that pictures are reproducible.
const STEP_S = 1 / 60;
// Elements that move for ever are taken after so many frames: two seconds.
const MOST = 120;

export class Frames {
  #react; #onError; #onStep;
  /** How many there were for the next picture. */ #count = 0;
  /** What the elements looked like after the last one. @type {any[]} */ #seen = [];

  /**
   * @param {Pick<import("./react.js").React, "subscribers">} react
   * @param {(text: string) => void} onError told of what an element throws, with its key
   * @param {(seconds: number) => void} onStep told of the time that passes with each frame
   */
  constructor(react, onError, onStep = () => {}) {
    this.#react = react;
    this.#onError = onError;
    this.#onStep = onStep;
  }
  /** Begin the next picture. */
  begin() { this.#count = 0; this.#seen = []; }
  /**
   * Make frames happen; returns whether the elements have come to rest. If not, call it again when all is still.
   * @param {() => boolean} isStirred whether a frame has begun something that must end before the next
   */
  settle(isStirred) {
    const subscribers = this.#react.subscribers();
    if (!subscribers.length) return true;
    while (this.#count < MOST) {
      this.#advance(subscribers);
      const looks = looksOf(subscribers), isAtRest = areAlike(looks, this.#seen);
      this.#seen = looks;
      if (isStirred()) return false;
      if (isAtRest) return true;
    }
    return true;
  }
  /** @param {Subscriber[]} subscribers */
  #advance(subscribers) {
    const time = ++this.#count * STEP_S;
    this.#onStep(STEP_S);
    for (const { key, store, subscription } of subscribers) {
      const { clock } = store;
      clock.oldTime = time - STEP_S;
      clock.elapsedTime = time;
      try {
        subscription.ref.current(subscription.store.getState(), STEP_S);
      } catch (error) {
        this.#onError(`${key}: ${error instanceof Error ? error.message : error}`);
      }
    }
  }
}

/**
 * All properties of these elements' objects that a frame may have changed, as far as a picture shows them.
 * @param {Subscriber[]} subscribers
 */
function looksOf(subscribers) {
  /** @type {any[]} */
  const parts = [], seen = new Set();
  for (const { objects } of subscribers) {
    for (const top of objects()) {
      top.traverse((/** @type {any} */ object) => {
        if (seen.has(object)) return;
        seen.add(object);
        parts.push(object.visible);
        for (const vector of [object.position, object.quaternion, object.scale]) vector.toArray(parts, parts.length);
        if (object.isInstancedMesh) parts.push(object.count, object.instanceMatrix.version);
        if (object.morphTargetInfluences) parts.push(...object.morphTargetInfluences);
        const { geometry, material } = object;
        if (geometry) for (const part of Object.values(geometry.attributes || {})) parts.push(part.isInterleavedBufferAttribute ? part.data.version : part.version);
        for (const one of [].concat(material || [])) addLooksOfMaterial(one, parts);
      });
    }
  }
  return parts;
}
/** @param {any} material @param {any[]} parts */
function addLooksOfMaterial(material, parts) {
  parts.push(material.version, material.opacity);
  if (material.color && material.color.getHex) parts.push(material.color.getHex());
  for (const { value } of Object.values(material.uniforms || {})) {
    if (typeof value === "number" || typeof value === "boolean") parts.push(value);
    else if (value && value.toArray) value.toArray(parts, parts.length);
  }
}
/** @param {any[]} some @param {any[]} others */
function areAlike(some, others) {
  return some.length === others.length && some.every((part, i) => part === others[i] || Object.is(part, others[i]));
}
