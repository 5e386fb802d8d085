"""All that Alertmanager is told: what fires, and the replicas that hear of it."""

from __future__ import annotations

import asyncio

import structlog

from enricher.alerts.compiled import Compiled
from enricher.alerts.counts import Counts
from enricher.alerts.firing import Firing
from enricher.alerts.replica import Replica
from enricher.connections import AlertmanagerConnection, Connections
from enricher.waiting import end, surely

log = structlog.get_logger(__name__)


class Replicas:
    """Keeps what fires, and tells every replica of it, each on its own.

    Args:
        connections: Name the replicas; there may be none.

    Raises:
        UserError: a TLS file cannot be used.
    """

    def __init__(self, connections: Connections) -> None:
        self.firing: dict[str, Firing] = {}
        """By alert. What fires of a removed one is told until it is over."""
        self.counts: dict[str, Counts] = {}
        """Of removed alerts, too."""
        self.each = replicas_of(connections.alertmanager, self.firing)

    def update(self, name: str, compiled: Compiled | None) -> list[Firing]:
        """Give what takes an alert's matches from now on; None: there is no such alert."""
        rules = compiled.firing if compiled else None
        if rules is None or not self.each:
            return []
        if name in self.firing:
            self.firing[name].rules = rules
        else:
            counts = self.counts.setdefault(name, Counts())
            self.firing[name] = Firing(rules, counts, self._on_news, len(self.each))
        return [self.firing[name]]

    def _on_news(self) -> None:
        for replica in self.each:
            replica.news.set()

    async def run(self) -> None:
        """Tell until told to finish."""
        async with asyncio.TaskGroup() as group:
            for replica in self.each:
                group.create_task(surely(f"alertmanager {replica.name}", replica.run))

    def finish(self) -> None:
        """Make `run()` tell a last time of what fires, and end."""
        for replica in self.each:
            replica.finish()

    async def close(self) -> None:
        """Free the connections; what nobody knows of is dropped, and counted."""
        for name, firing in self.firing.items():
            if count := firing.abandon("stopped"):
                log.error("alerts dropped at the end", alert=name, matches=count)
        for replica in self.each:
            await end(replica.close)


def replicas_of(
    connection: AlertmanagerConnection | None, firing: dict[str, Firing]
) -> list[Replica]:
    """Make a client of each replica. Raises UserError for an unusable TLS file."""
    options = connection.client_options() if connection else []
    if not options:
        return []
    import httpx

    return [Replica(httpx.AsyncClient(**one), one["base_url"], firing) for one in options]
