"""What the server and the page say to each other is written down once, and read with care."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
from pathlib import Path

import pytest

from runner.sessions.protocol import Grab, Hello, Refused, decode, encode, joined, parted
from runner.sessions.script import page_script

ROOT = Path(__file__).parents[1]


def test_the_pages_side_is_up_to_date():
    """The constants and types that the page knows are those of protocol.py."""
    path = str(ROOT / "scripts" / "write_page_protocol")
    loader = importlib.machinery.SourceFileLoader("write_page_protocol", path)
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(script)
    assert script.FILE.read_text() == script.script(), "run scripts/write_page_protocol"


def test_messages_go_as_they_are_named():
    """A message is JSON with its type and its parts, and comes back as what it was."""
    grab = Grab("r", 3, 30.0, "jpeg", {"name": "ego", "fov": 50.0}, False)
    assert json.loads(encode(grab)) == {
        "type": "grab", "reply": "r", "fence": 3, "wait_s": 30.0, "format": "jpeg",
        "camera": {"name": "ego", "fov": 50.0}, "depth": False,
    }  # fmt: skip
    for message in (Hello(True, versions={"three": "182"}), Refused("r", "why", True)):
        assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", '{"type": "refused"}', '{"type": []}', "[" * 60_000]
)
def test_what_makes_no_sense_is_no_message(text):
    """A tab that says so is broken."""
    with pytest.raises(ValueError):
        decode(text)


def test_a_kind_that_is_not_known_is_passed_over():
    """A page of another version may say more."""
    assert decode('{"type": "grab"}') is None


def test_the_pages_modules_are_one_script(tmp_path):
    """Joined, each module stands once, before those that import it, and no import is left."""
    script = page_script()
    modules = sorted(file.stem for file in (ROOT / "runner" / "sessions" / "page").glob("*.js"))
    places = {name: script.index(f"const module_{name} = ") for name in modules}
    assert all(script.count(f"const module_{name} = ") == 1 for name in modules)
    assert max(places, key=places.get) == "main"
    assert "\nimport " not in script and "\nexport " not in script


def test_messages_that_go_together_come_apart_as_they_were():
    """A parcel has the bytes that tests/page/client.test.js reads, and gives back texts and bytes in order."""
    messages = ["{}", b"\x81\xa1a\x01", "é"]
    parcel = joined(messages)
    assert parcel.hex() == "c1" + "01000000027b7d" + "000000000481a16101" + "0100000002c3a9"
    assert parted(parcel) == messages
    assert parted(b"\x81\xa1a\x01") == [b"\x81\xa1a\x01"]
    assert parted("{}") == ["{}"]
