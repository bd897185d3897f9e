"""The server lets in who has the token and gives out the web client only; a session keeps its order."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from unittest.mock import patch

import aiohttp
import msgpack
import pytest
import yarl
from needs import missing
from pictures import picture
from PIL import Image
from tabs import Tab, with_server, with_tab
from vuer.events import GrabRender, MjRender, MjStep
from vuer.schemas import CameraView, DefaultScene, Scene, Sphere

from runner.errors import FrameError, SessionGone, UsageError
from runner.frame import Frame
from runner.machine import refuse_address, tls_context
from runner.sessions import door, session_view
from runner.sessions import server as server_module
from runner.sessions import session as session_module
from runner.tabs import PERSON, TabOwner


def test_a_picture_request_comes_behind_everything_sent_before():
    """Nothing is dropped, however much is sent at once, and the request overtakes nothing."""
    seen = []

    async def render(session):
        for number in range(500):
            session.update @ Sphere(key="ball", number=number)
        return await session.grab()

    async def play(tab):
        seen.extend(await tab.until_grab())
        await tab.answer(seen[-1], {"frame": picture("JPEG")})

    frame = with_tab(render, play)
    assert (frame.width, frame.height) == (64, 48)
    assert [message.get("etype", message.get("type")) for message in seen] == (
        ["SET"] + ["UPDATE"] * 500 + ["UPSERT", "grab", "GRAB_RENDER"]
    )
    numbers = [m["data"]["nodes"][0]["number"] for m in seen if m.get("etype") == "UPDATE"]
    assert numbers == list(range(500))
    fence = seen[-3]["data"]["nodes"][0]["userData"]["n"]
    assert seen[-2]["fence"] == fence and seen[-2]["reply"].endswith(seen[-1]["uuid"])


def test_cameras_are_asked_for_their_exact_size_and_without_gizmos():
    """Vuer's client would halve the picture and draw other cameras into it."""
    seen = []

    async def render(session):
        return await session.grab("ego")

    async def play(tab):
        seen.extend(await tab.until_grab())
        await tab.answer(seen[-1], {"frame": picture("JPEG")})

    with_tab(render, play)
    (camera,) = seen[0]["data"]["rawChildren"]
    assert camera["downsample"] == 1 and camera["showCamera"] is False and camera["stream"] == "ondemand"


def test_previews_in_the_main_view_have_no_labels():
    """The page would load a font for them before its first picture, in which they are not shown."""
    seen = []

    async def render(session):
        session.set @ DefaultScene(rawChildren=[CameraView(key="ego", width=64, height=48)])
        return await session.grab("ego")

    async def play(tab):
        seen.extend(await tab.until_grab())
        await tab.answer(seen[-1], {"frame": picture("JPEG")})

    with_tab(render, play)
    elements = [one for message in seen for one in message.get("data", {}).get("bgChildren", [])]
    assert [one["showLabels"] for one in elements if one["tag"] == "CameraPreviewThumbs"] == [False]


def test_vuers_own_call_gives_the_checked_picture():
    """As the tutorial writes it; what Vuer's client would ignore is refused, and so is a picture cut off."""
    data = picture("JPEG")

    async def render(session):
        event = await session.grab_render(ttl=5, key="ego", quality=0.9, downsample=1)
        assert event.value["frame"] == data and event.value["width"] == 64 and "GRAB" in event.etype
        with pytest.raises(FrameError, match=r"downsample=….*no effect"):
            await session.grab_render(key="ego", downsample=4)
        return await session.grab_render()

    async def play(tab):
        await tab.answer((await tab.until_grab())[-1], {"frame": data})
        await tab.answer((await tab.until_grab())[-1], {"frame": data[:-9]})

    with pytest.raises(FrameError, match="cut off"):
        with_tab(render, play)


