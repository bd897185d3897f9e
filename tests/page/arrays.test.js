// What is made of arrays is on the GPU as it was told last.
import assert from "node:assert/strict";
import { test } from "node:test";
import { remade, renew } from "../../runner/sessions/page/arrays.js";

function cloud(more = {}) {
  const told = [], attributes = { position: { array: [] }, color: { array: [] } };
  const geometry = { boundingSphere: {}, boundingBox: {}, attributes, dispose: () => told.push("uploaded") };
  return { told, rotation: { order: "XYZ" }, geometry, ...more };
}
/** Three half floats a point, and three bytes a colour. */
const halfs = (...bits) => new Uint8Array(Uint16Array.from(bits).buffer);
const vertices = halfs(0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x3555), colors = Uint8Array.of(255, 0, 51, 1, 2, 3);

test("a cloud that has not been made anew for other points or colours is uploaded anew, once", () => {
  const it = cloud();
  renew({ vertices, colors }, it);
  renew({ vertices, colors }, it);
  assert.deepEqual(it.told, []);
  renew({ vertices: halfs(1, 2, 3), colors }, it);
  renew({ vertices, colors: Uint8Array.of(1, 2, 3, 4, 5, 6) }, it);
  assert.deepEqual([it.told, it.geometry.boundingSphere], [["uploaded", "uploaded"], null]);
});

test("a mesh gets as many normals as it has corners now", () => {
  const it = cloud({ isMesh: true }), faces = Uint8Array.of(0, 1, 2);
  it.geometry.deleteAttribute = (name) => it.told.push(`no ${name}`);
  it.geometry.computeVertexNormals = () => it.told.push("normals");
  renew({ vertices, faces }, it);
  renew({ vertices, faces: Uint8Array.of(2, 1, 0) }, it);
  assert.deepEqual(it.told, ["no normal", "normals", "uploaded"]);
});

test("points are the numbers that their half floats mean, colours are parts of 255", () => {
  const it = cloud();
  remade({ vertices, colors }, it, "vertices")();
  remade({ vertices, colors }, it, "colors")();
  const { position, color } = it.geometry.attributes;
  assert.deepEqual([...position.array], [1, -2, 2 ** -24, 65504, -0, 1365 / 4096]);
  assert.deepEqual([...color.array], [...Float32Array.of(1, 0, 51 / 255, 1 / 255, 2 / 255, 3 / 255)]);
  assert.deepEqual([position.count, color.count], [2, 2]);
});

test("as many points as before take the place of those on the GPU", () => {
  const it = cloud();
  remade({ vertices, colors }, it, "vertices")();
  assert.deepEqual(it.told, ["uploaded"]);
  it.geometry.boundingSphere = {};
  remade({ vertices, colors }, it, "vertices")();
  assert.deepEqual([it.told, it.geometry.boundingSphere, it.geometry.attributes.position.needsUpdate], [["uploaded"], null, true]);
});

test("a part of a view's bytes is taken as it is", () => {
  const it = cloud(), bytes = new Uint8Array([9, ...vertices, 9]).subarray(1, 13);
  remade({ vertices: bytes, colors }, it, "vertices")();
  assert.equal(it.geometry.attributes.position.array[1], -2);
});

test("what React makes differently is left to it", () => {
  const bare = cloud();
  delete bare.geometry.attributes.color;
  const cases = [
    [{ vertices, colors: colors.subarray(3) }, cloud()],
    [{ vertices: vertices.subarray(2), colors }, cloud()],
    [{ vertices, colors: null }, cloud()],
    [{ vertices }, cloud()], // it had colours
    [{ vertices, colors }, bare],
    [{ vertices, colors, rotation: [0, 0, 1] }, cloud({ rotation: { order: "ZYX" } })],
  ];
  for (const [node, it] of cases) assert.equal(remade(node, it, "vertices"), null);
  assert.equal(typeof remade({ vertices, colors, rotation: [0, 0, 1, "ZYX"] }, cloud({ rotation: { order: "ZYX" } }), "vertices"), "function");
});
