"""The report's faces: one page that needs nothing, CSV, Markdown; the sheets; what is counted for them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from checks import make_bad_night
from pictures import picture
from PIL import Image
from processes import within

from runner.job import Artifact, Extent, Lease, Outcome, Place, Policy, Provenance
from runner.report import LastLook, summarize, to_text
from runner.report import page_of as page_file_of
from runner.report.charts import hours_of
from runner.report.timings import Timings
from runner.results import RenderJob, ResultsFolder, contact_sheet
from runner.store import Store

EVIL = "RuntimeError: \x1b[31m</script><script>document.title = 'taken'</script>\n| `x` |" + 10_000 * "!"


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Path:
    """The database of a bad night: failures of four kinds, blanks, a killed browser, a pause."""
    return make_bad_night.make(tmp_path_factory.mktemp("night"), jobs=240)


def page_of(database: Path, file: Path) -> str:
    end = within("report", "--db", database, "--html", file)
    assert end.exit_code == 0, end.output
    # Where it takes long, a line says so before.
    assert end.stderr.splitlines()[-1] == f"written to {file}"
    return file.read_text()


def data_in(page: str) -> dict:
    """What the page's script draws."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    )


@contextmanager
def opened(full_browser: str, file: Path, width: int, scheme: str = "light"):
    """The page in a browser that has no network; it must raise and ask for nothing."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=full_browser, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        page = context.new_page()
        odd = []
        page.on("pageerror", lambda error: odd.append(str(error)))
        page.on("console", lambda message: odd.append(message.text))
        page.on("request", lambda asked: odd.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(file.as_uri())
        yield page
        assert odd == []
        browser.close()


def shot(page, name: str, folder: Path) -> Image.Image:
    """A picture of the whole page; it is kept where RUNNER_SCREENSHOTS names a folder."""
    path = Path(os.environ.get("RUNNER_SCREENSHOTS", folder)) / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    with Image.open(path) as image:
        return image.convert("L").copy()


def test_the_page_in_a_browser(night, tmp_path, full_browser):
    """Verdict, pictures, charts and failures are there; filter, arrow keys and plot work, without any network."""
    file = night.parent / "page.html"
    data = data_in(page_of(night, file))["campaigns"][0]
    with opened(full_browser, file, 1280) as page:
        assert data["summary"]["verdict"] in page.text_content("h1")
        assert page.title() == data["summary"]["verdict"]
        widths = "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth)))"
        assert min(page.locator("img").evaluate_all(widths)) > 0
        assert page.locator(".pair").count() == len(data["gallery"]["failed"]) + len(
            data["gallery"]["suspects"]
        )
        assert (
            page.locator("section > svg rect.stop").count() == 1 and page.locator("rect.busy").count() > 100
        )
        rows = page.locator("#failures tbody tr")
        every = rows.count()
        page.fill("input[type=search]", "cracked ASSETERROR")
        assert 0 < rows.count() < every
        assert all("cracked" in text for text in rows.all_text_contents())
        page.locator(".sheet .picture").first.click()
        first = page.locator("dialog code").first.text_content()
        page.keyboard.press("ArrowRight")
        assert page.locator("dialog code").first.text_content() != first
        page.keyboard.press("ArrowLeft")
        assert page.locator("dialog code").first.text_content() == first
        # The picture itself, from beside the page, and not the small one.
        large = page.locator("dialog img")
        assert large.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
        page.keyboard.press("Escape")
        page.select_option("select[aria-label=across]", "mug")
        page.locator("path.point.failed").last.click(force=True)
        assert page.locator("dialog b.failed").count() == 1
        page.keyboard.press("Escape")
        light = shot(page, "desktop", tmp_path)
        page.emulate_media(media="print")
        assert not page.locator(".command button").first.is_visible()
        shot(page, "print", tmp_path)
    with opened(full_browser, file, 390) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        shot(page, "phone", tmp_path)
    with opened(full_browser, file, 1280, "dark") as page:
        dark = shot(page, "dark", tmp_path)
    assert light.getpixel((3, 3)) > 200 and dark.getpixel((3, 3)) < 60


def test_what_errors_say_is_text_in_the_page(tmp_path, full_browser):
    """An error, a key and a param with markup run nothing, end nothing, and are read as they are."""
    file = tmp_path / "page.html"
    with Store(tmp_path / "runner.db") as store:
        jobs = [
            ("</script><b>key", {"</script>": "<img src=x onerror=\"document.title='taken'\">"}),
            ("b", {"x": 1}),
        ]
        campaign_id, _ = store.submit("night", jobs, Policy(max_failures=1))
        for lease in store.claim(store.start_worker(campaign_id), campaign_id, 2):
            store.fail(lease, EVIL, f"Traceback\n{EVIL}")
    source = page_of(tmp_path / "runner.db", file)
    assert len(source) < 100_000
    (group,) = data_in(source)["campaigns"][0]["summary"]["failures"]
    assert group["reason"].isprintable() and len(group["reason"]) <= 300
    with opened(full_browser, file, 800) as page:
        assert page.title() == "night: finished, but 2 of 2 jobs failed"
        assert "<script>document.title = 'taken'</script>" in page.text_content(".reason h3")
        assert "onerror" in page.text_content("#failures") and page.locator("main img").count() == 0


@pytest.mark.slow
def test_a_page_stays_small(tmp_path):
    """Under 5 MB, however large the pictures and the params of a campaign are."""
    noise, long = picture("JPEG", (640, 480)), {f"text_{n}": chr(97 + n) * 200 for n in range(24)}
    with Store(tmp_path / "runner.db") as store, ThreadPoolExecutor(1) as executor:
        place = Place(results=str(tmp_path / "results"))
        jobs = [{"n": n} | long for n in range(1000)]
        campaign_id, _ = store.submit("night", jobs, Policy(max_failures=1), place)
        results = ResultsFolder(tmp_path / "results", "night")
        for number, lease in enumerate(store.claim(store.start_worker(campaign_id), campaign_id, 1000)):
            if number % 10:
                store.fail(lease, f"OSError: {number}" + 2000 * "x")
                continue
            files = RenderJob(lease, results, executor)
            files.save("rgb.jpg", noise)
            outcome = files.finish()
            store.complete(lease, Outcome(outcome.artifacts, outcome.metrics, suspicion="blank"))
    page = page_of(tmp_path / "runner.db", tmp_path / "page.html")
    assert len(page.encode()) < 5_000_000
    gallery = data_in(page)["campaigns"][0]["gallery"]
    assert len(gallery["rows"]) > 50 and sum(bool(one["thumbnail"]) for one in gallery["sheet"]) > 10


def test_csv_has_a_line_a_campaign_and_the_json_s_numbers(night):
    """A spreadsheet reads what --json tells."""
    (row,) = csv.DictReader(io.StringIO(within("report", "--db", night, "--csv").stdout))
    (summary,) = json.loads(within("report", "--db", night, "--json").stdout)
    for name in ("campaign", "total", "done", "failed", "done_after_retry", "jobs_per_s"):
        assert row[name] == str(summary[name])
    assert float(row["p95_s"]) == summary["duration_s"]["p95"]
    assert int(row["suspects"]) == len(summary["suspects"]) > 0
    assert row["most_frequent_reason"] == summary["failures"][0]["reason"]


def test_markdown_is_a_table_whatever_errors_say(tmp_path):
    """Bars, backticks, line breaks and markup of an error are text in its one cell."""
    with Store(tmp_path / "runner.db") as store:
        campaign_id, _ = store.submit("night", [("a|b", {})], Policy(max_failures=1))
        (lease,) = store.claim(store.start_worker(campaign_id), campaign_id)
        store.fail(lease, EVIL)
    text = within("report", "--db", tmp_path / "runner.db", "--markdown").stdout
    (row,) = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert r"\<script\>" in row and r"\`x\`" in row and text.startswith("## night: finished")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--json", "--csv"], "give only one of --json, --csv, --markdown and --html"),
        (["--open"], "add --html FILE"),
        (
            ["--html", "no/such/folder/page.html"],
            "cannot be written to no/such/folder/page.html: No such file",
        ),
    ],
)
def test_a_face_that_cannot_be_shown_is_refused_by_name(night, options, said):
    """One line that says what to type instead."""
    end = within("report", "--db", night, *options)
    assert end.exit_code == 2 and said in end.stderr and "Traceback" not in end.stderr


@pytest.mark.parametrize("has_browser", [True, False])
def test_a_page_is_opened_and_a_missing_browser_is_said(night, tmp_path, monkeypatch, has_browser):
    """In the browser that BROWSER or the system names; where there is none, the address is there to be copied."""
    opened, file = [], tmp_path / "a page.html"
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or has_browser)
    end = within("report", "--db", night, "--html", file, "--open")
    assert end.exit_code == 0 and opened == [file.as_uri()]
    assert (
        f"no browser could be started here; open this yourself: {file.as_uri()}" in end.stderr
    ) != has_browser


def test_the_summary_tells_a_bad_browser_from_a_bad_scene(night):
    """Each reason with the sessions it befell, the picture that was kept, and what was done after all."""
    with Store(night) as store:
        summary = summarize(store.reader, store.reader.campaigns()[0])
    by_word = {group.reason.split(":")[0]: group for group in summary.failures}
    assert set(by_word) == {"AssetError", "ValueError", "TimeoutError", "RuntimeError"}
    assert by_word["AssetError"].sessions > 3 and by_word["AssetError"].evidence is None
    assert (
        Path(by_word["ValueError"].evidence).is_absolute() and Path(by_word["ValueError"].evidence).exists()
    )
    assert sum(group.count for group in summary.failures) == summary.failed
    assert sum(session.done for session in summary.sessions) == summary.done
    assert sum(session.tries for session in summary.sessions) == sum(tries.count for tries in summary.tries)
    assert summary.done_after_retry > 0 and summary.last_run.done == summary.done
    assert [one.took_s for one in summary.slowest] == sorted(
        (one.took_s for one in summary.slowest), reverse=True
    )
    text = to_text(summary)
    assert f"({summary.done_after_retry} after a retry)" in text
    assert str(by_word["ValueError"].evidence) in text


def test_sqlite_and_postgresql_tell_the_same_page(store, clock, tmp_path):
    """Counts, groups, hours and the jobs that are shown come from either database."""
    place = Place(results=str(tmp_path))
    campaign_id, _ = store.submit("night", ({"n": n} for n in range(12)), Policy(max_failures=1), place)
    worker_id = store.start_worker(campaign_id)
    session_id = store.start_session(worker_id, campaign_id, Provenance("browser-1"))
    artifact = Artifact("rgb.jpg", "night/rgb.jpg", 3, "0", "image/jpeg")
    for number, lease in enumerate(store.claim(worker_id, campaign_id, 12, session_id)):
        clock.now += 5.0
        if number % 4 == 3:
            store.fail(lease, f"OSError: {number}", "Traceback")
        else:
            store.complete(
                lease, Outcome((artifact,), {"mean": 1.5}, suspicion="blank" if number == 2 else "")
            )
    page = page_file_of(store.reader, store.reader.campaign(campaign_id))
    (group,) = page.summary.failures
    assert (page.summary.done, group.reason, group.count, group.sessions) == (9, "OSError: N", 3, 1)
    assert page.summary.sessions[0].done == 9 and page.summary.attempts == {"failed": 3}
    assert sum(page.hours.done) == 9 and sum(page.hours.failed) == 3 and sum(page.spread.counts) > 0
    assert [shown.values for shown in page.gallery.rows] == [{"n": 3}, {"n": 7}, {"n": 11}]
    assert [shown.neighbour.values["n"] for shown in page.gallery.failed] == [1, 6, 10]
    (suspect,) = page.gallery.suspects
    assert (suspect.values, suspect.outcome, suspect.neighbour.values["n"]) == (
        {"n": 2, "mean": 1.5},
        "suspect",
        1,
    )
    assert store.reader.sample_pictures(campaign_id, 1, 2)[0][:2] == (
        Extent("night/rgb.jpg", None, 3),
        page.gallery.sheet[0].key,
    )


def test_browsers_replaced_in_good_time_are_one_line(night):
    """What is no fault takes one line with its count; what is one has its own, with its time."""
    with Store(night) as store:
        summary = summarize(store.reader, store.reader.campaigns()[0])
    routine = sum(event.count for event in summary.events if event.is_routine)
    lines = [line for line in to_text(summary).splitlines() if line.startswith("  browser")]
    assert len(lines) == 2 and routine > 1
    assert re.search(r"\d\d:\d\d it was killed by signal 9$", lines[0])
    assert (
        lines[1] == f"  browser   {routine} replaced as planned, most often because it has rendered 26 jobs"
    )


def test_a_long_job_is_busy_in_every_bin_that_it_spans():
    """Lanes show time at work, and not moments of being done."""
    session = {"id": 7, "started_ts": 1000.0}
    worker = {"started_ts": 1000.0, "beat_ts": 1100.0}
    done, failed = (
        Timings([[(1, 7, 1010.0, 1040.0), (2, 7, 1050.0, 1050.5)]]),
        Timings([[(3, 7, 1060.0, 1062.0)]]),
    )
    events = [
        {"ts": 1080.0, "kind": "pause", "message": "full"},
        {"ts": 1090.0, "kind": "resume", "message": "well"},
    ]
    hours = hours_of(done, failed, [worker], [session], events, lambda _: "browser-1.2")
    (lane,) = hours.lanes
    assert lane.name == "browser-1" and hours.bin_s == 1.0 and sum(hours.done) == 2 and sum(hours.failed) == 1
    assert lane.busy[9] == 0.0 and lane.busy[10:40] == (1.0,) * 30 and lane.busy[40] == 0.0
    assert lane.busy[50] == 0.5 and lane.busy[60:63] == (1.0, 1.0, 0.0)
    assert [(stop.from_ts, stop.to_ts) for stop in hours.stops] == [(1080.0, 1090.0)]


def test_nights_with_a_day_between_them_are_not_one_chart():
    """The last one is drawn, not a week of nothing."""
    workers = [{"started_ts": day * 86400.0, "beat_ts": day * 86400.0 + 3600.0} for day in (1, 2, 5)]
    hours = hours_of(Timings([]), Timings([]), workers, [], [], str)
    assert hours.start_ts == 5 * 86400.0 and len(hours.done) * hours.bin_s < 4000.0


def test_what_changed_since_one_last_looked_is_told(tmp_path, monkeypatch):
    """By counts and by reasons; the note lies in the user's own folder, and not beside the campaign."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "night"
    folder.mkdir()
    with Store(folder / "runner.db") as store:
        campaign_id, _ = store.submit("night", ({"n": n} for n in range(5)), Policy(max_failures=1))
        worker_id = store.start_worker(campaign_id)
        leases = store.claim(worker_id, campaign_id, 5)
        look = lambda: summarize(store.reader, store.reader.campaign(campaign_id))
        last = LastLook(store.database.address, "night")
        assert last.since(look()) is None
        store.fail(leases[0], "KeyError: old")
        last.note(look())
        store.complete(leases[1])
        store.fail(leases[2], "OSError: new")
        since = last.since(look())
    assert (since.done, since.failed, since.suspects) == (1, 1, 0)
    assert since.new_reasons == ("OSError: new",) and since.gone_reasons == ()
    before = sorted(path.name for path in folder.iterdir())
    page = page_of(folder / "runner.db", tmp_path / "page.html")
    assert data_in(page)["campaigns"][0]["summary"]["since"]["new_reasons"] == ["OSError: new"]
    again = page_of(folder / "runner.db", tmp_path / "page.html")
    assert data_in(again)["campaigns"][0]["summary"]["since"]["new_reasons"] == []
    assert sorted(path.name for path in folder.iterdir()) == before


