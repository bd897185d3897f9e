"""Browsers on another machine: what joins a run, what the line tells, and what becomes of jobs when it breaks."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from campaigns import PACED, assert_nobody_was_charged, assert_whole, done_count, write_colors
from hypothesis import given
from hypothesis import strategies as st
from needs import missing
from pictures import picture
from processes import lines_of, start, within
from proxies import Proxy
from tabs import Tab, with_server
from vuer.schemas import CameraView, Scene
from waiting import wait_until

from runner.errors import RunnerError, SessionGone, UsageError, WorldFault
from runner.join import JoinOptions, Link, join
from runner.join.line import asked
from runner.joining import Console, Ended, Retire, Standing, encode
from runner.machine import Certificate
from runner.run.token import kept_token
from runner.sessions import Joiners, Server
from runner.sessions.joiners import Line
from runner.store import Store

HERE = "http://render-host:8012"
TOKEN = "t" * 32


async def standing():
    return Standing(total=4, done=1, failed=0, in_progress=1, state="open")


def joiners() -> Joiners:
    return Joiners("orbit", lambda: "llvmpipe", standing)


# -- the link --------------------------------------------------------------------------------------


def test_any_link_for_tabs_carries_enough():
    """As it is printed, cut off by a shell at its first &, of a tab that was sent to another port, in quotes."""
    socket = f"ws%3A%2F%2Frender-host%3A8012%2F%3Ftoken%3D{TOKEN}"
    links = [
        f"{HERE}/?ws={socket}&hideUI=true&frameloop=never",
        f"{HERE}/?ws={socket}",
        f"'{HERE}/?ws={socket}%26placed%3D1%26name%3Da'",
        f"{HERE}/?token={TOKEN}",
    ]
    assert {Link.parse(link) for link in links} == {Link("", "render-host", 8012, TOKEN)}
    assert Link.parse(f"https://[fe80::1]/?ws={socket}") == Link("s", "[fe80::1]", 443, TOKEN)


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("orbit.py", "this is not a link"),
        ("ftp://render-host/?token=x", "this is not a link"),
        (f"{HERE}:70000/", "this is not a link"),
        (f"{HERE}/", "there is no token"),
        (f"{HERE}/live/abcdefgh/", "the live page, which takes no jobs"),
    ],
)
def test_what_is_no_link_for_tabs_is_told_with_the_one_that_is(link, why):
    """One line, and the exit status of a mistake."""
    told = within("join", link)
    assert told.exit_code == 2 and why in told.stderr and "in quotes: http://HOST:PORT/?ws=…" in told.stderr
    assert told.stderr.count("\n") == 1


# -- the first contact -----------------------------------------------------------------------------


def contact(trust=True, change=lambda link: link, **options):
    """What a run of these options tells to who asks with its link; or the error, as text with its kind."""

    async def play(server, client):
        try:
            return await asked(client, Link.parse(change(server.link())), trust, 4)
        except RunnerError as error:
            return type(error), str(error)

    return with_server(play, **options)


def test_a_run_tells_what_a_joiner_must_know():
    """The campaign, what draws its pictures, how its pages are opened, and how long a silence may be."""
    told = contact(joiners=joiners(), lease_s=7.0, is_plain=True)
    assert (told.campaign, told.renderer, told.lease_s) == ("orbit", "llvmpipe", 7.0)
    assert told.query == {"hideUI": "true", "frameloop": "never", "plain": "true"}


def test_a_joiner_is_sent_to_the_server_that_has_the_fewest_tabs():
    """And its own count before they are there."""
    doors = {}

    async def play(server, client):
        doors.update({server.port: 3, 9: 1})
        link = Link.parse(server.link())
        return server.port, [(await asked(client, link, True, 4)).port for _ in range(3)]

    port, ports = with_server(play, joiners=joiners(), doors=doors)
    assert ports == [9, port, 9] and doors == {port: 7, 9: 9}


def test_who_has_no_token_learns_nothing():
    """A wrong one is a mistake; so is a run that would be another one's."""
    kind, told = contact(change=lambda link: link.replace("token%3D", "token%3Dx"), joiners=joiners())
    assert kind is UsageError and "the token is missing or of another run" in told


