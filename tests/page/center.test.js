// What a Center holds is put where it belongs once it is there.
import assert from "node:assert/strict";
import { test } from "node:test";
import { center } from "../../runner/sessions/page/center.js";

class Vector3 { constructor(x = 0, y = 0, z = 0) { Object.assign(this, { x, y, z }); } }
/** A box of 2 by 4 by 6 around (5, 0, 1), or none. */
const THREE = (isEmpty) => ({
  Vector3,
  Box3: class {
    setFromObject() { return this; }
    isEmpty() { return isEmpty; }
    getSize() { return new Vector3(2, 4, 6); }
    getCenter() { return new Vector3(5, 0, 1); }
  },
});
const placed = (props, isEmpty = false) => {
  const place = [];
  const moved = { matrixWorld: { identity() {} }, position: { set: (...to) => place.push(...to) }, children: [{}] };
  center(THREE(isEmpty), props, { children: [moved] });
  return place;
};

test("its middle comes to the origin, or an end of it", () => {
  assert.deepEqual(placed({}), [-5, 0, -1]);
  assert.deepEqual(placed({ top: true, left: true, disableZ: true }), [-6, 2, 0]);
});

test("what holds nothing yet, or is not to be centred, stays where it is", () => {
  assert.deepEqual([placed({}, true), placed({ disable: true })], [[], []]);
});
