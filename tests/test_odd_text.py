"""What pages, keys and errors say may hold anything: no terminal is commanded by it, no line forged, no page run."""

from __future__ import annotations

import csv
import re
import shutil
import sqlite3

import pytest
from nights import Night
from processes import within

from runner.job import Outcome, Provenance
from runner.reasons import harmless
from runner.run.run_log import RunLog
from runner.run.say import said_to, say
from runner.store import Store

# Colours, a window's title, a line over, a control sequence in one byte, writing from the right, a page's script.
# A link whose text is another one, what nobody sees, the end of a block of Markdown, a formula.
ODD = (
    "\x1b[31mred\x1b]0;title\x07\r\nFORGED\x9b2J\u202eevil\u2028\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\\x1bPq\x1b\\"
    "\u200b\u200f\u061c\u2060\xad\U000e0041</script><img src=x onerror=alert(1)>|\n```\nFORGED\n=cmd|'/C calc'!A0"
)
COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\U000e0000-\U000e007f]"
)
LOOKS = [
    "report", "report --json", "report --csv", "report --markdown", "list", "list --json", "list --status pending",
    "explain 0", "explain 0 --json", "explain 1", "status", "status --json", "explain \x1b[31mnobody\x07", "verify",
]  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A campaign in which everything that may come from elsewhere is odd; job 0 is done, the others failed."""
    file = tmp_path_factory.mktemp("odd") / "runner.db"
    with Store(file) as store:
        campaign_id = store.add_campaign("night")
        store.add(campaign_id, [("odd", {"text": ODD, ODD: 1}), ("bad", {"n": 1})])
        worker_id = store.start_worker(campaign_id)
        provenance = Provenance(
            name=ODD,
            browser=ODD,
            renderer=ODD,
            client={ODD: ODD},
            runner="1",
            vuer="1",
            file_sha256="",
            settings={},
        )
        session_id = store.start_session(worker_id, campaign_id, provenance)
        done, failed = store.claim(worker_id, campaign_id, count=2, session_id=session_id)
        store.complete(done, Outcome((), {"text": ODD, ODD: 2}, suspicion=ODD))
        store.fail(failed, ODD, traceback=ODD)
        store.write_events(campaign_id, worker_id, [(1.0, "page", ODD)])
    return file


@pytest.fixture(scope="module")
def planted(database):
    """The same as somebody else may have made it, whose rows were written past all that cleans them."""
    file = database.with_name("planted.db")
    shutil.copy(database, file)
    connection = sqlite3.connect(file)
    for column in (
        "job.key", "job.error", "attempt.error", "attempt.traceback", "session.name", "session.browser",
        "session.renderer", "event.kind", "event.message", "result.suspicion", "worker.host",
        "campaign.name", "campaign.results",
    ):  # fmt: skip
        table, name = column.split(".")
        connection.execute(f"UPDATE {table} SET {name} = coalesce({name}, '') || ?", (ODD.replace("\0", ""),))
    connection.commit()
    connection.close()
    return file


@pytest.mark.parametrize("made", ["database", "planted"])
@pytest.mark.parametrize("command", LOOKS)
def test_no_command_prints_what_a_terminal_would_obey(request, made, command):
    """Nor a line that begins as if it were runner's own."""
    output = within(*command.split(" "), "--db", request.getfixturevalue(made)).output
    assert output and not COMMANDS.search(output)
    assert not [line for line in output.splitlines() if line.startswith(("FORGED", "```F", "=cmd"))]


