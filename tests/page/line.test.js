// The line alone: what it hands to the client, in which order, and what it tells the server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CAMERA_LIMIT_MS, LOAD_LIMIT_MS, LOST, Line, START_LIMIT_MS } from "../../runner/sessions/page/line.js";

/** A world in which the test moves time and turns by hand. */
function world(more = {}, dead = "") {
  const turns = [], told = [], delivered = [], aimed = [];
  const it = {
    clock: 1000, lack: { pending: [], wrong: [] }, loading: 0, count: 0, subscribers: 2, readings: [true], isRead: true, stirs: 0, lacking: 0, unrest: 0, settled: [], fault: "", wrong: "", isRendered: true,
    turns, told, delivered, aimed,
    /** All turns that are due, and those that they ask for. */
    settle() { while (turns.length) turns.shift()(); },
    change() { it.count++; it.line.step(); },
    ...more,
  };
  it.line = new Line({
    now: () => it.clock,
    nextTurn: (f) => turns.push(f),
    inspect: () => it.lack,
    loads: () => it.loading,
    isRendered: () => it.isRendered,
    isStirred: () => it.stirs-- > 0,
    isIncomplete: () => { if (it.lacking > 0) it.clock += 1000; return it.lacking-- > 0; },
    fault: () => it.fault,
    wrong: () => it.wrong,
    changes: () => it.count,
    deliver: (messages, then) => {
      if (!it.isRead) return false;
      delivered.push(messages);
      turns.push(() => then(it.subscribers));
      return true;
    },
    settle: (request, isFirst) => { it.settled.push(isFirst); return it.unrest-- <= 0; },
    aim: (grab) => aimed.push(grab.reply),
    expose: () => () => it.readings,
    isReadLater: (grab) => grab.depth,
    say: (message) => told.push(message),
  }, dead);
  return it;
}
const grab = (reply, more = {}) => JSON.stringify({ type: "grab", reply, fence: 1, wait_s: 30, format: "jpeg", camera: { name: "ego" }, depth: false, ...more });

test("messages reach the client in order, those that wait at once, the picture after them", () => {
  const it = world();
  it.line.receive(new Uint8Array([1]));
  it.line.receive(new Uint8Array([2]));
  it.line.receive(new Uint8Array([3]));
  it.line.receive(grab("r"));
  it.line.receive(new Uint8Array([4]));
  it.line.receive(new Uint8Array([5]));
  it.settle();
  assert.deepEqual(it.delivered.map((some) => some.map((bytes) => bytes[0])), [[1], [2, 3], [4], [5]]);
  assert.deepEqual([it.aimed, it.told], [["r"], []]);
});

test("a wait for what is loaded is told of while it lasts, and at its end for how long", () => {
  const it = world({ lack: { pending: ["/mug.glb"], wrong: [] } });
  it.line.receive(new Uint8Array([1]));
  it.settle();
  it.loading = 1;
  it.line.receive(grab("r"));
  it.line.receive(new Uint8Array([2]));
  it.settle();
  it.clock += 500;
  it.change();
  assert.deepEqual(it.told, []);
  it.clock += 700;
  it.change();
  assert.deepEqual(it.told, [{ type: "waits", lacks: ["/mug.glb"], waited_s: 1.2 }]);
  it.clock += 800;
  it.lack = { pending: [], wrong: [] };
  it.loading = 0;
  it.change();
  it.settle();
  assert.deepEqual(it.told.slice(1), [{ type: "waits", lacks: [], waited_s: 2 }]);
  assert.deepEqual(it.aimed, ["r"]);
  it.line.receive(grab("next"));
  it.line.receive(new Uint8Array([3]));
  it.settle();
  assert.equal(it.told.length, 2);
});

test("what comes before the client listens is tried again until it is heard", () => {
  const it = world({ subscribers: 0 });
  it.line.receive(new Uint8Array([1]));
  it.settle();
  it.line.step();
  it.settle();
  it.subscribers = 1;
  it.line.step();
  it.settle();
  assert.equal(it.delivered.length, 3);
  it.line.step();
  it.settle();
  assert.equal(it.delivered.length, 3);
});

