"""`python campaign.py`: the script becomes `runner run campaign.py`, or says that this is what to type."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

from runner.commands import typed
from runner.errors import CampaignError

__all__ = ["become_run", "remind_at_exit"]


def become_run() -> NoReturn:
    """Go on as `runner run FILE`, FILE being the script, with the arguments that the script was given."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise CampaignError(
            "campaign.run() needs a file: write the campaign into one, and give it to 'runner run'"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "runner", "run", os.path.abspath(file), *sys.argv[1:]])


def remind_at_exit() -> None:
    """When a script defines a campaign and renders nothing, say at its end how to render it."""
    main = sys.modules["__main__"]
    # Not in a notebook or at a prompt, where there is no file.
    if hasattr(main, "__file__") and not sys.flags.interactive:
        atexit.register(_remind, os.path.abspath(str(main.__file__)))


def _remind(file: str) -> None:
    if "runner.run" not in sys.modules:
        print(
            f"nothing was rendered: this file is a campaign; to render it: {typed('run', file)}",
            file=sys.stderr,
        )
