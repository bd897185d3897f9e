"""Fixtures: a real SQLite file and a real PostgreSQL for every store test, a real browser for every run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from runner.store import Store

IN_CI = os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Skip the test for want of a tool, but never in CI, where everything must be there."""
    if IN_CI:
        pytest.fail(f"{what} is missing, and CI must not go without it")
    pytest.skip(f"{what} is missing: scripts/test says how to install it")


def wait_until(fact, what: str, timeout_s: float = 60.0):
    """Poll until fact() is truthy and return it; fail, saying what was waited for."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = fact()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"waited {timeout_s:.0f} s in vain for {what}")


class Clock:
    """A clock that tests move by hand."""

    def __init__(self, now: float):
        self.now = now

    def __call__(self) -> float:
        return self.now


def _postgres_binaries() -> Path | None:
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory):
    """A throwaway PostgreSQL server, or the one that RUNNER_TEST_POSTGRES names."""
    named = os.environ.get("RUNNER_TEST_POSTGRES")
    if named:
        yield named
        return
    binaries = _postgres_binaries()
    if binaries is None:
        missing("PostgreSQL (initdb)")
    folder = tmp_path_factory.mktemp("postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The server refuses to run as root.
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    as_user = as_user if os.geteuid() == 0 else []
    if as_user:
        for parent in [folder, *folder.parents]:
            if parent.owner() == "root" and parent != Path("/") and parent.stat().st_mode & 0o011 == 0:
                parent.chmod(parent.stat().st_mode | 0o011)
        shutil.chown(folder, "postgres")
    data = folder / "data"
    environment = os.environ | {"LC_ALL": "C", "HOME": str(folder)}

    def run(*command: str) -> None:
        subprocess.run(
            [*as_user, *command], check=True, env=environment, cwd=folder, stdout=subprocess.DEVNULL
        )

    run(str(binaries / "initdb"), "-D", str(data), "-U", "runner", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=200"
    pg_ctl = str(binaries / "pg_ctl")
    run(pg_ctl, "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    yield f"postgresql+psycopg://runner@127.0.0.1:{port}/postgres"
    run(pg_ctl, "-D", str(data), "-m", "immediate", "stop")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of an empty database, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    server = request.getfixturevalue("postgres_url")
    name = f"test_{time.time_ns()}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0)


@pytest.fixture
def monotonic() -> Clock:
    return Clock(50.0)


@pytest.fixture
def store(database_url, clock, monotonic):
    """An empty store with clocks that the test moves, on each database in turn."""
    with Store(database_url, clock=clock, monotonic=monotonic, jitter=lambda: 1.0) as store:
        yield store


@pytest.fixture
def sqlite_store(tmp_path):
    """An empty store in a SQLite file."""
    with Store(tmp_path / "test.db") as store:
        yield store


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The browser that tests render with."""
    from runner.browsers import find_browser
    from runner.errors import BrowserError

    try:
        return find_browser()
    except BrowserError:
        missing("a browser")
