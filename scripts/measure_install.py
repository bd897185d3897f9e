#!/usr/bin/env python3
"""What each of runner's dependencies brings along, in packages and MB, of the environment that this runs in.

.venv/bin/python scripts/measure_install.py
"""

from __future__ import annotations

import os
import re
from importlib import metadata

from packaging.requirements import Requirement

Names = frozenset[str]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


FOUND = {plain(one.metadata["Name"]): one for one in metadata.distributions()}


def needs(name: str, extras: tuple[str, ...] = ()) -> list[Requirement]:
    """What a package asks for here, with these extras."""
    asked = [Requirement(line) for line in FOUND[plain(name)].requires or ()]
    return [
        one
        for one in asked
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (extras or ("",)))
    ]


def brings(name: str, extras: tuple[str, ...] = (), known: Names = frozenset()) -> Names:
    """The package, and all that it needs that is installed."""
    if plain(name) not in FOUND or plain(name) in known:
        return known
    known |= {plain(name)}
    for one in needs(name, extras):
        known = brings(one.name, tuple(one.extras), known)
    return known


def size_mb(names: Names) -> float:
    files = (file.locate() for name in names for file in FOUND[name].files or ())
    return sum(os.path.getsize(file) for file in files if os.path.exists(file)) / 1e6


def main() -> None:
    all_of = {one.name: brings(one.name, tuple(one.extras)) for one in needs("runner")}
    rows = []
    for name, mine in all_of.items():
        others = frozenset().union(*(theirs for other, theirs in all_of.items() if other != name))
        rows.append((size_mb(mine - others), name, mine, mine - others))
    print("| dependency | packages | MB | of these by it alone | MB |\n|---|---:|---:|---:|---:|")
    for alone_mb, name, mine, alone in sorted(rows, reverse=True):
        print(f"| {name} | {len(mine)} | {size_mb(mine):.0f} | {len(alone)} | {alone_mb:.0f} |")
    everything = frozenset().union(*all_of.values())
    print(f"| all | {len(everything)} | {size_mb(everything):.0f} | | |")


if __name__ == "__main__":
    main()
