"""Compares the files on disk with the rows: every done job's by size and hash, and other files beside them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.commands import Commands
from runner.errors import UsageError
from runner.machine import is_gone
from runner.reasons import whole_lines
from runner.results.folder import JOBS_PER_FOLDER, MANIFEST, ResultsFolder, files_below, remove_empty
from runner.results.metrics import METRICS, MetricsLog, is_exact
from runner.results.recovery import cut_tails, tails
from runner.results.remote import address_of, names_below, probe
from runner.results.shards import FOLDER, writer_of
from runner.results.stored import moved_of
from runner.results.whose import Whose
from runner.store import EndedRow, FileRow, JobBriefRow, Reader, Store

__all__ = ["Findings", "fix", "to_text", "verify"]

# .NAME.WORKER.tmp, the worker's id in hex; see runner/results/folder.py.
_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{1,16})\.tmp")


@dataclass
class Findings:
    """What was found for one campaign; paths are relative to RESULTS, the parent of its results folder.

    missing, changed, unreadable: files of done jobs, as dicts with path, key and name. abandoned: files of unfinished
    attempts, as kills leave them. temporary: files that were being written when their writer died. elsewhere: how many
    done jobs have their files in other runners' folders, by folder; none of them was checked. orphaned: other files
    that no row names; strays: those of them in folders without any file that a row names. tails: shards with bytes at
    their end that no row knows, as kills leave them; the next run adopts them, or cuts them off. is_log_exact: whether
    metrics.pkl holds the records of the database. requeued, removed, set_aside: what fix did. fix_command: what to type
    to have it done.
    """

    campaign: str
    results: str
    fix_command: str
    jobs: int = 0
    files: int = 0
    missing: list[dict[str, str]] = field(default_factory=list)
    changed: list[dict[str, str]] = field(default_factory=list)
    unreadable: list[dict[str, str]] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    elsewhere: dict[str, int] = field(default_factory=dict)
    abandoned: list[str] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)
    is_log_exact: bool = True
    requeued: int = 0
    removed: int = 0
    set_aside: int = 0

    @property
    def is_well(self) -> bool:
        """Whether every done job's files are whole, and the log is right; other files beside them do no harm."""
        return not (self.missing or self.changed or self.unreadable) and self.is_log_exact

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return asdict(self) | {"is_well": self.is_well}


def verify(
    store: Reader,
    campaign: Mapping[str, Any],
    on_looked: Callable[[int], Any] = lambda count: None,
    threads: int | None = None,
) -> Findings:
    """Check all files of a campaign; campaign: its row. Works while a run goes on, too.

    on_looked: called with how many more jobs' files, or records in the log, were compared: in all, twice the number of
    done jobs. threads: how many read and hash; None for a few more than there are cores.
    """
    results = _results_of(store, campaign)
    command = Commands.of(campaign, store.database.address).verb("verify", "--fix")
    findings = Findings(campaign["name"], str(results.root), command)
    whose = Whose(store, campaign["id"], results)
    with ThreadPoolExecutor(threads or min(16, 2 + (os.cpu_count() or 1))) as pool:
        for folder, first_id in _shards(store, campaign["id"], results):
            _verify_shard(store, campaign["id"], results, whose, folder, first_id, findings, pool, on_looked)
    _look_beside(store, campaign["id"], results, findings)
    _look_at_shards(store, campaign["id"], results, findings)
    _look_at_objects(store, campaign, findings)
    findings.is_log_exact = is_exact(store, campaign["id"], results, on_looked)
    return findings


def _results_of(store: Reader, campaign: Mapping[str, Any]) -> ResultsFolder:
    moved = moved_of(store, campaign["id"])
    return ResultsFolder(campaign["results"], campaign["name"], moved=moved)


