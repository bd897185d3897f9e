"""Whatever JSON a campaign's params and metrics are, it leaves whole: rows, metrics.pkl, every export, read back."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from campaigns import read_metrics
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from needs import IN_CI
from PIL import Image

import runner
from runner.errors import ExportError
from runner.export import FORMATS, export
from runner.job import Policy
from runner.results import COLUMNS, MetricsLog, RenderJob, ResultsFolder
from runner.results.metrics import is_exact
from runner.store import Store

# webdataset 1.0 and imageio 2.38 leave files to the garbage collector when they read.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ODD = ["", " ", "caf\udce9.obj", "\ud83e", "a\0b", "a\rb", "a\nb", "\u2028", 'a"b,c', "=1+1", "🪑", "x" * 300]
TEXT = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=()), max_size=8)
CLOSE = [
    "a",
    "b",
    "params/a",
    "metrics/a",
    "params/key",
    "artifacts",
    "file_name",
    "filename",
    "image",
    "picture",
]
NAME = st.sampled_from([*CLOSE, *COLUMNS]) | TEXT
INTEGER = st.integers() | st.sampled_from([2**53 + 1, 2**63, 2**64, -(2**70), 2**128 - 1, 10**400])
SCALAR = st.none() | st.booleans() | INTEGER | st.floats() | TEXT
JSON = st.recursive(
    st.none() | st.booleans() | INTEGER | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
POSE = {"matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], "fov": 50}
# Others are refused when they are added, and by name.
KEY = st.sampled_from(["a", "a~2", "..", "a/b", "🪑 é", "test-1", "x" * 200]) | st.text(
    "ab é.%~-", min_size=1, max_size=5
)
JOB = st.tuples(
    KEY,
    st.dictionaries(NAME, JSON, max_size=4).map(lambda params: POSE | params),
    st.dictionaries(NAME, SCALAR, max_size=4),
)


def picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((16, 16), 90).convert("RGB").save(file, "PNG")
    return file.getvalue()


class Night:
    """A campaign of these jobs, done and logged without a browser."""

    def __init__(self, folder: Path, jobs):
        self.folder, self.root = folder, folder / "results"
        results = ResultsFolder(self.root, "night")
        with Store(folder / "runner.db") as store, ThreadPoolExecutor(1) as writer:
            campaign_id, _ = store.submit("night", [(key, params) for key, params, _ in jobs], Policy())
            metrics_of = {key: metrics for key, _, metrics in jobs}
            for lease in store.claim(store.start_worker(campaign_id), campaign_id, count=len(jobs)):
                job = RenderJob(lease, results, writer)
                job.save("rgb.png", picture())
                job.save("meta.json", {"params": lease.params, "metrics": metrics_of[lease.key]})
                job.log(**metrics_of[lease.key])
                store.complete(lease, job.finish())
            log = MetricsLog(store, campaign_id, results)
            log.sync()
            self.is_log_exact = is_exact(store.reader, campaign_id, results)
            log.close()
            with store.database.read() as connection:
                texts = connection.exec_driver_sql("SELECT metrics FROM result").fetchall()
            for text in [*(row[0] for row in texts), *map(Path.read_text, self.root.rglob("*.json"))]:
                json.loads(text, parse_constant=pytest.fail)
        self.table = runner.open(folder / "runner.db")["night"]
        self.rows = list(self.table.rows())

    def export(self, format: str, name: str) -> Path | None:
        """None where it was refused, in one line that names what is in the way."""
        try:
            export(self.table, self.root, format, self.folder / name)
        except ExportError as error:
            message = str(error)
            assert message.isprintable() and len(message) < 1000, message
            assert "has one type for each column" in message or "pose" in message, message
            return None
        return self.folder / name


def escaped(value):
    """As exports tell it."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if isinstance(value, dict):
        return {escaped(name).replace("\0", "\\x00"): escaped(inner) for name, inner in value.items()}
    return value


def finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def in_json(row):
    return {name: finite(value) for name, value in row.items()}


