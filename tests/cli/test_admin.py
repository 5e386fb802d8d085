"""`enricher run` as those see it who watch it: over HTTP, by systemd, in its log."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from ..admin_client import get
from .program import (
    PATIENCE_S,
    PAYMENTS,
    TINY,
    TINY_EVENTS,
    Daemon,
    Elasticsearch,
    enricher,
    enricher_each,
    serving,
)  # fmt: skip

AWAY = "127.0.0.1:9"
CONNECTED = "connections: {{elasticsearch: {{hosts: '{url}', password: s3cret, username: me}}}}\n"


def until_ready(daemon: Daemon, path: Path, wanted: int = 200) -> Any:
    """Wait until `/health/ready` has a status; give what it says."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            status, body = get(path, "/health/ready")
            if status == wanted:
                return orjson.loads(body)
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        assert daemon.process.poll() is None, daemon.text
        assert time.monotonic() < end, daemon.text
        time.sleep(0.02)


def piped(folder: Path, server: Elasticsearch, *arguments: object, **options: Any) -> Daemon:
    """Run over standard input, which stays open."""
    (folder / "p.yaml").write_text(TINY + CONNECTED.format(url=server.url))
    return Daemon(
        *("run", "p.yaml", "-", "--dead-letters", "dead", *arguments),
        folder=folder,
        stdin=subprocess.PIPE,
        **options,
    )


def test_while_servers_are_away_it_is_alive_and_says_what_is_missing(tmp_path: Path) -> None:
    """From the start, over a unix socket; nothing it says holds a secret; SIGTERM ends it."""
    admin = tmp_path / "admin"
    environment = {
        "KAFKA_BROKERS": AWAY,
        "ELASTICSEARCH_URL": f"http://me:s3cret@{AWAY}",
        "ELASTICSEARCH_API_KEY": "",
        "REDIS_URL": f"redis://:s3cret@{AWAY}/0",
    }
    with Daemon(
        *("run", PAYMENTS, "--admin", f"unix:{admin}"), folder=tmp_path, environment=environment
    ) as daemon:
        end = time.monotonic() + PATIENCE_S
        while "cannot be reached" not in str(told := until_ready(daemon, admin, 503)):
            assert time.monotonic() < end, daemon.text
        assert told["ready"] is False
        assert any(
            one.startswith(f"elasticsearch at http://{AWAY} cannot be reached")
            and "check connections.elasticsearch" in one
            for one in told["reasons"]
        )
        assert "kafka: not connected to kafka yet" in told["reasons"]
        assert get(admin, "/health/live")[0] == 200
        status = orjson.loads(get(admin, "/status")[1])
        assert status["pipeline"] == "payments"
        assert status["sinks"]["elasticsearch"]["blocked"] in told["reasons"]
        text = get(admin, "/metrics")[1]
        assert "enricher_ready 0.0\n" in text
        assert 'enricher_sink_blocked{sink="elasticsearch"} 1.0\n' in text
        daemon.terminate()
        assert daemon.wait() == 0
    assert not admin.exists()
    for said in (str(told), str(status), text, daemon.text):
        assert "s3cret" not in said


def test_refused_credentials_make_it_unready_until_they_are_put_right(tmp_path: Path) -> None:
    """401 while it writes: 503 with that reason; nothing is lost, nothing is a dead letter."""
    admin = tmp_path / "admin"
    with serving() as server, piped(tmp_path, server, "--admin", f"unix:{admin}") as daemon:
        assert until_ready(daemon, admin) == {"ready": True, "reasons": []}
        server.status = 401
        assert daemon.process.stdin is not None
        daemon.process.stdin.write(TINY_EVENTS)
        daemon.process.stdin.flush()
        (reason,) = until_ready(daemon, admin, 503)["reasons"]
        assert "it answers 401" in reason
        status = orjson.loads(get(admin, "/status")[1])
        assert status["records"] == {"read": 7, "settled": 0}
        assert status["bytes_in_flight"] > 0
        server.status = 200
        assert until_ready(daemon, admin) == {"ready": True, "reasons": []}
        end = time.monotonic() + PATIENCE_S
        while (status := orjson.loads(get(admin, "/status")[1]))["records"]["settled"] < 7:
            assert time.monotonic() < end
        assert status["documents"] == {"big": 2, "logs": 2}
        assert status["dead_letters"] == {"json: NotJson": 1, "strict: Failure": 1}
        assert status["dropped"] == {"drop": 1}
        assert status["sinks"]["elasticsearch"]["retries"] >= 1
        daemon.terminate()
        assert daemon.wait() == 0
    assert "s3cret" not in daemon.text


