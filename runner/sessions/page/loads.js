// Loads: the pending work of three's loading managers, of fetches with their bodies, and of decoding pictures.

export class Loads {
  /** @type {Map<number, string>} */ #open = new Map();
  #last = 0;
  #onChange;
  /** URLs that could not be loaded, as long as the page lives. @type {Set<string>} */
  failed = new Set();

  /** @param {() => void} onChange told of each load that ends */
  constructor(onChange) { this.#onChange = onChange; }
  /** How many there are. */
  get count() { return this.#open.size; }
  /** What is being loaded: URLs, or other names. */
  names() { return [...this.#open.values()]; }
  /** @param {any} what */
  begin(what) {
    this.#open.set(++this.#last, String(what));
    return this.#last;
  }
  /** @param {number | undefined} id what begin() gave */
  end(id) { if (id !== undefined && this.#open.delete(id)) this.#onChange(); }
  /** @param {any} what */
  fail(what) {
    this.failed.add(String(what));
    this.#onChange();
  }
  /** @template T @param {any} what @param {Promise<T>} promise @returns {Promise<T>} */
  watch(what, promise) {
    const id = this.begin(what);
    promise.then(() => this.end(id), () => { this.fail(what); this.end(id); });
    return promise;
  }
}

/**
 * Report all loads of the page to `loads`.
 * @param {Window & typeof globalThis} window
 * @param {Loads} loads
 */
export function watchLoads(window, loads) {
  watchManagers(window, loads);
  const realFetch = window.fetch;
  window.fetch = function (/** @type {any} */ request) {
    const answer = loads.watch((request && request.url) || request, realFetch.apply(this, /** @type {any} */ (arguments)));
    answer.then((a) => { if (!a.ok && a.type !== "opaque") loads.fail(`${a.url} (${a.status})`); }, () => {});
    return answer;
  };
  const answers = /** @type {any} */ (window.Response.prototype);
  for (const reader of ["arrayBuffer", "blob", "json", "text"]) {
    const read = answers[reader];
    answers[reader] = function () { return loads.watch(this.url, read.apply(this, arguments)); };
  }
  watchStreams(answers, loads);
  const page = /** @type {any} */ (window), realBitmap = page.createImageBitmap;
  page.createImageBitmap = function () { return loads.watch("a picture", realBitmap.apply(this, arguments)); };
}

/**
 * Bodies that are read piece by piece.
 * @param {any} answers the prototype of responses
 * @param {Loads} loads
 */
function watchStreams(answers, loads) {
  const property = Object.getOwnPropertyDescriptor(answers, "body"), known = new WeakSet();
  if (!property || !property.get) return;
  const { get } = property;
  Object.defineProperty(answers, "body", {
    ...property,
    get() {
      const stream = get.call(this), { url } = this;
      if (!stream || known.has(stream)) return stream;
      known.add(stream);
      const { getReader } = stream;
      stream.getReader = function () {
        const reader = getReader.apply(stream, arguments), id = loads.begin(url);
        const { read, cancel, releaseLock } = reader, end = () => loads.end(id);
        reader.read = function () {
          const piece = read.apply(reader, arguments);
          piece.then((/** @type {any} */ p) => { if (p.done) end(); }, () => { loads.fail(url); end(); });
          return piece;
        };
        reader.cancel = function () { end(); return cancel.apply(reader, arguments); };
        reader.releaseLock = function () { end(); return releaseLock.apply(reader, arguments); };
        return reader;
      };
      return stream;
    },
  });
}

/**
 * three.js keeps its managers to itself, but each sets its own itemStart when it is made.
 * @param {Window & typeof globalThis} window
 * @param {Loads} loads
 */
function watchManagers(window, loads) {
  Object.defineProperty(window.Object.prototype, "itemStart", {
    configurable: true,
    get() { return undefined; },
    set(/** @type {any} */ start) {
      const own = (/** @type {any} */ value) => Object.defineProperty(
        this, "itemStart", { value, writable: true, configurable: true, enumerable: true });
      if (typeof start !== "function") { own(start); return; }
      /** @type {Map<string, number[]>} */
      const open = new Map();
      own(/** @this {any} */ function (/** @type {string} */ url) {
        open.set(url, [...(open.get(url) || []), loads.begin(url)]);
        return start.apply(this, arguments);
      });
      queueMicrotask(() => { // its constructor has finished
        const end = this.itemEnd, fail = this.itemError;
        this.itemEnd = function (/** @type {string} */ url) {
          try { return end.apply(this, arguments); } finally { loads.end((open.get(url) || []).pop()); }
        };
        this.itemError = function (/** @type {string} */ url) { loads.fail(url); return fail.apply(this, arguments); };
      });
    },
  });
}