def test_a_request_of_vuers_is_sent_when_the_scene_is_ready_and_gets_its_own_answer():
    """As Vuer's session.rpc, behind all that was sent; what may have changed the page has it loaded anew."""
    seen = []

    async def render(session):
        session.update @ Sphere(key="ball", position=[1, 0, 0])
        event = await session.rpc(MjStep(key="sim", ctrl=[0.5]), ttl=5)
        return event.value, session.is_spoiled, session.lasting

    async def play(tab):
        while "READY" not in (said := await tab.next()).get("reply", ""):
            seen.append(said["etype"])
        await tab.say({"type": "is_ready", "reply": said["reply"]})
        step = await tab.next()
        seen.append((step["etype"], step["key"], step["data"]))
        for kind, value in (("MJ_STEP_RESPONSE@another", "another's"), (step["rtype"], "its own")):
            await tab.websocket.send_bytes(msgpack.packb({"etype": kind, "ts": 1, "value": value}))

    value, is_spoiled, lasting = with_tab(render, play)
    assert value == "its own"
    assert seen == ["SET", "UPDATE", "UPSERT", ("MJ_STEP", "sim", {"ctrl": [0.5]})]
    assert is_spoiled and "MJ_STEP" in lasting


def test_a_request_that_nothing_in_the_page_answers_is_refused_by_its_name():
    """Not a bare time-out; asking changes nothing, and what is no request is not sent at all."""

    async def render(session):
        with pytest.raises(FrameError, match=r"answered MJ_RENDER \(key 'wrist'\) within 0\.1 s"):
            await session.rpc(MjRender(key="wrist"), ttl=0.1)
        with pytest.raises(FrameError, match="takes a request of Vuer's"):
            await session.rpc("MJ_STEP")
        event = await session.rpc(GrabRender(key="ego"), ttl=5)
        return event.value["width"], session.is_spoiled

    async def play(tab):
        while "READY" not in (said := await tab.next()).get("reply", ""):
            pass
        await tab.say({"type": "is_ready", "reply": said["reply"]})
        await tab.answer((await tab.until_grab())[-1], {"frame": picture("JPEG")})

    assert with_tab(render, play) == (64, False)


def test_what_a_job_notes_on_its_session_is_gone_with_it():
    """The next job's scene has nothing of what such a mark says was done; what is the run's cannot be set."""

    async def render(session):
        first, second = (session_view(session, lambda deed: None) for _ in range(2))
        first.has_walls = True
        with pytest.raises(AttributeError, match=r"session\.settle_s belongs to the run"):
            second.settle_s = 1.0
        return first.has_walls, hasattr(second, "has_walls"), session.settle_s

    assert with_tab(render, lambda tab: asyncio.sleep(10)) == (True, False, 0.0)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("spawn", "render is called for each job"),
        ("spawn_task", "asyncio.create_task"),
        ("grabs", "session.grab is meant"),
        ("camera", "there is set, add, update"),
        ("set_base", "there is set, add, update"),
    ],
)
def test_what_a_session_has_not_is_answered_with_what_there_is(name, told):
    """Code that comes from Vuer's own server reads what to write, and not only that there is no such attribute."""

    async def render(session):
        getattr(session_view(session, lambda deed: None), name)

    with pytest.raises(AttributeError, match=f"a runner session has no '{name}': .*{told}"):
        with_tab(render, lambda tab: asyncio.sleep(10))


def test_an_update_of_what_is_not_there_raises_where_it_is_given():
    """Whoever mistypes a key learns it at once, and the tab stays as it was."""

    async def render(session):
        session.set_base(Scene(Sphere(key="ball"), rawChildren=[CameraView(key="ego", width=64, height=48)]))
        with pytest.raises(FrameError, match="no element 'bal'"):
            session.update @ Sphere(key="bal")
        session.update @ Sphere(key="ball", position=[1, 0, 0])
        return await session.grab()

    async def play(tab):
        await tab.answer((await tab.until_grab())[-1], {"frame": picture("JPEG")})

    assert with_tab(render, play).width == 64


def test_a_removal_of_what_is_not_there_is_told():
    """A wrong key leaves the element in the picture; a campaign that clears away what may be there goes on."""

    async def render(session):
        session.remove @ ["ball"]
        before = dict(session.remarks)
        session.remove @ ["bal", "ball"]
        await session.grab()
        return before, session.remarks["absent"]

    async def play(tab):
        await tab.answer((await tab.until_grab())[-1], {"frame": picture("JPEG")})

    before, told = with_tab(render, play)
    assert not before
    assert told == "there is no element 'bal' in the scene, so that its removal removes nothing"


