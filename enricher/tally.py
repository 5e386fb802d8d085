"""The plain counters of a run: added to once a delivery, read by whoever wants to know."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from enricher.histogram import LATENCY_S, Histogram
from enricher.model import DeadLetter, Document, Dropped, Outcome, Output

FAMILIES = 100
"""Families of indices that are told apart, at most: a metric's labels must be few."""
SAMPLED = 128
"""Documents of a delivery whose latency is worked out, about."""
_DATE = re.compile(r"[-._]\d[\d._-]*$")


@dataclass(slots=True)
class Tally:
    """What became of the records so far; the numbers of the summary."""

    read: int = 0
    """Taken from the sources, settled or not."""
    records: int = 0
    """Settled, and acknowledged to the source."""
    documents: Counter[str] = field(default_factory=Counter)
    """By index."""
    alerts: Counter[str] = field(default_factory=Counter)
    outputs: Counter[str] = field(default_factory=Counter)
    """By name; what is sent again counts again."""
    latency: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    """By sink and name of the output, no name for documents: seconds from the records' timestamps
    until they were acknowledged there."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    """By `stage: error`."""
    dropped: Counter[str] = field(default_factory=Counter)
    """By stage."""
    cost_ns: dict[str, int] = field(default_factory=dict)
    """By stage, over the sampled records."""
    sampled: int = 0
    """Records whose cost was measured."""

    def add(self, outcomes: Sequence[Outcome]) -> list[Document]:
        """Count settled outcomes; gives the documents among them that alerts matched."""
        documents = [one for one in outcomes if type(one) is Document]
        self.documents.update(map(_INDEX, documents))
        alerting = [one for one in documents if one[6]]
        self.alerts.update(alert.name for one in alerting for alert in one.alerts)
        if len(documents) < len(outcomes):
            for outcome in outcomes:
                if type(outcome) is DeadLetter:
                    self.dead_letters[f"{outcome.stage}: {outcome.error}"] += 1
                elif type(outcome) is Dropped:
                    self.dropped[outcome.stage] += 1
        return alerting

    def note_latency(
        self, sink: str, output: str, items: Sequence[Document] | Sequence[Output]
    ) -> None:
        """Note that these were acknowledged just now.

        Of many, one in so many counts for all: a p99 is the same, and costs nothing an event.
        """
        times = 1 + len(items) // SAMPLED
        records = [item.record for item in items[::times]]
        stamps = [record.timestamp for record in records if record.timestamp is not None]
        if stamps:
            place = sink, output
            histogram = self.latency.get(place) or self.latency.setdefault(
                place, Histogram(LATENCY_S)
            )
            histogram.observe_since(stamps, time.time(), times)

    def families(self) -> dict[str, int]:
        """Give the documents by index without its date; what goes beyond `FAMILIES` is `other`."""
        found: dict[str, int] = {}
        for index, count in self.documents.items():
            family = family_of(index)
            if family not in found and len(found) >= FAMILIES:
                family = "other"
            found[family] = found.get(family, 0) + count
        return found


def family_of(index: str) -> str:
    """Give an index without its date: `payment-logs-2025.10.20` → `payment-logs-*`."""
    date = _DATE.search(index)
    return f"{index[: date.start() + 1]}*" if date and date.start() else index


_INDEX: Callable[[Document], str] = itemgetter(Document._fields.index("index"))


@dataclass(slots=True)
class Reloads:
    """How often the plan was exchanged while running, for whoever watches."""

    ok: int = 0
    failed: int = 0
    """The old plan was kept."""
    last_time: float | None = None
    """Of the last attempt, in seconds since the epoch."""
    last_error: str | None = None
    """Why the last attempt failed; None where it succeeded."""
