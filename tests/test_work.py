"""The loop of a run's tabs: what waits for what, and what does not."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager

import pytest
from vuer.server import SceneOps
from waiting import wait_until

from runner.campaign import Campaign
from runner.job import Extent
from runner.machine import Guard
from runner.results import PackedResults, ResultsFolder
from runner.run.company import Company
from runner.run.context import Limits, RunContext
from runner.run.crew import Crew
from runner.run.ending import Ending
from runner.run.limits import TimeLimit
from runner.tabs import PERSON


class Tab(SceneOps):
    """A session whose page does nothing."""

    owner, settle_s, is_spoiled, lasting, browser, renderer = PERSON, 0.0, False, "", "", ""
    remarks = {}
    waited_s = asked_s = held_s = 0.0
    is_hidden = False
    last_frame = None

    def __init__(self, name: str):
        self.name, self.client = name, {}
        self.closed = asyncio.get_running_loop().create_future()
        self.end = asyncio.get_running_loop().create_future()

    def __matmul__(self, event):
        pass

    def set_base(self, scene):
        pass

    def begin_job(self, kept=None, seed=None, key=""):
        pass

    def kept_scene(self):
        return None

    def can_show(self, kept):
        return True


def scene() -> dict[str, object]:
    return {"tag": "Scene"}


def campaign_of(count: int, render) -> Campaign:
    campaign = Campaign("work")
    campaign.jobs(lambda: ({"number": number} for number in range(count)))
    campaign.scene(scene)
    campaign.render(render)
    return campaign


@asynccontextmanager
async def crew_of(campaign: Campaign, store, folder, kind=ResultsFolder, timeout_s=None):
    campaign_id, _ = store.submit(campaign.name, campaign.iterate_jobs())
    results = kind(folder, campaign.name)
    limits = Limits(TimeLimit(timeout_s), TimeLimit(None))
    context = RunContext(campaign, campaign_id, store, results, Guard(print, []), limits, Ending())

    async def come_back(worker_id: int) -> int:
        raise AssertionError("nobody took it for dead")

    crew = Crew(context, store.start_worker(campaign_id), come_back)
    yield context, crew
    if not context.ending.stopping.done():
        context.ending.stop("the test is over")
        await crew.stopped()


def test_many_idle_tabs_look_for_work_no_more_often_than_one(sqlite_store, tmp_path):
    """Forty tabs of a paused campaign ask once each when they come, and then one at a time."""
    looks = 0

    async def render(session, job):
        raise AssertionError("a paused campaign renders nothing")

    async def main():
        real_claim = sqlite_store.claim

        def claim(*arguments):
            nonlocal looks
            looks += 1
            return real_claim(*arguments)

        async with crew_of(campaign_of(1, render), sqlite_store, tmp_path) as (context, crew):
            sqlite_store.set_state(context.campaign_id, "paused")
            sqlite_store.claim = claim
            tabs = [asyncio.create_task(crew.work(Tab(f"tab-{number}"))) for number in range(40)]
            while looks < 41:
                assert not context.ending.stopping.done(), context.ending.reason
                await asyncio.sleep(0.01)
            at_first = looks
            ticks = 10
            for _ in range(ticks):
                await asyncio.sleep(0.1)
            # A tab looks ten times a second at most.
            assert looks - at_first <= 2 * ticks
            sqlite_store.set_state(context.campaign_id, "cancelled")
            await asyncio.gather(*tabs)

    asyncio.run(main())


def test_what_took_too_long_in_a_hidden_tab_says_so(sqlite_store, tmp_path):
    """It may be slow because it is out of sight, and is not dead; one that is in sight has no such excuse."""

    async def render(session, job):
        await asyncio.Event().wait()

    async def main():
        campaign = campaign_of(2, render)
        async with crew_of(campaign, sqlite_store, tmp_path, timeout_s=0.3) as (context, crew):
            tabs = [Tab("hidden"), Tab("here")]
            tabs[0].is_hidden = True
            working = [asyncio.create_task(crew.work(tab)) for tab in tabs]
            while len(attempts := sqlite_store.reader.attempts(context.campaign_id)) < 2:
                await asyncio.sleep(0.01)
            context.ending.stop("it is known")
            await asyncio.gather(*working)
        return attempts, await crew.standing()

    attempts, standing = asyncio.run(main())
    assert sorted("out of sight" in str(one["error"]) for one in attempts) == [False, True]
    assert (standing.total, standing.done, standing.state) == (2, 0, "open")


def test_a_run_that_drains_ends_what_is_in_flight_and_begins_no_other(sqlite_store, tmp_path):
    """Each tab ends its own job, which is done; the run is over then, though jobs are left."""
    begun, gate = [], asyncio.Event()

    async def render(session, job):
        begun.append(job.key)
        await gate.wait()

    async def main():
        async with crew_of(campaign_of(20, render), sqlite_store, tmp_path) as (context, crew):
            tabs = [asyncio.create_task(crew.work(Tab(f"tab-{number}"))) for number in range(3)]
            while len(begun) < 3:
                await asyncio.sleep(0.01)
            context.ending.drain("its time was up")
            gate.set()
            await asyncio.gather(*tabs)
            assert context.ending.finished.is_set() and not context.ending.stopping.done()

    asyncio.run(main())
    progress = sqlite_store.reader.progress(1)
    assert (len(begun), progress.done, progress.left) == (3, 3, 17)
    assert not sqlite_store.reader.attempts(1)


def test_a_suspect_is_rendered_alone(sqlite_store, tmp_path):
    """What ends the process meanwhile was done by no other job: they wait, those that were begun and new ones."""
    now, seen, told = set(), {}, []

    async def render(session, job):
        number = job.params["number"]
        now.add(number)
        for _ in range(20):
            await asyncio.sleep(0)
            seen.setdefault(number, set()).update(now)
        now.discard(number)

    async def main():
        async with crew_of(campaign_of(12, render), sqlite_store, tmp_path) as (_, crew):
            crew._company = Company([3, 4], told.append)
            await asyncio.gather(*(crew.work(Tab(f"tab-{number}")) for number in range(4)))

    asyncio.run(main())
    assert seen[2] == {2} and seen[3] == {3} and told == [3, 0, 4, 0]
    assert len(seen) == 12 and max(map(len, seen.values())) > 1


def test_a_tab_renders_on_while_files_go_to_disk(sqlite_store, tmp_path, monkeypatch):
    """The second job is rendered before the first one's files are on disk; the run ends when all are."""
    gate, rendered = threading.Event(), []

    async def render(session, job):
        job.save("x.txt", "x")
        rendered.append(job.params["number"])

    real_seal = ResultsFolder.seal

    def seal(self, *arguments):
        assert gate.wait(60)
        return real_seal(self, *arguments)

    monkeypatch.setattr(ResultsFolder, "seal", seal)

    async def main():
        async with crew_of(campaign_of(9, render), sqlite_store, tmp_path) as (context, crew):
            work = asyncio.create_task(crew.work(Tab("tab")))
            await asyncio.to_thread(wait_until, lambda: len(rendered) >= 4, "more jobs rendered than done")
            done_meanwhile = sqlite_store.reader.progress(context.campaign_id).done
            gate.set()
            await work
            return done_meanwhile, sqlite_store.reader.progress(context.campaign_id).done

    assert asyncio.run(main()) == (0, 9)
    assert rendered == list(range(9))


