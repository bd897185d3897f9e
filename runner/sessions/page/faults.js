// What went wrong on the page without anybody being told: errors that nobody caught, and those that were only
// said on the console. They explain why something is not in the picture.

const MOST = 5, LONGEST = 300;

export class Faults {
  /** Since forget(). @type {string[]} */ said = [];
  /** What elements threw in a frame; taken by whoever tells of it. @type {string[]} */ thrown = [];
  /** The last error that nobody caught. */ last = "";
  /** Since when something has been seen to have failed; 0: it has not. */ sinceFailure = 0;
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
    const realError = window.console.error, note = this.#note.bind(this);
    window.console.error = function (/** @type {any[]} */ ...said) {
      if (said.some((part) => part instanceof Error)) note(said.map(textOf).join(" "));
      realError.apply(this, said);
    };
  }
  /** What was said before has been dealt with. */
  forget() { this.said = []; }
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
