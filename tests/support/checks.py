"""Scripts as modules that tests use: those that check a run by its pictures, and those that make files to look at."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import check_frames
import check_isolation
import check_shortcut
import make_bad_night
import make_example_assets

__all__ = ["check_frames", "check_isolation", "check_shortcut", "make_bad_night", "make_example_assets"]
