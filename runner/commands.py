"""Builds every command that people are told to type: complete, so that it works from any folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Commands", "typed"]


def typed(*words: object) -> str:
    """`runner WORDS`, quoted for a shell; by its full path where `runner` is not on the PATH."""
    program = ["runner"] if shutil.which("runner") else [sys.executable, "-m", "runner"]
    return shlex.join([*program, *map(str, words)])


@dataclass(frozen=True)
class Commands:
    """The commands about one campaign.

    database: as --db takes it. file: the campaign file, if there is one. results: the results folder of the last run.
    settings: the values of --set. remote: the object store to which shards go. Paths are absolute.
    """

    campaign: str
    database: str
    file: str | None = None
    results: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    remote: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], database: str) -> Commands:
        """From a campaign's row."""
        settings = json.loads(row["parameters"] or "{}").get("settings", {})
        return cls(row["name"], database, row["file"], row["results"], settings, row["remote"])

    def verb(self, verb: str, *more: object) -> str:
        """`runner VERB CAMPAIGN MORE`, for every verb but run."""
        return typed(verb, self.campaign, *more, "--db", self.database)

    def run(self, *more: object) -> str:
        """`runner run FILE MORE`, with --db and --results only where they are not the file's own defaults."""
        assert self.file is not None
        beside = Path(self.file).parent
        words = ["run", self.file]
        if self.database != str(beside / "runner.db") or "RUNNER_DB" in os.environ:
            words += ["--db", self.database]
        if self.remote:
            words += ["--results", self.remote]
        elif self.results not in (None, str(beside / "results")):
            words += ["--results", self.results]
        return typed(*words, *self._settings(), *more)

    def preview(self, key: str) -> str:
        """`runner preview FILE` of that job."""
        assert self.file is not None
        return typed("preview", self.file, "--key", key, *self._settings())

    def _settings(self) -> list[str]:
        return [word for name, value in self.settings.items() for word in ("--set", f"{name}={value}")]
