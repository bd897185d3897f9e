"""A campaign's own files: each under a URL that changes with it, nothing else is given out, what fails is named."""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from checks import check_frames
from pictures import picture
from PIL import Image
from processes import run
from tabs import with_server, with_tab

from runner.campaign import AssetFolder, Campaign, load_campaign, why_not_whole
from runner.errors import AssetError, CampaignError, FrameError
from runner.sessions import server as server_module
from runner.store import Store


@pytest.fixture
def meshes(tmp_path) -> Path:
    """A folder with a picture, a model of two files, something hidden, and a secret beside the folder."""
    folder = tmp_path / "meshes"
    (folder / "cup" / "parts").mkdir(parents=True)
    (folder / "cup" / "cup.obj").write_text("mtllib parts/cup.mtl")
    (folder / "cup" / "parts" / "cup.mtl").write_text("newmtl m")
    (folder / "wood.png").write_bytes(picture("PNG"))
    (folder / "ä b#?%.png").write_bytes(picture("PNG"))
    (folder / ".hidden.png").write_text("hidden")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("hidden")
    (tmp_path / "secret.png").write_text("secret")
    return folder


@pytest.mark.parametrize("how", ["in place", "replaced", "same size and time"])
@pytest.mark.parametrize("name", ["wood.png", "cup/cup.obj"])
def test_a_changed_file_has_another_url(meshes, name, how):
    """However a file changes, whoever asks for it by its name gets what it is now, and other files stay."""
    assets = AssetFolder(meshes)
    file = meshes / ("cup/parts/cup.mtl" if name.endswith(".obj") else name)
    before, other = assets.url(name), assets.url("ä b#?%.png")
    assert assets.url(name) == before
    stat, content = file.stat(), file.read_bytes()
    if how == "in place":
        file.write_bytes(content + b" ")
    elif how == "replaced":
        (meshes / "new").write_bytes(content + b" ")
        os.replace(meshes / "new", file)
    else:
        file.write_bytes(content[::-1])
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert assets.url(name) != before
    assert assets.url("ä b#?%.png") == other


def test_a_file_that_changed_since_is_not_given_out_under_its_old_url(meshes):
    """A job that asked for one picture must not show another."""
    assets = AssetFolder(meshes)
    wood, part = assets.url("wood.png"), assets.url("cup/cup.obj").replace("cup.obj", "parts/cup.mtl")
    other = part.replace("parts/cup.mtl", "cup.obj")
    assert assets.find(wood) == meshes / "wood.png" and assets.find(part) and assets.find(other)
    (meshes / "wood.png").write_bytes(b"other")
    (meshes / "cup" / "parts" / "cup.mtl").write_bytes(b"other")
    assert assets.find(wood) is None and assets.find(part) is None and assets.find(other)


class Coarse:
    """What a file's state is where the kernel's clock has ticks of 8 ms."""

    def __init__(self, state):
        self.state = state

    def __getattr__(self, name):
        value = getattr(self.state, name)
        if not name.endswith("time_ns"):
            return value if not name.endswith("time") else getattr(self, f"{name}_ns") / 1e9
        return value - value % 8_000_000


def test_a_file_that_is_written_twice_at_once_has_two_urls(meshes, monkeypatch):
    """Within a tick of the kernel's clock both have one time; jobs write textures under one name as fast."""
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **options: Coarse(stat(self, **options)))
    assets, file = AssetFolder(meshes), meshes / "wood.png"
    for number in range(20):
        urls = []
        for content in (b"red%d" % number, b"lim%d" % number):
            file.write_bytes(content)
            urls.append(assets.url("wood.png"))
        assert urls[0] != urls[1] and assets.find(urls[0]) is None and assets.find(urls[1])


def test_a_file_that_changes_while_it_is_read_is_not_given_out(meshes):
    """Another job writes a file of that name between the look at it and the reading."""
    assets = AssetFolder(meshes)
    wood = assets.url("wood.png")
    assert assets.open(wood).read() == (meshes / "wood.png").read_bytes()
    assets.on_use = lambda file: file.write_bytes(b"other")
    assert assets.open(wood) is None and assets.open(wood) is None


