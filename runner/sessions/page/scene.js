// The scene: its objects by name, the fence, the lens of a camera, and what may be taken off the GPU.
import { FENCE } from "./protocol.js";

/** @typedef {import("./react.js").React} React */

// The textures and models that are kept on the GPU though the scene no longer holds them: the latest ones.
const SPARES = 8;

export class Scene {
  #react;
  /** @type {any} */ #fence = null;
  /** @type {Map<string, any>} */ #cameras = new Map();
  /** What is on the GPU; the longest unused first. @type {Set<any>} */ #uploaded = new Set();

  /** @param {Pick<React, "stores" | "held">} react */
  constructor(react) { this.#react = react; }
  /** The number that tells how much of what was sent is in the scene. @returns {number} */
  fence() {
    if (!(this.#fence && this.#fence.parent)) this.#fence = this.#find(FENCE);
    return this.#fence ? this.#fence.userData.n : 0;
  }
  /**
   * The client keeps the lens that a camera first had; nothing else sets it after that.
   * @param {import("./protocol.js").Grab["camera"]} camera
   */
  setLens({ name, ...lens }) {
    let camera = this.#cameras.get(name);
    if (!camera || !camera.parent) this.#cameras.set(name, camera = this.#find(name));
    if (!camera) return;
    let isNew = false;
    for (const [part, value] of Object.entries(lens)) {
      if (camera[part] !== value) { camera[part] = value; isNew = true; }
    }
    if (isNew) camera.updateProjectionMatrix();
  }
  /**
   * The client keeps every texture and model that it ever showed on the GPU. Here those that the scene no
   * longer holds are taken off it; three uploads anew what is shown again.
   */
  freeUnused() {
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