def test_after_what_cannot_be_sent_nothing_is_taken_for_shown():
    """A job that goes on all the same gets no picture, and the page is loaded anew for the next one."""

    async def render(session):
        session.set_base(Scene(Sphere(key="ball"), rawChildren=[CameraView(key="ego", width=64, height=48)]))
        session.begin_job()
        session.update @ Sphere(key="ball", material={"color": "#ff0000"})
        session.upsert @ Sphere(key="x", args=[1] * 70 + [object()])
        for _ in range(2):
            with pytest.raises(FrameError, match="cannot be sent"):
                await session.grab()
            session.remove @ "x"
        return session.is_spoiled

    async def play(tab):
        pass

    assert with_tab(render, play)


def test_what_no_message_can_hold_is_not_asked_for():
    """The size and the limit are named, and the tab stays; a PNG of 8192 by 8192 is asked for."""

    async def render(session):
        session.update @ CameraView(key="ego", width=8192, height=8192)
        with pytest.raises(FrameError, match=r"8192x8192 pixels takes 256 MiB, .* less than 256 MiB.*png"):
            await session.grab("ego", format="raw")
        session.update @ CameraView(key="ego", width=8192, height=5000, renderDepth=True)
        with pytest.raises(FrameError, match="and its depth take 312 MiB"):
            await session.grab(format="raw")
        session.update @ CameraView(key="ego", width=8192, height=8192, renderDepth=False)
        await session.grab("ego", format="png")

    async def play(tab):
        await tab.answer((await tab.until_grab())[-1], {"frame": picture("PNG")})

    with pytest.raises(FrameError, match="asked for 8192x8192 pixels, the browser sent 64x48"):
        with_tab(render, play)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"frame": picture("JPEG")[:-200]}, "cut off"),
        ({"frame": picture("JPEG", (32, 24))}, "asked for 64x48 pixels, the browser sent 32x24"),
        ({"frame": b""}, "not a whole picture"),
        ({}, "without a picture"),
        (None, "without a picture"),
    ],
)
def test_a_bad_picture_is_refused(value, message):
    """Cut off, of another size, or none at all: never taken for the job's frame."""

    async def play(tab):
        await tab.answer((await tab.until_grab())[-1], value)

    with pytest.raises(FrameError, match=message):
        with_tab(lambda session: session.grab("ego"), play)


def test_what_the_page_refuses_fails_with_its_reason():
    """A scene that does not get ready says what is missing."""

    async def play(tab):
        *_, announcement, _request = await tab.until_grab()
        refusal = {"type": "refused", "reply": announcement["reply"], "reason": "could not load cup.obj"}
        await tab.websocket.send_str(json.dumps(refusal))

    with pytest.raises(FrameError, match=r"could not load cup\.obj"):
        with_tab(lambda session: session.grab("ego"), play)


def test_replies_are_matched_by_their_request():
    """A late reply to an older request is nobody's picture; nor is a message of a kind that is not known."""

    async def render(session):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(session.grab("ego"), 0.3)
        return await session.grab("ego")

    async def play(tab):
        late = (await tab.until_grab())[-1]
        request = (await tab.until_grab())[-1]
        await tab.answer(late, {"frame": picture("PNG")})
        await tab.websocket.send_bytes(msgpack.packb({"etype": "CAMERA_MOVE", "value": [1, 2]}))
        await tab.say({"type": "of another version"})
        await tab.answer(request, {"frame": picture("JPEG")})

    assert with_tab(render, play).kind == "image/jpeg"


def test_a_tab_that_goes_is_noticed_by_who_waits_for_it():
    """A grab does not hang on a closed connection, and later ones say so too."""

    async def render(session):
        with pytest.raises(SessionGone):
            await session.grab("ego")
        await session.closed
        await session.grab("ego")

    async def play(tab):
        await tab.until_grab()
        await tab.websocket.close()

    with pytest.raises(SessionGone):
        with_tab(render, play)


def test_a_tab_may_go_while_it_is_told_of_the_end():
    """Its connection is closing already, and what runs on after the end of the run does."""

    async def render(session):
        session._socket._writer.transport.close()
        await session.disconnect("the run ended")
        return session.closed.result()

    assert with_tab(render, lambda tab: asyncio.sleep(10)) == "the run ended"


