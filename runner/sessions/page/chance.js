// Chance and time as the page's own code sees them, for campaigns that want them to be reproducible for each job.
//
// Each line of code that asks for chance has its own numbers: three.js takes some to name each object, and how
// many objects a job makes depends on what the page has kept from the jobs before it.

// Midnight of the first of January 2000, UTC.
const START_MS = 946684800000;

export class Chance {
  #window;
  #seed = 0;
  /** How many numbers each line of code was given. @type {Map<string, number>} */ #given = new Map();
  /** How much time has passed since the job began. */ #passedMs = 0;
  #isTaken = false;

  /** @param {Window & typeof globalThis} window */
  constructor(window) { this.#window = window; }
  /**
   * A job begins: from here on numbers and times come from its seed.
   * @param {number} seed an integer of 32 bits
   */
  begin(seed) {
    this.#seed = seed | 0;
    this.#given.clear();
    this.#passedMs = 0;
    if (!this.#isTaken) this.#take();
  }
  /** Time goes by. @param {number} seconds */
  pass(seconds) { this.#passedMs += 1000 * seconds; }

  #take() {
    this.#isTaken = true;
    const page = /** @type {any} */ (this.#window), next = () => this.#next(callerOf(new Error())), now = () => START_MS + this.#passedMs;
    page.Math.random = next;
    page.performance.now = () => this.#passedMs;
    const RealDate = page.Date;
    page.Date = class Date extends RealDate {
      /** @param {any[]} parts */
      constructor(...parts) { if (parts.length) super(...parts); else super(now()); }
      static now() { return now(); }
    };
  }
  /** At least 0 and below 1. @param {string} caller */
  #next(caller) {
    const count = (this.#given.get(caller) || 0) + 1;
    this.#given.set(caller, count);
    let bits = this.#seed;
    for (let i = 0; i < caller.length; i++) bits = mixed(bits + caller.charCodeAt(i));
    return (mixed(mixed(bits) + count) >>> 0) / 2 ** 32;
  }
}

/** 32 bits, each of which depends on all input bits: the end of MurmurHash3. @param {number} bits */
function mixed(bits) {
  bits = Math.imul((bits + 0x9e3779b9) ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
/** Where Math.random was called, without the server's address. @param {Error} error made there */
function callerOf(error) { return (String(error.stack).split("\n")[2] || "").replace(/https?:\/\/[^/]+/, ""); }
