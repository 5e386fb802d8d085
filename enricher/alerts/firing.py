"""What fires: the matches of one alert by their labels, from the first one until it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from enricher.alerts.counts import Counts
from enricher.alerts.digest import Hit
from enricher.alerts.labels import Labels, Texts
from enricher.model import Alert, Event

OVERFLOW = ("overflow", "true")
"""A label that stands for those that were too many."""


class Rules(NamedTuple):
    """What Alertmanager is told of one alert, compiled."""

    labels: Callable[[Texts], Labels]
    common: Labels
    """The labels that are the same for every event."""
    annotations: Callable[[Event], dict[str, str]]
    link: Callable[[Event], str | None] | None
    resolve_after_s: float
    ttl_s: float
    """Seconds after the last match that are tried to tell of it at all."""
    max_label_sets: int


@dataclass(slots=True)
class Fire:
    """Matches with the same labels."""

    labels: Labels
    began_at: float
    """Of the first match, in seconds since the epoch."""
    last: Hit
    ends_at: float
    count: int = 0
    told: int = 0
    """Of those, the ones that some replica knows of."""
    refused: dict[str, int] = field(default_factory=dict)
    """By replica, how many there were when it would not take them."""


class Firing:
    """All that fires of one alert, bounded: what has too many label sets is folded into one.

    Args:
        rules: What is told of it.
        counts: Where it is written down what becomes of the matches.
        on_news: Called when something new fires.
        replicas: How many are told.
    """

    def __init__(
        self, rules: Rules, counts: Counts, on_news: Callable[[], None], replicas: int
    ) -> None:
        self.rules = rules
        self.counts = counts
        self._on_news = on_news
        self._replicas = replicas
        self._fires: dict[Labels, Fire] = {}

    def __len__(self) -> int:
        return len(self._fires)

    def take(self, hit: Hit, alert: Alert) -> None:
        """Note a match."""
        labels = self.rules.labels(alert.labels or ())
        self.counts.matched += 1
        fire = self._burning(labels, hit.at)
        if fire is None and len(self._fires) >= self.rules.max_label_sets:
            self.counts.folded += 1
            labels = (*self.rules.common, OVERFLOW)
            fire = self._burning(labels, hit.at)
        if fire is None:
            fire = self._fires[labels] = Fire(labels, hit.at, hit, 0.0)
            self._on_news()
        fire.count += 1
        fire.last = hit
        fire.ends_at = hit.at + self.rules.resolve_after_s

    def burning(self, now: float) -> list[Fire]:
        """Give what is not over, and forget what is; `now` in seconds since the epoch."""
        fires = [self._burning(labels, now) for labels in list(self._fires)]
        return [fire for fire in fires if fire]

    def _burning(self, labels: Labels, now: float) -> Fire | None:
        """Give what fires with these labels, unless it is over.

        What nobody could be told of burns on until it can be, or its time to live is over.
        """
        fire = self._fires.get(labels)
        if fire is None or now < fire.ends_at:
            return fire
        if not fire.told and now < fire.last.at + self.rules.ttl_s:
            fire.ends_at = now + self.rules.resolve_after_s
            return fire
        self.drop(fire, "expired")
        return None

    def drop(self, fire: Fire, reason: str) -> None:
        """Forget what is over, or can never be told; what nobody knows of is counted."""
        if self._fires.get(fire.labels) is fire:
            del self._fires[fire.labels]
            self.counts.drop(fire.count - fire.told, reason)

    def refused(self, fire: Fire, count: int, replica: str) -> None:
        """Note that a replica takes none of the first `count` matches; others may yet."""
        fire.refused[replica] = count
        if len(fire.refused) == self._replicas:
            self.drop(fire, "refused")

    def abandon(self, reason: str) -> int:
        """Forget all; gives the number of the matches that nobody knows of."""
        fires = list(self._fires.values())
        for fire in fires:
            self.drop(fire, reason)
        return sum([fire.count - fire.told for fire in fires])

    def posted(self, fire: Fire, count: int, replica: str) -> None:
        """Note that a replica knows of the first `count` matches."""
        self.counts.messages += 1
        fire.refused.pop(replica, None)
        if count > fire.told and self._fires.get(fire.labels) is fire:
            self.counts.told += count - fire.told
            fire.told = count

    def as_json(self, fire: Fire) -> dict[str, Any]:
        """Write it as Alertmanager's API v2 wants it."""
        event = fire.last.read().event
        body: dict[str, Any] = {
            "labels": dict(fire.labels),
            "annotations": self.rules.annotations(event),
            "startsAt": _time(fire.began_at),
            "endsAt": _time(fire.ends_at),
        }
        url = self.rules.link(event) if self.rules.link else None
        return body | {"generatorURL": url} if url else body


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
