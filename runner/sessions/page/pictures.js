// What runner adds to the page of Vuer's web client: pictures of any format, and depth in 24 bits.
//
// The client reads a camera's pixels, throws them away, and has the canvas read and encoded once more. Here
// the pixels that it has read are encoded; these are the same pixels.
const PLAIN = /[?&]plain=true/.test(location.search); // for comparing: the canvas is encoded as the client does
const DEPTH_OF_CLIENT = "gl_FragColor.rgb = 1.0 - vec3( depth );";
const SOFTWARE = /swiftshader|llvmpipe/i;
// The largest number is for where nothing is.
const DEPTH_IN_24_BITS = `
  float d = texture2D( tDepth, vUv ).x < 1.0 ? min( depth, 0.99999988 ) : 0.99999994;
  gl_FragColor.rgb = floor( fract( d * vec3( 1.0, 256.0, 65536.0 ) ) * 256.0 ) / 255.0;`;

let shot = null; // what the picture request that is being handed to the client leads to
let canLookUp = false; // see lookup.js
const lastRead = new WeakMap(), requestOf = new WeakMap(); // by canvas
const LOST = "the camera's WebGL context was lost";
const MARK = crypto.getRandomValues(new Uint8Array(16));
for (const Context of [window.WebGL2RenderingContext, window.WebGLRenderingContext]) {
  if (!Context) continue;
  const read = Context.prototype.readPixels, draw = Context.prototype.drawElements, clear = Context.prototype.clear;
  const lookupOf = (gl) => (
    canLookUp && shot && shot.grab.format === "jpeg" && !shot.grab.depth && gl instanceof WebGL2RenderingContext ? Lookup.of(gl) : null
  );
  Context.prototype.clear = function () {
    const lookup = lookupOf(this);
    if (lookup) lookup.cleared(shot);
    return clear.apply(this, arguments);
  };
  Context.prototype.drawElements = function (mode, count) {
    const lookup = lookupOf(this), isCopy = lookup && lookup.isCopy(mode, count);
    if (isCopy && lookup.isTrusted) return;
    draw.apply(this, arguments);
    if (isCopy) lookup.learn(() => draw.apply(this, arguments), read);
  };
  Context.prototype.readPixels = function (x, y, width, height, format, type, pixels) {
    const isWhole = !x && !y && width === this.canvas.width && height === this.canvas.height && pixels instanceof Uint8Array;
    const lookup = isWhole ? lookupOf(this) : null;
    let isLost = false;
    const found = lookup && lookup.isTrusted ? lookup.read(width, height, read, MARK) : null;
    if (found) {
      pixels = found.pixels;
      isLost = found.isLost;
    } else {
      // Of a GPU process that died just now the context learns later; pixels that stay as they were tell at once.
      const canTell = (shot || requestOf.has(this.canvas)) && pixels instanceof Uint8Array && pixels.length >= MARK.length;
      if (canTell) pixels.set(MARK);
      read.apply(this, arguments);
      isLost = canTell && MARK.every((byte, i) => pixels[i] === byte);
      if (lookup && !lookup.isOff && !isLost) lookup.check(pixels, width, height, read, MARK);
    }
    isLost = isLost || this.isContextLost();
    if (shot) {
      shot.seen.push(!isLost);
      requestOf.set(this.canvas, shot.grab);
    }
    if (isWhole) lastRead.set(this.canvas, { width, height, pixels, isLost });
  };
  // Depth in 24 bits instead of 8: red, green and blue are the digits of a number to the base 256.
  const compile = Context.prototype.shaderSource;
  Context.prototype.shaderSource = function (shader, source) {
    return compile.call(this, shader, source.includes(DEPTH_OF_CLIENT) ? source.replace(DEPTH_OF_CLIENT, DEPTH_IN_24_BITS) : source);
  };
}

// toDataURL is the encoder that costs least: it answers at once, where a Blob is made by way of the
// browser's own process.
const sheet = document.createElement("canvas");
const sheetContext = sheet.getContext("2d", { alpha: false, willReadFrequently: true });
let image = null;
function encodePixels({ pixels, width, height }, type, quality) {
  if (!image || image.width !== width || image.height !== height) {
    image = new ImageData(width, height);
    Object.assign(sheet, { width, height });
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
  sheetContext.putImageData(image, 0, 0);
  const url = sheet.toDataURL(type, quality), head = `data:${type};base64,`;
  if (!url.startsWith(head)) throw new Error(`this browser cannot write ${type} of ${width}x${height}`);
  const text = url.slice(head.length);
  return (Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0))).buffer;
}
const encoded = async (read, type, quality) => {
  const bytes = encodePixels(read, type, quality);
  return { arrayBuffer: () => Promise.resolve(bytes) };
};
const TYPES = { jpeg: "image/jpeg", png: "image/png", webp: "image/webp", raw: "raw" };
const encode = window.OffscreenCanvas && OffscreenCanvas.prototype.convertToBlob;
if (encode) OffscreenCanvas.prototype.convertToBlob = function (options) {
  const read = lastRead.get(this), grab = requestOf.get(this);
  if (!grab) return encode.apply(this, arguments);
  lastRead.delete(this);
  const isDepth = grab.isDepth; // a camera's second picture
  grab.isDepth = true;
  const type = isDepth ? "raw" : TYPES[grab.format];
  // WebP is lossless at quality 1.
  const quality = type === "image/jpeg" ? options.quality : 1;
  const context = this.getContext("webgl2") || this.getContext("webgl");
  const blob = PLAIN || !read ? encode.call(this, { type, quality }) : encoded(read, type, quality);
  const isLost = () => (read && read.isLost) || (context && context.isContextLost());
  const picture = blob.then((blob) => {
    if (isLost()) throw new Error(LOST);
    return blob;
  });
  picture.catch((error) => {
    if (line) line.noPicture(grab, isLost() ? LOST : `the camera gave no picture: ${error}`, Boolean(isLost()));
  });
  return picture;
};
