"""Fixtures: a real SQLite file and a real PostgreSQL for every store test, a real browser for every run."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa
from needs import missing
from processes import end_all
from waiting import Clock

from runner.store import Store

# What ignores them here (nohup, a shell's background) would have every runner that a test starts ignore them
# too.
for number, act in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, act)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="leave out what needs a browser, PostgreSQL or long"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin what takes longest first. --quick leaves out what would take more than a minute in all."""
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, not _is_slow(item)))
    if not config.getoption("--quick"):
        return
    slow = {item for item in items if _is_slow(item)}
    config.hook.pytest_deselected(items=list(slow))
    items[:] = [item for item in items if item not in slow]


def _is_slow(item: pytest.Item) -> bool:
    needs = set(getattr(item, "fixturenames", ())) & {
        "browser_path",
        "full_browser",
        "postgres_url",
        "small_disk",
    }
    is_on_server = "postgresql" in item.name
    return bool(needs) or is_on_server or item.get_closest_marker("slow") is not None


def _postgres_binaries() -> Path | None:
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres_url():
    """A throwaway PostgreSQL server, or the one that RUNNER_TEST_POSTGRES names.

    It listens on a socket in its own folder and on no port, so that test runs at the same time do not
    meet. The folder's name is short: a socket's path may have 107 bytes.
    """
    named = os.environ.get("RUNNER_TEST_POSTGRES")
    if named:
        yield named
        return
    binaries = _postgres_binaries()
    if binaries is None:
        missing("PostgreSQL (initdb)")
    with tempfile.TemporaryDirectory(prefix="runner-pg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # The server refuses to run as root.
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        as_user = as_user if os.geteuid() == 0 else []
        if as_user:
            shutil.chown(folder, "postgres")
        environment = os.environ | {"LC_ALL": "C", "HOME": name}

        def run(command: str, *arguments: str) -> None:
            subprocess.run(
                [*as_user, str(binaries / command), "-D", f"{name}/data", *arguments],
                check=True,
                env=environment,
                cwd=folder,
                stdout=subprocess.DEVNULL,
            )

        run("initdb", "-U", "runner", "-A", "trust", "-E", "UTF8", "--no-sync")
        # One account has a password.
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text("local all locked scram-sha-256\n" + rules.read_text())
        # Here nothing outlives a power cut.
        options = f"-k {name} -c listen_addresses='' -c max_connections=200 -c fsync=off"
        run("pg_ctl", "-o", options, "-l", f"{name}/log", "-w", "start")
        yield f"postgresql+psycopg://runner@/postgres?host={name}"
        run("pg_ctl", "-m", "immediate", "stop")


@pytest.fixture
def postgres_database_url(postgres_url):
    """The URL of an empty database in PostgreSQL."""
    name = f"test_{uuid.uuid4().hex}"
    admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield sa.make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of an empty database, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return request.getfixturevalue("postgres_database_url")


class DistantServer:
    """A database on a PostgreSQL server, behind a link that can be cut. url: leads through that link."""

    def __init__(self, url: sa.URL, link: Path):
        self._url, self._link = url, link
        self.url = url.update_query_dict({"host": str(link)}).render_as_string(hide_password=False)

    def join(self) -> None:
        self._link.symlink_to(self._url.query["host"])

    def cut(self) -> None:
        """Refuse new connections, and end those that are open."""
        self._link.unlink()
        engine = sa.create_engine(self._url)
        ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        with engine.connect() as connection:
            connection.exec_driver_sql(f"{ends} AND pid <> pg_backend_pid()")
        engine.dispose()


@pytest.fixture
def distant_server(postgres_database_url):
    """An empty database on a server that may go away and come back."""
    url = sa.make_url(postgres_database_url)
    if not url.query.get("host", "").startswith("/"):
        missing("a PostgreSQL server with a socket: unset RUNNER_TEST_POSTGRES")
    # Its name is short, as the server's own.
    with tempfile.TemporaryDirectory(prefix="runner-pg-", dir="/tmp") as folder:
        server = DistantServer(url, Path(folder) / "link")
        server.join()
        yield server


@pytest.fixture
def port():
    """A TCP port for a server that must be told its port, kept from other test runs on this machine."""
    # Below the range that systems hand out by themselves.
    for number in random.sample(range(10_000, 32_000), 100):
        with (
            open(Path(tempfile.gettempdir()) / f"runner-test-port-{number}", "w") as lock,
            socket.socket() as probe,
        ):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                probe.bind(("localhost", number))
            except OSError:
                continue
            probe.close()
            yield number
            os.unlink(lock.name)
            return
    pytest.fail("no free port among 100")


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


@pytest.fixture(autouse=True, scope="session")
def own_state(tmp_path_factory):
    """Tests note in a folder of their own when somebody last looked."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def nothing_runs_on():
    """What a failed test has started does not run on into the next."""
    yield
    end_all()


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        missing("the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The browser that tests render with."""
    from runner.browsers import find_browser
    from runner.errors import BrowserError

    try:
        return find_browser()
    except BrowserError:
        missing("a browser")


@pytest.fixture(scope="session")
def full_browser(browser_path) -> str:
    """The browser with windows that people have, even where the quicker one without windows is here, too."""
    return shutil.which("chromium") or browser_path


@pytest.fixture
def vendors(tmp_path, monkeypatch):
    """A folder of EGL drivers as both NVIDIA's and Mesa's packages leave it."""
    folder = tmp_path / "egl_vendor.d"
    folder.mkdir()
    for file, library in (("10_nvidia.json", "libEGL_nvidia.so.0"), ("50_mesa.json", "libEGL_mesa.so.0")):
        facts = {"file_format_version": "1.0.0", "ICD": {"library_path": library}}
        (folder / file).write_text(json.dumps(facts))
    (folder / "99_broken.json").write_text("{")
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", str(folder))
    monkeypatch.delenv("__EGL_VENDOR_LIBRARY_FILENAMES", raising=False)
    return folder


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Puts an nvidia-smi first on the PATH that knows cards of these names; without names it fails."""

    def put(*names: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        lines = "".join(f"echo '{name}'\n" for name in names) or "echo 'NVIDIA-SMI has failed'; exit 9\n"
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}")
        (folder / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return put
