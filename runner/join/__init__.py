"""A joiner: headless browsers on this machine that render for a run on another one. It needs only the run's link."""

from runner.join.joiner import JoinOptions, join
from runner.join.link import Link

__all__ = ["JoinOptions", "Link", "join"]
