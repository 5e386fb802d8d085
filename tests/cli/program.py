"""The real program, as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson

ROOT = Path(__file__).parents[2]
PAYMENTS = ROOT / "pipelines" / "payments.yaml"
PATIENCE_S = 30.0
SURROUNDINGS = {
    "ALERTMANAGER_URL", "ALERT_EMAIL_FROM", "ALERT_EMAIL_TO", "BEATS_CERTIFICATE", "BEATS_CLIENT_CA", "BEATS_ENABLED", "BEATS_KEY", "BEATS_LISTEN", "DEAD_LETTER_TOPIC", "ELASTICSEARCH_API_KEY", "ELASTICSEARCH_REPLICAS",
    "ELASTICSEARCH_SHARDS", "ELASTICSEARCH_URL", "FRAUD_LOGS_ABOVE", "GEOIP_DATABASE",
    "HTTP_CERTIFICATE", "HTTP_ENABLED", "HTTP_KEY", "HTTP_LISTEN", "HTTP_TOKEN", "KAFKA_BROKERS", "KIBANA_URL", "REDIS_URL",
    "RUNBOOK_URL", "SMTP_URL",
}  # fmt: skip
"""Variables that the shipped pipelines read: a developer's own must not count in a test."""
TINY = """\
name: tiny
stages:
  - json: {}
  - convert: {field: n}
  - convert: {name: strict, field: s, on_error: dead_letter}
  - drop: {when: level == "DEBUG"}
routes:
  - when: n > 100
    elasticsearch: {index: big, id: "{id}"}
  - elasticsearch: {index: logs}
alerts:
  - {name: Huge, when: n > 1000, summary: "{id} is {n}"}
"""
"""A pipeline with every kind of outcome."""
TINY_EVENTS = b"""\
{"n":"5","a":{"b":[1,2.0,null]}}
{"n":101,"id":"x"}
no JSON
{"level":"DEBUG"}
{"n":1001,"id":"\xe2\x82\xb9"}
{"s":"text"}

{"n":"many"}
"""
TINY_LINES = (
    '{"outcome":"document","index":"logs","id":null,"document":{"n":5,"a":{"b":[1,2.0,null]}},"alerts":[]}',
    '{"outcome":"document","index":"big","id":"x","document":{"n":101,"id":"x"},"alerts":[]}',
    """{"outcome":"dead_letter","stage":"json","error":"NotJson","reason":"not JSON: invalid literal, expected 'null': line 1 column 1 (char 0)"}""",
    '{"outcome":"dropped","stage":"drop"}',
    '{"outcome":"document","index":"big","id":"₹","document":{"n":1001,"id":"₹"},"alerts":["Huge"]}',
    """{"outcome":"dead_letter","stage":"strict","error":"Failure","reason":"s is no number: 'text'"}""",
    """{"outcome":"document","index":"logs","id":null,"document":{"n":"many","tags":["_convert_failure"],"failures":{"convert":"n is no number: 'many'"}},"alerts":[]}""",
)
"""What comes of them, to the letter."""


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [orjson.loads(line) for line in self.out.splitlines()]


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    return {**kept, "PYTHONWARNINGS": "error", **environment}


def enricher(
    *arguments: object,
    folder: Path,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> Result:
    """Run a command to its end, in a folder, and see that it never shows a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "enricher", *map(str, arguments)],
        cwd=folder,
        env=surroundings(environment or {}),
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.err, result.err
    assert done.returncode >= 0, result.err
    return result


def enricher_each(
    commands: Iterable[Sequence[object]],
    *,
    folder: Path,
    environments: Iterable[Mapping[str, str]] | None = None,
) -> list[Result]:
    """Run several commands side by side: most of what each one takes is Python's start."""

    def run(arguments: Sequence[object], environment: Mapping[str, str]) -> Result:
        return enricher(*arguments, folder=folder, environment=environment)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(run, commands, environments or repeat({})))


class Daemon:
    """A command that goes on until it is told to end."""

    def __init__(
        self,
        *arguments: object,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.log = folder / "daemon.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "enricher", *map(str, arguments)],
                cwd=folder,
                env=surroundings(environment or {}),
                stdin=stdin,
                stdout=output,
                stderr=output,
            )

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait_for(self, *texts: str) -> None:
        """Return once every text is in the log."""
        end = time.monotonic() + PATIENCE_S
        while not all(text in self.text for text in texts):
            assert self.process.poll() is None, self.text
            assert time.monotonic() < end, self.text
            time.sleep(0.01)  # between two looks

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        return self.process.wait(timeout_s)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Elasticsearch(ThreadingHTTPServer):
    """A real HTTP server on loopback that says what the test wants, at once or never."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers_bulk = True
        self.resumed = threading.Event()
        """Once set, what was not answered is."""
        self.status = 200
        self.asked = threading.Semaphore(0)
        """Released for every request."""
        self.asked_bulk = threading.Semaphore(0)
        self.targets: list[str] = []
        self.authorizations: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Elasticsearch

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.targets.append(f"{self.command} {self.path.partition('?')[0]}")
        self.server.authorizations.append(self.headers.get("authorization", ""))
        self.server.asked.release()
        if self.path.startswith("/_bulk"):
            self.server.asked_bulk.release()
            if not self.server.answers_bulk:
                self.server.resumed.wait()
        status = self.server.status
        if status == 200 and self.command == "GET" and self.path != "/":
            status = 404
        said = orjson.dumps(self.said(body, status))
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def said(self, body: bytes, status: int) -> dict[str, Any]:
        if status != 200:
            return {"error": {"type": "resource_not_found_exception", "reason": "because"}}
        if not self.path.startswith("/_bulk"):
            return {"acknowledged": True}
        ids = [next(iter(orjson.loads(line).values()))["_id"] for line in body.splitlines()[::2]]
        items = [{"create": {"_id": one, "status": 201}} for one in ids]
        return {"took": 1, "errors": False, "items": items}

    do_GET = do_PUT = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Elasticsearch]:
    server = Elasticsearch()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
