"""A campaign's jobs are read, compared and told of before a row changes: mistakes are seen, and can be undone."""

from __future__ import annotations

import hashlib
import os
import pty
import signal
import sqlite3
import subprocess
import time

import pytest
from campaigns import GOOD
from processes import STARTED, command, lines_of, run, start, within
from waiting import wait_until

from runner.campaign import add_jobs, load_campaign, plan_submission, read_jobs
from runner.errors import CampaignError
from runner.job import Added, Artifact, Checkpoint, Job, Place, Policy, Progress
from runner.store import Spool, Store, compare

# Without a browser a run adds its jobs, and then ends with exit status 3.
BROWSERLESS = {"PATH": "/nonexistent", "HOME": "/nonexistent"}


def run_without_browser(*arguments: object):
    return run("run", *arguments, env=BROWSERLESS, timeout_s=60)


class Folder:
    """A folder with a campaign file and its database; `submit` does what a run does before it renders."""

    def __init__(self, path):
        self.path = path
        self.file = path / "study.py"

    def write(self, jobs: str, arguments: str = "", file=None) -> None:
        text = GOOD.replace('    yield {"x": 1}', jobs).replace("def jobs():", f"def jobs({arguments}):")
        (file or self.file).write_text("import random\n" + text.replace("Scene()\n", "Scene()\n"))

    def submit(
        self, *, add: bool = False, prune: bool = False, update: bool = False, file=None, **settings: str
    ):
        """What was added and what was said; the doubt is raised unless add was given, as a run does."""
        campaign = load_campaign(file or self.file, settings)
        with read_jobs(campaign, print) as spool, Store(self.path / "runner.db") as store:
            submission = plan_submission(campaign, store.reader, spool, prune, update)
            if submission.doubt and not add:
                raise CampaignError(submission.doubt)
            place = Place(str(campaign.file), str(self.path / "results"))
            campaign_id, added = add_jobs(submission, store, place, print)
            store.write_parameters(campaign_id, {"settings": campaign.settings})
            return added, "\n".join(submission.lines)

    def finish(self, count: int = 1000) -> None:
        with Store(self.path / "runner.db") as store:
            worker_id = store.start_worker(1)
            leases = store.claim(worker_id, 1, count)
            store.complete_many([(lease, None) for lease in leases])
            store.end_worker(worker_id)

    def jobs(self) -> dict[str, dict]:
        with Store(self.path / "runner.db") as store:
            jobs = {row["key"]: row for row in store.reader.jobs(1)}
            assert store.reader.progress(1).total == len(jobs)
            return jobs


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


def test_settings_are_known_from_the_start_whatever_ends_it(folder):
    """A start that only adds its jobs, as of a paused campaign, is compared with all the same; `next` names them."""
    folder.write('    for i in range(count): yield {"i": i}', "count=60")
    folder.submit()
    database = folder.path / "runner.db"
    assert within("pause", "--db", database).exit_code == 0
    assert within("run", folder.file, "--set", "count=61").exit_code == 3
    assert "--set count=61" in within("report", "--db", database).stdout
    end = within("run", folder.file, "--set", "count=61")
    assert end.exit_code == 3 and "other settings" not in end.stderr


# -- params that are new each time -----------------------------------------------------------------


def test_known_keys_keep_their_params_and_that_is_said(folder):
    """Random params under given keys: resuming works, the stored ones go on, one line has an example of both."""
    folder.write('    for i in range(20): yield f"view_{i:04d}", {"azimuth": random.uniform(0, 360)}')
    assert folder.submit() == (Added(new=20, known=0), "")
    before = folder.jobs()
    folder.finish(7)
    added, told = folder.submit()
    assert added == Added(new=0, known=20)
    assert told.startswith(
        "20 of 20 jobs come with other params than are stored under their keys, for example view_0000: "
    )
    assert "random.seed(0)" in told and "--update" in told and len(told.splitlines()) == 1
    assert {key: job["params"] for key, job in folder.jobs().items()} == {
        key: job["params"] for key, job in before.items()
    }


def rows_of(**params: int) -> str:
    return f'    for key, x in {params}.items(): yield key, {{"x": x}}'


