"""The program on the example of docs/alerts.md; and those of its commands that never send."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from enricher.alerts_page import EVENT, EXAMPLE
from tests.alerts.black_hole import BlackHole
from tests.cli.program import enricher
from tests.servers.alertmanager import Alertmanager

STRICT = "  - convert: {field: order_id, on_error: dead_letter}\n"


@pytest.fixture
def name(tmp_path: Path) -> str:
    """Write the example into the folder, with an alert of its own name; give the name."""
    name = f"Order{uuid4().hex[:8]}"
    test = f"tests: [{{name: fires, given: {EVENT}, expect: {{alerts: [{name}]}}}}]\n"
    pipeline = EXAMPLE.replace("OrderFailed", name) + test
    (tmp_path / "orders.yaml").write_text(pipeline)
    strict = pipeline.replace("routes:\n", f"{STRICT}routes:\n").replace(test, "")
    (tmp_path / "strict.yaml").write_text(strict)
    (tmp_path / "events.ndjson").write_text(EVENT + "\n")
    return name


def test_the_example_of_the_docs(alertmanager: Alertmanager, tmp_path: Path, name: str) -> None:
    """Labels, annotations and all arrive, and nothing is missing that a warning would name."""
    environment = {"ALERTMANAGER_URL": alertmanager.url}
    arguments = ("run", "orders.yaml", "-")
    done = enricher(*arguments, folder=tmp_path, stdin=EVENT.encode(), environment=environment)
    assert done.code == 0, done.err
    (found,) = alertmanager.alerts(alertname=name)
    assert found["labels"] == {
        "alertname": name,
        "severity": "high",
        "service": "orders",
        "error": "Timeout",
    }
    assert found["annotations"] == {"description": "Order o1 failed: no answer"}
    assert "nobody is told" not in done.err


def test_what_nobody_is_told_of_is_named_at_the_start(tmp_path: Path, name: str) -> None:
    """Which alert, by which sender, and which variable to set; the run goes on without."""
    done = enricher("run", "orders.yaml", "events.ndjson", folder=tmp_path)
    assert done.code == 0
    assert f"{name} by alertmanager: set ALERTMANAGER_URL" in done.err
    assert f"ALERT {name}: orders: Timeout" in done.err
    (tmp_path / "orders.yaml").write_text(EXAMPLE.replace("alertmanager: {urls", "redis: {url"))
    done = enricher("run", "orders.yaml", "events.ndjson", folder=tmp_path)
    assert "OrderFailed by alertmanager: give connections.alertmanager.urls" in done.err


def test_only_a_run_sends(tmp_path: Path, name: str) -> None:
    """Not dry-run, test, bench, dlq replay, nor a local run: none even connects."""
    events, letters = "events.ndjson", ("--dead-letters", "letters.ndjson")
    with BlackHole() as hole:
        environment = {"ALERTMANAGER_URL": f"http://{hole.address}"}
        for file in (tmp_path / "orders.yaml", tmp_path / "strict.yaml"):
            senders = (
                f"    webhook: {{url: 'http://{hole.address}'}}\n"
                "    email: {sender: a@b.example, to: a@b.example, subject: s}\n"
                "    alertmanager:\n"
            )
            text = file.read_text().replace("    alertmanager:\n", senders)
            smtp = f"connections:\n  smtp: {{url: 'smtp://{hole.address}'}}\n"
            file.write_text(text.replace("connections:\n", smtp))

        def run(*arguments: str) -> str:
            done = enricher(*arguments, folder=tmp_path, environment=environment)
            assert done.code == 0, done.err
            return done.out + done.err

        assert f'"alerts":["{name}"]' in run("dry-run", "orders.yaml", events)
        assert f"! {name}" in run("dry-run", "orders.yaml", events, "--explain")
        assert "1 passed" in run("test", "orders.yaml")
        run("bench", "orders.yaml", events)
        assert f"ALERT {name}" in run("run", "orders.yaml", events, "--local")
        run("run", "strict.yaml", events, *letters)
        (tmp_path / "strict.yaml").write_text((tmp_path / "orders.yaml").read_text())
        assert "1  settled and removed" in run("dlq", "replay", "strict.yaml", *letters)
        assert hole.accepted == 0
        run("run", "orders.yaml", events, "--drain-s", "1")
        assert hole.accepted == 3
