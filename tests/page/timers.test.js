// The clock of the limits.
import assert from "node:assert/strict";
import { test } from "node:test";
import { patientClock } from "../../runner/sessions/page/timers.js";

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