def test_update_takes_params_that_were_mended_under_their_keys(folder):
    """A pending, a failed and a done job are pending with their new params, as if new; the others stay."""
    before = dict.fromkeys("abcdefgh", 1)
    folder.write(rows_of(**before))
    folder.submit()
    folder.finish(6)
    with Store(folder.path / "runner.db") as store:
        store.add_campaign("good", Policy(max_failures=1))
        worker_id = store.start_worker(1)
        store.fail(store.claim(worker_id, 1)[0], "x is wrong")
        step = Checkpoint(1, (Artifact("one.png", "good/jobs/h/one.png", 1, "0" * 64, "image/png"),))
        lease = store.claim(worker_id, 1)[0]
        store.checkpoint(lease, step)
        store.end_worker(worker_id)
    after = before | {"a": 2, "g": 2, "h": 2, "i": 1}
    folder.write(rows_of(**after))
    added, told = folder.submit(update=True)
    assert added == Added(new=1, known=8)
    assert told.startswith("3 of 9 jobs come with other params")
    assert told.endswith("They take the new ones (1 done: rendered again)")
    jobs = folder.jobs()
    assert {key: job["params"]["x"] for key, job in jobs.items()} == after
    assert {key for key, job in jobs.items() if job["status"] == "pending"} == set("aghi")
    assert {(job["failures"], job["error"]) for job in jobs.values()} == {(0, None)}
    with Store(folder.path / "runner.db") as store:
        assert store.reader.progress(1) == Progress(total=9, done=5, failed=0, in_progress=0)
        assert store.reader.checkpoint_of(lease) == Checkpoint()


def test_update_leaves_alone_what_is_being_rendered(folder):
    """Its picture is of the params that it was taken with: it keeps them, and that is said."""
    folder.write(rows_of(a=1, b=1))
    folder.submit()
    with Store(folder.path / "runner.db") as store:
        (lease,) = store.claim(store.start_worker(1), 1)
    folder.write(rows_of(a=2, b=2))
    told = folder.submit(update=True)[1]
    assert told.endswith("They take the new ones (1 in progress: left alone)")
    assert {key: job["params"]["x"] for key, job in folder.jobs().items()} == {"a": 1, "b": 2}
    with Store(folder.path / "runner.db") as store:
        store.complete(lease)


@pytest.mark.slow
def test_update_asks_before_it_gives_up_most_of_what_is_done(folder):
    """Random params without a seed would have nearly everything rendered again: refused, done with --add."""
    folder.write('    for i in range(20): yield f"view_{i:04d}", {"azimuth": random.uniform(0, 360)}')
    folder.submit()
    folder.finish(12)
    with pytest.raises(CampaignError, match=r"12 of the 12 jobs that are done .*random\.seed"):
        folder.submit(update=True)
    dry = within("run", folder.file, "--update", "--dry-run")
    assert dry.exit_code == 2 and "it would ask first" in dry.stdout
    refused = run_without_browser(folder.file, "--update")
    assert refused.returncode == 2 and "Nothing was changed" in refused.stderr
    assert "--update --add" in refused.stderr
    with Store(folder.path / "runner.db") as store:
        assert store.reader.progress(1).done == 12
    folder.submit(update=True, add=True)
    with Store(folder.path / "runner.db") as store:
        assert store.reader.progress(1).pending == 20


@pytest.mark.parametrize("finished", [0, 7, 20])
def test_random_params_without_keys_double_nothing_unasked(folder, finished):
    """A second start would add 20 other jobs to the 20: refused with the cause and the way out, added with --add."""
    folder.write('    for i in range(20): yield {"azimuth": random.uniform(0, 360)}')
    folder.submit()
    folder.finish(finished) if finished else None
    with pytest.raises(
        CampaignError, match=r"20 of the 20 jobs .* are new, while 20 of the 20 .*random\.seed"
    ):
        folder.submit()
    assert len(folder.jobs()) == 20
    assert folder.submit(add=True)[0] == Added(new=20, known=0)


