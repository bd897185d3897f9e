"""One run of a campaign, from its first claim to its exit status."""

from runner.run.crew import Crew
from runner.run.one_run import RunOptions, run_campaign
from runner.run.say import say

__all__ = [
    "Crew",
    "RunOptions",
    "run_campaign",
    "say",
]
