"""A short storm of the faults that scripts/crash_test.py knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "crash_test.py"

pytestmark = pytest.mark.usefixtures("browser_path")


@pytest.mark.long
def test_a_storm_of_faults_loses_and_doubles_nothing():
    """Runner, workers and browsers killed, disk filled, clock shifted: all jobs done once, whole, uncharged."""
    seed = os.environ.get("RUNNER_TEST_SEED", "1")
    command = [sys.executable, SCRIPT, "--faults", "10", "--lock-s", "2", "--seed", seed, "--workers", "2"]
    storm = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert storm.returncode == 0, storm.stdout + storm.stderr