def test_topping_up_asks_nothing(folder):
    """Whoever yields the old jobs and many new ones adds jobs, finished or not, by settings or by editing."""
    folder.write('    for i in range(count): yield {"i": i}', "count=2")
    folder.submit()
    folder.finish()
    folder.write('    for i in range(count): yield {"i": i}', "count=6")
    assert folder.submit() == (Added(new=4, known=2), "")
    added, told = folder.submit(count="60")
    assert added == Added(new=54, known=6)
    assert told == "good has other settings than in its last run: count was 6, is 60"


def test_a_setting_that_is_forgotten_is_asked_about_before_it_adds_jobs(folder):
    """Also where all the old jobs are still yielded; with the setting, or with a new value of it, all goes on."""
    folder.write('    for i in range(count): yield {"i": i}', "count=60")
    folder.submit(count="6")
    with pytest.raises(
        CampaignError, match=r"54 jobs are new .*count was 6, is 60.*given --set count=6, and this"
    ):
        folder.submit()
    assert len(folder.jobs()) == 6
    assert folder.submit(count="6")[0] == Added(new=0, known=6)
    assert folder.submit(count="7")[0] == Added(new=1, known=6)
    assert folder.submit(add=True)[0] == Added(new=53, known=7)


@pytest.mark.slow
def test_a_run_says_no_with_exit_2_and_the_whole_command_of_the_way_on(folder):
    """Where nobody can be asked: the same command with --add, ready to paste, and it works."""
    folder.write('    yield {"azimuth": random.uniform(0, 360)}')
    assert run_without_browser(folder.file).returncode == 3
    refused = run_without_browser(folder.file)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert f"run {folder.file} --add" in refused.stderr.splitlines()[-1]
    assert len(folder.jobs()) == 1
    assert run_without_browser(folder.file, "--add").returncode == 3
    assert len(folder.jobs()) == 2


def test_jobs_that_exit_are_a_mistake_in_the_file(folder):
    """sys.exit in the jobs function is told with its line, not taken for the end of the run."""
    folder.write('    yield {"i": 0}\n    raise SystemExit(0)')
    with pytest.raises(CampaignError, match=r"study\.py:8: SystemExit: 0"):
        folder.submit()


# -- settings --------------------------------------------------------------------------------------


def test_forgotten_settings_add_no_foreign_jobs(folder):
    """`--set count=9`, then without: the 4 jobs of the default are foreign to the 9; the old settings go on."""
    folder.write('    for i in range(count): yield f"{i / count:.3f}", {"share": i / count}', "count=4")
    folder.submit(count="9")
    with pytest.raises(CampaignError, match=r"3 jobs are new with other settings \(count was 9, is 4\)"):
        folder.submit()
    assert folder.submit(count="9") == (Added(new=0, known=9), "")
    assert folder.submit(add=True)[0] == Added(new=3, known=1)


@pytest.mark.slow
def test_another_scene_for_half_of_the_jobs_is_no_slip(folder):
    """A setting of the scene that differs from that of the done jobs stops the run; back at the old one it goes on."""
    folder.write("    for i in range(4): yield {'i': i}")
    folder.file.write_text(folder.file.read_text().replace("def scene():", "def scene(blue=True):"))
    folder.submit(blue="yes")
    assert folder.submit(blue="no")[1].startswith("good has other settings")
    folder.finish(2)
    with pytest.raises(CampaignError, match=r"blue was False, is True\) than it had for the 2 jobs done"):
        folder.submit()
    assert folder.submit(blue="0") == (Added(new=0, known=4), "")
    refused = run_without_browser(folder.file)
    assert refused.returncode == 2 and f"run {folder.file} --set blue=0. " in refused.stderr


# -- jobs that are gone, repeated, or of another file -----------------------------------------------


