"""Exports done jobs, after verifying their files, in formats that other tools read.

A table (parquet, csv, jsonl) has a row for each job; imagefolder, webdataset and folder hold the files, too;
nerfstudio, mp4 and sheet are made from the pictures. Jobs come in the order in which they were added, or sorted by
params or metrics. The same jobs give the same bytes. The target's name appears only when all is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.errors import ExportError
from runner.export.folders import write_folder, write_imagefolder, write_webdataset
from runner.export.nerfstudio import write_nerfstudio
from runner.export.pictures import write_mp4, write_sheet
from runner.export.rows import ExportOptions, Rows
from runner.export.tables import write_csv, write_jsonl, write_parquet
from runner.report import CampaignTable


@dataclass(frozen=True)
class Exported:
    """How many jobs an export holds, how many of the campaign it left out, and lines for people."""

    jobs: int
    left_out: int
    notes: tuple[str, ...] = ()


def export(
    campaign: CampaignTable,
    root: str | Path,
    format: str,
    target: str | Path,
    options: ExportOptions = ExportOptions(),
) -> Exported:
    """Write the campaign's done jobs to target, a file or a new folder, in one of FORMATS.

    root: the results folder. Raises ExportError, and leaves target as it was, when a job is not done or
    its files are not whole (unless that is allowed), when the jobs do not have what the format needs,
    and when a package is missing.
    """
    target = Path(target).absolute()
    if not target.parent.is_dir():
        raise ExportError(f"the folder {target.parent} is missing: make it, or name another place")
    if format in _ENDINGS and target.suffix.lower() not in _ENDINGS[format]:
        endings = " or ".join(_ENDINGS[format])
        raise ExportError(f"{target.name}: the name for {format} must end with {endings}")
    write = FORMATS[format]
    try:
        with tempfile.TemporaryFile(dir=target.parent) as spool:
            rows = Rows(campaign, Path(root), options, spool, of_pictures=write in _OF_PICTURES)
            write(rows, target)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ExportError(f"cannot write {target}: {reason}; nothing was exported") from error
    return Exported(rows.count, rows.left_out, tuple(rows.notes))


FORMATS: dict[str, Callable[[Rows, Path], None]] = {
    "parquet": write_parquet,
    "csv": write_csv,
    "jsonl": write_jsonl,
    "imagefolder": write_imagefolder,
    "webdataset": write_webdataset,
    "folder": write_folder,
    "nerfstudio": write_nerfstudio,
    "mp4": write_mp4,
    "sheet": write_sheet,
}
_ENDINGS = {"mp4": (".mp4",), "sheet": (".jpg", ".jpeg")}
_OF_PICTURES = (write_imagefolder, write_nerfstudio, write_mp4, write_sheet)
