"""Writes small files of every format that Vuer's elements load, each in two looks: red and blue."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import check_frames
import numpy as np
from PIL import Image

# The numbers whose colours the models of check_frames have.
RED, BLUE = 0x11E, 0xE11
COLORS = {"red": (230, 40, 40), "blue": (40, 60, 230)}
CORNERS = np.array([[-1, -1, 1], [1, -1, 1], [0, -1, -1], [0, 1, 0]], float)
FACES = [(0, 1, 3), (1, 2, 3), (2, 0, 3), (0, 2, 1)]


def write_assets(folder: Path, font: Path) -> None:
    """All files, below the folder. font: a .woff that text is written with."""
    for name, number in (("red", RED), ("blue", BLUE)):
        color = COLORS[name]
        here = folder / name
        (here / "parts").mkdir(parents=True, exist_ok=True)
        for write in check_frames.WRITE.values():
            write(here, number)
        textures(here, color)
        meshes(here, color)
        points(here, color)
        robots(here)
        depth(here, 60 if name == "red" else 150)
        (here / "walk.bvh").write_text(BVH.format(turn=20 if name == "red" else 70))
        (here / "font.json").write_text(json.dumps(typeface(0 if name == "red" else 300)))
        (here / "moving.gltf").write_text(json.dumps(moving(number)))
    shutil.copy(font, folder / "font.woff")
    (folder / "contrib.js").write_text(CONTRIBUTION)


# A library that brings an element of its own, as ContribLoader's are written.
CONTRIBUTION = """
const { createElement } = window.React;
window.VUER.CONTRIB_COMPONENT_LIST.ContribThing = ({ color }) => createElement("mesh", null,
  createElement("sphereGeometry", { args: [0.8, 16, 12] }), createElement("meshBasicMaterial", { color }));
"""


def checker(color: tuple[int, int, int], squares: int = 4, size: int = 64) -> np.ndarray:
    is_light = np.indices((size, size)).sum(0) // (size // squares) % 2
    return np.where(is_light[..., None] == 1, np.uint8(255), np.array(color, np.uint8)).astype(np.uint8)


def textures(here: Path, color: tuple[int, int, int]) -> None:
    image = Image.fromarray(checker(color))
    image.save(here / "texture.png")
    image.save(here / "texture.jpg", quality=95)
    image.save(here / "texture.webp", lossless=True)
    image.save(here / "texture.gif")
    fill = "rgb({}, {}, {})".format(*color)
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64">'
    (here / "texture.svg").write_text(f'{head}<rect width="64" height="32" fill="{fill}"/></svg>')
    Image.fromarray(checker(color, size=128)).resize((128, 64)).save(here / "panorama.png")
    # Radiance's format, without compression: shared exponents.
    light = np.full((32, 64, 3), 0.1)
    light[:16] = np.array(color) / 100
    exponents = np.ceil(np.log2(light.max(-1)))
    mantissas = light / 2.0 ** exponents[..., None] * 255
    pixels = np.dstack([mantissas, exponents + 128]).astype(np.uint8)
    head = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 32 +X 64\n"
    (here / "sky.hdr").write_bytes(head + pixels.tobytes())
    video(here / "film.webm", color)


def video(file: Path, color: tuple[int, int, int]) -> None:
    """A second of one picture, where there is something to make it with."""
    try:
        import imageio.v3 as imageio
    except ImportError:
        return
    frames = np.stack([checker(color)] * 10)
    imageio.imwrite(
        file,
        frames,
        plugin="FFMPEG",
        fps=10,
        codec="libvpx",
        bitrate="1M",
        quality=None,
        ffmpeg_log_level="error",
    )


def meshes(here: Path, color: tuple[int, int, int]) -> None:
    """A pyramid, in each format."""
    lines = ["solid s"]
    records = []
    for face in FACES:
        a, b, c = CORNERS[list(face)]
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal)
        lines.append("facet normal {} {} {}\nouter loop".format(*normal))
        lines += ["vertex {} {} {}".format(*corner) for corner in (a, b, c)]
        lines.append("endloop\nendfacet")
        records.append(struct.pack("<12fH", *normal, *a, *b, *c, 0))
    (here / "text.stl").write_text("\n".join([*lines, "endsolid s\n"]))
    (here / "binary.stl").write_bytes(bytes(80) + struct.pack("<I", len(records)) + b"".join(records))
    head = [
        "ply", "format ascii 1.0", f"element vertex {len(CORNERS)}",
        "property float x", "property float y", "property float z",
        "property uchar red", "property uchar green", "property uchar blue",
        f"element face {len(FACES)}", "property list uchar int vertex_indices", "end_header",
    ]  # fmt: skip
    body = ["{} {} {} {} {} {}".format(*corner, *color) for corner in CORNERS]
    body += ["3 {} {} {}".format(*face) for face in FACES]
    (here / "mesh.ply").write_text("\n".join([*head, *body, ""]))
    (here / "mesh.dae").write_text(collada(color))
    (here / "mesh.fbx").write_text(fbx(color))
    # An OBJ whose material has a texture.
    corners = "".join("v {} {} 0\n".format(*corner) for corner in ((-1, -1), (1, -1), (1, 1), (-1, 1)))
    rest = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvn 0 0 1\nusemtl m\nf 1/1/1 2/2/1 3/3/1 4/4/1\n"
    (here / "textured.obj").write_text("mtllib textured.mtl\n" + corners + rest)
    (here / "textured.mtl").write_text("newmtl m\nKd 1 1 1\nmap_Kd texture.png\n")


def collada(color: tuple[int, int, int]) -> str:
    places = " ".join(str(number) for number in CORNERS.flatten())
    corners = " ".join(str(corner) for face in FACES for corner in face)
    diffuse = " ".join(str(channel / 255) for channel in color)
    axes = "".join(f'<param name="{axis}" type="float"/>' for axis in "XYZ")
    return f"""<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><up_axis>Y_UP</up_axis></asset>