def test_what_a_model_names_beside_it_is_found(meshes):
    """Relative names within a model lead to URLs of the same version, and so do folders'."""
    assets = AssetFolder(meshes)
    for url in (assets.url("cup/cup.obj").rsplit("/", 1)[0], assets.url("cup")):
        assert assets.find(f"{url}/parts/cup.mtl") == meshes / "cup" / "parts" / "cup.mtl"
        assert assets.find(f"{url}/parts") is None
    assert assets.find(assets.url(".") + "/wood.png") == meshes / "wood.png"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png", "cup/../../secret.png", "/etc/passwd", "{folder}/wood.png", ".hidden.png", ".git/config",
        "..", "cup/../wood.png", "out.png", "out/secret.png", "loop.png", "nowhere.png", "wood.png\0.png",
    ],
)  # fmt: skip
def test_other_files_are_refused(meshes, name):
    """No way out of the folder, neither by name nor by link, and nothing hidden, asked for or reached by URL."""
    (meshes / "out.png").symlink_to(meshes.parent / "secret.png")
    (meshes / "out").symlink_to(meshes.parent)
    (meshes / "loop.png").symlink_to(meshes / "loop.png")
    assets = AssetFolder(meshes)
    name = name.format(folder=meshes)
    with pytest.raises(AssetError, match="asset "):
        assets.url(name)
    assert assets.find(f"{assets.url('.')}/{name}") is None
    assert assets.find(f"{assets.url('.')}//{name}") is None


def test_a_url_is_good_for_what_it_was_made_for_only(meshes):
    """A version opens its own file or folder; a guessed one nothing."""
    assets = AssetFolder(meshes)
    version = assets.url("cup/cup.obj").split("/")[2]
    assert assets.find(f"/files/{version}/cup/cup.obj")
    assert assets.find(f"/files/{version}/wood.png") is None
    for path in ("/files", "/files/", "/files//wood.png", "/files/0/wood.png", "/other/0/wood.png", "/", ""):
        assert assets.find(path) is None
    assert AssetFolder(meshes).find(assets.url("wood.png")) is None


def test_the_server_gives_out_assets_and_nothing_kept(meshes):
    """The file's own bytes, whatever its name or its packed neighbour, under URLs of this run, uncached.

    Browsers take a picture of SVG, and a script, by the kind that is told alone.
    """
    (meshes / "wood.png.gz").write_bytes(b"another file")
    kinds = {"wood.svg": "image/svg+xml", "part.js": "text/javascript"}
    for name in kinds:
        (meshes / name).write_text("content")
    assets = AssetFolder(meshes)

    async def play(server, client):
        base = f"http://localhost:{server.port}"
        for name in ("wood.png", "ä b#?%.png", "cup/cup.obj"):
            async with client.get(base + assets.url(name), headers={"Accept-Encoding": "gzip"}) as answer:
                assert await answer.read() == (meshes / name).read_bytes()
                assert answer.headers["Cache-Control"] == "no-store"
        for name, kind in kinds.items():
            async with client.get(base + assets.url(name)) as answer:
                assert answer.content_type == kind
        root = assets.url(".")
        statuses = []
        for path in ("/wood.pn", "/.hidden.png", "/%2e%2e/secret.png", "//etc/passwd", "/..%2fsecret.png"):
            from yarl import URL

            async with client.get(URL(base + root + path, encoded=True)) as answer:
                statuses.append(answer.status)
        return statuses

    assert with_server(play, assets=assets) == [404] * 5


def test_a_whole_file_is_looked_through_once(meshes, monkeypatch):
    """Pages ask for it again with each job that shows it; a file that has changed has another URL."""
    looked_at = []
    monkeypatch.setattr(server_module, "why_not_whole", lambda path, data: looked_at.append(data) or "")
    assets = AssetFolder(meshes)

    async def play(server, client):
        for content in (b"one", b"another"):
            (meshes / "wood.png").write_bytes(content)
            for _ in range(3):
                async with client.get(f"http://localhost:{server.port}{assets.url('wood.png')}") as answer:
                    assert await answer.read() == content

    with_server(play, assets=assets)
    assert looked_at == [b"one", b"another"]


def test_without_an_assets_folder_nothing_is_served(meshes):
    """A campaign that names no folder gives out no file, and says how to name one."""

    async def play(server, client):
        async with client.get(
            f"http://localhost:{server.port}{AssetFolder(meshes).url('wood.png')}"
        ) as answer:
            return answer.status

    assert with_server(play) == 404
    with pytest.raises(AssetError, match='assets="meshes"'):
        Campaign("plain").asset("wood.png")


