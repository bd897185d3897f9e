"""Attacks on a running server: by strangers, who have no token, and by tabs, which have one."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import struct
import zlib
from contextlib import asynccontextmanager, suppress

import aiohttp
import msgpack
import pytest
import yarl
from pictures import picture
from PIL import Image
from processes import lines_of, start
from tabs import Tab
from victim import Victim
from waiting import wait_until

from runner.results import make_results
from runner.store import Store

MIB = 1 << 20


@pytest.fixture(scope="module")
def shared():
    victim = Victim()
    yield victim
    victim.end()


@pytest.fixture
def victim(shared):
    """The server, which goes on to serve others whatever was done to it, and writes no traceback."""
    yield shared
    asyncio.run(_render(shared))
    assert shared.process.poll() is None
    assert not [line for line in shared.errors if "Traceback" in line or "Error" in line]


@asynccontextmanager
async def tab_of(victim, name="64x48 jpeg"):
    async with aiohttp.ClientSession() as client, client.ws_connect(victim.url(name)) as websocket:
        yield Tab(websocket)


async def _render(victim, name="64x48 jpeg", value=None):
    """Be a tab that answers one request, well unless told otherwise; the outcome that the server tells."""
    before = len(victim.outcomes)
    async with tab_of(victim, name) as tab:
        await tab.hello()
        await tab.answer((await tab.until_grab())[-1], value or {"frame": picture("JPEG")})

        def judged():
            return [one for one in victim.outcomes[before:] if not one["error"].startswith("gone")]

        return await asyncio.to_thread(wait_until, judged, "the picture to be judged")


def outcome_of(victim, name, value):
    return asyncio.run(_render(victim, name, value))[0]


def webp_of(width, height):
    """38 bytes that begin as a WebP of that size."""
    head = (
        b"VP8X"
        + struct.pack("<II", 10, 0)
        + struct.pack("<I", width - 1)[:3]
        + struct.pack("<I", height - 1)[:3]
    )
    return b"RIFF" + struct.pack("<I", 30) + b"WEBP" + head + bytes(8)


def jpeg_of(width, height):
    """A small JPEG whose head claims that size."""
    data = picture("JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def png_of(width, height):
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG", optimize=True)
    return file.getvalue()


@pytest.mark.parametrize("bomb", [webp_of, jpeg_of, png_of])
def test_a_picture_bomb_is_not_unpacked(victim, bomb):
    """Its size is compared with the camera's before its pixels take any memory."""
    data = bomb(13000, 13000)
    victim.reset_peak()
    before = victim.peak_bytes()
    image_format = bomb.__name__.removesuffix("_of")
    outcome = outcome_of(victim, f"64x48 {image_format}", {"frame": data})
    print("peak MiB", (victim.peak_bytes() - before) / MIB, outcome)
    assert victim.peak_bytes() - before < 32 * MIB
    assert "the browser sent 13000x13000" in outcome["error"]


def chunk(kind, data):
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks):
    whole = picture("PNG")
    return whole[:33] + b"".join(chunks) + whole[33:]