<library_effects><effect id="e"><profile_COMMON><technique sid="c"><lambert>
<diffuse><color>{diffuse} 1</color></diffuse></lambert></technique></profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh><source id="p">
<float_array id="a" count="{CORNERS.size}">{places}</float_array><technique_common>
<accessor source="#a" count="{len(CORNERS)}" stride="3">{axes}</accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles material="m" count="{len(FACES)}"><input semantic="VERTEX" source="#v" offset="0"/>
<p>{corners}</p></triangles></mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="s"><node><instance_geometry url="#g"><bind_material><technique_common>
<instance_material symbol="m" target="#m"/></technique_common></bind_material></instance_geometry></node>
</visual_scene></library_visual_scenes><scene><instance_visual_scene url="#s"/></scene></COLLADA>"""


def fbx(color: tuple[int, int, int]) -> str:
    """FBX 7.3 as text. The last corner of a face is written as its complement."""
    places = ",".join(str(100 * number) for number in CORNERS.flatten())
    corners = ",".join(f"{a},{b},{-c - 1}" for a, b, c in FACES)
    diffuse = ",".join(str(channel / 255) for channel in color)
    return f"""; FBX 7.3.0 project file
FBXHeaderExtension:  {{
	FBXHeaderVersion: 1003
	FBXVersion: 7300
}}
GlobalSettings:  {{
	Version: 1000
	Properties70:  {{
		P: "UnitScaleFactor", "double", "Number", "",100
	}}
}}
Objects:  {{
	Geometry: 1000, "Geometry::g", "Mesh" {{
		Vertices: *{CORNERS.size} {{
			a: {places}
		}}
		PolygonVertexIndex: *{3 * len(FACES)} {{
			a: {corners}
		}}
		GeometryVersion: 124
		LayerElementMaterial: 0 {{
			Version: 101
			Name: ""
			MappingInformationType: "AllSame"
			ReferenceInformationType: "IndexToDirect"
			Materials: *1 {{
				a: 0
			}}
		}}
		Layer: 0 {{
			Version: 100
			LayerElement:  {{
				Type: "LayerElementMaterial"
				TypedIndex: 0
			}}
		}}
	}}
	Model: 2000, "Model::m", "Mesh" {{
		Version: 232
		Properties70:  {{
			P: "Lcl Scaling", "Lcl Scaling", "", "A",0.01,0.01,0.01
		}}
	}}
	Material: 3000, "Material::c", "" {{
		Version: 102
		ShadingModel: "phong"
		MultiLayer: 0
		Properties70:  {{
			P: "Diffuse", "Vector3D", "Vector", "",{diffuse}
			P: "DiffuseColor", "Color", "", "A",{diffuse}
		}}
	}}
}}
Connections:  {{
	C: "OO",2000,0
	C: "OO",1000,2000
	C: "OO",3000,2000
}}
"""


def points(here: Path, color: tuple[int, int, int]) -> None:
    """A ball of points, and of splats."""
    directions = np.random.default_rng(0).normal(size=(1500, 3))
    places = directions / np.linalg.norm(directions, axis=1)[:, None]
    head = [
        "# .PCD v0.7", "VERSION 0.7", "FIELDS x y z rgb", "SIZE 4 4 4 4", "TYPE F F F U", "COUNT 1 1 1 1",
        f"WIDTH {len(places)}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(places)}", "DATA ascii",
    ]  # fmt: skip
    red, green, blue = color
    # As a whole number: Vuer's client shows the float that PCL writes in black.
    body = ["{:.5f} {:.5f} {:.5f} {}".format(*place, red << 16 | green << 8 | blue) for place in places]
    (here / "points.pcd").write_text("\n".join([*head, *body, ""]))
    splats = (struct.pack("3f3f4B4B", *p, 0.04, 0.04, 0.04, *color, 255, 255, 128, 128, 128) for p in places)
    (here / "ball.splat").write_bytes(b"".join(splats))


def robots(here: Path) -> None:
    """Robots of two links, whose meshes lie in a folder of a package, above the robot's or beside it."""
    for folder in ("robot/urdf", "robot/meshes"):
        (here / folder).mkdir(parents=True, exist_ok=True)
    for name in ("mesh.dae", "text.stl", "textured.obj", "textured.mtl", "texture.png"):
        shutil.copy(here / name, here / "robot" / "meshes" / name)
    for name, prefix, mesh in (
        ("parent", "../meshes/", "text.stl"), ("package", "package://robot/meshes/", "mesh.dae"),
        ("textured", "../meshes/", "textured.obj"),
    ):  # fmt: skip
        (here / f"robot/urdf/{name}.urdf").write_text(URDF.format(mesh=prefix + mesh))


