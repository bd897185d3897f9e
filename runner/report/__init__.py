"""The morning after: a campaign as rows, as a summary, as text."""

from runner.report.choose import Choice, chosen_keys
from runner.report.summary import Counts, Summary, summarize
from runner.report.table import COLUMNS, Campaigns, CampaignTable, open_database
from runner.report.text import span, to_text
from runner.report.where import Where

__all__ = [
    "COLUMNS",
    "CampaignTable",
    "Campaigns",
    "Choice",
    "Counts",
    "Summary",
    "Where",
    "chosen_keys",
    "open_database",
    "span",
    "summarize",
    "to_text",
]
