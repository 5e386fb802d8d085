"""What a real Alertmanager knows once alerts have matched."""

from __future__ import annotations

from pathlib import Path

import orjson

from tests.cli.program import Daemon
from tests.servers.alertmanager import Alertmanager

PIPELINE = """\
name: orders
connections: {alertmanager: {urls: "${ALERTMANAGER_URL}"}}
stages: [json: {}]
routes: [console: {}]
alerts:
  - name: NAME
    when: level == "ERROR"
    summary: "{service} failed"
    alertmanager:
      labels: {service: "{service}", method: "{payment_method}", severity: high}
      annotations: {description: "Payment of ₹{amount} failed with error: {error_code}"}
      generator_url: "http://localhost:5601/app/discover#/?id='{_id}'"
      resolve_after_s: 300
"""


def test_a_match_is_an_alert(alertmanager: Alertmanager, tmp_path: Path) -> None:
    """Labels, annotations of the latest match, and a link to its document are read back."""
    name = "AMatchIsAnAlert"
    (tmp_path / "p.yaml").write_text(PIPELINE.replace("NAME", name))
    events = [
        {"level": "ERROR", "service": "payment-service", "amount": 10, "error_code": "E1"},
        {"level": "INFO", "service": "payment-service"},
        {"level": "ERROR", "service": "payment-service", "amount": 20},
    ]
    (tmp_path / "events.ndjson").write_bytes(b"\n".join(map(orjson.dumps, events)))
    environment = {"ALERTMANAGER_URL": alertmanager.url}
    with Daemon("run", "p.yaml", "events.ndjson", folder=tmp_path, environment=environment) as run:
        assert run.wait() == 0, run.text
    (found,) = alertmanager.alerts(alertname=name)
    assert found["labels"] == {"alertname": name, "service": "payment-service", "severity": "high"}
    assert found["annotations"] == {"description": "Payment of ₹20 failed with error: –"}
    assert found["generatorURL"].startswith("http://localhost:5601/app/discover#/?id='")
