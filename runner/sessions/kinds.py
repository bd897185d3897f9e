"""Elements that no camera's picture shows, what is ignored of others, and those that are refused.

As scripts/check_elements.py found.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from runner.errors import FrameError

__all__ = ["PRIMITIVES", "refuse_kind", "why_ignored", "why_unseen"]

_OVER_THE_VIEW = "the client shows it above its main view only"
_OWN_LAYER = "no camera sees its layer: layer=0 is one that they see"
_STEERS = "it is for the client's main view, and pictures are taken by a CameraView"
_OF_DEVICES = "it tells of a device that a browser without a person has not"
_OF_A_MESH = "it draws the mesh that it is in, and the client hands it none"
# By their tags. What DefaultScene brings for people is not among them, nor what only brings or moves others.
_UNSEEN = {
    "Html": _OVER_THE_VIEW,
    "ViewportHud": _OVER_THE_VIEW,
    "fog": "the client gives the fog to a group, not to the scene",
    "SceneBackground": "the client draws it with a negative intensity; take ImageBackground",
    **dict.fromkeys(("PerspectiveFrustum", "FisheyeFrustum", "OrthographicFrustum"), _OWN_LAYER),
    **dict.fromkeys(("Edges", "Wireframe"), _OF_A_MESH),
    "shadowMaterial": "it shows shadows alone, and the client's lights cast none there",
    **dict.fromkeys(("OrbitControls", "PointerControls", "TimelineControls", "GrabRender"), _STEERS),
    **dict.fromkeys(("PerspectiveCamera", "OrthographicCamera", "FisheyeCamera"), _STEERS),
    **dict.fromkeys(("SimplePerspectiveCamera", "SimpleOrthographicCamera"), _STEERS),
    **dict.fromkeys(("KeyboardMonitor", "Body", "Head", "WebXRMesh"), _OF_DEVICES),
}
_REFUSED = {
    "Splat": "Vuer's client draws it in its main view alone; SparkSplats shows the same file",
    **dict.fromkeys(
        ("WebRTCVideoPlane", "WebRTCStereoVideoPlane"), "no picture of a live stream is the same twice"
    ),
}
_LINES = "Line CatmullRomLine CubicBezierLine QuadraticBezierLine"
# What makes an element vanish, or the client throw.
_BREAKING = {
    **dict.fromkeys(
        [("Obj", "materialType"), ("Fbx", "materialType")],
        "Vuer's client throws: color, opacity and wireframe change its look, and so does an .mtl file",
    ),
    ("Text", "material"): "it would be in no picture: color and fillOpacity change its look",
    ("InPlaceDepthPointCloud", "material"): "it would be in no picture",
    ("DirectionalLight", "target"): "three.js would throw: it shines from its position to the origin",
    ("SpotLight", "target"): "three.js would throw: it shines from its position to the origin",
}
# What three.js calls the shapes that it makes of a few numbers.
_NAMES_PRIMITIVES = """
    Box Capsule Circle Cone Cylinder Dodecahedron Extrude Icosahedron Lathe Octahedron Plane Polyhedron Ring
    Sphere Tetrahedron Torus TorusKnot Tube
"""
PRIMITIVES = frozenset(_NAMES_PRIMITIVES.split())
_NAMES_OF_PRIMITIVES = """
    args castShadow children color frustumCulled hide key layers material materialType matrix matrixAutoUpdate name
    opacity outlineColor outlineThickness outlines position quaternion receiveShadow renderOrder rotation scale tag
    transparent up userData visible wireframe
"""
_OF_PRIMITIVES = frozenset(_NAMES_OF_PRIMITIVES.split())
_NAMES_OF_CAMERAS = """
    aspect bottom castShadow children ctype distanceToCamera downsample far filmGauge filmOffset focus fov fps
    frustumCulled height hide key layers left lookAt matrix matrixAutoUpdate monitor movable movableScale name near
    origin position quality quaternion receiveShadow renderDepth renderOrder right rotation scale showCamera
    showFrustum stream tag top up userData view visible width zoom
