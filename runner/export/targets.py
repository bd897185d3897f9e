"""The target of an export: a file or folder that appears whole, or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.errors import ExportError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary name to write to, with the same ending; it becomes the target when all went well."""
    if target.is_dir():
        raise ExportError(f"{target} is a folder; name a file")
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes the target when all went well."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ExportError(f"{target} exists already: name a new folder, or remove it first")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def link(file: Path, name: Path, may_point: bool) -> None:
    """Link the file under another name: by a hard link, or on another disk by a symbolic one.

    may_point: False copies it to another disk instead, because the original may be moved. Raises FileNotFoundError.
    """
    try:
        name.hardlink_to(file)
    except FileNotFoundError:
        raise
    except OSError:
        if may_point:
            name.symlink_to(file)
        else:
            shutil.copyfile(file, name)


@contextmanager
def needing(*packages: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError:
        raise ExportError(
            f"this export needs {' and '.join(packages)}: pip install 'runner[export]'"
        ) from None


def to_json(value: Any, is_ascii: bool = False) -> str:
    """Strict JSON; NaN and infinity become null. is_ascii: only characters that any terminal can show."""
    try:
        return json.dumps(value, ensure_ascii=is_ascii, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=is_ascii, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def bar_of(what: str, total: int) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=total, desc=what, unit="job", leave=False, disable=not sys.stderr.isatty(), file=sys.stderr
    )
