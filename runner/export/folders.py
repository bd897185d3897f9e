"""Folders of files: Hugging Face's ImageFolder, WebDataset's tar shards, and one for each job."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from runner.errors import ExportError
from runner.export.rows import Rows
from runner.export.targets import new_folder, to_json
from runner.export.typed import as_text, typed
from runner.results import FILES, JOBS_PER_FOLDER, checked_name, folder_name

_SHARD_JOBS = 10_000
_SHARD_BYTES = 1 << 30
_OF_PICTURE = ("file_name", "picture", "sha256")


def write_imagefolder(rows: Rows, target: Path) -> None:
    """Hugging Face's ImageFolder: train/metadata.jsonl with a line a picture, and the pictures.

    Pictures are named by numbers: a key such as "test-1" would be taken for another split (datasets 5.2).
    """
    columns = [name for name in rows.columns if name != FILES]
    names = _image_columns(columns)
    # Its reader, too, gives each column one type.
    told = ({name: row[name] for name in row if name != FILES} for row in rows)
    _, texts = typed(told, columns, "imagefolder", is_guessed=True)
    rows.note_texts(texts)
    with new_folder(target) as folder:
        (folder / "train").mkdir()
        with open(folder / "train" / "metadata.jsonl", "w", encoding="utf-8") as metadata:
            number = 0
            for row in rows:
                row |= {name: as_text(row[name]) for name in texts if name in row}
                for picture in rows.pictures(row):
                    name = f"{number:08d}{PurePosixPath(picture['name']).suffix.lower()}"
                    (folder / "train" / name).write_bytes(rows.content(picture))
                    of_picture = dict(zip(_OF_PICTURE, (name, picture["name"], picture["sha256"])))
                    of_job = {names[column]: row.get(column) for column in columns}
                    metadata.write(to_json(of_picture | of_job) + "\n")
                    number += 1


def _image_columns(columns: list[str]) -> dict[str, str]:
    """The name of each column there.

    ImageFolder takes a column whose name ends with file_name for another picture (datasets 5.2).
    """
    names: dict[str, str] = {}
    for column in columns:
        name = column.replace("file_name", "filename")
        name = name if column.endswith(("file_name", "file_names")) else column
        is_taken = name in _OF_PICTURE or name == "image" or (name != column and name in columns)
        names[column] = f"params/{name}" if is_taken else name
    return names


def write_webdataset(rows: Rows, target: Path) -> None:
    """Tar shards of up to 10,000 jobs or 1 GB: NUMBER.json with the row, NUMBER.NAME for each of its files.

    Shards of a packed campaign that hold these jobs and no others are linked, not copied: a hard link where the target
    is on the same disk, else a symbolic one; from an object store they are fetched. Jobs in other shards, which also
    hold requeued ones, are copied out.
    """
    linked = set(rows.exact_shards())
    fetched = 0
    with new_folder(target) as folder, _Shards(folder, rows.name) as shards:
        for shard in sorted(linked):
            fetched += rows.take_shard(shard, shards.next_file())
        copied = 0
        for row in rows:
            if rows.shard_of(row) in linked:
                continue
            # The samples of linked shards have bare numbers.
            sample = f"copy-{copied:08d}" if linked else f"{copied:08d}"
            shards.append(sample, {"json": to_json(row).encode()} | _members(rows, row))
            copied += 1
    if linked:
        how = "taken whole" if fetched else "linked, not copied"
        told = f"{len(linked):,} shards were {how}; their jobs come in the order in which they were done"
        rows.notes.append(f"{told}; {copied:,} jobs of others were copied" if copied else told)


def _members(rows: Rows, row: dict[str, Any]) -> dict[str, bytes]:
    """The part after the first dot tells a sample's files apart, so a folder becomes another dot."""
    members: dict[str, bytes] = {}
    for file in row["artifacts"]:
        ending = file["name"].replace("/", ".")
        if ending in members or ending == "json":
            raise ExportError(
                f"job {row['key']}: {file['name']} would be the second {ending!r} in its sample"
            )
        members[ending] = rows.content(file)
    return members


class _Shards:
    """Tar files in a folder, begun one after the other."""

    def __init__(self, folder: Path, name: str):
        self._folder, self._name = folder, folder_name(name)
        self._count = self._size = self._jobs = 0
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            self._tar.close()

    def next_file(self) -> Path:
        """The name of a new one."""
        self._count += 1
        return self._folder / f"{self._name}-{self._count - 1:06d}.tar"

    def append(self, sample: str, members: dict[str, bytes]) -> None:
        """Write a sample."""
        if self._tar is None or self._size >= _SHARD_BYTES or self._jobs == _SHARD_JOBS:
            self.__exit__()
            self._tar, self._size, self._jobs = tarfile.open(self.next_file(), "w"), 0, 0
        for ending, content in members.items():
            member = tarfile.TarInfo(f"{sample}.{ending}")
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))
            self._size += len(content)
        self._jobs += 1


def write_folder(rows: Rows, target: Path) -> None:
    """A folder for each job, as a run that packs nothing keeps them: 0000/KEY/NAME, a thousand jobs in a folder."""
    with new_folder(target) as folder:
        for number, row in enumerate(rows):
            own = folder / f"{number // JOBS_PER_FOLDER:04d}" / folder_name(row["key"])
            for file in row["artifacts"]:
                path = own / checked_name(file["name"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(rows.content(file))
