"""A job in a zip file: what one sends to a colleague, and what becomes of it there."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile

import pytest
from campaigns import GOOD
from processes import run, within

from runner.campaign import load_campaign, read_pack, write_pack
from runner.errors import UsageError
from runner.job import Job, Place, Policy
from runner.store import Store

CAMPAIGN = GOOD.replace('Campaign("good")', 'Campaign("packed", assets="../meshes")').replace(
    "from runner import Campaign", "from runner import Campaign\nimport packed_tools"
)


@pytest.fixture
def campaign_file(tmp_path, monkeypatch):
    """A campaign with a module beside it and an assets folder beside its own."""
    for folder in ("home/scenes", "home/meshes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "home/meshes/cup.obj").write_text("v 0 0 0")
    (tmp_path / "home/meshes/unused.obj").write_text("v 1 1 1")
    (tmp_path / "home/scenes/packed_tools.py").write_text("SIZE = 3\n")
    monkeypatch.delitem(sys.modules, "packed_tools", raising=False)
    file = tmp_path / "home/scenes/packed.py"
    file.write_text(CAMPAIGN)
    return file


def test_a_pack_has_all_that_the_job_is_rendered_from_and_no_more(campaign_file, tmp_path):
    """The file, its modules and the assets that were used; unpacked, the campaign finds them where it looks."""
    campaign = load_campaign(campaign_file)
    cup = str(tmp_path / "home/meshes/cup.obj")
    gone = str(tmp_path / "home/meshes/gone.obj")
    left_out = write_pack(
        tmp_path / "job.zip", campaign, Job({"x": 1}, "one"), {"now": "failed"}, [cup, gone]
    )
    assert list(map(str, left_out)) == [gone]
    with zipfile.ZipFile(tmp_path / "job.zip") as archive:
        names = set(archive.namelist())
        index = json.loads(archive.read("job.json"))
    files = {
        f"files/{name}"
        for name in ("scenes/packed.py", "scenes/packed_tools.py", "meshes/cup.obj", "meshes/")
    }
    assert names == files | {"job.json"} and index["versions"]["vuer"] and index["told"] == {"now": "failed"}
    shutil.rmtree(tmp_path / "home")
    pack = read_pack(tmp_path / "job.zip", tmp_path / "elsewhere")
    assert pack.job == Job({"x": 1}, "one")
    assert "/files/" in load_campaign(pack.file, pack.settings).asset("cup.obj")


def test_what_is_no_pack_is_refused_by_name(tmp_path):
    """Not a zip file, a zip file of something else, and none at all."""
    (tmp_path / "text.zip").write_text("hello")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    for name, message in [
        ("text.zip", "is not a job"),
        ("other.zip", "is not a job"),
        ("none.zip", "cannot read"),
    ]:
        with pytest.raises(UsageError, match=message):
            read_pack(tmp_path / name, tmp_path / "out")
    for more in (["--watch"], ["--index", "1"]):
        assert within("preview", tmp_path / "text.zip", *more).exit_code == 2


@pytest.mark.usefixtures("browser_path")
def test_explain_packs_a_job_and_preview_renders_it_elsewhere(campaign_file, tmp_path):
    """With its last picture and what explain tells; the one who gets it needs nothing else."""
    database = tmp_path / "runner.db"
    with Store(database) as store:
        place = Place(str(campaign_file), str(tmp_path))
        campaign_id, _ = store.submit("packed", [("one", {"x": 1})], Policy(max_failures=1), place)
        (lease,) = store.claim(store.start_worker(campaign_id), campaign_id)
        picture = tmp_path / "packed" / "evidence" / "one~1.jpg"
        picture.parent.mkdir(parents=True)
        picture.write_text("picture")
        store.fail(lease, "E: one", "Traceback …")
    end = within("explain", "one", "--db", database, "--pack", tmp_path / "job.zip")
    assert end.exit_code == 0 and "wrote " in end.output
    with zipfile.ZipFile(tmp_path / "job.zip") as archive:
        assert archive.read("pictures/one~1.jpg") == b"picture"
        assert json.loads(archive.read("job.json"))["told"]["attempts"][0]["error"] == "E: one"
    assert within("explain", "one", "--db", database, "--pack", tmp_path / "job.tar").exit_code == 2
    shutil.rmtree(tmp_path / "home")
    end = run("preview", tmp_path / "job.zip", "--json")
    told = json.loads(end.stdout)
    assert (told["status"], told["suspicion"], end.returncode) == ("done", "no file was saved", 1), end.stderr
