"""What fires is told by each replica on its own; servers of the test's own stand in for them."""

from __future__ import annotations

from pathlib import Path

from tests.alerts.hook import hook
from tests.alerts.telling import Telling, until


async def test_what_one_replica_refuses_another_is_told_of(tmp_path: Path) -> None:
    """Also where the other one can only be reached later, and as long as it fires."""
    rules = {"alertmanager": {"resolve_after_s": 8}}
    async with hook(*[400] * 99) as refusing, hook(503) as taking:
        connection = {"alertmanager": {"urls": f"{refusing.url},{taking.url}"}}
        telling = Telling(tmp_path, [{"name": "Access", **rules}], {}, connection)
        counts = telling.alerting.replicas.counts["Access"]
        async with telling.running():
            telling.match("Access", [{}])
            await until(lambda: counts.told)
            await until(lambda: len(taking.seen) > 2)
        assert (counts.told, counts.dropped.total()) == (1, 0)
        assert len(refusing.seen) == 1


async def test_what_fires_of_an_alert_that_is_gone_is_told(tmp_path: Path) -> None:
    """It was not told yet when a reload took the alert away."""
    alert = {"alertmanager": {"resolve_after_s": 1}}
    async with hook() as taking:
        connection = {"alertmanager": {"urls": taking.url}}
        telling = Telling(tmp_path, [{"name": "Gone", **alert}], {}, connection)
        replicas = telling.alerting.replicas
        async with telling.running():
            telling.match("Gone", [{}])
            telling.adopt([{"name": "Other", **alert}])
            await until(lambda: replicas.counts["Gone"].told)
            telling.match("Gone", [{}])
            await until(lambda: not len(replicas.firing["Gone"]))
        assert replicas.counts["Gone"].matched == 1
