// Updates of what three.js objects carry are set on these; React is told before anything else happens.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isStill, waysOf } from "../../runner/sessions/page/elements.js";
import { Shortcut } from "../../runner/sessions/page/shortcut.js";

const VERSIONS = { "react-dom": "19.2.4", "@react-three/fiber": "9.5.0" };

/** An object of three.js that react-three-fiber has made of these props. */
function objectOf(name, props = {}, more = {}) {
  const object = { geometry: {}, material: {}, children: [], parent: null, ...more };
  object.add = (child) => {
    if (child.parent) child.parent.children.splice(child.parent.children.indexOf(child), 1);
    object.children.push(child);
    child.parent = object;
  };
  object.traverse = (f) => { f(object); object.children.forEach((child) => child.traverse(f)); };
  object.__r3f = { type: "mesh", props: { name, ...props }, object, children: [], isHidden: false };
  return object;
}
/** A page with a store like the client's; render() does what React does when the store has changed. */
function pageWith(nodes, objects, versions = VERSIONS, more = {}) {
  const scene = objectOf("");
  objects.forEach((object) => scene.add(object));
  const told = [], react = { commits: 1, unfinished: () => 0, versions: () => versions, *stores() { yield { scene }; }, *placed() { yield* more.placed || []; }, rendered: () => shown };
  let state = { children: nodes, ops: {} }, shown = [];
  const show = () => { shown = state.children.map(({ key, ...props }) => ({ _key: key, ...props })); };
  show();
  const operation = (name) => (event) => {
    told.push([name, event.data]);
    if (name === "update" && event.data.nodes.every(({ key, ...props }) => {
      const node = state.children.find((one) => one.key === key);
      return Object.entries(props).every(([part, value]) => node[part] === value);
    })) return;
    state = { ...state, children: state.children.map((node) => Object.assign({}, node, ...(event.data.nodes || []).filter(({ key }) => key === node.key))) };
  };
  for (const name of ["set", "add", "update", "upsert", "removeByKey", "timeout", "rawUpdate"]) state.ops[name] = operation(name);
  const page = { __THREE__: "182", FIBER: { applyProps: Object.assign } }, shortcut = new Shortcut(page, react, () => {});
  page.VUER = { useSceneStore: { getState: () => state } };
  const { ops } = state, render = () => { show(); react.commits++; shortcut.step(); };
  const send = (...changes) => ops.update({ data: { nodes: changes } });
  /** Whether it went the short way. */
  const update = async (...changes) => { const before = told.length; send(...changes); await null; return told.length === before; };
  /** Updates that are React's. */
  const settle = async (...changes) => { for (const change of changes) { assert.equal(await update(change), false); render(); } };
  return { shortcut, ops, told, send, render, update, settle, react, scene };
}
const at = (x) => [x, 0, 0];
const ball = { key: "ball", tag: "Sphere", position: at(0) };

test("an update is React's until React makes nothing new for it; then it is set on the object alone", async () => {
  const object = objectOf("ball", { position: at(0) });
  const page = pageWith([ball], [object]);
  await page.settle({ key: "ball", position: at(1) });
  object.material = {}; // as the client does when it renders a primitive for the second time
  await page.settle({ key: "ball", position: at(2) });
  assert.equal(await page.update({ key: "ball", position: at(3) }), true);
  assert.deepEqual([object.position, object.__r3f.props.position], [at(3), at(3)]);
  assert.equal(page.shortcut.isBehind, false);
});

test("of updates that come together React would render only what they come to, and so it is set", async () => {
  const page = pageWith([ball], [objectOf("ball")]), set = [];
  await page.settle({ key: "ball", position: at(1) });
  const object = page.scene.children[0];
  Object.defineProperty(object, "visible", { set(value) { set.push(value); } });
  page.send({ key: "ball", visible: false });
  page.send({ key: "ball", visible: true });
  assert.equal(page.shortcut.isBehind, true);
  await null;
  assert.deepEqual([set, page.shortcut.isBehind], [[true], false]);
  page.told.length = 0;
  page.send({ key: "ball", position: at(3) });
  page.ops.add({ data: "new" });
  page.render();
  assert.deepEqual(page.told.map(([name]) => name), ["update", "update", "add"]);
});