async def saving(session, job):
    job.save("x.bin", b"%d" % job.params["number"])


@pytest.mark.parametrize("kind", [PackedResults, ResultsFolder])
def test_what_finishes_at_the_same_time_is_made_done_at_once(sqlite_store, tmp_path, kind):
    """One transaction, and for shards one flush, serves many jobs; each is done with its own file."""
    groups = []
    real = sqlite_store.complete_many

    def complete_many(settled, **more):
        groups.append(len(settled))
        return real(settled, **more)

    async def main():
        async with crew_of(campaign_of(40, saving), sqlite_store, tmp_path, kind) as (context, crew):
            sqlite_store.complete_many = complete_many
            await asyncio.gather(*(crew.work(Tab(f"tab-{number}")) for number in range(4)))
            return context.campaign_id

    campaign_id = asyncio.run(main())
    assert sum(groups) == 40 and len(groups) < 20
    rows = sqlite_store.reader.rows_after(campaign_id, 0, 40)
    for row in rows:
        (file,) = row["artifacts"]
        content = ResultsFolder(tmp_path, "work").stored(Extent(file["path"], file["start"], file["size"]))
        assert content.read_bytes() == b"%d" % row["params"]["number"]
    assert len(rows) == 40


@pytest.mark.parametrize("kind", [PackedResults, ResultsFolder])
def test_no_row_is_written_before_its_files_are_flushed(sqlite_store, tmp_path, kind, monkeypatch):
    """Files with all their names come first; what is not flushed beside them is made up for by flushed rows."""
    flushed, rows_flushed = [], []
    real = sqlite_store.complete_many

    def flush(descriptor):
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    def complete_many(settled, **more):
        for _, outcome in settled:
            for artifact in outcome.artifacts:
                path = tmp_path / artifact.path
                assert path.exists()
                names = [path] if artifact.start is not None else [path, path.parent, path.parent.parent]
                assert set(map(str, names)) <= set(flushed)
        return real(settled, **more)

    def make_durable():
        rows_flushed.append(sqlite_store.reader.progress(1).done)

    async def main():
        async with crew_of(campaign_of(12, saving), sqlite_store, tmp_path, kind) as (_, crew):
            monkeypatch.setattr(os, "fsync", flush)
            monkeypatch.setattr(os, "fdatasync", flush)
            sqlite_store.complete_many = complete_many
            sqlite_store.database.make_durable = make_durable
            await asyncio.gather(*(crew.work(Tab(f"tab-{number}")) for number in range(3)))
            while kind is ResultsFolder and 12 not in rows_flushed:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    assert sqlite_store.reader.progress(1).done == 12
    assert bool(rows_flushed) is (kind is ResultsFolder)


