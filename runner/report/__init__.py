"""The morning after: a campaign as rows, as a summary, as text."""

from runner.report.summary import summarize
from runner.report.table import COLUMNS, Campaigns, CampaignTable, open_database
from runner.report.text import to_text

__all__ = [
    "COLUMNS",
    "CampaignTable",
    "Campaigns",
    "open_database",
    "summarize",
    "to_text",
]
