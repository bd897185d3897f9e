// A material's shader is that of what it was told last.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isToldOtherwise, recompile } from "../../runner/sessions/page/materials.js";

test("a material is compiled anew where its shader depends on what was changed, and only then", () => {
  const it = { isMaterial: true, transparent: false, side: 0, color: "red", map: null }, steps = [];
  const told = (change) => { Object.assign(it, change); it.needsUpdate = false; recompile(it); steps.push(it.needsUpdate); };
  for (const change of [{}, {}, { color: "blue" }, { transparent: true }, {}, { side: 2 }, { map: { isTexture: true } }, { map: { isTexture: true } }, { map: null }]) told(change);
  assert.deepEqual(steps, [false, false, false, true, false, true, true, false, true]);
});

test("a material that is told values under other names is told of once", () => {
  const it = { __r3f: { props: { color: "red" } } };
  const seen = () => isToldOtherwise(it);
  assert.deepEqual([seen(), seen()], [false, false]);
  it.__r3f.props = { color: "blue" };
  assert.equal(seen(), false);
  it.__r3f.props = { opacity: 0.5 };
  assert.deepEqual([seen(), seen()], [true, false]);
  assert.equal(isToldOtherwise({}), false);
});
