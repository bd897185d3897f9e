// The line to the server: messages go to the client strictly in order, pictures when all is ready. It knows no page:
// all that it needs from one comes as `World`.

/**
 * @typedef {Object} World
 * @property {() => number} now milliseconds of a clock that never steps back
 * @property {(f: () => void) => void} nextTurn calls f in another turn of the event loop
 * @property {(fence: number) => import("./readiness.js").Lack} inspect what a picture still lacks
 * @property {() => number} loads how many loads are under way
 * @property {() => boolean} isRendered whether React has rendered all that the client was handed
 * @property {() => boolean} isStirred whether drawing a picture has started something that will change it
 * @property {() => boolean} isIncomplete whether a drawing has left out something that only drawing itself can bring
 * @property {() => string} fault why a camera may not have answered, since expose()
 * @property {() => string} wrong what was drawn differently from what was asked for
 * @property {() => number} changes a count that rises with everything that may make a picture ready
 * @property {(seed: number) => void} begin the next messages belong to the job with that seed
 * @property {(messages: any[], then: (subscribers: number) => void) => boolean} deliver see Inlet
 * @property {(request: Grab | Ready, isFirst: boolean) => boolean} settle lets the elements act in frames; returns
 * whether they have come to rest. isFirst: they have not been asked to for this request
 * @property {(grab: Grab) => void} aim sets the camera up for the picture
 * @property {(grab: Grab) => () => boolean[]} expose watches for pixels that are read; the function that it
 *   gives ends that: for each reading whether it was good
 * @property {(grab: Grab) => boolean} isReadLater whether the pixels are read again when the picture is encoded
 * @property {(message: import("./protocol.js").FromPage) => void} say tells the server
 */
/** @typedef {import("./protocol.js").Grab} Grab */
/** @typedef {import("./protocol.js").Ready} Ready */
/** All earlier messages must be rendered before the next ones. @typedef {import("./protocol.js").Render} Render */
/** The next messages belong to another job. @typedef {import("./protocol.js").Begin} Begin */
/** @typedef {{ data: any, request: Grab | Ready | Render | Begin | null }} Item */

// A wait for loads is reported when it takes so long, again and again, and at its end if it was long.
const LONG_WAIT_MS = 1000, TRIFLE_MS = 20;
// A picture is drawn at most so often, until drawing it starts nothing more.
const MOST_TRIES = 12;
export const START_LIMIT_MS = 60000, CAMERA_LIMIT_MS = 5000, LOAD_LIMIT_MS = 30000;
export const LOST = "the camera's WebGL context was lost";

export class Line {
  /** @type {Item[]} */ #queue = [];
  /** @type {Grab | null} */ #announced = null;
  /** Why there will be no pictures. */ #dead;
  /** The client listens. */ #isHeard = false;
  /** The client has messages that it has not read. */ #isBusy = false;
  /** The reply that the client has yet to send. */ #flight = "";
  /** The next picture lacks nothing any more, and one turn later nothing had changed. */ #isStill = false;
  #isLookingAgain = false; #isWoken = false;
  #world; #bornAt;
  /** The server has said that the run is over. */ isOver = false;
  /** Replies that are not to be sent: their pictures were drawn too early. @type {Map<string, number>} */
  #dropped = new Map();
  /** The request for which the elements are coming to rest. */ #settlingFor = "";
  /** How often the next picture was drawn. */ #tries = 0;
  /** The request that no camera has answered yet; of one that threw meanwhile it is told a turn later. */ #unanswered = "";
  /** When the next request began to wait. */ #since = 0;
  /** Since when something waits for what is loaded. */ #waitsSince = 0;
  /** When the server was told of it last. */ #toldAt = 0;
  /** When the loads began that the next message waits for. */ #loadingSince = 0;
  /** When the rendering began that the next message waits for. */ #renderingSince = 0;