def bare(value):
    """Without the fields that a struct has for other rows' sake; 1 and 1.0 alike."""
    if isinstance(value, dict):
        return {name: bare(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return (
        float(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
        else value
    )


def check_values(row, params, metrics):
    """Every value is there, under its own name or the prefixed one."""
    for kind, values in (("params", params), ("metrics", metrics)):
        for name, value in escaped(values).items():
            told = row.get(f"{kind}/{name}", row.get(name))
            assert repr(told) == repr(value) or told == value, (kind, name, told, value)


def check_tables(night: Night):
    expected = list(map(in_json, night.rows))
    path = night.export("jsonl", "t.jsonl")
    if path is not None:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == expected
    path = night.export("csv", "t.csv")
    if path is not None:
        with open(path, encoding="utf-8", newline="") as file:
            names, *cells = csv.reader(file)
        for row, of_row in zip(night.rows, cells, strict=True):
            assert set(row) <= set(names) and len(names) == len(of_row)
            for name, cell in zip(names, of_row):
                value = row.get(name)
                if isinstance(value, (list, dict)):
                    assert json.loads(cell) == value
                else:
                    assert cell == ("" if value is None else str(value))
    path = night.export("parquet", "t.parquet")
    if path is not None:
        for row, told in zip(night.rows, pq.read_table(path).to_pylist(), strict=True):
            for name, value in told.items():
                wanted = row.get(name)
                if isinstance(value, str) and not isinstance(wanted, str):
                    value = json.loads(value)
                assert repr(bare(value)) == repr(bare(wanted)), name


def check_folders(night: Night):
    import webdataset
    from datasets import load_dataset

    path = night.export("imagefolder", "images")
    if path is not None:
        cache = str(night.folder / "cache")
        read = load_dataset("imagefolder", data_dir=str(path), cache_dir=cache)["train"]
        assert [row["picture"] for row in read] == ["rgb.png"] * len(night.rows)
        keys = [row["key"] for row in read]
        assert keys == [row["key"] for row in night.rows]
    path = night.export("webdataset", "shards")
    if path is not None:
        shards = sorted(map(str, path.iterdir()))
        samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
        assert [sample["json"] for sample in samples] == list(map(in_json, night.rows))
    path = night.export("folder", "folders")
    if path is not None:
        assert len(list(path.glob("0000/*/rgb.png"))) == len(night.rows)


def check_pictures(night: Night):
    import imageio.v2 as imageio

    path = night.export("mp4", "t.mp4")
    with imageio.get_reader(path) as video:
        assert len(list(iter(video))) == len(night.rows)
    assert Image.open(night.export("sheet", "t.jpg")).size[0] == 160 * len(night.rows)
    path = night.export("nerfstudio", "nerf")
    if path is not None:
        assert len(json.loads((path / "transforms.json").read_text())["frames"]) == len(night.rows)


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, derandomize=IN_CI, print_blob=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(jobs=st.lists(JOB, min_size=1, max_size=3, unique_by=lambda job: job[0]))
def test_any_values_leave_whole(monkeypatch, jobs):
    """Any params, metrics, keys and text: in rows, DataFrame, metrics.pkl and eight exports, or refused by name."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        night = Night(Path(name), jobs)
        by_key = {row["key"]: row for row in night.rows}
        for key, params, metrics in jobs:
            check_values(by_key[key], params, metrics)
        assert night.is_log_exact and len(night.table.to_frame()) == len(jobs)
        logged = read_metrics(night.root, "night")
        for record in logged.to_dict("records"):
            assert record["key"] in by_key
        check_tables(night)
        check_folders(night)
        check_pictures(night)


def test_every_format_is_looked_at():
    """Nine of them; a tenth needs a check here."""
    assert set(FORMATS) == {
        "jsonl",
        "csv",
        "parquet",
        "imagefolder",
        "webdataset",
        "folder",
        "mp4",
        "sheet",
        "nerfstudio",
    }
    assert sys.version_info >= (3, 10)
