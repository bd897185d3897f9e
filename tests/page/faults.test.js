// What goes wrong on the page without anybody being told, and what of it makes pictures wrong.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Faults } from "../../runner/sessions/page/faults.js";

function page() {
  const said = [];
  const window = { addEventListener() {}, console: { warn: (...parts) => said.push(parts), error: (...parts) => said.push(parts) } };
  return { said, faults: new Faults(window, () => {}), console: window.console };
}

test("what three.js draws otherwise than it was told makes each picture wrong, and is told once", () => {
  const { faults, console, said } = page();
  console.warn("THREE.Color: Unknown color bleu");
  console.warn("THREE.Color: Unknown color bleu");
  console.error("THREE.WebGLProgram: Shader Error 0", "oops");
  assert.deepEqual(faults.thrown, ["THREE.Color: Unknown color bleu", "THREE.WebGLProgram: Shader Error 0 oops"]);
  assert.equal(said.length, 3);
});

test("other remarks do not", () => {
  const { faults, console } = page();
  console.warn("THREE.Color: Alpha component of rgba(1, 2, 3, 0.5) will be ignored.");
  console.error("THREE.BufferGeometry: Computed radius is NaN", new Error("a"));
  assert.deepEqual([faults.thrown, faults.said.length], [[], 1]);
});