  /** @param {World} world @param {string} dead why there can be no pictures at all; empty: there can */
  constructor(world, dead) {
    this.#world = world;
    this.#dead = dead;
    this.#bornAt = world.now();
  }
  /**
   * The next message of the server: the client's own, or one of ours.
   * @param {any} data bytes, or a text
   */
  receive(data) {
    if (typeof data === "string") {
      /** @type {import("./protocol.js").ToPage} */
      const message = JSON.parse(data);
      if (message.type === "grab") this.#announced = message;
      if (message.type === "bye") this.isOver = true;
      if (message.type !== "ready" && message.type !== "render" && message.type !== "begin") return;
      this.#queue.push({ data: null, request: message });
    } else {
      this.#queue.push({ data, request: this.#announced });
      this.#announced = null;
    }
    if (this.#isWoken) return;
    this.#isWoken = true;
    this.#world.nextTurn(() => { this.#isWoken = false; this.step(); });
  }
  /** Go on as far as possible; call it whenever something has changed, and now and then for the limits. */
  step() {
    const queue = this.#queue;
    while (!this.#isBusy && queue.length) {
      const first = queue[0];
      if (this.#dead) {
        queue.shift();
        if (isForReply(first.request)) this.#refuse(first.request, this.#dead);
      } else if (this.#flight) { // nothing moves until the picture is on its way
        return;
      } else if (!this.#isHeard && first.data) { // what is sent before the client listens is lost: try until it is heard
        if (this.#world.now() - this.#bornAt > START_LIMIT_MS) { this.#dead = "the client does not listen to scene messages"; continue; }
        this.#deliver([first], (subscribers) => {
          if (!subscribers) return;
          this.#isHeard = true;
          queue.shift();
          this.step();
        });
        return;
      } else if (first.request && (first.request.type === "render" || first.request.type === "begin")) {
        if (this.#mustRenderFirst()) return;
        if (first.request.type === "begin") this.#world.begin(first.request.seed);
        queue.shift();
      } else if (isForReply(first.request)) {
        if (!this.#serve(first, first.request)) return;
      } else if (this.#mustLoadFirst()) {
        return;
      } else { // all that wait at once, so that React renders once
        const end = queue.findIndex((item) => item.request);
        this.#isStill = false;
        this.#deliver(queue.splice(0, end < 0 ? queue.length : end), () => this.step());
      }
    }
  }
  /**
   * There will be no more pictures. Tell all who wait for one why; if nobody waits, tell the server.
   * @param {string} reason
   */
  die(reason) {
    this.#dead = reason;
    if (!this.#queue.some(({ request }) => isForReply(request))) {
      this.#world.say({ type: "refused", reply: "", reason, is_lost: true });
    }
    this.step();
  }
  /**
   * Whether the client may send this.
   * @param {(text: string) => boolean} holds whether it holds that text
   */
  send(holds) {
    for (const [reply, count] of this.#dropped) {
      if (!holds(reply)) continue;
      if (count > 1) this.#dropped.set(reply, count - 1); else this.#dropped.delete(reply);
      this.#landed(reply);
      return false;
    }
    if (this.#flight && holds(this.#flight)) this.#landed(this.#flight);
    return true;
  }
  /** @param {string} reply */
  #landed(reply) {
    if (this.#flight !== reply) return;
    this.#flight = "";
    this.#world.nextTurn(() => this.step());
  }
  /**
   * The picture could not be made of the pixels.
   * @param {Grab} grab
   * @param {string} reason
   * @param {boolean} isLost
   */
  noPicture(grab, reason, isLost) {
    if (this.#flight === grab.reply) this.#flight = "";
    this.#refuse(grab, reason, isLost);
    this.step();
  }

  /** @param {Item[]} items @param {(subscribers: number) => void} then */
  #deliver(items, then) {
    this.#isBusy = true;
    const isRead = this.#world.deliver(items.map((item) => item.data), (subscribers) => {
      this.#isBusy = false;
      then(subscribers);
    });
    if (!isRead) { this.#isBusy = false; this.#dead = "this page does not read its messages as the known client does"; }
  }
  /** In the client an earlier load that ends late replaces a later one: let each end before the next begins. */
  #mustLoadFirst() {
    if (!this.#world.loads()) { this.#loadingSince = 0; this.#tellWaited(); return false; }
    this.#loadingSince = this.#loadingSince || this.#world.now();
    this.#tellWait(() => this.#world.inspect(0).pending);
    return this.#world.now() - this.#loadingSince < LOAD_LIMIT_MS;
  }
  /** Do not wait for a load that takes long. */
  #mustRenderFirst() {
    if (this.#world.isRendered()) { this.#renderingSince = 0; return false; }
    this.#renderingSince = this.#renderingSince || this.#world.now();
    return this.#world.now() - this.#renderingSince < LOAD_LIMIT_MS;
  }
  /**
   * Move the next request by one step; returns whether there may be more to do at once.
   * @param {Item} item
   * @param {Grab | Ready} request
   */
  #serve(item, request) {
    const { now, nextTurn } = this.#world;
    this.#since = this.#since || now();
    const { pending, wrong } = this.#world.inspect(request.fence);
    if (pending.length && !wrong.length) {
      this.#isStill = false;
      this.#tellWait(() => pending);
      if (now() - this.#since < request.wait_s * 1000) return false;
      this.#queue.shift();
      this.#refuse(request, `not in the picture after ${request.wait_s} s: ${pending.join(", ")}`);
      return true;
    }
    if (!this.#isStill) { // still so one turn later?
      if (this.#isLookingAgain) return false;
      this.#isLookingAgain = true;
      const seen = this.#world.changes();
      nextTurn(() => { this.#isLookingAgain = false; this.#isStill = seen === this.#world.changes(); this.step(); });
      return false;
    }
    if (wrong.length) { this.#queue.shift(); this.#refuse(request, wrong.join("; ")); return true; }
    const isFirst = this.#settlingFor !== request.reply;
    this.#settlingFor = request.reply;
    if (!this.#world.settle(request, isFirst)) { // what that has begun is looked at like any other change
      this.#isStill = false;
      return true;
    }
    this.#tellWaited();
    if (request.type === "ready") {
      this.#queue.shift();
      this.#since = 0;
      this.#world.say({ type: "is_ready", reply: request.reply });
      return true;
    }
    this.#shoot(item, request);
    return false;
  }
  /** @param {Item} item @param {Grab} grab */
  #shoot(item, grab) {
    const fault = this.#unanswered === grab.reply && this.#world.fault();
    if (fault) {
      this.#queue.shift();
      this.#refuse(grab, `the camera could not draw: ${fault}`);
      this.step();
      return;
    }
    this.#world.aim(grab);
    const seen = this.#world.expose(grab);
    this.#deliver([item], () => {
      const readings = seen();
      if (readings.includes(false)) { this.#queue.shift(); this.#refuse(grab, LOST, true); }
      else if (readings.length) {
        const isIncomplete = this.#world.isIncomplete(), isStirred = this.#world.isStirred();
        const mayWait = this.#world.now() - this.#since < grab.wait_s * 1000;
        if (this.#world.wrong()) {
          this.#drop(grab);
          this.#queue.shift();
          this.#refuse(grab, this.#world.wrong());
        } else if (isIncomplete && !mayWait) {
          this.#queue.shift();
          this.#refuse(grab, `not drawn after ${grab.wait_s} s: splats`);
        } else if (isIncomplete || (isStirred && ++this.#tries < MOST_TRIES)) {
          this.#drop(grab);
          this.#isStill = false;
        } else {
          this.#queue.shift();
          this.#since = this.#tries = 0;
        }
        if (this.#world.isReadLater(grab)) this.#flight = grab.reply;
      }
      else if (!this.#world.fault() && this.#world.now() - this.#since < CAMERA_LIMIT_MS) {
        this.#unanswered = grab.reply; // it may be mounted later: a step tries again
        return;
      }
      else { this.#queue.shift(); this.#refuse(grab, this.#world.fault() || "no camera of that key answers"); }
      this.step();
    });
  }
  /** The client will send a picture that must not be sent. @param {Grab} grab */
  #drop(grab) { this.#dropped.set(grab.reply, (this.#dropped.get(grab.reply) || 0) + 1); }
  /** @param {() => string[]} lacks */
  #tellWait(lacks) {
    const now = this.#world.now();
    if (this.#world.loads()) this.#waitsSince = this.#waitsSince || now;
    if (!this.#waitsSince || now - Math.max(this.#waitsSince, this.#toldAt) < LONG_WAIT_MS) return;
    this.#toldAt = now;
    this.#world.say({ type: "waits", lacks: lacks().slice(0, 5), waited_s: (now - this.#waitsSince) / 1000 });
  }
  #tellWaited() {
    const waited_ms = this.#waitsSince ? this.#world.now() - this.#waitsSince : 0;
    this.#waitsSince = 0;
    if (waited_ms >= TRIFLE_MS) this.#world.say({ type: "waits", lacks: [], waited_s: waited_ms / 1000 });
  }
  /** @param {Grab | Ready} request @param {string} reason */
  #refuse(request, reason, is_lost = false) {
    this.#tellWaited();
    this.#since = this.#tries = 0;
    this.#isStill = false;
    this.#world.say({ type: "refused", reply: request.reply, reason, is_lost });
  }
}

/**
 * Whether somebody waits for its reply.
 * @param {Item["request"]} request
 * @returns {request is Grab | Ready}
 */
function isForReply(request) { return request !== null && request.type !== "render" && request.type !== "begin"; }
