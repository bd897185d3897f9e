"""The morning report: failures by what they have in common, the state, harmless lines, one screen."""

from __future__ import annotations

import json
import subprocess

import pytest
from processes import within

from runner.job import Outcome, Place, Policy
from runner.reasons import normalized, one_line
from runner.report import summarize, to_text
from runner.store import Store


def failed_campaign(store: Store, errors: list[str]) -> int:
    """A campaign of one job that is done and one that failed with each of the errors."""
    campaign_id, _ = store.submit("night", ({"n": n} for n in range(len(errors) + 1)), Policy(max_failures=1))
    worker_id = store.start_worker(campaign_id)
    done, *leases = store.claim(worker_id, campaign_id, count=len(errors) + 1)
    store.complete(done, Outcome())
    for lease, error in zip(leases, errors):
        store.fail(lease, error, f"Traceback\n  File\n{error}")
    return campaign_id


def said(*arguments: object) -> str:
    end = within(*arguments)
    assert end.exit_code == 0, end.output
    return end.stdout


def summary_of(store: Store, campaign_id: int):
    return summarize(store.reader, store.reader.campaign(campaign_id))


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("ValueError: job 17 is too far (3.5e-3)", "ValueError: job 4 is too far (12)"),
        ("OSError: <_io.BytesIO object at 0x7f31c2>", "OSError: <_io.BytesIO object at 0x7f99ab>"),
        ("KeyError: 'mug'", "KeyError: 'red cup'"),
        ('no key "a-1" here', 'no key "b" here'),
        ("job 9f86d081884c7d65 failed", "job e3b0c44298fc1c14 failed"),
        ("browser-1: it died", "browser-2: it died"),
        ("assets/mesh_7.obj: 404 Not Found", "assets/mesh_412.obj: 404 Not Found"),
        ("frame0012.png: 404 Not Found", "frame1734.png: 404 Not Found"),
    ],
)
def test_reasons_that_differ_in_numbers_and_names_are_one(one, another):
    """What a person would call the same is counted together."""
    assert normalized(one) == normalized(another)


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("ValueError: too far", "ValueError: too near"),
        ("TypeError: it's 'a' that can't be", "TypeError: it's 'a' that must be"),
        ("float32 is no good", "float64 is no good"),
        ("vec3 is wanted", "vec4 is wanted"),
        ("deadbeef", "cafebabe"),
    ],
)
def test_reasons_that_differ_in_words_are_two(one, another):
    """Words are what a person tells reasons apart by."""
    assert normalized(one) != normalized(another)


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred\x1b[0m alarm", "two\nlines\r\nand\ttab", "bell \x07 null \x00 back \x08",
        "\x1b]0;title\x07 \x1b]8;;http://evil\x1b\\link", "turned \u202e around", "x" * 10_000, "lone \ud800 half",
    ],
)  # fmt: skip
def test_any_text_is_told_in_one_harmless_line(text):
    """Nothing that an error says moves the cursor, colours the terminal, or scrolls it away."""
    line = one_line(text)
    assert line and line.isprintable() and len(line) <= 300


def test_the_ten_largest_groups_are_shown_and_the_rest_is_counted(tmp_path):
    """A night with many reasons still takes one screen, the most frequent first."""
    words = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay", "kiwi", "lynx", "mole"]
    errors = [
        f"OSError: {word} {n}" for number, word in enumerate(words) for n in range(2 + (word == "lynx"))
    ]
    with Store(tmp_path / "runner.db") as store:
        summary = summary_of(store, failed_campaign(store, errors))
    assert [group.count for group in summary.failures] == [3] + [2] * 12
    lines = to_text(summary).splitlines()
    shown = [line.strip() for line in lines if " failed: " in line]
    assert shown[0] == "3 failed: OSError: lynx N" and len(shown) == 10
    assert any(
        line.endswith("for example " + summary.failures[0].key + ": OSError: lynx 0") for line in lines
    )
    assert "  and 3 more reasons, of 6 failed jobs; --json lists all" in lines
    assert len(lines) < 100 and max(map(len, lines)) < 400


