"""Folders of pictures: Hugging Face's ImageFolder, and WebDataset's tar shards."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath

from runner.errors import ExportError
from runner.export.rows import Rows
from runner.export.targets import new_folder, to_json

_SHARD_JOBS = 10_000
_SHARD_BYTES = 1 << 30


def write_imagefolder(rows: Rows, target: Path) -> None:
    """Hugging Face's ImageFolder: train/metadata.jsonl with a line a picture, and the pictures.

    Numbers for names: a key such as "test-1" would be taken for another split (datasets 5.2).
    """
    with new_folder(target) as folder:
        (folder / "train").mkdir()
        with open(folder / "train" / "metadata.jsonl", "w", encoding="utf-8") as metadata:
            number = 0
            for row in rows:
                columns = {
                    _not_a_file_name(name): value for name, value in row.items() if name != "artifacts"
                }
                for picture in rows.pictures(row):
                    name = f"{number:08d}{PurePosixPath(picture['name']).suffix.lower()}"
                    (folder / "train" / name).write_bytes(rows.content(picture))
                    of_picture = {"file_name": name, "picture": picture["name"], "sha256": picture["sha256"]}
                    taken = of_picture.keys() | {"image"}
                    others = {f"params/{name}" if name in taken else name: columns[name] for name in columns}
                    metadata.write(to_json(of_picture | others) + "\n")
                    number += 1


def _not_a_file_name(name: str) -> str:
    """ImageFolder takes each column whose name ends like this for another picture's (datasets 5.2)."""
    return name.replace("file_name", "filename") if name.endswith(("file_name", "file_names")) else name


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
