// Center: the client measures what it holds once, when it is mounted, and that may be before what it holds is there.

/**
 * Put what a Center holds where it belongs, as the client itself does.
 * @param {any} THREE
 * @param {any} props what the element was told
 * @param {any} outer the group that it has made
 */
export function center(THREE, props, outer) {
  const moved = outer && outer.children[0], held = moved && moved.children[0];
  if (!held || props.disable) return;
  moved.matrixWorld.identity();
  const box = new THREE.Box3().setFromObject(held, props.precise ?? true);
  if (box.isEmpty()) return;
  const size = box.getSize(new THREE.Vector3()), middle = box.getCenter(new THREE.Vector3());
  const place = (/** @type {any} */ toEnd, /** @type {any} */ toStart, /** @type {number} */ length) => (toEnd ? length / 2 : toStart ? -length / 2 : 0);
  moved.position.set(
    props.disableX ? 0 : place(props.right, props.left, size.x) - middle.x,
    props.disableY ? 0 : place(props.top, props.bottom, size.y) - middle.y,
    props.disableZ ? 0 : place(props.front, props.back, size.z) - middle.z,
  );
}
