"""What people are told to type works as it stands, pasted into a shell in any folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import GOOD
from processes import lines_of, run, start, within
from waiting import wait_until

import runner
from runner.cli import main
from runner.commands import Commands
from runner.exits import ExitStatus
from runner.job import Artifact, Outcome
from runner.report import open_database
from runner.store import Store

NO_BROWSER = {"RUNNER_BROWSER": "/nonexistent/browser"}


@pytest.fixture
def night(tmp_path):
    """A campaign file in a folder with a space in its name, and database and results elsewhere; one job failed,
    the file of another is gone, and one was never begun."""
    folder = tmp_path / "my scenes"
    folder.mkdir()
    text = GOOD.replace('"good"', '"good", max_crashes=1').replace('def jobs():\n    yield {"x": 1}', LOOP)
    (folder / "good.py").write_text(text)
    run("run", "good.py", "--set", "count=3", "--db", "../the jobs.db", "--results", "../out",
        cwd=folder, env=os.environ | NO_BROWSER)  # fmt: skip
    with Store(tmp_path / "the jobs.db") as store:
        worker_id = store.start_worker(1)
        gone = Artifact("rgb.jpg", "good/jobs/0000/gone/rgb.jpg", 3, "0" * 64, "image/jpeg")
        store.complete(store.claim(worker_id, 1)[0], Outcome((gone,)))
        store.reclaim(store.claim(worker_id, 1)[0], "the browser died")
        store.end_worker(worker_id)
    return tmp_path


LOOP = """def jobs(count=1):
    for x in range(count):
        yield {"x": x}"""


def told(text: str) -> list[str]:
    """The commands in what runner says, each to the end of its line."""
    program = re.escape(sys.executable) + " -m runner|runner"
    return re.findall(rf"(?:(?:next|report|go on) +|: )((?:{program}) .+)$", text, re.MULTILINE)


def paste(line: str, elsewhere: Path) -> subprocess.CompletedProcess:
    elsewhere.mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", "-c", line], cwd=elsewhere, env=os.environ | NO_BROWSER,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def counts(database: Path) -> tuple[str, int, int, int]:
    """The only campaign's state, and how many jobs are done, failed, left."""
    with Store(database) as store:
        (campaign,) = store.reader.campaigns()
        progress = store.reader.progress(campaign["id"])
        return campaign["state"], progress.done, progress.failed, progress.left


@pytest.mark.slow
def test_what_report_run_verify_and_export_say_to_type_works_elsewhere(night):
    """Each does what it is said to do, with the database, results and settings of the campaign."""
    database, elsewhere = night / "the jobs.db", night / "elsewhere"
    assert counts(database) == ("open", 1, 1, 1)
    assert within("pause", "good", "--db", database).exit_code == 0
    retry, resume, go_on = told(run("report", "--db", database).stdout)

    assert paste(retry, elsewhere).returncode == 0
    assert counts(database) == ("paused", 1, 0, 2)
    paused = paste(go_on, elsewhere)
    assert paused.returncode == 3 and told(paused.stderr) == [resume]
    assert paste(resume, elsewhere).returncode == 0
    assert counts(database) == ("open", 1, 0, 2)
    assert "good: 3 jobs: 0 new, 1 done, 0 failed, 2 left" in paste(go_on, elsewhere).stderr

    (fix,) = told(run("verify", "--db", database).stdout)
    refused = run("export", "csv", "x.csv", "good", "--db", database, "--allow-incomplete", cwd=night)
    assert "there is no done job" in refused.stderr
    refused = run("export", "csv", "x.csv", "good", "--db", database, cwd=night)
    assert told(refused.stderr) == [fix]
    assert "1 jobs requeued" in paste(fix, elsewhere).stdout
    assert counts(database) == ("open", 0, 0, 3)

    with Store(database) as store, open_database(database) as campaigns:
        commands = Commands.of(store.reader.campaigns()[0], store.database.address)
        assert campaigns["good"].database == store.database.address
    assert "0 of 3 done" in paste(commands.verb("status"), elsewhere).stdout
    copied = paste(commands.verb("log", "--log-root", "copy of log"), elsewhere)
    assert copied.returncode == 0 and (elsewhere / "copy of log" / "good").is_dir()
    assert not list(elsewhere.glob("*.db")), "nothing was looked for where the shell is"


@pytest.mark.slow
def test_init_says_how_to_run_what_it_wrote(tmp_path):
    """Also a name that a shell would take apart."""
    (line,) = told(run("init", "my orbit.py", cwd=tmp_path).stderr)
    assert "orbit: 36 jobs: 36 new" in paste(line, tmp_path).stderr


