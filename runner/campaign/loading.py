"""The one Campaign that a Python file defines, loaded as a script would be."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import multiprocessing.spawn
import re
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from runner.campaign.campaign import Campaign, current_folder, place_of
from runner.campaign.sources import Sources
from runner.commands import typed
from runner.errors import CampaignError, RunnerError

# Files that were loaded here, by module name: one of them may replace another.
_loaded: dict[str, Path] = {}


def load_campaign(file: str | Path, settings: Mapping[str, str] | None = None) -> Campaign:
    """The one Campaign that a Python file defines, complete and with its settings filled in.

    Raises CampaignError, one line with file and line number, for anything wrong with it.
    """
    path = Path(file).absolute()
    try:
        source = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CampaignError(f"cannot read the campaign file {file}: {reason}{_meant(path)}") from None
    sources = Sources(path, source)
    with sources.reading():
        module = _executed(path, source)
    found = {id(value): value for value in vars(module).values() if isinstance(value, Campaign)}
    if len(found) != 1:
        count = "no Campaign" if not found else f"{len(found)} Campaigns"
        raise CampaignError(f"{file} defines {count}: write one 'campaign = Campaign(\"name\")'")
    (campaign,) = found.values()
    campaign.file = path
    campaign.file_sha256 = hashlib.sha256(source).hexdigest()
    campaign.settings = dict(settings or {})
    campaign.trace(sources)
    campaign.check()
    return campaign


def _meant(path: Path) -> str:
    """A file there that the user may have meant; else how to write one."""
    if path.exists():
        return ""
    near = get_close_matches(path.name, [file.name for file in path.parent.glob("*.py")], n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; to write one to start from: {typed('init', path.with_suffix('.py').name)}"


def _executed(path: Path, source: bytes) -> ModuleType:
    """The file as a module, after its code has run. Raises CampaignError for whatever that raises."""
    packages = _packages_above(path) if _imports_by_dots(source) else []
    name = ".".join([*(package.name for package in packages), module_name(path)])
    # A campaign may import modules beside it, as a script would; processes that it starts find them, too.
    if sys.path[:1] != [str(path.parent)]:
        sys.path.insert(0, str(path.parent))
    if packages and str(packages[0].parent) not in sys.path:
        sys.path.insert(1, str(packages[0].parent))
    folder = current_folder.set(path.parent)
    try:
        with _no_processes(path), _arguments_of(path):
            if packages:
                _import_package(name.rpartition(".")[0], path)
            loader = importlib.machinery.SourceFileLoader(name, str(path))
            spec = importlib.util.spec_from_file_location(name, path, loader=loader)
            assert spec is not None  # a loader was given
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            _loaded[name] = path
            exec(compile(source, str(path), "exec"), vars(module))
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        raise CampaignError(f"{error.filename}{line}: syntax error: {error.msg}") from None
    except RunnerError:
        raise
    except ModuleNotFoundError as error:
        raise CampaignError(
            f"{place_of(error, path)}: install it for {sys.executable}, or put it beside the file"
        ) from error
    except (Exception, SystemExit) as error:
        raise CampaignError(f"{place_of(error, path)}") from error
    finally:
        current_folder.reset(folder)
    return module


def _imports_by_dots(source: bytes) -> bool:
    """Whether it says `from . import …` somewhere: then it is a module of a package, and no script."""
    try:
        nodes = ast.walk(ast.parse(source))
    except (SyntaxError, ValueError):
        return False  # told when it is compiled
    return any(isinstance(node, ast.ImportFrom) and node.level for node in nodes)


def _packages_above(path: Path) -> list[Path]:
    """The folders that make the file a module of a package, the outermost first."""
    folders: list[Path] = []
    while ((folder := path.parent) / "__init__.py").exists():
        folders.insert(0, folder)
        path = folder
    if not folders:
        raise CampaignError(
            f"{path} has 'from .', which needs a package, and there is no __init__.py beside it: make one, or leave "
            "out the dot"
        )
    return folders


def _import_package(name: str, path: Path) -> None:
    package = importlib.import_module(name)
    if Path(package.__file__ or "").parent != path.parent:
        raise CampaignError(
            f"{path} is in a package {name!r}, and {package.__file__} has that name: call it otherwise"
        )


@contextlib.contextmanager
def _arguments_of(path: Path) -> Iterator[None]:
    """What the file finds in sys.argv in each process of a run: its own name, and none of our arguments."""
    before, sys.argv = sys.argv, [str(path)]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _no_processes(path: Path) -> Iterator[None]:
    """Refuse to spawn processes while the file is read: each would read it, start its own, die, and be replaced."""

    def refuse(name: str) -> dict[str, Any]:
        raise CampaignError(
            f"{path} starts processes while it is being read, and each of them would read it again: start them in the "
            "jobs function"
        )

    prepare = multiprocessing.spawn.get_preparation_data
    multiprocessing.spawn.get_preparation_data = refuse
    try:
        yield
    finally:
        multiprocessing.spawn.get_preparation_data = prepare


def module_name(path: Path) -> str:
    """The name under which Python finds the file; the processes of a pool import the functions that they call.

    Raises CampaignError where another module has that name, or it is not importable: such a process would die again and
    again.
    """
    name = path.stem
    other = sys.modules.get(name)
    if path.suffix != ".py" or "." in name:
        better = re.sub(r"\W+", "_", path.name.removesuffix(".py"))
        raise CampaignError(f"{path}: Python cannot import a file of that name: call it {better}.py")
    if other is not None and name not in _loaded and getattr(other, "__file__", None) != str(path):
        raise CampaignError(
            f"{path} has the name of Python's module {name!r} and would hide it: give it another name"
        )
    return name
