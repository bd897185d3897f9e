// Ready means: the fence is in the scene, React has no work left in any root, no suspended element shows a
// stand-in, no load is under way, and nothing in the scene is still being made.

/**
 * What is still to come, and, once nothing moves any more, what went wrong.
 * @typedef {{ pending: string[], wrong: string[] }} Lack
 */

// What could not be loaded is told when nothing moves any more, all of it; this long after the first at the latest.
const FAILURES_MS = 500;

/**
 * @param {import("./react.js").React} react
 * @param {import("./scene.js").Scene} scene
 * @param {import("./order.js").Order} order
 * @param {import("./loads.js").Loads} loads
 * @param {import("./faults.js").Faults} faults
 * @param {number} now
 * @param {number} fence the number that the scene must show; 0: none
 * @returns {Lack}
 */
export function inspect(react, scene, order, loads, faults, now, fence) {
  /** @type {string[]} */
  const pending = [];
  if (fence && scene.fence() !== fence) pending.push("updates that were sent");
  for (let root = react.unfinished(); root; root--) pending.push("updates that React has begun");
  for (const name of loads.names()) pending.push(name.slice(0, 200));
  const failures = [...loads.failed].map((url) => `could not load ${url}`);
  if (failures.length) faults.sinceFailure = faults.sinceFailure || now;
  if (pending.length) return { pending, wrong: failures.length && now - faults.sinceFailure > FAILURES_MS ? failures : [] };
  const { waiting, errors } = react.elements(() => {
    scene.looked();
    scene.centerAll();
    for (const store of react.stores()) order.arrange(store.scene);
  });
  // What an element has said on the console, or thrown where nobody caught it, tells why it is not there.
  const wrong = [...faults.thrown, ...react.lost(faults.last), ...errors, ...failures];
  if (waiting.length && !wrong.length && faults.said.length) wrong.push(`${waiting.join(", ")}: ${faults.said.join("; ")}`);
  return { pending: [...waiting, ...scene.unfinished()], wrong };
}
