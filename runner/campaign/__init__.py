"""What a user writes: the campaign, its assets, and loading it from its file."""

from runner.campaign.assets import AssetFolder, open_asset
from runner.campaign.campaign import Campaign
from runner.campaign.loading import load_campaign

__all__ = [
    "AssetFolder",
    "Campaign",
    "load_campaign",
    "open_asset",
]