def webp_with(flags, *chunks):
    body = b"WEBPVP8X" + struct.pack("<II", 10, flags) + bytes([63, 0, 0, 47, 0, 0]) + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def in_passes(count):
    """A JPEG whose pixels are gone through that many times."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * count + whole[-2:]


def lossy():
    file = io.BytesIO()
    Image.open(io.BytesIO(picture("PNG"))).save(file, "WEBP", quality=90)
    return file.getvalue()


# A text of a million characters that take four bytes each.
TEXT = zlib.compress("\U0001f600".encode() + b"a" * ((1 << 20) - 8), 9)
PIXELS = picture("WEBP")[12:]


@pytest.mark.parametrize(
    ("image_format", "data", "told"),
    [
        ("png", png_with(*(chunk(b"iTXt", b"%d\0\1\0\0\0" % n + TEXT) for n in range(60))), "more in it"),
        ("png", png_with(*(chunk(b"zTXt", b"%d\0\0" % n + TEXT) for n in range(60))), "more in it"),
        ("png", png_with(*[chunk(b"prVt", b"")] * 15000), "more in it"),
        ("png", png_with(chunk(b"tEXt", b"k\0" + b"x" * 200_000)), "more in it"),
        ("png", png_with(chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(64 * MIB), 9))), "not a whole picture"),
        ("png", png_with(chunk(b"acTL", struct.pack(">II", 1 << 30, 0))), "that moves"),
        ("webp", webp_with(2, b"ANIM" + struct.pack("<IIH", 6, 0, 0), PIXELS), "that moves"),
        ("webp", webp_with(0x20, b"ICCP" + struct.pack("<I", 200_000) + bytes(200_000), PIXELS), "more in it"),
        ("webp", webp_with(0, webp_of(13000, 13000)[12:], PIXELS), "not a whole picture"),
        ("webp", lossy(), "not lossless"),
        ("jpeg", in_passes(10_000), "not come in one pass"),
        ("jpeg", in_passes(1), "not come in one pass"),
        ("jpeg", picture("JPEG")[:2] + b"\xff\xe4\x00\x02" * 50_000 + picture("JPEG")[2:], "more in it"),
        ("jpeg", b"\xff\xd8\xff\xd9", "not come in one pass"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)  # fmt: skip
def test_a_picture_that_holds_more_than_its_pixels_is_not_unpacked(victim, image_format, data, told):
    """Packed texts, profiles, animations and passes without end: a small file takes neither memory nor time."""
    victim.reset_peak()
    before = victim.peak_bytes()
    outcome = outcome_of(victim, f"64x48 {image_format}", {"frame": data})
    print("peak MiB", (victim.peak_bytes() - before) / MIB, outcome)
    assert victim.peak_bytes() - before < 32 * MIB
    assert outcome["width"] == 0 and told in outcome["error"]


@pytest.mark.parametrize("image_format", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_a_file_of_a_format_that_nobody_asks_for_is_not_opened(victim, image_format):
    """Whatever decoders there are, three are used."""
    outcome = outcome_of(victim, "64x48 png", {"frame": picture(image_format)})
    assert "not a whole picture in the format png" in outcome["error"]


@pytest.mark.parametrize(
    "value",
    [
        {"frame": picture("PNG"), "depthFrame": b"RGBA" + struct.pack("<II", 1, 1) + bytes(4)},
        {"frame": picture("PNG"), "depthFrame": picture("JPEG")},
        {"frame": picture("PNG"), "depthFrame": b"RGBA" + struct.pack("<II", 64, 48) + bytes(64 * 48 * 4 - 1)},
        {"frame": picture("PNG"), "depthFrame": [1, 2]},
        {"frame": picture("PNG")},
    ],
)  # fmt: skip
def test_depth_of_another_size_or_kind_is_refused(victim, value):
    """It would pass for the depth of the picture beside it."""
    outcome = outcome_of(victim, "64x48 png depth", value)
    print(outcome)
    assert outcome["width"] == 0 and "depth" in outcome["error"]


@pytest.mark.parametrize(
    ("asked", "sent"), [("png", "JPEG"), ("webp", "PNG"), ("jpeg", "PNG"), ("raw", "PNG")]
)
def test_a_picture_of_another_format_is_refused(victim, asked, sent):
    """Where a lossless one was asked for, a JPEG is another picture."""
    outcome = outcome_of(victim, f"64x48 {asked}", {"frame": picture(sent)})
    print(outcome)
    assert outcome["width"] == 0


def knock(victim, count, what=b""):
    """That many connections from strangers."""
    open_ones = []
    for _ in range(count):
        one = socket.socket()
        one.settimeout(0.5)
        try:
            one.connect(("127.0.0.1", victim.port))
            one.sendall(what)
        except OSError:
            one.close()
            continue
        open_ones.append(one)
    return open_ones


@pytest.mark.slow
def test_a_storm_of_strangers_takes_nothing_from_the_run():
    """800 connections at a limit of 300 descriptors: tabs are let in and render, and one line tells of it."""
    victim = Victim(descriptors=300)
    before = victim.descriptors()
    strangers = knock(victim, 800, b"GET / HTTP/1.1\r\nHost: ")
    try:
        outcome = outcome_of(victim, "64x48 png", {"frame": picture("PNG")})
        print("descriptors", before, victim.descriptors(), "stderr lines", len(victim.errors), victim.said)
        assert outcome["width"] == 64
        assert victim.descriptors() - before < 200
        assert victim.errors == []
        assert len(victim.said) == 1
    finally:
        for one in strangers:
            one.close()
        victim.end()


DEEP = 100_000


@pytest.mark.parametrize(
    "message",
    [
        b"\xc1 no msgpack", msgpack.packb([1, 2]), msgpack.packb(7), b"", b"\xdd\xff\xff\xff\xff",
        b"\x91" * DEEP + b"\x01", b"\x81\xa5etype" * DEEP,
        msgpack.packb({"etype": ["GRAB_RENDER_RESPONSE"], "value": 1}), msgpack.packb({"etype": {"a": 1}}),
        "no json", "7", "[]", "null", '"x"', "[" * DEEP, '{"type":' * DEEP, '{"type": []}', '{"type": {}}',
        '{"type": "is_ready", "reply": []}', '{"type": "is_ready", "reply": {"a": 1}}', '{"type": "is_ready"}',
        '{"type": "refused", "reply": [[]], "reason": {}}', '{"type": "refused", "reply": "", "reason": []}',
        '{"type": "hello", "versions": [1]}', '{"type": "hello", "versions": "x", "ok": {}}',
        '{"type": "hello", "ok": false, "reason": {"a": 1}}', '{"type": "hello", "versions": {"three": []}}',
        '{"type": "hello", "ok": true, "browser": [1], "renderer": {"a": 2}}', '{"type": "grab"}',
        json.dumps({"type": "refused", "reply": "", "reason": "\ud800"}), '{"type": "x", "n": ' + "9" * 5000 + "}",
    ],
    ids=lambda message: repr(message[:24]),
)  # fmt: skip
def test_nonsense_ends_that_tab_at_most(victim, message):
    """Whatever a tab says, before its hello or while a picture is asked of it, other tabs render on."""

    async def play():
        async with tab_of(victim) as tab, tab_of(victim) as stranger:
            await tab.hello()
            await tab.until_grab()
            for one in (tab, stranger):
                send = one.websocket.send_str if isinstance(message, str) else one.websocket.send_bytes
                await send(message)
                await one.websocket.ping()

    asyncio.run(play())


def frame(opcode, content=b"", is_last=True, length=None):
    """A part of what is said on a websocket, masked with zeros."""
    head = bytes([is_last << 7 | opcode])
    if length is None and len(content) < 126:
        return head + bytes([0x80 | len(content)]) + bytes(4) + content
    return head + b"\xff" + struct.pack(">Q", len(content) if length is None else length) + bytes(4) + content


PACKED = zlib.compressobj(9, zlib.DEFLATED, -15)
BOMB = PACKED.compress(bytes(64 * MIB)) + PACKED.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    "said",
    [
        frame(0x42, BOMB[:-4]), frame(3), frame(0, b"no beginning"), frame(2, b"x", False) + frame(1, b"y"),
        frame(2, b"", False) + frame(0, b"", False) * 60_000,
        frame(2, b"x", False) + frame(0, bytes(1 << 16), False) * 50,
        frame(9, bytes(125)) * 5000, frame(10, bytes(125)) * 5000, frame(9, bytes(126)), frame(9, b"x", False),
        frame(2, length=1 << 63), frame(2, length=(1 << 28) + 1), frame(8, b"\0\1x"), frame(8, b"x"),
        frame(1, b"\xed\xa0\x80"),
    ],
    ids=lambda said: said[:12].hex(),
)  # fmt: skip
def test_who_misuses_a_websocket_is_cut_off(victim, said):
    """Packed messages, pieces without end, floods of pings, lengths beyond all bounds: that tab alone ends."""
    victim.reset_peak()
    before = victim.peak_bytes()
    hello = frame(1, json.dumps({"type": "hello", "ok": True, "versions": {}}).encode())
    with socket.create_connection(("127.0.0.1", victim.port), 10) as tab:
        tab.sendall(
            b"GET /?token=%s&name=64x48%%20jpeg HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
            b"Upgrade: websocket\r\nConnection: upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % (victim.token.encode(), victim.port)
        )
        with suppress(ConnectionError):
            tab.sendall(hello + said)
            while tab.recv(1 << 16):
                pass
    assert victim.peak_bytes() - before < 32 * MIB


LARGE = 64 * MIB


@pytest.mark.parametrize(
    "message",
    [
        lambda request: msgpack.packb({"etype": f"GRAB_RENDER_RESPONSE@{request['uuid']}", "value": bytes(LARGE)}),
        lambda request: json.dumps({"type": "refused", "reply": "", "reason": "r" * LARGE}),
        lambda request: json.dumps({"type": "hello", "versions": {"three": "v" * 200_000}}),
    ],
    ids=["picture", "reason", "versions"],
)  # fmt: skip
def test_a_message_is_no_longer_than_what_was_asked_for(victim, message):
    """What nobody has asked for is not taken in: that tab alone ends."""

    async def play():
        async with tab_of(victim) as other, tab_of(victim) as tab:
            await other.hello()
            request = (await other.until_grab())[-1]
            await tab.hello()
            own = (await tab.until_grab())[-1]
            victim.reset_peak()
            before = victim.peak_bytes()
            content = message(own)
            try:
                if isinstance(content, str):
                    await tab.websocket.send_str(content)
                else:
                    await tab.websocket.send_bytes(content)
            except ConnectionError:
                pass
            while (await tab.next()).get("type") not in ("CLOSE", "CLOSED", "CLOSING", "ERROR"):
                pass
            await other.answer(request, {"frame": picture("JPEG")})
            await other.until_grab()
            return victim.peak_bytes() - before

    grown = asyncio.run(play())
    print("peak MiB", grown / MIB)
    assert grown < 32 * MIB


@pytest.mark.parametrize(
    "origin",
    [
        "http://[", "http://a]b", "null", "//", "\\\\", "http://[::1", "http://127.0.0.1:x", "//127.0.0.1:PORT",
        "http://127.0.0.1:PORT@evil", "http://evil@127.0.0.1:PORT", "file://127.0.0.1:PORT", "http://127.0.0.1:PORT/x",
        "http://127.0.0.1.evil:PORT", "http://localhost:PORT", "http://127.0.0.1:1", "",
    ],
)  # fmt: skip
def test_an_origin_that_makes_no_sense_is_another_one(victim, origin):
    """It is refused as a stranger's, not by a mistake of the server's."""

    async def play():
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{victim.port}/"
            async with client.get(
                url, headers={"Origin": origin.replace("PORT", str(victim.port))}
            ) as answer:
                return answer.status

    assert asyncio.run(play()) == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil", "evil:PORT", "localhost", "localhost:1", "localhost:PORT@evil", "evil@localhost:PORT",
        "localhost.evil:PORT", "evil\\@localhost:PORT", "localhost:PORT/evil", "evil#localhost:PORT",
        "evil?localhost:PORT", "0.0.0.0:PORT",
        "2130706433:PORT", "[::ffff:127.0.0.1]:PORT", "localhost:99999999", "[", "192.0.2.1:PORT",
    ],
)  # fmt: skip
def test_a_host_that_is_not_this_server_alone_is_another_one(victim, host):
    """However it is written: a name that an attacker's own name server gives leads nowhere."""
    named = host.replace("PORT", str(victim.port))
    answer = exchanged(victim, f"GET / HTTP/1.1\r\nHost: {named}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403"), answer


