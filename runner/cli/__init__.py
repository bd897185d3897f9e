"""The commands: each is thin over the library, and says how it ended by its exit status."""

from runner.cli.group import main

__all__ = ["main"]
