"""What some tests need of the machine: they are skipped without it, but never in CI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

IN_CI = os.environ.get("CI") == "true"


def missing(what: str) -> NoReturn:
    """Skip the test for want of a tool, but never in CI, where everything must be there."""
    if IN_CI:
        pytest.fail(f"{what} is missing, and CI must not go without it")
    pytest.skip(f"{what} is missing: scripts/test says how to install it")


def quick_rasterizer() -> str:
    """The system's OpenGL where a driver for it is here: a page takes a third less CPU time than with SwiftShader."""
    has_egl = any(Path("/usr/share/glvnd/egl_vendor.d").glob("*.json"))
    return "egl" if has_egl else "swiftshader"
