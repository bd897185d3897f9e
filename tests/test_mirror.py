"""The copy of the metrics log at --log-root is exact in the end, whatever the place does meanwhile."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from campaigns import complete_jobs, read_metrics, write_colors
from clients import run_for_tabs
from processes import within
from waiting import wait_until

from runner.errors import UsageError, WorldFault
from runner.job import Place
from runner.results import LogMirror, MetricsLog, ResultsFolder, mirror
from runner.store import Store


class Server:
    """An HTTP server in a thread. faults: answers that it gives, one each, instead of 200."""

    def __init__(self, handle):
        self.faults: list[int] = []
        self.requests = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                server.requests += 1
                size = int(self.headers.get("Content-Length", 0))
                content = handle(self.command, self.path, self.headers, self.rfile.read(size))
                self.send_response(server.faults.pop(0) if server.faults else 200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Type", "application/json")
                self.send_header("ETag", '"x"')
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def ml_logger_server(tmp_path):
    """ML-Logger's own server logic behind HTTP: its `serve` does not start on Python 3.10 and later (0.10.24)."""
    from ml_logger.serdes import deserialize, serialize
    from ml_logger.server import LoggingServer
    from ml_logger.structs import LoadEntry, LogEntry, LogOptions

    logging = LoggingServer(cwd=str(tmp_path / "remote"), silent=True)

    def handle(command, _path, _headers, body):
        if command == "GET":
            return serialize(logging.load(*LoadEntry(**json.loads(body)))).encode()
        entry = LogEntry(**json.loads(body))
        logging.log(entry.key, deserialize(entry.data), entry.type, LogOptions(*entry.options))
        return b"ok"

    server = Server(handle)
    yield server
    server.close()


@pytest.fixture
def log(sqlite_store, tmp_path):
    """The log of a campaign with 20 done jobs, written."""
    place = Place(results=str(tmp_path / "results"))
    campaign_id = sqlite_store.add_campaign("night", place=place)
    complete_jobs(sqlite_store, campaign_id, 20)
    log = MetricsLog(sqlite_store, campaign_id, ResultsFolder(tmp_path / "results", "night"))
    log.log_params(campaign={"name": "night"})
    log.sync()
    yield log
    log.close()


def assert_copied(log, folder):
    for name in ("metrics.pkl", "parameters.pkl", "README.md", ".charts.yml"):
        assert (folder / "night" / name).read_bytes() == (log.folder / name).read_bytes()


def test_a_server_that_answers_badly_has_each_record_once_in_the_end(
    log, sqlite_store, ml_logger_server, tmp_path
):
    """A request that was carried out and answered by an error is not simply sent again."""
    copy = LogMirror(log, ml_logger_server.url, print)
    copy.copy()
    assert_copied(log, tmp_path / "remote")
    complete_jobs(sqlite_store, 1, 5, first=20)
    log.sync()
    ml_logger_server.faults = [500]
    with pytest.raises(WorldFault, match="500"):
        copy.copy()
    copy.copy()
    assert_copied(log, tmp_path / "remote")
    complete_jobs(sqlite_store, 1, 5, first=25)
    log.sync()
    before = ml_logger_server.requests
    copy.copy()
    assert_copied(log, tmp_path / "remote")
    assert ml_logger_server.requests == before + 1  # what is new was appended
    sqlite_store.requeue(1, [sqlite_store.reader.jobs(1)[3]["key"]])
    log.sync()
    copy.copy()
    assert_copied(log, tmp_path / "remote")
    assert len(read_metrics(ml_logger_server.url, "night")) == 29


def test_large_logs_go_in_parts_of_whole_records(log, ml_logger_server, tmp_path, monkeypatch):
    """Whoever reads the copy while it is being written finds records, not a torn tail."""
    monkeypatch.setattr(mirror, "_LARGEST_PART", 700)
    seen = []
    copy = LogMirror(log, ml_logger_server.url, print)
    while copy._send_part():
        seen.append(len(read_metrics(tmp_path / "remote", "night")))
    assert seen[-1] == 20 and len(seen) > 3
    assert_copied(log, tmp_path / "remote")


@pytest.mark.slow
def test_a_folder_can_hold_the_copy(log, tmp_path):
    """As on a disk that is mounted from elsewhere; by the command, too."""
    log.close()
    end = within("log", "--db", tmp_path / "test.db", "--log-root", tmp_path / "elsewhere")
    assert end.exit_code == 0, end.stderr
    assert_copied(log, tmp_path / "elsewhere")


@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.slow
def test_buckets_hold_whole_files(log, sqlite_store, scheme, monkeypatch):
    """ML-Logger writes single files to S3 and Google Cloud Storage; the copy there is written whole."""
    files, written = {}, []

    def handle(command, path, headers, body):
        if command == "GET":
            # Google's library asks for the bucket, in a thread of its own.
            return json.dumps({"name": "bucket"}).encode()
        written.append(path)
        if command == "POST":
            # A multipart upload to Cloud Storage: JSON with the name, then the content.
            boundary = headers["Content-Type"].split("boundary=")[1].strip('"').encode()
            _, about, content, _ = body.split(b"--" + boundary)
            name = json.loads(about.split(b"\r\n\r\n", 1)[1])["name"]
            files[name] = content.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            assert parse_qs(urlsplit(path).query)["uploadType"] == ["multipart"]
            return json.dumps({"name": name}).encode()
        assert command == "PUT" and path.startswith("/bucket/")
        files[path.removeprefix("/bucket/").split("?")[0]] = body
        return b""

    server = Server(handle)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    try:
        copy = LogMirror(log, f"{scheme}://bucket/runs", print)
        copy.copy()
        complete_jobs(sqlite_store, 1, 5, first=20)
        log.sync()
        copy.copy()
        requests = len(written)
        copy.copy()
        assert len(written) == requests  # nothing was new
    finally:
        server.close()
    for name in ("metrics.pkl", "parameters.pkl"):
        assert files[f"runs/night/{name}"] == (log.folder / name).read_bytes()


@pytest.mark.parametrize("root", ["ftp://x", "s3://", "http://", "gs://", "file://x"])
def test_other_roots_are_refused(log, root):
    """A root that cannot be served is said at once, with what can be."""
    with pytest.raises(UsageError, match="name a folder, http://"):
        LogMirror(log, root, print)


def test_a_place_that_is_away_holds_up_nothing(log):
    """It is said once; at the end, with the command that makes up for it."""
    said = []
    copy = LogMirror(log, "http://127.0.0.1:9", said.append)
    copy.start()
    wait_until(lambda: said, "the first complaint")
    assert not copy.close(limit_s=20.0)
    assert len(said) == 2 and "rendering goes on" in said[0] and "runner log night --log-root" in said[1]


@pytest.mark.slow
def test_a_run_keeps_the_copy_up_to_date(tmp_path, ml_logger_server):
    """`runner run --log-root` ends with a whole copy."""
    file = write_colors(tmp_path, count=5)
    end = run_for_tabs(file, "--log-root", ml_logger_server.url)
    assert end.returncode == 0, end.stderr
    assert len(read_metrics(tmp_path / "remote", "colors")) == 5
    with Store(tmp_path / "runner.db") as store:
        assert store.reader.progress(1).done == 5
