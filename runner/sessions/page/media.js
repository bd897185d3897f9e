// Pictures and films in elements of the page: their loads, and failed loads.

// A film's data may be there a moment before its first picture can be drawn, which would be black. That is waited for,
// but no longer than this, because a browser need not report it.
const PICTURE_MS = 500;

/**
 * Report all <img> and <video> of the page to `loads`. Those of the page itself may fail: they are not part of the
 * scene.
 * @param {Window & typeof globalThis} window
 * @param {import("./loads.js").Loads} loads
 */
export function watchMedia(window, loads) {
  watch(/** @type {any} */ (window).HTMLImageElement, ["load"], loads);
  const Film = /** @type {any} */ (window).HTMLMediaElement;
  watch(Film, ["loadeddata"], loads);
  if (Film) standStill(Film.prototype);
}

/**
 * Films of the scene stay at their beginning, or where an element sets them, so that no picture depends on a clock.
 * @param {any} films the prototype of their elements
 */
function standStill(films) {
  const { play } = films;
  films.play = function () { return this.isConnected ? play.apply(this, arguments) : Promise.resolve(); };
  const autoplay = Object.getOwnPropertyDescriptor(films, "autoplay"), set = autoplay && autoplay.set;
  if (set) Object.defineProperty(films, "autoplay", {
    ...autoplay,
    set(/** @type {boolean} */ isOn) {
      set.call(this, isOn && this.isConnected);
      if (isOn) this.preload = "auto";
    },
  });
}

/**
 * @param {any} Element
 * @param {string[]} ends the events that end a load
 * @param {import("./loads.js").Loads} loads
 */
function watch(Element, ends, loads) {
  const property = Element && Object.getOwnPropertyDescriptor(Element.prototype, "src");
  if (!property || !property.set) return;
  const { get, set } = property;
  /** @type {WeakMap<any, () => void>} */
  const open = new WeakMap();
  Object.defineProperty(Element.prototype, "src", {
    ...property,
    get,
    set(/** @type {any} */ url) {
      const before = open.get(this);
      if (before) before();
      if (url && !this.isConnected && typeof url === "string") begin(this, url);
      set.call(this, url);
    },
  });
  /** @param {any} element @param {string} url */
  function begin(element, url) {
    const id = loads.begin(url.slice(0, 200));
    let hasPicture = !element.requestVideoFrameCallback;
    const done = () => {
      open.delete(element);
      for (const event of ends) element.removeEventListener(event, loaded);
      element.removeEventListener("error", failed);
      loads.end(id);
    };
    const loaded = () => {
      for (const event of ends) element.removeEventListener(event, loaded);
      if (hasPicture) done(); else setTimeout(() => { if (open.get(element) === done) done(); }, PICTURE_MS);
    };
    if (!hasPicture) element.requestVideoFrameCallback(() => {
      hasPicture = true;
      if (open.get(element) === done) done();
    });
    const failed = () => {
      if (!element.isConnected) loads.fail(url.slice(0, 200));
      done();
    };
    open.set(element, done);
    for (const event of ends) element.addEventListener(event, loaded);
    element.addEventListener("error", failed);
  }
}
