"""Sort history by time, as far as it is out of order, without holding all of it."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import Any, NamedTuple

from enricher.model import Event, Failure, Record


class Entry(NamedTuple):
    """A record of the past."""

    moment: int
    """Of the event, in ms since the epoch; of its neighbours where it has no readable time."""
    record: Record
    label: Any
    """Value of the field that labels name; None where it has none."""
    event: Event | Failure | None = None
    """The record, decoded quickly; None where it waited among too many."""


_MOMENT = itemgetter(0)
MOST_HELD = 64 << 20
"""Bytes of records that one file may keep waiting; beyond them the earliest go on."""
MOST_DECODED = 4 << 20
"""Bytes of records that may wait decoded, which takes some five times as much."""
OUTLIERS = 100
"""Of so many records one may lie in the future without making those after it late."""
BATCH = 256
"""Records of a batch: decoded, they fit into a processor's second cache (a tenth faster than
1,000, measured)."""


class Reorder:
    """Gives entries in order of time, where none is later than the bound behind those before it.

    Args:
        lateness_ms: the bound. What comes later still goes on at once, and is counted.
        most_held: bytes of records that may wait.
    """

    def __init__(self, lateness_ms: int, most_held: int = MOST_HELD) -> None:
        self.late = 0
        self._lateness = lateness_ms
        self._most_held = most_held
        self._held: list[Entry] = []
        self._bytes = 0
        self._latest: int | None = None
        self._released: int | None = None

    @property
    def is_crowded(self) -> bool:
        """Say whether so much waits that it had better not be decoded."""
        return self._bytes > MOST_DECODED

    def add(self, entries: Sequence[Entry]) -> list[Entry]:
        """Take entries as they were written; give those whose turn it is."""
        if not entries:
            return []
        moments = sorted(map(_MOMENT, entries))
        latest = moments[-1 - len(moments) // OUTLIERS]
        self._latest = latest if self._latest is None else max(latest, self._latest)
        if self._released is not None:
            self.late += bisect_left(moments, self._released)
        self._held += entries
        self._held.sort(key=_MOMENT)  # two runs that are in order: nearly nothing to do
        self._bytes += sum([len(entry[1][0]) for entry in entries])
        return self._release(bisect_left(self._held, self._latest - self._lateness, key=_MOMENT))

    def rest(self) -> list[Entry]:
        """Give what is left."""
        return self._release(len(self._held))

    def _release(self, count: int) -> list[Entry]:
        ready = self._held[:count]
        self._bytes -= sum([len(entry[1][0]) for entry in ready])
        while self._bytes > self._most_held:
            entry = self._held[len(ready)]
            ready.append(entry)
            self._bytes -= len(entry.record.value)
        del self._held[: len(ready)]
        if ready:
            last = ready[-1].moment
            self._released = last if self._released is None else max(last, self._released)
        return ready


def merged(streams: Iterable[Iterator[list[Entry]]]) -> Iterator[list[Entry]]:
    """Merge what is in order each into batches that are in order."""
    flat = [chain.from_iterable(stream) for stream in streams]
    one = flat[0] if len(flat) == 1 else heapq.merge(*flat, key=_MOMENT)
    return iter(lambda: list(islice(one, BATCH)), [])
