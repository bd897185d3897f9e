// Center: the client measures its content only once, when it is mounted, which may be before the content is loaded.

/**
 * Place the content of a Center as the client itself does; returns its size, as the client reports it.
 * Null: there is nothing to measure.
 * @param {any} THREE
 * @param {any} props what the element was told
 * @param {any} outer the group that it has made
 */
export function center(THREE, props, outer) {
  const moved = outer && outer.children[0], held = moved && moved.children[0];
  if (!held) return null;
  moved.matrixWorld.identity();
  const box = new THREE.Box3().setFromObject(held, props.precise ?? true);
  if (box.isEmpty()) return null;
  const size = box.getSize(new THREE.Vector3()), middle = box.getCenter(new THREE.Vector3());
  const place = (/** @type {any} */ toEnd, /** @type {any} */ toStart, /** @type {number} */ length) => (toEnd ? length / 2 : toStart ? -length / 2 : 0);
  const alignment = {
    horizontalAlignment: place(props.right, props.left, size.x),
    verticalAlignment: place(props.top, props.bottom, size.y),
    depthAlignment: place(props.front, props.back, size.z),
  };
  moved.position.set(
    props.disable || props.disableX ? 0 : alignment.horizontalAlignment - middle.x,
    props.disable || props.disableY ? 0 : alignment.verticalAlignment - middle.y,
    props.disable || props.disableZ ? 0 : alignment.depthAlignment - middle.z,
  );
  return {
    parent: outer.parent, container: outer, width: size.x, height: size.y, depth: size.z, center: middle,
    boundingBox: box, boundingSphere: box.getBoundingSphere(new THREE.Sphere()), ...alignment,
  };
}
