"""Everything that tells people what alerts found, in one run; the pipeline never waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import orjson
import structlog

from enricher.alerts.compiled import Compiled
from enricher.alerts.counts import Counts
from enricher.alerts.courier import Courier
from enricher.alerts.couriers import Couriers
from enricher.alerts.digest import Match
from enricher.alerts.replica import Replica
from enricher.alerts.replicas import Replicas
from enricher.connections import Connections
from enricher.model import Document, Event
from enricher.waiting import Notice

log = structlog.get_logger(__name__)

MAX_SUMMARY = 1000
"""Characters of a summary that are kept."""
MAX_BODY = 64 << 10
"""Bytes of a document up to which all of it is kept for those who are told."""
MAX_FIELD = 1000
"""Characters of a field that are kept of a larger one."""
FINISH_S = 5.0
"""Seconds at the end in which what waits is told, at most."""


class Taker(Protocol):
    """Takes the matches of an alert; never waits."""

    def take(self, match: Match) -> None:
        """Note a match."""
        ...


class Account(NamedTuple):
    """What became of the matches of one alert that one kind of sender had to tell."""

    alert: str
    sender: str
    counts: Counts


class Way(NamedTuple):
    """Where alerts are sent, and whether they get there."""

    sender: str
    to: str
    """A replica's URL, or the name of an alert."""
    blocked: str | None
    """Why nothing got there last time."""
    failures: int
    """Attempts that failed."""


class Alerting:
    """Hands matches to those who tell of them.

    Args:
        connections: Where it is told; where one is not configured, nobody is told.
    """

    def __init__(self, connections: Connections) -> None:
        self.replicas = Replicas(connections)
        self.couriers = Couriers(connections)
        self.unsent: Sequence[str] = ()
        """What is only counted, and what to do about it."""
        self._takers: dict[str, list[Taker]] = {}
        self._notice = Notice()

    def adopt(self, alerts: Iterable[Compiled]) -> None:
        """Tell by these alerts from now on; what waits of those that stay waits on."""
        new = {one.alert.name: one for one in alerts}
        self._takers = {
            name: [
                *self.replicas.update(name, new.get(name)),
                *self.couriers.update(name, new.get(name)),
            ]
            for name in dict.fromkeys([*new, *self._takers])
        }

    def warn(self) -> None:
        """Say what nobody is told of."""
        if self.unsent:
            log.warning("alerts that nobody is told of, they are only counted", of=self.unsent)

    def take(self, documents: Iterable[Document]) -> None:
        """Note the alerts of settled documents, at once; never raises."""
        now = time.time()
        for document in documents:
            event: Event | None = None
            for name, summary in document.alerts:
                for taker in self._takers.get(name, ()):
                    try:
                        event = event or event_of(document)
                        shown = summary[:MAX_SUMMARY]
                        taker.take(Match(name, shown, event, document.record.id, now))
                    except Exception as error:  # noqa: BLE001 - the pipeline goes on
                        self._notice.error(f"alert {name} cannot be told: {error!r}")

    def accounts(self) -> list[Account]:
        """Give what became of the matches, by alert and sender; what is gone counts on."""
        replicas, couriers = self.replicas, self.couriers
        return [
            *(Account(name, "alertmanager", counts) for name, counts in replicas.counts.items()),
            *(Account(*key, counts) for key, counts in couriers.counts.items()),
        ]

    def ways(self) -> list[Way]:
        """Give whether each sender, and each replica of Alertmanager, could be reached last."""
        all_ways: list[tuple[str, str, Replica | Courier]] = [
            *(("alertmanager", one.name, one) for one in self.replicas.each),
            *((kind, name, one) for (name, kind), one in self.couriers.by_key.items()),
        ]
        return [Way(kind, to, one.blocked, one.failures) for kind, to, one in all_ways]

    @asynccontextmanager
    async def running(self, finish_s: float = FINISH_S) -> AsyncIterator[None]:
        """Tell meanwhile; at the end, what waits is told within `finish_s` seconds, or dropped."""
        self.warn()
        parts = (self.replicas, self.couriers)
        tasks = [asyncio.create_task(part.run()) for part in parts]
        try:
            yield
        finally:
            for part in parts:
                part.finish()
            _, late = await asyncio.wait(tasks, timeout=min(finish_s, FINISH_S))
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for part in parts:
                await part.close()


def event_of(document: Document) -> Event:
    """Read a document back, with its `_id` and `_index`, for those who are told of it.

    Of one that is larger than `MAX_BODY` only numbers and texts are kept, cut to `MAX_FIELD`.
    """
    event: Event = orjson.loads(document.body)
    if len(document.body) > MAX_BODY:
        event = {
            name: value[:MAX_FIELD] if type(value) is str else value
            for name, value in event.items()
            if type(value) not in (dict, list)
        }
    event["_id"], event["_index"] = document.id, document.index
    return event