test("before anything else goes to the store, React is told, and has rendered it", async () => {
  const page = pageWith([ball], [objectOf("ball")]);
  await page.settle({ key: "ball", position: at(1) });
  await page.update({ key: "ball", position: at(3), visible: false });
  await page.update({ key: "ball", position: at(4) });
  page.told.length = 0;
  page.ops.add({ data: "new" });
  page.ops.removeByKey({ data: "old" });
  const owed = ["update", { nodes: [{ key: "ball", position: at(4), visible: false }] }];
  assert.deepEqual([page.told, page.shortcut.isBehind], [[owed], true]);
  page.render();
  assert.deepEqual([page.told, page.shortcut.isBehind], [[owed, ["add", "new"], ["removeByKey", "old"]], false]);
});

test("as long as React has not rendered what the store has, it is not told more, and nothing is set", async () => {
  const page = pageWith([ball], [objectOf("ball")]);
  await page.settle({ key: "ball", position: at(1) });
  assert.equal(await page.update({ key: "ball", args: [2] }), false);
  page.react.commits++; // of something else
  page.shortcut.step();
  assert.equal(await page.update({ key: "ball", position: at(3) }), false);
  page.render();
  await page.settle({ key: "ball", position: at(4) });
  assert.equal(await page.update({ key: "ball", position: at(5) }), true);
});

test("when React renders of itself it is told at once", async () => {
  const page = pageWith([ball], [objectOf("ball")]);
  await page.settle({ key: "ball", position: at(1) });
  await page.update({ key: "ball", position: at(3) });
  page.told.length = 0;
  page.render();
  assert.deepEqual([page.told, page.shortcut.isBehind], [[["update", { nodes: [{ key: "ball", position: at(3) }] }]], true]);
  page.render();
  assert.equal(page.shortcut.isBehind, false);
});

test("what React knows already keeps nothing waiting", async () => {
  const page = pageWith([{ ...ball, visible: true }], [objectOf("ball")]);
  await page.settle({ key: "ball", position: at(1) });
  await page.update({ key: "ball", visible: false });
  await page.update({ key: "ball", visible: true });
  page.ops.add({ data: "new" });
  assert.deepEqual([page.told.at(-1), page.shortcut.isBehind], [["add", "new"], false]);
});

test("a light shines as it is told, and stays the light that it is", async () => {
  const light = objectOf("lamp", { args: [] }, { isLight: true, color: { isColor: true, set(value) { this.value = value; } }, intensity: 1 });
  const page = pageWith([{ key: "lamp", tag: "PointLight", intensity: 1 }], [light]);
  await page.settle({ key: "lamp", position: at(1) });
  assert.equal(await page.update({ key: "lamp", intensity: 2, color: "red" }), true);
  assert.deepEqual([light.intensity, light.color.value, page.scene.children[0]], [2, "red", light]);
});

test("what an element says or is made of is React's, and what stands beside it takes the short way", async () => {
  const words = { key: "words", tag: "Text", children: ["one"], color: "red" }, box = { key: "box", tag: "BoundingBox", color: "red" };
  const page = pageWith([ball, words, box], ["ball", "words"].map((name) => objectOf(name)));
  for (const own of [{ key: "words", children: ["two"] }, { key: "words", color: "blue" }, { key: "box", color: "blue" }]) {
    assert.equal(await page.update(own), false);
    page.render(); // of what it had not been told
    page.render();
    await page.settle({ key: "ball", position: at(1) });
    assert.equal(await page.update({ key: "ball", position: at(2) }, { key: "words", position: at(2) }), true);
  }
});

test("an element that is not known, a hidden object, or another version leaves all to React", async () => {
  const cases = [
    pageWith([ball, { key: "stars", tag: "Stars" }], [objectOf("ball")]),
    pageWith([ball], [Object.assign(objectOf("ball"), { __r3f: { props: { name: "ball" }, children: [], isHidden: true } })]),
    pageWith([ball], [objectOf("ball", { rotation: at(1) })]), // of no prop any more
    pageWith([ball], [objectOf("ball"), objectOf("ball")]),
    pageWith([ball], [objectOf("ball")], { ...VERSIONS, "@react-three/fiber": "9.6.0" }),
  ];
  for (const page of cases) await page.settle(...[1, 2, 3, 4].map((x) => ({ key: "ball", position: at(x) })));
});