def test_systemd_hears_of_start_and_stop(tmp_path: Path) -> None:
    """READY=1 once the sinks are open, STOPPING=1 at SIGTERM, before the drain is over."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, serving() as server:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        server.answers_bulk = False
        with piped(tmp_path, server, "--drain-s", 600, environment=environment) as daemon:
            heard: list[str] = []
            while "READY=1" not in heard:
                heard += manager.recv(4096).decode().split("\n")
            assert "STATUS=running" in heard
            assert "STOPPING=1" not in heard
            assert daemon.process.stdin is not None
            daemon.process.stdin.write(TINY_EVENTS)
            daemon.process.stdin.flush()
            assert server.asked_bulk.acquire(timeout=PATIENCE_S), daemon.text
            daemon.terminate()
            while "STOPPING=1" not in heard:
                heard += manager.recv(4096).decode().split("\n")
            assert daemon.process.poll() is None
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.wait() == 1


def test_a_port_in_use_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """So is an address that is none; nothing is started."""
    (tmp_path / "p.yaml").write_text(TINY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        cases = (
            (address, f"--admin: {address} is in use, perhaps by another enricher; give another"),
            ("9600", '--admin: "9600" is no address; write HOST:PORT such as 127.0.0.1:9600'),
        )
        results = enricher_each(
            (("run", "p.yaml", "-", "--local", "--admin", one) for one, _ in cases),
            folder=tmp_path,
        )
    for result, (_, message) in zip(results, cases, strict=True):
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(message)
        assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "served"),
    [
        (("-", "--local"), {"ENRICHER_ADMIN": ""}, False),
        (("-", "--local"), {"ENRICHER_ADMIN": "unix:admin"}, True),
        (("-", "--local", "--admin", "unix:admin"), {"ENRICHER_ADMIN": "off"}, True),
    ],
)
def test_files_are_read_without_an_endpoint_unless_one_is_named(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], served: bool
) -> None:
    (tmp_path / "p.yaml").write_text(TINY)
    result = enricher(
        *("run", "p.yaml", *arguments), folder=tmp_path, stdin=TINY_EVENTS, environment=environment
    )
    assert result.code == 0
    assert ("admin endpoint" in result.err) is served


SCRIPT = """
import logging, sys, structlog
from enricher.cli import logs
logs.configure(sys.argv[1], sys.argv[2])
log = structlog.get_logger("x")
log.info("hello", amount="₹5")
key = "".join(["s3", "cret"])
try:
    raise ValueError("two\\nlines")
except ValueError:
    log.exception("it failed")
    logging.getLogger("library").exception("broken")
logging.getLogger("library").warning("careful: %d", 5)
logging.getLogger("library").info("not for us")
"""


def logged(form: str, level: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, form, level], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize("form", ["auto", "json"])
def test_the_log_is_json_where_nobody_is_looking(form: str) -> None:
    """One line an event, exceptions and the warnings of libraries, too."""
    hello, failed, broken, careful = map(orjson.loads, logged(form, "info"))
    assert (hello["event"], hello["level"], hello["amount"]) == ("hello", "info", "₹5")
    assert hello["timestamp"].endswith("Z")
    assert (failed["event"], failed["level"]) == ("it failed", "error")
    assert "ValueError: two\nlines" in failed["exception"]
    assert (broken["event"], broken["error"]) == ("broken", "ValueError('two\\nlines')")
    assert (careful["event"], careful["level"]) == ("careful: 5", "warning")
    assert careful["logger"] == "library"


def test_the_log_for_people_and_its_level() -> None:
    text = "\n".join(logged("console", "info"))
    assert "hello" in text
    assert "amount=₹5" in text
    assert "\x1b" not in text  # no colours in a file
    assert "ValueError: two" in text
    assert "s3cret" not in text  # nor the values of variables
    events = [orjson.loads(line)["event"] for line in logged("json", "error")]
    assert events == ["it failed", "broken"]
