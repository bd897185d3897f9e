"""The verb that writes a campaign to start from."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import option
from runner.commands import typed
from runner.errors import UsageError

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = ["init"]

# In the order of the list: from what everybody needs to what a few need.
_EXAMPLES = [
    "orbit",
    "randomize",
    "views",
    "camera_path",
    "robot",
    "points",
    "splats",
    "text",
    "steps",
    "notebook",
]


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@option("--example", type=click.Choice(_EXAMPLES), help="What to start from. [default: orbit]")
def init(file: Path | None, example: str | None) -> None:
    """Write a commented campaign FILE that runs as it is.

    Without FILE it lists the examples. Files that an example loads, such as a robot's meshes, are written beside it.
    Existing files are never overwritten.

    Example: runner init orbit.py
    """
    if file is None and example is not None:
        raise UsageError(f"name the file to write: {typed('init', f'{example}.py', '--example', example)}")
    if file is None:
        click.echo(_list(), nl=False)
        return
    from runner.campaign import module_name

    module_name(file)  # as run asks for
    for target in _write(example or "orbit", file):
        click.echo(f"wrote {target}", err=True)
    click.echo(f"next: {typed('run', file)}", err=True)


def _list() -> str:
    width = max(map(len, _EXAMPLES))
    lines = [f"{name.ljust(width)}  {_summary(name)}" for name in _EXAMPLES]
    return "\n".join([*lines, "", f"To write one: {typed('init', 'FILE.py', '--example', 'NAME')}", ""])


def _summary(name: str) -> str:
    """The first line of what an example says of itself."""
    if name == "notebook":
        (title, *_) = json.loads(_shipped("notebook.ipynb").read_text("utf-8"))["cells"][0]["source"]
        return str(title).lstrip("# ").rstrip()
    docstring = ast.get_docstring(ast.parse(_shipped(f"{name}.py").read_text("utf-8"))) or ""
    return docstring.split("\n")[0]


def _write(name: str, file: Path) -> Iterator[Path]:
    """Write the example as that file, and the files that it needs beside it; yields what was written.

    Raises UsageError where one of them exists already. Needed files that are identical may exist.
    """
    code = _shipped("orbit.py" if name == "notebook" else f"{name}.py").read_bytes()
    wanted = {file: code}
    if name == "notebook":
        cells = _shipped("notebook.ipynb").read_bytes()
        wanted[file.with_suffix(".ipynb")] = cells.replace(b"orbit.py", file.name.encode())
    needed = {file.parent / path: data for path, data in _files_below(_shipped(name))}
    for target in wanted:
        if target.exists():
            raise UsageError(f"{target} exists already and was not changed; name another file")
    for target, content in needed.items():
        if target.exists() and not (target.is_file() and target.read_bytes() == content):
            raise UsageError(
                f"{target} exists already, differs from the example's own, and was not changed; write the example into "
                "another folder"
            )
    for target, content in (wanted | needed).items():
        try:
            if target in needed:
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    continue
            with target.open("xb") as opened:
                opened.write(content)
        except OSError as error:
            raise UsageError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from None
        yield target


def _shipped(name: str) -> Traversable:
    return resources.files("runner.campaign.examples") / name


def _files_below(folder: Traversable, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Each file in the folder with the example's name, by its path there; none where there is no such folder."""
    if folder.is_dir():
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.is_file():
                yield path + entry.name, entry.read_bytes()
            else:
                yield from _files_below(entry, f"{path}{entry.name}/")