WHOLE = """
from runner import Campaign
campaign = Campaign("whole", assets={assets!r})
URL = {early}
@campaign.jobs
def jobs(): return [{{}}]
@campaign.scene
def scene(): pass
@campaign.render
async def render(session, job): pass
"""


def test_assets_are_beside_the_campaign_file(meshes, tmp_path, monkeypatch):
    """The folder is relative to the campaign file, wherever the command is given, also on the file's top level."""
    monkeypatch.chdir("/")
    file = tmp_path / "whole.py"
    file.write_text(WHOLE.format(assets="meshes", early='campaign.asset("wood.png")'))
    campaign = load_campaign(file)
    assert campaign.assets.find(unquote(campaign.asset("wood.png"))) == meshes / "wood.png"


@pytest.mark.parametrize(
    ("assets", "message"), [("none", "there is no folder"), (".", "a folder of their own")]
)
def test_an_unusable_assets_folder_is_said_at_once(tmp_path, assets, message):
    """Before the first browser starts: a folder that is not there, or one that holds the campaign itself."""
    file = tmp_path / "whole.py"
    file.write_text(WHOLE.format(assets=assets, early="None"))
    with pytest.raises(CampaignError, match=message):
        load_campaign(file)


def test_ready_comes_behind_everything_sent_before_and_brings_no_picture():
    """session.ready() is the readiness of a grab, alone."""
    from vuer.schemas import Sphere

    seen = []

    async def render(session):
        session.update @ Sphere(key="ball")
        return await session.ready(wait_s=7)

    async def play(tab):
        while not seen or seen[-1].get("type") != "ready":
            seen.append(await tab.next())
        await tab.say({"type": "is_ready", "reply": seen[-1]["reply"]})

    assert with_tab(render, play) is None
    assert [m.get("etype", m.get("type")) for m in seen] == ["SET", "UPDATE", "UPSERT", "ready"]
    assert seen[-1]["fence"] == seen[-2]["data"]["nodes"][0]["userData"]["n"] and seen[-1]["wait_s"] == 7


def test_settling_drops_a_first_picture():
    """With settle_s the scene is drawn once, left alone, and only then is the picture taken that counts."""
    requests = []

    async def render(session):
        session.settle_s = 0.05
        return await session.grab("ego")

    async def play(tab):
        for kind in ("PNG", "JPEG"):
            requests.append((await tab.until_grab())[-1])
            await tab.answer(requests[-1], {"frame": picture(kind)})

    assert with_tab(render, play).kind == "image/jpeg" and len(requests) == 2


def test_a_model_that_the_client_would_not_load_again_is_refused():
    """Another text under the same key is ignored by Vuer's client: no silent wrong picture."""
    from vuer.schemas import Obj

    async def render(session):
        session.upsert @ Obj(key="cup", text="v 0 0 0")
        session.upsert @ Obj(key="cup", text="v 0 0 0", position=[0, 0, 1])
        session.upsert @ Obj(key="cup", src="/files/1/cup.obj")
        session.upsert @ Obj(key="cup", text="v 0 0 0")
        session.upsert @ Obj(key="cup", text="v 1 1 1")

    with pytest.raises(FrameError, match="element 'cup': its text cannot change"):
        with_tab(render, lambda tab: asyncio.sleep(10))


def test_an_element_that_is_added_twice_is_told_of():
    """The client draws both, and an update reaches the first: a loop may add where it means to move."""
    from vuer.schemas import Box

    async def render(session):
        session.add @ Box(key="cup")
        session.upsert @ Box(key="cup", position=[1, 0, 0])
        session.remove @ "cup"
        session.add @ [Box(key="cup"), Box(key="jug")]
        before = dict(session.remarks)
        session.add @ Box(key="cup", position=[1, 0, 0])
        return before, session.remarks["twice"]

    before, told = with_tab(render, lambda tab: asyncio.sleep(10))
    assert not before and told.startswith("element 'cup' was added twice: both are drawn")


def test_what_is_ignored_of_many_elements_is_said_once():
    """One line a kind of element and prop, whatever the keys are."""
    from vuer.schemas import Arrow, Box

    async def render(session):
        session.add @ [Box(key=f"b{n}", color="red") for n in range(9)]
        session.add @ [Arrow(key=f"a{n}", visible=False) for n in range(9)]
        return list(session.remarks.values())

    box, arrow = with_tab(render, lambda tab: asyncio.sleep(10))
    assert box.startswith("element 'b0'") and arrow.startswith(
        "element 'a0' (Arrow): its visible has no effect"
    )


