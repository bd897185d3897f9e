// Robots: the client gives a robot's meshes another material, or opacity, once, when the robot is there, and that may be
// before its meshes are. And a joint stands where it was last put, so that a pose depends on those before it.

/** The paint of each mesh. @type {WeakMap<any, string>} */
const painted = new WeakMap();

/**
 * Paint all meshes of a robot by its element's props, as the client does with those that it finds, also those that are
 * not to be seen yet.
 * @param {any} THREE
 * @param {any} props the element's props; without a materialType the file's own look stays
 * @param {any} robot
 */
export function paint(THREE, { materialType, material, opacity }, robot) {
  const Material = materialType && THREE[`Mesh${materialType[0].toUpperCase()}${materialType.slice(1)}Material`];
  const look = `${materialType} ${JSON.stringify(material)}`;
  robot.traverse((/** @type {any} */ mesh) => {
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
 * Have each set of values be the whole pose, the last one too: what it does not name stands as the file has it.
 * @param {any} props the element's
 * @param {any} robot
 */
export function settle({ jointValues }, robot) {
  const model = modelWithin(robot);
  if (!model || !model.joints || settled.has(model)) return;
  settled.add(model);
  const put = model.setJointValues;
  model.setJointValues = (/** @type {any} */ values) => {
    const hasMoved = Object.values(model.joints).map(rest).some(Boolean);
    return put.call(model, values) || hasMoved;
  };
  model.setJointValues(jointValues || {});
}
/**
 * What has a robot stand otherwise; null where that is left to React, such as where it has to be told that the joints are
 * wrong, or were.
 * @param {any} before the values of its joints
 * @param {any} values
 * @param {any} robot
 */
export function standing(before, values, robot) {
  const model = modelWithin(robot);
  const isRight = [before, values].every((jointValues) => !wrongJoints({ jointValues }, robot));
  return settled.has(model) && isRight ? () => { model.setJointValues(values); } : null;
}
/** @type {WeakSet<any>} */
const settled = new WeakSet();
/** Whether it stood elsewhere. @param {any} joint */
function rest(joint) {
  // It keeps these once it is moved.
  if (!joint.origPosition || !joint.origQuaternion || joint.jointValue.every((/** @type {number} */ value) => value === 0)) return false;
  joint.position.copy(joint.origPosition);
  joint.quaternion.copy(joint.origQuaternion);
  joint.jointValue.fill(0);
  return joint.matrixWorldNeedsUpdate = true;
}
/**
 * What is wrong with the values of a robot's joints: the client passes over names that it does not have, and stops at a
 * joint's limits.
 * @param {any} props what the element was told
 * @param {any} robot
 */
export function wrongJoints({ _key, jointValues }, robot) {
  const model = modelWithin(robot);
  if (!jointValues || !model || !model.joints) return "";
  const names = Object.keys(model.joints), strange = Object.keys(jointValues).filter((name) => !(name in model.joints));
  if (strange.length) return `${_key}: it has no joint ${strange.join(", ")}; it has: ${names.slice(0, MOST).join(", ") || "none"}`;
  for (const [name, value] of Object.entries(jointValues)) {
    const { jointType, limit, ignoreLimits } = model.joints[name];
    if (!LIMITED.includes(jointType) || ignoreLimits || !limit || typeof value !== "number") continue;
    const { lower, upper } = limit, slack = 1e-6 * Math.max(1, Math.abs(lower), Math.abs(upper));
    if (value < lower - slack || value > upper + slack) {
      return `${_key}: its joint ${name} is to stand at ${value}, and its limits in the file are ${lower} and ${upper}, where it would stop`;
    }
  }
  return "";
}
const LIMITED = ["revolute", "prismatic"];
const MOST = 30;
/** @param {any} object @returns {any} */
function modelWithin(object) {
  if (object.isURDFRobot) return object;
  for (const child of object.children) { const found = modelWithin(child); if (found) return found; }
  return null;
}
const DEFAULT_LOOK = { roughness: 0.01, metalness: 0.2, ior: 1.6, reflectivity: 1 };
