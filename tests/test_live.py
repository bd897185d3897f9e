"""The live page: who may look and act, what it shows of a run, and that it costs little."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import psutil
import pytest
from campaigns import PACED, write_colors
from clients import start_for_tabs
from pictures import picture
from processes import within
from tabs import Tab, with_server, with_tab
from waiting import Clock, wait_until

from runner.errors import RunnerError, WorldFault
from runner.run.live import Live, tab_now
from runner.run.thrift import Thrift
from runner.run.worker import _Sightings
from runner.store import Store
from runner.tabs import TabOwner


class Acted:
    """A run's side of the live page, which notes what it was told to do."""

    def __init__(self):
        self.acts = []

    async def page(self):
        return "<html>page</html>"

    async def news(self, known):
        return f'{{"known": "{known}"}}'

    async def small(self, path):
        return b"small" if path == "orbit/a b~2/#.jpg" else None

    async def original(self, path):
        return (b"large", "image/png") if path == "x.png" else None

    async def frame(self, tab):
        raise WorldFault("the disk is full")

    async def act(self, verb):
        self.acts.append(verb)
        return "{}" if verb == "pause" else None


def asked(requests):
    """The statuses of these requests below the page's address, and what was done; {} is the token."""
    live = Acted()

    async def play(server, client):
        link = server.live_link()
        base, token = link.rsplit("/", 2)[0], link.split("/")[-2]
        statuses = []
        for method, path, headers in requests:
            headers = {name: value.format(link[: link.index("/live")]) for name, value in headers.items()}
            url = f"{base}/{path.format(token)}"
            async with client.request(method, url, headers=headers) as answer:
                statuses.append(answer.status)
        assert token not in server.link() and server.token not in link
        return statuses

    return with_server(play, live=live), live.acts


OWN, OTHER = {"Origin": "{}"}, {"Origin": "https://evil.example"}


def test_only_who_has_the_pages_token_looks():
    """Without it there is nothing; with it page, news and pictures; a fault is said, and a stranger's page kept out."""
    paths = ["{}/", "{}/news", "{}/small/orbit/a%20b~2/%23.jpg", "{}/file/x.png"]
    assert asked([("GET", path, {}) for path in paths])[0] == [200] * 4
    assert asked([("GET", path.format("x" * 32), {}) for path in paths])[0] == [403] * 4
    assert asked([("GET", path, OTHER) for path in paths])[0] == [403] * 4
    missing = ["{}/small/other.jpg", "{}/file/other.png", "{}/frame/1/1"]
    assert asked([("GET", path, {}) for path in missing])[0] == [404, 404, 503]


def test_only_its_own_page_acts_and_only_by_post():
    """A GET changes nothing, nor does another site's page, one that says not where it is from, or a wrong token."""
    refused = [
        ("GET", "{}/pause", OWN), ("HEAD", "{}/pause", OWN), ("POST", "{}/pause", OTHER),
        ("POST", "{}/pause", {"Origin": "null"}), ("POST", "{}/pause", {}), ("POST", "x/pause", OWN),
    ]  # fmt: skip
    statuses, acts = asked(refused)
    assert acts == [] and all(status >= 400 for status in statuses)
    assert asked([("POST", "{}/pause", OWN), ("POST", "{}/drop", OWN)]) == ([200, 404], ["pause", "drop"])


def test_the_pages_token_takes_no_jobs():
    """A link that is passed on, in a notice, lets nobody become a session."""

    async def play(server, client):
        token = server.live_link().split("/")[-2]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"ws://localhost:{server.port}/?token={token}")
        return refused.value.status

    assert with_server(play, live=Acted()) == 403


def live_of(tmp_path: Path, tabs=()) -> Live:
    with Store(tmp_path / "runner.db") as store:
        campaign_id, _ = store.submit("orbit", [{"x": 1}, {"x": 2}])
    return Live(
        str(tmp_path / "runner.db"), campaign_id, tmp_path / "results", lambda: tabs, {}, dict, {}, str, print
    )


