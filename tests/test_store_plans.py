"""The claim, the other statements that run often, and progress cost the same at any number of jobs."""

from __future__ import annotations

import re
import statistics
import time
from functools import partial

import pytest
import sqlalchemy as sa

from runner.job import Status
from runner.report import status_of
from runner.store import Store, statements

pytestmark = pytest.mark.slow

JOBS = 30_000
NOBODY = 2**61


@pytest.fixture
def campaign_id(store):
    """A campaign late in its night: most jobs done, and some of each other kind."""
    campaign_id, _ = store.submit("night", ({"n": n} for n in range(JOBS)))
    worker_id = store.start_worker(campaign_id)
    with store.database.write() as cursor:
        cursor.run("UPDATE job SET status = 'done' WHERE id % 10 < 7")
        cursor.run("UPDATE job SET status = 'failed' WHERE id % 100 = 99")
        cursor.run("UPDATE job SET not_before_ts = 1e9 + id WHERE id % 100 = 98")
        cursor.run(
            f"UPDATE job SET status = 'in_progress', worker_id = {worker_id}, grab_ts = 1 WHERE id % 1000 = 97"
        )
        cursor.run("ANALYZE")
    return campaign_id


def plan_of(store, statement, **values) -> str:
    """The database's own account of how it will run one of the store's statements."""
    with store.database.write() as cursor:
        if store.database.is_sqlite:
            rows = cursor.run("EXPLAIN QUERY PLAN " + statement, values).fetchall()
            return "\n".join(row[3] for row in rows)
        rows = cursor.run("EXPLAIN " + statement, values).fetchall()
        return "\n".join(row[0] for row in rows)


