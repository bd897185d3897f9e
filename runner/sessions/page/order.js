// If nothing else decides what is drawn first, the place in the scene does.
//
// three.js draws the older object, and the older material, first where surfaces coincide or transparent things are
// equally far, and adds up lights as they stand in the scene, where react-three-fiber puts last what it makes anew. So a
// picture would depend on earlier hiding, removing or remaking. Here the order of React's elements replaces both: in a
// fresh page these are the same.

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
   * Put a scene in order, and note the places of all its objects.
   * @param {any} scene
   * @param {any[]} made the objects that React has made, in the order of its elements
   */
  arrange(scene, made) {
    let place = 0;
    const materials = new Set(), turns = new Map(made.map((object, turn) => [object, turn]));
    const turnOf = (/** @type {any} */ object) => turns.get(object) ?? made.length;
    scene.traverse((/** @type {any} */ object) => {
      object.children.sort((/** @type {any} */ a, /** @type {any} */ b) => turnOf(a) - turnOf(b));
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
