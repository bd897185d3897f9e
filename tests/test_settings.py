"""Settings that `--set` gives are of the kind that the function's default or annotation is, or refused by name."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from campaigns import GOOD
from processes import run

from runner.campaign import Campaign
from runner.errors import CampaignError


class Color(Enum):
    RED = "#ff0000"


def filled(function, **settings: str) -> dict:
    """What a jobs function with these arguments gets."""
    campaign = Campaign("night")
    campaign.jobs(function)
    campaign.scene(lambda: None)

    @campaign.render
    async def render(session, job): ...

    campaign.settings = settings
    campaign.check()
    return next(campaign.iterate_jobs())


ONE, NOTHING = [1], {}


def by_default(
    flag=False, count=4, share=0.5, name="ball", path=Path("a"), sizes=ONE, of=(1,), by=NOTHING, none=None
):
    yield locals()


def by_annotation(
    flag: bool, count: int | None = None, mode: Literal["fast", 2] = "fast", color: Color = Color.RED,
    either: int | str = 0, sizes: list[int] = (), pair: tuple[float, Path] = (), note: Annotated[float, "m"] = 0,
    free: Any = None,
):  # fmt: skip
    yield locals()


@pytest.mark.parametrize(
    ("function", "name", "text", "value"),
    [
        (by_default, "flag", "False", False),
        (by_default, "flag", "yes", True),
        (by_default, "flag", "1", True),
        (by_default, "count", "72", 72),
        (by_default, "share", "1e-3", 0.001),
        (by_default, "name", "12", "12"),
        (by_default, "path", "b/c", Path("b/c")),
        (by_default, "sizes", '[1, "a"]', [1, "a"]),
        (by_default, "of", "[2, 3]", (2, 3)),
        (by_default, "by", '{"a": 1}', {"a": 1}),
        (by_default, "none", "12", "12"),
        (by_annotation, "count", "none", None),
        (by_annotation, "count", "7", 7),
        (by_annotation, "mode", "2", 2),
        (by_annotation, "color", "RED", Color.RED),
        (by_annotation, "color", "#ff0000", Color.RED),
        (by_annotation, "either", "7", 7),
        (by_annotation, "either", "seven", "seven"),
        (by_annotation, "sizes", "[1, 2]", [1, 2]),
        (by_annotation, "pair", '[1, "b"]', (1.0, Path("b"))),
        (by_annotation, "note", "2", 2.0),
        (by_annotation, "free", "2", "2"),
    ],
)
def test_a_setting_is_of_the_arguments_kind(function, name, text, value):
    """Of the annotation's, or else the default's; never a text that only looks like it."""
    got = filled(function, **{"flag": "no", name: text})[name]
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("function", "name", "text", "told"),
    [
        (by_default, "flag", "maybe", "true, yes, 1, false, no, 0"),
        (by_default, "count", "4.5", "whole number"),
        (by_default, "share", "half", "a number"),
        (by_default, "sizes", "1,2", "a list as JSON"),
        (by_default, "by", "[1]", "an object as JSON"),
        (by_annotation, "count", "some", "write none; or write a whole number"),
        (by_annotation, "mode", "slow", "fast, 2"),
        (by_annotation, "sizes", '["a"]', "whole number"),
        (by_annotation, "pair", "[1]", "a list of 2"),
        (by_annotation, "shape", "1", "has no setting 'shape'; it has: color, count"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(function, name, text, told):
    """The message names the setting, what was given, and what to write."""
    with pytest.raises(CampaignError) as refused:
        filled(function, **{"flag": "no", name: text})
    assert repr(name) in str(refused.value) and told in str(refused.value)


def test_an_argument_without_a_default_must_be_set():
    """Said by name before anything is called."""
    with pytest.raises(CampaignError, match=r"needs the setting 'flag'.*--set flag="):
        filled(by_annotation)


def test_a_false_flag_is_false_in_the_campaign(tmp_path):
    """`--set red=False --set blue=no` turn both off, in jobs and in scene; a word that is neither is exit 2."""
    file = tmp_path / "flags.py"
    text = GOOD.replace("def jobs():", "def jobs(count=4, red=False):")
    text = text.replace('yield {"x": 1}', 'for i in range(count): print("job", i, red)')
    text = text.replace("def scene():", "def scene(blue: bool = True):\n    print('blue', blue)")
    file.write_text(text + "\n", "utf-8")
    end = run("run", file, "--set", "count=2", "--set", "red=False", "--set", "blue=no")
    assert end.stdout.splitlines() == ["blue False", "job 0 False", "job 1 False"], end.stderr
    assert run("run", file, "--set", "red=perhaps").returncode == 2