def test_a_picture_that_comes_too_late_is_dropped_and_counted():
    """A reply that nobody waits for any more is never taken for another request's."""

    async def render(session):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(session.grab("ego"), 0.2)
        frame = await session.grab("ego", format="png")
        return frame.kind, session.late_replies

    async def play(tab):
        first = (await tab.until_grab())[-1]
        second = (await tab.until_grab())[-1]
        await tab.answer(first, {"frame": picture("JPEG")})
        await tab.answer(second, {"frame": picture("PNG")})

    assert with_tab(render, play) == ("image/png", 1)


def test_a_camera_that_is_not_there_is_said_at_once():
    """A mistyped key does not wait for the time limit."""
    with pytest.raises(FrameError, match="no camera 'egg' in the scene; there is: 'ego'"):
        with_tab(lambda session: session.grab("egg"), lambda tab: asyncio.sleep(10))


@pytest.mark.parametrize("query", ["", "token=", "token=wrong", "TOKEN={token}", "token={token}x"])
def test_a_session_needs_the_token(query):
    """Who has not the run's token gets no job."""

    async def play(server, client):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"ws://localhost:{server.port}/?{query.format(token=server.token)}")
        return refused.value.status

    assert with_server(play) == 403


def test_a_tab_is_known_by_its_id_and_not_by_its_name():
    """A person may call a tab as one of the pool's browsers; who names an id that was not given out stays out."""

    async def play(server, client):
        owner = TabOwner()
        owner.tab_id = "given-out"
        server.link("browser-1", owner)
        url = f"ws://localhost:{server.port}/?token={server.token}"
        owners = {}
        for query in ("&name=browser-1", "&name=any&tab=given-out"):
            async with client.ws_connect(url + query) as websocket:
                await Tab(websocket).hello()
                while not server.sessions:
                    await asyncio.sleep(0.01)
                (session,) = server.sessions
                owners[query] = session.owner
            await session.end
        server.forget(owner)
        for query in ("&tab=guessed", "&tab=given-out"):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await client.ws_connect(url + query)
        return list(owners.values()) == [PERSON, owner]

    assert with_server(play)


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}]
)
def test_other_pages_are_kept_out(headers):
    """Neither another page's script nor a name that was bound to this address gets in, token or not."""

    async def play(server, client):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            url = f"ws://localhost:{server.port}/?token={server.token}"
            await client.ws_connect(url, headers=headers)
        async with client.get(f"http://localhost:{server.port}/", headers=headers) as answer:
            return refused.value.status, answer.status

    assert with_server(play) == (403, 403)


@pytest.mark.parametrize(
    "path",
    [
        "/assets//etc/passwd", "/assets/%2e%2e/%2e%2e/etc/passwd", "/assets/%2fetc/passwd",
        "/workspace/setup.cfg", "/workspace/", "/../../etc/passwd", "/etc/passwd", "/runner.db",
        "/assets/", "/relay", "/webrtc/debug",
    ],
)  # fmt: skip
def test_no_file_beside_the_client_is_given_out(path):
    """Vuer's own routes give any file of the machine to whoever asks; here they are not there."""

    async def play(server, client):
        url = yarl.URL(f"http://localhost:{server.port}{path}", encoded=True)
        async with client.get(url) as answer:
            return answer.status

    assert with_server(play) == 404


def test_only_reading_is_allowed():
    """Nothing can be posted."""

    async def play(server, client):
        async with client.post(f"http://localhost:{server.port}/relay?sid=*", data=b"x") as answer:
            return answer.status

    assert with_server(play) == 405


def test_the_client_is_served_with_the_page_script():
    """The page that the link opens is Vuer's own, with what watches it in front."""

    async def play(server, client):
        async with client.get(server.link()) as answer:
            page = await answer.text()
        assert page.index("__REACT_DEVTOOLS_GLOBAL_HOOK__") < page.index("/assets/")
        return page.count("__REACT_DEVTOOLS_GLOBAL_HOOK__ =")

    assert with_server(play) == 1


def test_no_style_sheet_makes_a_page_wait_for_another_host():
    """Behind a firewall that drops what goes out, a page would begin half a minute late."""

    async def play(server, client):
        async with client.get(server.link()) as answer:
            paths = re.findall(r'href="(/[^"]+\.css)"', await answer.text())
        sheets = []
        for path in paths:
            async with client.get(f"http://localhost:{server.port}{path}") as answer:
                assert answer.content_type == "text/css"
                sheets.append(await answer.text())
        return paths, "".join(sheets)

    paths, sheets = with_server(play)
    assert paths and "{" in sheets
    assert not re.search("@import[^;]*//", sheets)


