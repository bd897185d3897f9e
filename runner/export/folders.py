"""Folders of pictures: Hugging Face's ImageFolder, and WebDataset's tar shards."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath

from runner.errors import ExportError
from runner.export.rows import Rows
from runner.export.targets import new_folder, to_json
from runner.export.typed import as_text, typed
from runner.results import FILES

_SHARD_JOBS = 10_000
_SHARD_BYTES = 1 << 30
_OF_PICTURE = ("file_name", "picture", "sha256")


def write_imagefolder(rows: Rows, target: Path) -> None:
    """Hugging Face's ImageFolder: train/metadata.jsonl with a line a picture, and the pictures.

    Numbers for names: a key such as "test-1" would be taken for another split (datasets 5.2).
    """
    columns = [name for name in rows.columns if name != FILES]
    names = _image_columns(columns)
    # Its reader gives each column one type, too.
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
    """What each column is called there.

    ImageFolder takes each whose name ends with file_name for another picture's (datasets 5.2).
    """
    names: dict[str, str] = {}
    for column in columns:
        name = column.replace("file_name", "filename")
        name = name if column.endswith(("file_name", "file_names")) else column
        is_taken = name in _OF_PICTURE or name == "image" or (name != column and name in columns)
        names[column] = f"params/{name}" if is_taken else name
    return names


def write_webdataset(rows: Rows, target: Path) -> None:
    """Tar shards of up to 10,000 jobs or 1 GB: NUMBER.json with the row, NUMBER.NAME for each of its files."""
    with new_folder(target) as folder:
        shard, size, number = None, 0, 0
        try:
            for row in rows:
                if shard is None or size >= _SHARD_BYTES or number % _SHARD_JOBS == 0:
                    if shard is not None:
                        shard.close()
                    count = len(list(folder.iterdir()))
                    shard, size = tarfile.open(folder / f"{rows.name}-{count:06d}.tar", "w"), 0
                members = {"json": to_json(row).encode()}
                for file in row["artifacts"]:
                    # What follows the first dot tells a sample's files apart, so a folder becomes another
                    # dot.
                    ending = file["name"].replace("/", ".")
                    if ending in members:
                        raise ExportError(
                            f"job {row['key']}: {file['name']} would be the second {ending!r} in its sample"
                        )
                    members[ending] = rows.content(file)
                for ending, content in members.items():
                    member = tarfile.TarInfo(f"{number:08d}.{ending}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
                    size += len(content)
                number += 1
        finally:
            if shard is not None:
                shard.close()
