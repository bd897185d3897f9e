"""The command `runner`: its verbs, grouped by purpose, and how it reports mistakes."""

from __future__ import annotations

import atexit
import codecs
import gc
import inspect
import io
import os
import sys
from typing import Any

import click

from runner import __version__
from runner.cli.doctor import doctor
from runner.cli.explain import explain
from runner.cli.init import init
from runner.cli.jobs import list_jobs
from runner.cli.join import join
from runner.cli.look import log, report, verify
from runner.cli.operate import cancel, pause, resume, retry
from runner.cli.pages import help_on
from runner.cli.render import demo, run
from runner.cli.slurm import slurm
from runner.cli.status import status
from runner.cli.take_out import export
from runner.cli.try_out import bench, preview
from runner.commands import typed
from runner.errors import RunnerError, UsageError
from runner.exits import ExitStatus
from runner.reasons import harmless

__all__ = ["main"]

# So many new objects until Python looks for garbage.
_OBJECTS = 100_000
_EPILOG = "Exit status: " + "; ".join(f"{status.value} {status.meaning}" for status in ExitStatus) + "."

# Words from other tools that people type, and the verb that does the same here.
_MEANT = {
    "jobs": "list",
    "ls": "list",
    "top": "status",
    "ps": "status",
    "progress": "status",
    "show": "report",
    "view": "report",
    "summary": "report",
    "info": "explain",
    "inspect": "explain",
    "why": "explain",
    "describe": "explain",
    "start": "run",
    "sbatch": "slurm",
    "submit": "slurm",
    "render": "run",
    "go": "run",
    "continue": "run",
    "benchmark": "bench",
    "try": "preview",
    "test": "preview",
    "stop": "pause",
    "kill": "cancel",
    "new": "init",
    "create": "init",
    "examples": "init",
    "restart": "retry",
    "redo": "retry",
    "requeue": "retry",
    "worker": "join",
    "attach": "join",
    "connect": "join",
    "unpause": "resume",
    "abort": "cancel",
    "check": "verify",
    "docs": "help",
    "man": "help",
}


class _Ascii(io.TextIOWrapper):
    """A stream in ASCII that hides its encoding: click would write UTF-8 to a stream that says ASCII."""

    encoding = "latin-1"


class Verbs(click.Group):
    """Verbs in families. A verb returns its exit status; a RunnerError becomes one line, without a traceback."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.families: dict[str, list[click.Command]] = {}

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Like click's own, but characters that the terminal or file cannot show are replaced, for every verb."""
        # What a command imports is no garbage. To look for some in it, again and again and once more at the end, takes
        # a sixth of a short command's time.
        gc.set_threshold(_OBJECTS)
        atexit.register(gc.freeze)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
                if codecs.lookup(stream.encoding).name == "ascii":
                    setattr(sys, name, _Ascii(stream.buffer, "ascii", "replace", line_buffering=True))
        return super().main(*arguments, **options)

    def add_family(self, title: str, *verbs: click.Command) -> None:
        """Add verbs of one purpose; the help shows them together, in this order."""
        self.families[title] = list(verbs)
        for verb in verbs:
            text, _, example = inspect.cleandoc(verb.help or "").rpartition("Example:")
            # The help ends with the example, after the options; click hides all that follows a form feed.
            verb.help, verb.epilog = f"{text}\f\n\nExample:{example}", f"Example:{example}"
            self.add_command(verb)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb.name or "" for verbs in self.families.values() for verb in verbs]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in self.commands and not word.startswith("-"):
            verb, rest = _MEANT.get(word), args[1:]
            if word.endswith(".zip"):
                verb, rest = "preview", args
            elif word.endswith(".py") or (verb is None and os.path.isfile(f"{word}.py")):
                verb, rest = "run", args
            if verb:
                ctx.fail(f"there is no command {word!r}; what you want may be: {typed(verb, *rest)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for title, verbs in self.families.items():
            with formatter.section(title):
                room = formatter.width - width - 6
                formatter.write_dl(
                    [((verb.name or "").ljust(width), verb.get_short_help_str(room)) for verb in verbs]
                )

    def invoke(self, ctx: click.Context) -> Any:
        try:
            status = super().invoke(ctx)
        except RunnerError as error:
            # What is named in it may hold line breaks, and begins no line of ours.
            click.echo(harmless(f"runner: {error}").replace("\n", "\n  "), err=True)
            status = ExitStatus.USAGE if isinstance(error, UsageError) else ExitStatus.STOPPED
        except KeyboardInterrupt:
            status = ExitStatus.INTERRUPTED
        except BrokenPipeError:
            # The reader of our output has gone, like `head`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = ExitStatus.DONE
        ctx.exit(status or ExitStatus.DONE)


@click.group(
    cls=Verbs,
    epilog=_EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="runner")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Render campaigns of many jobs with Vuer, from start to end, whatever happens in between.

    A campaign is a Python file with its jobs, its scene and its render function. The jobs are kept
    in a database; a run that was stopped or killed goes on where it was.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


main.add_family("Render", init, run, join, slurm, demo)
main.add_family("Try", preview, bench)
main.add_family("Look", status, report, list_jobs, explain, verify, log, doctor)
main.add_family("Operate", pause, resume, cancel, retry)
main.add_family("Take out", export)
main.add_family("Read", help_on)
