// What runner adds to the page of Vuer's web client: a cheaper way to the same pixels where no GPU draws.
//
// The client draws a picture in linear light into a target of half floats, and copies that onto its canvas
// by a shader that makes a byte of each; in software, this copy takes a third of the drawing. Here the half
// floats are read, and a table makes the bytes: the client's own shader has filled it, from all the half
// floats that there are. The client's shader mixes a millionth of a pixel's neighbours into it, which can
// make a difference of one level where these glare: so this is for JPEGs only, which are lossy anyway, and
// only after its bytes were compared with those of the client's way CHECKS times.
/** @typedef {{ pixels: Uint8Array, isLost: boolean }} Found */
/** @typedef {{ call(gl: WebGL2RenderingContext, ...rest: any[]): void }} ReadPixels WebGL's own readPixels */

/** @type {WeakMap<WebGL2RenderingContext, Lookup>} */
const lookups = new WeakMap();

export class Lookup {
  static CHECKS = 3;
  /** @param {WebGL2RenderingContext} gl @returns {Lookup} */
  static of(gl) {
    let lookup = lookups.get(gl);
    if (!lookup) lookups.set(gl, lookup = new Lookup(gl));
    return lookup;
  }
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    /** The byte of each half float. @type {Uint8Array | null} */
    this.table = null;
    /** @type {Uint16Array | null} */
    this.halfs = null;
    /** The picture that is being drawn. @type {any} */
    this.shot = null;
    /** The target that it is drawn into. @type {WebGLFramebuffer | null} */
    this.target = null;
    /** Whether its half floats can be read; asking makes the page wait for the GPU. @type {WeakMap<WebGLFramebuffer, boolean>} */
    this.canRead = new WeakMap();
    this.checksLeft = Lookup.CHECKS;
    this.isOff = false;
  }
  get isTrusted() { return !this.isOff && this.checksLeft === 0; }
  /**
   * The target that is cleared first for a picture is the one that the scene is drawn into.
   * @param {any} shot
   */
  cleared(shot) {
    if (this.shot === shot) return;
    this.shot = shot;
    this.target = this.gl.getParameter(this.gl.DRAW_FRAMEBUFFER_BINDING);
  }
  /**
   * Whether what is about to be drawn is the copy onto the canvas.
   * @param {number} mode
   * @param {number} count
   */
  isCopy(mode, count) {
    return this.target && mode === this.gl.TRIANGLES && count === 6 && !this.gl.getParameter(this.gl.DRAW_FRAMEBUFFER_BINDING);
  }
  /**
   * The copy has just been drawn, and all it needs is still bound: draw all half floats by it.
   * @param {() => void} draw
   * @param {ReadPixels} readPixels
   */
  learn(draw, readPixels) {
    if (this.table || this.isOff) return;
    const { gl } = this, side = 256, all = new Uint16Array(4 * side * side), bytes = new Uint8Array(all.length);
    for (let half = 0; half < side * side; half++) all.set([half, half, half, 0x3c00], 4 * half);
    const unpacking = [gl.UNPACK_FLIP_Y_WEBGL, gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, gl.UNPACK_ALIGNMENT];
    const kept = {
      texture: gl.getParameter(gl.TEXTURE_BINDING_2D), viewport: gl.getParameter(gl.VIEWPORT),
      unpack: unpacking.map((name) => gl.getParameter(name)),
    };
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4);
    const [drawn, source] = [gl.createTexture(), gl.createTexture()], frame = gl.createFramebuffer();
    gl.bindTexture(gl.TEXTURE_2D, drawn);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, side, side, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, drawn, 0);
    gl.bindTexture(gl.TEXTURE_2D, source);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16F, side, side, 0, gl.RGBA, gl.HALF_FLOAT, all);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    gl.viewport(0, 0, side, side);
    draw();
    readPixels.call(gl, 0, 0, side, side, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(kept.viewport[0], kept.viewport[1], kept.viewport[2], kept.viewport[3]);
    gl.bindTexture(gl.TEXTURE_2D, kept.texture);
    unpacking.forEach((name, i) => gl.pixelStorei(name, kept.unpack[i]));
    gl.deleteFramebuffer(frame);
    for (const texture of [drawn, source]) gl.deleteTexture(texture);
    this.table = new Uint8Array(side * side);
    for (let half = 0; half < side * side; half++) this.table[half] = bytes[4 * half];
  }
  /**
   * The picture's bytes by the table; null where the target cannot be read so.
   * @param {number} width
   * @param {number} height
   * @param {ReadPixels} readPixels
   * @param {Uint8Array} mark bytes that tell whether anything was read
   * @returns {Found | null}
   */
  read(width, height, readPixels, mark) {
    const { gl, target, table } = this;
    if (!table || !target) return null;
    const pixels = new Uint8Array(4 * width * height), words = new Uint32Array(pixels.buffer);
    if (!this.halfs || this.halfs.length !== pixels.length) this.halfs = new Uint16Array(pixels.length);
    const { halfs } = this, seen = new Uint8Array(halfs.buffer, 0, mark.length);
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, target);
    let canRead = this.canRead.get(target);
    if (canRead === undefined) {
      canRead = gl.getParameter(gl.IMPLEMENTATION_COLOR_READ_TYPE) === gl.HALF_FLOAT;
      this.canRead.set(target, canRead);
    }
    if (canRead) {
      seen.set(mark);
      readPixels.call(gl, 0, 0, width, height, gl.RGBA, gl.HALF_FLOAT, halfs);
    }
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, null);
    if (!canRead) return null;
    for (let i = 0, half = 0; i < words.length; i++, half += 4) { // all machines with a browser are little-endian
      words[i] = table[halfs[half]] | (table[halfs[half + 1]] << 8) | (table[halfs[half + 2]] << 16) | 0xff000000;
    }
    return { pixels, isLost: mark.every((byte, i) => seen[i] === byte) };
  }
  /**
   * Compare with what the client's own way gave. Returns the picture's bytes by the table, if these are good: the first
   * pictures of a page are to be made as the later ones are.
   * @param {Uint8Array} pixels
   * @param {number} width
   * @param {number} height
   * @param {ReadPixels} readPixels
   * @param {Uint8Array} mark
   * @returns {Uint8Array | null}
   */
  check(pixels, width, height, readPixels, mark) {
    const mine = this.read(width, height, readPixels, mark);
    let others = 0;
    const isAlike = mine && !mine.isLost && mine.pixels.every((byte, i) => {
      others += Number(byte !== pixels[i]);
      return Math.abs(byte - pixels[i]) <= 1;
    });
    if (!isAlike || others > pixels.length / 1000) {
      this.isOff = true;
      return null;
    }
    this.checksLeft--;
    return mine.pixels;
  }
}
