// A robot's meshes look as its element was told, whenever they have come.
import assert from "node:assert/strict";
import { test } from "node:test";
import { paint } from "../../runner/sessions/page/robots.js";

class MeshPhysicalMaterial { constructor(look) { Object.assign(this, look); } }
class MeshBasicMaterial { constructor(look) { Object.assign(this, look); } }
const THREE = { MeshPhysicalMaterial, MeshBasicMaterial };
function robot(...names) {
  const meshes = names.map((name) => ({ isMesh: true, material: { name } }));
  return { meshes, traverseVisible: (f) => meshes.forEach(f) };
}

test("a mesh that comes later is painted as the others are, and none twice", () => {
  const it = robot("early");
  paint(THREE, { materialType: "physical" }, it);
  const first = it.meshes[0].material;
  it.meshes.push({ isMesh: true, material: { name: "late" } });
  paint(THREE, { materialType: "physical" }, it);
  assert.deepEqual(it.meshes.map(({ material }) => material.constructor.name), ["MeshPhysicalMaterial", "MeshPhysicalMaterial"]);
  assert.equal(it.meshes[0].material, first);
});

test("another look under the same key is that of an element made so", () => {
  const it = robot("one");
  paint(THREE, { materialType: "basic", material: { color: "red", opacity: 0.5 } }, it);
  paint(THREE, { materialType: "basic", material: { color: "blue" } }, it);
  assert.deepEqual({ ...it.meshes[0].material }, { color: "blue" });
});

test("without a type the file's own look stays; opacity is all meshes'", () => {
  const it = robot("one", "two");
  paint(THREE, { materialType: "", opacity: 0.5 }, it);
  assert.deepEqual(it.meshes.map(({ material }) => [material.name, material.opacity, material.transparent]), [["one", 0.5, true], ["two", 0.5, true]]);
});
