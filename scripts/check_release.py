#!/usr/bin/env python3
"""Build the sdist and the wheel, and see that each works by itself, in clean environments, without this tree.

    python scripts/check_release.py [--python PYTHON …] [--keep FOLDER]

The sdist must hold every file that git knows, but for what only git and CI look for; unpacked and installed, it passes
its own quick tests. The wheel is installed for each Python from 3.10 to 3.13 that is found (or named): its packages fit
together, the commands that need no browser work, and with the first of them the demo renders. Exit status 1 when
something does not, by name.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
# What an installed package has no use for.
LEFT_OUT = (".ci/", ".gitignore", "package.json", "package-lock.json", "tsconfig.json")
LONGEST_S = 1800


class Failed(Exception):
    """What did not work, and what it said."""


def call(*words: object, folder: Path, path: Path | None = None) -> str:
    """What a command prints. Raises Failed where it does not end with 0."""
    # Nothing of this tree, and of no other environment.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "RUNNER_", "PIP_"))
    }
    environment = kept | ({"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"} if path else {})
    end = subprocess.run(
        list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST_S
    )
    if end.returncode:
        raise Failed(
            f"{' '.join(map(str, words))} ended with {end.returncode}: {(end.stderr or end.stdout)[-2000:]}"
        )
    return end.stdout


def interpreters() -> Iterator[Path]:
    """One of each version that is installed."""
    places = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep)]
    places += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    for version in VERSIONS:
        for place in places:
            python = place / f"python{version}"
            with contextlib.suppress(Failed, OSError):
                if f"Python {version}." in call(python, "--version", folder=Path("/")):
                    yield python
                    break


def tracked(folder: Path) -> set[str]:
    """The files that git knows, copied there as they are now."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    found = {name for name in names.stdout.split("\0") if name and (ROOT / name).is_file()}
    for name in found:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return found


def environment(python: object, folder: Path, *installed: object) -> Path:
    """A new virtual environment with that in it: where its programs are."""
    call(python, "-m", "venv", folder, folder=folder.parent)
    programs = folder / "bin"
    call(programs / "python", "-m", "pip", "install", "--quiet", *installed, folder=folder.parent)
    return programs


def build(source: Path, folder: Path) -> tuple[Path, Path]:
    """The sdist and the wheel, of which the second is made from the first."""
    programs = environment(sys.executable, folder / "building", "build")
    call(programs / "python", "-m", "build", "--outdir", folder / "dist", source, folder=folder)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return sdist, wheel


def check_contents(sdist: Path, wheel: Path, names: set[str]) -> str:
    with tarfile.open(sdist) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
    missing = sorted(name for name in names - there if not name.startswith(LEFT_OUT))
    if missing:
        raise Failed(f"{sdist.name} lacks {', '.join(missing[:10])} ({len(missing)} files)")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    shipped = {name for name in names if name.startswith("runner/")}
    if shipped - packed:
        raise Failed(f"{wheel.name} lacks {', '.join(sorted(shipped - packed)[:10])}")
    strange = sorted(name for name in packed if not name.startswith(("runner/", "runner-")))
    if strange:
        raise Failed(f"{wheel.name} would install {', '.join(strange[:10])}")
    return f"{sdist.stat().st_size >> 10} KiB and {wheel.stat().st_size >> 10} KiB, all files there"


def check_wheel(python: Path, wheel: Path, folder: Path, renders: bool) -> str:
    folder.mkdir()
    programs = environment(python, folder / "venv", wheel)
    call(programs / "python", "-m", "pip", "check", folder=folder)
    version = call(programs / "runner", "--version", folder=folder, path=programs).split()[-1]
    if f"-{version}-" not in wheel.name:
        raise Failed(f"{wheel.name} calls itself {version}")
    for words in (["help", "campaign"], ["init", "orbit.py"], ["run", "orbit.py", "--dry-run"]):
        call(programs / "runner", *words, folder=folder, path=programs)
    if renders:
        told = call(programs / "runner", "demo", folder=folder, path=programs)
        if "all 60 jobs are done" not in told:
            raise Failed(f"runner demo: {told[-2000:]}")
    return f"{version} works{', and renders its demo' if renders else ''}"


def check_sdist(sdist: Path, folder: Path) -> str:
    folder.mkdir()
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    programs = environment(sys.executable, folder / "venv", f"{source}[test]")
    told = call(programs / "python", "-m", "pytest", "-q", "--quick", "-n", "2", folder=source, path=programs)
    return told.strip().splitlines()[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", action="append", type=Path, help="instead of those that are found")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        names = tracked(folder / "source")
        sdist, wheel = build(folder / "source", folder)
        pythons = options.python or list(interpreters()) or [Path(sys.executable)]
        checks = {
            "contents": lambda: check_contents(sdist, wheel, names),
            **{
                f"wheel, {python}": lambda python=python: check_wheel(
                    python, wheel, folder / f"wheel-{pythons.index(python)}", python == pythons[0]
                )
                for python in pythons
            },
            "sdist": lambda: check_sdist(sdist, folder / "sdist"),
        }
        is_good = True
        for name, check in checks.items():
            try:
                print(f"✓ {name}: {check()}", flush=True)
            except (Failed, subprocess.TimeoutExpired) as error:
                is_good = False
                print(f"✗ {name}: {error}", flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
