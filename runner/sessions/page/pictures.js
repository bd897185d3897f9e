// Pictures of any format, and depth in 24 bits.
//
// The client reads a camera's pixels, throws them away, and has the canvas read and encoded once more. Here
// the pixels that it has read are encoded; these are the same pixels.
import { FORMATS, LARGEST_MESSAGE_BYTES } from "./protocol.js";
import { LOST } from "./line.js";
import { Lookup } from "./lookup.js";

/** @typedef {import("./protocol.js").Grab} Grab */
/** @typedef {{ width: number, height: number, pixels: Uint8Array, isLost: boolean }} Read */
/** @typedef {{ grab: Grab, seen: boolean[] }} Shot the result of the request that the client is handling */

const DEPTH_OF_CLIENT = "gl_FragColor.rgb = 1.0 - vec3( depth );";
// The largest number means that nothing is there. Red, green and blue are the digits of a number to the base 256.
const DEPTH_IN_24_BITS = `
  float d = texture2D( tDepth, vUv ).x < 1.0 ? min( depth, 0.99999988 ) : 0.99999994;
  gl_FragColor.rgb = floor( fract( d * vec3( 1.0, 256.0, 65536.0 ) ) * 256.0 ) / 255.0;`;
const SOFTWARE = /swiftshader|llvmpipe/i;

export class Pictures {
  /** @type {Shot | null} */ #shot = null;
  /** See lookup.js. */ #canLookUp = false;
  #isPlain;

