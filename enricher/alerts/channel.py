"""What one sender has to tell of one alert: gathered into digests, each fingerprint once.

A state machine without I/O, by a clock that it is given. `courier.py` sends what departs here.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from enricher.alerts.counts import Counts
from enricher.alerts.digest import MOST_SHOWN, Digest, Hit

MOST_KNOWN = 10_000
"""Fingerprints that are known at a time; the oldest is forgotten."""
MOST_UNCHECKED = 10_000
"""Matches that wait for the shared memory; what comes beyond them does not ask it."""
MOST_BYTES = 16 << 20
"""Bytes of their documents; of those beyond, nothing but the summary could be shown."""
HOUR_S = 3600.0

Fingerprint = bytes


class Rules(NamedTuple):
    """How often an alert may be told: see the fields of these names in a pipeline file."""

    repeat_after_s: int
    group_wait_s: float
    group_interval_s: float
    max_per_hour: int
    ttl_s: float


class Parked(NamedTuple):
    """A match that waits to be looked up."""

    fingerprint: Fingerprint
    hit: Hit


@dataclass(slots=True)
class Gathered:
    """The matches of a digest."""

    began: float
    """By the channel's clock."""
    first_at: float
    last_at: float = 0.0
    shown: list[Hit] = field(default_factory=list)
    count: int = 0
    fingerprints: list[Fingerprint] = field(default_factory=list)
    """Of the first `MOST_KNOWN` matches."""


class Channel:
    """Takes matches, and says what is to be sent when.

    Args:
        alert: Its name.
        rules: How often it may be told.
        counts: Where it is written down what becomes of the matches.
        shared: Whether fingerprints are looked up in a memory that others share, before they
            count.
        clock: Gives seconds that never go back.
    """

    def __init__(
        self,
        alert: str,
        rules: Rules,
        counts: Counts,
        *,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.alert = alert
        self.rules = rules
        self.counts = counts
        self.unchecked: list[Parked] = []
        """What has to be looked up there."""
        self._bytes = 0
        """Of the documents in it."""
        self._shared = shared
        self._clock = clock
        self._known: OrderedDict[Fingerprint, float | None] = OrderedDict()
        """Until when each is not told again; None while it waits to be told."""
        self._waiting: Gathered | None = None
        self._leaving: Gathered | None = None
        self._expires_at = 0.0
        """When the one that is leaving is too old to be sent."""
        self._next_at = 0.0
        """When the interval since the last one is over."""
        self._sent_at: deque[float] = deque()
        """When the messages of the last hour went."""

    @property
    def waiting(self) -> int:
        """Give the matches that still have to be told."""
        gathered = [one.count for one in (self._waiting, self._leaving) if one]
        return sum(gathered) + len(self.unchecked)

    def take(self, fingerprint: Fingerprint, hit: Hit) -> None:
        """Note a match; what is told already, or waits to be, is only counted."""
        self.counts.matched += 1
        if self._is_known(fingerprint):
            self.counts.suppressed += 1
            return
        self._remember(fingerprint, None)
        if self._shared and len(self.unchecked) < MOST_UNCHECKED:
            if self._bytes + len(hit.body) > MOST_BYTES:
                hit = hit._replace(body=b"{}")
            self._bytes += len(hit.body)
            self.unchecked.append(Parked(fingerprint, hit))
        else:
            self._gather(fingerprint, hit)

    def checked(self, count: int, told: Collection[Fingerprint]) -> None:
        """Go on with the first `count` that were looked up; `told` are those that others told."""
        looked_up, self.unchecked = self.unchecked[:count], self.unchecked[count:]
        for fingerprint, hit in looked_up:
            self._bytes -= len(hit.body)
            if fingerprint in told:
                self.counts.suppressed += 1
                self._known.pop(fingerprint, None)  # the others know until when
            else:
                self._gather(fingerprint, hit)

    def _is_known(self, fingerprint: Fingerprint) -> bool:
        until = self._known.get(fingerprint, 0.0)
        return until is None or self._clock() < until

    def _remember(self, fingerprint: Fingerprint, until: float | None) -> None:
        if fingerprint not in self._known and len(self._known) >= MOST_KNOWN:
            self._known.popitem(last=False)
        self._known[fingerprint] = until

    def _gather(self, fingerprint: Fingerprint, hit: Hit) -> None:
        gathered = self._waiting
        if gathered is None:
            gathered = self._waiting = Gathered(self._clock(), hit.at)
        gathered.count += 1
        gathered.last_at = hit.at
        if len(gathered.shown) < MOST_SHOWN:
            gathered.shown.append(hit)
        if len(gathered.fingerprints) < MOST_KNOWN:
            gathered.fingerprints.append(fingerprint)
        else:
            self._known.pop(fingerprint, None)  # nobody would note that it waits no more

    def due_at(self) -> float | None:
        """Give the time from which on a digest may depart; None while there is none."""
        if self._waiting is None or self._leaving is not None:
            return None
        free_at = 0.0
        if len(self._sent_at) >= self.rules.max_per_hour:
            free_at = self._sent_at[-self.rules.max_per_hour] + HOUR_S
        return max(self._waiting.began + self.rules.group_wait_s, self._next_at, free_at)

    def due_in_s(self) -> float | None:
        """Give the seconds until a digest may depart; None while there is none."""
        due_at = self.due_at()
        return None if due_at is None else max(0.0, due_at - self._clock())

    def depart(self, *, at_once: bool = False) -> Digest | None:
        """Give the digest that is to be sent now, if any; `at_once` does not wait until it is due.

        `arrived()` or `gave_up()` must follow before the next one departs.
        """
        due_at, now = self.due_at(), self._clock()
        if self._waiting is None or due_at is None or (now < due_at and not at_once):
            return None
        gone, self._waiting = self._waiting, None
        self._leaving = gone
        self._expires_at = now + self.rules.ttl_s
        shown = tuple([hit.read() for hit in gone.shown])
        return Digest(self.alert, shown, gone.count, gone.first_at, gone.last_at)

    @property
    def time_left_s(self) -> float:
        """Give the seconds in which it is worth another attempt to send what is leaving."""
        return self._expires_at - self._clock()

    def arrived(self) -> list[Fingerprint]:
        """Note that the other side has what was leaving; gives the fingerprints told by it."""
        gone, now = self._end(), self._clock()
        self.counts.messages += 1
        self.counts.told += gone.count
        self._sent_at.append(now)
        while self._sent_at and self._sent_at[0] <= now - HOUR_S:
            self._sent_at.popleft()
        for fingerprint in gone.fingerprints:
            self._remember(fingerprint, now + self.rules.repeat_after_s)
        return gone.fingerprints

    def gave_up(self, reason: str) -> int:
        """Drop what was leaving, and count it; its fingerprints count as never told."""
        gone = self._end()
        self.counts.drop(gone.count, reason)
        for fingerprint in gone.fingerprints:
            self._known.pop(fingerprint, None)
        return gone.count

    def abandon(self, reason: str) -> int:
        """Drop all that waits; gives the number of its matches."""
        count = self.waiting
        self.counts.drop(count, reason)
        self._waiting = self._leaving = None
        self.unchecked, self._bytes = [], 0
        return count

    def _end(self) -> Gathered:
        gone, self._leaving = self._leaving, None
        assert gone is not None
        self._next_at = self._clock() + self.rules.group_interval_s
        return gone
