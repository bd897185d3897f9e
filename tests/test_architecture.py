"""Imports go one way, and each foreign package has its place."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import runner
from runner import errors, statements

PACKAGE = Path(runner.__file__).parent
# From the ground up: a module may import those before it.
LAYERS = [
    "errors", "disk", "guard", "limits", "job", "schema", "host", "statements", "database", "reader", "store", "queue", "assets",
    "campaign", "frames", "results", "metrics", "mirror", "verify", "cameras", "session", "server", "tab", "browsers", "pool",
    "work", "ending", "run", "report", "table", "export", "cli",
]  # fmt: skip
PLACES = {
    "vuer": {"session", "server"},
    "aiohttp": {"session", "server"},
    "msgpack": {"session", "server"},
    "ml_logger": {"metrics", "mirror"},
    "playwright": {"browsers"},
    "sqlalchemy": {"schema", "database", "reader"},
    "sqlite3": {"database"},
    "psycopg": {"database"},
    "PIL": {"frames", "results", "export"},
    "click": {"cli"},
    "tqdm": {"run", "export", "cli"},
    "pandas": {"report", "table"},
    "pyarrow": {"export"},
    "imageio": {"export"},
}


def imports_of(name: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_a_layer():
    """A new module says where it belongs."""
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert modules == set(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_imports_go_down_only(name):
    """No module imports one above itself, so there are no circles."""
    below = LAYERS[: LAYERS.index(name)]
    for module in imports_of(name):
        if module.startswith("runner."):
            imported = module.split(".")[1]
            assert imported in below or imported == "__version__", f"{name} imports {imported}"


@pytest.mark.parametrize("name", LAYERS)
def test_foreign_packages_stay_in_their_place(name):
    """All SQL is in one place, all Vuer in one place, all ML-Logger in one place."""
    for module in imports_of(name):
        places = PLACES.get(module.split(".")[0])
        assert places is None or name in places, f"{name} imports {module}"


def test_sql_is_written_in_three_places_only():
    """The moves' statements in statements, queries in reader, pragmas and transactions in database."""
    verbs = re.compile(
        r"\s*(SELECT .* FROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM|WITH \w+ AS|BEGIN|COMMIT|PRAGMA) ?", re.S
    )
    for name in set(LAYERS) - {"statements", "reader", "database"}:
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not verbs.match(node.value), f"{name} has SQL in it: {node.value}"
    assert verbs.match(statements.CLAIM) and verbs.match(statements.COMPLETE)


@pytest.mark.parametrize("name", LAYERS)
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
    assert runner.__all__ == ["Campaign", "Job", "JobQueue", "RunnerError"]
    # Not among them, so that `from runner import *` does not hide Python's own.
    assert callable(runner.open)