def test_a_text_whose_font_lacks_its_characters_is_told_what_to_give():
    """Vuer's client asks the network for a font by an address that says nothing to a person."""
    url = "https://cdn.jsdelivr.net/gh/lojjic/unicode-font-resolver@v1.0.1/packages/data/plane0/600-6ff.json"

    async def play(tab):
        request = (await tab.until_grab())[-1]
        reply = f"GRAB_RENDER_RESPONSE@{request['uuid']}"
        await tab.say(
            {"type": "refused", "reply": reply, "reason": f"could not load {url}", "is_lost": False}
        )

    with pytest.raises(FrameError, match=r"characters that its font lacks.*give font="):
        with_tab(lambda session: session.grab("ego"), play)


def a_ply(rows: int) -> bytes:
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nelement face 1\nend_header\n"
    return (head + "1\n" * rows).encode()


def a_cloud(rows: int) -> bytes:
    return ("VERSION .7\nFIELDS rgb\nPOINTS 4\nDATA ascii\n" + "1\n" * rows).encode()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "progressive", "ply", "pcd", "glb"])
def test_a_file_that_is_cut_off_is_known_as_such(kind):
    """Browsers show what there is of it; what follows a whole one, as cameras append it, does no harm."""
    if kind in ("ply", "pcd"):
        whole, part = (a_ply(4), a_ply(3)) if kind == "ply" else (a_cloud(4), a_cloud(3))
    else:
        buffer = io.BytesIO()
        pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        options = {"progressive": True} if kind == "progressive" else {}
        Image.fromarray(pixels).save(
            buffer, "JPEG" if kind == "progressive" else kind.replace("glb", "PNG"), **options
        )
        whole = buffer.getvalue()
        if kind == "glb":
            whole = b"glTF" + struct.pack("<II", 2, 12 + len(whole)) + whole
        part = whole[: len(whole) * 7 // 10]
    assert why_not_whole(f"a.{kind}", part)
    assert why_not_whole(f"a.{kind}", whole) == why_not_whole(f"a.{kind}", whole + b"\0\xff\xda more") == ""


def test_a_damaged_picture_an_empty_file_and_a_pointer_are_known_as_such():
    """A texture of these would be black, and an empty model would be waited for."""
    whole = picture("PNG")
    at = whole.index(b"IDAT") + 8
    assert "damaged" in why_not_whole("a.png", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert why_not_whole("a.obj", b"") == "the file is empty" and why_not_whole("a.mtl", b"") == ""
    assert "git lfs pull" in why_not_whole(
        "a.glb", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )


def test_a_cloud_that_the_client_would_show_black_is_known_as_such():
    """One without colours; and in text one of PCL's, which writes the bits of a colour as a float."""
    cloud = "VERSION .7\nFIELDS x y z rgb\nTYPE F F F {}\nPOINTS 1\nDATA {}\n1 2 3 {}\n"
    assert "black" in why_not_whole("a.pcd", cloud.format("F", "ascii", "2.34e-38").encode())
    assert not why_not_whole("a.pcd", cloud.format("U", "ascii", "16711680").encode())
    assert not why_not_whole("a.pcd", cloud.format("F", "binary", "2.34e-38").encode())
    for kind in ("ascii", "binary", "binary_compressed"):
        lidar = cloud.replace("rgb", "intensity").format("F", kind, "0.5").encode()
        assert "PointCloud" in why_not_whole("a.pcd", lidar)


@pytest.mark.parametrize("form", ["ascii 1.0", "binary_little_endian 1.0"])
def test_a_ply_whose_colours_the_client_would_not_show_is_known_as_such(form):
    """Floats from 0 to 1 came out black, and MeshLab's older names white."""

    def reason(kind, name):
        colors = "".join(f"property {kind} {name}{color}\n" for color in ("red", "green", "blue"))
        head = f"ply\nformat {form}\nelement vertex 1\nproperty float x\n{colors}end_header\n"
        return why_not_whole("a.ply", head.encode() + b"1 1 1 1\n")

    assert "too dark" in reason("float", "") and "too dark" in reason("float64", "")
    assert "diffuse_red" in reason("uchar", "diffuse_")
    assert not reason("uchar", "")


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_model_of_gltf_that_the_client_would_show_wrong_is_known_as_such(is_packed):
    """Its colours in a way that three.js does not read any more, or a required extension that nothing here knows."""

    def reason(**model):
        text = json.dumps({"asset": {"version": "2.0"}, **model}).encode()
        if not is_packed:
            return why_not_whole("a.gltf", text)
        head = struct.pack("<III", 2, 20 + len(text), len(text))
        return why_not_whole("a.glb", b"glTF" + head + b"JSON" + text)

    glossy = {"KHR_materials_pbrSpecularGlossiness": {"diffuseTexture": {"index": 0}}}
    assert "it would be grey" in reason(materials=[{"extensions": glossy}])
    assert not reason(materials=[{"extensions": glossy, "pbrMetallicRoughness": {"metallicFactor": 0}}])
    assert "requires EXT_new" in reason(extensionsRequired=["EXT_new", "KHR_texture_transform"])
    assert not reason(extensionsUsed=["EXT_new"])


MISSING = """
from pathlib import Path
from vuer.schemas import CameraView, Glb, Obj, Plane, Scene, Urdf
from runner import Campaign

campaign = Campaign("missing", max_failures=1, assets="assets")
KINDS = ["plane", "cut", "stale", "obj", "mtl", "glb", "bin", "urdf", "mesh", "corner"]

@campaign.jobs
def jobs():
    for kind in KINDS:
        yield kind, {"kind": kind}
        yield f"after {kind}", {"kind": None}

@campaign.scene
def scene():
    return Scene(rawChildren=[CameraView(key="ego", width=64, height=48, fov=50, position=[0, 0, 3])])

@campaign.render
async def render(session, job):
    kind, gone = job.params["kind"], campaign.asset("here") + "/gone"
    plane = dict(args=[4, 3], materialType="basic")
    if kind == "plane":
        session.upsert @ Plane(key="plane", **plane, material={"map": gone + ".png"})
    elif kind == "cut":
        session.upsert @ Plane(key="plane", **plane, material={"map": campaign.asset("here/cut.png")})
    elif kind == "stale":
        session.upsert @ Plane(key="plane", **plane, material={"map": campaign.asset("here/stale.png")})
        (Path(__file__).parent / "assets/here/stale.png").write_bytes(b"another")
    elif kind == "corner":
        session.upsert @ Obj(key="corner", src=campaign.asset("here/corner.obj"))
    elif kind in ("obj", "glb", "urdf"):
        session.upsert @ {"obj": Obj, "glb": Glb, "urdf": Urdf}[kind](key=kind, src=f"{gone}.{kind}")
    elif kind:
        name = {"mtl": "a/model.obj", "bin": "b/model.gltf", "mesh": "c/model.urdf"}[kind]
        tag = {"mtl": Obj, "bin": Glb, "mesh": Urdf}[kind]
        session.upsert @ tag(key=kind, src=campaign.asset(name))
    else:
        session.upsert @ Plane(key="plane", **plane, material={"color": "#ff0000"})
    if kind in ("plane", "cut", "obj"):
        await session.ready()
    frame = await session.grab()
    assert tuple(frame.array[24, 32]) == (254, 0, 0), frame.array[24, 32]
    job.save("rgb.jpg", frame)
"""


def test_what_cannot_be_loaded_fails_its_job_by_name(tmp_path, browser_path):
    """A texture or a model that is not there, is cut off or was changed: the job's reason, with its URL; no other's.

    Of a model whose faces name corners that it does not have, three.js does not tell the URL.
    """
    assets = tmp_path / "assets"
    for name, kind, part in [
        ("a", "obj", "model.mtl"),
        ("b", "gltf", "model.bin"),
        ("c", "urdf", "model.glb"),
    ]:
        (assets / name / "parts").mkdir(parents=True)
        check_frames.WRITE[kind](assets / name, 1)
        (assets / name / "parts" / part).unlink()
    (assets / "here").mkdir()
    (assets / "here" / "cut.png").write_bytes(picture("PNG")[:-20])
    (assets / "here" / "stale.png").write_bytes(picture("PNG"))
    (assets / "here" / "corner.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 2 4\n")
    file = tmp_path / "missing.py"
    file.write_text(MISSING)
    end = run("run", file, "-n", "1", "--halt", "never")
    with Store(tmp_path / "runner.db") as store:
        errors = {row["key"]: row["error"] for row in store.reader.jobs(1)}
    assert end.returncode == 1, end.stderr
    missing = {
        "plane": "here/gone.png", "cut": "here/cut.png (the file is cut off after",
        "stale": "here/stale.png (it was changed after the job had asked for it",
        "obj": "here/gone.obj", "mtl": "a/parts/model.mtl", "glb": "here/gone.glb",
        "bin": "b/parts/model.bin", "urdf": "here/gone.urdf", "mesh": "c/parts/model.glb",
    }  # fmt: skip
    assert "Computed radius is NaN" in errors.pop("corner")
    for kind, path in missing.items():
        assert errors[f"after {kind}"] is None, errors
        assert "could not load" in errors[kind] and f"/{path}" in errors[kind], errors[kind]


TURNS = """
import sys
sys.path.insert(0, {scripts!r})
from check_frames import make_scene, whole, write_texture
from vuer.schemas import Glb
from runner import Campaign

campaign = Campaign("turns", assets="assets")

@campaign.jobs
def jobs():
    for turn in range({turns}):
        yield {{"turn": turn, "number": 300 * (turn % {files})}}

@campaign.scene
def scene():
    return make_scene()

@campaign.render
async def render(session, job):
    turn, number = job.params["turn"], job.params["number"]
    if turn:
        session.remove @ [f"{{kind}}-{{turn - 1}}" for kind in ("texture", "model")]
    file = campaign.assets.folder / f"{{number}}.png"
    if not file.exists():
        write_texture(file, number, size={size})
    session.upsert @ whole(f"texture-{{turn}}", {{"map": campaign.asset(file.name)}})
    job.save("texture.png", await session.grab("home", format="png"))
    model = campaign.asset(f"{{number}}/model.glb")
    session.upsert @ Glb(key=f"model-{{turn}}", src=model, position=[0, 0, 0.1])
    session.remove @ f"texture-{{turn}}"
    job.save("model.png", await session.grab("home", format="png"))
"""


def write_turns(folder: Path, turns: int, files: int, size: int) -> Path:
    """A campaign whose jobs show a texture and then a model, of `files` different ones, in turns."""
    for index in range(files):
        (folder / "assets" / str(300 * index)).mkdir(parents=True)
        check_frames.write_glb(folder / "assets" / str(300 * index), 300 * index)
    file = folder / "turns.py"
    scripts = str(Path(check_frames.__file__).parent)
    file.write_text(TURNS.format(scripts=scripts, turns=turns, files=files, size=size))
    return file


def test_what_was_taken_off_the_gpu_is_shown_again_as_it_was(tmp_path, browser_path):
    """Textures and models that come back after many others look as they did at first."""
    end = run("run", write_turns(tmp_path, turns=26, files=13, size=64), "-n", "1")
    assert end.returncode == 0, end.stderr
    with Store(tmp_path / "runner.db") as store:
        jobs = {row["key"]: row["params"] for row in store.reader.jobs(1)}
        artifacts = store.reader.artifacts(1)
    assert len(artifacts) == 52
    for row in artifacts:
        number = jobs[row["key"]]["number"]
        assert check_frames.numbers_in(tmp_path / "results" / row["path"]) == {number}, row


def test_textures_of_the_past_leave_the_gpu(tmp_path, browser_path):
    """Vuer's client would keep each for ever: 5 MB for one of 1024 by 1024 pixels. Memory does not grow with them."""
    import time

    import psutil

    campaign = write_turns(tmp_path, turns=40, files=13, size=1024)
    campaign.write_text(campaign.read_text().replace('f"{number}.png"', 'f"{turn}.png"'))
    going = check_frames.Run(campaign, sessions=1, by_hand=False)
    sizes = {}
    while going.process.poll() is None:
        done = going.done()
        for process in going.browser_processes():
            try:
                if done and check_frames.type_of(process) == "gpu-process":
                    sizes[done] = process.memory_info().rss / 1e6
            except psutil.Error:
                pass
        time.sleep(0.05)
    assert going.end() == 0
    early = min(size for done, size in sizes.items() if done >= 12)
    late = max(size for done, size in sizes.items() if done >= 32)
    assert late - early < 50, sizes  # 20 textures are 112 MB