def test_a_typo_of_ten_thousand_jobs_is_undone_in_a_second(folder):
    """Said with counts and an example; --prune takes the pending ones out, keeps the done ones, and none is left."""
    folder.write('    for i in range(count): yield f"v{i:05d}", {"i": i}', "count=10_000")
    folder.submit()
    folder.finish(36)
    added, told = folder.submit(count="20")
    assert added == Added(new=0, known=20) and len(folder.jobs()) == 10_000
    gone = told.splitlines()[0]
    assert gone.startswith(
        f"9,980 of 10,000 jobs are no longer in {folder.file} (16 done, 9,964 pending), for example v00020; "
    )
    assert "--prune takes them out" in gone
    began = time.monotonic()
    added, told = folder.submit(count="20", prune=True)
    assert time.monotonic() - began < 5.0
    jobs = folder.jobs()
    assert len(jobs) == 36 and {job["status"] for job in jobs.values()} == {"done"}
    assert "the pending ones are taken out" in told


def test_a_pruned_job_leaves_nothing_to_the_next_of_its_id(store):
    """SQLite gives ids out again: the next job of that id has no attempts but its own."""
    campaign_id, _ = store.submit("night", [("typo", {})])
    worker_id = store.start_worker(campaign_id)
    (lease,) = store.claim(worker_id, campaign_id)
    assert store.prune(campaign_id, [lease.job_id]) == 0
    store.release(lease)
    assert store.prune(campaign_id, [lease.job_id]) == 1
    assert (store.reader.progress(campaign_id).total, store.reader.attempts(campaign_id)) == (0, [])
    store.add(campaign_id, [("right", {})])
    (lease,) = store.claim(worker_id, campaign_id)
    store.fail(lease, "once")
    assert [(row["key"], row["outcome"]) for row in store.reader.attempts(campaign_id)] == [
        ("right", "failed")
    ]


def test_repeats_are_said_with_an_example(folder):
    """Ten repeats of each of two settings are two jobs: said, with the two ways to have all twenty."""
    folder.write('    for n in range(20): yield {"angle": 90 * (n % 2)}')
    added, told = folder.submit()
    assert added == Added(new=2, known=18)
    assert told == (
        '18 of 20 jobs repeat another, for example with the params {"angle":0}, and are rendered once with it: '
        "to render each, give each a key of its own, or a param such as 'repeat'"
    )
    folder.write('    for n in range(20): yield {"angle": 90 * (n % 2), "repeat": n // 2}')
    assert folder.submit(add=True)[0] == Added(new=20, known=0)


def test_a_second_file_with_a_known_name_is_said_with_both(folder):
    """A copied file that kept its campaign's name; one that was moved is no second file."""
    folder.write('    yield "a", {"i": 0}')
    folder.submit()
    copy = folder.path / "second.py"
    folder.write('    yield "b", {"i": 1}', file=copy)
    told = folder.submit(file=copy)[1].splitlines()[0]
    assert str(folder.file) in told and str(copy) in told and "another name" in told
    copy.rename(folder.path / "moved.py")
    assert "also the campaign" not in folder.submit(file=folder.path / "moved.py")[1]


# -- reading, and then adding -----------------------------------------------------------------------


def test_nothing_is_locked_while_the_jobs_are_made(folder):
    """jobs() that takes its time holds nobody up: another process writes meanwhile, and a line tells of it."""
    folder.write('    yield "first", {}')
    folder.submit()
    folder.write('    import time\n    yield "a", {}\n    time.sleep(600)')
    process = start("run", folder.file)
    lines = lines_of(process)
    wait_until(lambda: "1 so far" in "".join(lines) or process.poll() is not None, "the line about reading")
    other = sqlite3.connect(folder.path / "runner.db", timeout=0.1)
    other.execute("UPDATE campaign SET max_failures = 9")
    other.commit()
    other.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    assert list(folder.jobs()) == ["first"] and "Traceback" not in "".join(lines)


def test_a_refused_start_makes_no_database(folder):
    """What is wrong with the jobs is known before there is anything to clean up."""
    folder.write('    yield "a", {"i": 0}\n    yield "a", {"i": 1}')
    with pytest.raises(CampaignError, match="two different params"):
        folder.submit()
    assert not (folder.path / "runner.db").exists()