"""
_NAMES_OF_OBJECTS = """
    castShadow children frustumCulled hide key layers matrix matrixAutoUpdate name position quaternion receiveShadow
    renderOrder rotation scale tag up userData visible
"""
# Beside what any object of three.js has.
_OF_OTHERS = {
    "AmbientLight": "color intensity",
    "DirectionalLight": "color helper intensity shadow target",
    "HemisphereLight": "color groundColor helper intensity skyColor",
    "PointLight": "color decay distance helper intensity power radius shadow showSphere",
    "RectAreaLight": "color height helper intensity lookAt power width",
    "SpotLight": "angle color decay distance helper intensity map penumbra power shadow target",
    "TriMesh": "alphaTest color colors faces material materialType opacity side transparent uv vertices wireframe",
    "PointCloud": "color colors material materialType opacity size vertices wireframe",
    "Arrow": "color direction headScale lod opacity wireframe",
    "CoordsMarker": "color headScale lod opacity wireframe",
    **dict.fromkeys(("VuerGroup", "Group", "group"), ""),
}
_KNOWN = {
    **dict.fromkeys(PRIMITIVES, _OF_PRIMITIVES),
    "CameraView": frozenset(_NAMES_OF_CAMERAS.split()),
    **{tag: frozenset((_NAMES_OF_OBJECTS + names).split()) for tag, names in _OF_OTHERS.items()},
}
_SIZES = frozenset({
    "depth", "dimensions", "extents", "halfExtents", "half_extents", "height", "length", "radius", "size", "width",
})  # fmt: skip
# Of any of three.js's materials for meshes, and what Vuer's client takes beside them.
_NAMES_OF_MATERIALS = """
    allowOverride alphaHash alphaMap alphaTest alphaToCoverage anisotropy anisotropyMap anisotropyRotation aoMap
    aoMapIntensity args attach attenuationColor attenuationDistance blendAlpha blendColor blendDst blendDstAlpha
    blendEquation blendEquationAlpha blendSrc blendSrcAlpha blending bumpMap bumpScale clearcoat clearcoatMap
    clearcoatNormalMap clearcoatNormalScale clearcoatRoughness clearcoatRoughnessMap clipIntersection
    clipShadows clippingPlanes color colorWrite combine depthFunc depthPacking depthTest depthWrite dispersion
    displacementBias displacementMap displacementScale dithering emissive emissiveIntensity emissiveMap envMap
    envMapIntensity envMapRotation flatShading fog forceSinglePass gradientMap ior iridescence iridescenceIOR
    iridescenceMap iridescenceThicknessMap iridescenceThicknessRange lightMap lightMapIntensity map mapRepeat
    matcap metalness metalnessMap name needsUpdate normalMap normalMapType normalScale opacity polygonOffset
    polygonOffsetFactor polygonOffsetUnits precision premultipliedAlpha reflectivity refractionRatio roughness
    roughnessMap shadowSide sheen sheenColor sheenColorMap sheenRoughness sheenRoughnessMap shininess side
    specular specularColor specularColorMap specularIntensity specularIntensityMap specularMap stencilFail
    stencilFunc stencilFuncMask stencilRef stencilWrite stencilWriteMask stencilZFail stencilZPass thickness
    thicknessMap toneMapped transmission transmissionMap transparent type userData vertexColors visible
    wireframe wireframeLinecap wireframeLinejoin wireframeLinewidth
