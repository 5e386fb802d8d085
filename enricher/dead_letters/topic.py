"""Dead letters in a compacted Kafka topic; the one that `sinks/dead_letter_kafka.py` writes to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from enricher.connections import KafkaConnection
from enricher.dead_letters.letter import Cut, Letter, Place
from enricher.dead_letters.queue import Entry, Found
from enricher.kafka import cluster
from enricher.kafka.producer import Message, Producer
from enricher.model import DeadLetter, Record, UserError

_MESSAGES = 64
"""Taken at a time; each may be as large as the topic lets it be."""
_FETCH = 1 << 20
_POLL_MS = 500
_PATIENCE_S = 60.0


class TopicQueue:
    """Reads a topic to its present end, outside of any group, and removes by tombstones.

    A letter that was written after the reading began may be newer than the one that is to be
    removed. So before each tombstone what was appended meanwhile is read, and a key that occurs
    there stays. What is written between that look and the tombstone, some milliseconds, is
    hidden by it; it is a letter of a record that is settled under the same id.
    """

    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        self.name = f"topic {topic}"
        self._connection = connection
        self._topic = topic
        self.kept = 0
        self._looker: Any = None
        self._producer: Producer | None = None
        self._ends: dict[TopicPartition, int] = {}
        """Where the first reading ended, and later the look at what was appended."""
        self._newer: set[tuple[int, str]] = set()
        self._removing = asyncio.Lock()

    async def scan(self) -> AsyncIterator[list[Found]]:
        """Yield every letter and removal, partition by partition.

        Raises:
            UserError: The cluster cannot be reached, or the topic cannot be read.
        """
        async with self._consumer() as consumer:
            partitions = await self._partitions()
            self._ends = await _ends(consumer, partitions)
            for tp in partitions:
                start = (await consumer.beginning_offsets([tp]))[tp]
                async for messages in _messages(consumer, tp, start, self._ends[tp]):
                    yield [found for one in messages if (found := found_in(one))]

    async def read(self, entries: Sequence[Entry]) -> AsyncIterator[list[Letter]]:
        """Yield the letters of entries that are still there, in the order of their places."""
        wanted: dict[int, set[int]] = {}
        for entry in entries:
            wanted.setdefault(entry.place.partition, set()).add(entry.place.offset)
        async with self._consumer() as consumer:
            for partition, offsets in sorted(wanted.items()):
                tp = TopicPartition(self._topic, partition)
                async for messages in _messages(consumer, tp, min(offsets), max(offsets) + 1):
                    found = [found_in(one) for one in messages if one.offset in offsets]
                    yield [one.letter for one in found if one and one.letter]

    async def remove(self, entries: Sequence[Entry]) -> None:
        """Write a tombstone for each entry, where its letter lies, but not over a newer letter.

        Waits while none can be written.
        """
        async with self._removing:
            with self._explained():
                await self._look()
            messages = [
                Message(self._topic, entry.id.encode(), None, partition=entry.place.partition)
                for entry in entries
                if (entry.place.partition, entry.id) not in self._newer
            ]
            self.kept += len(entries) - len(messages)
            if not messages:
                return
            if self._producer is None:
                self._producer = Producer(self._connection)
                await self._producer.open()
            if refusals := await self._producer.send(messages):
                raise UserError(f"{self.name} refuses tombstones: {refusals[0].reason}")

    async def _look(self) -> None:
        """Note the keys of letters that were appended since the last look."""
        self._looker = self._looker or await self._connect()
        for tp, end in (await _ends(self._looker, list(self._ends))).items():
            async for messages in _messages(self._looker, tp, self._ends[tp], end):
                found = [one for message in messages if (one := found_in(message))]
                self._newer |= {(tp.partition, one.key) for one in found if one.letter}
            self._ends[tp] = end

    async def close(self) -> None:
        """Free the connections; tombstones are durable already."""
        if self._looker is not None:
            await cluster.stop(self._looker)
        if self._producer is not None:
            await self._producer.close()
        self._looker = self._producer = None

    async def _partitions(self) -> list[TopicPartition]:
        """Give the topic's partitions; none where there is no topic, which asking must not make."""
        admin = AIOKafkaAdminClient(**self._connection.client_options())
        try:
            await admin.start()
            if self._topic not in await admin.list_topics():
                return []
            (described,) = await admin.describe_topics([self._topic])
        finally:
            await admin.close()
        numbers = sorted(one["partition"] for one in described["partitions"])
        return [TopicPartition(self._topic, number) for number in numbers]

    async def _connect(self) -> Any:
        cluster.quiet()
        consumer = AIOKafkaConsumer(
            **self._connection.client_options(),
            client_id="enricher-dlq",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_bytes=2 * _FETCH,
            max_partition_fetch_bytes=_FETCH,
        )
        try:
            await consumer.start()
        except BaseException:
            await cluster.stop(consumer)
            raise
        await asyncio.sleep(0)  # a consumer whose tasks have not begun yet cannot be stopped
        return consumer

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[Any]:
        with self._explained():
            consumer = await self._connect()
            try:
                yield consumer
            finally:
                await cluster.stop(consumer)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Make what Kafka raises a word to the user."""
        try:
            yield
        except (KafkaError, OSError, TimeoutError) as error:
            where = ",".join(self._connection.brokers)
            reason = str(error) or type(error).__name__
            raise UserError(
                f"{self.name} at {where} cannot be read: {reason}; "
                "check connections.kafka or KAFKA_BROKERS"
            ) from None


async def _ends(consumer: Any, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    if not partitions:
        return {}
    consumer.assign(partitions)  # it asks for offsets of topics that it knows only
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    return ends


async def _messages(
    consumer: Any, tp: TopicPartition, start: int, end: int
) -> AsyncIterator[list[Any]]:
    """Yield the messages of a partition between two offsets."""
    if start >= end:
        return
    consumer.assign([tp])
    consumer.seek(tp, start)
    heard = time.monotonic()
    while (position := await consumer.position(tp)) < end:
        fetched = await consumer.getmany(tp, timeout_ms=_POLL_MS, max_records=_MESSAGES)
        if await consumer.position(tp) > position:
            heard = time.monotonic()
        elif time.monotonic() - heard > _PATIENCE_S:
            raise TimeoutError(f"no answer for {_PATIENCE_S:.0f} s at {tp.partition}/{position}")
        for messages in fetched.values():
            yield [message for message in messages if message.offset < end]


def found_in(message: Any) -> Found | None:
    """Give the letter or the removal that a message is; None where others wrote it."""
    place = Place(message.partition, message.offset)
    try:
        key = message.key.decode()
        if message.value is None:
            return Found(key, place, None)
        return Found(key, place, _letter(key, message.value, dict(message.headers), place))
    except (AttributeError, KeyError, ValueError):
        return None


def _letter(key: str, value: bytes, headers: Mapping[str, bytes], place: Place) -> Letter:
    timestamp = headers.get("timestamp")
    record = Record(
        value=value,
        id=key,
        timestamp=None if timestamp is None else int(timestamp),
        stream=headers["stream"].decode(errors="surrogateescape"),
        position=int(headers["offset"]),
        key=headers.get("key"),
    )
    stage, error, reason, pipeline, at = (
        headers[name].decode(errors="replace")
        for name in ("stage", "error", "reason", "pipeline", "time")
    )
    cut = None
    if "truncated" in headers:
        cut = Cut(int(headers["size"]), headers["sha256"].decode())
    dead = DeadLetter(record, stage, error, reason, "masked" in headers)
    return Letter(dead, pipeline, at, cut, place)
