"""Whatever text a render function, a page or a browser comes up with is recorded, and its job is settled."""

from __future__ import annotations

import itertools
import json
import os

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runner.errors import CampaignError
from runner.job import Artifact, Checkpoint, Job, Outcome, Place, Policy, Provenance, Status
from runner.store import schema
from runner.store.text import REASON_BYTES, TRACE_BYTES, cleaned

# All of Unicode, with lone surrogates, NUL and other controls.
ODD = st.text(st.characters(exclude_categories=()), max_size=60)
NUMBERS = st.integers() | st.floats() | st.booleans() | st.none() | ODD
on_both = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_number = itertools.count()


@on_both
@example(error=os.fsdecode(b"caf\xe9"), evidence="\x00", other="\ud83d")
@given(error=ODD, evidence=ODD, other=ODD)
def test_a_job_is_charged_whatever_its_error_is_made_of(store, error, evidence, other):
    """Failed, crashed, handed back and done: each move takes any text, and what is printable stays as it is."""
    campaign_id = store.add_campaign("odd", Policy(max_failures=1, max_crashes=9))
    key = f"job{next(_number)}"
    store.add(campaign_id, [(key, {})])
    worker_id = store.start_worker(campaign_id)
    session_id = store.start_session(
        worker_id,
        campaign_id,
        Provenance(other, other, other, {other: other}, settings={other: float("nan")}),
    )
    (lease,) = store.claim(worker_id, campaign_id, session_id=session_id)
    store.release(lease, other)
    (lease,) = store.claim(worker_id, campaign_id)
    assert store.reclaim(lease, error, evidence) is Status.PENDING
    (lease,) = store.claim(worker_id, campaign_id)
    assert store.fail(lease, error, evidence) is Status.FAILED
    told = store.reader.job(campaign_id, key)["error"]
    assert told == cleaned(error)
    if error.isprintable():
        assert told == error
    store.retry(campaign_id, [key])
    (lease,) = store.claim(worker_id, campaign_id)
    store.complete(lease, Outcome(suspicion=other))
    store.requeue(campaign_id, [key], other)
    store.write_events(campaign_id, worker_id, [(1.0, "browser", other)])
    store.end_worker(worker_id)
    (lease,) = store.claim(again := store.start_worker(campaign_id), campaign_id)
    store.complete(lease)
    store.end_worker(again)


@on_both
@given(metrics=st.dictionaries(ODD, NUMBERS, max_size=5), params=st.dictionaries(ODD, ODD | st.integers()))
def test_metrics_and_params_come_back_as_they_were_given(store, metrics, params):
    """Also NaN, infinities, integers of any size and odd text; what the row holds is JSON."""
    campaign_id = store.add_campaign("odd")
    key = f"job{next(_number)}"
    store.add(campaign_id, [(key, params)])
    worker_id = store.start_worker(campaign_id)
    (lease,) = store.claim(worker_id, campaign_id)
    store.checkpoint(lease, Checkpoint(1, (), metrics))
    assert lease.params == params
    assert repr(store.reader.checkpoint_of(lease).metrics) == repr(metrics)
    store.complete(lease, Outcome((Artifact("a", "b", 1, "c", "d"),), metrics, has_checkpoint=True))
    (row,) = store.reader.rows_after(campaign_id, lease.job_id - 1, 1)
    assert repr(row["metrics"]) == repr(metrics) and row["params"] == params
    (result,) = [row for row in store.reader.results_after(campaign_id, 0, 10_000) if row["key"] == key]
    assert repr(result["metrics"]) == repr(metrics)
    with store.database.read() as connection:
        columns = (schema.result.c.metrics, schema.result.c.marks)
        texts = connection.execute(sa.select(*columns).where(schema.result.c.job_id == lease.job_id)).one()
        for text in texts:
            json.loads(text or "{}", parse_constant=pytest.fail)
        if store.database.is_sqlite:
            query = f"SELECT json_valid(metrics) FROM result WHERE job_id = {lease.job_id}"
            assert connection.exec_driver_sql(query).scalar() == 1


@settings(max_examples=300, deadline=None)
@example("x\ud83d\ude00\x1b[31mred\x1b[0m \x1b]0;title\x07", 2048)
@given(st.text(st.characters(exclude_categories=()), max_size=3000), st.integers(100, 3000))
def test_cleaned_text_is_short_and_harmless(text, most_bytes):
    """It is UTF-8, within its limit, without a control character; cleaning it again changes nothing."""
    clean = cleaned(text, most_bytes)
    assert len(clean.encode()) <= most_bytes
    assert not any((c < " " and c not in "\n\t") or "\x7f" <= c < "\xa0" for c in clean)
    assert cleaned(clean, most_bytes) == clean


def test_long_text_keeps_both_ends():
    """What happened stands at the end of a traceback, and where it began at its beginning."""
    trace = "Traceback\n" + "  frame\n" * 100_000 + "RecursionError: too deep"
    clean = cleaned(trace, TRACE_BYTES)
    assert TRACE_BYTES - 50 < len(clean.encode()) <= TRACE_BYTES
    assert clean.startswith("Traceback\n") and clean.endswith("RecursionError: too deep")
    assert "bytes in all" in clean
    assert cleaned("é" * 5000).startswith("é" * 500) and len(cleaned("é" * 5000).encode()) <= REASON_BYTES


def test_halves_of_an_emoji_are_joined_and_a_lone_half_is_shown():
    """As a page sends them that cuts its messages at some length."""
    assert cleaned("ok \ud83d\ude00") == "ok 😀"
    assert cleaned("cut \ud83d") == r"cut \ud83d"
    assert cleaned(os.fsdecode(b"caf\xe9")) == r"caf\udce9"
    assert cleaned("\x1b[31mred\x1b[0m\r\nnext\x00\x1b]0;x\x07") == "red\nnext\\x00\\x1b]0;x\\x07"


@pytest.mark.parametrize("key", ["caf\udce9", "a\x00b", "", "k" * 201, "tab\there"])
def test_a_key_that_no_database_holds_is_refused_by_name(store, key):
    """When it is added, and nothing is; looking for it finds none."""
    campaign_id = store.add_campaign("odd")
    with pytest.raises(CampaignError, match="a job's key must be"):
        store.add(campaign_id, [("good", {}), (key, {})])
    assert store.reader.progress(campaign_id).total == 0
    assert store.reader.job(campaign_id, key) is None


def test_a_place_or_a_priority_that_no_database_holds_is_refused_by_name(store):
    """A folder's name that is no UTF-8, and a priority beyond 32 bits."""
    with pytest.raises(CampaignError, match=r"caf\\udce9/night.py has bytes that are not text"):
        store.add_campaign("night", place=Place(file="/home/caf\udce9/night.py"))
    for priority in (1 << 31, 1.5, True):
        with pytest.raises(CampaignError, match="priority is an integer of 32 bits"):
            Job({}, priority=priority)
