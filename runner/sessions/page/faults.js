// Silent errors on the page: those that nobody caught, and those that were only logged to the console. They explain why
// something is not in the picture.

const MOST = 5, LONGEST = 300;
// Warnings of three.js after which it draws something else than asked for: the earlier colour, an object without its
// material, one texture too few, corners that are nowhere.
const DRAWN_WRONG = /^(THREE\.)+(Color: (Unknown color|Invalid hex color)|WebGLProgram: Shader Error|WebGLTextures: Trying to use|BufferGeometry\.computeBoundingSphere\(\): Computed radius is NaN)/;

export class Faults {
  /** Since forget(). @type {string[]} */ said = [];
  /** Errors of elements in a frame, and things that will be drawn wrong: no picture of this page is right. @type {string[]} */ thrown = [];
  /** The last error that nobody caught. */ last = "";
  /** Since when something has been seen to have failed; 0: it has not. */ sinceFailure = 0;
  /** Since when a model has been seen to hold nothing; 0: none does. */ sinceHollow = 0;
  #onChange;

  /**
   * @param {Window & typeof globalThis} window
   * @param {() => void} onChange told of each
   */
  constructor(window, onChange) {
    this.#onChange = onChange;
    window.addEventListener("error", (event) => {
      if (event.error || event.message) this.#note(this.last = textOf(event.error || event.message));
    });
    window.addEventListener("unhandledrejection", (event) => this.#note(textOf(event.reason)));
    // three.js uses either, depending on its version.
    for (const kind of /** @type {const} */ (["warn", "error"])) {
      const real = window.console[kind];
      window.console[kind] = (/** @type {any[]} */ ...said) => {
        const text = () => said.map(textOf).join(" ");
        if (typeof said[0] === "string" && DRAWN_WRONG.test(said[0])) this.#drawnWrong(text().slice(0, LONGEST));
        if (kind === "error" && said.some((part) => part instanceof Error)) this.#note(text());
        real.apply(window.console, said);
      };
    }
  }
  /** Forget earlier errors, which have been handled. */
  forget() { this.said = []; }
  /** @param {string} text */
  #drawnWrong(text) {
    if (this.thrown.length < MOST && !this.thrown.includes(text)) this.thrown.push(text);
  }
  /** @param {string} text */
  #note(text) {
    if (!text || this.said.length >= MOST || this.said.includes(text)) return;
    this.said.push(text);
    this.#onChange();
  }
}

/** @param {any} thing */
function textOf(thing) {
  return String((thing && thing.message) || thing || "").slice(0, LONGEST);
}
