"""A joiner: headless browsers here that render for a run on another machine, known by its link alone."""

from runner.join.joiner import JoinOptions, join
from runner.join.link import Link

__all__ = ["JoinOptions", "Link", "join"]
