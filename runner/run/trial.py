"""Renders a job as a run does, in a folder of its own, without touching a campaign's database or results."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from runner.campaign import Campaign
from runner.commands import Commands
from runner.errors import UsageError
from runner.exits import ExitStatus
from runner.job import Job, Place, Policy, Status
from runner.machine import Guard, probe_descriptors
from runner.notices import Notices
from runner.reasons import harmless, one_line
from runner.report import Evidence, read_evidence, span
from runner.results import MetricsLog, ResultsFolder, shown
from runner.run.one_run import Run
from runner.run.options import RunOptions
from runner.run.process import WorkerProcess
from runner.run.say import say
from runner.run.signals import Signals
from runner.store import Reader, Store, WholeJobRow

__all__ = ["Trial", "fresh_folder", "render_apart", "try_job"]

_LOOK_EVERY_S, _LONGEST_START_S = 0.05, 60.0
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Trial:
    """The result of one job.

    status: done, failed, or pending if the run was ended before. error: why it failed; ''. suspicion: what may be wrong
    though it is done; ''. files: absolute paths of the files that it saved; pictures: the pictures among them, with
    their sizes in pixels, or the last picture of a failed job. duration_s: from its claim to its end. sources: absolute
    paths of the files that it was made from.
    """

    campaign: str
    key: str
    params: Mapping[str, Any]
    status: str
    error: str
    suspicion: str
    metrics: Mapping[str, Any]
    duration_s: float
    renderer: str
    files: tuple[str, ...]
    pictures: Mapping[str, tuple[int, int]]
    console: tuple[str, ...]
    trace: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def exit_status(self) -> ExitStatus:
        """OK only if it is done and nothing looks wrong with it."""
        is_well = self.status == Status.DONE.value and not self.suspicion
        return ExitStatus.DONE if is_well else ExitStatus.SOME_FAILED

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return asdict(self)

    def to_text(self) -> str:
        """As text for people."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        told = f"{self.campaign}: job {self.key}"
        if self.status == Status.DONE.value:
            yield f"{told} is done in {span(self.duration_s)}" + (
                ", but may be wrong" if self.suspicion else ""
            )
        elif self.status == Status.FAILED.value:
            yield f"{told} failed: {one_line(self.error)}"
        else:
            yield f"{told} was not rendered: {one_line(self.error) or 'the run ended before'}"
        yield f"  params   {one_line(json.dumps(self.params, ensure_ascii=False))}"
        if self.suspicion:
            yield f"  suspect  {one_line(self.suspicion)}"
        for name, value in self.metrics.items():
            told = f"{value:.6g}" if isinstance(value, float) else str(value)
            yield f"  metric   {one_line(f'{name} = {told}')}"
        yield from (f"  console  {one_line(line)}" for line in self.console)
        yield from (f"  | {harmless(line)}" for line in self.trace)
        for file in self.files:
            if file not in self.pictures:
                yield f"  file     {file}"
        for file, (width, height) in self.pictures.items():
            when = "" if file in self.files else ", the last one before it failed"
            yield f"  picture  {file} ({width} x {height}{when})"

    @classmethod
    def from_json(cls, text: str) -> Trial:
        """As to_json gave it."""
        values = json.loads(text)
        for name in ("files", "console", "trace", "sources"):
            values[name] = tuple(values[name])
        return cls(**values)


def try_job(
    campaign: Campaign,
    job: Job,
    options: RunOptions,
    out: Path,
    worker: WorkerProcess | None = None,
) -> Trial | ExitStatus:
    """Render the job in a fresh browser, or in a person's own tab, and put its files into out.

    out: a folder, which is created; or a file, which becomes the only saved file with that ending, or the only picture,
    converted to that ending's format. Returns only the exit status if a signal ended it. Raises a RunnerError for
    mistakes that the user can fix.
    """
    with tempfile.TemporaryDirectory(prefix="runner-preview-") as folder:
        options = replace(
            options,
            database=str(Path(folder, "trial.db")),
            results=Path(folder, "results"),
            sessions=0 if options.is_shown else 1,
        )
        status = render_apart(campaign, [job], options, worker)
        if status in (ExitStatus.INTERRUPTED, ExitStatus.TERMINATED):
            return status
        with Reader(options.database) as store:
            return _trial(store, options.results, out.absolute())


def fresh_folder(beside: Path, campaign: Campaign, job: Job) -> Path:
    """preview/CAMPAIGN/KEY in that folder, without what an earlier preview has left in it."""
    assert job.key is not None
    name = ResultsFolder("", campaign.name).attempt_folder(0, job.key, 1).name
    folder = beside / "preview" / campaign.name / name
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def render_apart(
    campaign: Campaign,
    jobs: list[Job],
    options: RunOptions,
    worker: WorkerProcess | None = None,
    measured_s: float | None = None,
) -> ExitStatus | None:
    """Render the jobs, each once, into the database and the results that the options name; both must be new.

    measured_s: begin no job before all browsers are there, and none once each has done one and so many seconds have
    passed; None: render all. Returns the same as Run.work. Raises a RunnerError.
    """
    campaign.make_scene()
    guard = Guard(say, [probe_descriptors])
    once = Policy(**vars(campaign.policy) | {"max_failures": 1, "max_crashes": 1})
    with Signals(say) as signals, Store(options.database) as store:
        place = Place(str(campaign.file), str(options.results))
        campaign_id, _ = store.submit(campaign.name, jobs, once, place)
        results = ResultsFolder(options.results, campaign.name, campaign.code_sha256)
        commands = Commands(campaign.name, options.database, str(campaign.file), str(options.results))
        if campaign.sources is not None:
            campaign.sources.listen(
                {},
                lambda source: guard.events.append((source.ts, "source", f"{source.digest} {source.name}")),
            )
        log = MetricsLog(store, campaign_id, results)
        is_over, watching = threading.Event(), None
        if measured_s is not None:
            store.set_state(campaign_id, "paused")
            arguments = (store, campaign_id, options.sessions, measured_s, is_over)
            watching = threading.Thread(target=_open_for_a_while, args=arguments, daemon=True)
            watching.start()
        try:
            one = Run(campaign, campaign_id, store, results, guard, options, commands, [], Notices((), say))
            return asyncio.run(one.work(log, signals, worker))
        finally:
            is_over.set()
            if watching is not None:
                watching.join()
            log.close()


