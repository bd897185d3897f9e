// What is drawn first where nothing else decides.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Order } from "../../runner/sessions/page/order.js";

const sceneOf = (...children) => ({ children, traverse(f) { f(this); this.children.forEach(f); } });
const thing = (id, more) => ({ id, children: [], ...more });
const item = (object, more = {}) => ({ object, material: object.material, groupOrder: 0, renderOrder: 0, z: 0, ...more });

test("equally far transparent things are drawn in the order of the scene, whatever their age", () => {
  const order = new Order({}), young = thing(9), old = thing(1);
  order.arrange(sceneOf(young, old), [young, old]);
  assert.ok(order.transparent(item(young), item(old)) < 0);
  assert.ok(order.transparent(item(young), item(old, { z: 1 })) > 0);
});

test("what draws splats comes last, wherever it stands", () => {
  const order = new Order({}), spark = thing(1, { defaultView: {}, pendingUpdate: {} }), grid = thing(2);
  order.arrange(sceneOf(spark, grid), []);
  assert.ok(order.transparent(item(grid), item(spark)) < 0);
  order.arrange(sceneOf(grid, spark), []);
  assert.ok(order.transparent(item(grid), item(spark)) < 0);
});

test("what React has made anew comes to stand where its element does, and all that is not React's behind that", () => {
  const order = new Order({}), [first, lamp, last, foreign] = [1, 2, 3, 4].map((id) => thing(id)), scene = sceneOf(foreign, last, first, lamp);
  order.arrange(scene, [first, lamp, last]);
  assert.deepEqual(scene.children.map(({ id }) => id), [1, 2, 3, 4]);
  assert.ok(order.transparent(item(lamp), item(last)) < 0);
});