test("a background's colour becomes another, where it is that element's alone", async () => {
  const sky = { key: "sky", tag: "BackgroundColor", color: "red" };
  for (const [args, isIts] of [[["red"], true], [["blue"], false]]) {
    const page = pageWith([ball, sky], [objectOf("ball")]);
    const background = page.scene.background = { isColor: true, copied: [], copy(one) { this.copied.push(one.value); }, constructor: class { constructor(value) { this.value = value; } } };
    background.__r3f = { props: { attach: "background", args }, object: background, children: [] };
    await page.settle({ key: "ball", position: at(1) });
    assert.equal(await page.update({ key: "sky", color: "green" }), isIts);
    assert.deepEqual(background.copied, isIts ? ["green"] : []);
  }
});

test("an object without a name is found by its element", async () => {
  const marker = objectOf("", { position: at(0) });
  const page = pageWith([{ key: "frame", tag: "CoordsMarker", position: at(0) }], [marker], VERSIONS, { placed: [{ key: "frame", object: marker }] });
  await page.settle({ key: "frame", position: at(1) });
  assert.equal(await page.update({ key: "frame", position: at(2) }), true);
  assert.deepEqual(marker.position, at(2));
});

test("a cloud that React makes anew each time is no reason to leave all to React", async () => {
  const attribute = { array: [] }, cloud = (more) => objectOf("cloud", {}, { isPoints: true, rotation: { order: "XYZ" }, ...more });
  const part = () => ({ attributes: { position: attribute }, dispose() {} }), bytes = () => new Uint8Array(6);
  const page = pageWith([{ key: "cloud", tag: "PointCloud", vertices: bytes() }], [cloud({ geometry: part(), material: part() })]);
  assert.equal(await page.update({ key: "cloud", vertices: bytes() }), false);
  page.scene.children = [];
  page.scene.add(cloud({ geometry: part(), material: part() }));
  page.render();
  assert.equal(await page.update({ key: "cloud", vertices: bytes() }), true);
  assert.equal(attribute.count, 1);
  // Once React is told of the points, it forgets the order of axes that the next rotation would have kept.
  page.scene.children[0].rotation = { order: "ZYX" };
  assert.equal(await page.update({ key: "cloud", rotation: at(1) }), false);
});

test("an element is known by all of its props", async () => {
  assert.equal(isStill(ball), true);
  assert.equal(isStill({ ...ball, outlines: true }), false);
  assert.equal(isStill({ ...ball, material: { displacementScale: 2 } }), false);
  assert.equal(isStill({ key: "eye", tag: "CameraView", showCamera: true, monitor: false, stream: "ondemand" }), false);
});

test("only values that objects carry take the short way", async () => {
  const box = { key: "box", tag: "Box", material: { color: "red", map: "a.png" } };
  const way = (named, node = box) => { const found = waysOf(node, named); return found && found.map(([, way]) => way).join(); };
  assert.equal(way({ tag: "Box", position: at(1), scale: at(1) }), "object,scale");
  assert.equal(way({ material: { color: "blue", map: "a.png" } }), "material");
  const arm = { key: "arm", tag: "Urdf", src: "arm.urdf" };
  assert.equal(way({ position: at(1), jointValues: { elbow: 1, base: [0, 1, 0] } }, arm), "object,joints");
  for (const jointValues of [null, [1], { elbow: "1" }, { elbow: NaN }]) assert.equal(way({ jointValues }, arm), null);
  for (const named of [
    { args: [1] }, { hide: true }, { scale: 2 }, { position: [1, 2] }, { position: null }, { rotation: at(1), quaternion: [0, 0, 0, 1] },
    { material: { color: "blue" } }, { material: { map: "a.png", color: "blue" } }, { material: { color: "red", map: "b.png" } },
  ]) assert.equal(way(named), null, JSON.stringify(named));
});
