"""The commands. Each is a thin layer over the library, and reports by its exit status how it ended."""

from runner.cli.group import main

__all__ = ["main"]
