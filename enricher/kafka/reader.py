"""Fetch from the partitions that are owned and cut what comes into deliveries.

Nothing that aiokafka handed out may be dropped in silence: it counts records as consumed before
we hold them. Where that cannot be ruled out, reading goes back to what was delivered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import (
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from enricher.kafka.assignment import Assignment, Partition, Piece
from enricher.model import Record
from enricher.waiting import Reminder

log = structlog.get_logger(__name__)

_POLL_MS = 500
_CAREFUL_S = 30.0
_PAUSE_S = 1.0
_new = tuple.__new__


class Reader:
    """Reads for one consumer.

    Args:
        consumer: An AIOKafkaConsumer with `auto_offset_reset` "none".
        group: What the consumer owns.
        ready: Takes what is fetched, cut into deliveries; the group clears it on a revoke.
        max_records: Most records of one delivery.
        max_bytes: Most raw bytes (values and keys) of one delivery.
        prefix: Of record ids.
        latest: Whether a group without offsets begins at the end.
    """

    def __init__(  # noqa: PLR0913 - keyword arguments
        self,
        consumer: Any,
        group: Assignment,
        ready: deque[list[Piece]],
        *,
        max_records: int,
        max_bytes: int,
        prefix: str = "",
        latest: bool = False,
    ) -> None:
        self.failures = 0
        """Polls in a row that failed."""
        self._consumer = consumer
        consumer._fetcher._records = Fetched()  # noqa: SLF001 - see there
        self._group = group
        self._ready = ready
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._prefix = prefix
        self._latest = latest
        self._rewind_due = False
        self._astray: dict[TopicPartition, int | None] = {}
        self._careful_until = 0.0
        self._reminder = Reminder()

    async def poll(self) -> None:
        """Fetch once, for half a second at most unless the group rebalances."""
        with suppress(TimeoutError):
            # Not for ever: an error of the group's coordinator shows in getmany() only.
            async with asyncio.timeout(_PAUSE_S):
                await self._group.stable.wait()
        try:
            if self._rewind_due and self._group.stable.is_set():
                await self._rewind()
            fetched = await self._fetch()
            if self._astray and not fetched:
                await self._reset()
        except Exception as error:  # noqa: BLE001 - a corrupt batch, a codec, an authorisation
            self.failures += 1
            self._rewind_due = True
            self._failed("kafka", error)
            await asyncio.sleep(_PAUSE_S)
            return
        self.failures = 0
        if fetched and not self._group.stable.is_set():
            self._rewind_due = True  # nobody can tell to which assignment it belongs
        elif fetched:
            pieces = [self._piece(tp, records) for tp, records in fetched.items()]
            self._ready.extend(cut(pieces, self._max_records, self._max_bytes))

    async def _fetch(self) -> Mapping[TopicPartition, Sequence[Any]]:
        # What getmany() took from other partitions is lost when one of them raises; until that
        # is over, each is asked alone.
        if asyncio.get_running_loop().time() < self._careful_until:
            return await self._fetch_apart()
        while True:
            try:
                fetched: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
                    timeout_ms=0 if self._astray else _POLL_MS, max_records=self._max_records
                )
                break
            except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
                self._note_astray(error)
        # aiokafka's own fetching ends only by a bug, but then nothing would ever come again.
        background = self._consumer._fetcher.error_future  # noqa: SLF001
        if not fetched and background.done():
            background.result()
        return fetched

    async def _fetch_apart(self) -> Mapping[TopicPartition, Sequence[Any]]:
        fetched: dict[TopicPartition, Sequence[Any]] = {}
        pause_s = 0.05
        for tp in self._consumer.assignment():
            try:
                fetched |= await self._consumer.getmany(tp, max_records=self._max_records)
            except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
                self._note_astray(error)
            except Exception as error:  # noqa: BLE001 - as above; the other partitions go on
                self._failed(f"{tp.topic}/{tp.partition}", error)
                pause_s = _PAUSE_S
        if not fetched:
            await asyncio.sleep(pause_s)
        return fetched

    def _note_astray(self, error: Exception) -> None:
        (what,) = error.args
        self._astray |= what if isinstance(what, dict) else {what: None}

    def _failed(self, where: str, error: Exception) -> None:
        self._careful_until = asyncio.get_running_loop().time() + _CAREFUL_S
        if self._reminder.due(where):
            log.error(
                "reading failed; nothing is skipped, retrying", where=where, error=repr(error)
            )

    async def _rewind(self) -> None:
        """Go back to what was delivered last, or to what is committed."""
        unknown: list[Partition] = []
        owned = self._consumer.assignment()
        for tp, partition in self._group.partitions.items():
            if tp in owned and partition.resume_at is not None:
                self._consumer.seek(tp, partition.resume_at)
            elif tp in owned:
                unknown.append(partition)
        for partition in unknown:
            committed = await self._consumer.committed(partition.tp)
            if self._group.partitions.get(partition.tp) is not partition:
                continue  # assigned anew meanwhile
            if committed is None:
                self._astray[partition.tp] = None
            else:
                self._consumer.seek(partition.tp, committed)
        self._rewind_due = False

    async def _reset(self) -> None:
        """Choose where to read on in partitions whose offset is missing or out of range."""
        astray, self._astray = self._astray, {}
        astray = {tp: at for tp, at in astray.items() if tp in self._consumer.assignment()}
        fresh = [tp for tp, at in astray.items() if at is None and self._latest]
        if fresh:
            await self._consumer.seek_to_end(*fresh)
        if rest := [tp for tp in astray if tp not in fresh]:
            await self._consumer.seek_to_beginning(*rest)
        for tp, at in astray.items():
            start = await self._consumer.position(tp)
            self._group.partitions[tp] = Partition(tp, start=start)
            if at is not None:
                self._group.counts.out_of_range += 1
                log.error(
                    "offset out of range: records were deleted before they were read, or the "
                    "topic was made anew; reading from the oldest that is left",
                    partition=f"{tp.topic}/{tp.partition}",
                    offset=at,
                    oldest=start,
                )

    def _piece(self, tp: TopicPartition, fetched: Sequence[Any]) -> Piece:
        prefix = f"{self._prefix}{tp.topic}-{tp.partition}-"
        stream = f"{tp.topic}/{tp.partition}"
        records = [
            _new(
                Record,
                (
                    raw.value or b"",
                    f"{prefix}{(offset := raw.offset)}-{(timestamp := raw.timestamp)}",
                    timestamp if timestamp >= 0 else None,
                    stream,
                    offset,
                    raw.key,
                ),
            )
            for raw in fetched
        ]
        size = sum([len(record[0]) + len(record[5] or b"") for record in records])
        return Piece(tp, records, size)


class Fetched(dict[TopicPartition, Any]):
    """What aiokafka has fetched, in place of its own dict: records come out as they were read.

    It would make an object of eleven fields of each, which costs 1 µs, of no use here. A version
    whose attributes have other names goes on as it does, and a test says so.
    """

    def __setitem__(self, tp: TopicPartition, result: Any) -> None:
        records = getattr(result, "_partition_records", None)
        if records is not None:
            records._consumer_record = _as_read  # noqa: SLF001
        super().__setitem__(tp, result)


def _as_read(*arguments: Any) -> Any:
    return arguments[-1]


def cut(pieces: list[Piece], max_records: int, max_bytes: int) -> Iterator[list[Piece]]:
    """Cut pieces into deliveries of bounded size; one larger record goes alone."""
    if (
        sum(piece.size for piece in pieces) <= max_bytes
        and sum(len(piece.records) for piece in pieces) <= max_records
    ):
        yield pieces
        return
    delivery: list[Piece] = []
    count = size = 0
    for tp, records, _ in pieces:
        start = piece_size = 0
        for index, record in enumerate(records):
            length = len(record.value) + len(record.key or b"")
            if count and (count == max_records or size + length > max_bytes):
                if index > start:
                    delivery.append(Piece(tp, records[start:index], piece_size))
                yield delivery
                delivery, count, size, start, piece_size = [], 0, 0, index, 0
            count += 1
            size += length
            piece_size += length
        delivery.append(Piece(tp, records[start:], piece_size))
    yield delivery
