// Materials: three.js compiles a shader for what a material is when it is first drawn. What the client changes later may
// need another, and three.js watches only a part of that: a material that became transparent was drawn opaque. And the
// client makes a material anew where it is told values under other names, but one rendering too late.

// What three.js compiles for, and does not watch.
const COMPILED = ["transparent", "side", "flatShading", "vertexColors", "fog", "toneMapped", "blending", "premultipliedAlpha",
  "alphaToCoverage", "dithering", "combine", "normalMapType", "depthPacking"];

/** What each was last seen to be compiled for. @type {WeakMap<any, string>} */
const compiled = new WeakMap();
/** Under which names each was last seen to be told values. @type {WeakMap<any, string>} */
const told = new WeakMap();

/** Have a material compiled anew if it was changed so. @param {any} material */
export function recompile(material) {
  const maps = Object.keys(material).filter((name) => material[name] && material[name].isTexture);
  if (isOther(compiled, material, [...COMPILED.map((name) => material[name]), ...maps])) material.needsUpdate = true;
}
/** Whether a material is told values under other names than before. @param {any} material */
export function isToldOtherwise(material) {
  return Boolean(material.__r3f) && isOther(told, material, Object.keys(material.__r3f.props));
}
/** @param {WeakMap<any, string>} seen @param {any} material @param {any[]} now */
function isOther(seen, material, now) {
  const before = seen.get(material), text = now.join();
  seen.set(material, text);
  return before !== undefined && before !== text;
}
