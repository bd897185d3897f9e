// Chance and time come out the same for the same seed, and are the page's own until a job wants that.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Chance } from "../../runner/sessions/page/chance.js";

const page = () => ({ Math: { random: () => 2 }, performance: { now: () => -1 }, Date });

test("nothing is taken over before a job wants it", () => {
  const window = page();
  new Chance(window);
  assert.equal(window.Math.random(), 2);
  assert.equal(window.performance.now(), -1);
});

test("the same seed gives the same numbers and times, another one others", () => {
  const window = page(), chance = new Chance(window);
  const number = () => window.Math.random();
  const run = (seed, before = () => {}) => {
    chance.begin(seed);
    before();
    const seen = [number(), number(), window.performance.now(), window.Date.now()];
    chance.pass(0.5);
    return [...seen, window.performance.now(), new window.Date().getTime()];
  };
  const first = run(7);
  assert.notEqual(first[0], first[1]);
  assert.ok(first[0] >= 0 && first[0] < 1);
  assert.equal(first[4] - first[2], 500);
  assert.equal(first[5] - first[3], 500);
  assert.notEqual(run(8)[0], first[0]);
  assert.deepEqual(run(7), first);
  assert.deepEqual(run(7, () => window.Math.random()), first, "what another line of code has asked for changes nothing");
});

test("a time that is named is that time", () => {
  const window = page();
  new Chance(window).begin(1);
  assert.equal(new window.Date(5).getTime(), 5);
  assert.ok(new window.Date(5) instanceof window.Date);
});

test("numbers are spread evenly", () => {
  const window = page(), tenths = Array(10).fill(0);
  new Chance(window).begin(3);
  for (let i = 0; i < 10000; i++) tenths[Math.floor(10 * window.Math.random())]++;
  assert.ok(tenths.every((count) => count > 850 && count < 1150), String(tenths));
});
