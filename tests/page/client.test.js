// Several messages that the server sends as one are heard one by one, in their order.
import assert from "node:assert/strict";
import { test } from "node:test";
import { messagesIn } from "../../runner/sessions/page/client.js";

// What joined(["{}", b"\x81\xa1a\x01", "\u00e9"]) gives in runner/sessions/protocol.py; test_protocol.py says so.
const PARCEL = "c1" + "01000000027b7d" + "000000000481a16101" + "0100000002c3a9";
const bytesOf = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16)).buffer;

test("a parcel holds texts and bytes, in their order", () => {
  const [first, second, third, ...rest] = messagesIn(bytesOf(PARCEL));
  assert.equal(first, "{}");
  assert.deepEqual(new Uint8Array(second), new Uint8Array(bytesOf("81a16101")));
  assert.equal(third, "\u00e9");
  assert.deepEqual(rest, []);
});

test("what is no parcel is one message", () => {
  const bytes = bytesOf("81a16101");
  assert.deepEqual(messagesIn(bytes), [bytes]);
  assert.deepEqual(messagesIn("{}"), ["{}"]);
  assert.equal(messagesIn(new ArrayBuffer(0)).length, 1);
});
