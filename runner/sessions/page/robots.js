// Robots: the client gives a robot's meshes another material, or opacity, once, when the robot is there, and that may be
// before its meshes are.

/** The paint of each mesh. @type {WeakMap<any, string>} */
const painted = new WeakMap();

/**
 * Paint all meshes of a robot by its element's props, as the client does with those that it finds.
 * @param {any} THREE
 * @param {any} props the element's props; without a materialType the file's own look stays
 * @param {any} robot
 */
export function paint(THREE, { materialType, material, opacity }, robot) {
  const Material = materialType && THREE[`Mesh${materialType[0].toUpperCase()}${materialType.slice(1)}Material`];
  const look = `${materialType} ${JSON.stringify(material)}`;
  robot.traverseVisible((/** @type {any} */ mesh) => {
    if (!mesh.isMesh || !mesh.material) return;
    if (Material && painted.get(mesh) !== look) {
      mesh.material = new Material(material || DEFAULT_LOOK);
      painted.set(mesh, look);
    }
    if (opacity === undefined || opacity === null) return;
    for (const one of [].concat(mesh.material)) {
      Object.assign(/** @type {any} */ (one), { opacity, transparent: opacity < 1, needsUpdate: true });
    }
  });
}
/**
 * What is wrong with the values of a robot's joints: the client passes over names that it does not have.
 * @param {any} props what the element was told
 * @param {any} robot
 */
export function wrongJoints({ _key, jointValues }, robot) {
  const model = modelWithin(robot);
  if (!jointValues || !model || !model.joints) return "";
  const names = Object.keys(model.joints), strange = Object.keys(jointValues).filter((name) => !(name in model.joints));
  return strange.length ? `${_key}: it has no joint ${strange.join(", ")}; it has: ${names.slice(0, MOST).join(", ") || "none"}` : "";
}
const MOST = 30;
/** @param {any} object @returns {any} */
function modelWithin(object) {
  if (object.isURDFRobot) return object;
  for (const child of object.children) { const found = modelWithin(child); if (found) return found; }
  return null;
}
const DEFAULT_LOOK = { roughness: 0.01, metalness: 0.2, ior: 1.6, reflectivity: 1 };
