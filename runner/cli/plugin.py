"""`vuer runner …`: the plugin that Vuer's own command finds by its entry points."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from runner.cli.group import main

__all__ = ["Runner"]


def _own_words() -> list[str]:
    """The words after `vuer runner`, taken off the command line: Vuer's parser would refuse them."""
    if sys.argv[1:2] != ["runner"]:
        return []
    words = sys.argv[2:]
    del sys.argv[2:]
    return words


# Vuer loads its plugins before it parses.
_WORDS = _own_words()


@dataclass
class Runner:
    """Render campaigns of many jobs, from start to end, whatever happens in between.

    EXAMPLES
        vuer runner --help
        vuer runner run orbit.py
    """

    def __call__(self) -> None:
        """Do what `runner` does with the same words; ends the process with its exit status."""
        main(_WORDS, prog_name="vuer runner")
