"""What a user writes: the campaign, its assets, and loading it from its file."""

from runner.campaign.assets import AssetFolder
from runner.campaign.campaign import Campaign, file_of
from runner.campaign.loading import load_campaign, module_name
from runner.campaign.pack import Pack, read_pack, write_pack
from runner.campaign.pick import Choice, pick_job
from runner.campaign.submission import Submission, add_jobs, is_as_before, plan_submission, read_jobs
from runner.campaign.whole import why_not_whole

__all__ = [
    "AssetFolder",
    "Campaign",
    "Choice",
    "Pack",
    "Submission",
    "add_jobs",
    "file_of",
    "is_as_before",
    "load_campaign",
    "module_name",
    "pick_job",
    "plan_submission",
    "read_jobs",
    "read_pack",
    "why_not_whole",
    "write_pack",
]
