"""The doctor: each thing that stands in the way of a night is found, told with its cure, and told to scripts."""

from __future__ import annotations

import json
import resource
import signal
from pathlib import Path

import psutil
import pytest
from processes import browsers_of, lines_of, run, start, within
from receiver import Receiver
from waiting import wait_until

from runner.browsers import find_browser
from runner.browsers.processes import is_alive
from runner.doctor import Check, State, check, drawing, limits, places, software, text, trial, verdict
from runner.errors import BrowserError
from runner.job import Policy
from runner.machine import filesystem, memory_bytes
from runner.store import Store

H100 = "ANGLE (NVIDIA Corporation, NVIDIA H100 PCIe/PCIe/SSE2, OpenGL ES 3.2)"
LLVMPIPE = "ANGLE (Mesa, llvmpipe (LLVM 15.0.6, 256 bits), OpenGL 4.5)"


def state(found: Check) -> str:
    return found.state.value


@pytest.mark.parametrize(
    ("version", "has_bug"),
    [
        ("3.6.23", False), ("3.7.0", True), ("3.40.1", True), ("3.44.5", True), ("3.44.6", False),
        ("3.45.0", True), ("3.50.6", True), ("3.50.7", False), ("3.51.2", True), ("3.51.3", False),
        ("3.53.0", False),
    ],
)  # fmt: skip
def test_sqlites_with_the_bug_of_their_log_are_told(version, has_bug):
    """By their versions, as sqlite.org tells them: since 3.7.0, until 3.51.3, but for two older series."""
    number = tuple(map(int, version.split(".")))
    found = software.check_sqlite(number)
    assert (state(found) == "warn") is has_bug is software.has_log_bug(number)
    assert version in found.found and bool(found.fix) is has_bug
    assert state(software.check_sqlite(number, is_used=False)) == "ok"


def test_a_package_that_is_missing_is_named(monkeypatch):
    """With the command that installs it."""
    monkeypatch.setattr(software, "_PACKAGES", ("click", "no-such-package"))
    found = software.check_packages()
    assert state(found) == "fail" and found.fix.endswith("-m pip install no-such-package")


def test_a_place_that_cannot_be_is_told_before_the_night(tmp_path, monkeypatch):
    """A missing folder, a file in the way, a network filesystem, another program's file; the option that mends it."""
    (tmp_path / "notes").write_text("my notes")
    assert "its folder is missing" in places.check_database(str(tmp_path / "no" / "runner.db")).found
    for found in (
        places.check_database(str(tmp_path / "notes")),
        places.check_database("mysql://host/db"),
        places.check_results(tmp_path / "notes" / "results"),
    ):
        assert state(found) == "fail" and ("--db" in found.fix or "--results" in found.fix)
    monkeypatch.setattr(places, "network_filesystem", lambda path: "nfs4")
    found = places.check_database(str(tmp_path / "runner.db"))
    assert state(found) == "fail" and "nfs4" in found.found and "postgresql://" in found.fix


def test_a_place_that_does_not_last_is_told(tmp_path, small_disk):
    """What lies in memory is gone at the next start; the little room there is told, too."""
    assert filesystem(small_disk) == "tmpfs"
    for found in (
        places.check_results(small_disk / "results"),
        places.check_database(str(small_disk / "runner.db")),
    ):
        assert state(found) == "warn" and "gone when the machine restarts" in found.found
    assert state(places.check_room(str(tmp_path / "runner.db"), small_disk)) == "fail"


def test_nothing_is_made_by_looking(tmp_path):
    """Neither a database nor a folder."""
    places.check_database(str(tmp_path / "runner.db"))
    places.check_results(tmp_path / "results")
    assert list(tmp_path.iterdir()) == []