test("a client that never listens, or reads otherwise, is refused by name", () => {
  const deaf = world({ subscribers: 0 });
  deaf.line.receive(new Uint8Array([1]));
  deaf.settle();
  deaf.clock += START_LIMIT_MS + 1;
  deaf.line.step();
  deaf.line.receive(JSON.stringify({ type: "ready", reply: "r", fence: 0, wait_s: 1 }));
  deaf.settle();
  assert.match(deaf.told[0].reason, /does not listen/);
  const other = world({ isRead: false });
  other.line.receive(new Uint8Array([1]));
  other.line.receive(grab("r"));
  other.line.receive(new Uint8Array([2]));
  other.settle();
  other.line.step();
  assert.match(other.told[0].reason, /does not read its messages/);
});

const heard = (more) => {
  const it = world(more);
  it.line.receive(new Uint8Array([0]));
  it.settle();
  it.delivered.length = 0;
  return it;
};
const bytes = (number) => new Uint8Array([number]);
const request = (it, reply, more) => { it.line.receive(grab(reply, more)); it.line.receive(bytes(9)); };

test("a picture is held until nothing is pending, and was so one turn before", () => {
  const it = heard({ lack: { pending: ["cup.obj"], wrong: [] } });
  request(it, "r");
  it.settle();
  assert.equal(it.delivered.length, 0);
  it.lack = { pending: [], wrong: [] };
  it.change();
  assert.equal(it.delivered.length, 0); // not yet: one more look
  it.settle();
  assert.equal(it.delivered.length, 1);
});

test("what changes between two looks has it looked at again", () => {
  const it = heard();
  request(it, "r");
  it.turns.shift()(); // the message has arrived; it is looked at for the first time
  it.lack = { pending: ["a late load"], wrong: [] };
  it.count++;
  it.settle();
  assert.equal(it.delivered.length, 0);
  it.lack = { pending: [], wrong: [] };
  it.change();
  it.settle();
  assert.equal(it.delivered.length, 1);
});

test("what does not get ready in time is refused with what is missing; the next request is none the worse", () => {
  const it = heard({ lack: { pending: ["cup.obj", "table"], wrong: [] } });
  request(it, "r", { wait_s: 5 });
  request(it, "next", { wait_s: 5 });
  it.settle();
  it.clock += 5001;
  it.line.step();
  assert.deepEqual(it.told, [{ type: "refused", reply: "r", reason: "not in the picture after 5 s: cup.obj, table", is_lost: false }]);
  it.lack = { pending: [], wrong: [] };
  it.change();
  it.settle();
  assert.deepEqual(it.aimed, ["next"]);
});

test("what went wrong is refused at once, with all that it was", () => {
  const it = heard({ lack: { pending: ["table"], wrong: ["robot: no such link", "could not load cup.obj"] } });
  request(it, "r");
  it.settle();
  assert.equal(it.told[0].reason, "robot: no such link; could not load cup.obj");
});

test("readiness alone is told without a picture", () => {
  const it = heard();
  it.line.receive(JSON.stringify({ type: "ready", reply: "r", fence: 1, wait_s: 1 }));
  it.settle();
  assert.deepEqual([it.told, it.delivered], [[{ type: "is_ready", reply: "r" }], []]);
});

test("an update waits for the loads before it, but not for ever", () => {
  const it = heard({ loading: 1 });
  it.line.receive(bytes(1));
  it.settle();
  assert.equal(it.delivered.length, 0);
  it.loading = 0;
  it.change();
  it.settle();
  assert.equal(it.delivered.length, 1);
  it.loading = 1;
  it.line.receive(bytes(2));
  it.settle();
  it.clock += LOAD_LIMIT_MS;
  it.line.step();
  assert.equal(it.delivered.length, 2);
});

test("a camera that does not answer is asked again as it may be mounted late, then refused", () => {
  const it = heard({ readings: [] });
  request(it, "r");
  it.settle();
  it.change();
  it.settle();
  assert.deepEqual([it.delivered.length, it.told.length], [2, 0]);
  it.clock += CAMERA_LIMIT_MS;
  it.line.step();
  it.settle();
  assert.equal(it.told[0].reason, "no camera of that key answers");
});

test("a context that was lost is not the job's doing", () => {
  const it = heard({ readings: [true, false] });
  request(it, "r");
  it.settle();
  assert.deepEqual(it.told, [{ type: "refused", reply: "r", reason: LOST, is_lost: true }]);
});

