"""The metrics of alerts add up to the matches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from enricher import metrics
from enricher.health import Health
from enricher.model import Unavailable
from tests.alerts.recorder import Recorder
from tests.alerts.telling import HOOK, MAIL, QUICK, Telling, until
from tests.test_runtime import Run


def scrape(health: Health) -> dict[str, dict[str, float]]:
    """Give the values of every metric of alerts by their labels."""
    text = metrics.exposition(metrics.registry_of(health)).decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name.startswith("enricher_alert_"):
                key = " ".join(labels.values())
                found.setdefault(name.removeprefix("enricher_alert_"), {})[key] = value
    return found


async def test_metrics_and_status(tmp_path: Path) -> None:
    mail, hook = Recorder(), Recorder()
    mail.answering.clear()
    alerts: list[dict[str, Any]] = [
        {"name": "A", "fingerprint": "{user}", **QUICK, **MAIL, **HOOK},
        {"name": "B", "alertmanager": {"labels": {"kind": "{kind}"}, "max_label_sets": 2}},
    ]
    connections = {"alertmanager": {"urls": "http://127.0.0.1:1"}}  # nobody listens there
    telling = Telling(tmp_path, alerts, {"email": mail, "webhook": hook}, connections)
    telling.alerting.unsent = ["C by email: set X"]
    health = Health(Run().runtime, asyncio.Event(), alerting=telling.alerting)
    async with telling.running(finish_s=0.1):
        telling.match("A", [{"user": n % 3} for n in range(10)])
        telling.match("B", [{"kind": f"k{n % 4}"} for n in range(8)])
        await until(lambda: hook.digests and telling.alerting.replicas.each[0].blocked)
        found = scrape(health)
        status = health.status()["alerting"]
    assert found["told_total"] == {"A email": 0, "A webhook": 3, "B alertmanager": 0}
    assert found["suppressed_total"] == {"A email": 7, "A webhook": 7, "B alertmanager": 0}
    assert found["waiting"] == {"A email": 3, "A webhook": 0, "B alertmanager": 8}
    assert found["messages_total"] == {"A email": 0, "A webhook": 1, "B alertmanager": 0}
    assert found["folded_total"]["B alertmanager"] == 4
    assert found["firing"] == {"B": 3}
    replica = "alertmanager http://127.0.0.1:1"
    assert found["blocked"] == {"email A": 0, "webhook A": 0, replica: 1}
    assert found["failures_total"][replica] >= 1
    assert status["unsent"] == ["C by email: set X"]
    assert [(one["alert"], one["sender"], one["waiting"]) for one in status["told"]] == [
        ("B", "alertmanager", 8),
        ("A", "email", 3),
        ("A", "webhook", 0),
    ]
    found = scrape(health)
    assert found["dropped_total"] == {"A stopped email": 3, "B stopped alertmanager": 8}
    assert set(found["waiting"].values()) == {0}


async def test_a_blocked_sender_is_seen(tmp_path: Path) -> None:
    mail = Recorder()

    def away(_: object) -> None:
        raise Unavailable("mail.example.com:25 is away")

    mail.answer = away
    telling = Telling(tmp_path, [{"name": "A", **QUICK, **MAIL}], {"email": mail})
    health = Health(Run().runtime, asyncio.Event(), alerting=telling.alerting)
    async with telling.running(finish_s=0):
        telling.match("A", [{}])
        await until(lambda: scrape(health)["blocked"] == {"email A": 1})
        (way,) = health.status()["alerting"]["senders"]
    assert way["blocked"] == "alert A by email cannot be sent: mail.example.com:25 is away"
    assert health.reasons() == ["sinks: not connected yet"]  # alerts have no part in readiness
