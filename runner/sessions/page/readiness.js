// Ready means: the fence is in the scene, React has no work left in any root, no suspended element shows a
// stand-in, no load is under way, and nothing in the scene is still being made.

/**
 * What is still pending, and, once nothing moves any more, what went wrong.
 * @typedef {{ pending: string[], wrong: string[] }} Lack
 */

// Failed loads are reported together when nothing moves any more, at the latest this long after the first. For that
// long an uncaught error is taken for the reason why something sent is not in the scene.
const FAILURES_MS = 500;
const HOLLOW_MS = 1000;

/**
 * @param {import("./react.js").React} react
 * @param {import("./scene.js").Scene} scene
 * @param {import("./order.js").Order} order
 * @param {import("./loads.js").Loads} loads
 * @param {import("./scripts.js").Scripts} scripts
 * @param {import("./faults.js").Faults} faults
 * @param {number} now
 * @param {number} fence the number that the scene must show; 0: none
 * @returns {Lack}
 */
export function inspect(react, scene, order, loads, scripts, faults, now, fence) {
  /** @type {string[]} */
  const pending = [];
  const isBehind = fence > 0 && scene.fence() !== fence;
  if (isBehind) pending.push("updates that were sent");
  for (let root = react.unfinished(); root; root--) pending.push("updates that React has begun");
  for (const name of loads.names()) pending.push(name.slice(0, 200));
  const failures = [...loads.failed].map((url) => `could not load ${url}`);
  // React is at rest, but the scene is not as sent: an error has prevented that.
  if (isBehind && pending.length === 1 && faults.said.length) failures.push(`not in the scene: ${faults.said.join("; ")}`);
  faults.sinceFailure = failures.length ? faults.sinceFailure || now : 0;
  if (pending.length) return { pending, wrong: failures.length && now - faults.sinceFailure > FAILURES_MS ? failures : [] };
  const { waiting, errors } = react.elements(() => {
    scene.looked();
    scene.paintAll();
    scene.renewAll();
    scene.centerAll();
    for (const { scene: whole, made } of react.scenes()) order.arrange(whole, made);
  });
  if (react.unfinished()) pending.push("what is to be rendered once more"); // it was told so just now
  // An element's console messages and uncaught errors explain why it is not there.
  const contribs = scripts.of(react.contribs());
  waiting.push(...contribs.waiting);
  // What a loader gives comes a moment after its file.
  const hollow = waiting.length ? [] : [...react.hollow()];
  faults.sinceHollow = hollow.length ? faults.sinceHollow || now : 0;
  const empty = hollow.map((key) => `${key}: its file holds nothing that could be drawn`);
  if (now - faults.sinceHollow > HOLLOW_MS) errors.push(...empty); else waiting.push(...empty);
  const wrong = [...faults.thrown, ...react.lost(faults.last), ...errors, ...failures, ...contribs.failed, ...scene.wrongJoints()];
  if (waiting.length && !wrong.length && faults.said.length) wrong.push(`${waiting.join(", ")}: ${faults.said.join("; ")}`);
  return { pending: [...pending, ...waiting, ...scene.unfinished()], wrong };
}
