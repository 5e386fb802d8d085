"""`enricher run` with a look-up that waits for Redis: it goes on by itself, and it can be ended."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis

from ..admin_client import get
from ..cli.program import Daemon

PATIENCE_S = 60.0
COUNT = 2_500
WAITING = """\
name: waiting
connections:
  elasticsearch: {store: out.db}
  redis: {url: "${REDIS_URL}"}
sources: [file: {paths: [in.ndjson]}]
stages:
  - json: {}
  - lookup: {name: user, key: "u:{u}", target: user, on_unavailable: wait}
routes: [elasticsearch: {index: logs}]
"""


def until(condition: Callable[[], bool], daemon: Daemon) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert daemon.process.poll() is None, daemon.text
        assert time.monotonic() < end, daemon.text
        time.sleep(0.02)


def stored(folder: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / "out.db") as database:
        rows = database.execute("select document from documents").fetchall()
    database.close()
    return [orjson.loads(row[0]) for row in rows]


class Waiting:
    """A run over a file that asks a Redis which is not there."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "p.yaml").write_text(WAITING)
        lines = (orjson.dumps({"n": n, "u": n % 100}) for n in range(COUNT))
        (folder / "in.ndjson").write_bytes(b"\n".join(lines))
        self.folder = folder
        self.url = url

    def start(self, drain_s: int) -> Daemon:
        socket = self.folder / "admin"
        options = ("--drain-s", drain_s, "--admin", f"unix:{socket}", "--format", "json")
        environment = {"REDIS_URL": self.url}
        daemon = Daemon("run", "p.yaml", *options, folder=self.folder, environment=environment)
        until(lambda: socket.exists() and self.reasons() != [], daemon)
        return daemon

    def reasons(self) -> list[str]:
        try:
            status, body = get(self.folder / "admin", "/health/ready")
        except ConnectionRefusedError:
            return []
        reasons: list[str] = orjson.loads(body)["reasons"]
        assert (status == 503) == bool(reasons)
        return [one for one in reasons if one != "sinks: not connected yet"]


@pytest.fixture
def waiting(valkey: Any, tmp_path: Path) -> Iterator[Waiting]:
    with Redis.from_url(valkey.url) as client:
        client.flushdb()
        client.mset({f"u:{n}": f'{{"n":{n}}}' for n in range(100)})
    valkey.kill()
    yield Waiting(tmp_path, valkey.url)
    valkey.start()


def test_a_run_waits_for_redis_and_goes_on_by_itself(waiting: Waiting, valkey: Any) -> None:
    """Not ready meanwhile, with the reason; one line in the log; then every record is enriched."""
    with waiting.start(drain_s=30) as daemon:
        (reason,) = waiting.reasons()
        assert reason.startswith("user: redis cannot be asked: ConnectionError")
        assert reason.endswith("records wait, nothing is lost")
        time.sleep(2)  # many attempts
        assert daemon.text.count("user: the store is away; records wait") == 1
        assert stored(waiting.folder) == []
        valkey.start()
        assert daemon.wait(PATIENCE_S) == 0, daemon.text
    found = stored(waiting.folder)
    assert len(found) == COUNT
    assert all(one["user"] == {"n": one["u"]} and "tags" not in one for one in found)


def test_sigterm_ends_a_run_that_waits(waiting: Waiting, valkey: Any) -> None:
    """At the drain's deadline; nothing was written half enriched, and the next run does it all."""
    with waiting.start(drain_s=1) as daemon:
        daemon.terminate()
        assert daemon.wait(PATIENCE_S) == 1, daemon.text
        assert "the drain's deadline passed: what was not settled will be read again" in daemon.text
    assert stored(waiting.folder) == []
    with waiting.start(drain_s=30) as daemon:
        valkey.start()
        assert daemon.wait(PATIENCE_S) == 0, daemon.text
    assert sorted(one["n"] for one in stored(waiting.folder)) == list(range(COUNT))


def test_a_second_sigterm_ends_it_at_once(waiting: Waiting) -> None:
    with waiting.start(drain_s=600) as daemon:
        daemon.terminate()
        until(lambda: "stopping" in waiting.reasons(), daemon)
        daemon.terminate()
        assert daemon.wait(PATIENCE_S) == 1
