"""Alerts that are told in this process: a pipeline's, with senders of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from enricher.alerts.alerting import Alerting
from enricher.alerts.digest import Sender
from enricher.build import build_alerts
from enricher.config import load
from enricher.model import Alert, Document, Record

PATIENCE_S = 20.0
QUICK = {"group_wait_s": 0, "group_interval_s": 0, "max_per_hour": 1000}
"""Nothing is waited for."""
MAIL = {"email": {"sender": "e@localhost", "to": "a@localhost", "subject": "s"}}
HOOK = {"webhook": {"url": "http://localhost"}}


class Telling:
    """The alerts of a pipeline, and who sends them.

    Args:
        folder: For the pipeline's file.
        alerts: Its items of `alerts:`, but for what never matters here.
        senders: By kind.
        connections: Of the pipeline.
    """

    def __init__(
        self,
        folder: Path,
        alerts: Sequence[Mapping[str, Any]],
        senders: Mapping[str, Sender] | None = None,
        connections: Mapping[str, Any] | None = None,
    ) -> None:
        self._file = folder / "pipeline.yaml"
        self._senders = {
            kind: lambda _alert, _setting, sender=sender: sender
            for kind, sender in (senders or {}).items()
        }
        self._connections = dict(connections or {})
        self._count = 0
        self.alerting = Alerting(self._config(alerts).pipeline.connections)
        self.adopt(alerts)

    def _config(self, alerts: Sequence[Mapping[str, Any]]) -> Any:
        pipeline = {
            "name": "telling",
            "connections": self._connections,
            "stages": [{"json": {}}],
            "routes": [{"console": {}}],
            "alerts": [{"when": "true", "summary": "{n}", **alert} for alert in alerts],
        }
        self._file.write_bytes(orjson.dumps(pipeline))
        return load(self._file, {})

    def adopt(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Take other alerts, as a reload does."""
        self.alerting.adopt(build_alerts(self._config(alerts), self._senders))

    def match(self, name: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Let an alert match the documents of these events, as one delivery."""
        self.alerting.take([self.document(name, event) for event in events])

    def document(self, name: str, event: Mapping[str, Any]) -> Document:
        """Make the document of an event, of a record of its own unless it names one as `record`."""
        self._count += 1
        identity = str(event.get("record", f"logs-0-{self._count}-0"))
        record = Record(b"", identity, 0, "logs/0", self._count)
        alerts = (Alert(name, f"about {self._count}"),)
        return Document(record, "s", "logs", identity, None, orjson.dumps(event), alerts)

    @asynccontextmanager
    async def running(self, finish_s: float = 5.0) -> AsyncIterator[None]:
        async with asyncio.timeout(PATIENCE_S * 3), self.alerting.running(finish_s):
            await asyncio.sleep(0.01)  # its tasks begin
            yield


async def until(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition, which another task will make true."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.01)
