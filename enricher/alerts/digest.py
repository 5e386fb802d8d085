"""What a sender is given: the matches of one alert, gathered over a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import orjson

from enricher.model import Event

MOST_SHOWN = 10
"""Matches of a digest that are told in full; the others are a number."""


class Match(NamedTuple):
    """One event for which an alert fired, once its document is durable."""

    alert: str
    summary: str
    event: Event
    """The document, as it was written, with its `_id` and `_index`."""
    record_id: str
    at: float
    """When it was settled: seconds since the epoch."""


class Hit(NamedTuple):
    """A match as it waits: few are told in full, so few documents are read back."""

    alert: str
    summary: str
    body: bytes
    """The document, as it was written."""
    id: str
    """Its `_id`."""
    index: str  # type: ignore[assignment]  # hides tuple.index(), which nobody calls
    record_id: str
    at: float
    """When it was settled: seconds since the epoch."""

    def read(self) -> Match:
        """Read the document back."""
        event: Event = orjson.loads(self.body)
        event["_id"], event["_index"] = self.id, self.index
        return Match(self.alert, self.summary, event, self.record_id, self.at)


@dataclass(frozen=True, slots=True)
class Digest:
    """Matches of one alert that are told together."""

    alert: str
    shown: tuple[Match, ...]
    """The first ones, `MOST_SHOWN` at most, never none."""
    count: int
    """All of them."""
    first_at: float
    last_at: float
    """Of the first and the last match: seconds since the epoch."""

    @property
    def unseen(self) -> int:
        """Give how many are not shown: the "and 942 more"."""
        return self.count - len(self.shown)


class Refused(Exception):  # noqa: N818 - a decision of the other side
    """Raised by a sender for what will never be taken, however often it is sent."""


class Sender(Protocol):
    """Delivers digests to people or programs; knows nothing of queues, limits or retries."""

    async def send(self, digest: Digest) -> None:
        """Return once the other side has taken it.

        Raises:
            Unavailable: it may be taken later.
            Refused: it never will.
        """
        ...

    async def close(self) -> None:
        """Free the connection."""
        ...
