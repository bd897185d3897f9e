// The page's clock and turns, and the timers that its code sets: some of them are taken over.

/** @typedef {() => void} Callback */

const LONGEST_TURN_MS = 1000;

/**
 * A clock for limits: between two looks at most a second passes. While the client is busy with a large scene nobody can
 * look, so that work does not count as late.
 * @param {() => number} now
 */
export function patientClock(now) {
  let passed = 0, seen = now();
  return () => {
    const time = now();
    passed += Math.min(time - seen, LONGEST_TURN_MS);
    seen = time;
    return passed;
  };
}

const LATE_MS = 250;

/**
 * Detects whether the browser holds the page's timers back, as in a tab that is out of sight: a timer is overdue, and
 * later requests are run before it. If a timer is late because the page is busy, it is the other way round.
 */
export class Clamp {
  /** By how much a timer that was held back came late; 0 while they come in time. */ held_ms = 0;
  #now; #nextTurn; #period_ms; #due; #isAsking = false; #isHeld = false;

  /**
   * @param {() => number} now
   * @param {(f: Callback) => void} nextTurn
   * @param {number} period_ms of the timer that calls tick
   */
  constructor(now, nextTurn, period_ms) {
    this.#now = now;
    this.#nextTurn = nextTurn;
    this.#period_ms = period_ms;
    this.#due = now() + period_ms;
  }
  /** The timer has fired; returns whether that has changed the finding. */
  tick() {
    const late_ms = this.#now() - this.#due, before = this.held_ms > 0;
    if (this.#isHeld) this.held_ms = late_ms;
    else if (late_ms < LATE_MS) this.held_ms = 0;
    this.#due = this.#now() + this.#period_ms;
    this.#isHeld = false;
    return before !== this.held_ms > 0;
  }
  /** Something else is run. */
  turn() {
    const due = this.#due;
    if (this.#isAsking || this.#now() < due + LATE_MS) return;
    this.#isAsking = true;
    // The first may stand before the timer all the same.
    this.#nextTurn(() => this.#nextTurn(() => { this.#isAsking = false; this.#isHeld ||= due === this.#due; }));
  }
}

export class Timers {
  /** @type {Callback[] | null} */ #taken = null;
  /** @type {Callback[]} */ #turns = [];
  #channel = new MessageChannel();

  /**
   * The page's own timers, before anything else looks at them.
   * @param {Window & typeof globalThis} window
   * @param {(timer: number, f: Callback) => void} onShortWait told a turn later of each timer that React could
   *   hold a commit back by
   */
  constructor(window, onShortWait) {
    const realTimeout = window.setTimeout.bind(window);
    this.setTimeout = realTimeout;
    this.setInterval = window.setInterval.bind(window);
    this.now = window.performance.now.bind(window.performance);
    this.#channel.port1.onmessage = () => { const f = this.#turns.shift(); if (f) f(); };
    /** @type {any} */ (window).setTimeout = (/** @type {any} */ f, /** @type {number} */ ms, /** @type {any[]} */ ...args) => {
      if (this.#taken && typeof f === "function" && !ms) { this.#taken.push(() => f(...args)); return 0; }
      const timer = realTimeout(f, ms, ...args);
      if (ms > 10 && ms <= 300) this.nextTurn(() => onShortWait(timer, f));
      return timer;
    };
  }
  /**
   * A turn of the event loop without the 4 ms that browsers add to nested timers.
   * @param {Callback} f
   */
  nextTurn(f) { this.#turns.push(f); this.#channel.port2.postMessage(0); }
  /** From now on, keep callbacks for immediate timers instead. */
  take() { this.#taken = []; }
  /** Stop keeping them; returns those that were kept. */
  taken() {
    const taken = this.#taken || [];
    this.#taken = null;
    return taken;
  }
}
