// What is known of Vuer's elements: which of their props are passed unchanged to a three.js object, so that they can be
// set on it, and which elements do not change when React renders them again with the same props.
//
// Each was read in the client's components, and is compared with it by scripts/check_shortcut.py. All others are left
// to React.

/**
 * How a prop reaches the object that shows it.
 *   "object": react-three-fiber sets it on the element's object
 *   "scale": an effect sets it on the object's scale
 *   "matrix": an effect sets it as the object's matrix, which is then no longer computed from its pose
 *   "material": each value that it holds is set by react-three-fiber on the object's material
 *   "light": react-three-fiber makes the light anew with it
 *   "cloud": the client makes the points anew with it
 *   "joints": an effect puts the joints of the element's robot so
 *   "background": react-three-fiber makes the scene's background colour anew with it
 *   "picture": only a picture by that camera shows it, and all of it is set before that
 * @typedef {"object" | "scale" | "matrix" | "material" | "light" | "cloud" | "joints" | "background" | "picture"} Way
 */
/**
 * @typedef {Object} Kind
 * @property {Record<string, Way>} ways by prop
 * @property {Set<string> | null} props all props that are known; null: no camera shows it, whatever its props
 * @property {string[]} always props that react-three-fiber always gets
 */

// react-three-fiber sets none of these.
const RESERVED = ["children", "key", "ref", "args", "object", "dispose", "attach"];
const FOR_ALL = ["key", "tag", "children", "hide"];
/** @param {Record<string, Way>} ways @param {string} more other props @param {string} always @returns {Kind} */
function kind(ways, more = "", always = "") {
  const props = new Set([...FOR_ALL, ...Object.keys(ways), ...words(more)]);
  return { ways, props, always: ["name", "onClick", "_key", ...RESERVED, ...words(always)] };
}
/** @param {string} text */
function words(text) { return text.split(/\s+/).filter(Boolean); }
/** @param {string} names @param {Way} way @returns {Record<string, Way>} */
function all(names, way) { return Object.fromEntries(words(names).map((name) => [name, way])); }

const PLACE = all("position rotation quaternion visible", "object");
const POSE = /** @type {Record<string, Way>} */ ({ ...PLACE, scale: "object" });
const SHADOWS = "castShadow shadow-mapSize-width shadow-mapSize-height shadow-bias shadow-normalBias shadow-radius";
const PRIMITIVE = kind(
  { ...PLACE, ...all("renderOrder castShadow receiveShadow", "object"), scale: "scale", material: "material" },
  "args materialType wireframe", "renderOrder castShadow receiveShadow",
);
const MODEL = kind(POSE, "src text buff mtl assets encoding onLoad material materialType color opacity matrix",
  "geometry scale receiveShadow castShadow");
const GROUP = kind({ ...POSE, matrix: "matrix" });
const LINE = kind(all("position rotation quaternion scale", "object"), `points start mid midA midB end closed curveType tension
  segments vertexColors color lineWidth dashed dashSize gapSize dashScale dashOffset opacity transparent renderOrder`, "raycast");
/** @param {string} names @param {string} [others] */
const light = (names, others = "") => kind({ position: "object", ...all(names, "light") }, `visible ${others}`, SHADOWS);
/** Only the presence of these is known. @param {string} props */
const still = (props) => kind({}, props);
/** @type {Kind} */
const UNSEEN = { ways: {}, props: null, always: [] };

