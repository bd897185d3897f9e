// Scripts that ContribLoader elements bring: a picture waits for them, because they make a part of it.

/** @typedef {{ key: string, library: string }} Contrib an element that brings a library */

export class Scripts {
  #document;
  /** How each ended script has ended, by its id. @type {Map<string, "loaded" | "failed">} */ #ends = new Map();

  /**
   * @param {Window & typeof globalThis} window
   * @param {() => void} onChange told of each script that ends
   */
  constructor(window, onChange) {
    this.#document = window.document;
    for (const [event, end] of /** @type {const} */ ([["load", "loaded"], ["error", "failed"]])) {
      // They do not bubble, but are captured on their way down.
      window.document.addEventListener(event, ({ target }) => {
        const script = /** @type {any} */ (target);
        if (!script || script.tagName !== "SCRIPT" || !script.id) return;
        this.#ends.set(script.id, end);
        onChange();
      }, true);
    }
  }
  /**
   * What these elements wait for, and their failed loads.
   * @param {Iterable<Contrib>} contribs
   */
  of(contribs) {
    /** @type {{ waiting: string[], failed: string[] }} */
    const found = { waiting: [], failed: [] };
    for (const { key, library } of contribs) {
      const id = `contrib-loader-${library}`, script = /** @type {any} */ (this.#document.getElementById(id));
      const end = this.#ends.get(id);
      if (end === "failed") found.failed.push(`${key}: could not load ${script && script.src}`);
      else if (!end) found.waiting.push(key);
    }
    return found;
  }
}
