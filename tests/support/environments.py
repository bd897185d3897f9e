"""A virtual environment that has what a package requires and nothing else, without another install."""

from __future__ import annotations

import sys
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

Known = set[tuple[str, frozenset[str]]]


def required(
    requirements: Iterable[str], extras: frozenset[str] = frozenset({""}), known: Known | None = None
) -> Iterator[str]:
    """The names of the packages that these lines ask for, and of all that those stand on."""
    known = set() if known is None else known
    for requirement in map(Requirement, requirements):
        one, marker = (requirement.name, frozenset(requirement.extras or {""})), requirement.marker
        is_meant = marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
        if is_meant and one not in known:
            known.add(one)
            yield requirement.name
            yield from required(distribution(requirement.name).requires or (), one[1], known)


def make_environment(folder: Path, packages: set[str]) -> None:
    """Make one there with these packages, as links to those of the environment that this process runs in."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for package in packages:
        _link(distribution(package), site, folder / "bin")


def _link(package: Distribution, site: Path, programs: Path) -> None:
    for file in package.files or ():
        if file.parts[0] != "..":
            place = site / file.parts[0]
            if not place.is_symlink():
                place.symlink_to(str(package.locate_file(file.parts[0])))
        elif file.parts[-2] == "bin":
            # It begins with the interpreter that it is for.
            program = programs / file.name
            text = Path(str(package.locate_file(file))).read_text()
            program.write_text(text.replace(sys.prefix, str(programs.parent)))
            program.chmod(0o755)
