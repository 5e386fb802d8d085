"""The shipped payments pipeline on real servers tells of everything once, by mail and to Alertmanager."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from redis import Redis

from enricher import document
from enricher.generator import GeneratedRecord
from tests.cli.program import PAYMENTS, ROOT, Daemon
from tests.integration import ledger
from tests.servers.alertmanager import Alertmanager
from tests.servers.smtp import MailServer

PATIENCE_S = 90.0


class Rig:
    """The pipeline on a topic of its own; a digest is out sooner than by default."""

    def __init__(self, kafka: Any, elasticsearch: Any, folder: Path, **urls: str) -> None:
        self.topic = f"mails-{uuid4().hex[:8]}"
        self.kafka, self.elasticsearch, self.folder = kafka, elasticsearch, folder
        self.environment = {
            "KAFKA_BROKERS": kafka.bootstrap,
            "ELASTICSEARCH_URL": elasticsearch.url,
            "ELASTICSEARCH_REPLICAS": "0",
            "ELASTICSEARCH_SHARDS": "1",
            "PYTHONWARNINGS": "default",
            **urls,
        }
        self.sent = 0
        shipped = document.read_file(PAYMENTS).value
        del shipped["tests"]
        shipped["templates"] = str(ROOT / "templates")
        shipped["sources"] = [{"kafka": {"topics": [self.topic], "group": self.topic}}]
        shipped["dead_letters"] = {"topic": f"{self.topic}-dead"}
        for alert in shipped["alerts"]:
            alert |= {"group_wait_s": 1, "group_interval_s": 5}
        (folder / "p.yaml").write_text(json.dumps(shipped))
        kafka.create_topics({self.topic: 4})
        ledger.clear(elasticsearch)

    def start(self) -> Daemon:
        return Daemon("run", "p.yaml", folder=self.folder, environment=self.environment)

    def send(self, count: int, **event: Any) -> None:
        """Send payments, each with an id of its own."""
        now = int(time.time() * 1000)
        numbers = range(self.sent, self.sent + count)
        records = (
            GeneratedRecord(
                self.topic,
                None,
                orjson.dumps(
                    {"service": "payment-service", "payment_id": f"p{n}", "user_id": f"u{n}"}
                    | event
                ),
                now,
            )
            for n in numbers
        )
        asyncio.run(ledger.send(self.kafka.bootstrap, records))
        self.sent += count


RISKY = {
    "level": "BUSINESS",
    "event_type": "PAYMENT_SUCCESS",
    "user_tier": "new",
    "amount": 20_000,
    "payment_method": "UPI",
    "upi_vpa": "a@oksbi",
}
FAILED = {"level": "ERROR", "payment_method": "CARD", "error_code": "E1", "amount": 99.5}


def told(server: MailServer) -> dict[str, int]:
    """Give the count of each mail by its Message-ID: one that is sent again is the same."""
    found = {}
    for mail in list(server.mails):
        first = mail.body("plain").partition("\n")[0]
        count = re.fullmatch(r"HIGH RISK TRANSACTIONS: ([\d,]+), .*", first)
        assert count, first
        found[mail.message["Message-ID"]] = int(count[1].replace(",", ""))
    return found


def until(condition: Any, daemon: Daemon) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, daemon.text[-4000:]
        assert daemon.process.poll() is None, daemon.text[-4000:]
        time.sleep(0.05)


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def rig(
    kafka: Any,
    elasticsearch: Any,
    valkey: Any,
    alertmanager: Alertmanager,
    mails: MailServer,
    tmp_path: Path,
) -> Iterator[Rig]:
    client = Redis.from_url(valkey.url)
    client.flushall()
    client.close()
    urls = {"REDIS_URL": valkey.url, "ALERTMANAGER_URL": alertmanager.url, "SMTP_URL": mails.url}
    made = Rig(kafka, elasticsearch, tmp_path, **urls)
    yield made
    kafka.delete_topics(made.topic)


def test_ten_thousand_matches_are_a_handful_of_mails_and_one_alert(
    rig: Rig, mails: MailServer, alertmanager: Alertmanager
) -> None:
    """None is missing from the counts; what a second run reads again is not told again."""
    with rig.start() as daemon:
        for _ in range(10):
            rig.send(1000, **RISKY)
            rig.send(1000, **FAILED)
        until(lambda: sum(told(mails).values()) >= 10_000, daemon)
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text[-4000:]
    counts = told(mails)
    assert sum(counts.values()) == 10_000
    assert len(counts) <= 6
    mail = mails.mails[0]
    assert mail.message["Subject"].startswith("HIGH RISK TRANSACTION ALERT: ₹20000 - User u")
    assert "State Bank of India" in mail.body("html")
    (group,) = alertmanager.groups(alertname="PaymentProcessingError", error_code="E1")
    (alert,) = group["alerts"]
    assert alert["labels"] == {
        "alertname": "PaymentProcessingError",
        "service": "payment-service",
        "severity": "high",
        "payment_method": "CARD",
        "error_code": "E1",
    }
    assert alert["annotations"]["description"] == "Payment of ₹99.5 failed with error: E1"
    assert "_id:%22mails-" in alert["generatorURL"]
    text = (
        (rig.folder / "p.yaml")
        .read_text()
        .replace(f'"group": "{rig.topic}"', '"group": "again-' + rig.topic + '"')
    )
    (rig.folder / "p.yaml").write_text(text)
    with rig.start() as daemon:
        rig.send(3, **RISKY)
        until(lambda: sum(told(mails).values()) >= 10_003, daemon)
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text[-4000:]
    assert sum(told(mails).values()) == 10_003


def test_mail_server_stopped_and_started_under_load(rig: Rig, mails: MailServer) -> None:
    """All are told in the end, and all records are indexed meanwhile."""
    done = threading.Event()

    def feed() -> None:
        while not done.is_set():
            rig.send(200, **RISKY)

    with rig.start() as daemon:
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            for _ in range(2):
                seen = len(mails.mails)
                until(lambda seen=seen: len(mails.mails) > seen, daemon)
                mails.stop()
                reached = ledger.count(rig.elasticsearch)
                until(
                    lambda reached=reached: ledger.count(rig.elasticsearch) > reached + 500, daemon
                )
                until(lambda: "cannot be sent" in daemon.text, daemon)
                mails.start()
        finally:
            done.set()
            feeder.join()
        until(lambda: sum(told(mails).values()) >= rig.sent, daemon)
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text[-4000:]
    assert sum(told(mails).values()) == rig.sent