"""
_OF_MATERIALS = frozenset(_NAMES_OF_MATERIALS.split())
# What the client ignores without a word, of which elements, and what has that effect; as pictures show.
_IN_GROUP = "a Group with that matrix moves it"
_AIMED = "DirectionalLight SpotLight"
_TO_ORIGIN = "it shines from its position to the origin"
_IGNORED = (
    ("color", "SparkSplats Urdf", ""),
    ("material", f"Obj Glb Stl Ply Dae Urdf PointCloud SparkSplats Arrow CoordsMarker {_LINES}", ""),
    ("materialType", f"Stl Ply Dae PointCloud SparkSplats Arrow CoordsMarker Text {_LINES}", ""),
    ("opacity", f"PointCloud SparkSplats BoundingBox Text {_LINES}", ""),
    ("wireframe", "Glb Stl Ply Dae Urdf PointCloud SparkSplats", ""),
    (
        "visible",
        "Arrow BoundingBox CoordsMarker DepthPointCloud Frustum Gripper HUDPlane Image",
        "hide=True hides it",
    ),
    ("visible", "ImageBackground BackgroundColor HemisphereLightStage", "hide=True hides it"),
    ("quaternion", "Arrow BoundingBox Frustum Image", "rotation turns it"),
    ("rotation", _AIMED, _TO_ORIGIN),
    ("quaternion", _AIMED, _TO_ORIGIN),
    ("lookAt", _AIMED, _TO_ORIGIN),
    ("rotation", "RectAreaLight", ""),
    ("quaternion", "RectAreaLight", ""),
    ("position", "HemisphereLight", ""),
    ("distance", "PointLight", ""),
    ("decay", "PointLight", ""),
    ("scale", "Image ImageBackground HUDPlane", ""),
    ("matrix", f"{_NAMES_PRIMITIVES} TriMesh PointCloud DepthPointCloud SparkSplats {_LINES}", _IN_GROUP),
    ("matrix", f"Text Arrow BoundingBox Center {_AIMED} PointLight RectAreaLight", _IN_GROUP),
)
# These may hide the whole scene, seen from elsewhere.
_OF_MAIN_VIEW = frozenset({"ImageBackground", "HUDPlane", "VideoPlane", "StereoVideoPlane"})
# Values of these that change nothing.
_NOTHING: dict[str, tuple[Any, ...]] = {
    "visible": (None, True),
    "rotation": (None, [0, 0, 0]),
    "quaternion": (None, [0, 0, 0, 1]),
    "scale": (None, 1, [1, 1, 1]),
    "matrix": (None, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]),
}
_IGNORED_OF: dict[str, list[tuple[str, str]]] = {}
for _name, _tags, _instead in _IGNORED:
    for _tag in _tags.split():
        _IGNORED_OF.setdefault(_tag, []).append((_name, _instead))
# A name is taken for a slip where it is so near to one that has a meaning.
_NEAR = 0.8
_LOOKS = ("color", "opacity", "transparent")
_SCALES = ("displacementScale", "normalScale")


def refuse_kind(node: Mapping[str, Any]) -> None:
    """Raises FrameError for an element that no picture would show correctly."""
    tag, key = node.get("tag"), node.get("key")
    reason = _REFUSED.get(str(tag))
    if reason:
        raise FrameError(f"element {key!r} is a {tag}: {reason}")
    for name in ("materialType", "material", "target"):
        why = _BREAKING.get((str(tag), name))
        if why and node.get(name):
            raise FrameError(f"element {key!r} ({tag}): it takes no {name}: {why}")
    if tag in ("Pcd", "TriMesh"):
        _refuse_clear(node)
    if tag in ("PointCloud", "TriMesh"):
        for name in ("vertices", "faces", "colors", "uv"):
            if isinstance(node.get(name), (list, tuple)):
                raise FrameError(
                    f"element {key!r}: its {name} were not given when it was made, and Vuer takes arrays only then: "
                    f"make a new {tag}(key={key!r}, {name}=…)"
                )
    known = _KNOWN.get(str(tag))
    if known:
        slip = _slip(node, known)
        if slip:
            raise FrameError(f"element {key!r}: a {tag} has no {slip[0]!r}: {slip[1]!r} is meant?")
    if tag in PRIMITIVES:
        material = node.get("material")
        slip = _slip(material, _OF_MATERIALS) if isinstance(material, Mapping) else None
        if slip:
            raise FrameError(f"element {key!r}: a material has no {slip[0]!r}: {slip[1]!r} is meant?")
        for name in _SCALES:
            if isinstance(material, Mapping) and material.get(name) not in (None, 1, [1, 1], (1, 1)):
                raise FrameError(
                    f"element {key!r}: its material's {name} has no effect in Vuer's client, or that of another "
                    "element's: it keeps the first one that any element had, which is 1. Scale what is in the picture"
                )


def _refuse_clear(node: Mapping[str, Any]) -> None:
    material = node.get("material")
    material = material if isinstance(material, Mapping) and node["tag"] == "TriMesh" else {}
    opacity = material.get("opacity", node.get("opacity"))
    if isinstance(opacity, (int, float)) and opacity < 1 and material.get("alphaTest", 1) > 0:
        raise FrameError(
            f"element {node.get('key')!r} ({node['tag']}): with an opacity of {opacity:g} it would be in no picture: "
            "the client tests for an alpha of 1"
            + (", unless material={'alphaTest': 0} is given" if node["tag"] == "TriMesh" else "")
        )


def _slip(names: Iterable[Any], known: frozenset[str]) -> tuple[str, str] | None:
    """A name that means nothing, and the one that is meant."""
    for name in names:
        if name not in known and isinstance(name, str):
            meant = _nearest(name, known)
            if meant:
                return name, meant
    return None


@lru_cache(1000)
def _nearest(name: str, known: frozenset[str]) -> str:
    return next(iter(difflib.get_close_matches(name, known, 1, _NEAR)), "")


def why_ignored(node: Mapping[str, Any]) -> str:
    """What the client ignores of such an element, without a word; '' where nothing is known."""
    tag, key, material = node.get("tag"), node.get("key"), node.get("material")
    unknown = _why_unknown(str(tag), node)
    if unknown:
        return f"element {key!r} ({tag}): {', '.join(unknown)}"
    if tag in PRIMITIVES:
        own = [name for name in _LOOKS if name in node]
        if own:
            return f"element {key!r}: a {tag} has its {', '.join(own)} in material={{'{own[0]}': …}}"
        if (
            isinstance(material, Mapping)
            and "transparent" not in material
            and material.get("opacity", 1) != 1
        ):
            return f"element {key!r}: the opacity of a material counts beside 'transparent': True"
    told = [
        _no_effect(f"its {name}", instead)
        for name, instead in _IGNORED_OF.get(str(tag), ())
        if name in node
        and node[name] not in _NOTHING.get(name, (None, True, False, "", {}))
        # Of a Glb or a Urdf it counts beside a type.
        and not (name == "material" and node.get("materialType"))
    ]
    # An update of what is there need not say it again.
    if tag in _OF_MAIN_VIEW and ("src" in node or node.get("children")) and not node.get("fixed"):
        told.append("it stands before the page's main view, not before a CameraView, unless it is fixed=True")
    return f"element {key!r} ({tag}): {', '.join(told)}" if told else ""


def _no_effect(what: str, instead: str = "") -> str:
    return f"{what} has no effect in Vuer's client" + f" ({instead})" * bool(instead)


def _why_unknown(tag: str, node: Mapping[str, Any]) -> list[str]:
    """The names of its props, and of its material's, that mean nothing to the client or to three.js."""
    known = _KNOWN.get(tag)
    material = node.get("material") if tag in PRIMITIVES else None
    if not known or (node.keys() <= known and not isinstance(material, Mapping)):
        return []
    told = []
    ignored = [name for name, _ in _IGNORED_OF.get(tag, ())]
    for name in node.keys() - known:
        # A part of a value is named as shadow-bias.
        is_known = name.partition("-")[0] in known or name in ignored or name.startswith(("on", "_"))
        if is_known or node[name] is None:
            continue
        instead = ""
        if tag in PRIMITIVES:
            instead = (
                "args has the size" if name in _SIZES else "material has it" if name in _OF_MATERIALS else ""
            )
        told.append(_no_effect(f"its {name}", instead))
    told += [
        _no_effect(f"its material's {name}")
        for name in (material if isinstance(material, Mapping) else ())
        if str(name).partition("-")[0] not in _OF_MATERIALS
    ]
    return sorted(told)


def why_unseen(node: Mapping[str, Any]) -> str:
    """Why no camera's picture shows such an element; '' where one may."""
    reason = _UNSEEN.get(str(node.get("tag")))
    if not reason or (reason is _OWN_LAYER and "layer" in node):
        return ""
    return f"element {node.get('key')!r}: no camera's picture shows a {node['tag']}: {reason}"
