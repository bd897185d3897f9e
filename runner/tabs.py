"""What both sides of a browser tab know of it: who opened it, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PERSON", "TabEnd", "TabOwner"]


@dataclass(frozen=True)
class TabEnd:
    """How a tab ended; is_crash: it died, rather than was closed or led away."""

    reason: str
    is_crash: bool = False


class TabOwner:
    """Who opened a tab, and hears how its jobs end. This one is a person, who is told nothing.

    tab_id: known to the tab and its owner only; a tab's name is for people. retired: why the tab should take
    no further job; '' for no reason.
    """

    tab_id = ""
    retired = ""

    def came(self, refused: str) -> None:
        """The tab's page is connected. refused: why it cannot be used; ''."""

    def left(self, reason: str) -> None:
        """The tab's page is connected no more."""

    def rendered(self) -> None:
        """The tab has rendered a job, well or not; told before it takes another."""

    def settled(self, job_id: int, error: str, duration_s: float) -> None:
        """An attempt in that tab has ended: well, or with an error that may be the tab's."""

    def retire(self, reason: str) -> None:
        """The tab should take no further job."""

    def console(self) -> list[str]:
        """The last lines that the tab's page has printed."""
        return []

    async def end_of(self, reason: str) -> TabEnd:
        """How the tab ended whose connection broke for that reason."""
        return TabEnd(reason)


PERSON = TabOwner()