@pytest.mark.parametrize("how", ["spawn", "forkserver", "fork"])
@pytest.mark.slow
def test_a_pool_of_processes_makes_the_jobs(folder, how):
    """Each way to start processes finds the file's own functions; the file imports what lies beside it."""
    (folder.path / "beside.py").write_text("def square(i):\n    return i * i\n")
    folder.write("    with mp.get_context(how).Pool(2) as pool: yield from pool.map(heavy, range(4))", "how")
    heavy = (
        "import multiprocessing as mp\nimport beside\ndef heavy(i): return {'i': i, 'sq': beside.square(i)}\n"
    )
    folder.file.write_text(heavy + folder.file.read_text())
    end = run_without_browser(folder.file, "--set", f"how={how}")
    assert end.returncode == 3, end.stderr
    assert [job["params"]["sq"] for job in folder.jobs().values()] == [0, 1, 4, 9]


@pytest.mark.parametrize("how", ["spawn", "forkserver"])
@pytest.mark.slow
def test_a_pool_beside_the_functions_is_refused_in_one_line(folder, how):
    """Its processes would read the file again, start a pool each, die, and be replaced for ever."""
    folder.write('    yield {"i": 0}')
    pool = f"import multiprocessing as mp\ndef heavy(i): return i\npool = mp.get_context('{how}').Pool(2)\n"
    folder.file.write_text(pool + "pool.map(heavy, range(4))\n" + folder.file.read_text())
    end = run_without_browser(folder.file)
    assert end.returncode == 2 and "start them in the jobs function" in end.stderr
    assert len(end.stderr.splitlines()) == 1


@pytest.mark.parametrize(("answer", "status", "count"), [("y\n", 3, 2), ("\n", 2, 1)])
@pytest.mark.slow
def test_a_person_at_a_terminal_is_asked(folder, answer, status, count):
    """Yes adds the jobs, anything else changes no row."""
    folder.write('    yield {"azimuth": random.uniform(0, 360)}')
    folder.submit()
    ours, theirs = pty.openpty()
    with open(theirs, "r+b", buffering=0) as terminal:
        process = subprocess.Popen(
            command("run", folder.file), stdin=terminal, stdout=terminal, stderr=terminal, env=BROWSERLESS
        )
    STARTED.append(process)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, answer.encode())
    assert process.wait(timeout=60) == status
    os.close(ours)
    assert len(folder.jobs()) == count


@pytest.mark.parametrize("name", ["random.py", "orbit.v2.py", "orbit"])
def test_a_file_that_no_process_could_import_is_refused_by_name(folder, name):
    """A pool's processes would die over it again and again: one line says to call it otherwise."""
    file = folder.path / name
    folder.write('    yield {"i": 0}', file=file)
    with pytest.raises(CampaignError, match=r"call it|another name"):
        load_campaign(file)
    file.unlink()
    assert within("init", file).exit_code == 2 and not file.exists()


PACKAGED = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from vuer.schemas import DefaultScene
from runner import Campaign
from .conf.sizes import SIZES

campaign = Campaign("packaged")

def square(size):
    return size * size

@campaign.jobs
def jobs():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for square_m2 in pool.map(square, SIZES):
            yield {"square_m2": square_m2}

@campaign.scene
def scene():
    return DefaultScene()

