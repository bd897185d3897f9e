// What is made of arrays: clouds of points, and meshes of triangles. The client makes a cloud anew for other arrays, under a
// key that is the time in milliseconds. Twice in one millisecond, or where time stands still for the sake of a job's
// chance, the cloud stays, as a mesh always does. three.js then goes on drawing what is on the GPU, or nothing, where the
// old shape was out of sight.

/** What each was last seen to be made of. @type {WeakMap<any, any[]>} */
const made = new WeakMap();

/**
 * Have an object be drawn as its element was told.
 * @param {any} props the element's
 * @param {any} object
 */
export function renew({ vertices, faces, colors, uv }, object) {
  const before = made.get(object), now = [vertices, faces, colors, uv];
  made.set(object, now);
  if (before && now.some((one, i) => one !== before[i])) upload(object);
}
/**
 * What has a cloud be made of other points or colours, as many of one as of the other; null where it has to be made anew.
 * @param {any} node the element with all that it is told
 * @param {any} cloud
 * @param {string} name "vertices" or "colors"
 */
export function remade({ vertices, colors, rotation }, cloud, name) {
  const { position, color } = cloud.geometry.attributes, attribute = name === "colors" ? color : position;
  const isWhole = vertices instanceof Uint8Array && vertices.length % 6 === 0 && (colors ? colors instanceof Uint8Array && 2 * colors.length === vertices.length : colors === undefined);
  // One that is made anew has forgotten the order of its axes.
  const isOrdered = (rotation && rotation.length > 3) || cloud.rotation.order === "XYZ";
  if (!isWhole || !isOrdered || !attribute || Boolean(color) !== Boolean(colors)) return null;
  return () => {
    const array = name === "colors" ? Float32Array.from(colors, (byte) => byte / 255) : floats(vertices);
    const isAsLong = attribute.array.length === array.length;
    Object.assign(attribute, { array, count: array.length / 3, needsUpdate: true });
    cloud.geometry.boundingSphere = cloud.geometry.boundingBox = null;
    if (!isAsLong) upload(cloud);
  };
}
/** three.js uploads its geometry anew. @param {any} object */
function upload({ isMesh, geometry }) {
  geometry.boundingSphere = geometry.boundingBox = null;
  // There are as many of these as there were corners.
  if (isMesh) { geometry.deleteAttribute("normal"); geometry.computeVertexNormals(); }
  geometry.dispose();
}
/** @type {Float32Array | null} */
let table = null;
/** @param {Uint8Array} bytes half floats */
function floats(bytes) {
  const halfs = new Uint16Array(bytes.slice().buffer), all = table || (table = Float32Array.from({ length: 1 << 16 }, (_, bits) => float(bits)));
  return Float32Array.from(halfs, (bits) => all[bits]);
}
/** @param {number} bits a half float's */
function float(bits) {
  const exponent = (bits >> 10) & 31, part = (bits & 1023) / 1024, sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return part ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + part) * 2 ** (exponent - 15) : part * 2 ** -14);
}
