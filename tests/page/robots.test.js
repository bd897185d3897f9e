// A robot's meshes look as its element was told, whenever they have come.
import assert from "node:assert/strict";
import { test } from "node:test";
import { paint, settle, standing, wrongJoints } from "../../runner/sessions/page/robots.js";

class MeshPhysicalMaterial { constructor(look) { Object.assign(this, look); } }
class MeshBasicMaterial { constructor(look) { Object.assign(this, look); } }
const THREE = { MeshPhysicalMaterial, MeshBasicMaterial };
function robot(...names) {
  const meshes = names.map((name) => ({ isMesh: true, material: { name } }));
  const traverse = (f) => meshes.forEach(f);
  return { meshes, traverse, traverseVisible(f) { if (this.visible) traverse(f); } };
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

test("a robot that is not to be seen is painted too: nothing may tell when it is", () => {
  const it = robot("one");
  paint(THREE, { materialType: "basic" }, it);
  assert.equal(it.meshes[0].material.constructor.name, "MeshBasicMaterial");
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

function arm() {
  const vector = (value) => ({ value, copy(other) { this.value = other.value; } });
  const joint = (jointType, limit) => ({ jointType, limit, jointValue: [0], position: vector("rest"), quaternion: vector("rest") });
  const joints = { elbow: joint("revolute", { lower: 0.3, upper: 2 }), wheel: joint("continuous", { lower: 0, upper: 0 }) };
  return { isURDFRobot: true, children: [], joints, setJointValues(values) {
    let hasMoved = false;
    for (const [name, value] of Object.entries(values)) {
      const it = joints[name];
      it.origPosition ??= vector("rest");
      it.origQuaternion ??= vector("rest");
      if (it.jointValue[0] === value) continue;
      it.jointValue[0] = value;
      it.quaternion.value = `turned by ${value}`;
      hasMoved = true;
    }
    return hasMoved;
  } };
}

test("what a set of joint values does not name stands as the file has it", () => {
  const it = arm(), stand = () => Object.values(it.joints).map(({ quaternion }) => quaternion.value);
  it.setJointValues({ elbow: 1 });
  settle({ jointValues: { elbow: 1 } }, it);
  settle({}, it);
  assert.equal(it.setJointValues({ wheel: 5 }), true);
  assert.deepEqual(stand(), ["rest", "turned by 5"]);
  assert.equal(it.setJointValues({}), true);
  assert.deepEqual(stand(), ["rest", "rest"]);
  assert.equal(it.setJointValues({}), false);
});

test("a robot that was moved before anything looked at it stands as it was told last", () => {
  const it = arm();
  it.setJointValues({ wheel: 5 });
  it.setJointValues({ elbow: 1 });
  settle({ jointValues: { elbow: 1 } }, it);
  assert.deepEqual(Object.values(it.joints).map(({ quaternion }) => quaternion.value), ["turned by 1", "rest"]);
});

test("joints are put without React only where the whole pose counts, and none is wrong or was", () => {
  const it = arm(), right = { wheel: 5 }, wrong = { elbow: 9 };
  assert.equal(standing({}, right, it), null);
  settle({}, it);
  assert.deepEqual([standing({}, wrong, it), standing(wrong, right, it)], [null, null]);
  standing(undefined, { elbow: 1 }, it)();
  standing({ elbow: 1 }, right, it)();
  assert.deepEqual(Object.values(it.joints).map(({ quaternion }) => quaternion.value), ["rest", "turned by 5"]);
});

test("a value beyond a joint's limits is told; a wheel has none", () => {
  const told = (jointValues) => wrongJoints({ _key: "arm", jointValues }, arm());
  assert.match(told({ elbow: 2.1 }), /arm: its joint elbow is to stand at 2.1, and its limits in the file are 0.3 and 2/);
  assert.match(told({ elbow: 0 }), /stand at 0/);
  assert.match(told({ knee: 0 }), /no joint knee; it has: elbow, wheel/);
  assert.equal(told({ elbow: 2.0000001, wheel: 99 }), "");
});
