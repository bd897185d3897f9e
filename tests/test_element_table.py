"""The table of elements in runner/docs: it has all of them, and tells what pictures show."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from needs import quick_rasterizer

from runner.sessions.kinds import why_unseen
from runner.sessions.messages import nodes_of

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
import check_elements

# Each so many-th sample is rendered here, and those that were without their element now and then.
PART, LATE = 3, ("SparkSplats", "VideoPlane", "Center", "Stage")


def table() -> dict[str, list[str]]:
    """The cells of each row, by name."""
    text = check_elements.DOCUMENT.read_text().split(check_elements.BEGIN)[1].split(check_elements.END)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    return {row[0].split(" (")[0]: row[1:] for row in rows[2:]}


def names() -> list[str]:
    return [sample.name for sample in check_elements.samples(lambda name: name)]


def test_every_element_of_vuer_has_a_row():
    """One that a new Vuer brings is told of by name."""
    assert check_elements.untested() == []
    assert list(table()) == names()


# What DefaultScene brings for people, and what brings or moves others.
QUIET = """
    CameraView SceneCamera SceneCameraControl CameraPreviewThumbs CameraPreviewOverlay Gamepad Hands MotionControllers
    ContribLoader AnimationClip VectorTrack QuaternionTrack
"""


def test_whoever_uses_what_no_picture_shows_is_told_of_it():
    """By name, but for what is in every scene, or shows nothing by itself."""
    for sample in check_elements.samples(lambda name: name):
        if sample.expect == check_elements.UNSEEN and sample.element not in QUIET.split():
            nodes = nodes_of({"nodes": [sample.first._serialize()]})
            assert any(map(why_unseen, nodes)), sample.name


@pytest.mark.long
@pytest.mark.usefixtures("browser_path")
def test_pictures_are_as_the_table_says(tmp_path):
    """Shown or not, changed or not, gone or not: as it was beside the stock client."""
    chosen = [name for i, name in enumerate(names()) if i % PART == 0 or name in LATE]
    rows, _, _ = check_elements.check(tmp_path, chosen, [1], False, quick_rasterizer())
    assert [f"{row.name}: {reason}" for row in rows for reason in row.wrong] == []
    cells = {row.name: [row.cells[phase] for phase in check_elements.PHASES] for row in rows}
    assert cells == {name: [check_elements.without_vuer(cell) for cell in table()[name]] for name in chosen}
