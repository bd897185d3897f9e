"""The rows to export, in one snapshot, their files verified."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import IO, Any

from runner.commands import Commands
from runner.errors import ExportError
from runner.export.order import Order
from runner.export.targets import bar_of, link
from runner.job import Extent
from runner.report import CampaignTable
from runner.results import ResultsFolder, Stored, fetch, is_at_rest

Row = dict[str, Any]
BATCH = 1000
_FAULTS = {"missing": "is missing", "changed": "has changed", "unreadable": "cannot be read"}


@dataclass(frozen=True)
class ExportOptions:
    """Choices of an export.

    image: which of a job's files are its pictures, a pattern such as "rgb*"; None: all images, where each job has one
    or the format keeps them apart. fps: pictures a second, for mp4.
    matrix: the param that holds the camera's pose, for nerfstudio.
    order: names of params, metrics or columns to sort the jobs by, the first first; a '-' in front means from high to
    low. Empty: as they were added. fov_deg: vertical field of view in degrees of jobs without a param fov, for
    nerfstudio. allow_incomplete: export what is whole, though jobs are not done or files are missing.
    """

    image: str | None = None
    fps: float = 24.0
    matrix: str = "matrix"
    order: tuple[str, ...] = ()
    fov_deg: float | None = None
    allow_incomplete: bool = False


class Rows:
    """The rows to export, whole in all their files when they were selected; one snapshot, however long it takes.

    columns: all names, in order. count: how many rows. left_out: how many jobs of the campaign are not among them.
    notes: lines for people about changes that the export makes to the rows.
    """

    def __init__(
        self,
        campaign: CampaignTable,
        root: Path,
        options: ExportOptions,
        spool: IO[bytes],
        of_pictures: bool,
    ):
        self.name, self.options, self.root, self._spool = campaign.name, options, root, spool
        self._results = ResultsFolder(root, campaign.name, moved=campaign.moved)
        self._moved, self._stays = campaign.moved, campaign.remote is None
        self._of_pictures = of_pictures
        self._order = Order(options.order)
        # How many of the rows' jobs lie in each shard.
        self._packed: Counter[str] = Counter()
        self.columns: list[str] = []
        self.count = 0
        self.notes: list[str] = []
        total = len(campaign)
        faults = self._select(campaign)
        self.left_out = max(0, total - self.count)
        if self.left_out and not options.allow_incomplete:
            undone = self.left_out - len(faults)
            reasons = [f"{undone:,} are not done"] * (undone > 0) + faults[:3] + ["…"] * (len(faults) > 3)
            fix = Commands(self.name, campaign.database).verb("verify", "--fix")
            mend = f"; to requeue what is not whole: {fix}" if faults else ""
            reasons += [f"looked in {self._results.folder} (--results names another)"] * bool(faults)
            folders = [f"{count:,} jobs in {place}" for place, count in campaign.folders().items() if faults]
            if folders:
                # Requeuing jobs whose files another runner has would be wrong.
                mend = ""
                reasons.append(
                    f"the files are where each runner has put them, {', '.join(folders)}: copy these "
                    "folders into one, and name that"
                )
            raise ExportError(
                f"{self.name}: {self.left_out:,} of {total:,} jobs cannot be exported: {'; '.join(reasons)}. "
                f"Run the campaign until all are done, or leave these out with --allow-incomplete{mend}"
            )
        if not self.count:
            raise ExportError(f"{campaign.name}: there is no done job to export")
        self._places = self._order.sorted(self.columns)
        self._shards = campaign.shards()

    def exact_shards(self) -> list[str]:
        """Paths of the shards that hold only jobs of these rows, and that nobody writes to any more.

        Empty where the rows are to be in another order than that in which the jobs were done.
        """
        if self.options.order:
            return []
        exact = [shard for shard in self._shards if self._packed[shard.path] == shard.jobs]
        return [
            shard.path
            for shard in exact
            if is_at_rest(self.root / shard.path, shard.size) or self._moved(shard.path) is not None
        ]

    def shard_of(self, row: Row) -> str | None:
        """The shard that holds the job's files; None where they are files of their own, or there are none."""
        return next((file["path"] for file in row["artifacts"] if "start" in file), None)

    def take_shard(self, path: str, file: Path) -> bool:
        """Link the whole shard as that file, or fetch it from an object store; returns whether it was fetched.

        Raises ExportError.
        """
        with contextlib.suppress(FileNotFoundError):
            link(self.root / path, file, may_point=self._stays)
            return False
        address = self._moved(path)
        if address is None:
            raise ExportError(f"{self.root / path} is gone; nothing was exported")
        try:
            fetch(address, file)
        except OSError as error:
            raise ExportError(f"{error}; nothing was exported") from None
        if file.stat().st_size != next(shard.size for shard in self._shards if shard.path == path):
            raise ExportError(f"{address} has changed meanwhile; nothing was exported")
        return True

    def _select(self, campaign: CampaignTable) -> list[str]:
        """Spool the rows that are whole; returns the faults of the others."""
        faults: list[str] = []
        columns: dict[str, None] = {}
        rows = campaign.rows("done")
        with ThreadPoolExecutor(8) as pool, bar_of("verify", campaign.progress.done) as bar:
            while batch := list(islice(rows, BATCH)):
                for row, fault in zip(batch, pool.map(self._fault, batch)):
                    if fault:
                        faults.append(f"{row['key']}: {fault}")
                        continue
                    columns |= dict.fromkeys(row)
                    self._order.take(row, self._spool.tell())
                    self._packed.update({file["path"] for file in row["artifacts"] if "start" in file})
                    self._spool.write(json.dumps(row).encode() + b"\n")
                    self.count += 1
                bar.update(len(batch))
        # Params and metrics that only later jobs have must still come before the files.
        columns.pop("artifacts", None)
        self.columns = [*columns, "artifacts"]
        return faults

    def _fault(self, row: Row) -> str | None:
        for file in row["artifacts"]:
            fault = self._results.fault_of(file)
            if fault:
                return f"{file['name']} {_FAULTS[fault]}"
        if self._of_pictures and not self.pictures(row):
            return f"no picture {self.options.image or ''}".rstrip()
        return None

    def __iter__(self) -> Iterator[Row]:
        with bar_of("write", self.count) as bar:
            for line in self._lines():
                yield json.loads(line)
                bar.update()

    def _lines(self) -> Iterator[bytes]:
        self._spool.seek(0)
        if self._places is None:
            while line := self._spool.readline():
                yield line
        else:
            for place in self._places:
                self._spool.seek(place)
                yield self._spool.readline()

    def note_texts(self, columns: list[str]) -> None:
        """Note which columns are text because no type fits."""
        if columns:
            told = ", ".join(columns[:5]) + ", …" * (len(columns) > 5)
            self.notes.append(f"as text, in JSON, for no type of column holds all their values: {told}")

    def pictures(self, row: Row) -> list[dict[str, Any]]:
        """The job's pictures, by name."""
        images = [file for file in row["artifacts"] if file["kind"].startswith("image/")]
        return [file for file in images if fnmatch(file["name"], self.options.image or "*")]

    def chosen(self, row: Row, at_most: int | None = None) -> list[dict[str, Any]]:
        """The job's pictures, for formats that must not mix colour and depth: of several, the user must choose."""
        pictures = self.pictures(row)
        if (len(pictures) > 1 and self.options.image is None) or len(pictures) > (at_most or len(pictures)):
            names = ", ".join(picture["name"] for picture in pictures[:3])
            raise ExportError(
                f"job {row['key']} has {len(pictures)} pictures ({names}): choose with --image PATTERN"
            )
        return pictures

    def stored(self, file: dict[str, Any]) -> Stored:
        """Where a file lies."""
        return self._results.stored(Extent(file["path"], file.get("start"), file["size"]))

    def content(self, file: dict[str, Any]) -> bytes:
        """The bytes of a file, checked to be those that were verified."""
        try:
            content = self.stored(file).read_bytes()
        except OSError as error:
            raise ExportError(f"{file['name']} cannot be read ({error}); nothing was exported") from None
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise ExportError(f"{file['path']} has changed meanwhile; nothing was exported")
        return content
