"""Colour-coded jobs in many kinds of scene: no frame shows another job, while browsers are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from checks import check_frames
from PIL import Image

SCRIPT = str(Path(check_frames.__file__))

pytestmark = pytest.mark.usefixtures("browser_path")


def frames_and_wrong(*options: str) -> list[int]:
    """Run the script; what its last row counts."""
    command = [sys.executable, SCRIPT, *options]
    end = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert end.returncode == 0, end.stdout + end.stderr
    (row,) = (line for line in end.stdout.splitlines() if line.startswith("all "))
    return [int(count.replace(",", "")) for count in row.split()[1:3]]


@pytest.mark.long
def test_no_frame_shows_another_job_while_browsers_are_killed():
    """Fourteen kinds of scene in two sessions; the browser's processes are killed at random: none wrong, all done."""
    assert frames_and_wrong("--frames", "98", "--sessions", "2", "--kills", "2") == [98, 0]


def test_a_gpu_process_that_dies_leaves_no_blank_frame():
    """A picture that was being drawn is refused, and the browser, which has no WebGL any more, is replaced."""
    kinds = ["--kind", "one update", "--kind", "removal"]
    assert frames_and_wrong("--frames", "48", "--kills", "2", "--victim", "gpu-process", *kinds) == [48, 0]


def test_a_window_opened_by_hand_is_as_right():
    """The link of --sessions 0 in plain windows, one of which is killed and opened anew: none wrong, all done."""
    quick = ["one update", "200 updates", "texture", "model", "removal", "camera pose"]
    kinds = [word for kind in quick for word in ("--kind", kind)]
    assert frames_and_wrong("--frames", "36", "--by-hand", "--kills", "1", *kinds) == [36, 0]


def test_the_check_sees_a_wrong_frame(tmp_path, capsys):
    """The measure can fail: a stored frame that shows another number is found and counted."""
    run = check_frames.Run(check_frames.write_campaign(tmp_path, 4, 0, ["one update"]), 1, by_hand=False)
    assert run.end() == 0
    rows, is_right = check_frames.check(tmp_path, ["one update"])
    assert (rows, is_right) == ([("one update", 4, 0, 0, 0)], True)
    first, second = sorted((tmp_path / "results").rglob("rgb.jpg"))[:2]
    first.write_bytes(second.read_bytes())
    rows, is_right = check_frames.check(tmp_path, ["one update"])
    assert (rows, is_right) == ([("one update", 4, 1, 0, 0)], False)
    assert "WRONG" in capsys.readouterr().err


def test_each_number_has_its_colour(tmp_path):
    """Every number is told apart from all others, also after JPEG; a half-changed picture is no number's."""
    for number in [*range(0, check_frames.NUMBERS, 61), check_frames.NUMBERS - 1]:
        image = Image.new("RGB", (64, 48), check_frames.levels_of(number))
        image.save(tmp_path / "x.jpg", quality=95)
        assert check_frames.numbers_in(tmp_path / "x.jpg") == {number}
    image.paste(check_frames.levels_of(7), (0, 0, 32, 48))
    image.save(tmp_path / "x.png")
    assert check_frames.numbers_in(tmp_path / "x.png") == {7, check_frames.NUMBERS - 1}
