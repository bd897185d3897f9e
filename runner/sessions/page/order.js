// If nothing else decides what is drawn first, the place in the scene does.
//
// three.js draws the older object, and the older material, first where surfaces coincide or transparent things are
// equally far. So a picture would depend on earlier hiding, removing or remaking. Here the order in the scene replaces
// the age: in a fresh page these are the same.

import { isSplatRenderer } from "./scene.js";

const LAST = Number.MAX_SAFE_INTEGER;

/** What three.js sorts. @typedef {{ object: any, material: any, groupOrder: number, renderOrder: number, z: number }} Item */

export class Order {
  /** Of objects, and of materials. @type {WeakMap<any, number>} */ #places = new WeakMap();

  /** @param {any} window */
  constructor(window) {
    // three.js shows each renderer that it makes to its developer tools.
    const tools = window.__THREE_DEVTOOLS__ || (window.__THREE_DEVTOOLS__ = new EventTarget());
    tools.addEventListener("observe", (/** @type {{ detail: any }} */ { detail: renderer }) => {
      if (!renderer.setOpaqueSort) return;
      renderer.setOpaqueSort((/** @type {Item} */ a, /** @type {Item} */ b) => this.opaque(a, b));
      renderer.setTransparentSort((/** @type {Item} */ a, /** @type {Item} */ b) => this.transparent(a, b));
    });
  }
  /**
   * Note the places of all objects in a scene.
   * @param {any} scene
   */
  arrange(scene) {
    let place = 0;
    const materials = new Set();
    scene.traverse((/** @type {any} */ object) => {
      // The object that draws all splats comes into the scene when its code has been loaded, sooner or later.
      this.#places.set(object, isSplatRenderer(object) ? LAST : ++place);
      for (const material of [].concat(object.material || [])) {
        if (materials.has(material)) continue;
        materials.add(material);
        this.#places.set(material, materials.size);
      }
    });
  }
  /** @param {Item} a @param {Item} b */
  opaque(a, b) {
    return a.groupOrder - b.groupOrder || a.renderOrder - b.renderOrder || this.#earlier(a.material, b.material) ||
      a.z - b.z || this.#earlier(a.object, b.object);
  }
  /** @param {Item} a @param {Item} b */
  transparent(a, b) {
    return a.groupOrder - b.groupOrder || a.renderOrder - b.renderOrder || b.z - a.z || this.#earlier(a.object, b.object);
  }
  /** @param {any} a @param {any} b */
  #earlier(a, b) {
    if (a === b) return 0;
    return (this.#places.get(a) ?? Infinity) - (this.#places.get(b) ?? Infinity) || a.id - b.id;
  }
}
