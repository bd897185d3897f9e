"""Jobs come into the database beside a run where they are many: what is known is rendered meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from campaigns import GOOD

from runner.campaign import load_campaign
from runner.commands import Commands
from runner.errors import CampaignError
from runner.exits import ExitStatus
from runner.machine import Guard
from runner.run import intake as intakes
from runner.run.intake import Intake
from runner.run.options import RunOptions
from runner.store import Store

FEW = 10


class Study:
    """A campaign file and its database, and a run that renders nothing."""

    def __init__(self, folder: Path):
        self.file, self.database, self.folder = folder / "good.py", folder / "runner.db", folder

    def write(self, jobs: str) -> None:
        text = GOOD.replace('    yield {"x": 1}', jobs).replace("def jobs():", "def jobs(count=30):")
        self.file.write_text(text)

    def run(self, render, settings=None, **options) -> ExitStatus:
        """Do what a run does with its jobs; render(store, intake) stands for the rest."""
        campaign = load_campaign(self.file, settings or {})
        options = RunOptions(0, str(self.database), self.folder / "results", **options)
        with Intake(campaign, options, Guard(print, [])) as intake:
            intake.read()
            with Store(self.database) as store:
                campaign_id = intake.begin(store, Commands("good", str(self.database), str(self.file)))
                if not store.reader.sources(campaign_id):
                    source = campaign.sources.current()["good.py"]
                    store.write_events(campaign_id, 1, [(time.time(), "source", f"{source} good.py")])
                return intake.beside(lambda: render(store, intake))

    def count(self) -> int:
        with Store(self.database) as store:
            return store.reader.progress(1).total


@pytest.fixture
def study(tmp_path, monkeypatch) -> Study:
    monkeypatch.setattr(intakes, "MANY", FEW)
    monkeypatch.setattr(intakes, "_BESIDE_OTHERS", 3)
    study = Study(tmp_path)
    study.write('    for i in range(count): yield {"i": i}')
    return study


def rendered(store, intake) -> ExitStatus:
    """A run that lasts until all jobs are there."""
    intake.ended.result(timeout=30)
    return ExitStatus.DONE


def nothing_beside(store, intake) -> ExitStatus:
    assert intake.has_all
    return ExitStatus.DONE


def test_new_jobs_are_added_beside_the_run_and_can_be_claimed_meanwhile(study):
    """Some are claimed before all are there; in the end all are, in the order in which they were yielded."""
    counts = []

    def render(store, intake):
        worker_id = store.start_worker(1)
        while not (leases := store.claim(worker_id, 1)):
            assert not intake.has_all
        counts.append(store.reader.progress(1).total)
        store.complete(leases[0])
        store.end_worker(worker_id)
        return rendered(store, intake)

    study.write('    for i in range(3000): yield {"i": i}')
    assert study.run(render) == ExitStatus.DONE
    assert counts[0] < 3000
    with Store(study.database) as store:
        assert [row["params"]["i"] for row in store.reader.jobs(1)] == list(range(3000))


def test_a_refused_job_changes_no_row_though_many_are_new(study):
    """All are compared before the first is added, and before the run begins."""
    study.write('    for i in range(30): yield {"i": i}\n    yield {"i": {1, 2}}')
    with pytest.raises(CampaignError, match="not JSON"):
        study.run(rendered)
    assert not study.database.exists()


def test_what_is_known_is_rendered_before_the_jobs_are_read(study, capsys):
    """Of a campaign whose file and settings are as they were, the first job is yielded beside the run."""
    study.write(
        "    import pathlib, time\n"
        '    while pathlib.Path(__file__).with_name("wait").exists(): time.sleep(0.01)\n'
        '    for i in range(count): yield {"i": i}'
    )
    study.run(rendered)
    (study.folder / "wait").touch()
    claimed = []

    def render(store, intake):
        assert not intake.has_all
        worker_id = store.start_worker(1)
        claimed.extend(store.claim(worker_id, 1))
        store.end_worker(worker_id)
        (study.folder / "wait").unlink()
        return rendered(store, intake)

    assert study.run(render) == ExitStatus.DONE
    assert claimed and "all 30 jobs of" in capsys.readouterr().err


def test_a_refused_job_ends_the_run_that_goes_on_already(study):
    """The run hears of it, nothing is added, and what is raised is what it would have been at the start."""
    study.write(
        "    import os\n"
        '    for i in range(count): yield {"i": i}\n'
        '    if "MORE" in os.environ: yield from ({"i": 100}, {"i": {1}})'
    )
    study.run(rendered)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORE", "1")
        with pytest.raises(CampaignError, match="not JSON"):
            study.run(rendered)
    assert study.count() == 30


def test_jobs_by_chance_are_not_doubled_by_a_run_that_goes_on_already(study, capsys):
    """Nobody is asked then: it ends with the cause and the way out, or adds them with --add."""
    study.write('    import random\n    for i in range(count): yield {"i": random.random()}')
    study.run(rendered)
    with pytest.raises(CampaignError, match=r"30 of the 30 jobs .*Nothing was changed.*--add"):
        study.run(rendered)
    assert study.count() == 30
    assert study.run(rendered, add=True) == ExitStatus.DONE
    assert study.count() == 60


def test_jobs_that_are_gone_are_told_beside_the_run(study, capsys):
    """The line is the same, and they go on; --prune reads first."""
    study.write('    import os\n    for i in range(int(os.environ.get("COUNT", count))): yield {"i": i}')
    study.run(rendered)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNT", "20")
        study.run(rendered)
        assert "10 of 30 jobs are no longer in" in capsys.readouterr().err
        assert study.count() == 30
        study.run(nothing_beside, prune=True)
    assert study.count() == 20


@pytest.mark.parametrize(
    "more",
    [{"settings": {"count": "31"}}, {"canary": 3}, {"limit": 3}, {"order": "spread"}, {"prune": True}],
    ids=str,
)
def test_what_must_know_all_jobs_reads_them_first(study, more):
    """Other settings may be a mistake; a sample, a limit and an order are over all jobs."""
    study.run(rendered)
    study.run(nothing_beside, **more)


def test_a_file_that_changed_is_read_first(study):
    """Its pictures may have another look: that is said before anything is rendered."""
    study.run(rendered)
    study.write('    for i in range(count): yield {"i": i}  # as before')
    study.run(nothing_beside)


def test_a_run_that_ends_before_all_are_added_is_gone_on_from(study, capsys):
    """Some are there; the next start adds the others, each once."""
    study.write('    for i in range(3000): yield {"i": i}')

    def interrupted(store, intake):
        while not store.reader.progress(1).total:
            pass
        return ExitStatus.INTERRUPTED

    assert study.run(interrupted) == ExitStatus.INTERRUPTED
    assert 0 < study.count() < 3000
    assert "the next start adds the others" in capsys.readouterr().err
    assert study.run(rendered) == ExitStatus.DONE
    with Store(study.database) as store:
        assert sorted(row["params"]["i"] for row in store.reader.jobs(1)) == list(range(3000))


def test_a_run_that_ends_while_jobs_are_read_ends(study):
    """The reading stops at the next job, however many there would be."""
    study.write(
        "    import itertools, os\n"
        '    for i in itertools.count() if "ON" in os.environ else range(count): yield {"i": i}'
    )
    study.run(rendered)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ON", "1")
        assert study.run(lambda store, intake: ExitStatus.STOPPED) == ExitStatus.STOPPED
