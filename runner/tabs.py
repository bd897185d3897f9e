"""What both sides of a browser tab share: who opened it, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PERSON", "TabEnd", "TabOwner"]


@dataclass(frozen=True)
class TabEnd:
    """How a tab ended. is_crash: it died; it was not closed, nor did it leave the page."""

    reason: str
    is_crash: bool = False


class TabOwner:
    """Who opened a tab, and learns how its jobs end. This base class stands for a person, and does nothing.

    tab_id: known to the tab and its owner only; a tab's name is for people. retired: why the tab should take no further
    job; ''.
    """

    tab_id = ""
    retired = ""

    def came(self, refused: str) -> None:
        """The tab's page is connected. refused: why it cannot be used; ''."""

    def left(self, reason: str) -> None:
        """The tab's page is no longer connected."""

    def rendered(self) -> None:
        """The tab has rendered a job, well or not; called before it takes another."""

    def settled(self, job_id: int, error: str, duration_s: float) -> None:
        """An attempt in that tab has ended: well, or with an error that may be the tab's."""

    def retire(self, reason: str) -> None:
        """The tab should take no further job."""

    def console(self) -> list[str]:
        """The last lines that the tab's page has printed."""
        return []

    async def end_of(self, reason: str) -> TabEnd:
        """How the tab ended after its connection broke for that reason."""
        return TabEnd(reason)


PERSON = TabOwner()
