// The fence, the lens, and what is taken off the GPU.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Scene } from "../../runner/sessions/page/scene.js";

const sceneOf = (objects, held = new Set(), films = []) => new Scene({
  *stores() { yield { scene: { getObjectByName: (name) => objects[name] } }; },
  held: () => held,
  texts: () => [],
  films: () => films,
  centers: () => [],
});

/** A camera that notes what it is told. */
const eye = (updateProjectionMatrix) => {
  const camera = { parent: {}, fov: 50, near: 0.1, told: {}, updateProjectionMatrix };
  for (const name of ["scale", "position", "rotation", "quaternion", "up"]) {
    camera[name] = { set: (...values) => { camera.told[name] = values; } };
  }
  camera.lookAt = (...target) => { camera.told.lookAt = target; };
  camera.matrix = { fromArray: (matrix) => ({ decompose: () => { camera.told.matrix = matrix; } }) };
  return camera;
};

test("the fence is found again when another one stands in its place", () => {
  const objects = {}, scene = sceneOf(objects);
  assert.equal(scene.fence(), 0);
  objects.__fence = { parent: {}, userData: { n: 3 } };
  assert.equal(scene.fence(), 3);
  objects.__fence.parent = null;
  objects.__fence = { parent: {}, userData: { n: 4 } };
  assert.equal(scene.fence(), 4);
});

test("a lens is set where it differs, and only then computed anew", () => {
  let updates = 0;
  const camera = eye(() => updates++), scene = sceneOf({ eye: camera }), pose = { position: [0, 0, 0], rotation: [0, 0, 0] };
  scene.aim({ name: "eye", pose, fov: 25, near: 0.1 });
  scene.aim({ name: "eye", pose, fov: 25, near: 0.1 });
  scene.aim({ name: "another", pose, fov: 90 });
  assert.deepEqual([camera.fov, camera.near, updates], [25, 0.1, 1]);
});

test("a camera has the pose that it is told, whatever it had before", () => {
  const camera = eye(() => {}), scene = sceneOf({ eye: camera });
  const aim = (pose) => { camera.told = {}; scene.aim({ name: "eye", pose }); return camera.told; };
  const position = [1, 2, 3], still = { scale: [1, 1, 1], position };
  assert.deepEqual(aim({ position, rotation: [1, 0, 0] }), { ...still, rotation: [1, 0, 0, "XYZ"] });
  assert.deepEqual(aim({ position, rotation: [1, 0, 0, "ZYX"] }), { ...still, rotation: [1, 0, 0, "ZYX"] });
  assert.deepEqual(aim({ position, quaternion: [0, 0, 0, 1] }), { ...still, quaternion: [0, 0, 0, 1] });
  assert.deepEqual(aim({ position, lookAt: [0, 0, 0], up: [0, 0, 1] }), { ...still, up: [0, 0, 1], lookAt: [0, 0, 0] });
  assert.deepEqual(aim({ matrix: [5] }), { matrix: [5] });
});

test("a film is waited for until it has a picture, which is uploaded once", () => {
  let uploads = 0;
  const image = { readyState: 1, seeking: false, currentTime: 0 };
  const scene = sceneOf({}, new Set(), [{ image, set needsUpdate(_) { uploads++; } }]);
  assert.deepEqual([scene.unfinished(), uploads], [["the first picture of a film"], 0]);
  image.readyState = 2;
  assert.deepEqual([scene.unfinished(), scene.unfinished(), uploads], [[], [], 1]);
  image.currentTime = 5;
  scene.unfinished();
  assert.equal(uploads, 2);
});

test("of what the scene holds no more, the latest eight stay on the GPU", () => {
  const held = new Set(), freed = [], scene = sceneOf({}, held);
  for (let i = 0; i < 12; i++) {
    held.clear();
    held.add({ isTexture: true, dispose: () => freed.push(i) });
    scene.looked();
  }
  assert.deepEqual(freed, [0, 1, 2]);
});

/** A scene with splats, and what draws them. */
function splatScene() {
  const set = [], accumulator = (splatsVersion) => ({ splatsVersion, splats: { numSplats: 5 } });
  const view = {
    sorting: null, pending: null, display: { accumulator: accumulator(1), viewToWorld: { elements: [0] } }, viewToWorld: { elements: [0] },
    updateDisplay({ accumulator, displayed }) { if (!displayed) set.push(accumulator.splatsVersion); },
  };
  const spark = { defaultView: view, pendingUpdate: { timeoutId: -1 }, active: null, geometry: {}, onBeforeRender() {} };
  const splats = { numSplats: 5, generator: {}, matrixWorld: { elements: [0] } };
  const scene = new Scene({
    *stores() { yield { scene: { children: [spark, splats], traverse: (f) => [spark, splats].forEach(f) } }; },
    texts: () => [], films: () => [], commits: 1,
  });
  scene.unfinished();
  return { scene, view, splats, set, accumulator };
}

test("splats are sorted anew wherever the view has moved at all", () => {
  const { view } = splatScene();
  assert.ok(view.sortDistance < 1e-6 && view.sortDistance > 0);
  // The cosine of half a hundredth of a degree is already less; that of a view with itself is 1 but for rounding.
  assert.ok(view.sortCoorient > Math.cos(Math.PI / 180 / 200) && view.sortCoorient < 1 - 1e-12);
});

test("splats that stand elsewhere have moved, also if React has rendered nothing", () => {
  const { scene, splats } = splatScene();
  assert.deepEqual([scene.haveSplatsMoved(), scene.haveSplatsMoved()], [true, false]);
  splats.matrixWorld.elements = [1];
  assert.deepEqual([scene.haveSplatsMoved(), scene.haveSplatsMoved()], [true, false]);
});

test("splats that were sorted while newer ones came are not shown again", () => {
  const { view, set, accumulator } = splatScene();
  view.updateDisplay({ accumulator: accumulator(0), displayed: false });
  view.updateDisplay({ accumulator: accumulator(2), displayed: false });
  assert.deepEqual(set, [2]);
});