def test_a_run_that_is_older_than_join_is_told_as_such():
    """It answers as for any file that it has not."""
    kind, told = contact()
    assert kind is WorldFault and "does not know 'runner join': it is an older version" in told


def test_nobody_there_is_one_line_with_what_to_look_at(port):
    """Nobody listens, or no such machine: exit status 3, no traceback."""
    told = within("join", f"http://127.0.0.1:{port}/?token={TOKEN}")
    assert told.exit_code == 3 and told.stderr.count("\n") == 1
    assert f"nothing listens at 127.0.0.1:{port}" in told.stderr and "--host 0.0.0.0" in told.stderr
    told = within("join", f"http://no.such.machine.invalid/?token={TOKEN}")
    assert told.exit_code == 3 and "no machine named no.such.machine.invalid" in told.stderr


@pytest.fixture
def certificate(tmp_path):
    """A certificate that nobody vouches for, of another name than localhost, and its key."""
    if shutil.which("openssl") is None:
        missing("openssl")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=render-host",
        "-days",
        "2",
    ]
    subprocess.run([*made, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return str(cert), str(key)


def test_a_server_is_known_by_its_own_certificate(certificate, tmp_path):
    """Whatever name is in it; without that, or with another one, it is refused by name, and told how to go on."""
    cert, key = certificate
    known = Certificate.read(cert)
    tls = {"cert": cert, "key": key, "joiners": joiners()}
    assert contact(aiohttp.Fingerprint(known.sha256), **tls).campaign == "orbit"
    kind, told = contact(**tls)
    assert kind is UsageError and "no authority here vouches" in told and "name it with --cert" in told
    kind, told = contact(aiohttp.Fingerprint(bytes(32)), **tls)
    assert kind is UsageError and "another certificate than the one in --cert" in told
    # As Chromium takes it: of the public key alone.
    public = subprocess.run(["openssl", "x509", "-in", cert, "-pubkey", "-noout"], capture_output=True).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=public, capture_output=True
    ).stdout
    hashed = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=der, capture_output=True).stdout
    coded = subprocess.run(["openssl", "base64"], input=hashed, capture_output=True, text=False).stdout
    assert known.key_sha256 == coded.decode().strip()
    with pytest.raises(UsageError, match="no PEM certificate"):
        Certificate.read(key)


# -- the line --------------------------------------------------------------------------------------


class Joiner:
    """A joiner's side of the line, and of the pages of its tabs, spoken by hand."""

    def __init__(self, client, server, line):
        self.link, self.client, self.line = Link.parse(server.link()), client, line
        self.told: list[dict] = []

    @classmethod
    async def join(cls, client, server):
        link = Link.parse(server.link())
        line = await client.ws_connect(link.line(server.port, "line-0001", "box"))
        return cls(client, server, line)

    async def page(self) -> Tab:
        """A page of its tab `a`, which has said hello."""
        url = self.link.page(self.link.port, "line-0001.a", "box browser-1", {})
        (socket,) = parse_qs(urlsplit(url).query)["ws"]
        tab = Tab(await self.client.ws_connect(socket))
        await tab.hello()
        return tab

    async def until(self, kind: str) -> dict:
        """The next that is told of that kind."""
        while True:
            said = json.loads((await asyncio.wait_for(self.line.receive(), 10)).data)
            if said["type"] == kind:
                return said

    async def say(self, message) -> None:
        await self.line.send_str(encode(message))


def with_joiner(play):
    """What play(joiner, sessions) returns; sessions: those that the server has, each of which grabs a picture."""

    async def main():
        sessions = []

        async def work(session):
            sessions.append(session)
            session.set @ Scene(rawChildren=[CameraView(key="ego", width=64, height=48)])
            with suppress(SessionGone):
                await session.grab()
                session.owner.rendered()
                session.owner.settled(7, "", 0.5)
            await session.end

        server = Server(work, joiners=joiners(), lease_s=30.0)
        await server.start()
        try:
            async with aiohttp.ClientSession() as client:
                return await play(await Joiner.join(client, server), sessions)
        finally:
            await server.stop("all is done", is_finished=True)

    return asyncio.run(main())