@pytest.mark.parametrize(
    ("change", "command", "told"),
    [
        ("artifact SET name = '../../../evil' || rowid", "export folder", "a file cannot be named"),
        ("artifact SET name = '{folder}/evil' || rowid", "export folder", "a file cannot be named"),
        ("artifact SET path = '/etc/hostname', start = NULL", "export folder", "not a path below a results folder"),
        ("artifact SET path = 'night/../../x', start = NULL", "verify", "not a path below a results folder"),
        ("campaign SET name = '../../evil'", "export webdataset", "2 jobs"),
        ("campaign SET name = 'a' || char(0)", "export webdataset", "2 jobs"),
        ("shard SET path = 'gone.tar', address = 'reference::{folder}/list'", "verify", "unreadable"),
        ("shard SET path = 'gone.tar', address = 'simplecache::memory://x'", "verify", "unreadable"),
        ("shard SET path = 'gone.tar', address = '/etc/hostname'", "verify", "unreadable"),
    ],
)  # fmt: skip
def test_a_database_from_elsewhere_names_nothing_outside(tmp_path, change, command, told):
    """Neither is anything written beside what was asked for, nor read from there, nor opened as code."""
    file, root = tmp_path / "runner.db", tmp_path / "results"
    with Store(file) as store:
        night = Night(store, root, 2)
        night.complete(store.start_worker(night.id), 2)
        night.results.close()
    (tmp_path / "list").write_text("{}")
    connection = sqlite3.connect(file)
    connection.execute(f"UPDATE {change.format(folder=tmp_path)}")
    if "gone.tar" in change:
        connection.execute("UPDATE artifact SET path = 'gone.tar'")
    connection.commit()
    connection.close()
    out = [tmp_path / "out"] if "export" in command else []
    end = within(*command.split(), *out, "--db", file)
    assert (
        told in end.output and "Traceback" not in end.output and isinstance(end.exception, SystemExit | None)
    ), end
    assert not [path for path in tmp_path.rglob("*evil*") if tmp_path / "out" not in path.parents]


def test_no_cell_of_a_table_is_a_formula(tmp_path):
    """A spreadsheet would run it; what calls nothing is as it was."""
    file, table = tmp_path / "runner.db", tmp_path / "table.csv"
    texts = {
        "a": "=cmd|'/C calc'!A0",
        "b": " +SUM(1)",
        "c": "@x|y",
        "d": "\t-1!A",
        "e": "-left",
        "f": "=1",
        "g": "(a)",
    }
    with Store(file) as store:
        campaign_id = store.add_campaign("night")
        store.add(campaign_id, [("=HYPERLINK(1)", texts)])
        (lease,) = store.claim(store.start_worker(campaign_id), campaign_id)
        store.complete(lease, Outcome((), {}))
    told = within("export", "csv", table, "--db", file)
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["key"] == "'=HYPERLINK(1)" and "5 texts that a spreadsheet might run" in told.stderr
    assert {name: row[name] for name in texts} == {
        name: f"'{text}" if name in "abcd" else text for name, text in texts.items()
    }
    assert ",'=HYPERLINK(1)," in within("report", "--csv", "--db", file).output


@pytest.mark.parametrize("made", ["database", "planted"])
def test_the_reports_page_runs_none_of_it(request, made, tmp_path):
    """What stands in the data is data, also where it ends a script."""
    page = tmp_path / "report.html"
    assert within("report", "--html", page, "--db", request.getfixturevalue(made)).exit_code == 0
    text = page.read_text()
    assert "<img src=x" not in text and not COMMANDS.search(text) and "onerror" in text


def test_what_is_said_of_others_forges_no_line(tmp_path, capsys):
    """On the terminal and in the log."""
    log = RunLog(tmp_path / "run.log")
    with said_to(log, owns_streams=False):
        say(f"tab cannot render: {ODD}")
    log.close()
    for text in (capsys.readouterr().err, log.path.read_text()):
        assert not COMMANDS.search(text) and "FORGED" in text
    assert all(line[:4].isdigit() for line in log.path.read_text().splitlines())


def test_harmless_text_stays_what_it_says():
    """Lines, tabs and other alphabets are kept; colours go, what else commands a terminal is escaped."""
    assert harmless("é\tb\nc") == "é\tb\nc"
    assert harmless("\x1b[1mbold\x1b[0m\x07\u202e") == "bold\\x07\\u202e"