def test_pictures_of_the_results_are_given_out_and_nothing_else(tmp_path):
    """No other file, no hidden one, none outside, be it by dots or by a link."""
    folder = tmp_path / "results" / "orbit"
    (folder / ".hidden").mkdir(parents=True)
    for file in ("a.jpg", ".hidden/a.jpg", ".a.jpg", "notes.txt", "../../out.jpg"):
        (folder / file).write_bytes(picture("JPEG"))
    (folder / "link.jpg").symlink_to(tmp_path / "out.jpg")
    (tmp_path / "results" / "circle.jpg").symlink_to("circle.jpg")
    (folder / "torn.jpg").write_bytes(b"torn")
    (folder / "1.tar").write_bytes(b"." * 512 + picture("PNG") + b".")
    (folder / ".1.tar").write_bytes(picture("PNG"))
    part = f"orbit/1.tar@512+{len(picture('PNG'))}"

    async def main():
        live = live_of(tmp_path)
        try:
            assert await live.original("orbit/a.jpg") == (picture("JPEG"), "image/jpeg")
            assert (await live.small("orbit/a.jpg")).startswith(b"\xff\xd8")
            assert await live.small("orbit/torn.jpg") is None
            assert await live.original(part) == (picture("PNG"), "image/png")
            assert (await live.small(part)).startswith(b"\xff\xd8")
            not_pictures = ("orbit/1.tar", "orbit/1.tar@0+99", "orbit/1.tar@512+9999", f"orbit/.{part[6:]}")
            others = ("orbit/.hidden/a.jpg", "orbit/.a.jpg", "orbit/notes.txt", "orbit/link.jpg", "orbit",
                      "../out.jpg", "orbit/../../out.jpg", "circle.jpg", "a\0.jpg", "a" * 9999 + ".jpg",
                      "\udcff.jpg", "a\0.tar@0+9", str(tmp_path / "out.jpg"), *not_pictures)  # fmt: skip
            for path in others:
                assert await live.original(path) is None and await live.small(path) is None, path
        finally:
            live.close()

    asyncio.run(main())


def test_nothing_is_opened_before_somebody_looks(tmp_path):
    """A run without a viewer has no process for one; it has one while somebody looks, and none when that is over."""

    async def main():
        children = psutil.Process().children
        before = len(children())
        live = live_of(tmp_path)
        assert len(children()) == before
        page, (other, news) = await live.page(), await asyncio.gather(live.news("x"), live.news(""))
        assert len(children()) == before + 1 and "connect-src 'self'" in page
        # All users of a machine see what a process was started with.
        assert not any("runner.db" in word for one in children() for word in one.cmdline())
        now = json.loads(news)["now"]
        assert (now["total"], now["done"], now["state"], now["tabs"]) == (2, 0, "open", [])
        known = json.loads(other)["known"]
        assert "campaigns" not in json.loads(await live.news(known))
        live._viewer._process.kill()
        with pytest.raises(RunnerError, match="try again"):
            await live.news(known)
        assert json.loads(await live.news(known))["campaigns"]
        live.close()
        assert len(children()) == before

    asyncio.run(main())


def test_what_is_computed_has_its_share_of_the_time():
    """Whoever asks and however often: what was taken is waited for, at its share."""
    clock = Clock(0.0)
    thrift = Thrift(0.01, 1.0, clock)
    thrift._saved_s = -0.25
    assert thrift.due_s() == pytest.approx(25.0)
    clock.now = 20.0
    assert thrift.due_s() == pytest.approx(5.0)
    clock.now = 1e6
    assert thrift.due_s() == 0.0 and thrift._saved_s == 1.0


def tab(**more):
    owner = TabOwner()
    return SimpleNamespace(
        **{
            "id": "1",
            "name": "b",
            "owner": owner,
            "seen": None,
            "waits": None,
            "is_hidden": False,
            "held_s": 0.0,
            "refused": "",
        }
        | more
    )


def test_each_state_of_a_tab_is_told():
    """What it waits for and how long, how far its steps are, that it is hidden, refused, replaced or idle."""
    job = SimpleNamespace(key="mug", steps_of=(2, 9))
    retired = TabOwner()
    retired.retired = "3 jobs failed"
    told = [
        tab_now(one, at_work, 20.0)
        for one, at_work in (
            (tab(waits=(["http://localhost:1/assets/ab/mug.glb?x", "a picture"], 8.0)), (job, 7.0)),
            (tab(seen=(7, None)), (job, 15.0)),
            (tab(is_hidden=True), (SimpleNamespace(key="mug", steps_of=None), 19.5)),
            (tab(refused="no WebGL"), None),
            (tab(owner=retired), None),
            (tab(), None),
        )
    ]
    assert [(one.kind, one.does, one.shots) for one in told] == [
        ("wait", "waiting for mug.glb, a picture 12 s", 0),
        ("work", "rendering, step 3 of 9 for 5 s", 7),
        ("bad", "rendering; hidden tab, and browsers slow such tabs down: bring it to the front", 0),
        ("bad", "cannot render: no WebGL", 0),
        ("wait", "being replaced: 3 jobs failed", 0),
        ("idle", "idle: no job is ready for it", 0),
    ]
    assert told[0].job == "mug"