def test_one_of_a_group_that_goes_wrong_is_no_matter_of_the_others(sqlite_store, tmp_path, monkeypatch):
    """A lease that was lost, and a file that is gone: these two are rendered again, and all are done once."""
    harm = [None, "lost", "gone"]
    real_keep = PackedResults.keep

    def keep(self, finished):
        kept = real_keep(self, finished)
        for place, (lease, _) in enumerate(finished):
            if lease.job_id < len(harm) and lease.attempt == 1 and harm[lease.job_id] == "lost":
                sqlite_store.release(lease)
            elif lease.job_id < len(harm) and lease.attempt == 1:
                kept[place] = FileNotFoundError(2, "gone")
        return kept

    monkeypatch.setattr(PackedResults, "keep", keep)

    async def main():
        async with crew_of(campaign_of(8, saving), sqlite_store, tmp_path, PackedResults) as (context, crew):
            work = asyncio.gather(*(crew.work(Tab(f"tab-{number}")) for number in range(4)))
            while not work.done():
                await asyncio.sleep(0.05)
                sqlite_store.promote(context.campaign_id)
            await work
            return context.campaign_id

    campaign_id = asyncio.run(main())
    rows = sqlite_store.reader.jobs(campaign_id)
    assert {row["status"] for row in rows} == {"done"}
    assert [(row["attempt"], row["failures"]) for row in rows] == [(2, 0), (2, 1)] + [(1, 0)] * 6
    assert len(sqlite_store.reader.results_after(campaign_id, 0, 100)) == 8


def test_a_tab_that_comes_when_the_run_has_ended_does_no_harm(sqlite_store, tmp_path):
    """A browser that starts slowly may connect when the others have done it all: that is no error."""

    async def render(session, job):
        job.log(seen=True)

    async def main():
        async with crew_of(campaign_of(1, render), sqlite_store, tmp_path) as (context, crew):
            await crew.work(Tab("first"))
            assert context.ending.finished.is_set()
            context.ending.stop("all is done")
            ending = asyncio.create_task(crew.stopped())
            await asyncio.gather(crew.work(Tab("as it ends")), ending)
            await crew.work(Tab("late"))
            return context.ending.stopping.result().error

    assert asyncio.run(main()) is None


def test_what_is_to_know_of_the_scene_is_said_before_the_first_picture(sqlite_store, tmp_path, capsys):
    """Of a scene of many elements the first picture may be minutes in coming, and somebody waits."""
    said = []

    async def render(session, job):
        said.append(capsys.readouterr().out)

    async def main():
        async with crew_of(campaign_of(1, render), sqlite_store, tmp_path) as (_, crew):
            tab = Tab("tab")
            tab.remarks = {"many": "a scene of 20,000 elements takes long"}
            await crew.work(tab)

    asyncio.run(main())
    assert "20,000 elements" in said[0]


def test_what_is_in_flight_when_a_campaign_is_cancelled_ends(sqlite_store, tmp_path):
    """Another tab that finds no more work does not end the run under it."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def render(session, job):
        begun.set()
        await go_on.wait()

    async def main():
        async with crew_of(campaign_of(2, render), sqlite_store, tmp_path) as (context, crew):
            first = asyncio.create_task(crew.work(Tab("first")))
            await begun.wait()
            sqlite_store.set_state(context.campaign_id, "cancelled")
            second = asyncio.create_task(crew.work(Tab("second")))
            looks = 0
            real_campaign = sqlite_store.reader.campaign

            def campaign(*arguments):
                nonlocal looks
                looks += 1
                return real_campaign(*arguments)

            sqlite_store.reader.campaign = campaign
            while looks < 3:
                assert not context.ending.finished.is_set()
                await asyncio.sleep(0.01)
            go_on.set()
            await asyncio.gather(first, second)
            assert context.ending.finished.is_set()
            return sqlite_store.reader.progress(context.campaign_id)

    progress = asyncio.run(main())
    assert (progress.done, progress.pending) == (1, 1)


def test_that_no_job_is_left_is_no_end_while_jobs_are_added(sqlite_store, tmp_path):
    """A tab that has done all that there are waits for the others, and ends once it is told that these are all."""

    async def render(session, job):
        job.log(done=True)

    async def main():
        async with crew_of(campaign_of(1, render), sqlite_store, tmp_path) as (context, crew):
            context.ending.has_all = False
            working = asyncio.create_task(crew.work(Tab("first")))
            while sqlite_store.reader.progress(context.campaign_id).done < 1:
                await asyncio.sleep(0.01)
            sqlite_store.add(context.campaign_id, [{"number": 1}])
            while sqlite_store.reader.progress(context.campaign_id).done < 2:
                await asyncio.sleep(0.01)
            assert not context.ending.finished.is_set()
            context.ending.has_all = True
            await working
            assert context.ending.finished.is_set()

    asyncio.run(main())
