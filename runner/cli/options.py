"""Options that several commands share, and their types."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from runner.errors import RunnerError, UsageError

__all__ = [
    "all_option",
    "browser_memory_option",
    "campaign_argument",
    "database_option",
    "file_argument",
    "gpus_option",
    "hours",
    "json_option",
    "log_root_option",
    "notify_option",
    "option",
    "rasterizer_option",
    "recycle_option",
    "require_gpu_option",
    "results_option",
    "sessions_option",
    "settings_option",
    "share",
    "size",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])

# The help shows each default.
option = partial(click.option, show_default=True)


def size(least: str = "0") -> Callable[[str], int]:
    """The type of a size in bytes, written as 512M or 3G. least: the smallest allowed."""

    def convert(text: str) -> int:
        from runner.machine import parse_size

        try:
            count = parse_size(text)
        except UsageError as error:
            raise click.BadParameter(str(error)) from None
        if count < parse_size(least):
            raise click.BadParameter(f"{text!r} is too small: at least {least}")
        return count

    return convert


def hours(text: str) -> float:
    """The type of a time in hours, written as 8 or 0.5; the value is in seconds."""
    try:
        count = float(text)
    except ValueError:
        count = 0.0
    if not 0.0 < count < 1e6:
        raise click.BadParameter(f"write a number of hours such as 8 or 0.5, not {text!r}")
    return 3600.0 * count


def share(text: str) -> float | None:
    """The type of a share, written as 20%; None for 'never'."""
    if text == "never":
        return None
    try:
        part = float(text.removesuffix("%")) / 100
    except ValueError:
        part = 0.0
    if not (text.endswith("%") and 0.0 < part <= 1.0):
        raise click.BadParameter(f"write a share such as 20%, or never, not {text!r}")
    return part


def _settings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"write NAME=VALUE, not {value!r}", ctx, param)
    return dict(value.split("=", 1) for value in values)


def _known_campaigns(ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    """For the shell: campaigns whose names begin so, in the given database, or the one here."""
    from runner.store import Reader

    try:
        with Reader(ctx.params.get("db") or os.environ.get("RUNNER_DB") or "runner.db") as store:
            return [row["name"] for row in store.campaigns() if row["name"].startswith(typed)]
    except RunnerError:
        return []


campaign_argument = click.argument("campaign", required=False, shell_complete=_known_campaigns)


def _campaign_file(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """`orbit` means orbit.py, where only that exists."""
    with_ending = value.with_name(f"{value.name}.py") if value.name else value
    return with_ending if not value.is_file() and with_ending.is_file() else value


file_argument = click.argument("file", type=click.Path(path_type=Path), callback=_campaign_file)

database_option = option(
    "--db",
    envvar="RUNNER_DB",
    metavar="PATH|URL",
    help="The database: a SQLite file or a postgresql:// URL. [env: RUNNER_DB; default: runner.db "
    "beside the campaign, or in this folder]",
)
all_option = option("--all", "is_all", is_flag=True, help="Every campaign of the database.")
json_option = option(
    "--json", "as_json", is_flag=True, help="Print JSON instead: a list with an object for each campaign."
)
log_root_option = option(
    "--log-root",
    metavar="ROOT",
    help="Also copy the metrics log there: a folder, the http:// or https:// address of an ML-Logger server, "
    "s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.",
)
notify_option = option(
    "--notify",
    multiple=True,
    envvar="RUNNER_NOTIFY",
    metavar="URL",
    help="Send notices there: at the end, at a halt, when a pause lasts, when the disk fills up. An apprise address "
    "such as ntfy://TOPIC; may be repeated. [env: RUNNER_NOTIFY, with spaces between several]",
)
# The same as in runner.browsers, which takes long to import.
rasterizer_option = option(
    "--rasterizer",
    type=click.Choice(("auto", "egl", "swiftshader", "native")),
    default="auto",
    help="What the browsers draw with: the system's OpenGL (a GPU, or Mesa's software), "
    "Chromium's own SwiftShader, or Chromium's choice.",
)
require_gpu_option = option("--require-gpu", is_flag=True, help="Refuse to render in software.")
gpus_option = option(
    "--gpus",
    metavar="all|0,1",
    help="Give the browsers these graphics cards in turn, and refuse cards that do not draw; works for one card of "
    "each driver.",
)
recycle_option = option(
    "--recycle-after",
    type=click.IntRange(1),
    default=5000,
    metavar="JOBS",
    help="Replace a browser after so many jobs.",
)
browser_memory_option = option(
    "--browser-memory",
    "browser_memory_bytes",
    type=size(least="256M"),
    default="3G",
    metavar="SIZE",
    help="Replace a browser that has grown larger, between two jobs.",
)
sessions_option = option(
    "--sessions",
    "-n",
    type=click.IntRange(0, 64),
    default=2,
    help="Headless browsers to start; 0 starts none and prints a link for your own.",
)
settings_option = option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_settings,
    help="Set a keyword argument of the campaign's jobs or scene function.",
)


class _Folder(click.Path):
    """A folder, which need not exist, or, where allowed, the URL of an object store."""

    def __init__(self, may_be_url: bool):
        super().__init__(path_type=Path, file_okay=False)
        self._may_be_url = may_be_url

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "://" not in str(value):
            return super().convert(value, param, ctx)
        if not self._may_be_url:
            self.fail(
                "name a folder: the database itself knows the address of files in an object store", param, ctx
            )
        return value


def results_option(text: str, may_be_url: bool = False) -> Callable[[_Command], _Command]:
    """The option --results with the command's own help. may_be_url: an object store is allowed, too."""
    metavar = "DIR|URL" if may_be_url else "DIR"
    return option("--results", type=_Folder(may_be_url), metavar=metavar, help=text)
