// Ready means: the fence is in the scene, React has no work left in any root, no suspended element shows a
// stand-in, and no load is under way.

/**
 * What is still to come, and, once nothing moves any more, what went wrong.
 * @typedef {{ pending: string[], wrong: string[] }} Lack
 */

/**
 * @param {import("./react.js").React} react
 * @param {import("./scene.js").Scene} scene
 * @param {import("./order.js").Order} order
 * @param {import("./loads.js").Loads} loads
 * @param {number} fence the number that the scene must show; 0: none
 * @returns {Lack}
 */
export function inspect(react, scene, order, loads, fence) {
  /** @type {string[]} */
  const pending = [];
  if (fence && scene.fence() !== fence) pending.push("updates that were sent");
  for (let root = react.unfinished(); root; root--) pending.push("updates that React has begun");
  for (const name of loads.names()) pending.push(name.slice(0, 200));
  if (pending.length) return { pending, wrong: [] };
  const { waiting, errors } = react.elements(() => {
    scene.freeUnused();
    for (const store of react.stores()) order.arrange(store.scene);
  });
  return { pending: waiting, wrong: [...errors, ...loads.failed.map((url) => `could not load ${url}`)] };
}
