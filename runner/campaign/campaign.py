"""What a user writes: a Campaign with its jobs, scene and render functions."""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from runner.campaign.assets import AssetFolder
from runner.campaign.script import become_run, remind_at_exit
from runner.campaign.settings import UnfitValue, convert, settable
from runner.campaign.sources import Sources
from runner.errors import AssetError, CampaignError, RunnerError
from runner.job import Policy

# Relative paths of a campaign start from its file's folder, which is kept here while the file is loaded.
current_folder: ContextVar[Path | str] = ContextVar("folder", default="")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Campaign:
    """A named set of jobs with one scene, one render function and one policy.

    name: letters, digits, dot, dash and underscore; it names the results folder.
    max_failures: a job is set aside after its render raised this many times.
    max_crashes: a job is set aside after its browser or process died under it this many times.
    timeout_s: limit of one attempt, in seconds. Without one: ten minutes at first; once twenty jobs are done, twenty
    times their median, at least half a minute. stall_s: limit of one step of a job of many steps, in seconds; without
    one, it is learnt in the same way. backoff_s: wait before the second attempt, in seconds; doubles with each failure.
    assets: the folder whose files scenes may load by `campaign.asset(name)`; relative to the campaign file. settle_s:
    wait before each picture, in seconds, for scenes that go on changing after all is loaded. Splats, for example, are
    sorted after they were first drawn. on_suspect: what becomes of a job whose picture is all of one colour or has the
    same bytes as the one before, or that saved nothing: 'keep' marks it in the report, 'retry' tries again first,
    'fail' counts it as a failure. files: whether a job that saved no file is suspect; False where you want metrics
    only. results: how the files of done jobs are kept: 'folders', a folder for each job, or 'shards', packed into tar
    files as WebDataset reads them, for campaigns of very many jobs. isolate: whether each job begins with the scene
    that the scene function gives. False: it begins with what the job before it in the same tab has left, and pictures
    depend on the order of the jobs.
    deterministic: whether the code of Vuer's page sees chance and time start anew for each job, from its seed and the
    first of January 2000. For elements that place or move things at random.
    on_stray: what becomes of a job whose render left tasks running that it had not awaited. The tasks are cancelled;
    'fail' counts it as a failure, 'warn' notes it in the report.

    Three decorated functions make it whole:

        @campaign.jobs      () → iterable of params (dict), of pairs (key, params), or of Job
        @campaign.scene     () → a Vuer scene, with which each job begins
        @campaign.render    async (session, job) → None; called for each job

    jobs and scene may take keyword arguments with defaults: `runner run FILE --set name=value`
    fills them in, converted to the type of the annotation or the default: a number, true or false, a path, JSON, text.
    """

    def __init__(
        self,
        name: str,
        *,
        max_failures: int = 3,
        max_crashes: int = 3,
        timeout_s: float | None = None,
        stall_s: float | None = None,
        backoff_s: float = 1.0,
        assets: str | Path | None = None,
        settle_s: float = 0.0,
        on_suspect: str = "keep",
        on_stray: str = "fail",
        files: bool = True,
        results: str = "folders",
        isolate: bool = True,
        deterministic: bool = False,
    ):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise CampaignError(
                f"a campaign's name must be letters, digits, '.', '-' and '_', got {name!r:.100}"
            )
        self.name = name
        self.policy = Policy(
            max_failures=max_failures,
            max_crashes=max_crashes,
            timeout_s=timeout_s,
            stall_s=stall_s,
            backoff_s=backoff_s,
            on_suspect=on_suspect,
            on_stray=on_stray,
        )
        _refuse_bad_values(name, self.policy, settle_s)
        self.settle_s = settle_s
        if results not in ("folders", "shards"):
            raise CampaignError(
                f"campaign {name!r}: results must be 'folders' or 'shards', got {results!r:.100}; "
                "'runner run --results PATH' says where they go"
            )
        self.files = files
        self.results = results
        self.isolate = isolate
        self.deterministic = deterministic
        self.assets = None if assets is None else AssetFolder(Path(current_folder.get(), assets))
        self.file: Path | None = None
        self.file_sha256: str | None = None
        self.sources: Sources | None = None
        self._code_sha256 = ""
        self.settings: dict[str, str] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        module = sys._getframe(1).f_globals
        self.defined_in: str | None = module.get("__file__")
        if module.get("__name__") == "__main__":
            remind_at_exit()

    def run(self) -> NoReturn:
        """Do what `runner run FILE` does, with the script's own arguments.

        These are the last lines of a campaign file that is also a script:

            if __name__ == "__main__":
                campaign.run()
        """
        if current_folder.get():
            raise CampaignError(
                f"campaign {self.name!r} is already running: write 'if __name__ == \"__main__\":' above "
                "campaign.run()"
            )
        become_run()

    def jobs(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: the function that yields the campaign's jobs."""
        return self._take("jobs", function)

    def scene(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: the function that returns the scene with which each job begins."""
        return self._take("scene", function)

    def render(self, function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Decorator: the async function that renders one job."""
        if inspect.isasyncgenfunction(function):
            raise CampaignError(
                f"campaign {self.name!r}: render yields something, and nobody would take it: leave out 'yield'; "
                "job.save and job.log keep what it makes"
            )
        if not inspect.iscoroutinefunction(function):
            raise CampaignError(
                f"campaign {self.name!r}: render must be an async function: write 'async def'"
            )
        try:
            inspect.signature(function).bind("session", "job")
        except TypeError as error:
            raise CampaignError(
                f"campaign {self.name!r}: render is called as render(session, job), and takes other arguments ({error})"
            ) from None
        return self._take("render", function)

    def asset(self, name: str) -> str:
        """The URL of a file in the campaign's assets folder, for a scene element to load.

        name: its path below that folder. The URL changes whenever the file does, so call this where the
        element is made; a folder's URL may be gone on from: campaign.asset("robot") + "/urdf/robot.urdf".
        Raises AssetError when there is no such file, or it must not be given out.
        """
        if self.assets is None:
            raise AssetError(
                f'campaign {self.name!r} has no assets folder: name one, as in Campaign(…, assets="meshes")'
            )
        return self.assets.url(name)

    def trace(self, sources: Sources) -> None:
        """From now on, record which files the campaign uses."""
        self.sources = sources
        sources.look_at_modules()
        self._code_sha256 = sources.code_sha256
        if self.assets is not None:
            self.assets.on_use = sources.use

    @property
    def code_sha256(self) -> str | None:
        """A hash of the campaign file, and of what it has imported and read of the user's when it was loaded."""
        return self._code_sha256 or self.file_sha256

    @property
    def space(self) -> Mapping[str, Any]:
        """The names that the render function finds in its module."""
        return getattr(self._functions["render"], "__globals__", {})

    def is_another_file(self, file: str) -> bool:
        """Whether that is a file other than this campaign's own, and still there."""
        other = Path(file)
        return (
            self.file is not None and other != self.file and other.exists() and not other.samefile(self.file)
        )

    def values_of(self, role: str, settings: Mapping[str, str]) -> dict[str, Any]:
        """The arguments of that function with these settings; values that do not fit stay text."""
        values = {}
        for name, parameter in settable(self._functions[role]).items():
            values[name] = parameter.default
            if name in settings:
                try:
                    values[name] = convert(settings[name], parameter)
                except UnfitValue:
                    values[name] = settings[name]
        return values

    def _take(self, role: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if role in self._functions:
            raise CampaignError(f"campaign {self.name!r} has two {role} functions")
        self._functions[role] = function
        return function

    def check(self) -> None:
        """Raise CampaignError when a function or the assets folder is missing, or a setting fits nothing."""
        self._check_assets()
        for role in ("jobs", "scene", "render"):
            if role not in self._functions:
                raise CampaignError(
                    f"campaign {self.name!r} has no {role} function: "
                    f"write one and decorate it with @campaign.{role}"
                )
        known = {name for role in ("jobs", "scene") for name in settable(self._functions[role])}
        for name in self.settings.keys() - known:
            choice = ", ".join(sorted(known)) or "none"
            raise CampaignError(
                f"campaign {self.name!r} has no setting {name!r}; it has: {choice} "
                "(the keyword arguments of its jobs and scene functions)"
            )
        for role in ("jobs", "scene"):
            self._arguments(role)

    def _check_assets(self) -> None:
        if self.assets is None:
            return
        folder = self.assets.folder.resolve()
        if not folder.is_dir():
            raise CampaignError(f"campaign {self.name!r}: assets: there is no folder {folder}")
        if self.file is not None and self.file.resolve().is_relative_to(folder):
            # The database and the results change all the time, and must not be served to browsers.
            raise CampaignError(
                f"campaign {self.name!r}: assets must be a folder of their own, but the campaign file "
                f"lies in {folder} too: put what the scenes load into a subfolder"
            )

    def _arguments(self, role: str) -> dict[str, Any]:
        """The function's arguments from the settings. Raises CampaignError for a value that is unfit or missing."""
        arguments = {}
        for name, parameter in settable(self._functions[role]).items():
            if name in self.settings:
                try:
                    arguments[name] = convert(self.settings[name], parameter)
                except UnfitValue as error:
                    raise CampaignError(
                        f"campaign {self.name!r}: the setting {name!r} cannot be {self.settings[name]!r:.100}: {error}"
                    ) from None
            elif parameter.default is parameter.empty:
                raise CampaignError(
                    f"campaign {self.name!r}: its {role} function needs the setting {name!r}: "
                    f"give it a default, or add '--set {name}=…'"
                )
        return arguments

    def _call(self, role: str) -> Any:
        return self._functions[role](**self._arguments(role))

    def iterate_jobs(self) -> Iterator[Any]:
        """All that the jobs function yields. Its own errors become CampaignError with their line."""
        try:
            jobs = self._call("jobs")
            if not isinstance(jobs, Iterable):
                raise CampaignError(
                    f"the jobs function of {self.file} gives {_kind_of(jobs)}: it must yield one job after another, or "
                    "return a list of them"
                )
            yield from jobs
        except RunnerError:
            raise
        except (Exception, SystemExit) as error:
            raise CampaignError(f"the jobs function of {place_of(error, self.file)}") from error

    def make_scene(self) -> Any:
        """A new scene. Raises CampaignError with the line where the scene function failed, or if it gives none."""
        try:
            with self._reading():
                scene = self._call("scene")
            tag = scene.get("tag") if isinstance(scene, dict) else getattr(scene, "tag", None)
            if tag != "Scene":
                raise CampaignError(
                    f"the scene function of {self.file} gives {_kind_of(scene)}: it must return a scene of Vuer's, "
                    "such as DefaultScene(Sphere(key='ball'), rawChildren=[CameraView(key='ego')])"
                )
            return scene
        except RunnerError:
            raise
        except (Exception, SystemExit) as error:
            raise CampaignError(f"the scene function of {place_of(error, self.file)}") from error

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.sources is None else self.sources.reading()

    async def render_job(self, session: Any, job: Any) -> None:
        """Call the user's render function; its errors are not caught."""
        try:
            with self._reading():
                await self._functions["render"](session, job)
            if self.files:
                job.expect_files()
        finally:
            if self.sources is not None:
                self.sources.look_at_modules()


def _kind_of(given: Any) -> str:
    """What a function has given in place of what it should, for people."""
    if inspect.iscoroutine(given):
        given.close()
    if inspect.iscoroutine(given) or inspect.isasyncgen(given):
        return "what must be awaited, for it is an 'async def'"
    return "nothing" if given is None else f"a {type(given).__name__}"


def _refuse_bad_values(name: str, policy: Policy, settle_s: float) -> None:
    for what, value, least in [
        ("max_failures", policy.max_failures, 1),
        ("max_crashes", policy.max_crashes, 1),
        ("timeout_s", 0.1 if policy.timeout_s is None else policy.timeout_s, 0.1),
        ("stall_s", 0.1 if policy.stall_s is None else policy.stall_s, 0.1),
        ("backoff_s", policy.backoff_s, 0.0),
        ("settle_s", settle_s, 0.0),
    ]:
        if not isinstance(value, (int, float)) or not value >= least:
            raise CampaignError(f"campaign {name!r}: {what} must be at least {least}, got {value!r}")
    if policy.on_suspect not in ("keep", "retry", "fail"):
        raise CampaignError(
            f"campaign {name!r}: on_suspect must be 'keep', 'retry' or 'fail', got {policy.on_suspect!r:.100}"
        )
    if policy.on_stray not in ("fail", "warn"):
        raise CampaignError(
            f"campaign {name!r}: on_stray must be 'fail' or 'warn', got {policy.on_stray!r:.100}"
        )


def file_of(campaign: Campaign | str | Path) -> Path:
    """The campaign's file, or the file that it was made in; the processes of a run read it. Raises CampaignError."""
    if current_folder.get():
        raise CampaignError(
            "a campaign is already running in the process that reads this file: write 'if __name__ == \"__main__\":' "
            "above the line that runs it"
        )
    if not isinstance(campaign, Campaign):
        return Path(campaign).absolute()
    file = campaign.file or campaign.defined_in
    if file is None or not Path(file).is_file():
        raise CampaignError(
            f"campaign {campaign.name!r} is in no file, and a run's processes read one: write '%%writefile "
            f"{campaign.name}.py' as the first line of its cell, run the cell, and then "
            f"runner.run('{campaign.name}.py')"
        )
    return Path(file).absolute()


def place_of(error: BaseException, file: Path | None) -> str:
    """FILE:LINE: TypeName: message, with the innermost line of the user's own file."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if file is not None and frame.filename == str(file)
    ]
    place = f"{file}:{lines[-1]}" if lines else str(file or "the campaign")
    return f"{place}: {type(error).__name__}: {error}"
