"""`runner explain`: what befell one job, and why it is where it is."""

from __future__ import annotations

import json
import os

import pytest
from processes import within

from runner.job import Artifact, Job, Outcome, Phases, Place, Policy, Provenance
from runner.machine import Identity, this_process
from runner.report import explain_job, find_job, summarize
from runner.store import Store

TRACE = """page console: warning: odd
phases: 0.5 0.25 1
Traceback (most recent call last):
  File "/scenes/a.py", line 3, in render
E: one"""


@pytest.fixture
def store(tmp_path, clock):
    with Store(tmp_path / "runner.db", clock=clock, jitter=lambda: 1.0) as store:
        yield store


@pytest.fixture
def night(store, tmp_path):
    """A campaign of five jobs: its id. The file is beside the database."""
    place = Place(str(tmp_path / "night.py"), str(tmp_path / "results"))
    jobs = [(key, {"number": number}) for number, key in enumerate(["ant", "ape", "bee", "7", "cow"])]
    campaign_id, _ = store.submit("night", jobs, Policy(max_failures=2, backoff_s=40.0), place)
    return campaign_id


def explained(store, campaign_id, key):
    return explain_job(store.reader, store.reader.campaign(campaign_id), key, store.clock)


def test_a_word_means_a_key_a_row_or_the_beginning_of_a_key(store, night):
    """A key comes first, then a row there is; what several keys begin with names them all."""
    store.add(night, [Job({}, "48734ec5")])
    assert find_job(store.reader, night, "48734") == ["48734ec5"]
    assert find_job(store.reader, night, "bee") == find_job(store.reader, night, "b") == ["bee"]
    assert find_job(store.reader, night, "0") == ["ant"] and find_job(store.reader, night, "7") == ["7"]
    assert sorted(find_job(store.reader, night, "a")) == ["ant", "ape"]
    for nothing in ("zebra", "6", "", "%", "B"):
        assert find_job(store.reader, night, nothing) == []


def test_every_attempt_is_told_in_order(store, night, clock, tmp_path):
    """Of each its tab, waits, times, reason, traceback, console and picture, also of the one that did it."""
    worker_id = store.start_worker(night)
    session_id = store.start_session(worker_id, night, Provenance(name="browser-1", renderer="llvmpipe"))
    clock.now += 5.0
    (lease,) = store.claim(worker_id, night, session_id=session_id)
    picture = tmp_path / "results" / "night" / "evidence" / "ant~1.jpg"
    picture.parent.mkdir(parents=True)
    picture.touch()
    clock.now += 2.0
    store.fail(lease, "E: one", f"last frame: somewhere/else.jpg\n{TRACE}")
    clock.now += 41.0
    store.promote(night)
    (lease,) = store.claim(worker_id, night, session_id=session_id)
    clock.now += 3.0
    file = Artifact("rgb.jpg", "night/jobs/0000/ant~2/rgb.jpg", 3, "0" * 64, "image/jpeg")
    store.complete(
        lease, Outcome((file,), {"mean": 1.5}, False, "rgb.jpg: of one colour", Phases(0.5, 1.0, 2.5))
    )
    told = explained(store, night, "ant")
    first, second = told.attempts
    assert (first.number, first.outcome, first.session, first.renderer) == (
        1,
        "failed",
        "browser-1",
        "llvmpipe",
    )
    assert (first.waited_s, first.took_s, first.error) == (5.0, 2.0, "E: one")
    assert first.console == ("warning: odd",) and first.picture == str(picture)
    assert first.trace[-1] == "E: one"
    assert (second.number, second.outcome, second.waited_s, second.took_s) == (2, "done", 41.0, 3.0)
    assert first.parts == {"assets": 0.5, "drawing": 0.25, "code": 0.25, "settling": 1.0}
    assert second.parts == {"assets": 0.5, "drawing": 1.0, "code": 1.0, "settling": 0.5}
    assert (
        "      500 ms for assets, 1.0 s drawing, 1.0 s in its own code, 500 ms settling\n" in told.to_text()
    )
    (slow,) = summarize(store.reader, store.reader.campaign(night)).slowest
    assert slow.parts == second.parts
    assert told.files == (str(tmp_path / "results" / file.path),) and told.metrics == {"mean": 1.5}
    assert told.row == 0 and "may be wrong" in told.now and "--done" in told.next[0]


def test_why_a_job_is_not_running_is_said(store, night, clock):
    """It is the next one, behind others, waits for its retry, is held back, in other hands, or failed for good."""

    def now(key):
        told = explained(store, night, key)
        return told.now, " ".join(told.next)

    assert "no run is at work (2 jobs come before it)" in now("bee")[0] and "runner run" in now("bee")[
        1
    ].replace("-m ", "")
    worker_id = store.start_worker(night)
    assert now("ant") == ("is pending: it is the next one", "")
    (lease,) = store.claim(worker_id, night)
    assert f"by process {os.getpid()} on" in now("ant")[0]
    store.fail(lease, "E: one", TRACE)
    assert "(40.0 s) for its next attempt" in now("ant")[0]
    store.set_state(night, "paused")
    assert "the campaign is paused" in now("ant")[0] and " resume night " in now("ant")[1]
    store.set_state(night, "open")
    clock.now += 41.0
    store.promote(night)
    store.fail(store.claim(worker_id, night)[0], "E: two", TRACE)
    assert "failed for good: 2 of 2 failures (E: two)" in now("ant")[0]
    assert " preview " in now("ant")[1] and " retry night --key ant " in now("ant")[1]


def test_a_job_whose_process_is_gone_is_told_so(store, night):
    """In progress is what the row says; that nobody works on it is what a person must know."""
    gone = Identity(**vars(this_process()) | {"pid_start": "0"})
    store.claim(store.start_worker(night, gone), night)
    told = explained(store, night, "ant")
    assert "which is gone: the next run takes it back" in told.now and " run " in told.next[0]


def test_the_command_takes_rows_and_beginnings_and_says_what_is_unclear(store, night, tmp_path):
    """Data on stdout; what is meant by nothing, or by several, is exit 2 with the candidates."""
    end = within("explain", "2", "--db", tmp_path / "runner.db", "--json")
    assert (end.exit_code, json.loads(end.stdout)["key"]) == (0, "bee")
    end = within("explain", "c", "night", "--db", tmp_path / "runner.db")
    assert end.exit_code == 0 and end.stdout.startswith("night: job cow (row 4) is pending")
    for word, message in [("a", "ant, ape"), ("zebra", "night has 5 jobs")]:
        end = within("explain", word, "--db", tmp_path / "runner.db")
        assert end.exit_code == 2 and message in end.output


def test_jobs_are_retried_by_name(store, night, tmp_path):
    """A key, or what explain takes, is enough; a word that names no job changes no row."""
    store.add_campaign("night", Policy(max_crashes=1))
    for lease in store.claim(store.start_worker(night), night, count=5):
        store.reclaim(lease, "died")
    db = ["--db", tmp_path / "runner.db"]
    assert within("retry", "ant", "zebra", *db).exit_code == 2
    assert "2 jobs are pending again" in within("retry", "night", "ant", "b", *db).output
    assert "1 job is pending again" in within("retry", "cow", *db).output
    end = within("retry", "night", "--done", *db)
    assert end.exit_code == 2 and "say which done jobs" in end.output
