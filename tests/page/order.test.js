// What is drawn first where nothing else decides.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Order } from "../../runner/sessions/page/order.js";

const sceneOf = (...objects) => ({ traverse: (f) => objects.forEach(f) });
const item = (object, more = {}) => ({ object, material: object.material, groupOrder: 0, renderOrder: 0, z: 0, ...more });

test("equally far transparent things are drawn in the order of the scene, whatever their age", () => {
  const order = new Order({}), young = { id: 9 }, old = { id: 1 };
  order.arrange(sceneOf(young, old));
  assert.ok(order.transparent(item(young), item(old)) < 0);
  assert.ok(order.transparent(item(young), item(old, { z: 1 })) > 0);
});

test("what draws splats comes last, wherever it stands", () => {
  const order = new Order({}), spark = { id: 1, defaultView: {}, pendingUpdate: {} }, grid = { id: 2 };
  order.arrange(sceneOf(spark, grid));
  assert.ok(order.transparent(item(grid), item(spark)) < 0);
  order.arrange(sceneOf(grid, spark));
  assert.ok(order.transparent(item(grid), item(spark)) < 0);
});
