// What is asked of workers is a load until it is answered; text without a font gets one of ours.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Loads } from "../../runner/sessions/page/loads.js";
import { Desk, withFont } from "../../runner/sessions/page/workers.js";

const desk = (isWatched) => {
  const loads = new Loads(() => {});
  return { loads, desk: new Desk(loads, isWatched) };
};
const told = (what, more = {}) => ({ __runner_worker: { what, ...more } });

test("a message with a name is open until the answer of that name, dealt with or not", () => {
  const { loads, desk: one } = desk(true);
  one.post({ messageId: 7, action: "callModule" });
  one.receive(told("seen"));
  assert.equal(loads.count, 1);
  one.receive({ messageId: 8 });
  assert.equal(loads.count, 1);
  assert.equal(one.receive({ messageId: 7, success: true }), false);
  assert.equal(loads.count, 0);
});

test("a message without a name is open until the worker has dealt with it", () => {
  const { loads, desk: one } = desk(true);
  one.post({ method: "sort" });
  one.receive({ indices: [] });
  assert.equal(loads.count, 1);
  assert.equal(one.receive(told("seen")), true);
  assert.equal(loads.count, 0);
});

test("of a worker that tells nothing, only named messages are waited for", () => {
  const { loads, desk: one } = desk(false);
  one.post({ method: "sort" });
  one.post({ id: "a" });
  assert.equal(loads.count, 1);
  one.receive({ id: "a", error: "no" });
  assert.equal(loads.count, 0);
});

test("what a worker loads is a load, and what it cannot load is told", () => {
  const { loads, desk: one } = desk(true);
  one.receive(told("load", { id: 1, url: "a.ttf" }));
  assert.deepEqual(loads.names(), ["a.ttf"]);
  one.receive(told("fail", { url: "a.ttf (404)" }));
  one.receive(told("end", { id: 1 }));
  assert.deepEqual([loads.count, [...loads.failed]], [0, ["a.ttf (404)"]]);
});

test("a worker that ends leaves nothing open", () => {
  const { loads, desk: one } = desk(true);
  one.post({ id: 1 });
  one.receive(told("load", { id: 1, url: "a.ttf" }));
  one.close();
  assert.equal(loads.count, 0);
});

test("a text without a font is laid out with ours, any other as it is", () => {
  const ask = (font) => ({ messageId: 1, action: "callModule", data: { id: "typeset", args: [{ text: "a", font }] } });
  const { src } = withFont(ask([]), "http://here").data.args[0].font.at(-1);
  assert.equal(src, "http://here/runner/fonts/noto-sans-latin-400-normal.woff");
  for (const message of [ask([{ src: "own.ttf" }]), { action: "registerModule" }, null, "text", { data: {} }]) {
    assert.equal(withFont(message, "http://here"), message);
  }
});