URDF = """<robot name="r"><link name="base"><visual><geometry><box size="0.5 0.5 0.5"/></geometry>
<material name="m"><color rgba="0.9 0.8 0.1 1"/></material></visual></link>
<link name="arm"><visual><origin xyz="0 0.6 0"/><geometry><mesh filename="{mesh}" scale="0.5 0.5 0.5"/></geometry>
</visual></link><joint name="j" type="revolute"><parent link="base"/><child link="arm"/><origin xyz="0 0.2 0"/>
<axis xyz="0 0 1"/><limit lower="-3" upper="3" effort="1" velocity="1"/></joint></robot>"""

BVH = """HIERARCHY
ROOT Hips
{{
 OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
 JOINT Chest
 {{
  OFFSET 0 0.8 0
  CHANNELS 3 Zrotation Xrotation Yrotation
  End Site
  {{
   OFFSET 0.5 0.5 0
  }}
 }}
}}
MOTION
Frames: 2
Frame Time: 0.5
0 0 0 {turn} 0 0 {turn} 0 0
0 0 0 {turn} 0 0 {turn} 0 0
"""


def depth(here: Path, edge: int) -> None:
    """Metres in millimetres, 16 bits: a bar nearer than the rest; with its picture."""
    metres = np.full((60, 80), 3000, np.uint16)
    metres[:, edge // 5 : edge // 5 + 20] = 2000
    Image.fromarray(metres).save(here / "depth.png")
    Image.fromarray(np.where(metres[..., None] == 2000, [230, 40, 40], [90, 200, 90]).astype(np.uint8)).save(
        here / "depth-rgb.png"
    )


def typeface(slant: int) -> dict:
    """A font as three.js reads it, of one letter: A is a bar, which may lean."""
    outline = f"m 100 0 l {100 + slant} 900 l {500 + slant} 900 l 500 0 l 100 0"
    glyph = {"ha": 700, "x_min": 100, "x_max": 500 + slant, "o": outline}
    return {
        "glyphs": {"A": glyph, "?": glyph}, "familyName": "bar", "ascender": 900, "descender": 0,
        "underlinePosition": 0, "underlineThickness": 50, "resolution": 1000, "original_font_information": {},
        "boundingBox": {"yMin": 0, "xMin": 0, "yMax": 900, "xMax": 800},
    }  # fmt: skip


def moving(number: int) -> dict:
    """A glTF with all its data in itself, whose plane moves up in five seconds."""
    import base64

    times = np.array([0, 5], np.float32).tobytes()
    places = np.array([[0, 0, 0], [0, 1, 0]], np.float32).tobytes()
    data = check_frames.POSITIONS + check_frames.INDICES + times + places
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    document = check_frames.gltf_of(number, {"uri": uri, "byteLength": len(data)})
    document["bufferViews"] += [
        {"buffer": 0, "byteOffset": 60, "byteLength": 8},
        {"buffer": 0, "byteOffset": 68, "byteLength": 24},
    ]
    document["accessors"] += [
        {"bufferView": 2, "componentType": 5126, "count": 2, "type": "SCALAR", "min": [0], "max": [5]},
        {"bufferView": 3, "componentType": 5126, "count": 2, "type": "VEC3"},
    ]
    document["animations"] = [
        {
            "name": "up",
            "samplers": [{"input": 2, "output": 3}],
            "channels": [{"sampler": 0, "target": {"node": 0, "path": "translation"}}],
        }
    ]
    return document