def _shards(store: Reader, campaign_id: int, results: ResultsFolder) -> Iterator[tuple[Path, int]]:
    """Each folder of a thousand jobs, on disk or not, and the first job id that belongs there."""
    numbers = set(range(store.last_job_id(campaign_id) // JOBS_PER_FOLDER + 1))
    if (results.folder / "jobs").is_dir():
        names = os.listdir(results.folder / "jobs")
        numbers |= {int(name) for name in names if name.isascii() and name.isdigit()}
    for number in sorted(numbers):
        yield results.folder / "jobs" / f"{number:04d}", number * JOBS_PER_FOLDER


def _verify_shard(
    store: Reader,
    campaign_id: int,
    results: ResultsFolder,
    whose: Whose,
    folder: Path,
    first_id: int,
    findings: Findings,
    pool: ThreadPoolExecutor,
    on_looked: Callable[[int], Any],
) -> None:
    # The disk is read first: files that a run writes meanwhile are then in the rows, and not the other way round.
    there = {path.relative_to(results.root).as_posix() for path in files_below(folder)}
    jobs, files, ended = store.files_between(campaign_id, first_id, first_id + JOBS_PER_FOLDER - 1)
    done_jobs = sum(job["status"] == "done" for job in jobs)
    elsewhere: dict[int, str] = {}
    done = [file for file in files if file["status"] == "done"]

    def fault_of(file: FileRow) -> str | None:
        return results.fault_of(file)

    for file, fault in zip(done, pool.map(fault_of, done)):
        if fault == "missing" and (place := whose.elsewhere(file["worker_id"])):
            elsewhere[file["job_id"]] = place
            continue
        findings.files += 1
        if fault is not None:
            hit = {"path": _told_below(file), "key": file["key"], "name": file["name"]}
            getattr(findings, fault).append(hit)
    on_looked(done_jobs)
    findings.jobs += done_jobs - len(elsewhere)
    for place in elsewhere.values():
        findings.elsewhere[place] = findings.elsewhere.get(place, 0) + 1
    known = {file["path"] for file in files}
    kept = _kept_folders(results, jobs, known)
    fruitless = _fruitless_folders(results, jobs, ended, known)
    at_work = {f"{id:x}" for id, process, _ in store.live_workers(campaign_id) if not is_gone(process)}
    for path in sorted(there - known):
        temporary = _TEMPORARY.fullmatch(path.rsplit("/", 1)[-1])
        if temporary:
            if temporary[1] not in at_work:
                findings.temporary.append(path)
        elif (
            _attempt_folder(path) not in kept[path.endswith(f"/{MANIFEST}")]
            and (results.root / path).exists()
        ):
            kind = findings.abandoned if _attempt_folder(path) in fruitless else findings.orphaned
            kind.append(path)
            if kind is findings.orphaned and _attempt_folder(path) not in kept[True]:
                findings.strays.append(path)


def _told_below(file: FileRow) -> str:
    """A file's place below RESULTS; in a shard, with its first byte."""
    return file["path"] if file["start"] is None else f"{file['path']}:{file['start']}"


def _fruitless_folders(
    results: ResultsFolder, jobs: list[JobBriefRow], ended: list[EndedRow], known: set[str]
) -> set[str]:
    """Folders of unfinished attempts, of which no file is kept."""
    keys = {job["id"]: job["key"] for job in jobs}
    folders = {
        results.attempt_folder(attempt["job_id"], keys[attempt["job_id"]], attempt["attempt"])
        for attempt in ended
        if attempt["outcome"] != "requeued"
    }
    return {folder.relative_to(results.root).as_posix() for folder in folders} - set(
        map(_attempt_folder, known)
    )


def _kept_folders(
    results: ResultsFolder, jobs: list[JobBriefRow], known: set[str]
) -> tuple[set[str], set[str]]:
    """Attempt folders in which files without a row are in order: any file, and a manifest."""
    in_flight = set()
    for job in jobs:
        for attempt in range(job["attempt"], 0, -1):
            folder = results.attempt_folder(job["id"], job["key"], attempt)
            is_current = job["status"] == "in_progress" and attempt == job["attempt"]
            # A finished attempt that a crash left behind waits for the job's turn.
            if is_current or (job["status"] in ("pending", "in_progress") and (folder / MANIFEST).exists()):
                in_flight.add(folder.relative_to(results.root).as_posix())
    return in_flight, in_flight | set(map(_attempt_folder, known))


def _attempt_folder(path: str) -> str:
    """CAMPAIGN/jobs/0000/KEY of a path below RESULTS."""
    return "/".join(path.split("/", 4)[:4])


def _look_beside(store: Reader, campaign_id: int, results: ResultsFolder, findings: Findings) -> None:
    """Temporary files beside the jobs, and files among the folders of jobs."""
    is_running = any(not is_gone(process) for _, process, _ in store.live_workers(campaign_id))
    for folder, is_orphan in ((results.folder, False), (results.folder / "jobs", True)):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name) if folder.is_dir() else ():
            if not entry.is_file(follow_symlinks=False):
                continue
            path = Path(entry.path).relative_to(results.root).as_posix()
            if entry.name.startswith(".") and entry.name.endswith(".tmp"):
                if not is_running:
                    findings.temporary.append(path)
            elif is_orphan:
                findings.orphaned.append(path)


def _look_at_shards(store: Reader, campaign_id: int, results: ResultsFolder, findings: Findings) -> None:
    """Look for bytes that no row knows at the end of shards, and for files that this database does not know."""
    folder = results.folder / FOLDER
    there = {path.relative_to(results.root).as_posix(): path for path in files_below(folder)}
    findings.tails += tails(store, campaign_id, results)
    known = {shard.path for shard in store.shards(campaign_id)} | set(findings.tails)
    for path in sorted(there.keys() - known):
        worker = store.worker(writer_of(there[path]) or 0)
        if (worker is None or worker["campaign_id"] != campaign_id) and there[path].exists():
            findings.orphaned.append(path)


def _look_at_objects(store: Reader, campaign: Mapping[str, Any], findings: Findings) -> None:
    """Look for objects that no row knows, such as an earlier database's: whoever reads all there reads them, too."""
    addresses = store.shard_addresses(campaign["id"])
    urls = {address.removesuffix(f"/{path}") for path, address in addresses.items()} | {campaign["remote"]}
    known = {shard.path for shard in store.shards(campaign["id"])}
    for url in sorted(urls - {None}):
        folder = f"{campaign['name']}/{FOLDER}"
        # If the store is away, the files in rows report it.
        with contextlib.suppress(OSError, UsageError):
            for name in names_below(address_of(url, folder)):
                if f"{folder}/{name}" not in known:
                    findings.orphaned.append(address_of(url, f"{folder}/{name}"))


def fix(store: Store, campaign: Mapping[str, Any], findings: Findings) -> None:
    """Requeue jobs with missing or changed files, take foreign files out of jobs/, and repair the log.

    Whole files of a requeued job are removed, because they will be rendered again; files in shards stay there.
    Abandoned and temporary files are removed. Changed files and strays may belong to somebody: they are moved aside,
    into a folder and to a name that no search for the files of jobs finds; orphaned files beside a job's own stay.
    Raises UsageError when the whole folder is gone, or the object store cannot be used, and WorldFault when it is away.
    """
    root = Path(findings.results)
    if findings.missing and not (root / findings.campaign).is_dir():
        raise UsageError(
            f"there is no folder {root / findings.campaign}: is its disk mounted? Nothing was changed"
        )
    for url in _stores_of(store.reader, campaign["id"], findings.missing):
        probe(url, campaign["name"])
    hits: dict[str, str] = {}
    for kind, damaged in (("missing", findings.missing), ("changed", findings.changed)):
        for hit in damaged:
            hits.setdefault(hit["key"], f"{hit['name']} is {kind}")
    for key, reason in hits.items():
        job = store.reader.job(campaign["id"], key)
        if job is None:
            continue
        _, rows, _ = store.reader.files_between(campaign["id"], job["id"], job["id"])
        # Files in a shard stay there; no row names them any more.
        files = [file for file in rows if file["start"] is None]
        if store.requeue(campaign["id"], [key], reason):
            findings.requeued += 1
            _give_up(root, [file["path"] for file in files], findings)
    if not store.reader.progress(campaign["id"]).left:
        # Otherwise the next run must recover it first.
        cut_tails(store.reader, campaign["id"], ResultsFolder(campaign["results"], campaign["name"]))
    for path in findings.strays:
        findings.set_aside += _set_aside(root, path, "orphaned")
    for path in (*findings.abandoned, *findings.temporary):
        (root / path).unlink(missing_ok=True)
        findings.removed += 1
    for folder in {*map(_attempt_folder, findings.abandoned), *map(_attempt_folder, findings.strays)}:
        remove_empty(root / folder)
    if hits or not findings.is_log_exact:
        log = MetricsLog(store, campaign["id"], ResultsFolder(campaign["results"], campaign["name"]))
        try:
            log.rebuild()
        finally:
            log.close()


def _stores_of(store: Reader, campaign_id: int, hits: Sequence[Mapping[str, str]]) -> set[str]:
    """URLs of the object stores in which these files were: a bucket that cannot be reached is not a lost file."""
    paths = {hit["path"].partition(":")[0] for hit in hits}
    addresses = store.shard_addresses(campaign_id)
    return {address.removesuffix(f"/{path}") for path, address in addresses.items() if path in paths}


def _give_up(root: Path, paths: Sequence[str], findings: Findings) -> None:
    """Remove the files of a job that will be rendered again."""
    changed = {hit["path"] for hit in findings.changed}
    for path in sorted(paths):
        if path in changed:
            findings.set_aside += _set_aside(root, path, "changed")
        else:
            (root / path).unlink(missing_ok=True)
    for folder in set(map(_attempt_folder, paths)):
        (root / folder / MANIFEST).unlink(missing_ok=True)
        remove_empty(root / folder)


def _set_aside(root: Path, path: str, why: str) -> bool:
    """Move RESULTS/CAMPAIGN/jobs/… to RESULTS/CAMPAIGN/aside/…/WHY-NAME; returns whether it existed."""
    campaign, _jobs, *folders, name = path.split("/")
    target = root.joinpath(campaign, "aside", *folders, f"{why}-{name.removeprefix('.')}")
    target.parent.mkdir(parents=True, exist_ok=True)
    count = 1
    while target.exists():
        count += 1
        target = target.with_name(f"{why}-{count}-{name.removeprefix('.')}")
    try:
        (root / path).rename(target)
    except FileNotFoundError:
        return False
    return True


def to_text(findings: Findings, limit: int = 20) -> str:
    """The findings for people: verdict first, then up to `limit` files of each kind."""
    hit = len(findings.missing) + len(findings.changed) + len(findings.unreadable)
    looked_at = f"{findings.files:,} files of {findings.jobs:,} done jobs"
    lines = [
        f"{findings.campaign}: {looked_at}: {f'{hit:,} are not as recorded' if hit else 'all are whole'}"
    ]
    if not findings.is_log_exact:
        lines.append(f"  {METRICS} differs from the database")
    for kind in ("missing", "changed", "unreadable", "orphaned", "abandoned", "temporary", "tails"):
        paths = [hit if isinstance(hit, str) else hit["path"] for hit in getattr(findings, kind)]
        lines += [f"  {kind:<11}{path}" for path in paths[:limit]]
        if len(paths) > limit:
            lines.append(f"  {kind:<11}… and {len(paths) - limit:,} more (--json lists all)")
    lines += [
        f"  elsewhere  {count:,} more done jobs have their files in {place}: verify these there"
        for place, count in findings.elsewhere.items()
    ]
    if findings.missing:
        lines.append(f"  looked in  {Path(findings.results) / findings.campaign}")
    if findings.requeued or findings.removed or findings.set_aside:
        aside = f", {findings.set_aside:,} files moved to {findings.campaign}/aside" * bool(
            findings.set_aside
        )
        lines.append(
            f"  fixed: {findings.requeued:,} jobs requeued, {findings.removed:,} left-over files removed{aside}"
        )
    elif not findings.is_well or findings.abandoned or findings.temporary or findings.strays:
        lines.append(f"  next       {findings.fix_command}")
    return whole_lines(lines)