def test_what_errors_and_keys_say_cannot_touch_the_terminal(tmp_path):
    """Colours, line breaks and control characters of errors and tracebacks are taken out, in text and JSON alike."""
    database = tmp_path / "runner.db"
    with Store(database) as store:
        campaign_id, _ = store.submit("night", [("a", {})], Policy(max_failures=1))
        lease = store.claim(store.start_worker(campaign_id), campaign_id)[0]
        store.fail(lease, "OSError: \x1b[31mred\n\x07" + 10_000 * "!", "File x\n\x1b[2J1 / 0")
    text = said("report", "--db", database)
    assert all(line.isprintable() for line in text.splitlines()) and len(text) < 2000
    assert "1 failed: OSError: red" in text and "1 / 0\n" in text
    (summary,) = json.loads(said("report", "--json", "--db", database))
    assert summary["failures"][0]["reason"].isprintable()


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_paused_and_cancelled_are_said_wherever_one_looks(tmp_path, state):
    """In status, its JSON, the report and its JSON; and what comes next is to resume."""
    database = tmp_path / "runner.db"
    with Store(database) as store:
        campaign_id, _ = store.submit("night", [{"n": 1}, {"n": 2}])
        store.set_state(campaign_id, state)
    assert f"night: {state}, 0 of 2 done" in said("status", "--db", database)
    report = said("report", "--db", database)
    assert report.startswith(f"night: {state}, 2 of 2 jobs are left\n")
    assert "runner resume night --db" in report
    for verb in ("status", "report"):
        (counts,) = json.loads(said(verb, "--json", "--db", database))
        assert counts["state"] == state


def test_an_endless_error_is_read_in_part(store):
    """A database from elsewhere may hold some: what groups them holds the beginning of each."""
    campaign_id, _ = store.submit("night", [("a", {})], Policy(max_failures=1))
    (lease,) = store.claim(store.start_worker(campaign_id), campaign_id)
    store.fail(lease, "RuntimeError: " + "again " * 100_000)
    (((_, _, of_job, _),),) = store.reader.failures_in_lots(campaign_id)
    ((attempt,),) = store.reader.attempts_in_lots(campaign_id)
    for error in (of_job, attempt[-1]):
        assert error.startswith("RuntimeError: again") and len(error) < 10_000


def test_what_is_kept_beside_a_traceback_is_no_line_of_it(store):
    """Of a job that failed the report shows the user's own lines, not the times or the console that come before."""
    campaign_id, _ = store.submit("night", [("a", {})], Policy(max_failures=1))
    (lease,) = store.claim(store.start_worker(campaign_id), campaign_id)
    trace = [
        "render waited here (most recent call last):",
        '  File "/night.py", line 36, in render',
        "    sleep()",
    ]
    store.fail(
        lease, "TimeoutError: no end", "\n".join(["page console: warning: busy", "phases: 0 0 8.007", *trace])
    )
    (group,) = summary_of(store, campaign_id).failures
    assert [line.strip() for line in group.traceback] == [line.strip() for line in trace]


def test_the_users_line_is_told_where_a_library_raised(store):
    """A refusal comes through Vuer's notation, a missing program through the standard library: neither counts."""
    campaign_id, _ = store.submit("night", [("a", {})], Policy(max_failures=1))
    (lease,) = store.claim(store.start_worker(campaign_id), campaign_id)
    inner = "\n".join(f'  File "{subprocess.__file__}", line {n}, in run\n    call()' for n in range(3))
    vuer = '  File "/venv/lib/python3.11/site-packages/vuer/server.py", line 181, in _add\n    self @ Add(element)'
    own = '  File "/night.py", line 36, in render\n    session.add @ box'
    store.fail(lease, "OSError: none", f"Traceback:\n{own}\n{vuer}\n{inner}\nOSError: none")
    (group,) = summary_of(store, campaign_id).failures
    assert [*map(str.strip, own.splitlines()), "OSError: none"] == [line.strip() for line in group.traceback]


def test_no_second_run_is_suggested_while_one_is_at_work(store, tmp_path):
    """What comes next of a campaign with jobs left is a run, unless there is one."""
    place = Place(str(tmp_path / "night.py"), str(tmp_path / "results"))
    campaign_id, _ = store.submit("night", [("a", {})], Policy(), place)
    worker_id = store.start_worker(campaign_id)
    assert summary_of(store, campaign_id).next == ()
    store.end_worker(worker_id)
    assert " run " in summary_of(store, campaign_id).next[0]
