// Frames happen until what the elements do has come to rest, by fixed steps, and not for ever.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Frames } from "../../runner/sessions/page/frames.js";

const vector = (...numbers) => ({ numbers, toArray(all, at) { numbers.forEach((number, i) => { all[at + i] = number; }); } });
function element(onFrame) {
  const object = {
    visible: true, position: vector(0, 0, 0), quaternion: vector(0, 0, 0, 1), scale: vector(1, 1, 1),
    traverse(f) { f(object); },
  };
  const store = { clock: {} };
  const subscription = { ref: { current: (state, step) => onFrame(object, store.clock, step) }, store: { getState: () => store } };
  return { key: "ball", store, subscription, objects: () => [object] };
}
const still = () => false;

test("without anybody who wants frames there are none", () => {
  assert.equal(new Frames({ subscribers: () => [] }, () => {}).settle(still), true);
});

test("frames go on until two look alike, in steps of the clock that are always the same", () => {
  const times = [];
  const one = element((object, clock) => {
    times.push(clock.elapsedTime);
    if (times.length < 4) object.position.numbers[0]++;
  });
  const frames = new Frames({ subscribers: () => [one] }, () => {});
  assert.equal(frames.settle(still), true);
  assert.equal(times.length, 4);
  const before = times.splice(0);
  frames.begin();
  frames.settle(still);
  assert.deepEqual(times, before.slice(0, times.length));
});

test("what moves for ever is taken after two seconds", () => {
  let count = 0;
  const one = element((object) => { object.position.numbers[0] = ++count; });
  assert.equal(new Frames({ subscribers: () => [one] }, () => {}).settle(still), true);
  assert.equal(count, 120);
});

test("a frame that begins something is the last until that has ended", () => {
  let count = 0, isStirred = true;
  const frames = new Frames({ subscribers: () => [element(() => count++)] }, () => {});
  assert.equal(frames.settle(() => isStirred), false);
  assert.equal(count, 1);
  isStirred = false;
  assert.equal(frames.settle(() => isStirred), true);
});

test("what an element throws is told with its key, and the others have their frame", () => {
  const said = [];
  let others = 0;
  const bad = element(() => { throw new Error("no such thing"); }), good = element(() => others++);
  new Frames({ subscribers: () => [bad, good] }, (text) => said.push(text)).settle(still);
  assert.equal(said[0], "ball: no such thing");
  assert.ok(others > 0);
});
