// Vuer's client: how it takes messages, and how it announces itself. Its own code is unchanged.
//
// It takes data.arrayBuffer() of each message once, decodes it, and hands it to its subscribers by
// setTimeout(f, 0): these calls are kept, to run them in order.
import { PARCEL } from "./protocol.js";

// The client logs each rendering to the console; reading the console costs more than the picture.
const CHATTER = ["Updated tree:", "scale", "movalble"];

/** @param {Window & typeof globalThis} window */
export function quieten(window) {
  const realLog = window.console.log;
  window.console.log = function (/** @type {any} */ first) {
    if (!CHATTER.includes(first)) realLog.apply(this, /** @type {any} */ (arguments));
  };
}

/** The way of messages into the client. */
export class Inlet {
  /** @type {(() => Promise<any>)[]} */ #readers = [];
  #event; #hand; #timers;

  /**
   * @param {import("./timers.js").Timers} timers
   * @param {(event: MessageEvent) => void} hand passes an event to the client's message handler
   */
  constructor(timers, hand) {
    this.#timers = timers;
    this.#hand = hand;
    // The client keeps its last event as React state, and renders for each new one; it reads them in order.
    this.#event = new MessageEvent("message", {
      data: { arrayBuffer: () => { const read = this.#readers.shift(); return read && read(); } },
    });
  }
  /**
   * Hand messages to the client; then(how many subscribers the last had), when all of them have run.
   * @param {any[]} messages the bytes of each
   * @param {(subscribers: number) => void} then
   * @returns {boolean} whether the client reads its messages in the known way; otherwise `then` is not called
   */
  deliver(messages, then) {
    /** @type {(() => void)[]} */
    const calls = [];
    let left = messages.length, last = 0, isRead = false;
    for (const message of messages) {
      // The client awaits data.arrayBuffer(), decodes, and calls setTimeout for each subscriber: that
      // runs between these two microtasks, of which one is queued before its await and one after.
      this.#readers.push(() => {
        isRead = true;
        queueMicrotask(() => {
          this.#timers.take();
          queueMicrotask(() => {
            const taken = this.#timers.taken();
            last = taken.length;
            calls.push(...taken);
            if (--left) return;
            for (const call of calls) { try { call(); } catch (error) { console.error(error); } }
            then(last);
          });
        });
        return Promise.resolve(message);
      });
      this.#hand(this.#event);
    }
    return isRead;
  }
}

/**
 * The messages that the server has sent as one.
 * @param {any} data a text, or an ArrayBuffer
 * @returns {any[]}
 */
export function messagesIn(data) {
  const bytes = typeof data === "string" ? null : new DataView(data);
  if (!bytes || !bytes.byteLength || bytes.getUint8(0) !== PARCEL) return [data];
  const found = [];
  for (let at = 1; at < bytes.byteLength;) { // each has before it whether it is a text, and how many bytes it has
    const start = at + 5, isText = bytes.getUint8(at);
    at = start + bytes.getUint32(at + 1);
    const content = data.slice(start, at);
    found.push(isText ? new TextDecoder().decode(content) : content);
  }
  return found;
}

/**
 * Whether these bytes contain this text near their beginning.
 * @param {any} data
 * @param {string} text
 */
export function contains(data, text) {
  if (!(data instanceof ArrayBuffer || ArrayBuffer.isView(data))) return false;
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return String.fromCharCode(...bytes.subarray(0, 200)).includes(text);
}

/**
 * @typedef {Object} Listener the events of a client's socket
 * @property {(socket: any) => void} onInit the client is there: it has said INIT
 * @property {(socket: any, data: any) => void} onMessage the server has sent something
 * @property {(socket: any, data: any) => boolean} maySend whether what the client is about to send may go
 * @property {(socket: any) => boolean} mayClose whether the client, which wants to close it, may do so
 * @property {(socket: any) => void} onClose the connection is closed
 */

/**
 * Stand between the client and its server. The client hears only what toClient() gives it.
 * @param {Window & typeof globalThis} window
 * @param {Listener} listener
 */
export function takeSockets(window, listener) {
  const RealSocket = /** @type {any} */ (window.WebSocket);
  /** @type {any} */ (window).WebSocket = class WebSocket extends RealSocket {
    /** @type {any} */ #handler = null;
    #isKnown = false;
    /** @param {[any, any]} args */
    constructor(...args) {
      super(...args);
      /** @type {any} */ (this).binaryType = "arraybuffer";
      super.addEventListener("message", (/** @type {MessageEvent} */ event) => listener.onMessage(this, event.data));
      super.addEventListener("close", () => listener.onClose(this));
    }
    get onmessage() { return this.#handler; }
    set onmessage(handler) { this.#handler = handler; }
    /** @param {MessageEvent} event */
    toClient(event) { if (this.#handler) this.#handler.call(this, event); }
    /** @param {string} text */
    sendText(text) { super.send(text); }
    /** @param {any[]} how */
    close(...how) { if (listener.mayClose(this)) super.close(...how); }
    /** @param {any} data */
    send(data) {
      if (this.#isKnown) { if (listener.maySend(this, data)) super.send(data); return; }
      super.send(data);
      if (contains(data, "INIT")) { this.#isKnown = true; listener.onInit(this); }
    }
  };
}
