"""Tells of a picture or a model that its file is cut off, damaged or misread, as far as the file itself shows it.

Browsers and Vuer's client (0.1.6) take such files without a word: a texture that is cut off is black, of a .ply in
text a part is shown, a .pcd may be black, and a .glb grey. What they refuse themselves is left to them, and nothing
tells how long an .obj should be.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

__all__ = ["why_not_whole"]

# The next marker of a JPEG: no stuffed byte, no filling, none of those that stand alone (ITU-T T.81, B.1.1).
_MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])")
_END_OF_JPEG = 0xD9
_DRAWN = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_HEADER_BYTES = 65536
_PLY_ROWS = re.compile(rb"^element \S+ (\d+)", re.MULTILINE)
_PLY_FLOATS = re.compile(rb"^property (?:float|double)\d* (?:red|green|blue)\s", re.MULTILINE)
_PLY_DIFFUSE = re.compile(rb"^property \w+ diffuse_red\s", re.MULTILINE)
_PCD_FIELDS = re.compile(rb"^FIELDS ([^\r\n]+)(?=.*^DATA )", re.MULTILINE | re.DOTALL)
_PCD_ROWS = re.compile(rb"^POINTS (\d+)\r?$.*^DATA ascii\r?\n", re.MULTILINE | re.DOTALL)
# What the client's loader knows of the extensions of glTF.
_NAMES_OF_EXTENSIONS = """
    KHR_draco_mesh_compression KHR_lights_punctual KHR_materials_anisotropy KHR_materials_clearcoat
    KHR_materials_dispersion KHR_materials_emissive_strength KHR_materials_ior KHR_materials_iridescence
    KHR_materials_sheen KHR_materials_specular KHR_materials_transmission KHR_materials_unlit KHR_materials_volume
    KHR_mesh_quantization KHR_texture_basisu KHR_texture_transform EXT_materials_bump EXT_mesh_gpu_instancing
    EXT_meshopt_compression EXT_texture_avif EXT_texture_webp
"""
_KNOWN_EXTENSIONS = frozenset(_NAMES_OF_EXTENSIONS.split())
# It has the colours of many older models, and three.js reads it no longer.
_GLOSSY = "KHR_materials_pbrSpecularGlossiness"


def why_not_whole(name: str, data: bytes) -> str:
    """Why the content of a file of that name is not whole, or ''."""
    # A model may have a list of materials with nothing in it.
    if not data and not name.lower().endswith(".mtl"):
        return "the file is empty"
    if data.startswith(b"version https://git-lfs"):
        return "the file is a pointer of Git LFS, and its content is elsewhere: git lfs pull brings it"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _why_no_png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return "" if _ends_as_jpeg(data) else _cut_off(data)
    if data.startswith(b"ply") and b"end_header" in data[:_HEADER_BYTES]:
        header, _, rows = data.partition(b"end_header")
        if b"\nformat ascii" in header:
            reason = _why_too_few(rows.partition(b"\n")[2], sum(map(int, _PLY_ROWS.findall(header))))
            return reason or _why_other_colors(header)
        return _why_other_colors(header)
    names = _PCD_FIELDS.search(data, 0, _HEADER_BYTES)
    fields = names[1].split() if names else []
    if names and b"rgb" not in fields:
        return (
            "it has no field rgb, and Vuer's client shows such points in black: show a .ply, which is white without "
            "colours, or PointCloud(vertices=…, color=…)"
        )
    cloud = _PCD_ROWS.search(data, 0, _HEADER_BYTES)
    if cloud:
        return _why_too_few(data[cloud.end() :], int(cloud[1])) or _why_black(data, cloud.end(), fields)
    if len(data) < _length_told(data):
        return _cut_off(data)
    return _why_misread(data) if data[:4] == b"glTF" or name.lower().endswith(".gltf") else ""


def _cut_off(data: bytes) -> str:
    return f"the file is cut off after {len(data):,} bytes"


def _length_told(data: bytes) -> int:
    """How long the file is by its own head; 0 where that does not say so."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return int.from_bytes(data[2:6], "little")
    return max(12, int.from_bytes(data[8:12], "little")) if data[:4] == b"glTF" else 0


def _why_no_png(data: bytes) -> str:
    at = 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end > len(data):
            break
        told = int.from_bytes(data[end - 4 : end], "big")
        if kind in _DRAWN and zlib.crc32(memoryview(data)[at + 4 : end - 4]) != told:
            return f"the file is damaged between bytes {at:,} and {end:,}"
        if kind == b"IEND":
            return ""
        at = end
    return _cut_off(data)


def _ends_as_jpeg(data: bytes) -> bool:
    at = 2
    while found := _MARKER.search(data, at):
        if found[1][0] == _END_OF_JPEG:
            return True
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return False


def _why_other_colors(header: bytes) -> str:
    """Of a .ply: the client divides any colour by 255, and takes it by one name."""
    if _PLY_FLOATS.search(header):
        return "its colours are floats, and Vuer's client shows them 255 times too dark: write them as uchar, up to 255"
    if _PLY_DIFFUSE.search(header):
        return "its colours are named diffuse_red, which Vuer's client does not read: name them red, green and blue"
    return ""


def _why_black(data: bytes, start: int, fields: list[bytes]) -> str:
    """In text, the client takes a colour for a whole number, and PCL writes the bits of one as a float."""
    row = data[start : start + _HEADER_BYTES].lstrip().partition(b"\n")[0].split()
    try:
        color = float(row[fields.index(b"rgb")])
    except (ValueError, IndexError):
        return ""
    if not 0 < abs(color) < 1:
        return ""
    return "Vuer's client shows all of it in black: colours as floats need 'DATA binary', which keeps them"


def _why_misread(data: bytes) -> str:
    """Of a model of glTF."""
    if data[:4] == b"glTF":
        data = data[20 : 20 + int.from_bytes(data[12:16], "little")]
    try:
        model: Any = json.loads(data)
        unknown = sorted(set(model.get("extensionsRequired", ())) - _KNOWN_EXTENSIONS - {_GLOSSY})
        if unknown:
            return f"it requires {', '.join(unknown)}, which Vuer's client does not know: it would be shown wrong"
        for material in model.get("materials", ()):
            if _GLOSSY in material.get("extensions", ()) and not material.get("pbrMetallicRoughness"):
                return (
                    f"its colours are in {_GLOSSY}, which three.js does not read: it would be grey. "
                    "gltf-transform metalrough IN OUT rewrites them"
                )
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass  # the client says what is wrong with it
    return ""


def _why_too_few(rows: bytes, wanted: int) -> str:
    count = sum(1 for row in rows.splitlines() if row.strip())
    return f"the file holds {count:,} of the {wanted:,} rows that its head tells of" if count < wanted else ""