def test_the_line_tells_how_the_jobs_of_its_tabs_end():
    """And takes what the page printed, and that the tab is to take no more."""

    async def play(joiner, sessions):
        tab = await joiner.page()
        came = await joiner.until("came")
        await tab.answer((await tab.until_grab())[-1], {"frame": picture("JPEG")})
        rendered, settled = await joiner.until("rendered"), await joiner.until("settled")
        for _ in range(60):
            await joiner.say(Console("a", ["x" * 500] * 19 + ["log: hello\x1b[2J"]))
        await joiner.say(Retire("a", "it has grown"))
        owner = sessions[0].owner
        while not owner.retired:
            await asyncio.sleep(0.01)
        return came, rendered, settled, owner.retired, owner.console()[-1]

    came, rendered, settled, retired, console = with_joiner(play)
    assert came == {"type": "came", "tab": "a", "refused": ""} and rendered["tab"] == "a"
    assert (settled["job_id"], settled["error"], settled["duration_s"]) == (7, "", 0.5)
    assert (retired, console) == ("it has grown", "log: hello")


@pytest.mark.parametrize("is_crash", [True, False])
def test_how_a_browser_there_ended_is_asked_for(is_crash):
    """A browser that died under a job is told apart from a page that lost its connection."""

    async def play(joiner, sessions):
        tab = await joiner.page()
        await tab.until_grab()
        await tab.websocket.close()
        left = await joiner.until("left")
        await joiner.say(Ended("a", left["page"], "the browser died", is_crash))
        return await asyncio.wait_for(sessions[0].end, 10)

    end = with_joiner(play)
    assert (end.is_crash, end.reason) == (is_crash, "the browser died")


@pytest.mark.parametrize("ends", ["in order", "by nonsense"])
def test_a_joiner_that_goes_takes_its_tabs_along_and_charges_nobody(ends):
    """Its jobs go back at once, also where its pages are still connected; no page of it comes in any more."""

    async def play(joiner, sessions):
        tab = await joiner.page()
        await tab.until_grab()
        if ends == "in order":
            await joiner.line.close()
        else:
            await joiner.line.send_str("{}")
        end = await asyncio.wait_for(sessions[0].end, 10)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await joiner.page()
        return end

    end = with_joiner(play)
    assert not end.is_crash and "joiner" in end.reason


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("a")
parts = st.sampled_from(("tab", "page", "reason", "is_crash", "lines", "more"))
said = st.builds(
    lambda kind, rest: json.dumps({"type": kind} | rest),
    st.sampled_from(("console", "retire", "ended", "came")),
    st.dictionaries(parts, plain | st.lists(plain | st.lists(plain, max_size=2), max_size=3)),
)


@given(st.lists(said | st.text(max_size=20), max_size=8))
def test_whatever_a_joiner_says_makes_sense_or_is_refused(texts):
    """Nothing but ValueError, by which its line ends; and what is kept of it commands no terminal."""

    async def hear():
        line = Line("line-0001")
        tab = line.owner_of("a")
        for text in texts:
            with suppress(ValueError):
                line._hear(text)
        end = tab.ended.result().reason if tab.ended.done() else ""
        assert all(word.isprintable() for word in (tab.retired, end, *tab.console()))

    asyncio.run(hear())


def test_the_end_of_a_run_is_told():
    """With how far the campaign is: so a joiner knows whether there is anything to wait for."""
    told = []

    async def main():
        server = Server(lambda session: session.closed, joiners=joiners())
        await server.start()
        async with aiohttp.ClientSession() as client:
            joiner = await Joiner.join(client, server)
            await joiner.page()
            await joiner.until("came")
            stopping = asyncio.create_task(server.stop("all is done", is_finished=True))
            told.append(await joiner.until("standing"))
            told.append(await joiner.until("over"))
            await joiner.line.close()
            await stopping

    asyncio.run(main())
    assert [one["type"] for one in told] == ["standing", "over"]
    assert told[0]["done"] == 1 and (told[1]["reason"], told[1]["is_finished"]) == ("all is done", True)


