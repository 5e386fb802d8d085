"""Alerts of the daemon: real Kafka, Elasticsearch and Alertmanager; all that breaks, breaks under load."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from enricher.generator import GeneratedRecord
from tests.admin_client import get
from tests.cli.program import Daemon
from tests.integration import ledger
from tests.servers.alertmanager import Alertmanager

PATIENCE_S = 60.0
PIPELINE = """\
name: alerts
connections:
  kafka: {brokers: "${KAFKA_BROKERS}"}
  elasticsearch: {hosts: "${ELASTICSEARCH_URL}"}
  alertmanager: {urls: "${ALERTMANAGER_URL}", timeout_s: 1}
sources:
  - kafka: {topics: [TOPIC], group: TOPIC}
stages:
  - json: {}
routes:
  - elasticsearch: {index: TOPIC}
dead_letters: {topic: TOPIC-dead}
alerts:
  - name: NAME
    when: level == "ERROR"
    summary: "{service} failed"
    alertmanager:
      labels: {service: "{service}", severity: high}
      annotations: {description: "n is {n}"}
      resolve_after_s: 8
"""


class Rig:
    """A daemon on a topic of its own, and the Alertmanager that it tells."""

    def __init__(self, kafka: Any, elasticsearch: Any, folder: Path, *urls: str) -> None:
        self.topic = f"alerts-{uuid4().hex[:8]}"
        self.name = f"Alert{uuid4().hex[:8]}"
        self.kafka, self.elasticsearch, self.folder = kafka, elasticsearch, folder
        self.file = folder / "p.yaml"
        self.write(PIPELINE)
        self.socket = folder / "admin"
        self.environment = {
            "KAFKA_BROKERS": kafka.bootstrap,
            "ELASTICSEARCH_URL": elasticsearch.url,
            "ALERTMANAGER_URL": ",".join(urls),
        }
        self.sent = 0
        kafka.create_topics({self.topic: 4})

    def write(self, text: str) -> None:
        self.file.write_text(text.replace("TOPIC", self.topic).replace("NAME", self.name))

    def start(self, *options: str) -> Daemon:
        arguments = ("run", "p.yaml", "--admin", f"unix:{self.socket}", *options)
        return Daemon(*arguments, folder=self.folder, environment=self.environment)

    def send(self, count: int, **event: Any) -> None:
        """Send events that match, unless they say otherwise."""
        now = int(time.time() * 1000)
        fields = {"level": "ERROR", "service": "payment-service", **event}
        numbers = range(self.sent, self.sent + count)
        records = (
            GeneratedRecord(self.topic, None, orjson.dumps({"n": n, **fields}), now)
            for n in numbers
        )
        asyncio.run(ledger.send(self.kafka.bootstrap, records))
        self.sent += count

    def until_settled(self) -> None:
        found = ledger.wait_for_count(self.elasticsearch, self.sent, indices=self.topic)
        assert found == self.sent

    def metric(self, name: str) -> float:
        """Give a metric of alerts, summed over the workers."""
        _, text = get(self.socket, "/metrics")
        samples = (
            (sample.name, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        )
        return sum(value for found, value in samples if found == f"enricher_alert{name}")

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, (self.folder / "daemon.log").read_text()[-4000:]
            time.sleep(0.05)


@pytest.fixture
def rig(
    kafka: Any, elasticsearch: Any, alertmanager: Alertmanager, tmp_path: Path
) -> Iterator[Rig]:
    made = Rig(kafka, elasticsearch, tmp_path, alertmanager.url)
    yield made
    ledger.clear(elasticsearch, made.topic)
    kafka.delete_topics(made.topic)


def test_ten_thousand_matches_by_two_workers(rig: Rig, alertmanager: Alertmanager) -> None:
    """One grouped alert, none missing from the counts; SIGTERM ends it in order."""
    with rig.start("--workers", "2") as daemon:
        rig.send(10_000)
        rig.until_settled()
        rig.until(lambda: rig.metric("_told_total") == 10_000)
        assert rig.metric("s_total") == 10_000
        assert rig.metric("_waiting") == 0
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text[-4000:]
    (group,) = alertmanager.groups(alertname=rig.name)
    (alert,) = group["alerts"]
    assert alert["labels"] == {
        "alertname": rig.name,
        "service": "payment-service",
        "severity": "high",
    }


def test_killed_and_started_again_under_load(rig: Rig, alertmanager: Alertmanager) -> None:
    """Every record is indexed meanwhile; all matches are told in the end, some of them late."""
    done = threading.Event()

    def feed() -> None:
        while not done.is_set():
            rig.send(500, service=f"s{rig.sent // 500 % 50}")

    with rig.start() as daemon:
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            rig.until(lambda: alertmanager.alerts(alertname=rig.name))
            for break_it, mend_it in (
                (alertmanager.kill, alertmanager.start),
                (alertmanager.pause, alertmanager.resume),
            ):
                break_it()
                failures, matches = rig.metric("_failures_total"), rig.metric("s_total")
                rig.until(lambda before=failures: rig.metric("_failures_total") > before)  # type: ignore[misc]
                rig.until(lambda before=matches: rig.metric("s_total") > before + 2000)  # type: ignore[misc]
                mend_it()
                rig.until(lambda: alertmanager.alerts(alertname=rig.name))
        finally:
            done.set()
            feeder.join()
        rig.until_settled()
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text[-4000:]
    services = {one["labels"]["service"] for one in alertmanager.alerts(alertname=rig.name)}
    assert f"s{(rig.sent // 500 - 1) % 50}" in services
    assert "alerts dropped" not in daemon.text
    assert f"alertmanager {alertmanager.url} cannot be told" in daemon.text
    assert f"alertmanager {alertmanager.url} did not answer" in daemon.text


def test_a_reload_changes_what_is_told(rig: Rig, alertmanager: Alertmanager) -> None:
    """SIGHUP: new alerts, new labels, with what fires going on; a bad file changes nothing."""
    with rig.start() as daemon:
        rig.send(1)
        rig.until(lambda: alertmanager.alerts(alertname=rig.name))
        rig.write(PIPELINE.replace("severity: high", "severity: low"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for('"reloaded"')
        rig.send(1)
        rig.until(lambda: alertmanager.alerts(alertname=rig.name, severity="low"))
        assert alertmanager.alerts(alertname=rig.name, severity="high")
        rig.write(PIPELINE.replace("severity: high", "user-id: high"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for('"user-id\\" is no label')
        rig.send(1)
        rig.until(lambda: rig.metric("_told_total") == 3)
        assert len(alertmanager.alerts(alertname=rig.name)) == 2
