// Workers: a request to one is a load until it has answered, and so are its own loads.
//
// Some messages are answered by name (an id comes back), some are not answered at all. So a few lines in front of a
// worker's own code report that it has handled a message, and which files it loads.

// Marks what those lines say. It stands in their own text, too.
const MARK = "__runner_worker";
// A text without a font: the client would fetch one from the net. The last is tried first.
const FONTS = ["cyrillic", "greek", "latin-ext", "latin"];

/** @typedef {import("./loads.js").Loads} Loads */

/**
 * Report all workers of the page to `loads`.
 * @param {Window & typeof globalThis} window
 * @param {Loads} loads
 */
export function watchWorkers(window, loads) {
  const page = /** @type {any} */ (window), RealWorker = page.Worker, { URL } = page;
  /** The content of URLs that the page made. @type {Map<string, Blob>} */
  const blobs = new Map();
  const { createObjectURL, revokeObjectURL } = URL;
  URL.createObjectURL = (/** @type {any} */ source) => {
    const url = createObjectURL.call(URL, source);
    if (source instanceof page.Blob) blobs.set(url, source);
    return url;
  };
  URL.revokeObjectURL = (/** @type {string} */ url) => {
    blobs.delete(url);
    revokeObjectURL.call(URL, url);
  };
  page.Worker = class Worker extends RealWorker {
    /** @type {Desk} */ #desk;
    /** @param {any} url @param {any} [options] */
    constructor(url, options) {
      const blob = blobs.get(String(url));
      const watched = blob && createObjectURL.call(URL, new Blob([`(${tellOfWork})(self, ${JSON.stringify(MARK)});\n`, blob]));
      super(watched || url, options);
      this.#desk = new Desk(loads, Boolean(watched));
      super.addEventListener("message", (/** @type {MessageEvent} */ event) => {
        if (this.#desk.receive(event.data)) event.stopImmediatePropagation();
      });
      super.addEventListener("error", () => this.#desk.close());
    }
    /** @param {any} message @param {any[]} rest */
    postMessage(message, ...rest) {
      const sent = withFont(message, page.location.origin);
      this.#desk.post(sent);
      super.postMessage(sent, ...rest);
    }
    terminate() {
      this.#desk.close();
      super.terminate();
    }
  };
}

/** The requests to one worker, and its answers. */
export class Desk {
  /** Messages that are answered by name. @type {Map<any, number>} */ #named = new Map();
  /** Messages that it has not handled yet. @type {number[]} */ #unseen = [];
  /** What it loads. @type {Map<number, number>} */ #files = new Map();
  #loads; #isWatched;

  /** @param {Loads} loads @param {boolean} isWatched whether the worker tells of its work */
  constructor(loads, isWatched) {
    this.#loads = loads;
    this.#isWatched = isWatched;
  }
  /** @param {any} message */
  post(message) {
    if (this.#isWatched) this.#unseen.push(this.#loads.begin("work of a worker"));
    const name = nameOf(message);
    if (name !== undefined && !this.#named.has(name)) this.#named.set(name, this.#loads.begin("a worker's answer"));
  }
  /** @param {any} message @returns {boolean} whether it is for us alone */
  receive(message) {
    const told = message && message[MARK];
    if (!told) {
      const name = nameOf(message);
      this.#loads.end(this.#named.get(name));
      this.#named.delete(name);
      return false;
    }
    if (told.what === "seen") this.#loads.end(this.#unseen.shift());
    if (told.what === "load") this.#files.set(told.id, this.#loads.begin(told.url));
    if (told.what === "fail") this.#loads.fail(told.url);
    if (told.what === "end") this.#loads.end(this.#files.get(told.id));
    return true;
  }
  /** It is no more. */
  close() {
    for (const id of [...this.#named.values(), ...this.#unseen, ...this.#files.values()]) this.#loads.end(id);
    this.#named.clear();
    this.#files.clear();
    this.#unseen = [];
  }
}

/**
 * The id that a message shares with its answer, if any.
 * @param {any} message
 */
function nameOf(message) {
  if (!message || typeof message !== "object") return undefined;
  const name = message.messageId ?? message.id;
  return typeof name === "number" || typeof name === "string" ? name : undefined;
}

/**
 * A request to lay out text (of troika's) without a font gets ours, so that it looks the same without a network.
 * @param {any} message
 * @param {string} origin
 */
export function withFont(message, origin) {
  const [text] = (message && message.action === "callModule" && message.data && message.data.args) || [];
  if (!text || !Array.isArray(text.font) || text.font.length) return message;
  const font = FONTS.map((set) => ({ label: set, src: `${origin}/runner/fonts/noto-sans-${set}-400-normal.woff` }));
  const args = [{ ...text, font }, ...message.data.args.slice(1)];
  return { ...message, data: { ...message.data, args } };
}

/**
 * The lines in front of a worker's own code; they run there, and cannot use anything from here.
 * @param {any} self
 * @param {string} mark
 */
function tellOfWork(self, mark) {
  const post = self.postMessage.bind(self), setTimeout = self.setTimeout.bind(self);
  const say = (/** @type {any} */ told) => post({ [mark]: told });
  self.addEventListener("message", () => setTimeout(() => say({ what: "seen" }), 0));
  let last = 0;
  const begin = (/** @type {any} */ url) => {
    const id = ++last;
    say({ what: "load", id, url });
    return (/** @type {any} */ failure) => {
      if (failure) say({ what: "fail", url: `${url}${failure}` });
      setTimeout(() => say({ what: "end", id }), 0); // whoever waited for it goes on first
    };
  };
  const isOwn = (/** @type {string} */ url) => /^(blob|data):/.test(url);
  const { fetch } = self;
  if (fetch) self.fetch = function (/** @type {any} */ request) {
    const url = String((request && request.url) || request), answer = fetch.apply(self, arguments);
    if (isOwn(url)) return answer;
    const end = begin(url);
    answer.then((/** @type {any} */ a) => end(a.ok ? "" : ` (${a.status})`), () => end(" (no answer)"));
    return answer;
  };
  const Request = self.XMLHttpRequest;
  if (Request) {
    const { open, send } = Request.prototype, urls = new WeakMap();
    Request.prototype.open = function (/** @type {any} */ method, /** @type {any} */ url) {
      urls.set(this, String(url));
      return open.apply(this, arguments);
    };
    Request.prototype.send = function () {
      const url = urls.get(this);
      if (!isOwn(url)) {
        const end = begin(url);
        this.addEventListener("loadend", () => end(this.status >= 400 ? ` (${this.status})` : this.status ? "" : " (no answer)"));
      }
      return send.apply(this, arguments);
    };
  }
}