/** @type {Record<string, Kind>} */
const KINDS = {
  ...Object.fromEntries(words(`Box Capsule Circle Cone Cylinder Dodecahedron Icosahedron Octahedron Plane Ring Sphere
    Tetrahedron Torus TorusKnot`).map((tag) => [tag, PRIMITIVE])),
  VuerGroup: GROUP, Group: GROUP, group: kind(POSE),
  object3D: kind({ visible: "object", userData: "object" }),
  AmbientLight: light("color intensity"),
  HemisphereLight: light("skyColor groundColor intensity"),
  DirectionalLight: light("color intensity", SHADOWS),
  SpotLight: light("color intensity distance angle penumbra decay", SHADOWS),
  PointLight: light("color intensity", SHADOWS),
  ...Object.fromEntries(words("Obj Glb Ply Stl Dae").map((tag) => [tag, MODEL])),
  Urdf: kind({ ...POSE, jointValues: "joints" }, `src text buff assets encoding workingPath fetchOptions parseVisual parseCollision
    packages onLoad color material materialType opacity matrix enableJointDrag jointHighlightColor`,
    "onPointerDown onPointerMove onPointerUp onPointerLeave"),
  TriMesh: kind(POSE, "vertices faces colors color uv materialType wireframe opacity side material", "position rotation receiveShadow castShadow"),
  PointCloud: kind({ ...POSE, ...all("vertices colors", "cloud") }, "size color", "position rotation receiveShadow castShadow"),
  CameraView: kind(
    all("position rotation quaternion matrix up fov near far", "picture"),
    `name scale width height top bottom left right renderDepth ctype downsample showCamera stream monitor quality
    fps origin distanceToCamera movable movableScale showFrustum`,
  ),
  BackgroundColor: kind({ color: "background" }),
  HemisphereLightStage: still("groundColor skyColor hemiIntensity dirColor dirIntensity dirPosition castShadow"),
  AmbientLightStage: still(""),
  Arrow: kind(all("position rotation", "object"), "matrix direction scale headScale lod color opacity wireframe", "position rotation"),
  CoordsMarker: kind(all("position rotation quaternion", "object"), "matrix scale headScale lod color opacity wireframe",
    "position rotation quaternion"),
  ...Object.fromEntries(words("Line CatmullRomLine QuadraticBezierLine CubicBezierLine").map((tag) => [tag, LINE])),
  Text: kind(POSE, `font characters color fontSize fontWeight fontStyle maxWidth lineHeight letterSpacing textAlign textIndent
    anchorX anchorY clipRect depthOffset direction overflowWrap whiteSpace outlineWidth outlineOffsetX outlineOffsetY
    outlineBlur outlineColor outlineOpacity strokeWidth strokeColor strokeOpacity fillOpacity sdfGlyphSize
    glyphGeometryDetail renderOrder`, "font text fontSize anchorX anchorY sdfGlyphSize"),
  Billboard: kind(POSE, "follow lockX lockY lockZ"),
  Text3D: kind(POSE, `font smooth letterSpacing lineHeight size height bevelThickness bevelSize bevelEnabled bevelOffset
    bevelSegments curveSegments`),
  Pcd: kind(POSE, "src text buff encoding onLoad size color opacity matrix", "geometry"),
  SparkSplats: kind(POSE, "src", "position rotation scale userData"),
  Fbx: kind(POSE, "src text buff encoding onLoad color opacity wireframe"),
  // Not so a BoundingBoxProvider: rendering it again may change the order in which it draws its boxes.
  BoundingBox: still("min max size position rotation scale color edgeOpacity wallOpacity edgeWidth"),
  Grid: still(`position rotation offset width height widthSegments heightSegments cellSize cellThickness cellColor
    sectionSize sectionThickness sectionColor fadeDistance fadeStrength followCamera infiniteGrid`),
  // The main view's camera and its controls, hands and what they hold; all are there from the page's beginning.
  ...Object.fromEntries(words(`Gamepad Hands MotionControllers SceneCamera SceneCameraControl OrbitControls
    PerspectiveCamera CameraPreviewThumbs CameraPreviewOverlay`).map((tag) => [tag, UNSEEN])),
};
// Values that react-three-fiber sets unchanged on a material.
const MATERIAL = new Set(words(`color emissive specular sheenColor emissiveIntensity opacity roughness metalness
  clearcoat clearcoatRoughness ior reflectivity shininess sheen wireframe transparent side flatShading depthTest
  depthWrite alphaTest visible`));
// The client keeps these under a name that elements share.
const SHARED = ["displacementMap", "displacementScale", "mapRepeat", "normalMap", "normalScale"];
const LENGTHS = /** @type {Record<string, number[]>} */ ({
  position: [3], rotation: [3, 4], quaternion: [4], scale: [3], matrix: [16], up: [3],
});

/**
 * Whether rendering this element again in React would leave its picture unchanged.
 * @param {any} node as the client's store has it
 */