def test_sheets_of_suspects_and_failures_have_captions_and_frames(night, tmp_path):
    """A run leaves a sheet of each; a frame's colour tells them apart, and a caption names the job."""
    with Store(night) as store:
        summary = summarize(store.reader, store.reader.campaigns()[0])
    sizes = {}
    for name in ("contact_sheet", "suspects_sheet", "failures_sheet"):
        with Image.open(getattr(summary, name)) as image:
            sizes[name] = image.size
    assert sizes["suspects_sheet"] == (160 * len(summary.suspects), 134)
    plain, red = tmp_path / "plain.png", tmp_path / "sheet.jpg"
    Image.new("RGB", (160, 120), "black").save(plain)
    contact_sheet([plain, plain], red, captions=["one", "two"], colours=["", "#ff0000"])
    with Image.open(red) as image:
        assert image.getpixel((1, 60))[0] < 60 < 180 < image.getpixel((161, 60))[0]
        assert max(image.crop((4, 121, 40, 133)).convert("L").tobytes()) > 200


def test_a_lost_results_folder_costs_the_pictures_only(night, tmp_path):
    """The page says what it knows; what it has no picture of, it says so."""
    moved = tmp_path / "runner.db"
    moved.write_bytes(night.read_bytes())
    gallery = data_in(page_of(moved, tmp_path / "page.html"))["campaigns"][0]["gallery"]
    assert gallery["rows"] and not any(one["thumbnail"] for one in gallery["sheet"])


def test_a_campaign_that_has_done_nothing_has_a_page(tmp_path, full_browser):
    """Also before the first job, and for a campaign without any."""
    with Store(tmp_path / "runner.db") as store:
        store.submit("night", [{"n": 1}])
        store.submit("empty", [])
        assert isinstance(store.claim(store.start_worker(1), 1)[0], Lease)
        store.start_session(1, 1, Provenance("browser-1"))
    page_of(tmp_path / "runner.db", tmp_path / "page.html")
    with opened(full_browser, tmp_path / "page.html", 800) as page:
        assert "night: unfinished" in page.text_content("h1")
        page.select_option("select[aria-label=campaign]", "1")
        assert "empty: no jobs" in page.text_content("h1")
