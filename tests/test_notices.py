"""Notices: what a person who is away is told, by way of a real receiver; a run neither waits for it nor tells more."""

from __future__ import annotations

import socket
import sqlite3
import threading

import pytest
from campaigns import GOOD, write_colors
from clients import run_for_tabs
from processes import run, within
from receiver import Receiver
from waiting import wait_until

from runner.commands import Commands
from runner.errors import UsageError, WorldFault
from runner.machine import Guard, reachable_host
from runner.notices import Notices, shown_address
from runner.run import alarm
from runner.store import Store


@pytest.fixture
def receiver():
    one = Receiver()
    yield one
    one.close()


@pytest.fixture
def deaf():
    """The address of a server that takes a connection, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"json://127.0.0.1:{server.getsockname()[1]}/secret"


def empty(tmp_path):
    """A campaign without jobs: it ends without a browser."""
    file = tmp_path / "good.py"
    file.write_text(GOOD.replace('yield {"x": 1}', "yield from ()"))
    return file


def test_the_end_of_a_run_is_told(tmp_path, receiver):
    """The verdict to each address, also by RUNNER_NOTIFY; nothing of the address is printed or stored."""
    file = empty(tmp_path)
    end = run("run", file, "--notify", receiver.url)
    assert end.returncode == 4 and receiver.got == [("good: there are no jobs",) * 2]
    assert "secret" not in end.stderr + end.stdout and "hush" not in end.stderr + end.stdout
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"hush" not in stored and b"json://" not in stored


def test_a_run_that_cannot_begin_is_told(tmp_path, receiver, monkeypatch):
    """What is wrong, and what to do, as on the terminal."""
    monkeypatch.setenv("RUNNER_NOTIFY", f"{receiver.url} {receiver.url}")
    end = within("run", empty(tmp_path), "--db", tmp_path / "nowhere" / "runner.db")
    assert end.exit_code == 2
    assert [title for title, _ in receiver.got] == ["good: stopped"] * 2
    assert all("folder is missing" in body for _, body in receiver.got)


def test_a_bad_address_is_refused_before_the_run(tmp_path):
    """By its number and scheme, never whole; nothing is made."""
    file = empty(tmp_path)
    for bad, shown in (("nosuch://hush", "nosuch://…"), ("mailto://", "mailto://…"), ("hush", "(…)")):
        end = within("run", file, "--notify", bad)
        assert end.exit_code == 2 and shown in end.output and "hush" not in end.output
    assert not (tmp_path / "runner.db").exists()
    assert shown_address("https://hooks.example/T0/secret") == "https://…"


def test_without_apprise_a_notice_is_refused_and_a_run_is_not(tmp_path, monkeypatch):
    """The package is an extra, imported only when an address is given."""
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(UsageError, match=r"pip install 'runner\[notify\]'"):
        Notices(["json://localhost"], print)
    assert Notices([], print).close() == []


def test_who_takes_no_notice_holds_nothing_up(deaf):
    """Sending returns at once, the end waits no longer than it was told, and the line hides the address."""
    said: list[str] = []
    notices = Notices([deaf], said.append)
    for number in range(30):
        notices.send(f"notice {number}", "")
    assert notices.close(limit_s=0.2) == ["json://…"]
    assert "json://…" in said[-1] and "secret" not in "".join(said)


def test_a_notice_that_is_refused_is_said_once():
    """Its address does not work: said with the scheme alone, once, and the rest is sent all the same."""
    said: list[str] = []
    one = Receiver(status=500)
    notices = Notices([one.url], said.append)
    notices.send("first", "a")
    notices.send("second", "b")
    assert notices.close(30) == ["json://…"]
    one.close()
    assert [title for title, _ in one.got] == ["first", "second"]
    assert len(said) == 1 and "hush" not in said[0] and "could not be sent" in said[0]


@pytest.fixture
def watched(tmp_path, receiver, monkeypatch):
    """A guard that an alarm looks at, its pauses long after no time at all."""
    monkeypatch.setattr(alarm, "LONG_PAUSE_S", 0.0)
    monkeypatch.setattr(alarm, "LOOK_EVERY_S", 0.01)

    def watch(least_bytes: int) -> tuple[Guard, alarm.Alarm, Notices]:
        guard, notices = Guard(lambda line: None, []), Notices([receiver.url], print)
        bell = alarm.Alarm(notices, "orbit", guard)
        bell.know(Commands("orbit", str(tmp_path / "runner.db")), [tmp_path], least_bytes)
        return guard, bell, notices

    return watch


def test_a_pause_that_lasts_is_told_and_so_is_its_end(receiver, watched):
    """What is wrong and what to type; when the pause is over, that it goes on."""
    guard, bell, _ = watched(0)
    with bell.at_work():
        guard.pause(WorldFault("the disk is full"))
        wait_until(lambda: len(receiver.got) == 1, "the notice of the pause")
        wait_until(lambda: guard.look() or guard.fault is None, "the end of the pause")
        wait_until(lambda: len(receiver.got) == 2, "the notice of its end")
    (paused, why), (goes_on, was) = receiver.got
    assert paused.startswith("orbit: paused for") and "the disk is full" in why and "runner" in why
    assert goes_on == "orbit: goes on" and "the disk is full" in was


@pytest.mark.parametrize(
    ("host", "is_told"), [("0.0.0.0", True), ("localhost", False), ("203.0.113.1", False)]
)
def test_a_notice_has_the_live_page_where_others_reach_it(receiver, watched, monkeypatch, host, is_told):
    """Not a page that this machine alone can open, nor one that does not answer."""
    monkeypatch.setattr(alarm, "_REACHED_S", 0.1)
    guard, bell, _ = watched(0)
    with socket.create_server(("0.0.0.0", 0)) as server, bell.at_work():
        link = f"http://{reachable_host(host)}:{server.getsockname()[1]}/live/token/"
        bell.know_link(link)
        guard.pause(WorldFault("the disk is full"))
        wait_until(lambda: receiver.got, "the notice of the pause")
    assert (link in receiver.got[0][1]) is is_told


def test_a_pause_that_is_soon_over_is_not_told(receiver, watched, monkeypatch):
    """Nobody is woken for what passes."""
    monkeypatch.setattr(alarm, "LONG_PAUSE_S", 3600.0)
    guard, bell, notices = watched(0)
    with bell.at_work():
        guard.pause(WorldFault("the disk is full"))
        wait_until(lambda: bell._fault is not None, "a look at the pause")
        wait_until(lambda: guard.look() or guard.fault is None, "the end of the pause")
        wait_until(lambda: bell._fault is None, "a look at its end")
    notices.close(30)
    assert receiver.got == []


def test_a_disk_that_fills_up_is_told_once(receiver, watched, monkeypatch):
    """Before the run pauses for it: below twice of what is to stay free."""
    monkeypatch.setattr(alarm, "_DISK_EVERY_S", 0.01)
    _, bell, notices = watched(1 << 60)
    with bell.at_work():
        wait_until(lambda: receiver.got, "the notice")
        wait_until(lambda: not bell._folders, "the end of looking there")
    notices.close(30)
    assert [title for title, _ in receiver.got] == ["orbit: little room on the disk"]


def test_no_address_no_thread():
    """Without --notify nothing is started, and nothing leaves the machine."""
    before = threading.active_count()
    notices = Notices([], print)
    with alarm.Alarm(notices, "orbit", Guard(print, [])).at_work():
        assert threading.active_count() == before
    notices.send("title", "body")
    assert notices.close(60) == [] and threading.active_count() == before


def test_a_run_that_waits_to_begin_is_told(tmp_path, receiver, monkeypatch):
    """A database that another program holds locked, before one job was handed out."""
    monkeypatch.setattr(alarm, "LONG_PAUSE_S", 0.0)
    monkeypatch.setattr(alarm, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("runner.store.database.BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr("runner.store.opening.BUSY_TIMEOUT_MS", 50)
    file, database = empty(tmp_path), tmp_path / "runner.db"
    Store(database).close()
    other = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def let_go() -> None:
        wait_until(lambda: receiver.got, "the notice of the pause")
        other.execute("ROLLBACK")

    threading.Thread(target=let_go).start()
    assert within("run", file, "--notify", receiver.url).exit_code == 4
    other.close()
    paused, *others = (title for title, _ in receiver.got)
    assert paused.startswith("good: paused for") and "locked" in receiver.got[0][1]
    assert "good: there are no jobs" in others


@pytest.mark.slow
def test_a_run_that_halts_is_told(tmp_path, receiver):
    """Why, what to type next, and at the end how far it came."""
    file = write_colors(tmp_path, 30, body='raise ValueError("no light")')
    assert run_for_tabs(file, "--notify", receiver.url, tabs=2).returncode == 3
    (halted, why), (end, what_next) = receiver.got
    assert halted == "colors: halted" and "ValueError: no light" in why and "--halt never" in why
    assert end.startswith("colors: 0 of 30 jobs are done, 0 failed, 30 left") and " run " in what_next
