"""Where records wait that are sent to us, until the runtime takes them and settles them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from enricher.model import Delivery, Record

RECORD_OVERHEAD = 300
"""Bytes of the tuple, the id and the headers of the bytes around one record that waits."""
MOST_RECORDS = 1_000
"""Records of one delivery; more would keep the event loop for too long."""
MOST_BYTES = 1 << 20
"""Raw bytes of one delivery, for the same reason; a larger record goes alone."""
EAGER = 8
"""Deliveries under way up to which the next goes at once, however small it is. Beyond, what
arrives is gathered into full ones: a sink's requests are worth their price then."""


def weight(records: Sequence[Record]) -> int:
    """Estimate the bytes that records take which wait."""
    return _raw_bytes(records) + RECORD_OVERHEAD * len(records)


class _Part(NamedTuple):
    """Records handed in together, or as many of them as fit into a delivery."""

    records: Sequence[Record]
    size: int
    """Raw bytes."""
    settled: asyncio.Future[None]


@dataclass(slots=True)
class _Left:
    """What is not settled of what was handed in together."""

    parts: int
    size: int


class Inbox:
    """Turns records that connections hand in into deliveries; a full one takes no more.

    What is handed in together may become several deliveries, and one delivery may hold what
    several handed in.

    Args:
        limit: Bytes that may wait and be under way at a time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        """Bytes handed in and not settled, or held for what is being read."""
        self._waiting: deque[_Part] = deque()
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._unsettled: dict[asyncio.Future[None], _Left] = {}
        self._under_way = 0
        self._changed = asyncio.Event()
        self._stopped = False

    def has_room(self, size: int) -> bool:
        """Say whether so many bytes may be handed in; into an empty one any number may."""
        return not self._stopped and (self.used == 0 or self.used + size <= self.limit)

    def hold(self, size: int) -> None:
        """Take room for what is being read, `has_room` or not."""
        self.used += size

    def free(self, size: int) -> None:
        """Give back what was held."""
        self.used -= size

    def put(self, records: Sequence[Record], size: int) -> asyncio.Future[None]:
        """Hand records in, `has_room` or not; gives what is done once each is durable.

        It is cancelled where nothing is taken any more, or when the inbox is closed before:
        then nothing may be acknowledged.

        Args:
            records: At least one.
            size: The room they take; see `weight`.
        """
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._stopped:
            settled.cancel()
            return settled
        parts = [_Part(part, _raw_bytes(part), settled) for part in _cut(records)]
        self.used += size
        self._unsettled[settled] = _Left(len(parts), size)
        self._waiting.extend(parts)
        self._waiting_records += len(records)
        self._waiting_bytes += sum(part.size for part in parts)
        self._changed.set()
        return settled

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what is handed in until `stop()`, and then what is left."""
        while True:
            while self._waiting and self._is_time():
                yield self._gather()
            if self._stopped:
                return
            self._changed.clear()
            await self._changed.wait()

    def _is_time(self) -> bool:
        is_full = self._waiting_records >= MOST_RECORDS or self._waiting_bytes >= MOST_BYTES
        return is_full or self._under_way < EAGER or self._stopped

    def _gather(self) -> Delivery:
        """Put as many parts together as make a delivery."""
        first = self._waiting.popleft()
        parts, records, size = [first], list(first.records), first.size
        while self._waiting:
            part = self._waiting[0]
            if len(records) + len(part.records) > MOST_RECORDS or size + part.size > MOST_BYTES:
                break
            parts.append(self._waiting.popleft())
            records += part.records
            size += part.size
        self._waiting_records -= len(records)
        self._waiting_bytes -= size
        self._under_way += 1

        async def acknowledge() -> None:
            self._under_way -= 1
            for part in parts:
                self._settle(part.settled)
            self._changed.set()

        return Delivery(records, acknowledge, size)

    def _settle(self, settled: asyncio.Future[None]) -> None:
        """Count one part of what was handed in together as settled."""
        left = self._unsettled[settled]
        left.parts -= 1
        if not left.parts:
            del self._unsettled[settled]
            self.used -= left.size
            if not settled.done():  # whoever sent it may be gone
                settled.set_result(None)

    def stop(self) -> None:
        """Take no more; what was taken still goes on."""
        self._stopped = True
        self._changed.set()

    def close(self) -> None:
        """Tell those who wait that theirs is not settled, and will not be."""
        self.stop()
        for settled in self._unsettled:
            settled.cancel()


def _cut(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut what is too much for one delivery."""
    begin = size = 0
    for number, record in enumerate(records):
        length = len(record[0])
        if number - begin == MOST_RECORDS or (number > begin and size + length > MOST_BYTES):
            yield records[begin:number]
            begin, size = number, 0
        size += length
    yield records[begin:] if begin else records


def _raw_bytes(records: Sequence[Record]) -> int:
    return sum([len(record[0]) for record in records])