  /**
   * @param {Window & typeof globalThis} window
   * @param {boolean} isPlain for comparing: the canvas is encoded as the client does
   * @param {(grab: Grab, reason: string, isLost: boolean) => void} onFail told of a picture that cannot be made
   */
  constructor(window, isPlain, onFail) {
    this.#isPlain = isPlain;
    /** @type {WeakMap<any, Read>} */
    const lastRead = new WeakMap(); // by canvas
    /** @type {WeakMap<any, Grab>} */
    const requestOf = new WeakMap(); // likewise
    for (const Context of [window.WebGL2RenderingContext, window.WebGLRenderingContext]) {
      if (Context) this.#watchContext(Context.prototype, lastRead, requestOf);
    }
    if (window.OffscreenCanvas) this.#watchEncoder(window, lastRead, requestOf, onFail);
  }
  /** Tell it the page's renderer. @param {string} renderer */
  drawnBy(renderer) { this.#canLookUp = !this.#isPlain && SOFTWARE.test(renderer); }
  /**
   * Watch for pixels that are read. The function that it returns ends that, and tells for each reading whether it was
   * good.
   * @param {Grab} grab
   */
  expose(grab) {
    /** @type {Shot} */
    const shot = this.#shot = { grab, seen: [] };
    return () => { this.#shot = null; return shot.seen; };
  }
  /** The pixels are already read, except depth, which is read when the first picture is encoded. @param {Grab} grab */
  isReadLater(grab) { return grab.depth || this.#isPlain; }

  /**
   * @param {any} prototype of WebGL contexts
   * @param {WeakMap<any, Read>} lastRead
   * @param {WeakMap<any, Grab>} requestOf
   */
  #watchContext(prototype, lastRead, requestOf) {
    const read = prototype.readPixels, draw = prototype.drawElements, clear = prototype.clear;
    const mark = crypto.getRandomValues(new Uint8Array(16));
    const shotNow = () => this.#shot;
    const lookupOf = (/** @type {any} */ gl) => {
      const shot = this.#shot;
      if (!this.#canLookUp || !shot || shot.grab.format !== "jpeg" || shot.grab.depth) return null;
      return gl instanceof WebGL2RenderingContext ? Lookup.of(gl) : null;
    };
    prototype.clear = function () {
      const lookup = lookupOf(this);
      if (lookup) lookup.cleared(shotNow());
      return clear.apply(this, arguments);
    };
    prototype.drawElements = function (/** @type {number} */ mode, /** @type {number} */ count) {
      const lookup = lookupOf(this), isCopy = lookup && lookup.isCopy(mode, count);
      if (isCopy && lookup.isTrusted) return;
      draw.apply(this, arguments);
      if (isCopy) lookup.learn(() => draw.apply(this, arguments), read);
    };
    prototype.readPixels = function (
      /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ width, /** @type {number} */ height,
      /** @type {number} */ format, /** @type {number} */ type, /** @type {any} */ pixels,
    ) {
      const shot = shotNow();
      const isWhole = !x && !y && width === this.canvas.width && height === this.canvas.height && pixels instanceof Uint8Array;
      const lookup = isWhole ? lookupOf(this) : null;
      let isLost = false;
      const found = lookup && lookup.isTrusted ? lookup.read(width, height, read, mark) : null;
      if (found) {
        pixels = found.pixels;
        isLost = found.isLost;
      } else {
        // The context learns late that the GPU process has died; unchanged pixels show it at once.
        const canTell = (shot || requestOf.has(this.canvas)) && pixels instanceof Uint8Array && pixels.length >= mark.length;
        if (canTell) pixels.set(mark);
        read.apply(this, arguments);
        isLost = Boolean(canTell) && mark.every((byte, i) => pixels[i] === byte);
        if (lookup && !lookup.isOff && !isLost) pixels = lookup.check(pixels, width, height, read, mark) || pixels;
      }
      isLost = isLost || this.isContextLost();
      if (shot) {
        shot.seen.push(!isLost);
        requestOf.set(this.canvas, shot.grab);
      }
      if (isWhole) lastRead.set(this.canvas, { width, height, pixels, isLost });
    };
    const compile = prototype.shaderSource;
    prototype.shaderSource = function (/** @type {any} */ shader, /** @type {string} */ source) {
      return compile.call(this, shader, source.includes(DEPTH_OF_CLIENT) ? source.replace(DEPTH_OF_CLIENT, DEPTH_IN_24_BITS) : source);
    };
  }
  /**
   * @param {Window & typeof globalThis} window
   * @param {WeakMap<any, Read>} lastRead
   * @param {WeakMap<any, Grab>} requestOf
   * @param {(grab: Grab, reason: string, isLost: boolean) => void} onFail
   */
  #watchEncoder(window, lastRead, requestOf, onFail) {
    const isPlain = this.#isPlain, encoder = new Encoder(window);
    const prototype = /** @type {any} */ (window.OffscreenCanvas.prototype), encode = prototype.convertToBlob;
    // Splats are drawn again once they are sorted, so one request may have several pictures.
    /** How many there were; of a camera with depth, every second one is the depth. @type {WeakMap<Grab, number>} */
    const countOf = new WeakMap();
    /** What the pictures of a request take. @type {WeakMap<Grab, number>} */
    const bytesOf = new WeakMap();
    prototype.convertToBlob = function (/** @type {any} */ options) {
      const read = lastRead.get(this), grab = requestOf.get(this);
      if (!grab) return encode.apply(this, arguments);
      lastRead.delete(this);
      const count = countOf.get(grab) || 0;
      countOf.set(grab, count + 1);
      const type = grab.depth && count % 2 ? "raw" : FORMATS[grab.format];
      // WebP is lossless at quality 1.
      const quality = type === "image/jpeg" ? options.quality : 1;
      const context = this.getContext("webgl2") || this.getContext("webgl");
      const isEncodedHere = read && (!isPlain || type === "raw"); // a canvas cannot give bare pixels
      const blob = isEncodedHere ? encoder.blob(read, type, quality) : encode.call(this, { type, quality });
      const isLost = () => Boolean((read && read.isLost) || (context && context.isContextLost()));
      const picture = blob.then((/** @type {any} */ blob) => {
        if (isLost()) throw new Error(LOST);
        const bytes = (bytesOf.get(grab) || 0) + blob.size;
        bytesOf.set(grab, bytes);
        // The server would end the connection; the rest of a message takes little.
        if (bytes > LARGEST_MESSAGE_BYTES - 65536) {
          throw new Error(`${bytes} bytes, and ${LARGEST_MESSAGE_BYTES} may be sent at once: take a smaller one`);
        }
        return blob;
      });
      picture.catch((/** @type {any} */ error) => {
        onFail(grab, isLost() ? LOST : `the camera gave no picture: ${error}`, isLost());
      });
      return picture;
    };
  }
}

/** Makes a picture of pixels. */
class Encoder {
  #sheet; #context;
  /** @type {ImageData | null} */ #image = null;

  // toDataURL is the cheapest encoder: it answers at once, while a Blob goes through the browser's own process.
  /** @param {Window & typeof globalThis} window */
  constructor(window) {
    this.#sheet = window.document.createElement("canvas");
    this.#context = this.#sheet.getContext("2d", { alpha: false, willReadFrequently: true });
  }
  /**
   * The parts of a Blob that the client uses.
   * @param {Read} read
   * @param {string} type
   * @param {number} quality
   */
  async blob(read, type, quality) {
    const bytes = this.#encode(read, type, quality);
    return { size: bytes.byteLength, arrayBuffer: () => Promise.resolve(bytes) };
  }
  /** @param {Read} read @param {string} type @param {number} quality */
  #encode({ pixels, width, height }, type, quality) {
    let image = this.#image;
    if (!image || image.width !== width || image.height !== height) {
      image = this.#image = new ImageData(width, height);
      Object.assign(this.#sheet, { width, height });
    }
    const row = 4 * width; // WebGL reads rows from the bottom up
    for (let y = 0; y < height; y++) {
      image.data.set(pixels.subarray((height - 1 - y) * row, (height - y) * row), y * row);
    }
    if (type === "raw") {
      const bytes = new Uint8Array(12 + image.data.length);
      bytes.set([82, 71, 66, 65]); // "RGBA", then width and height as little-endian 32 bits
      new DataView(bytes.buffer).setUint32(4, width, true);
      new DataView(bytes.buffer).setUint32(8, height, true);
      bytes.set(image.data, 12);
      return bytes.buffer;
    }
    if (this.#context) this.#context.putImageData(image, 0, 0);
    const url = this.#sheet.toDataURL(type, quality), head = `data:${type};base64,`;
    if (!url.startsWith(head)) throw new Error(`this browser cannot write ${type} of ${width}x${height}`);
    const text = url.slice(head.length), fromBase64 = /** @type {any} */ (Uint8Array).fromBase64;
    return (fromBase64 ? fromBase64.call(Uint8Array, text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0))).buffer;
  }
}

/**
 * The renderer here; some browsers hide WEBGL_debug_renderer_info.
 * @param {Window & typeof globalThis} window
 */
export function rendererName(window) {
  const gl = window.document.createElement("canvas").getContext("webgl2");
  if (!gl) return "";
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  const release = gl.getExtension("WEBGL_lose_context"); // a page may hold few contexts
  if (release) release.loseContext();
  return String(name);
}
