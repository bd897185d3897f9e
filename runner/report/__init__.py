"""The morning after: a campaign as rows, as a summary, as text."""

from runner.report.choose import Choice, chosen_keys
from runner.report.evidence import Evidence, read_evidence
from runner.report.explain import Explanation, explain_job, find_job
from runner.report.formats import to_csv, to_markdown
from runner.report.page_file import Page, page_of, to_html
from runner.report.since import LastLook
from runner.report.summarize import summarize
from runner.report.summary import Counts, Summary
from runner.report.table import COLUMNS, Campaigns, CampaignTable, open_database
from runner.report.text import parts_told, span, to_text
from runner.report.where import Where
from runner.report.work import Status, status_of

__all__ = [
    "COLUMNS",
    "CampaignTable",
    "Campaigns",
    "Choice",
    "Counts",
    "LastLook",
    "Page",
    "Evidence",
    "Explanation",
    "Status",
    "Summary",
    "Where",
    "chosen_keys",
    "explain_job",
    "find_job",
    "open_database",
    "page_of",
    "parts_told",
    "read_evidence",
    "span",
    "status_of",
    "summarize",
    "to_csv",
    "to_html",
    "to_markdown",
    "to_text",
]