# -- a real browser --------------------------------------------------------------------------------


@pytest.mark.usefixtures("browser_path")
def test_a_joiner_renders_on_when_the_network_and_the_run_come_back(tmp_path, certificate, port):
    """Cut off in the middle of a job, and over a restart of the run, by TLS: each job is done once, and right."""
    cert, key = certificate
    file = write_colors(tmp_path, 40, PACED)
    served = ["--sessions", "0", "--host", "127.0.0.1", "--port", port, "--cert", cert, "--key", key]
    proxy = Proxy(("127.0.0.2", port), ("127.0.0.1", port))
    try:
        run = start("run", file, *served, "--tab-lease", "4")
        said = lines_of(run)
        (link,) = wait_until(lambda: [line for line in said if "?ws=" in line], "the link")
        joiner = start(
            "join", link.strip().replace("localhost", "127.0.0.2"), "--sessions", "1", "--cert", cert,
            "--exit-when-idle",
        )  # fmt: skip
        heard = lines_of(joiner)
        wait_until(lambda: done_count(tmp_path) >= 5, "jobs that the joiner renders")

        proxy.cut()
        wait_until(lambda: any("nothing was heard of its joiner" in line for line in said), "the silence")
        wait_until(lambda: any("is away (" in line for line in heard), "the joiner to wait")
        cut_at = done_count(tmp_path)
        proxy.mend()
        wait_until(lambda: done_count(tmp_path) >= cut_at + 5, "jobs after the cut")

        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 143
        wait_until(lambda: any("is away (the run was" in line for line in heard), "the joiner to wait")
        again = start("run", file, *served)
        lines_of(again)
        assert again.wait(120) == 0 and joiner.wait(60) == 0
    finally:
        proxy.close()
    assert_whole(tmp_path, 40)
    assert_nobody_was_charged(tmp_path)
    with Store(tmp_path / "runner.db") as store:
        # What was in flight when the network went, and maybe when the run ended.
        assert 1 <= len(store.reader.attempts(1)) <= 2
    turns = [line for line in heard if "is away (" in line or "is there again" in line]
    assert len(turns) == 4 and "Traceback" not in "".join(heard)
    wait_until(lambda: "40/40 done in all" in heard[-1], "its last word")


@pytest.mark.parametrize("named, asked", [("", "far"), ("a,b", "a,b,far")])
def test_no_proxy_stands_between_a_joiners_browsers_and_the_run(monkeypatch, named, asked):
    """Where the environment names one, as on many clusters, it may not reach the run; others are asked as before."""

    async def work(self, signals):
        return os.environ["no_proxy"]

    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", named)
    monkeypatch.setattr("runner.join.joiner._Joiner.work", work)
    assert join(JoinOptions(Link("", "far", 8012, "token"))) == asked


# -- the token -------------------------------------------------------------------------------------


def test_a_link_outlives_its_run(tmp_path, monkeypatch):
    """The token is kept for its owner alone; who removes it has a new one; RUNNER_TOKEN gives one."""
    place = tmp_path / "runner.db.token"
    token = kept_token(place)
    assert kept_token(place) == token and stat.S_IMODE(place.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [place]
    place.chmod(0o640)
    with pytest.raises(UsageError, match="others may read"):
        kept_token(place)
    place.unlink()
    assert kept_token(place) != token
    monkeypatch.setenv("RUNNER_TOKEN", "x" * 20)
    assert kept_token(place) == "x" * 20
    monkeypatch.setenv("RUNNER_TOKEN", "short")
    with pytest.raises(UsageError, match="RUNNER_TOKEN holds no token"):
        kept_token(place)
