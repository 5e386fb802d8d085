"""Which letters there are, and which of them are meant.

A queue is read twice: once to know what is in it, keeping some hundred bytes of each letter that
is meant, and once more for their values, a few at a time. So it may be larger than memory.
"""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from enricher.dead_letters.letter import Letter, Place

_VARIABLE = re.compile(r"""(?<!\w)'[^']*'|(?<!\w)"[^"]*"|\d+""")
_SHAPE = 200


class Entry(NamedTuple):
    """What is kept of a letter between the two readings."""

    id: str
    place: Place
    time: str
    stage: str
    error: str
    shape: str
    """Its reason without what differs from record to record."""
    pipeline: str
    size: int
    """Bytes of the value."""
    is_cut: bool
    is_masked: bool

    @property
    def is_whole(self) -> bool:
        """Say whether it is the record as it came, so that it can be replayed."""
        return not (self.is_cut or self.is_masked)


class Found(NamedTuple):
    """One message of a queue: a letter, or (None) the removal of those before it."""

    key: str
    """A letter replaces the one before it with the same key."""
    place: Place
    letter: Letter | None


class Queue(Protocol):
    """Dead letters in a topic or a file."""

    name: str
    """For people."""
    kept: int
    """Letters that `remove()` left, for a newer one of the same record lies behind them."""

    def scan(self) -> AsyncIterator[list[Found]]:
        """Yield all there is, the later after the earlier, up to the end as it was at the start."""
        ...

    def read(self, entries: Sequence[Entry]) -> AsyncIterator[list[Letter]]:
        """Yield the letters of entries, in the order of their places."""
        ...

    async def remove(self, entries: Sequence[Entry]) -> None:
        """Take letters out, but for those with a newer letter of their id behind them.

        They are gone for good only after `close()`, and `kept` is true only then.
        """
        ...

    async def close(self) -> None:
        """Make removals durable and free what is open."""
        ...


class Filter(NamedTuple):
    """Which letters a command means; what is None is not asked for."""

    stage: str | None = None
    error: str | None = None
    reason: str | None = None
    """A part of the reason, in any case of letters."""
    since: str | None = None
    """ISO 8601 in UTC, with milliseconds: as letters have it."""
    until: str | None = None
    ids: frozenset[str] = frozenset()
    limit: int | None = None
    """So many at most, the oldest first."""

    def takes(self, letter: Letter) -> bool:
        """Say whether a letter is meant, the limit apart."""
        dead = letter.dead
        return (
            (self.stage is None or dead.stage == self.stage)
            and (self.error is None or dead.error == self.error)
            and (self.reason is None or self.reason.casefold() in dead.reason.casefold())
            and (self.since is None or letter.time >= self.since)
            and (self.until is None or letter.time <= self.until)
            and (not self.ids or letter.id in self.ids)
        )


@dataclass(frozen=True, slots=True)
class Index:
    """What a queue holds for one pipeline."""

    # asyncio.run() sets a signal's handler back, and for that writes the repr of what it returns.
    entries: list[Entry] = field(repr=False)
    """The letters that are meant, the oldest first."""
    others: set[str]
    """Names of other pipelines that have letters there, or had."""


async def index(queue: Queue, pipeline: str, chosen: Filter) -> Index:
    """Find the letters of a pipeline that are meant; of each record only the last counts.

    A letter's key is looked up within its partition: a topic that was given more partitions may
    hold a record's letters in two, and then each is settled for itself.
    """
    live: dict[int, dict[str, Entry]] = {}
    others: set[str] = set()
    async for found in queue.scan():
        for key, place, letter in found:
            partition = live.setdefault(place.partition, {})
            owner = letter and letter.pipeline.partition("@")[0]
            if letter and owner == pipeline and chosen.takes(letter):
                partition[key] = entry_of(letter)
            else:
                partition.pop(key, None)
            if owner is not None and owner != pipeline:
                others.add(owner)
    entries = [entry for partition in live.values() for entry in partition.values()]
    live.clear()
    entries.sort(key=lambda entry: (entry.time, entry.place))
    return Index(entries[: chosen.limit], others)


def entry_of(letter: Letter) -> Entry:
    """Keep the little that is needed of a letter; texts that many have are kept once."""
    dead = letter.dead
    return Entry(
        letter.id,
        letter.place,
        sys.intern(letter.time),
        sys.intern(dead.stage),
        sys.intern(dead.error),
        sys.intern(shape(dead.reason)),
        sys.intern(letter.pipeline),
        len(dead.record.value),
        letter.cut is not None,
        dead.is_masked,
    )


def shape(reason: str) -> str:
    """Give a reason without its numbers and quoted texts, so that like ones can be counted.

    "line 1 column 7" → "line … column …"
    """
    return _VARIABLE.sub("…", reason)[:_SHAPE]
