"""What pages, keys and errors say may hold anything: no terminal is commanded by it, no line forged, no page run."""

from __future__ import annotations

import re

import pytest
from processes import within

from runner.job import Outcome, Provenance
from runner.reasons import harmless
from runner.run.run_log import RunLog
from runner.run.say import said_to, say
from runner.store import Store

# Colours, a window's title, a line over, a control sequence in one byte, writing from the right, a page's script.
ODD = "\x1b[31mred\x1b]0;title\x07\r\nFORGED\x9b2J\u202eevil\u2028</script><img src=x onerror=alert(1)>"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


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


@pytest.mark.parametrize(
    "command",
    [
        "report", "report --json", "report --csv", "report --markdown", "list", "list --json", "list --status pending",
        "explain 0", "explain 0 --json", "explain 1", "status", "status --json", "explain \x1b[31mnobody\x07",
    ],
)  # fmt: skip
def test_no_command_prints_what_a_terminal_would_obey(database, command):
    """Nor a line that begins as if it were runner's own."""
    output = within(*command.split(" "), "--db", database).output
    assert output and not COMMANDS.search(output)
    assert not [line for line in output.splitlines() if line.startswith("FORGED")]


def test_the_reports_page_runs_none_of_it(database, tmp_path):
    """What stands in the data is data, also where it ends a script."""
    page = tmp_path / "report.html"
    assert within("report", "--html", page, "--db", database).exit_code == 0
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