def test_a_password_is_never_told(postgres_database_url):
    """What is told is copied into logs and mails."""
    url = postgres_database_url.replace("//runner@", "//runner:secret@")
    with Store(url) as store:
        assert store.database.address.startswith("postgresql://runner:***@")


def test_every_command_that_is_named_is_there():
    """Messages and documentation name no verb that has gone, or has not come yet."""
    root = Path(runner.__file__).parents[1]
    for path in [*root.glob("runner/**/*.py"), *root.glob("runner/docs/*.md"), root / "README.md"]:
        for verb in re.findall(r"[`']runner ([a-z]+)\b", path.read_text()):
            assert verb in main.commands, f"{path}: runner {verb}"


def test_run_says_no_more_than_it_must(tmp_path):
    """Database and results that lie beside the campaign file are found there."""
    beside = {"file": f"{tmp_path}/a.py", "results": f"{tmp_path}/results"}
    line = Commands("a", f"{tmp_path}/runner.db", **beside).run()
    assert line.endswith(f"runner run {tmp_path}/a.py")


@pytest.mark.slow
def test_a_run_says_when_it_is_paused_and_at_its_end_what_to_type(tmp_path):
    """Whoever looks at the terminal knows why nothing moves; the last lines name folder, time and commands."""
    (tmp_path / "good.py").write_text(GOOD)
    process = start("run", tmp_path / "good.py", "--sessions", "0")
    lines = lines_of(process)
    wait_until(lambda: "open this link" in "".join(lines), "the link for a person's own tabs")
    database = tmp_path / "runner.db"
    assert within("pause", "--db", database).exit_code == 0
    wait_until(lambda: "good is paused: no job is begun" in "".join(lines), "the pause to be told of")
    (resume,) = told("".join(lines))
    assert paste(resume, tmp_path / "elsewhere").returncode == 0
    wait_until(lambda: "good goes on" in "".join(lines), "the end of the pause to be told of")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == ExitStatus.INTERRUPTED
    wait_until(lambda: "  go on  " in "".join(lines), "the last line")
    end = "".join(lines)
    assert "good: 0 of 1 jobs are done, 0 failed, 1 left (this run took " in end
    assert f"  results        {tmp_path / 'results' / 'good'}\n" in end
    report, go_on = told(end)[1:]
    assert paste(report, tmp_path / "elsewhere").stdout.startswith("good: unfinished, 1 of 1 jobs are left")
    assert "good: 1 jobs: 0 new, 0 done" in paste(go_on, tmp_path / "elsewhere").stderr


@pytest.mark.slow
def test_a_run_without_a_tab_is_cancelled(tmp_path):
    """It ends by itself, though nobody has opened its link, and no session is there that would look for work."""
    (tmp_path / "good.py").write_text(GOOD)
    process = start("run", tmp_path / "good.py", "--sessions", "0")
    lines = lines_of(process)
    wait_until(lambda: "open this link" in "".join(lines), "the link for a person's own tabs")
    assert within("cancel", "--db", tmp_path / "runner.db").exit_code == 0
    assert process.wait(30) == ExitStatus.STOPPED, "".join(lines)


@pytest.mark.slow
def test_a_campaign_file_can_be_run_as_a_script(tmp_path):
    """`python FILE` does what its last line says: as `runner run FILE`, arguments included; without one it says so."""
    file = tmp_path / "my good.py"
    file.write_text(GOOD.replace('def jobs():\n    yield {"x": 1}', LOOP))

    def python(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, file, *arguments], cwd=tmp_path, env=os.environ | NO_BROWSER,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    alone = python()
    (line,) = told(alone.stderr)
    assert alone.returncode == 0 and alone.stderr.startswith("nothing was rendered: this file is a campaign")
    assert "good: 1 jobs: 1 new" in paste(line, tmp_path / "elsewhere").stderr

    end = 'if __name__ == "__main__":\n    campaign.run()\n'
    file.write_text(file.read_text() + end)
    as_script = python("--set", "count=3")
    assert "good: 3 jobs: 2 new" in as_script.stderr and as_script.returncode == ExitStatus.STOPPED
    assert run("run", file, "--frobnicate").stderr == python("--frobnicate").stderr

    file.write_text(file.read_text().replace(end, "campaign.run()\n"))
    refused = run("run", file)
    assert refused.returncode == ExitStatus.USAGE and "is already running" in refused.stderr


def test_a_start_that_is_refused_leaves_no_database(tmp_path):
    """Nothing is made where nothing can be run."""
    (tmp_path / "good.py").write_text(GOOD.replace('yield {"x": 1}', 'yield {"x": {1, 2}}'))
    assert run("run", tmp_path / "good.py").returncode == ExitStatus.USAGE
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["good.py"]