@campaign.render
async def render(session, job): ...
"""


def test_a_campaign_may_be_a_module_of_a_package(tmp_path):
    """By 'from .conf import …' it finds modules there, as do processes that it starts; they count as its sources."""
    conf = tmp_path / "trips" / "conf"
    conf.mkdir(parents=True)
    (conf / "sizes.py").write_text("SIZES = [3, 4]\n")
    file = tmp_path / "trips" / "study.py"
    file.write_text(PACKAGED)
    with pytest.raises(CampaignError, match="beside it"):
        load_campaign(file)
    for folder in (conf, conf.parent):
        (folder / "__init__.py").touch()
    end = run("run", file, "--dry-run", env=BROWSERLESS)
    assert end.returncode == 0 and '"square_m2":16' in end.stdout, end.stderr
    assert "conf/sizes.py" in load_campaign(file).sources.current()


def test_a_spool_gives_back_what_went_in():
    """Whatever the size: each job in its order, on disk once there are many, with keys that are no ASCII."""
    jobs = [
        Job({"n": n, "pad": "é\n\t" * 100}, key=f"Bäcker {n}" if n % 2 else None, priority=n % 3)
        for n in range(30_000)
    ]
    with Spool().extend(jobs) as spool:
        back = list(spool)
        assert len(back) == len(spool) == 30_000 and spool.at(1).key == "Bäcker 1"
        assert [job.priority for job in back] == [job.priority for job in jobs]
        assert [job.key for job in back][1::2] == [job.key for job in jobs][1::2]
        rows = [(n, job.key, job.params, "done") for n, job in enumerate(back)]
        assert sum(compare(spool, rows[:10_000]).is_wanted) == 20_000


def test_adding_in_short_transactions_counts_each_job_once(store):
    """Some are known, some new, some repeats, some of other params: the rows and the counter agree."""
    campaign_id, _ = store.submit("night", [("kept", {"n": 0})])
    with Spool().extend([("kept", {"n": 9}), *({"n": n % 15_000} for n in range(30_000))]) as spool:
        found = compare(spool, store.reader.keys_of(campaign_id, count=7))
        assert (found.new, found.changed, found.repeats, found.gone) == (15_000, {"pending": 1}, 15_000, {})
        for new in (15_000, 0):
            batches = spool.batches(found.is_wanted, 4000)
            assert sum(store.add_batch(campaign_id, batch) for batch in batches) == new
    assert store.reader.progress(campaign_id).total == 15_001 == len(list(store.reader.keys_of(campaign_id)))
    assert store.reader.job(campaign_id, "kept")["params"] == {"n": 0}


# -- what the pictures are made of ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["parts/look.py", "looks/red.json", "outside"])
def test_what_changed_halfway_is_a_warning_with_the_counts(folder, tmp_path_factory, changed):
    """A module below or elsewhere, or a file that scene() reads, changes after 6 of 12 jobs: said, and reported."""
    outside = tmp_path_factory.mktemp("lib") / "common_look.py"
    files = {"parts/look.py": "COLOR = 'red'\n", "looks/red.json": '"red"', str(outside): "COLOR = 'red'\n"}
    for name, content in files.items():
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text(content)
    folder.write('    for i in range(n): yield f"view_{i}", {"i": i}', "n=6")
    head = f"import json, sys, parts.look\nsys.path.append({str(outside.parent)!r})\nimport common_look\n"
    read = f"open({str(folder.path / 'looks' / 'red.json')!r})"
    file = folder.file.read_text()
    assert file.count("def scene():\n") == 1
    folder.file.write_text(head + file.replace("def scene():\n", f"def scene():\n    {read}.read()\n"))
    assert run_without_browser(folder.file).returncode == 3
    with Store(folder.path / "runner.db") as store:
        assert {source.name for source in store.reader.sources(1)} == {"study.py", *files}
    assert (folder.path / "results/good/.database").read_text().strip() == str(folder.path / "runner.db")
    folder.finish()
    changed = str(outside) if changed == "outside" else changed
    (folder.path / changed).write_text(files[changed].replace("red", "blue"))
    told = run_without_browser(folder.file, "--set", "n=12").stderr
    assert f"{changed} changed after 6 of 6 jobs were rendered" in told
    folder.finish()
    report = within("report", "--db", folder.path / "runner.db").stdout
    assert f"warning   {changed} changed after 6 of 12 done jobs" in report and "source " not in report


def test_what_is_installed_below_the_folder_is_no_part_of_the_campaign(folder):
    """Only the user's own modules count, and an asset once it was given out, by its content."""
    assets = folder.path / "meshes"
    assets.mkdir()
    (assets / "wood.png").write_bytes(b"wood")
    folder.write('    yield {"i": 0}')
    folder.file.write_text(
        folder.file.read_text().replace('Campaign("good")', 'Campaign("good", assets="meshes")')
    )
    campaign = load_campaign(folder.file)
    assert set(campaign.sources.current()) == {"study.py"}
    code = campaign.code_sha256
    for content in (b"wood", b"oak"):
        (assets / "wood.png").write_bytes(content)
        assert campaign.assets.find(campaign.asset("wood.png")) is not None
        assert campaign.sources.current()["meshes/wood.png"] == hashlib.sha256(content).hexdigest()
    assert load_campaign(folder.file).code_sha256 == code
