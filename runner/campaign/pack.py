"""One job in a file that can be sent: what it is rendered from, and what became of it.

job.json        key, params, settings, versions, and what `runner explain --json` tells
files/…         the campaign file, the modules beside it, and the assets that pages have loaded
pictures/…      what the tab showed last in attempts that failed
"""

from __future__ import annotations

import json
import os
import platform
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from runner.campaign.campaign import Campaign
from runner.errors import UsageError
from runner.job import Job

__all__ = ["Pack", "read_pack", "write_pack"]

_VERSION = 1
_INDEX = "job.json"
# A pack takes no more than this: assets beyond it are left out, the largest first.
_LARGEST_BYTES = 512 << 20


@dataclass(frozen=True)
class Pack:
    """A job that was unpacked. file: the campaign's, where it is now."""

    file: Path
    job: Job
    settings: Mapping[str, str]


def write_pack(
    target: Path,
    campaign: Campaign,
    job: Job,
    told: Mapping[str, Any],
    assets: Iterable[str],
    pictures: Iterable[str] = (),
) -> list[Path]:
    """Write the job to a zip file; returns the files that were left out because they are too large or gone.

    told: all else that is known of the job, as JSON values. assets: names of files as Sources has them. pictures:
    paths.
    """
    # A campaign file imports this, while runner itself is being imported.
    from runner import __version__

    assert campaign.file is not None and campaign.sources is not None
    folder = campaign.file.parent
    own, asset_folder = _plain(campaign.file), None
    kept, left_out = _that_fit(
        {_plain(folder / name) for name in (*campaign.sources.current(), *assets)} - {own}
    )
    places = [own.parent, *(path.parent for path in kept)]
    if campaign.assets is not None:
        asset_folder = _plain(campaign.assets.folder)
        places.append(asset_folder.parent)
    # All below one folder, so that files beside or above the campaign's are found from it.
    top = Path(os.path.commonpath(places))
    index = {
        "version": _VERSION,
        "campaign": campaign.name,
        "file": own.relative_to(top).as_posix(),
        "key": job.key,
        "params": dict(job.params),
        "settings": dict(campaign.settings),
        "left_out": sorted(map(str, left_out)),
        "versions": {
            "runner": __version__,
            "vuer": version("vuer"),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "told": dict(told),
    }
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_INDEX, json.dumps(index, indent=1))
            for path in [own, *kept]:
                archive.write(path, f"files/{path.relative_to(top).as_posix()}")
            if asset_folder is not None:
                # The folder must exist even if nothing in it was used.
                archive.writestr(f"files/{asset_folder.relative_to(top).as_posix()}/", "")
            for picture in pictures:
                archive.write(picture, f"pictures/{Path(picture).name}")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from None
    return left_out


def read_pack(file: Path, folder: Path) -> Pack:
    """Unpack it into the folder. Raises UsageError for a file that is no pack."""
    try:
        with zipfile.ZipFile(file) as archive:
            index = json.loads(archive.read(_INDEX))
            if index["version"] != _VERSION:
                raise UsageError(
                    f"{file} was packed by another version of runner ({index['versions']['runner']})"
                )
            # zipfile itself makes names harmless that lead out of the folder.
            archive.extractall(folder)
        job = Job(index["params"], index["key"])
        return Pack(folder / "files" / index["file"], job, index["settings"])
    except OSError as error:
        raise UsageError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from None
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, NotImplementedError):
        raise UsageError(f"{file} is not a job that 'runner explain JOB --pack' has written") from None


def _that_fit(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The files that exist and fit together, small ones first; and the others."""
    sizes = {path: path.stat().st_size for path in files if path.is_file()}
    kept: list[Path] = []
    left_out = [path for path in files if path not in sizes]
    total = 0
    for path in sorted(sizes, key=lambda path: (sizes[path], path)):
        total += sizes[path]
        (kept if total <= _LARGEST_BYTES else left_out).append(path)
    return kept, left_out


def _plain(path: Path) -> Path:
    """Absolute, and without '..'. Links are kept, because the campaign uses these names."""
    return Path(os.path.abspath(path))
