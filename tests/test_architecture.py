"""Imports go one way, between wings and within them, and each foreign package has its place."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import runner
from runner import errors
from runner.store import statements

PACKAGE = Path(runner.__file__).parent
# From the ground up: each may import those before it. A wing's files stand in their own order.
WINGS: dict[str, list[str]] = {
    "errors": [],
    "exits": [],
    "commands": [],
    "reasons": [],
    "cells": [],
    "records": [],
    "patience": [],
    "job": [],
    "arrays": [],
    "parts": [],
    "frame": [],
    "tabs": [],
    "wire": [],
    "joining": [],
    "notices": [],
    "machine": [
        "address",
        "certificate",
        "disk",
        "filesystem",
        "folders",
        "faults",
        "guard",
        "clocks",
        "memory",
        "process",
    ],
    "store": [
        "schema",
        "statements",
        "queries",
        "migrations",
        "refusals",
        "opening",
        "text",
        "spool",
        "rows",
        "places",
        "database",
        "reader",
        "moves",
        "adding",
        "store",
        "worker",
    ],
    "browsers": ["find", "processes", "tab", "browser", "cards", "launcher", "record", "pool"],
    "results": [
        "columns",
        "names",
        "remote",
        "stored",
        "encode",
        "shown",
        "tile",
        "sheet",
        "folder",
        "render_job",
        "metrics",
        "mirror",
        "shards",
        "packed",
        "recovery",
        "moving",
        "whose",
        "verify",
    ],
    "report": [
        "table",
        "evidence",
        "timings",
        "grouping",
        "summary",
        "work",
        "summarize",
        "since",
        "text",
        "explain",
        "formats",
        "charts",
        "gallery",
        "page_file",
        "where",
        "choose",
    ],
    "export": ["targets", "order", "rows", "typed", "tables", "folders", "nerfstudio", "pictures", "formats"],
    "queue": [],
    "campaign": [
        "script",
        "assets",
        "whole",
        "settings",
        "sources",
        "campaign",
        "loading",
        "pack",
        "pick",
        "submission",
    ],
    "sessions": [
        "arrays",
        "kinds",
        "values",
        "pose",
        "scene",
        "cameras",
        "changes",
        "messages",
        "base",
        "gate",
        "protocol",
        "session",
        "view",
        "script",
        "client",
        "door",
        "live",
        "joiners",
        "server",
    ],
    "run": [
        "life",
        "chance",
        "leftovers",
        "process_limits",
        "run_log",
        "say",
        "alarm",
        "sheets",
        "limits",
        "breaker",
        "canary",
        "pace",
        "progress",
        "farewell",
        "ending",
        "board",
        "tracking",
        "context",
        "threads",
        "attempt",
        "company",
        "agenda",
        "verdict",
        "commit",
        "settle",
        "crew",
        "signals",
        "keeper",
        "mover",
        "channel",
        "child",
        "share",
        "spec",
        "thrift",
        "viewer",
        "live",
        "worker",
        "worker_process",
        "process",
        "stacks",
        "blame",
        "watch",
        "supervisor",
        "options",
        "token",
        "start",
        "intake",
        "one_run",
        "dry",
        "trial",
        "bench",
        "notebook",
    ],
    "join": ["link", "line", "joiner"],
    "cluster": [],
    "doctor": ["check", "software", "places", "limits", "drawing", "trial", "examine", "text"],
    "cli": [
        "options",
        "chosen",
        "status",
        "jobs",
        "explain",
        "look",
        "operate",
        "init",
        "render",
        "join",
        "watching",
        "try_out",
        "take_out",
        "slurm",
        "doctor",
        "pages",
        "group",
        "plugin",
    ],
}
# Where a foreign package may be imported.
PLACES = {
    "vuer": {"sessions"},
    "aiohttp": {"sessions", "join"},
    "msgpack": {"sessions"},
    "ml_logger": {"results/mirror"},
    "requests": {"results/mirror"},
    "fsspec": {"results/remote"},
    "playwright": {"browsers", "run/worker_process"},
    "sqlalchemy": {"store"},
    "sqlite3": {"store/migrations", "store/opening", "store/refusals", "doctor/software"},
    "psycopg": {"store/refusals"},
    "PIL": {"frame", "results", "export", "run/trial"},
    "click": {"cli"},
    "tqdm": {"run", "export/targets", "cli"},
    "pandas": {"report"},
    "jinja2": {"report/page_file"},
    "markupsafe": {"report/page_file"},
    "pyarrow": {"export/tables"},
    "imageio": {"export/pictures"},
    "apprise": {"notices"},
    "submitit": {"cluster"},
    "cloudpickle": {"cluster"},
    "psutil": {"machine", "browsers", "run/signals", "run/process", "doctor/limits"},
}
MODULES = {
    f"{wing}/{module}" if module else wing: (wing, module)
    for wing, modules in WINGS.items()
    for module in modules or [""]
}


def imports_of(name: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_a_place():
    """A new module says to which wing it belongs, and what it may import."""
    found = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")}
    found = {name for name in found if not name.endswith("__init__") and "/examples/" not in name}
    assert found - {"__main__"} == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_only(name):
    """No wing imports one above itself, no file one behind it in its wing: there are no circles."""
    wing, module = MODULES[name]
    order, files = list(WINGS), WINGS[wing]
    for imported in imports_of(name):
        parts = imported.split(".")
        if parts[0] != "runner" or parts[1] == "__version__":
            continue
        assert parts[1] in order and order.index(parts[1]) <= order.index(wing), f"{name} imports {imported}"
        if parts[1] == wing:
            inner = parts[2]
            assert inner in files and files.index(inner) < files.index(module), f"{name} imports {imported}"


@pytest.mark.parametrize("name", MODULES)
def test_foreign_packages_stay_in_their_place(name):
    """All SQL is in one place, all Vuer in one place, all ML-Logger in one place."""
    for imported in imports_of(name):
        places = PLACES.get(imported.split(".")[0])
        assert places is None or {name, MODULES[name][0]} & places, f"{name} imports {imported}"


@pytest.mark.parametrize("wing", [wing for wing, modules in WINGS.items() if modules])
def test_a_wing_says_what_it_offers(wing):
    """Each wing has a public surface, and a first line that tells its purpose."""
    source = (PACKAGE / wing / "__init__.py").read_text()
    assert "__all__ = [" in source and len(ast.get_docstring(ast.parse(source)).split("\n")[0]) < 120


def test_sql_is_written_in_the_store_only():
    """Moves in statements, queries in queries, tables in migrations, pragmas and transactions where one opens."""
    places = {f"store/{name}" for name in ("statements", "queries", "migrations", "opening", "database")}
    verbs = re.compile(
        r"\s*(SELECT .* FROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM|WITH \w+ AS|BEGIN|COMMIT|PRAGMA) ?", re.S
    )
    for name in set(MODULES) - places:
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not verbs.match(node.value), f"{name} has SQL in it: {node.value}"
    assert verbs.match(statements.CLAIM) and verbs.match(statements.COMPLETE)


@pytest.mark.parametrize("name", MODULES)
def test_the_first_line_tells_the_purpose(name):
    """A reader finds where to change a thing by reading first lines."""
    docstring = ast.get_docstring(ast.parse((PACKAGE / f"{name}.py").read_text()))
    assert docstring and docstring.split("\n")[0].endswith(".") and len(docstring.split("\n")[0]) < 120


def test_errors_are_one_tree():
    """Whoever catches RunnerError catches all that runner raises for its users."""
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, errors.RunnerError)
        assert f"{name} " in errors.__doc__


def test_the_public_names():
    """What `from runner import …` promises."""
    assert runner.__all__ == [
        "Campaign",
        "Depth",
        "Frame",
        "Job",
        "JobQueue",
        "RenderJob",
        "RunnerError",
        "Session",
        "arun",
        "read_records",
        "run",
    ]
    # The wing of its name is the function run.
    assert all(getattr(runner, name).__name__.removeprefix("runner.") == name for name in runner.__all__)
    assert callable(runner.run)
    # Not among them, so that `from runner import *` does not hide Python's own.
    assert callable(runner.open)
