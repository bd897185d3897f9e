"""The commands: mistakes are said in one line and change nothing, data goes to stdout, exit codes hold."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from campaigns import GOOD, write_colors
from processes import run, within

from runner.exits import ExitStatus
from runner.job import Outcome, Policy, Provenance
from runner.store import Store

ROOT = Path(__file__).parents[1]
BAD_FILES = {
    "syntax error": (GOOD + "\ndef broken(:\n", "campaign.py:15: syntax error"),
    "an import that fails": ("import no_such_package\n", f"'no_such_package': install it for {sys.executable}"),
    "no campaign": ("x = 1\n", "defines no Campaign"),
    "two campaigns": (GOOD + "\nsecond = Campaign('second')\n", "defines 2 Campaigns"),
    "a bad name": (GOOD.replace('"good"', '"../good"'), "a campaign's name must be"),
    "a bad policy": (GOOD.replace('"good"', '"good", timeout_s=0'), "timeout_s must be at least"),
    "no render": (GOOD.split("@campaign.render")[0], "has no render function"),
    "no scene": (GOOD.replace("@campaign.scene", ""), "has no scene function"),
    "no jobs": (GOOD.replace("@campaign.jobs", ""), "has no jobs function"),
    "a render that is not async": (GOOD.replace("async def", "def"), "must be an async function"),
    "a render that yields": (GOOD.replace("    pass", "    yield 1"), "leave out 'yield'"),
    "a render of other arguments": (GOOD.replace("session, job", "self, session, job"), "and takes other arguments"),
    "a scene that raises": (GOOD.replace("return Scene()", "return 1 / 0"), "campaign.py:10: ZeroDivisionError"),
    "jobs that raise": (GOOD.replace('yield {"x": 1}', 'yield {"x": 1}; 1 / 0'), "campaign.py:6: ZeroDivisionError"),
    "a key that is no text": (GOOD.replace('{"x": 1}', '(4, {"x": 1})'), "a job's key is text, got 4: write str(4)"),
    "params that are no dict": (GOOD.replace('{"x": 1}', "[1]"), "params must be a dict"),
    "params that are not JSON": (GOOD.replace('{"x": 1}', '{"x": {1, 2}}'), "params are not JSON"),
    "params with NaN": (GOOD.replace('{"x": 1}', '{"x": float("nan")}'), "params are not JSON"),
    "jobs that are nothing": (GOOD.replace('yield {"x": 1}', "return None"), "gives nothing: it must yield"),
    "a scene that is nothing": (GOOD.replace("return Scene()", "Scene()"), "gives nothing: it must return a scene"),
    "a scene to be awaited": (GOOD.replace("def scene", "async def scene"), "gives what must be awaited"),
    "an argument of ours": ("import sys\nsys.argv[1]\n" + GOOD, "campaign.py:2: IndexError"),
    "one key for two params": (
        GOOD.replace('yield {"x": 1}', 'yield "a", {"x": 1}; yield "a", {"x": 2}'),
        "the key 'a' stands for two different params",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BAD_FILES)
@pytest.mark.slow
def test_a_bad_campaign_file_is_one_clear_line_and_changes_no_row(tmp_path, mistake):
    """Exit 2, one line that names file and cause, no traceback, and the database as it was."""
    content, message = BAD_FILES[mistake]
    file = tmp_path / "campaign.py"
    file.write_text(content)
    with Store(tmp_path / "runner.db") as store:
        store.submit("good", [{"x": 0}])
    end = within("run", file)
    assert end.exit_code == 2
    assert message in end.stderr and end.stdout == ""
    assert len(end.stderr.strip().splitlines()) == 1, end.stderr
    with Store(tmp_path / "runner.db") as store:
        assert [row["name"] for row in store.reader.campaigns()] == ["good"]
        assert [row["params"] for row in store.reader.jobs(1)] == [{"x": 0}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.py"], "cannot read the campaign file"),
        (["run", "good.py", "--set", "color=red"], "has no setting 'color'; it has: none"),
        (["run", "good.py", "--set", "color"], "write NAME=VALUE"),
        (["run", "good.py", "--db", "nowhere/runner.db"], "folder is missing"),
        (["run", "good.py", "--db", "good.py"], "not a database"),
        (["run", "good.py", "--db", "mysql://x/y"], "SQLite files and in PostgreSQL only"),
        (["run", "good.py", "--sessions", "-1"], "Invalid value"),
        (["run", "good.py", "--browser-memory", "3072"], "'3072' is too small: at least 256M"),
        (["run", "good.py", "--min-free", "much"], "'much' is not a size: write 500M, 2G or similar"),
        (["run", "good.py", "--halt", "20"], "write a share such as 20%, or never"),
        (["report"], "runner.db here; name one with --db"),
        (["status", "--db", "nowhere.db"], "nowhere.db here; name one with --db"),
        (["frobnicate"], "No such command"),
        (["ls"], "there is no command 'ls'; what you want may be: "),
        (["show", "orbit"], "runner report orbit"),
        (["good.py"], "runner run good.py"),
        (["good"], "runner run good"),
        (["why", "7"], "runner explain 7"),
        (["job.zip"], "runner preview job.zip"),
    ],
)
def test_a_mistake_on_the_command_line_is_said_without_a_traceback(tmp_path, monkeypatch, arguments, message):
    """Exit 2 and a message that says what to do."""
    (tmp_path / "good.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    end = within(*arguments)
    assert end.exit_code == 2 and isinstance(end.exception, SystemExit)
    assert message in end.output and "Traceback" not in end.output
    assert (tmp_path / "good.py").read_text() == GOOD


def test_without_a_browser_one_message_says_what_to_do(tmp_path):
    """Exit 3; the jobs are kept, and nothing is charged to them."""
    (tmp_path / "good.py").write_text(GOOD)
    end = run("run", tmp_path / "good.py", env={"PATH": "/nonexistent", "HOME": str(tmp_path)})
    assert end.returncode == 3
    assert "no browser was found: install one with" in end.stderr and "Traceback" not in end.stderr
    with Store(tmp_path / "runner.db") as store:
        assert [(row["status"], row["attempt"]) for row in store.reader.jobs(1)] == [("pending", 0)]


@pytest.mark.slow
def test_a_browser_that_cannot_start_stops_the_run(tmp_path):
    """Exit 3 with the reason, after a few tries, instead of trying all night."""
    (tmp_path / "good.py").write_text(GOOD)
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\nexit 1\n")
    browser.chmod(0o755)
    end = run("run", tmp_path / "good.py", env=os.environ | {"RUNNER_BROWSER": str(browser)})
    assert end.returncode == 3, end.stderr
    assert "did not start" in end.stderr and "Traceback" not in end.stderr
    with Store(tmp_path / "runner.db") as store:
        assert [row["status"] for row in store.reader.jobs(1)] == ["pending"]
        assert [row["state"] for row in store.reader.workers(1)] == ["ended"]


def test_a_campaign_without_jobs_has_nothing_to_do(tmp_path):
    """Exit 4 tells a script apart from all done."""
    (tmp_path / "good.py").write_text(GOOD.replace('yield {"x": 1}', "return []"))
    end = within("run", tmp_path / "good.py")
    assert end.exit_code == 4 and "there are no jobs" in end.stderr


@pytest.fixture
def mixed(tmp_path):
    """A database with 3 done, 2 failed and 1 pending job."""
    with Store(tmp_path / "runner.db") as store:
        campaign_id, _ = store.submit("mixed", ({"n": n} for n in range(6)), Policy(max_crashes=1))
        worker_id = store.start_worker(campaign_id)
        for lease in store.claim(worker_id, campaign_id, count=3):
            store.complete(lease, Outcome((), {"n2": 1}))
        for lease in store.claim(worker_id, campaign_id, count=2):
            store.reclaim(lease, "browser-1: the browser died")
        store.end_worker(worker_id)
    return tmp_path / "runner.db"


def test_report_says_verdict_first_and_what_to_do_next(mixed):
    """Why jobs failed, grouped, with an example, on stdout."""
    end = within("report", "--db", mixed)
    lines = end.stdout.splitlines()
    assert end.exit_code == 0 and end.stderr == ""
    assert lines[0] == "mixed: unfinished, 1 of 6 jobs are left"
    assert any("2 failed: browser-1: the browser died" in line for line in lines)
    assert any(f"runner retry mixed --db {mixed}" in line for line in lines)


def test_report_and_status_speak_json(mixed):
    """What a script reads is JSON on stdout, with the same numbers in both."""
    (report,) = json.loads(within("report", "mixed", "--db", mixed, "--json").stdout)
    (status,) = json.loads(within("status", "--db", mixed, "--json").stdout)
    for name in ("campaign", "total", "done", "failed", "in_progress", "pending"):
        assert report[name] == status[name]
    counts = {name: report[name] for name in ("total", "done", "failed", "pending")}
    assert counts == {"total": 6, "done": 3, "failed": 2, "pending": 1}
    assert [group["count"] for group in report["failures"]] == [2]


def test_report_warns_when_jobs_were_drawn_with_different_things(tmp_path):
    """Pictures of two renderers differ: nobody should mix them without knowing."""
    with Store(tmp_path / "runner.db") as store:
        campaign_id, _ = store.submit("mixed", ({"n": n} for n in range(3)))
        worker_id = store.start_worker(campaign_id)
        for renderer in ("llvmpipe", "SwiftShader", "llvmpipe"):
            tab = Provenance(name="tab", browser="Chromium/156", renderer=renderer)
            session_id = store.start_session(worker_id, campaign_id, tab)
            store.complete(store.claim(worker_id, campaign_id, session_id=session_id)[0])
    lines = within("report", "--db", tmp_path / "runner.db").stdout.splitlines()
    warnings = [line.strip() for line in lines if "warning" in line]
    assert warnings == ["warning   the done jobs differ in WebGL renderer: llvmpipe (2); SwiftShader (1)"]
    (summary,) = json.loads(within("report", "--json", "--db", tmp_path / "runner.db").stdout)
    assert summary["drawn_with"]["renderer"] == {"llvmpipe": 2, "SwiftShader": 1}


@pytest.mark.slow
def test_status_tells_scripts_by_its_exit_status(mixed):
    """8 while jobs are left, 1 when some failed, 0 when all is done, and 0 when not asked."""
    assert within("status", "--db", mixed).exit_code == 0
    with Store(mixed) as store:
        assert within("status", "--db", mixed, "--exit-status").exit_code == 8
        worker_id = store.start_worker(1)
        store.complete(store.claim(worker_id, 1)[0])
        assert within("status", "--db", mixed, "--exit-status").exit_code == 1
        store.retry(1)
        for lease in store.claim(worker_id, 1, count=10):
            store.complete(lease)
    assert within("status", "--db", mixed, "--exit-status").exit_code == 0


@pytest.mark.slow
def test_retry_filters_by_error_and_key(tmp_path):
    """Only failed jobs that pass all filters; a bad expression changes nothing."""
    with Store(tmp_path / "runner.db") as store:
        keys = ["a", "b", "c", "d"]
        campaign_id, _ = store.submit("x", [(key, {"n": key}) for key in keys], Policy(max_failures=1))
        worker_id = store.start_worker(campaign_id)
        for lease, error in zip(
            store.claim(worker_id, campaign_id, 3), ["OSError: x", "ValueError", "OSError: y"]
        ):
            store.fail(lease, error)

    def pending():
        with Store(tmp_path / "runner.db") as store:
            return [row["key"] for row in store.reader.jobs(1) if row["status"] == "pending"]

    database = ["--db", tmp_path / "runner.db"]
    assert within("retry", *database, "--error", "(").exit_code == 2 and pending() == ["d"]
    assert within("retry", *database, "--error", "^OSError", "--key", "c").exit_code == 0
    assert pending() == ["c", "d"]
    assert within("retry", *database, "--error", "^OSError").exit_code == 0
    assert pending() == ["a", "c", "d"]
    assert "1 job is pending" in within("retry", *database).stderr and pending() == keys


@pytest.mark.slow
def test_a_paused_campaign_hands_out_nothing_until_it_is_resumed(tmp_path):
    """pause, cancel and resume; a run of a paused campaign says so and exits 3."""
    (tmp_path / "good.py").write_text(GOOD)
    database = tmp_path / "runner.db"
    with Store(database) as store:
        store.submit("good", [{"x": 1}])
        worker_id = store.start_worker(1)
        for verb, state in [("pause", "paused"), ("cancel", "cancelled")]:
            assert f"good is {state}" in within(verb, "good", "--db", database).stderr
            assert store.claim(worker_id, 1) == []
            end = within("run", tmp_path / "good.py")
            assert end.exit_code == 3 and f"good is {state}; to let it go on: " in end.stderr
        within("resume", "--db", database)
        assert len(store.claim(worker_id, 1)) == 1


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
def test_no_command_changes_several_campaigns_unless_told_to(tmp_path, verb):
    """Without a name it takes the only campaign; of several it changes none, until one is named or --all is said."""
    is_changed = {"pause": "paused", "cancel": "cancelled"}.get(verb, "open")
    database = tmp_path / "runner.db"
    with Store(database) as store:
        for name in ("one", "two"):
            store.submit(name, [{"x": 1}], Policy(max_crashes=1))
        for row in store.reader.campaigns():
            worker_id = store.start_worker(row["id"])
            store.reclaim(store.claim(worker_id, row["id"])[0], "the browser died")
            store.set_state(row["id"], "paused" if verb == "resume" else "open")

        def changed():
            rows = [
                (row["name"], row["failed"] if verb == "retry" else row["state"])
                for row in store.reader.campaigns()
            ]
            return [name for name, value in rows if value == (0 if verb == "retry" else is_changed)]

        end = within(verb, "--db", database)
        assert end.exit_code == 2 and "several campaigns (one, two): name one, or add --all" in end.stderr
        assert changed() == []
        assert within(verb, "two", "--db", database).exit_code == 0 and changed() == ["two"]
        assert within(verb, "--all", "--db", database).exit_code == 0 and changed() == ["one", "two"]


def test_whoever_starts_a_run_its_options_are_made_alike(tmp_path, monkeypatch):
    """`runner demo` runs its campaign as `runner run` would, defaults and checks included."""
    from runner.cli import main

    started = []
    monkeypatch.setattr(
        "runner.run.run_campaign",
        lambda campaign, options, worker: started.append(options) or ExitStatus.STOPPED,
    )
    for arguments in (["demo", str(tmp_path)], ["run", str(tmp_path / "demo.py")]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == ExitStatus.STOPPED
    assert (
        started[0] == started[1] and started[0].halt_share == 0.2 and started[0].min_free_bytes == 256 << 20
    )


def test_a_reader_that_goes_away_is_no_error(mixed):
    """`runner report | head -1` ends quietly."""
    script = f"{sys.executable} -m runner report --db {mixed} | head -c 1"
    end = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True)
    assert "Traceback" not in end.stderr and "Exception" not in end.stderr


def test_help_starts_without_the_heavy_imports():
    """`runner --help` loads neither Vuer nor pandas, ML-Logger, Playwright or SQLAlchemy."""
    code = (
        "import sys; sys.argv = ['runner', '--help']\n"
        "from runner.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'vuer', 'pandas', 'ml_logger', 'playwright', 'sqlalchemy', 'numpy', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert end.stderr.strip() == "[]" and "Render campaigns" in end.stdout


def test_python_access_in_two_lines(tmp_path):
    """The store is complete without the commands."""
    write_colors(tmp_path, 2)
    began = time.time()
    with Store(tmp_path / "runner.db") as store:
        campaign_id, added = store.submit("mine", [{"a": 1}, {"a": 2}])
        assert added.new == 2
        assert all(began - 1 < row["created_ts"] <= time.time() for row in store.reader.jobs(campaign_id))


def test_the_rasterizers_offered_are_those_that_browsers_know():
    """`--rasterizer` offers what browsers can be started with, and 'auto'."""
    from runner.browsers import RASTERIZERS
    from runner.cli import main

    (option,) = [parameter for parameter in main.commands["run"].params if parameter.name == "rasterizer"]
    assert set(option.type.choices) == {"auto", *RASTERIZERS}


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_output_can_be_written_anywhere(tmp_path, encoding):
    """Keys and errors of any script, to a file that has no letters for them: replaced, and the command goes on."""
    database = tmp_path / "runner.db"
    with Store(database) as store:
        campaign_id, _ = store.submit("orbit", [("chaise 🪑 é", {"file": "é"})], Policy(max_failures=1))
        (lease,) = store.claim(store.start_worker(campaign_id), campaign_id)
        store.fail(lease, "ValueError: 320×240 🪑", "Traceback …\n  🪑")
    environment = os.environ | {"PYTHONIOENCODING": encoding, "LANG": "C", "LC_ALL": "C"}
    for verb in (["--help"], ["status"], ["report"], ["report", "--json"], ["retry"], ["report"]):
        place = ["--db", database] if verb[0] != "--help" else []
        end = run(*verb, *place, env=environment, encoding=encoding)
        assert (end.returncode, "Traceback (" in end.stderr) == (0, False), end.stderr
        assert end.stdout or end.stderr


@pytest.mark.slow
def test_vuers_own_command_has_ours(tmp_path):
    """`vuer runner …` takes the same words and ends with the same status; Vuer lists it among its commands."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    installed = tmp_path / "runner-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: runner\nVersion: 0\n")
    (installed / "entry_points.txt").write_text(f"[vuer.cli]{setup['options.entry_points']['vuer.cli']}\n")

    def vuer(*words):
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        return subprocess.run(
            [sys.executable, "-m", "vuer.cli.main", *words],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    shown = vuer("runner", "status", "--help")
    assert shown.returncode == 0 and shown.stdout.startswith("Usage: vuer runner status [OPTIONS]")
    missing = vuer("runner", "report", "--db", "none.db", "--json")
    assert missing.returncode == 2 and "there is no database" in missing.stderr and missing.stdout == ""
    assert "runner" in vuer("--help").stdout


HEAVY = (
    "pandas",
    "vuer",
    "ml_logger",
    "playwright",
    "aiohttp",
    "PIL",
    "pyarrow",
    "requests",
    "runner.campaign",
    "sqlalchemy.dialects.postgresql",
)


@pytest.mark.slow
def test_looking_imports_nothing_that_only_rendering_needs(tmp_path):
    """Whoever watches a run from a small machine waits for SQLAlchemy at most."""
    with Store(tmp_path / "runner.db") as store:
        campaign_id, _ = store.submit("night", [("only", {"n": 1})])
        (lease,) = store.claim(store.start_worker(campaign_id), campaign_id)
        store.complete(lease, Outcome())
    code = f"""
import sys
from click.testing import CliRunner
from runner.cli import main
for words in (["status"], ["explain", "only"], ["pause"], ["help"], ["list"], ["report"]):
    end = CliRunner().invoke(main, words)
    assert end.exit_code == 0, end.output
    print(words[0], *[name for name in {(*HEAVY, "numpy")} if name in sys.modules])
"""
    end = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    # The report counts in arrays.
    known = ["status", "explain", "pause", "help", "list", "report", "numpy"]
    assert end.stdout.split() == known, end.stdout + end.stderr