export function isStill(node) {
  const known = kindOf(node);
  if (!known) return false;
  if (node.tag === "CameraView" && (node.showCamera !== false || node.monitor !== false || node.stream !== "ondemand" || hasChildren(node))) return false;
  if (node.material && SHARED.some((name) => name in node.material)) return false;
  const { props } = known;
  return !props || Object.keys(node).every((name) => props.has(name));
}
/**
 * The way of each of these changes of an element; null if one of them must be left to React.
 * @param {any} node as it is
 * @param {Record<string, any>} named what it is told
 * @returns {[string, Way][] | null}
 */
export function waysOf(node, named) {
  const known = kindOf(node);
  /** @type {[string, Way][]} */
  const found = [];
  if (!known) return null;
  for (const [name, value] of Object.entries(named)) {
    if (Object.is(value, node[name]) && name in node) continue;
    const way = known.ways[name];
    if (!way || !isSettable(name, value, way)) return null;
    if (way === "material" && !isOfSameMaterial(node.material, value)) return null;
    // The client fixes the parts of a depth picture when the camera is made.
    if (way === "picture" && node.renderDepth && (name === "near" || name === "far")) return null;
    found.push([name, way]);
  }
  // If both rotate an object, earlier props decide which comes last.
  const isTurnedTwice = ["rotation", "quaternion"].every((name) => name in node || name in named);
  return isTurnedTwice && node.tag !== "CameraView" ? null : found;
}
/**
 * Whether an object still has a prop that its element has lost: React resets that at each rendering.
 * @param {any} node
 * @param {Record<string, any>} named what it is told now
 * @param {string[]} given names of props
 */
export function hasLeftovers(node, named, given) {
  const { always = [] } = kindOf(node) || {};
  return given.some((name) => !(name in node) && !(name in named) && !always.includes(name));
}
/** The constructor's arguments of a light, as the client fills them in; null if it is no light. @param {any} node @returns {Record<string, any> | null} */
export function lightOf({ tag, color = "#ffffff", intensity, skyColor = "#ffffff", groundColor = "#ffffff", ...more }) {
  const { distance = 0, angle = Math.PI / 3, penumbra = 0, decay = 2 } = more;
  switch (tag) {
    case "HemisphereLight": return { color: skyColor, groundColor, intensity: intensity ?? 1 };
    case "PointLight": return { color, intensity: intensity ?? 20 };
    case "SpotLight": return { color, intensity: intensity ?? 0.5, distance, angle, penumbra, decay };
    case "AmbientLight": case "DirectionalLight": return { color, intensity: intensity ?? 0.5 };
    default: return null;
  }
}

/** @param {any} node @returns {Kind | null} */
function kindOf({ tag }) { return typeof tag === "string" && Object.hasOwn(KINDS, tag) ? KINDS[tag] : null; }
/** @param {any} node */
function hasChildren({ children }) { return Boolean(children && children.length); }
/** @param {string} name @param {any} value @param {Way} way */
function isSettable(name, value, way) {
  if (way === "material") return Boolean(value) && typeof value === "object" && !Array.isArray(value);
  if (way === "joints") return isPose(value);
  if (way === "cloud") return value instanceof Uint8Array;
  if (name === "userData") return Boolean(value) && typeof value === "object";
  const lengths = LENGTHS[name];
  if (!lengths || (name === "scale" && way === "object" && typeof value === "number")) return isScalar(value);
  return Array.isArray(value) && lengths.includes(value.length) && value.every((one, i) => typeof one === "number" || (i === 3 && name === "rotation"));
}
/** Values of joints, by name. @param {any} value */
function isPose(value) {
  return Boolean(value) && typeof value === "object" && !Array.isArray(value) && Object.values(value).every((one) => [].concat(one).every(Number.isFinite));
}
/** @param {any} value */
function isScalar(value) { return typeof value === "number" || typeof value === "boolean" || typeof value === "string"; }
/** Whether only settable values differ. @param {any} before @param {any} after */
function isOfSameMaterial(before, after) {
  if (!before) return false;
  const names = Object.keys(after), old = Object.keys(before);
  return names.length === old.length && names.every((name, i) => name === old[i] &&
    (Object.is(after[name], before[name]) || (MATERIAL.has(name) && isScalar(after[name]) && isScalar(before[name]))));
}
