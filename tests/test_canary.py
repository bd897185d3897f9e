"""Some jobs instead of all: a canary before the night, a limit, and a run that only tells what it would do."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from campaigns import GOOD, write_colors
from clients import run_for_tabs
from processes import within

from runner.commands import Commands
from runner.job import Artifact, Job, Outcome, Policy
from runner.results import ResultsFolder
from runner.run.agenda import Agenda
from runner.run.canary import (
    Portions,
    choose_sample,
    judge,
    render_in_portions,
    take_back,
    told_well,
    why_to_stop,
)
from runner.store import Store

COMMANDS = Commands("night", "/runner.db", "/night.py")


@pytest.fixture
def campaign_id(store):
    return store.submit("night", ((f"k{n}", {"n": n}) for n in range(40)), Policy(backoff_s=40.0))[0]


def ids_of(store, campaign_id):
    return [job["id"] for job in store.reader.jobs(campaign_id)]


def test_an_agenda_is_taken_in_its_order_once_each(store, campaign_id, clock):
    """What another has is passed over; what waits for its retry is waited for; a paused campaign loses nothing."""
    ids = ids_of(store, campaign_id)
    mine, other = store.start_worker(campaign_id), store.start_worker(campaign_id)
    (waiting,) = store.claim(other, campaign_id, job=(ids[7], 0))
    store.fail(waiting, "E")
    store.claim(other, campaign_id, job=(ids[3], 0))
    agenda = Agenda({ids[5]: 0, ids[3]: 0, ids[7]: 1, ids[1]: 0})
    store.set_state(campaign_id, "paused")
    assert agenda.claim(store, mine, campaign_id, 0) == [] and not agenda.is_spent
    store.set_state(campaign_id, "open")
    taken = [agenda.claim(store, mine, campaign_id, 0)[0].job_id for _ in range(2)]
    assert taken == [ids[5], ids[1]]
    assert agenda.claim(store, mine, campaign_id, 0) == [] and not agenda.is_spent
    clock.now += 50.0
    store.promote(campaign_id)
    assert agenda.claim(store, mine, campaign_id, 0)[0].job_id == ids[7] and agenda.is_spent
    everything = Agenda()
    assert everything.claim(store, mine, campaign_id, 0)[0].job_id == ids[0] and not everything.is_spent


def test_workers_that_share_an_agenda_take_each_job_once(store, campaign_id):
    """Each begins with its own part, and then takes what the other has left, but nothing that it has had."""
    ids = ids_of(store, campaign_id)[:9]
    workers = [store.start_worker(campaign_id) for _ in range(2)]
    first, second = (Agenda(dict.fromkeys(ids, 0), which=which, of=2) for which in range(2))

    def take(agenda, which):
        leases = agenda.claim(store, workers[which], campaign_id, 0)
        return [ids.index(lease.job_id) for lease in leases]

    assert take(first, 0) + take(second, 1) + take(first, 0) == [0, 1, 2]
    (lease,) = store.held(workers[1])
    store.reclaim(lease, "it was charged, and is pending again")
    assert [take(first, 0) for _ in range(6)] == [[4], [6], [8], [7], [5], [3]]
    assert take(first, 0) == [] and first.is_spent
    assert take(second, 1) == [] and second.is_spent
    # The worker that comes after it is told which of its jobs were handed back.
    after = Agenda(dict.fromkeys(ids, 0) | {lease.job_id: 1}, which=1, of=2)
    assert take(after, 1) == [1] and take(after, 1) == [] and after.is_spent


def test_what_is_next_and_what_is_spread(store, campaign_id):
    """A limit takes jobs in the order of the claims; a canary takes them evenly from first to last."""
    ids = ids_of(store, campaign_id)
    worker_id = store.start_worker(campaign_id)
    store.fail(store.claim(worker_id, campaign_id)[0], "E")
    store.reclaim(store.claim(worker_id, campaign_id)[0], "died")
    assert store.reader.next_ids(campaign_id, 3) == ids[2:5]
    assert store.reader.next_ids(campaign_id, 99)[-2:] == [ids[1], ids[0]]
    places = [ids.index(job_id) for job_id in store.reader.spread_ids(campaign_id, 4)]
    assert [place // 10 for place in places] == [0, 1, 2, 3]
    assert len(store.reader.spread_ids(campaign_id, 99)) == 39
    assert store.reader.spread_ids(store.submit("none", [])[0], 4) == []


@pytest.mark.parametrize(("count", "turns"), [(120, (2, 3, 6)), (1_250, (2, 3, 4, 5, 6, 10))])
def test_a_canary_sees_jobs_that_take_turns(store, count, turns):
    """Each of so many cameras, or of what else the jobs go through in turn, is among the first ones."""
    campaign_id, _ = store.submit("turns", ((f"k{n}", {"n": n}) for n in range(count)))
    ids = {job_id: place for place, job_id in enumerate(ids_of(store, campaign_id))}
    places = [ids[job_id] for job_id in store.reader.spread_ids(campaign_id, 20)]
    for one in turns:
        assert {place % one for place in places} == set(range(one))
    assert [place * 20 // count for place in places] == list(range(20))


@pytest.mark.parametrize(("is_spread", "places"), [(False, [0, 1, 2, 3]), (True, [6, 13, 26, 33])])
def test_a_limit_takes_jobs_in_the_order_that_was_asked_for(store, campaign_id, tmp_path, is_spread, places):
    """The next ones as they were added, or as many from all over the campaign."""
    ids, taken = ids_of(store, campaign_id), []
    portions = Portions(0, 4, None, is_spread)
    results = ResultsFolder(tmp_path, "night")
    render_in_portions(
        store, campaign_id, portions, results, COMMANDS, lambda jobs, _: taken.extend(jobs or ())
    )
    assert [ids.index(job_id) for job_id in taken] == places


def test_spread_jobs_cover_the_campaign_at_any_moment(store, campaign_id):
    """No stretch is left out for long, also by the run that goes on; the higher priority comes first all the same."""
    ids = ids_of(store, campaign_id)
    store.add(campaign_id, [Job({"n": "first"}, "first", priority=1)])
    taken = []
    for _ in range(4):
        worker_id, agenda = store.start_worker(campaign_id), Agenda(is_spread=True)
        for _ in range(5):
            (lease,) = agenda.claim(store, worker_id, campaign_id, 0)
            store.complete(lease)
            taken.append(lease.key)
    assert taken[0] == "first" and len(set(taken)) == 20
    for count in (5, 10, 20):
        places = sorted(int(key[1:]) for key in taken[1:count])
        assert max(after - before for before, after in pairwise([-1, *places, 40])) <= 2.7 * 40 / count
    rest = [agenda.claim(store, worker_id, campaign_id, 0)[0].job_id for _ in range(21)]
    assert len(set(rest) & set(ids)) == 21 and agenda.claim(store, worker_id, campaign_id, 0) == []


def rendered_first(store, campaign_id, tmp_path, failing, suspect, clock=None):
    """The canary of 10 jobs, of which so many failed, and so many are suspect. clock: each job takes 90 s of it."""
    sample = choose_sample(store.reader, campaign_id, 10)
    worker_id, agenda = store.start_worker(campaign_id), Agenda(sample.attempts)
    for number in range(10):
        (lease,) = agenda.claim(store, worker_id, campaign_id, 0)
        picture = f"night/evidence/{lease.key}~1.jpg"
        if clock is not None:
            clock.now += 90.0
        if number < failing:
            (tmp_path / picture).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / picture).touch()
            store.fail(lease, f"ValueError: {number} is bad", "Traceback …")
        else:
            file = Artifact("rgb.jpg", picture, 3, "0" * 64, "image/jpeg")
            doubt = "rgb.jpg: all of one colour" if number < failing + suspect else ""
            store.complete(lease, Outcome((file,), {}, suspicion=doubt))
    store.end_worker(worker_id)
    return judge(store.reader, campaign_id, sample, ResultsFolder(tmp_path, "night"))


def test_a_canary_that_is_well_lets_the_run_go_on(store, campaign_id, tmp_path):
    """Up to the share of --halt; what it has done is done, and what failed is charged as any other."""
    found = rendered_first(store, campaign_id, tmp_path, failing=1, suspect=1)
    assert found.judged == 10 and len(found.done) == 9
    assert why_to_stop(found, 0.2, COMMANDS) == why_to_stop(found, None, COMMANDS) == ""
    assert why_to_stop(found, 0.1, COMMANDS) != ""


def test_a_canary_that_is_well_tells_what_the_rest_will_take(store, campaign_id, tmp_path, clock):
    """Time, room on the disk, and the time of day at which it ends; no room where the files go elsewhere."""
    found = rendered_first(store, campaign_id, tmp_path, failing=0, suspect=0, clock=clock)
    told = told_well(found, 1_000)
    assert found.job_s == 90.0 and told.startswith("10 of 10 jobs that were rendered first are done")
    # A file of one block, its folder, its rows.
    assert re.search(
        r"the other 1,000 take about 25\.0 h and 13\.1 MiB of disk space, until \w+ \d\d:\d\d$", told
    )
    assert "disk" not in told_well(found, 1_000, stays=False)


def test_a_canary_that_fails_leaves_the_campaign_as_it_was(store, campaign_id, tmp_path):
    """The reason, each job with its picture and the next command; no charge, nothing done, the pictures stay."""
    found = rendered_first(store, campaign_id, tmp_path, failing=3, suspect=1)
    told = why_to_stop(found, 0.2, COMMANDS)
    assert (
        "of 10 jobs that were rendered first, 3 failed and 1 may be wrong, 3 of them: ValueError: N is bad"
        in told
    )
    assert told.count("failed  ") == 3 and "all of one colour" in told and " preview /night.py --key " in told
    assert all(str(path) in told for path in (tmp_path / "night" / "evidence").iterdir())
    take_back(store, campaign_id, found)
    progress = store.reader.progress(campaign_id)
    assert (progress.done, progress.failed, progress.left) == (0, 0, 40)
    assert not any(job["failures"] or job["not_before_ts"] for job in store.reader.jobs(campaign_id))
    assert len(list((tmp_path / "night" / "evidence").iterdir())) == 3


@pytest.mark.slow
def test_a_limit_takes_so_many_jobs_and_a_canary_stops_a_bad_night(tmp_path):
    """Exit 8 with the first ones done; then exit 3, with nothing more done than before."""
    file = write_colors(tmp_path, count=30)
    end = run_for_tabs(file.with_suffix(""), "--limit", "4")
    assert end.returncode == 8, end.stderr
    with Store(tmp_path / "runner.db") as store:
        done = {job["params"]["number"] for job in store.reader.jobs(1) if job["status"] == "done"}
    assert done == {0, 1, 2, 3}
    write_colors(tmp_path, count=30, body="1 / (job.params['number'] % 3)")
    end = run_for_tabs(file, "--canary", "5")
    assert end.returncode == 3 and "ZeroDivisionError" in end.stderr, end.stderr
    with Store(tmp_path / "runner.db") as store:
        assert store.reader.progress(1).done == 4
        assert not any(job["failures"] or job["crashes"] for job in store.reader.jobs(1))


def test_a_dry_run_tells_and_writes_nothing(tmp_path, monkeypatch):
    """What would be added, is left, is gone; how it would end is the exit status."""
    file = tmp_path / "good.py"
    file.write_text(GOOD.replace('yield {"x": 1}', 'yield from ({"x": x} for x in (1, 2, 3))'))
    monkeypatch.chdir(tmp_path)
    end = within("run", "good", "--dry-run", "--limit", "2")
    assert end.exit_code == 0 and "yields 3 jobs" in end.stdout and "added     3" in end.stdout
    assert "rendered  2 of 3" in end.stdout and not (tmp_path / "runner.db").exists()
    with Store(tmp_path / "runner.db") as store:
        store.submit("good", [{"x": 1}, {"x": 7}])
    before = (tmp_path / "runner.db").read_bytes()
    end = within("run", "good.py", "--dry-run", "--prune")
    assert "added     2" in end.stdout and "gone      1" in end.stdout and "rendered  3" in end.stdout
    assert end.exit_code == 0
    end = within("run", "good.py", "--dry-run")
    assert end.exit_code == 2 and "it would ask first" in end.stdout and "rendered  4" in end.stdout
    assert (tmp_path / "runner.db").read_bytes() == before
    file.write_text(GOOD.replace('yield {"x": 1}', "yield from ()").replace('"good"', '"empty"'))
    assert within("run", "good.py", "--dry-run").exit_code == 4
