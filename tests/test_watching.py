"""Looking from another terminal: status, again and again, and the list of jobs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from processes import run, start, within
from terminals import Terminal
from waiting import wait_until

from runner.cli import main
from runner.job import Outcome, Policy
from runner.store import Store


@pytest.fixture
def night(tmp_path) -> Path:
    """A database of a campaign with two done jobs, one failed by a time-out, one by a value, and three pending."""
    database = tmp_path / "runner.db"
    with Store(database) as store:
        jobs = [(f"view_{n}", {"light": n, "kind": "cup\x1b[31m" if n == 6 else "mug"}) for n in range(7)]
        campaign_id, _ = store.submit("night", jobs, Policy(max_failures=1))
        worker_id = store.start_worker(campaign_id)
        first, second, slow, bad = store.claim(worker_id, campaign_id, 4)
        store.complete(first, Outcome((), {"loss": float("nan")}))
        store.complete(second, Outcome((), {"loss": 0.5}))
        store.fail(slow, "TimeoutError: no end after 60 s")
        store.fail(bad, "ValueError: \x1b[1mno\nsuch cup")
        store.end_worker(worker_id)
    return database


def listed(database: Path, *arguments: object) -> list[str]:
    end = within("list", "night", "--db", database, *arguments)
    assert end.exit_code == 0, end.output
    return end.stdout.splitlines()


# -- list ------------------------------------------------------------------------------------------


def test_jobs_are_listed_by_status_reason_and_params(night):
    """A table with a line a job, each harmless, whatever its error or params hold."""
    head, *rows = listed(night)
    assert head.split() == ["key", "status", "attempt", "seconds", "error", "or", "params"] and len(rows) == 7
    assert rows[3].endswith("ValueError: no such cup") and "\x1b" not in "".join(rows)
    assert [row.split()[0] for row in listed(night, "--status", "failed")[1:]] == ["view_2", "view_3"]
    assert [row.split()[0] for row in listed(night, "--error", "Timeout|nothing")[1:]] == ["view_2"]
    assert [row.split()[0] for row in listed(night, "--where", "light > 3 and kind == 'mug'")[1:]] == [
        "view_4",
        "view_5",
    ]
    assert len(listed(night, "--limit", "0")) == 8 and listed(night, "--where", "light > 99") == []


def test_a_list_in_json_is_an_object_a_line(night):
    """With all that is known of each job; what JSON has no word for is null."""
    rows = [json.loads(line) for line in listed(night, "--json", "--status", "done")]
    assert [(row["key"], row["light"], row["loss"]) for row in rows] == [
        ("view_0", 0, None),
        ("view_1", 1, 0.5),
    ]


def test_what_was_left_out_is_said(night):
    """On stderr, with the way to all of it."""
    end = within("list", "--db", night, "--limit", "2")
    assert len(end.stdout.splitlines()) == 3 and "--limit 0 lists all" in end.stderr
    assert "--limit" not in within("list", "--db", night, "--limit", "7").stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--error", "("], "not a regular expression"),
        (["--where", "lihgt > 3"], "no job has a param, metric or column 'lihgt'"),
        (["--error", "x", "--status", "done"], "a job that is done has no error"),
        (["--status", "lost"], "is not one of"),
    ],
)
def test_a_list_that_cannot_be_is_a_mistake(night, arguments, why):
    """With exit status 2, and what is wrong."""
    end = within("list", "night", "--db", night, *arguments)
    assert end.exit_code == 2 and why in end.stderr


def test_the_word_of_other_tools_leads_to_list(night):
    """`ls` is no command here."""
    end = within("ls", "night")
    assert end.exit_code == 2 and "list night" in end.stderr


# -- completion ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "completed"),
    [("runner sta", "status"), ("runner status --wat", "--watch"), ("runner list nig", "night")],
)
def test_the_shell_completes_what_is_begun(night, words, completed):
    """Verbs, options, and the campaigns of the database that is here."""
    asked = {"_RUNNER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    end = run(cwd=night.parent, env=os.environ | asked)
    assert end.stdout.split() == [f"plain,{completed}"]


def test_the_help_of_each_verb_ends_in_its_example():
    """Where one reads last; and it stands there once."""
    for name in main.commands:
        shown = within(name, "--help").output
        assert (
            shown.split("\n\n")[-1].startswith(f"  Example: runner {name}") and shown.count("Example:") == 1
        )


# -- status ----------------------------------------------------------------------------------------


def test_status_tells_who_is_at_work(night):
    """A run that lives is named by process and host; none is said as well, while there is something to do."""
    assert "no run is at work" in within("status", "--db", night).stdout
    with Store(night) as store:
        store.start_worker(1)
        (found,) = json.loads(within("status", "--db", night, "--json").stdout)
        (run,) = found["at_work"]
        assert f"at work: process {run['pid']} on {run['host']}" in within("status", "--db", night).stdout
    assert (found["done"], found["failed"], found["pending"], found["state"]) == (2, 2, 3, "open")


def test_status_names_tabs_that_are_hidden(night):
    """As long as they are, and their run is at work: another run's tabs are nobody's concern any more."""
    with Store(night) as store:
        before, now = store.start_worker(1), store.start_worker(1)
        store.write_events(1, before, [(1.0, "hidden", "tab of an earlier run")])
        store.end_worker(before)
        sightings = (("hidden", "phone"), ("hidden", "laptop"), ("seen", "phone"))
        store.write_events(1, now, [(2.0, kind, name) for kind, name in sightings])
        (found,) = json.loads(within("status", "--db", night, "--json").stdout)
        assert found["hidden_tabs"] == ["laptop"]
        assert within("status", "--db", night).stdout.rstrip().endswith("; hidden tab: laptop")


@pytest.mark.slow
def test_a_watched_status_tells_each_change_until_nothing_is_left(night):
    """On a pipe a list in JSON a line, each time something has changed; the exit status is that of the end."""
    process = start("status", "--db", night, "--watch", "--json", "--exit-status")
    lines: list[str] = []
    with process.stdout, process.stderr, Store(night) as store:
        lines.append(process.stdout.readline())
        worker_id = store.start_worker(1)
        for lease in store.claim(worker_id, 1, 3):
            store.complete(lease)
            lines.append(process.stdout.readline())
        assert process.wait(60) == 1
    done = [json.loads(line)[0]["done"] for line in lines]
    assert done[0] == 2 and done == sorted(done) and json.loads(lines[-1])[0]["total"] == 7


@pytest.mark.slow
def test_a_watched_status_stays_in_place_on_a_terminal(night):
    """It is written over, and Ctrl-C ends it without a word."""
    terminal = Terminal("status", "--db", night, "--watch")
    wait_until(lambda: "2 of 7 done" in terminal.text, "the first look")
    with Store(night) as store:
        worker_id = store.start_worker(1)
        store.complete(store.claim(worker_id, 1)[0])
        wait_until(lambda: "3 of 7 done" in terminal.text, "the next look")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 0 and "\x1b[1A" in terminal.raw and "Traceback" not in terminal.text
