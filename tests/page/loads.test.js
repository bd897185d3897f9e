// Loads are known from their beginning to the end of their bodies, by whatever way the page makes them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Loads, watchLoads } from "../../runner/sessions/page/loads.js";

let ends = 0;
const answers = new Map();
const page = {
  Object, Response,
  fetch: (request) => answers.get(request.url || request),
  createImageBitmap: (source) => source,
};
const loads = new Loads(() => ends++);
watchLoads(page, loads);

test("a fetch is a load until it is answered, its body until it is read", async () => {
  answers.set("a.glb", Promise.resolve(new Response("content")));
  const answer = page.fetch("a.glb");
  assert.deepEqual(loads.names(), ["a.glb"]);
  const text = (await answer).text();
  assert.equal(loads.count, 1);
  assert.equal(await text, "content");
  await null;
  assert.equal(loads.count, 0);
});

test("what is refused, or never comes, is told with its URL", async () => {
  const missing = new Response("", { status: 404 });
  Object.defineProperty(missing, "url", { value: "http://here/b.glb" });
  answers.set("b.glb", Promise.resolve(missing));
  answers.set("c.glb", Promise.reject(new Error("no network")));
  await page.fetch({ url: "b.glb" });
  await assert.rejects(page.fetch("c.glb"));
  await assert.rejects(page.createImageBitmap(Promise.reject(new Error("no picture"))));
  assert.deepEqual([...loads.failed], ["http://here/b.glb (404)", "c.glb", "a picture"]);
});

test("a loading manager's items are loads, also several of one URL, and errors are told", async () => {
  class Manager {
    constructor() {
      this.started = [];
      this.itemStart = (url) => { this.started.push(url); };
      this.itemEnd = () => {};
      this.itemError = () => {};
    }
  }
  const manager = new Manager();
  await null;
  manager.itemStart("d.png");
  manager.itemStart("d.png");
  assert.deepEqual([loads.count, manager.started], [2, ["d.png", "d.png"]]);
  manager.itemEnd("d.png");
  manager.itemError("d.png");
  manager.itemEnd("d.png");
  assert.equal(loads.count, 0);
  assert.equal([...loads.failed].at(-1), "d.png");
});

test("a body that is read piece by piece is a load until its last piece", async () => {
  answers.set("e.splat", Promise.resolve(new Response("content")));
  const reader = (await page.fetch("e.splat")).body.getReader();
  assert.equal(loads.count, 1);
  assert.equal((await reader.read()).done, false);
  assert.equal(loads.count, 1);
  assert.equal((await reader.read()).done, true);
  await null;
  assert.equal(loads.count, 0);
});
