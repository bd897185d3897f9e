"""Jobs are taken again on purpose, also done ones: chosen by key, by suspicion, by an expression that is no code."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import within

from runner.errors import UsageError
from runner.job import Outcome, Place
from runner.report import Where
from runner.results import RenderJob, ResultsFolder
from runner.store import Store

ROW = {
    "key": "a",
    "light": 4,
    "mean": 0.5,
    "kind": "cup",
    "matrix": [1, 0, 7],
    "none": None,
    "params/key": "k",
    "metrics/light": 9,
}


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("light > 3", True),
        ("light > 3 and kind == 'cup'", True),
        ("light > 5 or not mean < 0.1", True),
        ("1 < light <= 4", True),
        ("kind in ['cup', 'mug']", True),
        ("'u' in kind", True),
        ("matrix[2] == 7 and matrix[-1] == 7", True),
        ("light % 2 == 0 and -light < 0", True),
        ("none is None", True),
        ("params.key == 'k' and metrics.light == 9 and params.light == 4", True),
        ("other > 3 or light > 3", True),
        ("kind > 3", False),
        ("light / 0 > 1", False),
        ("matrix[9] == 1", False),
        ("other > 3", False),
        ("kind * 999999999 == 'x'", False),
    ],
)
def test_an_expression_is_true_of_a_job_or_not(text, is_true):
    """Comparisons of names, numbers, texts and lists; what cannot be compared is not true."""
    assert Where(text)(ROW) is is_true


@pytest.mark.parametrize(
    "text",
    [
        "", "light >", "light = 3", "__import__('os').system('true')", "kind.upper() == 'CUP'", "[x for x in kind]",
        "lambda: 1", "light ** 9", "f'{kind}'", "params.__class__.x", "(light := 3)", "x.y.z", "b'x' == kind", "`a`",
    ],
)  # fmt: skip
def test_what_is_no_such_expression_is_refused(text):
    """No call, no attribute, nothing that runs code or never ends; the message has an example."""
    with pytest.raises(UsageError, match=r"--where .*light > 3"):
        Where(text)


def test_a_name_that_no_job_has_is_refused():
    """A misspelt param finds nothing, and that is no answer."""
    where = Where("lihgt > 3 and light > 3")
    assert where(ROW) is False
    with pytest.raises(UsageError, match="no job has a param, metric or column 'lihgt'"):
        where.check()


class Night:
    """Four done jobs v0 to v3 with a file and a metric `light`, the last one suspect, and a failed one."""

    def __init__(self, folder):
        self.database = folder / "runner.db"
        self.results = ResultsFolder(folder / "results", "again")
        with Store(self.database) as store:
            jobs = [*((f"v{n}", {"i": n}) for n in range(4)), ("bad", {"i": 9})]
            store.submit("again", jobs, place=Place(results=str(self.results.root)))
            store.write_parameters(1, {})
        self.render("first")

    def render(self, text: str) -> None:
        with Store(self.database) as store, ThreadPoolExecutor(1) as writer:
            worker_id = store.start_worker(1)
            while leases := store.claim(worker_id, 1):
                job = RenderJob(leases[0], self.results, writer)
                job.save("note.txt", f"{text} {job.key}")
                job.log(light=job.params["i"])
                if job.key == "bad":
                    job.abandon()
                    store.reclaim(leases[0], "crash")
                    store.reclaim(store.claim(worker_id, 1)[0], "crash")
                    store.reclaim(store.claim(worker_id, 1)[0], "crash")
                    continue
                outcome = job.finish()
                suspicion = "one colour" if job.key == "v3" else ""
                outcome = Outcome(outcome.artifacts, outcome.metrics, suspicion=suspicion)
                store.complete(leases[0], outcome)
                self.results.remove_earlier(leases[0], outcome.artifacts)
            store.end_worker(worker_id)

    def retry(self, *arguments: str):
        return within("retry", "--db", self.database, *arguments)

    def pending(self) -> list[str]:
        with Store(self.database) as store:
            return [row["key"] for row in store.reader.jobs(1) if row["status"] == "pending"]

    def files(self) -> dict[str, str]:
        files = sorted(self.results.folder.rglob("note.txt"))
        return {path.parent.name: path.read_text() for path in files}


@pytest.fixture
def night(tmp_path) -> Night:
    return Night(tmp_path)


@pytest.mark.slow
def test_a_done_job_is_taken_again_and_its_files_are_kept_until_then(night):
    """Named by its key; the old picture stays until the new one is there, and then goes."""
    told = night.retry("--key", "v1")
    assert told.exit_code == 0 and "v1 is done: add --done to take it again" in told.stderr
    assert night.pending() == [] and night.retry("--key", "v9").exit_code == 2
    assert "1 job is pending again" in night.retry("--done", "--key", "v1").stderr
    assert night.pending() == ["v1"] and night.files()["v1"] == "first v1"
    verified = within("verify", "--db", night.database).stdout
    assert "3 files of 3 done jobs: all are whole" in verified and "orphaned" not in verified
    night.render("second")
    assert night.files() == {"v0": "first v0", "v1~2": "second v1", "v2": "first v2", "v3": "first v3"}
    assert not (night.results.folder / "jobs" / "0000" / "v1").exists()
    assert within("verify", "--db", night.database).exit_code == 0


@pytest.mark.slow
def test_suspects_and_what_an_expression_finds_are_taken_again(night):
    """--suspect, and --where over params and metrics, of done and of failed jobs; a filter must narrow --done."""
    assert night.retry("--done").exit_code == 2
    assert night.retry("--done", "--where", "lihgt > 1").exit_code == 2 and night.pending() == []
    night.retry("--suspect")
    assert night.pending() == ["v3"]
    night.retry("--done", "--where", "light > 0 and i < 3")
    assert night.pending() == ["v1", "v2", "v3"]
    night.retry("--where", "i == 9")
    assert night.pending() == ["v1", "v2", "v3", "bad"]
