// What a Center holds is put where it belongs once it is there.
import assert from "node:assert/strict";
import { test } from "node:test";
import { center } from "../../runner/sessions/page/center.js";

class Vector3 { constructor(x = 0, y = 0, z = 0) { Object.assign(this, { x, y, z }); } }
/** A box of 2 by 4 by 6 around (5, 0, 1), or none. */
const THREE = (isEmpty) => ({
  Vector3,
  Sphere: class {},
  Box3: class {
    setFromObject() { return this; }
    isEmpty() { return isEmpty; }
    getSize() { return new Vector3(2, 4, 6); }
    getCenter() { return new Vector3(5, 0, 1); }
    getBoundingSphere() { return { radius: 3.7 }; }
  },
});
const placed = (props, isEmpty = false) => {
  const place = [];
  const moved = { matrixWorld: { identity() {} }, position: { set: (...to) => place.push(...to) }, children: [{}] };
  const measured = center(THREE(isEmpty), props, { children: [moved] });
  return { place, measured };
};

test("its middle comes to the origin, or an end of it", () => {
  assert.deepEqual(placed({}).place, [-5, 0, -1]);
  assert.deepEqual(placed({ top: true, left: true, disableZ: true }).place, [-6, 2, 0]);
});

test("what is not to be centred stays at the origin", () => {
  assert.deepEqual(placed({ disable: true }).place.map(Math.abs), [0, 0, 0]);
});

test("its size is told as the client tells it, and not as long as it holds nothing", () => {
  const { width, height, depth, boundingSphere } = placed({}).measured;
  assert.deepEqual([width, height, depth, boundingSphere.radius], [2, 4, 6, 3.7]);
  assert.deepEqual(placed({}, true), { place: [], measured: null });
});
