"""Write to Kafka: a batch returns once each message is durable or refused for good.

aiokafka's idempotent producer keeps trying by itself, for ever. But once a batch fails for good
its sequence numbers no longer match the broker's, and everything after it would fail as well:
after any failure the producer is made anew. Idempotence holds for one session only, so a message
may then be written twice, under the same key.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from enricher.connections import KafkaConnection
from enricher.histogram import Histogram
from enricher.kafka import cluster
from enricher.waiting import Reminder

log = structlog.get_logger(__name__)

_BATCH = 512 << 10
"""Bytes of one batch: below the 1 MiB that topics take unless told otherwise."""
_REMIND_S = 60.0
_OVERHEAD = 256
"""Bytes that a batch's header and a message's lengths take at most, beside the headers."""
_FOR_GOOD = (
    InvalidTimestampError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)


class Message(NamedTuple):
    """One message; the key names its partition, as in the Java client."""

    topic: str
    key: bytes
    value: bytes | None
    """None deletes the key from a compacted topic (a tombstone)."""
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
    """None: the key's."""

    @property
    def size(self) -> int:
        """Bytes it takes at most, uncompressed."""
        headers = sum(len(name) + len(value) + 20 for name, value in self.headers)
        return len(self.key) + len(self.value or b"") + headers + _OVERHEAD


class Refusal(NamedTuple):
    """A message that the broker, or the limit, refuses for good."""

    message: Message
    error: str
    reason: str


class Producer:
    """An idempotent producer that outlives its failures.

    Args:
        connection: The cluster.
        max_message_bytes: A larger message is refused before it is sent.
    """

    def __init__(self, connection: KafkaConnection, *, max_message_bytes: int = 1 << 20) -> None:
        self.retries = 0
        """Batches that were sent again by a new producer."""
        self.latency = Histogram()
        """Of rounds of requests, one to each partition, in seconds."""
        self.blocked: str | None = None
        """Why nothing can be written at the moment, for readiness."""
        self.max_message_bytes = max_message_bytes
        self._brokers = connection.brokers
        self._make = partial(
            AIOKafkaProducer,
            **connection.client_options(),
            client_id="enricher",
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            max_batch_size=_BATCH,
            max_request_size=max_message_bytes,
        )
        self._producer: Any = None
        self._one_at_a_time = asyncio.Lock()
        self._reminder = Reminder(_REMIND_S)

    async def open(self) -> None:
        """Connect, waiting while the cluster is away."""
        self._producer = await cluster.start(self._make, self._brokers)

    async def close(self) -> None:
        """Free the connection; what a cancelled `send` left behind may be lost."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await cluster.stop(producer)

    async def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Return once every message is durable or refused for good; give the refused ones.

        Batches go one after the other, so messages of one key keep their order.
        """
        async with self._one_at_a_time:
            refusals: list[Refusal] = []
            waiting = self._check(messages, refusals)
            for pause in cluster.backoff():
                waiting = await self._round(waiting, refusals)
                if not waiting:
                    break
                self.retries += 1
                await asyncio.sleep(pause)
            self.blocked = None
            return refusals

    def _check(self, messages: Iterable[Message], refusals: list[Refusal]) -> list[Message]:
        fit = []
        for message in messages:
            if message.size <= self.max_message_bytes:
                fit.append(message)
            else:
                reason = f"{message.size} bytes are more than {self.max_message_bytes}"
                refusals.append(Refusal(message, MessageSizeTooLargeError.__name__, reason))
        return fit

    async def _round(self, messages: list[Message], refusals: list[Refusal]) -> list[Message]:
        """Send everything once; give back what is to be sent again."""
        failed = await self._attempt(messages)
        if not failed:
            return []
        await self._renew()
        again = [message for message, error in failed if not isinstance(error, _FOR_GOOD)]
        for message, error in failed:
            if not isinstance(error, _FOR_GOOD):
                self._explain(error)
                continue
            # The broker judges the batch; which message it meant shows when each goes alone.
            for _, alone in await self._attempt([message]):
                await self._renew()
                if isinstance(alone, _FOR_GOOD):
                    refusals.append(Refusal(message, type(alone).__name__, str(alone)))
                else:
                    self._explain(alone)
                    again.append(message)
        return again

    async def _renew(self) -> None:
        await self.close()
        await self.open()

    async def _attempt(self, messages: list[Message]) -> list[tuple[Message, Exception]]:
        if self._producer is None:
            await self.open()
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            by_topic.setdefault(message.topic, []).append(message)
        work = (self._send_topic(topic, group) for topic, group in by_topic.items())
        with self.latency.time():
            failed = await self._patiently(asyncio.gather(*work))
        return [failure for failures in failed for failure in failures]

    async def _patiently(self, work: Awaitable[Any]) -> Any:
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=_REMIND_S / 6))[0]:
                self._explain(TimeoutError("no answer"))
        finally:
            task.cancel()
        return task.result()

    def _explain(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        where = ",".join(self._brokers)
        self.blocked = (
            f"kafka at {where} cannot be written to ({reason}); retrying; "
            "check connections.kafka and its topics"
        )
        if self._reminder.due("blocked"):
            log.warning(self.blocked)

    async def _send_topic(
        self, topic: str, messages: list[Message]
    ) -> list[tuple[Message, Exception]]:
        try:
            count = len(await self._producer.partitions_for(topic))
        except (KafkaError, OSError, TimeoutError) as error:
            return [(message, error) for message in messages]
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            at = message.partition
            at = partition_of(message.key, count) if at is None else at
            by_partition.setdefault(at, []).append(message)
        work = (self._send_partition(topic, at, group) for at, group in by_partition.items())
        return [failure for failures in await asyncio.gather(*work) for failure in failures]

    async def _send_partition(
        self, topic: str, partition: int, messages: list[Message]
    ) -> list[tuple[Message, Exception]]:
        failed: list[tuple[Message, Exception]] = []
        rest = messages
        while rest:
            batch = self._producer.create_batch()
            count = 0
            for message in rest:
                _, key, value, headers, _ = message
                if not batch.append(timestamp=None, key=key, value=value, headers=list(headers)):
                    break  # it is full; the first message always fits
                count += 1
            sent, rest = rest[:count], rest[count:]
            try:
                await (await self._producer.send_batch(batch, topic, partition=partition))
            except (KafkaError, OSError, TimeoutError) as error:
                failed += [(message, error) for message in sent]
        return failed


def partition_of(key: bytes, count: int) -> int:
    """Give the partition of a key among `count`, the same as the Java client's (murmur2)."""
    if count == 1:
        return 0
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    words, rest = divmod(len(key), 4)
    value = 0x9747B28C ^ len(key)
    for word in struct.unpack_from(f"<{words}I", key):
        mixed = word * multiplier & mask
        value = value * multiplier & mask ^ (mixed ^ mixed >> 24) * multiplier & mask
    if rest:
        value = (value ^ int.from_bytes(key[-rest:], "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return ((value ^ value >> 15) & 0x7FFFFFFF) % count
