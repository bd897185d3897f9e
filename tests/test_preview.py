"""`runner preview`: one job as a run renders it, and nothing of the campaign is touched."""

from __future__ import annotations

import json

import pytest
from campaigns import number_in, write_colors
from PIL import Image
from processes import lines_of, run, start, within
from waiting import wait_until

from runner.campaign import Choice, load_campaign, pick_job
from runner.errors import UsageError
from runner.report import read_evidence

EVIDENCE = """page console: warning: two\x1b[31m red
last frame: orbit/evidence/a~1.jpg
Traceback (most recent call last):
  File "{package}/run/attempt.py", line 60, in render
    await task
  File "/scenes/orbit.py", line 12, in render
    helper()
    ^^^^^^^^
  File "/scenes/tools.py", line 3, in helper
    1 / 0
ZeroDivisionError: division by zero
"""


def test_one_job_is_picked_by_place_key_or_chance(tmp_path):
    """From the front, from the end, by as much of the key as is its own, or any; else what to type is said."""
    campaign = load_campaign(write_colors(tmp_path, count=9))
    jobs = [pick_job(campaign, Choice(index=index)) for index in range(9)]
    assert [job.params["number"] for job in jobs] == list(range(9))
    assert pick_job(campaign, Choice()) == jobs[0]
    assert pick_job(campaign, Choice(index=-1)) == jobs[8] and pick_job(campaign, Choice(index=-9)) == jobs[0]
    assert pick_job(campaign, Choice(key=jobs[4].key[:12])) == jobs[4]
    assert pick_job(campaign, Choice(is_random=True)) in jobs
    for choice, message in [
        (Choice(index=9), "the last is --index 8"),
        (Choice(index=-10), "the last is --index 8"),
        (Choice(key=""), "give more of it"),
        (Choice(key="zz"), "no job whose key"),
    ]:
        with pytest.raises(UsageError, match=message):
            pick_job(campaign, choice)
    with pytest.raises(UsageError, match="one of --key, --index and --random"):
        Choice(key="a", index=1)


def test_evidence_is_the_users_own_frames_and_what_the_page_said():
    """Frames of runner and colours are left out."""
    import runner

    evidence = read_evidence(EVIDENCE.replace("{package}", runner.__path__[0]))
    assert evidence.console == ("warning: two red",)
    text = "\n".join(evidence.trace)
    assert "last frame" not in text and "attempt.py" not in text and "await task" not in text
    assert text.index("orbit.py") < text.index("tools.py") < text.index("ZeroDivisionError")


@pytest.mark.usefixtures("browser_path")
def test_a_preview_shows_the_job_and_touches_nothing(tmp_path):
    """The picture is the job's own, in the format that was asked for; no database is made, and stdout is JSON alone."""
    file = write_colors(tmp_path, count=9)
    text = file.read_text().replace("args=[2,", "args=[0.5,")  # not all of one colour
    file.write_text(
        text.replace("    job.save(", "    print('a job prints')\n    job.save(", 1)
        + "print('so does a file')\n"
    )
    before = set(tmp_path.iterdir())
    end = run("preview", file, "--index", "5", "-o", tmp_path / "five.png", "--json")
    assert end.returncode == 0, end.stderr
    told = json.loads(end.stdout)
    assert "a job prints" in end.stderr and "so does a file" in end.stderr
    assert (told["status"], told["params"]) == ("done", {"number": 5})
    assert abs(told["metrics"]["red"] - 90) < 4
    assert told["files"] == [str(tmp_path / "five.png")] and str(file) in told["sources"]
    assert number_in(tmp_path / "five.png") == 5
    with Image.open(tmp_path / "five.png") as image:
        assert image.format == "PNG"
    assert {path for path in tmp_path.iterdir() if path.name != "__pycache__"} == before | {
        tmp_path / "five.png"
    }


