"""How a source of Beats is written, when it runs, and the way from a line of ours to its document."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from enricher.cli import service
from enricher.config import PipelineConfig, load
from enricher.model import ConfigError, UserError
from enricher.sources import SOURCES
from tests.beats import wire
from tests.beats.daemon import BeatsDaemon, pipeline_of
from tests.cli.program import PAYMENTS, enricher


@pytest.mark.parametrize("text", ["5044", ":5044", "::1:5044", "h:65536", "h:x", "h:²"])
def test_what_is_no_address(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sources\[0\].beats.listen: an address is HOST:PORT"):
        load(pipeline_of(tmp_path, listen=text))


def chosen(config: PipelineConfig, *only: str) -> dict[str, Any]:
    built = service.build_sources(config, service.Options(only_sources=only))
    return {source.name: source for source in built}


def test_the_shipped_source_runs_where_it_is_asked_for() -> None:
    """Those who use Kafka alone get no port opened; one variable, or one option, opens it."""
    shipped = load(PAYMENTS, {})
    assert list(chosen(shipped)) == ["kafka"]
    assert chosen(shipped, "beats")["beats"].settings.address == ("127.0.0.1", 5044, "")
    listening = load(PAYMENTS, {"BEATS_ENABLED": "true", "BEATS_LISTEN": "127.0.0.1:6044"})
    assert chosen(listening).keys() >= {"kafka", "beats"}
    assert chosen(listening)["beats"].settings.address == ("127.0.0.1", 6044, "")
    with pytest.raises(UserError, match='no source "beat" .did you mean "beats"'):
        chosen(shipped, "beat")


def test_every_example_can_be_built(tmp_path: Path) -> None:
    from tests.beats.certificates import Certificates

    certificates = Certificates(tmp_path)
    for old, new in (
        (certificates.server.certificate, "server.pem"),
        (certificates.server.key, "server.key"),
        (certificates.ca, "clients.pem"),
    ):
        old.rename(tmp_path / new)
    examples = SOURCES["beats"].examples
    for number, example in enumerate(examples):
        head, _, rest = example.partition("\n")
        item = "\n".join([f"  - {head}", *(f"    {line}" for line in rest.splitlines())])
        file = tmp_path / f"{number}.yaml"
        file.write_text(
            f"name: x\nsources:\n{item}\nstages: [{{json: {{}}}}]\n"
            "routes: [{elasticsearch: {index: x}}]\n"
        )
        assert list(chosen(load(file, {}))) == ["beats"]
    assert len(examples) == 2


def test_lines_of_ours_that_filebeat_read_go_the_way_of_all(tmp_path: Path) -> None:
    """The shipped pipeline as it is started without any server; SIGTERM drains it."""
    payment = {
        "timestamp": "2025-11-20T06:30:00Z",
        "service": "payment-service",
        "amount": 120,
        "message": "Payment accepted",
    }
    events = [
        {
            "@timestamp": "2025-11-20T06:31:02.113Z",
            "@metadata": {"beat": "filebeat", "type": "_doc", "version": "8.19.0", "_id": "w-4711"},
            "message": json.dumps(payment),
            "log": {"offset": 4711, "file": {"path": "/var/log/payments.log"}},
            "host": {"name": "web-1"},
        },
        {"@metadata": {"_id": "w-9"}, "message": "no JSON, so it is for people"},
        {"@metadata": {"_id": "w-10"}, ".bad": "a key that Elasticsearch refuses"},
    ]
    options = ("--source", "beats", "--lookups", "users.ndjson", "--dead-letters", "letters.ndjson")
    (tmp_path / "users.ndjson").write_text("")
    environment = {"BEATS_LISTEN": "127.0.0.1:0"}
    with BeatsDaemon(PAYMENTS, tmp_path, *options, environment=environment) as daemon:
        with wire.Client(daemon.port) as client:
            client.send(wire.batch(events, compress=True))
            client.wait_for(3)
        found = daemon.documents()
        daemon.terminate()
        assert daemon.wait() == 0
    enriched = found["beats@w-4711"]
    assert enriched["amount_category"] == "small"
    assert enriched["message"] == "Payment accepted"
    assert enriched["host"] == {"name": "web-1"}
    assert enriched["@timestamp"] == "2025-11-20T12:00:00+05:30"
    assert found["beats@w-9"]["tags"] == ["_timestamp_failure"]
    assert not any("@metadata" in document for document in found.values())
    letter = json.loads((tmp_path / "letters.ndjson").read_text())
    assert (letter["id"], letter["error"], letter["stream"]) == (
        "beats@w-10",
        "BadKey",
        "beats/127.0.0.1",
    )


def test_a_port_that_is_in_use_is_told(tmp_path: Path) -> None:
    """Another program has it, Logstash for one: the daemon says so, and ends with 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        done = enricher(
            "run", PAYMENTS, "--local", "--source", "beats",
            folder=tmp_path, environment={"BEATS_LISTEN": listen, "ENRICHER_ADMIN": "off"},
        )  # fmt: skip
    assert done.code == 2
    assert f"source beats: listen: {listen}: is in use; give another address" in done.err