def test_it_listens_on_loopback_only():
    """Other machines cannot reach it unless --host lets them."""

    async def play(server, client):
        return {address[0] for address in server.addresses}

    addresses = with_server(play)
    assert addresses and addresses <= {"127.0.0.1", "::1"}


def test_a_port_that_is_taken_is_said_in_one_line():
    """No traceback for a port in use."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UsageError, match="cannot listen on localhost"):
            with_server(None, port=other.getsockname()[1])


def made_certificate(folder):
    """A certificate for localhost that nobody has signed, and its key, as two files."""
    if shutil.which("openssl") is None:
        missing("openssl")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    files = ("-keyout", folder / "key.pem", "-out", folder / "cert.pem")
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    subprocess.run(["openssl", "req", *kind, *names, *files], check=True, capture_output=True)
    return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.mark.parametrize("host", ["no.such.name.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_is_told_with_the_cure(host):
    """Another port would not help."""
    with pytest.raises(
        UsageError, match=f"cannot listen on {host}.*name an address of this machine, as in --host"
    ):
        refuse_address(host, 0)


def test_with_a_certificate_it_speaks_tls_and_its_own_browsers_come_by_loopback(tmp_path):
    """Who checks the certificate gets page and session; what is no TLS gets nothing; own browsers need not trust it."""
    cert, key = made_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=cert)
    owner = TabOwner()
    owner.tab_id = "own"

    async def play(server, client):
        link, own = server.link("tab"), server.link("browser-1", owner)
        assert link.startswith(f"https://localhost:{server.port}/?ws=wss%3A") and own.startswith(
            "http://localhost:"
        )
        async with client.get(link, ssl=trust) as answer:
            assert answer.status == 200
        async with client.get(own) as answer:
            assert answer.status == 200
        script = next(path for path in server._client.files if path.endswith(".js"))
        async with client.get(yarl.URL(link).with_path(script), ssl=trust) as answer:
            assert len(await answer.read()) == server._client.files[script].stat().st_size
        with pytest.raises(aiohttp.ClientError):
            await client.get(link.replace("https:", "http:", 1))
        for one in (link, own):
            socket = yarl.URL(one).query["ws"]
            async with client.ws_connect(socket, ssl=trust) as websocket:
                await Tab(websocket).hello()
        return True

    assert with_server(play, cert=cert, key=key)


@pytest.mark.parametrize("damage", ["no key", "another key", "no certificate", "gone"])
def test_a_certificate_that_cannot_be_used_is_said_with_its_file(tmp_path, damage):
    """Before anything is made, and without a question at the terminal."""
    cert, key = made_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    others = made_certificate(tmp_path / "other")
    files = {
        "no key": (cert, ""),
        "another key": (cert, others[1]),
        "no certificate": ("", key),
        "gone": ("no.pem", key),
    }
    with pytest.raises(UsageError, match="--cert"):
        tls_context(*files[damage])


@pytest.mark.parametrize(
    ("host", "let_in", "kept_out"),
    [
        ("localhost", ["localhost", "127.0.0.1", "[::1]", "box.lan"], ["evil.example", "10.0.0.1", "", "["]),
        (
            "0.0.0.0",
            ["localhost", "10.0.0.1", "[fe80::1]", "box.lan", socket.gethostname()],
            ["evil.example", "", "["],
        ),
    ],
)
def test_who_calls_it_by_another_name_is_kept_out(host, let_in, kept_out):
    """A name that was bound to this address is not in the list; an address cannot be bound to another."""

    async def play(server, client):
        async def status(called):
            url = f"http://127.0.0.1:{server.port}/"
            async with client.get(url, headers={"Host": called}) as answer:
                return answer.status

        assert {name: await status(f"{name}:{server.port}") for name in let_in} == dict.fromkeys(let_in, 200)
        for port in (f":{server.port}", ":99999", ":1", ":x", ""):
            names = kept_out if port == f":{server.port}" else [*kept_out, *let_in]
            assert {name: await status(f"{name}{port}") for name in names} == dict.fromkeys(names, 403)
        return True

    assert with_server(play, host=host, names=["box.lan"])


def test_a_link_for_others_names_an_address_of_this_machine():
    """Another machine could not open 0.0.0.0."""

    async def play(server, client):
        async with client.get(server.link()) as answer:
            return yarl.URL(server.link()).host, answer.status

    host, status = with_server(play, host="0.0.0.0")
    assert host not in ("0.0.0.0", "localhost") and status == 200


def test_who_asks_for_nothing_is_cut_off(monkeypatch):
    """Half a request, or half of a second one, is not kept for ever; a tab that is silent is."""
    monkeypatch.setattr(door, "_FIRST_REQUEST_S", 0.5)
    monkeypatch.setattr(server_module, "_KEPT_S", 0.5)
    beginnings = (b"", b"GET / HTTP/1.1\r\nHost: ", b"POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n")

    async def play(server, client):
        url = f"http://127.0.0.1:{server.port}/"
        async with client.ws_connect(f"{url}?token={server.token}") as websocket:
            first = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
            for beginning in (*beginnings, first, first + first[:20]):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(beginning)
                # Until the other end closes it.
                with suppress(ConnectionError):
                    await asyncio.wait_for(reader.read(), 20)
                writer.close()
            await Tab(websocket).hello(browser="x")
            while not server.sessions or not next(iter(server.sessions)).browser:
                await asyncio.sleep(0.01)
        return True

    assert with_server(play)


def test_few_bytes_that_are_many_pixels_hold_up_no_other_tab():
    """They are decoded beside the event loop, which goes on meanwhile."""
    data = picture_of_one_colour(4096)

    async def render(session):
        session.set @ Scene(rawChildren=[CameraView(key="ego", width=4096, height=4096)])
        return await session.grab("ego", format="png")

    async def play(tab):
        await tab.answer((await tab.until_grab())[-1], {"frame": data})

    with patch.object(session_module, "Frame", side_effect=frame_in_thread):
        assert len(data) < 32_768 and with_tab(render, play).width == 4096


def picture_of_one_colour(width):
    file = io.BytesIO()
    Image.new("1", (width, width)).save(file, "PNG")
    return file.getvalue()


def frame_in_thread(*arguments):
    assert threading.current_thread() is not threading.main_thread()
    return Frame(*arguments)


def test_more_tabs_than_files_allow_are_refused_and_one_line_tells_of_it():
    """Those that are in stay, and when one goes another one is let in."""
    said = []

    async def play(server, client):
        server._door.most_tabs = 1
        url = f"ws://localhost:{server.port}/?token={server.token}"
        async with client.ws_connect(url) as first:
            await Tab(first).hello()
            for _ in range(2):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await client.ws_connect(url)
                assert refused.value.status == 503
            (session,) = server.sessions
            assert not session.closed.done()
        await session.closed
        while server.sessions or server._door.is_full():
            await asyncio.sleep(0.01)
        async with client.ws_connect(url) as second:
            await Tab(second).hello()
        return said

    assert with_server(play, say=said.append) == [
        "no more than 1 tabs are let in at once: allow the run more open files (ulimit -n)"
    ]


def test_peoples_tabs_are_sent_where_the_fewest_are():
    """Of several servers of one run each has alike many; a tab that has its place keeps it, and so does a pool's."""
    doors = {}

    async def play(server, client):
        doors.update({server.port: 1, 1001: 0, 1002: 5})

        async def asked(link):
            async with client.get(link, allow_redirects=False) as answer:
                return answer.headers.get("Location", "")

        places = [yarl.URL(await asked(server.link("mine"))) for _ in range(3)]
        own = {server.port: "here", 1001: "there"}
        assert [own[place.port] for place in places] == ["there", "here", "there"]
        for place in places:
            ws = yarl.URL(place.query["ws"])
            assert ws.port == place.port and ws.query["token"] == server.token and ws.query["name"] == "mine"
            assert place.query["frameloop"] == "never"
        owner = TabOwner()
        owner.tab_id = "a pool's"
        assert [await asked(link) for link in (places[1], server.link(owner=owner))] == ["", ""]

    with_server(play, doors=doors)
