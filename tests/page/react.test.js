// What is read from React's fibers: what waits, what went wrong, what is held.
import assert from "node:assert/strict";
import { test } from "node:test";
import { element, fiber, pageWithReact } from "./fibers.js";

const lookAt = (...children) => {
  const page = pageWithReact();
  page.commit(...children);
  return page.react.elements(() => {});
};

test("an element whose stand-in is shown is waited for, by its key", () => {
  const suspended = fiber("suspense", { memoizedState: {} });
  assert.deepEqual(lookAt(element({ key: "ball" }, suspended)).waiting, ["ball"]);
  assert.deepEqual(lookAt(element({ key: "ball" }, fiber("suspense"))).waiting, []);
});

test("a model that has its source and no object yet is waited for, unless it is hidden", () => {
  const model = { key: "cup", tag: "Obj", src: "cup.obj" };
  assert.deepEqual(lookAt(element(model)).waiting, ["cup"]);
  assert.deepEqual(lookAt(element(model, fiber("component", {}, fiber("host")))).waiting, []);
  assert.deepEqual(lookAt(element({ ...model, hide: true })).waiting, []);
  assert.deepEqual(lookAt(element({ key: "cup", tag: "Obj" })).waiting, []);
});

test("an error that a boundary has caught names the element it was in", () => {
  const boundary = fiber("boundary", { memoizedState: { didCatch: true, error: new Error("no such thing") } });
  assert.deepEqual(lookAt(element({ key: "robot" }, boundary)).errors, ["robot: Error: no such thing"]);
});

test("a tree is looked through once a commit", () => {
  const page = pageWithReact();
  let looks = 0;
  page.commit(element({ key: "ball" }));
  for (let i = 0; i < 3; i++) page.react.elements(() => looks++);
  page.commit(element({ key: "ball" }));
  page.react.elements(() => looks++);
  assert.equal(looks, 2);
});

test("textures and models that elements hold are known; targets that are rendered into are none of them", () => {
  const page = pageWithReact();
  const texture = { isTexture: true }, target = { isTexture: true, isRenderTargetTexture: true }, model = { isObject3D: true };
  page.commit(fiber("host", { memoizedProps: { map: texture, other: target, object: model, color: "red" } }));
  page.react.elements(() => {});
  assert.deepEqual(page.react.held(), new Set([texture, model]));
});

test("a root is unfinished while it has lanes, or effects of its last commit, and not once it is unmounted", () => {
  let changes = 0;
  const { react, hook, root, commit } = pageWithReact(() => changes++);
  commit(element({ key: "ball" }));
  assert.equal(react.unfinished(), 0);
  root.pendingLanes = 32;
  assert.equal(react.unfinished(), 1);
  root.pendingLanes = 0;
  root.current.subtreeFlags = 2048;
  hook.onCommitFiberRoot(2, root);
  assert.equal(react.unfinished(), 1);
  hook.onPostCommitFiberRoot(2, root);
  assert.equal(react.unfinished(), 0);
  root.pendingLanes = 32;
  root.current.child = null;
  assert.equal(react.unfinished(), 0);
  assert.equal(changes, 3);
});

test("the client's panels are emptied, once each, and nothing else is", () => {
  const { hook, dom } = pageWithReact();
  const panel = fiber("component", { type: function SceneGraph() { return "rows"; } });
  const other = fiber("component", { type: function Other() { return "kept"; } });
  hook.onCommitFiberRoot(dom, { current: fiber("root", {}, panel, other), pendingLanes: 0 });
  assert.equal(panel.type(), null);
  assert.equal(other.type(), "kept");
});

test("a commit that React holds back is made at once; other timers run as they were set", () => {
  const { react, root, commit } = pageWithReact();
  commit(element({ key: "ball" }));
  let made = 0;
  root.timeoutHandle = setTimeout(() => {}, 300);
  react.showAtOnce("another timer", () => made++);
  assert.equal(made, 0);
  react.showAtOnce(root.timeoutHandle, () => made++);
  assert.equal(made, 1);
});

test("an element that brings a library is known, and the page's own, which the net may not give, is not", () => {
  const page = pageWithReact();
  page.commit(
    element({ key: "contrib-loader-mujoco", tag: "ContribLoader", library: "its own" }),
    element({ key: "mine", tag: "ContribLoader", library: "a" }),
  );
  page.react.elements(() => {});
  assert.deepEqual([...page.react.contribs()], [{ key: "mine", library: "a" }]);
});

test("an element of any kind that is to be filled from a source waits for it", () => {
  const page = pageWithReact();
  page.commit(element({ key: "new", tag: "SomethingNew", src: "a.bin" }), element({ key: "page", tag: "Html", src: "a.html" }));
  assert.deepEqual(page.react.elements(() => {}).waiting, ["new"]);
  page.commit(element({ key: "new", tag: "SomethingNew", src: "a.bin" }, fiber("host")));
  assert.deepEqual(page.react.elements(() => {}).waiting, []);
});

test("the objects of a scene come in the order of its elements, what they hold behind them", () => {
  const page = pageWithReact(), host = (id, ...children) => fiber("host", { stateNode: { object: { id, isObject3D: true } } }, ...children);
  page.commit(element({ key: "a" }, host(3, fiber("host"), host(1))), element({ key: "b" }, fiber("component", {}, host(2))));
  assert.deepEqual([...page.react.scenes()].map(({ made }) => made.map(({ id }) => id)), [[3, 1, 2]]);
});
