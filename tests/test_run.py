"""A campaign from its file to its results, with real browsers, real signals and real kills."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import signal
import time

import psutil
import pytest
from campaigns import PACED, assert_nobody_was_charged, assert_whole, done_count, number_in, write_colors
from clients import run_for_tabs
from needs import missing, quick_rasterizer
from PIL import Image
from processes import browsers_of, lines_of, run, start, within
from waiting import wait_until

from runner.store import Store

pytestmark = pytest.mark.usefixtures("browser_path")


def test_a_campaign_is_rendered_and_is_done_when_asked_again(tmp_path, full_browser):
    """One command renders every job; given again it says that all is done and starts no browser."""
    file = write_colors(tmp_path, count=40)
    first = run("run", file, env=os.environ | {"RUNNER_BROWSER": full_browser})
    assert first.returncode == 0, first.stderr
    assert "40 new, 0 done, 0 failed, 40 left" in first.stderr and first.stdout == ""
    assert f"(--rasterizer {quick_rasterizer()})" in first.stderr
    assert_whole(tmp_path, 40)
    with Store(tmp_path / "runner.db") as store:
        sessions = {row["id"]: row for row in store.reader.sessions(1)}
        drawn = store.reader.done_by_session(1)
    assert sum(drawn.values()) == 40 and drawn.keys() <= sessions.keys()
    for session in sessions.values():
        assert "ANGLE" in session["renderer"] and "Chrome" in session["browser"]
        assert session["client"]["three"] and session["vuer"] and session["runner"]
        assert session["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    again = run("run", file, env=os.environ | {"RUNNER_BROWSER": "/bin/false"})
    assert again.returncode == 0
    assert "0 new, 40 done, 0 failed, 0 left" in again.stderr and "all 40 jobs are done" in again.stderr


def test_topping_up_renders_only_what_is_new(tmp_path):
    """Jobs are known by their content, not by their place in the file."""
    file = write_colors(tmp_path, count=3)
    assert run_for_tabs(file).returncode == 0
    more = run_for_tabs(file, "--set", "count=5")
    assert "5 jobs: 2 new, 3 done, 0 failed, 2 left" in more.stderr
    assert_whole(tmp_path, 5)


@pytest.mark.long
def test_kills_at_random_moments_lose_nothing(tmp_path):
    """After each SIGKILL of the runner and its browsers the same command goes on; in the end all is whole."""
    chance = random.Random(int(os.environ.get("RUNNER_TEST_SEED", "1")))
    count, kills = 60, 2
    file = write_colors(tmp_path, count, PACED, policy=", max_crashes=100")
    for kill in range(kills):
        process = start("run", file, "-n", "1")
        # Let one run come far, and end the other before its first frame or soon after it.
        goal = done_count(tmp_path) + chance.choice([0, 1] if kill else [10, 20])
        wait_until(
            lambda goal=goal, process=process: done_count(tmp_path) >= goal or process.poll() is not None,
            f"{goal} done jobs",
        )
        time.sleep(chance.uniform(0.0, 1.0))
        victims = browsers_of(process)
        for victim in [psutil.Process(process.pid), *victims] if kill else [process]:
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                pass
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"kill {kill} came too late"
        # Browsers that were spared end by themselves, because nobody drives them any more.
        _gone, alive = psutil.wait_procs(victims, timeout=20)
        assert not alive
    finish = run("run", file, "-n", "1")
    assert finish.returncode == 0, finish.stderr
    assert_whole(tmp_path, count)


def test_ctrl_c_hands_jobs_back_and_leaves_nothing_behind(tmp_path):
    """SIGINT: exit 130, no browser left, jobs in flight pending again and charged nothing."""
    file = write_colors(tmp_path, 20, 'job.params["number"] == 7 and await asyncio.sleep(60)')
    process = start("run", file, "-n", "2")
    wait_until(lambda: done_count(tmp_path) == 19, "all jobs but the one that takes its time")
    browsers = browsers_of(process)
    assert browsers
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130, messages
    assert "Traceback" not in messages
    assert not psutil.wait_procs(browsers, timeout=5)[1]
    with Store(tmp_path / "runner.db") as store:
        (handed_back,) = [row for row in store.reader.jobs(1) if row["status"] != "done"]
        assert (handed_back["status"], handed_back["params"]) == ("pending", {"number": 7})
        assert not handed_back["failures"] and not handed_back["crashes"]
        assert [row["outcome"] for row in store.reader.attempts(1)] == ["released"]
        assert {row["state"] for row in store.reader.workers(1)} == {"ended"}


def test_a_render_that_raises_is_retried_and_then_set_aside(tmp_path):
    """The job fails with its traceback in the database; the others are rendered; exit 1; retry mends it."""
    body = 'if job.params["number"] == 2: raise ValueError("no such mesh: cup.obj")'
    file = write_colors(tmp_path, 5, body, ", max_failures=2, backoff_s=0.1")
    first = run_for_tabs(file)
    assert first.returncode == 1, first.stderr
    assert "4 of 5 jobs are done, 1 failed" in first.stderr
    with Store(tmp_path / "runner.db") as store:
        (failed,) = [row for row in store.reader.jobs(1) if row["status"] == "failed"]
        assert failed["error"] == "ValueError: no such mesh: cup.obj"
        assert (failed["attempt"], failed["failures"], failed["crashes"]) == (2, 2, 0)
        assert all("colors.py" in row["traceback"] for row in store.reader.attempts(1))
    report = within("report", "--db", tmp_path / "runner.db")
    assert "colors: finished, but 1 of 5 jobs failed" in report.stdout
    assert "1 failed: ValueError: no such mesh: cup.obj" in report.stdout
    assert "runner retry colors" in report.stdout
    assert run_for_tabs(file).returncode == 1
    write_colors(tmp_path, 5)
    assert within("retry", "colors", "--db", tmp_path / "runner.db").exit_code == 0
    assert run_for_tabs(file).returncode == 0
    assert_whole(tmp_path, 5)


@pytest.mark.long
def test_a_bad_scene_halts_the_run_and_charges_nobody(tmp_path):
    """When the first jobs all fail alike the run ends with 3 and says why; '--halt never' goes on."""
    body = 'if job.params["number"] < 90: raise ValueError("no such mesh: cup.obj")'
    file = write_colors(tmp_path, 100, body, ", max_failures=1")
    halted = run_for_tabs(file, tabs=2)
    assert halted.returncode == 3, halted.stderr
    assert "ValueError: no such mesh: cup.obj" in halted.stderr and "--halt never" in halted.stderr
    with Store(tmp_path / "runner.db") as store:
        jobs = store.reader.jobs(1)
        assert {row["status"] for row in jobs} == {"pending"}
        assert not any(row["failures"] or row["crashes"] for row in jobs)
        assert store.reader.progress(1).failed == 0
        assert len(store.reader.attempts(1)) < 50
    assert "halt " in within("report", "--db", tmp_path / "runner.db").stdout
    assert run("run", file, "--halt", "some").returncode == 2
    onwards = run("run", file, "-n", "1", "--halt", "never")
    assert onwards.returncode == 1 and "10 of 100 jobs are done, 90 failed" in onwards.stderr
    # Browsers are not to blame for it, and not started anew.
    assert "ended (" not in onwards.stderr


def test_an_attempt_that_takes_too_long_is_a_failure(tmp_path):
    """The time limit ends it and says at which line; the session goes on, and the page's fonts are no evidence."""
    body = 'job.params["number"] == 1 and await asyncio.sleep(60)'
    file = write_colors(tmp_path, 3, body, ", max_failures=1, timeout_s=2")
    end = run("run", file, "-n", "1")
    assert end.returncode == 1, end.stderr
    with Store(tmp_path / "runner.db") as store:
        errors = [row["error"] for row in store.reader.jobs(1)]
        (attempt,) = store.reader.attempts(1)
    number = next(n for n, line in enumerate(file.read_text().splitlines(), 1) if body in line)
    assert errors == [None, f"TimeoutError: no end after 2 s, at {file}:{number}", None]
    assert attempt["traceback"].endswith(body) and "fonts.g" not in attempt["traceback"]