@pytest.mark.usefixtures("browser_path")
def test_a_job_that_fails_shows_its_traceback_and_its_last_picture(tmp_path):
    """Exit 1, the user's own lines on stdout, what the tab showed last; an earlier picture is not taken for its own."""
    file = write_colors(tmp_path, count=3, body="1 / (job.params['number'] - 2)")
    (tmp_path / "two.png").write_text("of an earlier render")
    end = run("preview", file, "--index", "2", "-o", tmp_path / "two.png")
    assert end.returncode == 1, end.stderr
    assert "failed: ZeroDivisionError" in end.stdout and "1 / (job.params['number'] - 2)" in end.stdout
    assert "runner/run" not in end.stdout
    (picture,) = tmp_path.glob("two.*")
    assert picture.name == "two.failed.jpg"
    assert number_in(picture) == 2 and str(picture) in end.stdout


def test_a_preview_in_ones_own_tab_leaves_the_scene_there(tmp_path, full_browser):
    """It is opened by itself, renders the job, and goes on showing the scene when the command has ended."""
    from playwright.sync_api import sync_playwright

    file = write_colors(tmp_path, count=9)
    file.write_text(file.read_text().replace("args=[2,", "args=[0.5,"))  # not all of one colour
    opener = tmp_path / "opener"
    opener.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/link.new; mv {tmp_path}/link.new {tmp_path}/link\n')
    opener.chmod(0o755)
    process = start("preview", file, "--index", "5", "--open", environment={"BROWSER": str(opener)})
    lines = lines_of(process)
    link = wait_until(
        lambda: (tmp_path / "link").exists() and (tmp_path / "link").read_text().strip(), "the tab"
    )
    assert link in "".join(lines)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=full_browser, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.goto(link)
        assert process.wait(60) == 0, "".join(lines)
        page.screenshot(path=tmp_path / "tab.png")
        browser.close()
    (picture,) = tmp_path.glob("preview/colors/*/rgb.jpg")
    assert number_in(picture) == 5
    # Toned as the page does it, in the middle of a white ground.
    with Image.open(tmp_path / "tab.png") as tab:
        red, green, blue = tab.convert("RGB").getpixel((500, 350))
    assert red > 2 * max(green, blue, 10)


def test_bad_input_is_said_before_anything_is_started(tmp_path):
    """Exit 2 and one line."""
    file = write_colors(tmp_path, count=3)
    for more, message in [
        (["--index", "3"], "the last is --index 2"),
        (["--index", "1", "--random"], "give one of"),
        (["--set", "color=red"], "has no setting"),
        (["--open", "--watch"], "give one of them"),
    ]:
        end = within("preview", file, *more)
        assert end.exit_code == 2 and message in end.output and "Traceback" not in end.output


@pytest.mark.slow
def test_watching_renders_again_after_a_change_also_after_a_mistake(tmp_path):
    """What was imported is imported anew; a file that cannot be read is said, and is waited for."""
    file = write_colors(tmp_path, count=3)
    good = file.read_text()
    file.write_text("broken(")
    watching = start("preview", file, "--watch", environment={"RUNNER_BROWSER": "/nonexistent/browser"})
    lines = lines_of(watching)

    def waits(times):
        return sum("waiting for a change" in line for line in lines) >= times

    wait_until(lambda: waits(1), "the first look")
    assert any("syntax error" in line for line in lines)
    file.write_text(good)
    wait_until(lambda: waits(2), "the second look")
    assert any("/nonexistent/browser" in line for line in lines)


@pytest.mark.usefixtures("browser_path")
def test_a_bench_measures_each_way_and_touches_nothing(tmp_path):
    """The best way is named with the command for it; no database is made."""
    file = write_colors(tmp_path, count=40)
    end = run("bench", file, "-n", "2", "--seconds", "1", "--rounds", "1", "--rasterizer", "swiftshader")
    assert end.returncode == 0, end.stderr
    (line,) = [line.split() for line in end.stdout.splitlines() if line.startswith("  swiftshader ")]
    assert line[1] == "2" and float(line[2]) > 0 and line[-1] == "0"
    assert f"run {file} --sessions 2 --rasterizer swiftshader" in end.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {"colors.py", "__pycache__"}
    for more in (["-n", "0"], ["-n", "1,x"], ["--seconds", "0"]):
        assert within("bench", file, *more).exit_code == 2
