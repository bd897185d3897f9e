"""The report as one HTML page: its data is a JSON object, drawn by the page's own script (jinja2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from runner.reasons import one_line
from runner.report.charts import Hours, Spread, hours_of, spread_of
from runner.report.gallery import Gallery, gallery_of
from runner.report.summarize import look_at, session_names
from runner.report.summary import PARTS, Summary
from runner.report.text import to_text
from runner.store import CampaignRow, Reader

__all__ = ["Page", "page_of", "to_html"]

_FOLDER = Path(__file__).with_name("page")
_SCRIPTS = ("shapes.js", "charts.js", "pictures.js", "live.js", "page.js")
# How much of long lists a page shows.
_SUSPECTS, _EVENTS, _TRIES, _REASONS, _SESSIONS = 200, 100, 30, 60, 300


@dataclass(frozen=True)
class Page:
    """All that the page shows of one campaign. root: the results folder; '' where there is none."""

    summary: Summary
    hours: Hours | None
    spread: Spread | None
    gallery: Gallery
    root: str

    def to_json(self, base: str) -> dict[str, Any]:
        """As the page's script takes it. base: the relative URL of the results folder; ends in a slash."""
        summary = replace(
            self.summary,
            suspects=self.summary.suspects[:_SUSPECTS],
            events=self.summary.events[:_EVENTS],
            tries=self.summary.tries[:_TRIES],
            failures=self.summary.failures[:_REASONS],
            sessions=self.summary.sessions[-_SESSIONS:],
        )
        return {
            "summary": summary.to_json()
            | {"verdict": summary.verdict, "suspect_count": len(self.summary.suspects)},
            "hours": asdict(self.hours) if self.hours else None,
            "spread": asdict(self.spread) if self.spread else None,
            "gallery": asdict(self.gallery),
            "parts": PARTS,
            "root": self.root,
            "base": base,
        }


def page_of(store: Reader, campaign: CampaignRow, share: float = 1.0, is_live: bool = False) -> Page:
    """The page of one campaign. campaign: its row. share: of the room for pictures and texts, if it is one of several.

    is_live: for the live page, which asks for its pictures.
    """
    campaign_id = campaign["id"]
    look = look_at(store, campaign)
    sessions = store.sessions(campaign_id)
    workers, events = store.workers(campaign_id), store.events(campaign_id)
    hours = hours_of(look.timings, look.tries, workers, sessions, events, session_names(sessions))
    gallery = gallery_of(store, campaign, look, share, is_live)
    return Page(look.summary, hours, spread_of(look.timings), gallery, campaign["results"] or "")


def to_html(
    data: Sequence[dict[str, Any]], summaries: Sequence[Summary], live: dict[str, Any] | None = None
) -> str:
    """The whole page, which loads nothing. data: of each campaign, from Page.to_json.

    live: the start data for page/live.js, if a run serves the page.
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    own = {name: Markup((_FOLDER / name).read_text()) for name in ("page.css", *_SCRIPTS)}
    return environment.get_template("page.html").render(
        title="; ".join(one_line(summary.verdict) for summary in summaries),
        style=own["page.css"],
        script=Markup("\n").join(own[name] for name in _SCRIPTS),
        text="\n".join(map(to_text, summaries)),
        data={"version": 1, "campaigns": list(data)} | ({"live": live} if live else {}),
        is_live=live is not None,
    )