def exchanged(victim, what):
    """The first that a stranger hears who says that."""
    with socket.create_connection(("127.0.0.1", victim.port), 10) as stranger:
        stranger.sendall(what)
        return stranger.recv(4096)


GRABS = """
from vuer.schemas import CameraView, Scene
from runner import Campaign
campaign = Campaign("grabs", max_failures=1)
@campaign.jobs
def jobs():
    yield "one", {}
@campaign.scene
def scene():
    return Scene(rawChildren=[CameraView(key="ego", width=64, height=48)])
@campaign.render
async def render(session, job):
    job.save("rgb.jpg", await session.grab("ego"))
"""


@pytest.mark.slow
def test_a_run_that_others_may_reach_tells_nobody_its_token(tmp_path):
    """Its link can be opened elsewhere and is in one file, its owner's alone; a tab forges no line of the run."""
    (tmp_path / "grabs.py").write_text(GRABS)
    process = start("run", tmp_path / "grabs.py", "-n", "0", "--host", "0.0.0.0")
    lines = lines_of(process)
    link = yarl.URL(
        wait_until(lambda: [line for line in lines if line.startswith("http")], "the link")[0].strip()
    )
    assert link.host not in ("0.0.0.0", "localhost")
    token = yarl.URL(link.query["ws"]).query["token"]
    said = f"could not load {link} of {link.query['ws']} \x1b[31m\nrunner: all is well"

    async def play():
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(link.query["ws"] + "&name=%1B[2J%0Aevil") as one,
        ):
            tab = Tab(one)
            await tab.hello(browser="\x1b[31m" * 1000, versions={f"part {n}": "v" * 1000 for n in range(50)})
            announced = [message for message in await tab.until_grab() if message.get("type") == "grab"][-1]
            await tab.say({"type": "refused", "reply": announced["reply"], "reason": said})
            await tab.next()

    asyncio.run(play())
    assert process.wait(60) == 1
    told = "".join(lines)
    assert "is plain HTTP" in told and "\x1b" not in told and "\nrunner: all is well" not in told
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    (kept,) = [path for path in files if token.encode() in path.read_bytes()]
    assert kept.name == "runner.db.token" and kept.stat().st_mode & 0o777 == 0o600
    (log,) = tmp_path.rglob("run.log")
    assert "token%3D…" in log.read_text() and "\x1b" not in log.read_text()
    with Store(tmp_path / "runner.db") as store:
        (session,) = store.reader.sessions(1)
        assert all(len(str(value)) < 4000 for value in session.values())
        assert "token%3D…" in store.reader.jobs(1)[0]["error"]
    assert {tmp_path.joinpath(name).stat().st_mode & 0o777 for name in ("runner.db", "results")} == {
        0o600,
        0o700,
    }


def test_what_is_there_already_stays_as_open_as_it_is(tmp_path):
    """Who shares results with a group opens the folder and the database; nothing is loosened, nothing closed."""
    for name, mode in (("shared", 0o2770), ("closed", 0o700)):
        root = tmp_path / name
        root.mkdir()
        root.chmod(mode)
        file = root / "runner.db"
        file.touch()
        file.chmod(mode & 0o660)
        Store(file).close()
        make_results(root)
        assert root.stat().st_mode & 0o7777 == mode and file.stat().st_mode & 0o777 == mode & 0o660
    before = os.umask(0o277)
    try:
        make_results(tmp_path / "new")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o500
