"""Everything that tells people what alerts found, of one run; the pipeline never waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import orjson
import structlog

from enricher.alerts.alert import Alert
from enricher.alerts.counts import Counts
from enricher.alerts.digest import Match
from enricher.alerts.firing import Firing, Rules
from enricher.alerts.labels import Builtins, annotator, labeller, linker
from enricher.alerts.replica import Replica
from enricher.connections import Connections
from enricher.model import Document, Event
from enricher.waiting import Notice

log = structlog.get_logger(__name__)

MAX_SUMMARY = 1000
"""Characters of a summary that are kept."""


class Listener(Protocol):
    """Takes the matches of one alert; never waits."""

    def take(self, match: Match) -> None:
        """Note a match."""
        ...


class Alerting:
    """Hands matches to those who tell of them.

    Args:
        alerts: Of the pipeline file.
        connections: Of the pipeline file; what is not there is not told.
        builtins: What `{$hostname}` and the like stand for.
    """

    def __init__(
        self, alerts: Sequence[Alert], connections: Connections, builtins: Builtins
    ) -> None:
        self.counts: dict[tuple[str, str], Counts] = {}
        """By alert and sender."""
        self._builtins = builtins
        self._firing: dict[str, Firing] = {}
        self._listeners: dict[str, list[Listener]] = {}
        self._notice = Notice()
        self.replicas = list(replicas_of(connections, self._firing))
        self._setup(alerts)

    def _setup(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            if alert.alertmanager is not None and self.replicas:
                counts = self.counts.setdefault((alert.name, "alertmanager"), Counts())
                firing = Firing(rules_of(alert, self._builtins), counts, self._tell_replicas)
                self._firing[alert.name] = firing
                self._listeners.setdefault(alert.name, []).append(firing)

    def _tell_replicas(self) -> None:
        for replica in self.replicas:
            replica.news.set()

    def take(self, documents: Iterable[Document]) -> None:
        """Note the alerts of settled documents; costs nothing but this, and never raises."""
        now = time.time()
        for document in documents:
            event: Event | None = None
            for name, summary in document.alerts:
                for listener in self._listeners.get(name, ()):
                    try:
                        event = event or event_of(document)
                        listener.take(
                            Match(name, summary[:MAX_SUMMARY], event, document.record.id, now)
                        )
                    except Exception as error:  # noqa: BLE001 - the pipeline goes on
                        self._notice.error(f"alert {name} cannot be told: {error!r}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell meanwhile."""
        tasks = [asyncio.create_task(replica.run()) for replica in self.replicas]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(replica.tell() for replica in self.replicas))
            for replica in self.replicas:
                await replica.close()


def event_of(document: Document) -> Event:
    """Read a document back, with its id and index, for those who are told of it."""
    event: Event = orjson.loads(document.body)
    event["_id"], event["_index"] = document.id, document.index
    return event


def rules_of(alert: Alert, builtins: Builtins) -> Rules:
    """Compile what Alertmanager is told."""
    target = alert.alertmanager
    assert target is not None
    constant = {label: text for label, text in target.labels.items() if "{" not in text}
    return Rules(
        labeller(alert.name, target.labels, builtins),
        labeller(alert.name, constant, builtins)({}),
        annotator(target.annotations, builtins),
        linker(target.generator_url, builtins) if target.generator_url else None,
        target.resolve_after_s,
        alert.ttl_s,
        target.max_label_sets,
    )


def replicas_of(connections: Connections, firing: dict[str, Firing]) -> Iterable[Replica]:
    """Make a client of each replica. Raises UserError for an unusable TLS file."""
    connection = connections.alertmanager
    if connection is None or not connection.urls:
        return
    import httpx

    for url in connection.urls:
        options = connection.client_options(url)
        yield Replica(httpx.AsyncClient(**options), options["base_url"], firing)
