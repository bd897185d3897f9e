"""scripts/check_latest names what broke."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_latest"
BROKEN = """
import pytest

@pytest.fixture
def gone():
    import no_such_module

def test_well(): pass
def test_odd(): assert 1 == 2, "a Sphere has no args any more"
def test_lost(gone): pass
"""


def test_each_failure_is_named_with_its_first_line(tmp_path):
    """By the test's name, and what it says; of errors on the way to a test, too."""
    loader = importlib.machinery.SourceFileLoader("check_latest", str(SCRIPT))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(script)
    (tmp_path / "test_one.py").write_text(BROKEN)
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    assert subprocess.run([*command, "test_one.py"], cwd=tmp_path, capture_output=True).returncode == 1
    odd, lost = script.failures(report)
    assert odd.startswith("test_one.py::test_odd: AssertionError: a Sphere has no args any more")
    assert lost.startswith("test_one.py::test_lost: ") and "no_such_module" in lost
