"""Draws the sheets of small pictures at a run's end: an even sample, suspects, and last pictures of failed jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from runner.results import ResultsFolder, Stored, contact_sheet
from runner.store import Reader, first_picture

__all__ = ["draw_sheets"]

_TILES, _CAPTION, _LOOKED_FOR = 100, 16, 1000
_SUSPECT, _FAILED = "#e0a84a", "#ef5d50"
_Tile: TypeAlias = "tuple[Path | Stored, str, str]"


def draw_sheets(store: Reader, campaign_id: int, results: ResultsFolder) -> None:
    """Draw the sheets that have pictures, and remove sheets of suspects and failures when there are none any more."""
    every = max(1, store.progress(campaign_id).done // _TILES)
    sample = store.sample_pictures(campaign_id, every, _TILES)
    if sample:
        tiles = [
            (results.stored(where), key, _SUSPECT if suspicion else "") for where, key, suspicion in sample
        ]
        _draw(results.folder / "contact_sheet.jpg", tiles)
    _draw(results.folder / "suspects.jpg", _suspects(store, campaign_id, results))
    _draw(results.folder / "failures.jpg", _failures(store, campaign_id, results))


def _suspects(store: Reader, campaign_id: int, results: ResultsFolder) -> list[_Tile]:
    jobs = [store.job(campaign_id, key) for key, _ in _evenly(store.suspects(campaign_id))]
    tiles: list[_Tile] = []
    for row in store.whole_jobs([job["id"] for job in jobs if job is not None]):
        picture = first_picture(row)
        if picture:
            tiles.append((results.stored(picture), row["key"], _SUSPECT))
    return tiles


def _failures(store: Reader, campaign_id: int, results: ResultsFolder) -> list[_Tile]:
    if not (results.folder / "evidence").is_dir():
        return []
    # Look for only some of them on the disk: pictures are kept of most, or of none.
    jobs = [(row["key"], row["attempt"]) for row in _evenly(store.failures(campaign_id), _LOOKED_FOR)]
    kept = [(results.evidence_of(key, attempt), key) for key, attempt in jobs]
    return _evenly([(picture, key, _FAILED) for picture, key in kept if picture is not None])


def _evenly(items: Sequence[Any], most: int = _TILES) -> list[Any]:
    count = len(items)
    return list(items) if count <= most else [items[at * count // most] for at in range(most)]


def _draw(file: Path, tiles: Sequence[_Tile]) -> None:
    if not tiles:
        file.unlink(missing_ok=True)
        return
    captions = [key if len(key) <= _CAPTION else key[: _CAPTION - 2] + ".." for _, key, _ in tiles]
    contact_sheet(
        [path for path, _, _ in tiles], file, captions=captions, colours=[colour for _, _, colour in tiles]
    )
