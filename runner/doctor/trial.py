"""A trial: five views rendered twice and in reverse with one rasterizer, by a real run into a temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from runner.doctor.check import Check, State
from runner.errors import RunnerError
from runner.reasons import one_line
from runner.report import open_database

__all__ = ["Trial", "check_trial", "trial_with"]

_LIMIT_S, _END_S = 180.0, 20.0
# The first pictures wait for the browser to warm up.
_WARM = 5
# Environment variables that a trial must not inherit.
_NOT_HERE = ("RUNNER_DB", "RUNNER_NOTIFY")


@dataclass(frozen=True)
class Trial:
    """rasterizer: the one asked for. renderer: as WebGL names it; '' where nothing drew.

    trouble: why it failed; ''. differing: views whose pictures were not the same each time.
    rate: pictures a second with one browser, of 320×240.
    """

    rasterizer: str
    renderer: str = ""
    trouble: str = ""
    differing: tuple[int, ...] = ()
    rate: float = 0.0


def trial_with(rasterizer: str) -> Trial:
    """Render with that rasterizer, in a process of its own, which is ended when it hangs."""
    with tempfile.TemporaryDirectory(prefix="runner-doctor-") as name:
        folder = Path(name)
        source = resources.files("runner.campaign.examples").joinpath("doctor.py")
        (folder / "doctor.py").write_bytes(source.read_bytes())
        trouble = _run(folder, rasterizer)
        try:
            with open_database(folder / "runner.db") as campaigns:
                rows = list(campaigns["doctor"].rows())
        except (RunnerError, KeyError):
            rows = []
        return _judged(rasterizer, trouble, rows)


def _run(folder: Path, rasterizer: str) -> str:
    """`runner run`, to its end; what went wrong, or ''."""
    words = ["--rasterizer", rasterizer, "--sessions", "1", "--halt", "never"]
    with subprocess.Popen(
        [sys.executable, "-m", "runner", "run", str(folder / "doctor.py"), *words],
        env={name: value for name, value in os.environ.items() if name not in _NOT_HERE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # A signal from the terminal reaches only this process, which then ends the trial in order.
        start_new_session=True,
    ) as process:
        try:
            _, told = process.communicate(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            _end(process)
            return f"it was not done after {_LIMIT_S:.0f} s"
        except BaseException:
            _end(process)
            raise
    lines = [line for line in told.splitlines() if line.startswith("runner: ")] or told.splitlines()[-1:]
    return one_line(lines[-1].removeprefix("runner: ")) if process.returncode and lines else ""


def _end(process: subprocess.Popen[str]) -> None:
    """End it and its browsers: in order, or else at once."""
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=_END_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _judged(rasterizer: str, trouble: str, rows: list[dict[str, Any]]) -> Trial:
    done = [row for row in rows if row["status"] == "done"]
    if trouble or not done or len(done) < len(rows):
        reasons = [one_line(row["error"]) for row in rows if row["error"]]
        return Trial(rasterizer, trouble=reasons[0] if reasons else trouble or "nothing was rendered")
    pictures: dict[int, set[str]] = {}
    for row in done:
        pictures.setdefault(row["view"], set()).add(_hash_of(row))
    differing = tuple(view for view, hashes in sorted(pictures.items()) if len(hashes) > 1)
    ends = sorted(row["done_ts"] for row in done)[_WARM - 1 :]
    rate = (len(ends) - 1) / max(ends[-1] - ends[0], 1e-3)
    return Trial(rasterizer, done[0]["renderer"] or "", "", differing, rate)


def _hash_of(row: Mapping[str, Any]) -> str:
    (picture,) = row["artifacts"]
    return str(picture["sha256"])


def check_trial(trial: Trial) -> Check:
    """The trial of that rasterizer as a check."""
    name = f"render {trial.rasterizer}"
    if trial.trouble:
        return Check(name, State.WARN, trial.trouble, "do what it says, or use the other rasterizer")
    found = f"{trial.renderer}, {trial.rate:.1f} pictures/s of 320×240 with one browser"
    if trial.differing:
        views = ", ".join(map(str, trial.differing))
        fix = "pictures of this rasterizer depend on chance or on order: update its driver, or use another rasterizer"
        return Check(name, State.WARN, f"{found}; views {views} were not the same bytes each time", fix)
    return Check(name, State.OK, f"{found}; the same bytes twice and in reverse")