def test_a_run_tells_which_tabs_are_out_of_sight():
    """Once when one goes, whether it is hidden or only held back; and that it is back, or closed."""
    told = []
    outpost = SimpleNamespace(
        note=lambda *what: told.append(what), say=lambda line: told.append(("say", line))
    )
    sightings = _Sightings(outpost)
    here, late, away = tab(), tab(held_s=0.9), tab(is_hidden=True)
    for tabs in ([here], [away], [away], [late], [here], [late], []):
        sightings.look(tabs)
    assert [what for what in told if what[0] != "say"] == [("hidden", "b"), ("seen", "b")] * 2
    assert [line for what, line in told if what == "say"] == [
        "b is out of sight, and browsers slow such tabs down: bring it to the front"
    ] * 2


def test_a_page_tells_what_its_pictures_wait_for():
    """The session knows it while it lasts, and afterwards for how long it was; it is told when it is hidden."""
    seen = []

    async def render(session):
        grabbing = asyncio.create_task(session.grab())
        while session.waits is None:
            await asyncio.sleep(0.001)
        seen.append((session.waits[0], session.is_hidden))
        await grabbing
        return session.waits, session.waited_s, session.seen[0], session.asked_s > 0

    async def play(tab: Tab):
        request = (await tab.until_grab())[-1]
        await tab.say({"type": "hidden", "is_hidden": True})
        await tab.say({"type": "waits", "lacks": ["/mug.glb"], "waited_s": 1.5})
        while not seen:
            await asyncio.sleep(0.001)
        await tab.say({"type": "waits", "lacks": [], "waited_s": float("nan")})
        await tab.say({"type": "waits", "lacks": [], "waited_s": 2.5})
        await tab.answer(request, {"frame": picture("JPEG")})

    assert with_tab(render, play) == (None, 2.5, 1, True)
    assert seen == [(["/mug.glb"], True)]


def test_the_live_page_in_a_browser(tmp_path, full_browser):
    """Pictures and counts change by themselves; pause there is a pause in the rows; so are resume and retry.

    Also of a tab that another worker process has, and of pictures in a shard.
    """
    from playwright.sync_api import sync_playwright

    body = f"{PACED}\n    assert job.params['number'] != 1, 'cracked'"
    file = write_colors(tmp_path, 3000, body, ", max_failures=1")
    process, lines = start_for_tabs(file, "--workers", "2", "--pack", tabs=2)
    link = wait_until(lambda: re.search(r"http://\S+/live/\S+", "".join(lines)), "the link")[0]
    database = tmp_path / "runner.db"

    def rows() -> dict:
        with Store(database) as store:
            (row,) = store.reader.campaigns()
            return row

    wait_until(lambda: rows()["failed"] == 1 and rows()["done"] > 10, "the first jobs")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=full_browser, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme="dark").new_page()
        odd = []
        page.on("pageerror", lambda error: odd.append(str(error)))
        page.on("console", lambda message: odd.append(message.text))
        page.goto(link)

        def sees(expression: str, what: str) -> None:
            # Not wait_for_function, which the page's own policy forbids.
            wait_until(lambda: page.evaluate(expression), what)

        sees(
            "[...document.querySelectorAll('#live img')].filter(one => one.naturalWidth).length === 2",
            "frames",
        )
        status, shot = page.text_content("#live [role=status]"), page.get_attribute("#live .tab img", "src")
        wait_until(lambda: page.text_content("#live [role=status]") != status, "other counts")
        wait_until(lambda: page.get_attribute("#live .tab img", "src") != shot, "another frame")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        # The report's own parts are there, its pictures asked for one by one.
        assert "cracked" in page.text_content(".reason h3")
        page.wait_for_function(
            "[...document.querySelectorAll('.sheet img')].some(one => one.naturalWidth > 0)"
        )
        page.click("#pause")
        page.wait_for_selector("#resume")
        assert rows()["state"] == "paused"
        wait_until(lambda: "colors is paused" in "".join(lines), "the terminal to tell of it")
        wait_until(lambda: ", 0 in progress" in page.text_content("#live"), "the end of what was in flight")
        done = rows()["done"]
        page.click("#retry")
        page.wait_for_selector("#retry", state="detached")
        assert (rows()["failed"], rows()["done"]) == (0, done)
        page.click("#resume")
        page.wait_for_selector("#pause")
        assert rows()["state"] == "open"
        wait_until(lambda: rows()["done"] > done, "jobs after the pause")
        assert odd == []
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        page.wait_for_selector("#trouble")
        # Nothing says that it is still at work.
        assert not page.is_visible("#pause")
        assert page.title().endswith("colors: no answer") and "to go" not in page.text_content("#live")
        browser.close()
    assert "by the live page, the campaign is paused" in "".join(lines)
    assert within("report", "--db", database).exit_code == 0