def test_a_browser_that_is_killed_is_replaced(tmp_path):
    """Its job goes back charged with a crash, and another browser finishes the campaign."""
    file = write_colors(tmp_path, 60, PACED)
    process = start("run", file, "-n", "1")
    wait_until(lambda: done_count(tmp_path) >= 3, "the first done jobs")
    for child in browsers_of(process):
        with contextlib.suppress(psutil.Error):
            if "--type=" not in " ".join(child.cmdline()) and "chrom" in child.name():
                child.kill()
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 0, messages
    assert "browser-1 ended" in messages
    assert_whole(tmp_path, 60)


def test_a_link_opened_by_hand_works_through_jobs(tmp_path, full_browser):
    """--sessions 0 starts no browser and prints a link; a tab that opens it renders, for the next worker, too."""
    from playwright.sync_api import sync_playwright

    from runner.browsers.launcher import _FLAGS

    file = write_colors(tmp_path, 20, PACED)
    process = start("run", file, "--sessions", "0")
    link = ""
    while not link.startswith("http://localhost:"):
        link = process.stderr.readline().strip()
        assert link or process.poll() is None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=full_browser, args=list(_FLAGS))
        browser.new_page().goto(link)
        wait_until(lambda: done_count(tmp_path) >= 3, "the first done jobs")
        (worker,) = psutil.Process(process.pid).children()
        worker.kill()
        _, messages = process.communicate(timeout=60)
        browser.close()
    assert process.returncode == 0, messages
    assert "another one is started" in messages
    assert_whole(tmp_path, 20)
    assert_nobody_was_charged(tmp_path)