def _open_for_a_while(
    store: Store, campaign_id: int, sessions: int, measured_s: float, is_over: threading.Event
) -> None:
    """Hand out jobs once all tabs have begun to work, until each has done one and so many seconds have passed."""

    def wait_until(fact: Callable[[], bool]) -> None:
        latest = time.monotonic() + _LONGEST_START_S
        while not is_over.wait(_LOOK_EVERY_S) and time.monotonic() < latest and not fact():
            pass

    wait_until(lambda: len(store.reader.sessions(campaign_id)) >= sessions)
    if not is_over.is_set():
        store.set_state(campaign_id, "open")
    wait_until(lambda: len(store.reader.done_by_session(campaign_id)) >= sessions)
    if not is_over.wait(measured_s):
        store.set_state(campaign_id, "cancelled")


def _trial(store: Reader, results: Path, out: Path) -> Trial:
    """The result of the only job, from the rows; moves its files out."""
    (campaign,) = store.campaigns()
    (row,) = store.rows_after(campaign["id"], 0, 1)
    attempts = store.attempts(campaign["id"])
    evidence = read_evidence(attempts[-1]["traceback"]) if attempts else Evidence()
    files, pictures = _taken_out(row, results, out)
    last = [
        ResultsFolder(results, campaign["name"]).evidence_of(row["key"], one["attempt"]) for one in attempts
    ]
    if last and last[-1] is not None:
        pictures |= _last_picture(last[-1], out)
    folder = Path(campaign["file"] or "").parent
    return Trial(
        campaign=campaign["name"],
        key=row["key"],
        params=row["params"],
        status=row["status"],
        error=row["error"] or "",
        suspicion="; ".join(reason for _, reason in store.suspects(campaign["id"])),
        metrics=row["metrics"],
        duration_s=(row["end_ts"] or 0.0) - (row["grab_ts"] or 0.0),
        renderer=row["renderer"] or "",
        files=tuple(map(str, files)),
        pictures={str(path): size for path, size in pictures.items()},
        console=evidence.console,
        trace=evidence.trace,
        sources=tuple(sorted({str(folder / source.name) for source in store.sources(campaign["id"])})),
    )


def _taken_out(row: WholeJobRow, results: Path, out: Path) -> tuple[list[Path], dict[Path, tuple[int, int]]]:
    """Move the job's files out; returns their paths, and the sizes of the pictures among them."""
    saved = {artifact["name"]: results / artifact["path"] for artifact in row["artifacts"]}
    images = [artifact["name"] for artifact in row["artifacts"] if artifact["kind"].startswith("image/")]
    if not _is_file(out):
        written = {name: out / name for name in saved}
    elif saved:
        written = {_meant(saved, images, out): out}
    else:
        written = {}
        if out.suffix.lower() in _PICTURES:
            # A file from an earlier render there is not a picture of this one.
            out.unlink(missing_ok=True)
    try:
        for name, target in written.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(saved[name], target)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {(error.strerror or str(error)).lower()}") from None
    shown_files = {written[name]: _size_of(saved[name]) for name in images if name in written}
    return list(written.values()), shown_files


def _is_file(out: Path) -> bool:
    """Whether out is a file, by its name and by what exists there."""
    return bool(out.suffix) and not out.is_dir()


def _meant(saved: Mapping[str, Path], images: list[str], out: Path) -> str:
    """The name of the saved file that should become out."""
    alike = [name for name, path in saved.items() if path.suffix.lower() == out.suffix.lower()]
    found = alike or (images if out.suffix.lower() in _PICTURES else [])
    if len(found) != 1:
        raise UsageError(
            f"the job saved {', '.join(saved)}: it is not clear which of them should be {out}; name a folder with -o, "
            "which takes all of them"
        )
    return found[0]


def _write(file: Path, target: Path) -> None:
    if file.suffix.lower() == target.suffix.lower():
        shutil.copyfile(file, target)
        return
    from PIL import Image

    with Image.open(file) as image:
        shown(image).save(target)


def _size_of(picture: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(picture) as image:
        return image.width, image.height


def _last_picture(file: Path, out: Path) -> dict[Path, tuple[int, int]]:
    """The last picture of a failed job, in the folder for its files."""
    target = out.parent / f"{out.stem}.failed{file.suffix}" if _is_file(out) else out / f"failed{file.suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    return {target: _size_of(file)}
