"""The scripts that check a run by its pictures, as modules that tests use."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import check_frames
import check_isolation

__all__ = ["check_frames", "check_isolation"]
