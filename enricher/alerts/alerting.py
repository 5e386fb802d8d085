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
from enricher.alerts.digest import Hit
from enricher.alerts.marks import Marks
from enricher.alerts.replica import Replica
from enricher.alerts.replicas import Replicas
from enricher.connections import Connections
from enricher.model import Alert, Document
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

    def take(self, hit: Hit, alert: Alert) -> None:
        """Note a match; `alert` has its marks."""
        ...


class Takers(NamedTuple):
    """Who takes the matches of an alert, and what tells these apart."""

    each: Sequence[Taker]
    marks: Marks

    def marked(self, alert: Alert, hit: Hit) -> Alert:
        """Give a match with its marks, read off the document where they speak of it."""
        if alert.labels is not None:
            return alert
        event = hit.read().event
        labels = tuple([label(event) for label in self.marks.labels])
        return alert._replace(fingerprint=self.marks.fingerprint(event), labels=labels)


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
        self._takers: dict[str, Takers] = {}
        self._notice = Notice()

    def adopt(self, alerts: Iterable[Compiled]) -> None:
        """Tell by these alerts from now on; what waits of those that stay waits on."""
        new = {one.alert.name: one for one in alerts}
        for name in self._takers.keys() - new.keys():
            self.replicas.update(name, None)
            self.couriers.update(name, None)
        self._takers = {
            name: Takers(
                [*self.replicas.update(name, one), *self.couriers.update(name, one)], one.marks
            )
            for name, one in new.items()
        }

    def warn(self) -> None:
        """Say what nobody is told of."""
        if self.unsent:
            log.warning("alerts that nobody is told of, they are only counted", of=self.unsent)

    def take(self, documents: Iterable[Document]) -> None:
        """Note the alerts of settled documents, at once; never raises."""
        now = time.time()
        for document in documents:
            for alert in document.alerts:
                takers = self._takers.get(alert.name)
                if takers is None:
                    continue
                hit: Hit | None = None
                for taker in takers.each:
                    try:
                        if hit is None:
                            made = hit_of(document, alert, now)
                            marked, hit = takers.marked(alert, made), made
                        taker.take(hit, marked)
                    except Exception as error:  # noqa: BLE001 - the pipeline goes on
                        self._notice.error(f"alert {alert.name} cannot be told: {error!r}")

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


def hit_of(document: Document, alert: Alert, now: float) -> Hit:
    """Keep what those who are told of a match may want.

    Of a document that is larger than `MAX_BODY` only numbers and texts, cut to `MAX_FIELD`.
    """
    body = document.body
    if len(body) > MAX_BODY:
        kept = {
            name: value[:MAX_FIELD] if type(value) is str else value
            for name, value in orjson.loads(body).items()
            if type(value) not in (dict, list)
        }
        body = orjson.dumps(kept)
    summary = alert.summary[:MAX_SUMMARY]
    record_id = document.record.id
    return Hit(alert.name, summary, body, document.id, document.index, record_id, now)
