"""The verb that prints a page of the documentation, which ships with the package."""

from __future__ import annotations

import difflib
import sys
from importlib import resources

import click

from runner.errors import UsageError

__all__ = ["help_on"]


@click.command("help")
@click.argument("topic", required=False)
@click.pass_context
def help_on(ctx: click.Context, topic: str | None) -> None:
    """Print a page of the documentation, on a TOPIC or a command.

    It needs no network. Without a TOPIC it lists all topics.

    Example: runner help results
    """
    pages = _pages()
    group = ctx.parent and ctx.parent.command
    verb = group.get_command(ctx, topic) if isinstance(group, click.Group) and topic else None
    if topic is None:
        width = max(map(len, pages))
        for name, text in pages.items():
            click.echo(f"{name.ljust(width)}  {text.splitlines()[0].lstrip('# ')}")
    elif topic.lower() in pages:
        _show(pages[topic.lower()])
    elif verb and ctx.parent:
        with click.Context(verb, info_name=verb.name, parent=ctx.parent) as of_verb:
            _show(verb.get_help(of_verb))
    else:
        near = difflib.get_close_matches(topic, pages, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"there is no page on {topic!r}{meant}; there are: {', '.join(pages)}")


def _pages() -> dict[str, str]:
    """The text of each page, by its name."""
    folder = resources.files("runner") / "docs"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".md")), key=lambda file: file.name
    )
    return {file.name.removesuffix(".md"): file.read_text("utf-8") for file in files}


def _show(text: str) -> None:
    """Page by page on a terminal."""
    if sys.stdout.isatty():
        click.echo_via_pager(text)
    else:
        click.echo(text, nl=not text.endswith("\n"))