def test_a_tab_without_webgl_is_told_of(tmp_path, full_browser):
    """It gets no job, the terminal says why, and a tab that can render does the work."""
    from playwright.sync_api import sync_playwright

    from runner.browsers.launcher import _FLAGS

    file = write_colors(tmp_path, 5)
    process = start("run", file, "--sessions", "0")
    lines = lines_of(process)
    link = wait_until(
        lambda: next((line for line in lines if line.startswith("http://localhost:")), ""), "the link"
    )
    with sync_playwright() as playwright:
        without = playwright.chromium.launch(
            executable_path=full_browser, args=[*_FLAGS, "--disable-3d-apis"]
        )
        without.new_page().goto(link)
        wait_until(lambda: "cannot render: this browser offers no WebGL" in "".join(lines), "the reason")
        browser = playwright.chromium.launch(executable_path=full_browser, args=list(_FLAGS))
        browser.new_page().goto(link)
        assert process.wait(timeout=60) == 0, "".join(lines)
        browser.close()
        without.close()
    assert "".join(lines).count("cannot render") == 1
    assert_whole(tmp_path, 5)


def test_number_in_reads_what_the_ball_tells(tmp_path):
    """The measure used above can tell neighbours apart, also after JPEG."""
    for number in (0, 1, 15, 16, 255, 399, 4095):
        color = tuple((number >> shift & 15) * 15 + 15 for shift in (0, 4, 8))
        Image.new("RGB", (64, 48), color).save(tmp_path / "x.jpg", quality=95)
        assert number_in(tmp_path / "x.jpg") == number


def test_where_the_system_draws_nothing_chromium_does_and_goes_on_to(tmp_path):
    """Without a driver for EGL a run takes SwiftShader, says so, and the next one keeps to it, driver or not."""
    if quick_rasterizer() != "egl":
        missing("a driver for EGL")
    file = write_colors(tmp_path, count=2)
    done = run("run", file, "-n", "1", env=os.environ | {"__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent"})
    assert done.returncode == 0, done.stderr
    assert "(--rasterizer swiftshader)" in done.stderr
    assert_whole(tmp_path, 2)
    # What drew the first pictures draws the later ones, too.
    write_colors(tmp_path, count=3)
    assert "(--rasterizer swiftshader)" in run("run", file, "-n", "1").stderr


def of_one_colour(color: str) -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), color).save(picture, "JPEG")
    return picture.getvalue()


@pytest.mark.parametrize("on_suspect", ["keep", "retry", "fail"])
def test_a_suspect_picture_is_kept_retried_or_failed_as_the_campaign_says(tmp_path, on_suspect):
    """A picture all of one colour is marked; retry tries again first, fail counts it as a failure."""
    policy = f', on_suspect="{on_suspect}", max_failures=2, backoff_s=0.0'
    file = write_colors(tmp_path, count=2, policy=policy)
    done = run_for_tabs(file, "--halt", "never", picture=of_one_colour)
    report = json.loads(within("report", "--db", tmp_path / "runner.db", "--json").stdout)[0]
    assert done.returncode == (1 if on_suspect == "fail" else 0), done.stderr
    assert report["failed"] == (2 if on_suspect == "fail" else 0)
    assert report["attempts"].get("failed", 0) == {"keep": 0, "retry": 2, "fail": 4}[on_suspect]
    assert len(report["suspects"]) == (0 if on_suspect == "fail" else 2)
    reasons = report["suspects"] or report["failures"]
    assert all("one colour" in row["reason"] for row in reasons)
