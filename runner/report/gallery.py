"""The jobs that the page shows one by one: their small pictures, and what they were rendered from."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from typing import Any

from runner.job import Extent
from runner.reasons import one_line
from runner.report.summarize import Look
from runner.results import ResultsFolder, moved_of, named, small_jpeg
from runner.store import CampaignRow, Reader, ShownJobRow, first_picture

__all__ = ["Gallery", "Shown", "gallery_of"]

_FAILED, _SUSPECTS, _SHEET = 24, 24, 100
_ROWS, _POINTS, _NAMES = 1500, 1200, 24
_WIDTH, _QUALITY = 224, 72
_MOST_BYTES, _MOST_TEXT = 2_000_000, 700_000
_LONGEST_VALUE, _LONGEST_REASON = 120, 240


@dataclass(frozen=True)
class Shown:
    """One job: its outcome (done, suspect or failed), why, its params and metrics by name, and its picture.

    picture: its path below the results folder. part: if it is inside a shard, which no browser opens: its first byte
    and its size. thumbnail: the small picture as a data: URL. neighbour: a job beside it that is done, and not suspect.
    took_s: seconds.
    """

    key: str
    outcome: str
    reason: str
    session: str
    attempt: int
    took_s: float | None
    values: Mapping[str, Any]
    picture: str | None
    thumbnail: str | None = None
    part: tuple[int, int] | None = None
    neighbour: Shown | None = None


@dataclass(frozen=True)
class Gallery:
    """Failures and suspects with their pictures, an evenly spread sheet, and samples without pictures.

    rows: failed jobs, for the table. points: done and failed ones, for the plot of names against each other.
    """

    failed: tuple[Shown, ...]
    suspects: tuple[Shown, ...]
    sheet: tuple[Shown, ...]
    rows: tuple[Shown, ...]
    points: tuple[Shown, ...]
    names: tuple[str, ...]


class _Shelf:
    """Makes Shown of rows; thumbnails until so many bytes are spent."""

    def __init__(self, store: Reader, campaign: CampaignRow, share: float):
        self._store, self._campaign_id = store, campaign["id"]
        moved, results = moved_of(store, campaign["id"]), campaign["results"]
        self._folder = ResultsFolder(results, campaign["name"], moved=moved) if results else None
        self._left = int(share * _MOST_BYTES)

    def shown(self, ids: Sequence[int]) -> dict[int, Shown]:
        """The jobs by id, without thumbnails."""
        return {row["id"]: self._of(row) for row in self._store.whole_jobs(ids)}

    def _of(self, row: ShownJobRow) -> Shown:
        is_done = row["status"] == "done"
        took = row["end_ts"] - row["grab_ts"] if row["end_ts"] and row["grab_ts"] else None
        picture: str | None = None
        first = first_picture(row) if is_done else None
        if first is not None:
            picture = first.path
        elif not is_done and self._folder is not None:
            kept = self._folder.evidence_of(row["key"], row["attempt"])
            picture = kept.relative_to(self._folder.root).as_posix() if kept else None
        return Shown(
            key=row["key"],
            outcome="suspect" if is_done and row["suspicion"] else row["status"],
            reason=one_line((row["suspicion"] if is_done else row["error"]) or "", _LONGEST_REASON),
            session=one_line(row["session"] or "", 40),
            attempt=row["attempt"],
            took_s=None if took is None else round(took, 3),
            values={
                one_line(name, 60): _told(value)
                for name, value in named(row["params"], row["metrics"]).items()
            },
            picture=picture,
            part=(first.start, first.size) if first is not None and first.start is not None else None,
        )

    def with_thumbnail(self, shown: Shown) -> Shown:
        """The same with its small picture, as long as there is room."""
        if self._folder is None or shown.picture is None or self._left <= 0:
            return shown
        start, size = shown.part or (None, 0)
        small = small_jpeg(self._folder.stored(Extent(shown.picture, start, size)), _WIDTH, _QUALITY)
        if small is None:
            return replace(shown, picture=None)
        self._left -= len(small)
        return replace(shown, thumbnail="data:image/jpeg;base64," + base64.b64encode(small).decode())

    def beside_neighbours(self, ids: Sequence[int]) -> tuple[Shown, ...]:
        """With thumbnails, each beside a job that is fine."""
        shown = self.shown(ids)
        neighbours = {job_id: self._store.neighbour_of(self._campaign_id, job_id) for job_id in shown}
        well = self.shown(sorted({found for found in neighbours.values() if found is not None}))
        beside = []
        for job_id in ids:
            if job_id in shown:
                found = well.get(neighbours[job_id] or 0)
                neighbour = self.with_thumbnail(found) if found else None
                beside.append(replace(self.with_thumbnail(shown[job_id]), neighbour=neighbour))
        return tuple(beside)


def gallery_of(
    store: Reader, campaign: CampaignRow, look: Look, share: float = 1.0, is_live: bool = False
) -> Gallery:
    """All that the page shows one by one. share: of the room in a page.

    is_live: without thumbnails, which the live page asks for; fewer jobs, and as few changes as possible.
    """
    shelf = _Shelf(store, campaign, 0.0 if is_live else share)
    spread = look.timings.steady_spread if is_live else look.timings.spread
    most_rows, most_points = (_ROWS // 4, _POINTS // 4) if is_live else (_ROWS, _POINTS)
    suspects = _evenly([suspect.key for suspect in look.summary.suspects], _SUSPECTS)
    suspect_rows = [store.job(campaign["id"], key) for key in suspects]
    failed = shelf.beside_neighbours(_one_of_each(look, _FAILED))
    odd = shelf.beside_neighbours([row["id"] for row in suspect_rows if row is not None])
    sheet = tuple(map(shelf.with_thumbnail, shelf.shown(spread(_SHEET)).values()))
    firsts = {first[0] for group in look.failed.largest for first in group.first[:2]}
    rows = shelf.shown(sorted({*_evenly(look.failed_ids, most_rows), *sorted(firsts)[:most_rows]}))
    odd_ids = {row["id"] for row in suspect_rows if row is not None}
    points = shelf.shown([at for at in look.timings.spread(most_points) if at not in odd_ids])
    failed_points = _evenly(list(rows.values()), most_points // 2)
    plotted = [
        *points.values(),
        *failed_points,
        *(replace(one, thumbnail=None, neighbour=None) for one in odd),
    ]
    room = int(share * _MOST_TEXT)
    return Gallery(
        failed, odd, sheet, _within(room, list(rows.values())), _within(room, plotted), _names_of(plotted)
    )


def _within(room: int, shown: list[Shown]) -> tuple[Shown, ...]:
    """As many of them, evenly chosen, as fit into so many bytes of text."""
    size = sum(len(json.dumps(asdict(one))) for one in shown)
    return tuple(_evenly(shown, len(shown) * room // size) if size > room else shown)


def _one_of_each(look: Look, most: int) -> list[int]:
    """Ids of failed jobs: the first of each reason, then the second, and so on."""
    columns = zip_longest(*(group.first for group in look.failed.largest[:most]))
    return [first[0] for column in columns for first in column if first is not None][:most]


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    if len(items) <= most:
        return list(items)
    return [items[at * len(items) // most] for at in range(most)]


def _names_of(points: Iterable[Shown]) -> tuple[str, ...]:
    """Names of values that a plot can have an axis for."""
    names: dict[str, None] = {}
    for shown in points:
        for name, value in shown.values.items():
            if isinstance(value, (int, float, bool)) or (isinstance(value, str) and len(value) <= 40):
                names[name] = None
    return tuple(names)[:_NAMES]


def _told(value: Any) -> Any:
    """A JSON value, shortened."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1 << 53):
        return value
    return one_line(str(value), _LONGEST_VALUE)