test("nothing moves while pixels are still to be read for the picture that is being encoded", () => {
  const it = heard();
  request(it, "r", { depth: true });
  it.line.receive(bytes(1));
  it.settle();
  assert.equal(it.delivered.length, 1);
  it.line.send((text) => text === "another");
  assert.equal(it.delivered.length, 1);
  it.line.send((text) => text === "r");
  it.settle();
  assert.deepEqual(it.delivered[1], [bytes(1)]);
});

test("a picture that cannot be encoded is refused, and what waited behind it goes on", () => {
  const it = heard();
  request(it, "r", { depth: true });
  it.line.receive(bytes(1));
  it.settle();
  it.line.noPicture({ reply: "r" }, "the camera gave no picture", false);
  it.settle();
  assert.deepEqual([it.told[0].reply, it.delivered.length], ["r", 2]);
});

test("a picture whose drawing began something is dropped, and taken again when all is still", () => {
  const it = heard({ stirs: 2 });
  request(it, "r");
  it.line.receive(bytes(1));
  for (let i = 0; i < 3; i++) it.settle();
  assert.deepEqual(it.aimed, ["r", "r", "r"]);
  assert.deepEqual(it.delivered.at(-1), [bytes(1)]);
  const mayGo = [1, 2, 3].map(() => it.line.send((text) => text === "r"));
  assert.deepEqual(mayGo, [false, false, true]);
});

test("a drawing that leaves something out is made again, and never taken", () => {
  for (const [lacking, told] of [[15, []], [1000, ["not drawn after 30 s: splats"]]]) {
    const it = heard({ lacking });
    request(it, "r");
    it.settle();
    assert.deepEqual([it.aimed.length > 15, it.told.map((message) => message.reason)], [true, told]);
  }
});

test("a drawing that always begins something is taken in the end", () => {
  const it = heard({ stirs: 1000 });
  request(it, "r");
  for (let i = 0; i < 50; i++) it.settle();
  assert.equal(it.aimed.length, 12);
});

test("elements come to rest before the picture; each time all must be still again", () => {
  const it = heard({ unrest: 2 });
  request(it, "r");
  for (let i = 0; i < 5; i++) it.settle();
  assert.deepEqual([it.settled, it.aimed], [[true, false, false], ["r"]]);
});

test("a camera that fails with an error is told of at once", () => {
  const it = heard({ readings: [], fault: "box: no buffer" });
  request(it, "r");
  it.settle();
  assert.equal(it.told[0].reason, "box: no buffer");
});

test("a camera whose error is told of a turn later has thrown all the same", () => {
  const it = heard({ readings: [] });
  request(it, "r");
  it.settle();
  assert.deepEqual(it.told, []);
  it.fault = "no shader";
  it.change();
  it.settle();
  assert.equal(it.told[0].reason, "the camera could not draw: no shader");
});

test("a page that cannot be watched refuses all it is asked for, and bye is heard", () => {
  const it = world({}, "no WebGL");
  it.line.receive(bytes(1));
  request(it, "r");
  it.settle();
  assert.deepEqual([it.told.map((message) => message.reason), it.delivered], [["no WebGL"], []]);
  assert.equal(it.line.isOver, false);
  it.line.receive(JSON.stringify({ type: "bye" }));
  assert.equal(it.line.isOver, true);
});

test("what is to be rendered first is, before the client sees what comes next", () => {
  const it = world();
  it.line.receive(new Uint8Array([1]));
  it.settle();
  it.isRendered = false;
  it.line.receive(new Uint8Array([2]));
  it.line.receive(JSON.stringify({ type: "render" }));
  it.line.receive(new Uint8Array([3]));
  it.settle();
  assert.deepEqual(it.delivered.map((some) => some[0][0]), [1, 2]);
  it.isRendered = true;
  it.change();
  it.settle();
  assert.deepEqual(it.delivered.map((some) => some[0][0]), [1, 2, 3]);
});

test("a picture that was drawn otherwise than it was told is not sent, and refused", () => {
  const it = heard({ wrong: "THREE.WebGLProgram: Shader Error" });
  request(it, "r");
  it.settle();
  assert.deepEqual(it.told.map(({ type, reply, reason }) => [type, reply, reason]), [["refused", "r", "THREE.WebGLProgram: Shader Error"]]);
  assert.equal(it.line.send((text) => text === "r"), false);
});