def plans_of(store, call) -> str:
    """The same for the queries that a reading method sends."""
    sent = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            sent.append((statement, parameters))

    sa.event.listen(store.database._engine, "before_cursor_execute", note)
    call()
    sa.event.remove(store.database._engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if store.database.is_sqlite else "EXPLAIN "
    with store.database.read() as connection:
        rows = [row for query in sent for row in connection.exec_driver_sql(explain + query[0], query[1])]
    return "\n".join(row[-1] for row in rows)


def assert_uses(plan: str, index: str) -> None:
    """The plan goes through the index, and neither sorts nor reads the jobs from end to end."""
    assert re.search(rf"(INDEX|Index \w*\s*Scan \w*\s*\w*|on) {index}\b", plan), plan
    assert "TEMP B-TREE" not in plan and "Sort" not in plan, plan
    assert "SCAN job" not in plan.replace("SCAN job USING", "") and "Seq Scan on job" not in plan, plan


@pytest.mark.parametrize("count", [1, 16])
def test_the_claim_reads_the_first_entries_of_its_index(store, campaign_id, count):
    """Ready jobs are found in the order of the index: no sort, however many there are."""
    claim = statements.CLAIM if count == 1 else statements.CLAIM_MANY
    values = {"campaign": campaign_id, "worker": NOBODY, "session": None, "count": count, "now": 1.0}
    assert_uses(plan_of(store, claim, **values), "job_ready")


def test_a_claim_near_an_id_goes_to_it_by_the_same_index(store, campaign_id):
    """A point in the middle of ten million jobs costs no more than the first one."""
    values = {"campaign": campaign_id, "worker": NOBODY, "session": None, "count": 1, "now": 1.0, "at": 5}
    assert_uses(plan_of(store, statements.CLAIM_NEAR, **values), "job_ready")


def test_what_is_next_reads_no_more_than_that(store, campaign_id):
    """A limit of a hundred costs the same among a thousand jobs as among ten million."""
    plan = plans_of(store, lambda: store.reader.next_ids(campaign_id, 10))
    assert_uses(plan, "job_ready")
    assert_uses(plan, "job_waiting")


@pytest.mark.parametrize("statement", ["CLAIM", "CLAIM_MANY"])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_claim_keeps_its_plan_when_it_is_prepared(store, campaign_id, statement):
    """PostgreSQL may plan without knowing the values, once a statement has run a few times."""
    claim = getattr(statements, statement).replace("{skip_locked}", "FOR UPDATE SKIP LOCKED")
    types = {
        "campaign": "bigint",
        "worker": "bigint",
        "session": "bigint",
        "count": "bigint",
        "now": "float8",
    }
    for number, name in enumerate(types, start=1):
        claim = claim.replace(f":{name}", f"${number}")
    with store.database.write() as cursor:
        cursor.run("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.run(f"PREPARE claim ({', '.join(types.values())}) AS {claim}")
        rows = cursor.run(f"EXPLAIN EXECUTE claim ({campaign_id}, {NOBODY}, NULL, 1, 1.0)").fetchall()
        cursor.run("DEALLOCATE claim")
    plan = "\n".join(row[0] for row in rows)
    assert "$1" in plan
    assert_uses(plan, "job_ready")


def test_promoting_reads_waiting_jobs_only(store, campaign_id):
    """Jobs whose time has not come, and all others, cost nothing."""
    # The two bounds are an OR, so a plan may go through the index twice.
    plan = plan_of(store, statements.PROMOTE, campaign=campaign_id, now=1.0, latest=2e9)
    assert_uses(plan, "job_waiting")


def test_taking_back_reads_the_running_jobs_only(store, campaign_id):
    """What a worker holds is found by the worker."""
    assert_uses(plan_of(store, statements.HELD_BY, worker=NOBODY), "job_running")


def test_progress_reads_the_running_jobs_only(store, campaign_id):
    """Counters give the rest."""
    assert_uses(plans_of(store, lambda: store.reader.progress(campaign_id)), "job_running")


def test_a_known_job_is_found_by_its_key(store, campaign_id):
    """Adding jobs again looks each of them up in the unique index."""
    assert_uses(plan_of(store, statements.KNOWN_JOB, campaign=campaign_id, key="left"), "job_key")


@pytest.mark.parametrize("statement", ["RETRY_ONE", "REQUEUE", "FORGET_RESULT", "FORGET_ARTIFACTS"])
def test_an_operator_s_move_of_one_job_goes_by_its_key(store, campaign_id, statement):
    """Naming a job costs one look-up."""
    plan = plan_of(store, getattr(statements, statement), campaign=campaign_id, key="left")
    # A failed job may as well be found among the failed ones, which are few.
    assert_uses(plan, "(job_key|job_failed)")


def test_listing_failures_reads_the_failed_jobs_only(store, campaign_id):
    """The morning's first question does not read the whole night."""
    assert_uses(plans_of(store, lambda: store.reader.failures(campaign_id)), "job_failed")


def test_jobs_of_one_status_are_found_by_it(store, campaign_id):
    """The status is a literal here too, so that the partial indexes serve."""
    assert_uses(plans_of(store, lambda: store.reader.jobs(campaign_id, Status.FAILED)), "job_failed")


def test_reading_on_behind_a_job_reads_no_job_twice(store, campaign_id):
    """Rows are taken up where the last ones ended: the whole is read once, however it is cut."""
    plan = plans_of(store, lambda: store.reader.rows_after(campaign_id, JOBS // 2, 10))
    assert "TEMP B-TREE" not in plan and "Sort" not in plan, plan
    assert re.search(r"SEARCH job USING INTEGER PRIMARY KEY|Index Scan using job_pkey on job", plan), plan


def test_a_thousand_jobs_files_are_found_by_the_jobs_ids(store, campaign_id):
    """Verifying reads each job and each file once, also where the database has no statistics of itself."""
    look = lambda: store.reader.files_between(campaign_id, 1000, 1999)
    plans = [plans_of(store, look)]
    if store.database.is_sqlite:
        with store.database.write() as cursor:
            cursor.run("DROP TABLE sqlite_stat1")
            cursor.run("ANALYZE sqlite_schema")
        plans.append(plans_of(store, look))
        for plan in plans:
            assert "job_key" not in plan and "SCAN" not in plan, plan
            assert "SEARCH job USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plan, plan
    else:
        assert "job_key" not in plans[0] and "Seq Scan on job" not in plans[0], plans[0]


def test_status_costs_the_same_at_any_number_of_jobs(store, campaign_id):
    """What `runner status` asks is answered from counters, live workers and the index of running jobs."""
    store.start_worker(campaign_id)
    plan = plans_of(store, lambda: status_of(store.reader, store.reader.campaign(campaign_id)))
    assert_uses(plan, "job_running")
    assert "job_key" not in plan and "job_failed" not in plan, plan


def test_failed_jobs_are_listed_by_their_index(store, campaign_id):
    """A few failures among millions are found without a look at the others."""
    plan = plans_of(store, lambda: store.reader.rows_after(campaign_id, 0, 100, Status.FAILED))
    assert_uses(plan, "job_failed")


def seconds_for(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def test_claim_complete_and_progress_stay_as_quick_with_a_hundred_times_the_jobs(tmp_path):
    """At 1e5 jobs each costs at most three times what it does at 1e3."""
    sides = []
    for size in (1_000, 100_000):
        store = Store(tmp_path / f"{size}.db")
        campaign_id, _ = store.submit("night", ({"n": n} for n in range(size)))
        sides.append((store, campaign_id, store.start_worker(campaign_id)))
    turns = {"claim and complete": [[], []], "progress": [[], []]}
    # Turn about, so that whatever else the machine does slows both alike.
    for _ in range(300):
        for side, (store, campaign_id, worker_id) in enumerate(sides):

            def claim_and_complete(store=store, campaign_id=campaign_id, worker_id=worker_id):
                (lease,) = store.claim(worker_id, campaign_id)
                store.complete(lease)

            turns["claim and complete"][side].append(seconds_for(claim_and_complete))
            turns["progress"][side].append(seconds_for(partial(store.reader.progress, campaign_id)))
    for store, _campaign_id, _worker_id in sides:
        store.close()
    for what, (small_s, large_s) in turns.items():
        ratio = statistics.median(large_s) / statistics.median(small_s)
        assert ratio <= 3.0, f"{what}: {ratio:.1f} times the seconds at a hundred times the jobs"
