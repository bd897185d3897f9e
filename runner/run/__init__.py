"""One run of a campaign, from its first claim to its exit status."""

from runner.run.one_run import RunOptions, run_campaign
from runner.run.process import early_worker
from runner.run.say import say

__all__ = [
    "RunOptions",
    "early_worker",
    "run_campaign",
    "say",
]