def test_few_open_files_are_told():
    """With the command that allows more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        found = limits.check_open_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert state(found) == "fail" and "ulimit -n 4096" in found.fix


def test_more_browsers_than_memory_are_told():
    """With a number that fits."""
    found = limits.check_memory(64_000)
    assert state(found) == "warn" and found.fix.startswith("--sessions ")
    assert state(limits.check_memory(0)) == "ok"


def test_a_machine_that_will_fall_asleep_is_told(tmp_path, monkeypatch):
    """By the desktop's own tool, with the command that keeps it awake."""
    tool = tmp_path / "gsettings"
    tool.write_text("#!/bin/sh\ncase $3 in *type) echo \"'suspend'\";; *) echo 'uint32 900';; esac\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(limits, "_is_masked", lambda: False)
    found = limits.check_sleep()
    assert state(found) == "warn" and "suspend after 900 s" in found.found and "systemd-inhibit" in found.fix


def test_a_container_that_knows_of_no_power_supply_is_no_failure(monkeypatch):
    """The folder that tells of batteries is not in each."""

    def none():
        raise FileNotFoundError("/sys/class/power_supply")

    monkeypatch.setattr(limits.psutil, "sensors_battery", none)
    monkeypatch.setattr(limits, "_is_masked", lambda: False)
    assert state(limits.check_sleep()) in ("ok", "warn")


def test_an_idle_card_is_told(smi, vendors):
    """NVIDIA's is here and Mesa draws: marked, with the cure."""
    smi("NVIDIA H100 PCIe")
    idle = drawing.check_cards(LLVMPIPE)
    assert state(idle) == "warn" and "does not draw" in idle.found and "eglinfo" in idle.fix
    assert state(drawing.check_cards(H100)) == "ok"


def row(turn: int, view: int, digest: str, **facts) -> dict:
    picture = {"sha256": digest}
    return {
        "status": "done", "view": view, "artifacts": [picture], "error": None, "renderer": LLVMPIPE,
        "done_ts": 10.0 * turn + view,
    } | facts  # fmt: skip


def test_pictures_that_differ_from_turn_to_turn_are_told():
    """Two hashes of one view are named; a trial that failed tells why."""
    rows = [row(turn, view, f"hash of {view}") for turn in range(3) for view in range(5)]
    assert trial._judged("egl", "", rows).differing == ()
    rows[7] = row(1, 2, "another")
    found = trial.check_trial(trial._judged("egl", "", rows))
    assert state(found) == "warn" and "views 2 were not the same bytes" in found.found
    rows[3] = row(0, 3, "", status="failed", error="the scene\nis dark")
    assert trial.check_trial(trial._judged("egl", "", rows)).found == "the scene is dark"


def test_a_mark_is_a_letter_or_a_word():
    """✓ and ✗ where the terminal has them, words elsewhere; the fix stands below what must be mended."""
    bad = Check("disk", State.FAIL, "is full", "make room")
    mark, told = text.to_text(bad, "utf-8")
    assert mark == "✗" and told.splitlines()[1].strip() == "fix: make room"
    assert text.to_text(bad, "latin-1")[0] == text.to_text(bad, "ascii")[0] == "fail"
    assert text.to_text(Check("disk", State.OK, "is empty"), "ascii") == (
        "ok  ",
        f" {'disk'.ljust(19)} is empty",
    )


def test_the_verdict_is_the_worst():
    """A warning is no failure."""
    checks = [Check("", state, "") for state in (State.OK, State.WARN, State.FAIL)]
    assert [verdict(checks[:n]) for n in range(4)] == [State.OK, State.OK, State.WARN, State.FAIL]


def test_a_program_that_is_not_there_or_hangs_is_no_answer(tmp_path, monkeypatch):
    """Nothing that is asked by the way holds the doctor up."""
    monkeypatch.setattr(check, "_ASK_S", 0.2)
    assert check.answer_of("sleep", "60") is None and check.answer_of("no-such-program") is None
    assert check.answer_of("false") is None and check.answer_of("echo", "yes") == "yes"


def doctor(folder: Path, *more: object):
    return within("doctor", "--db", folder / "runner.db", "--results", folder / "results", *more)


def test_scripts_read_json_and_the_exit_status(tmp_path):
    """0 where a run could begin, 1 where something must be mended; stdout is JSON alone."""
    well = doctor(tmp_path, "--sessions", 0, "--json")
    told = json.loads(well.stdout)
    assert well.exit_code == 0 and told["verdict"] in ("ok", "warn")
    assert {"name", "state", "found", "fix"} == set(told["checks"][0])
    ill = doctor(tmp_path / "nowhere", "--sessions", 0, "--json")
    assert ill.exit_code == 1 and json.loads(ill.stdout)["verdict"] == "fail"


def test_colours_are_the_users_choice(tmp_path, monkeypatch):
    """NO_COLOR has none, FORCE_COLOR has them also in a pipe; the marks say the same."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = doctor(tmp_path, "--sessions", 0).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    plain = doctor(tmp_path, "--sessions", 0).stdout
    assert "\x1b[" in coloured and "\x1b[" not in plain and "✓ python" in plain


def test_a_test_notice_is_sent(tmp_path):
    """To each address, and the answer is told; a bad address is a failure by its scheme."""
    receiver = Receiver()
    well = doctor(tmp_path, "--sessions", 0, "--notify", receiver.url)
    assert well.exit_code == 0 and [title for title, _ in receiver.got] == ["runner doctor: a test"]
    receiver.close()
    ill = doctor(tmp_path, "--sessions", 0, "--notify", receiver.url, "--notify", "nosuch://hush")
    assert ill.exit_code == 1 and "could not be sent" in ill.stdout and "nosuch://…" in ill.stdout
    assert "hush" not in ill.stdout + well.stdout and "secret" not in ill.stdout + well.stdout


def test_a_browser_that_is_broken_is_told_with_the_cure(tmp_path, monkeypatch):
    """No trial is made then, and the exit status is 1."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("RUNNER_BROWSER", str(broken))
    end = doctor(tmp_path, "--sessions", 1)
    assert end.exit_code == 1 and "✗ browser" in end.stdout and "render " not in end.stdout


@pytest.mark.usefixtures("browser_path")
def test_a_driver_that_does_not_start_is_told_with_the_cure(tmp_path, monkeypatch):
    """On a bare machine its Node lacks a library. It is told once, and no rasterizer is said not to draw."""
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", "/bin/false")
    end = doctor(tmp_path, "--sessions", 1)
    assert end.exit_code == 1 and "✗ driver" in end.stdout and "apt-get install libatomic1" in end.stdout
    assert "rasterizer" not in end.stdout and "render " not in end.stdout


def test_a_browser_without_windows_is_found_first(tmp_path, monkeypatch):
    """Where the system has both; the one that is named counts before all."""
    for name in ("chromium", "chromium-headless-shell"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RUNNER_BROWSER", raising=False)
    assert find_browser() == str(tmp_path / "chromium-headless-shell")
    monkeypatch.setenv("RUNNER_BROWSER", "chromium")
    assert find_browser() == str(tmp_path / "chromium")


@pytest.mark.parametrize(
    ("groups", "limited", "limit"),
    [
        ("0::/slurm/job_7/step_0\n", "slurm/job_7/memory.max", "5000"),
        ("3:cpu:/x\n2:memory,hugetlb:/job_7\n0::/\n", "memory/job_7/memory.limit_in_bytes", "5000"),
        ("0::/where/the/machine/has/it\n", "memory.max", "5000"),
        ("0::/slurm\n", "slurm/memory.max", "max"),
    ],
    ids=["a job's", "an older kernel's", "a container's", "none"],
)
def test_memory_is_what_a_batch_job_may_have_of_it(tmp_path, monkeypatch, groups, limited, limit):
    """A scheduler limits the control group around a job; the machine's memory is not all for it."""
    own, file = tmp_path / "cgroup", tmp_path / "fs" / limited
    own.write_text(groups)
    file.parent.mkdir(parents=True)
    file.write_text(f"{limit}\n")
    monkeypatch.setattr("runner.machine.memory._OWN_GROUPS", own)
    monkeypatch.setattr("runner.machine.memory._CONTROL", tmp_path / "fs")
    assert memory_bytes() == (5000 if limit == "5000" else psutil.virtual_memory().total)


def test_a_snap_is_no_browser_for_this(tmp_path, monkeypatch):
    """It may not use a browser's folder; Ubuntu's chromium is one, or a script that calls it."""
    snap, script, real = tmp_path / "snap", tmp_path / "chromium-browser", tmp_path / "google-chrome"
    snap.touch(0o755)
    (tmp_path / "chromium").symlink_to(snap)
    script.write_text('#!/bin/sh\nexec /snap/bin/chromium "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RUNNER_BROWSER", "PLAYWRIGHT_BROWSERS_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BrowserError, match=r"chromium is a snap, as Ubuntu has it.*playwright install"):
        find_browser()
    real.touch(0o755)
    assert find_browser() == str(real)


@pytest.mark.usefixtures("browser_path")
def test_the_trial_is_a_real_one(tmp_path):
    """Each rasterizer is named by its renderer and compared with itself; so many browsers as asked for draw at once."""
    end = run("doctor", "--sessions", 2, "--json", cwd=tmp_path)
    checks = {check["name"]: check for check in json.loads(end.stdout)["checks"]}
    assert end.returncode == 0, end.stdout + end.stderr
    swiftshader = checks["render swiftshader"]
    assert swiftshader["state"] == "ok" and "SwiftShader" in swiftshader["found"]
    assert (
        "the same bytes twice and in reverse" in swiftshader["found"] and "pictures/s" in swiftshader["found"]
    )
    assert checks["at once"]["state"] == checks["rasterizer"]["state"] == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("browser_path")
def test_a_doctor_that_is_interrupted_leaves_nothing_behind(tmp_path):
    """Ctrl-C amid a trial ends its run and its browsers, removes its folder, and exits with 130."""
    process = start("doctor", "--sessions", 1, cwd=tmp_path, environment={"TMPDIR": str(tmp_path)})
    lines = lines_of(process)
    wait_until(lambda: "rendering 15 pictures" in "".join(lines), "the trial")
    wait_until(lambda: list(tmp_path.glob("runner-doctor-*/runner.db")), "its run")
    children = browsers_of(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130, "".join(lines)
    assert children and not any(map(is_alive, children))
    assert list(tmp_path.glob("runner-doctor-*")) == []
    assert "Traceback" not in "".join(lines)


def test_a_server_is_asked(postgres_database_url):
    """One that answers is well, even without a campaign; SQLite's bug does not matter to jobs on a server."""
    found = places.check_database(postgres_database_url)
    assert state(found) == "ok" and "the first run creates it" in found.found
    with Store(postgres_database_url) as store:
        store.add_campaign("orbit", Policy())
    assert "campaigns in it: 1" in places.check_database(postgres_database_url).found
    assert places.file_of(postgres_database_url) is None
