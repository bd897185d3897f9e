// The clock of the limits, and timers that are held back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Clamp, patientClock } from "../../runner/sessions/page/timers.js";

test("a turn that took long counts as a second, shorter ones as they are", () => {
  let time = 5000;
  const now = patientClock(() => time);
  time += 100;
  assert.equal(now(), 100);
  time += 1000;
  assert.equal(now(), 1100);
  time += 300_000;
  assert.equal(now(), 2100);
  time += 10;
  assert.equal(now(), 2110);
});

/** A page's clock, and what is to be run there: turns in their order, and a timer each 100 ms. */
function page() {
  let time = 0;
  /** @type {(() => void)[]} */
  const turns = [];
  const clamp = new Clamp(() => time, (f) => turns.push(f), 100);
  return {
    clamp,
    pass(/** @type {number} */ ms) { time += ms; },
    runTurns() { while (turns.length) /** @type {() => void} */ (turns.shift())(); },
  };
}

test("a timer that comes behind what was asked for later is held back", () => {
  const { clamp, pass, runTurns } = page();
  pass(900); // the browser lets timers come once a second
  clamp.turn();
  runTurns();
  pass(100);
  assert.equal(clamp.tick(), true);
  assert.equal(clamp.held_ms, 900);
  pass(100);
  assert.equal(clamp.tick(), true); // in sight again
  assert.equal(clamp.held_ms, 0);
});

test("a timer that is late because the page was busy is not", () => {
  const { clamp, pass, runTurns } = page();
  pass(3000); // one long turn; then what waited comes, the timer before what is asked for now
  clamp.turn();
  assert.equal(clamp.tick(), false);
  runTurns();
  pass(100);
  assert.equal(clamp.tick(), false);
  assert.equal(clamp.held_ms, 0);
});
