"""What the producer sent: one entry a record, by its id, with hashes of what came in."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer

from enricher.generator import GeneratedRecord, HostileRecord, generate, generate_fraud

SEQUENCE = "sequence"
"""Field by which a record is known again under whatever id it may stand."""
_shapes: dict[tuple[str, ...], tuple[str, ...]] = {}
"""Few lists of keys, shared by many entries."""


class Entry(NamedTuple):
    """One record, as the broker took it."""

    id: str
    topic: str
    partition: int
    offset: int
    sequence: int
    value: bytes
    """Hash of the raw bytes."""
    keys: tuple[str, ...]
    """Of the event; empty where the record need not be readable as one."""
    fields: bytes
    """Hash of the event's fields."""

    @classmethod
    def of(
        cls,
        topic: str,
        partition: int,
        offset: int,
        timestamp: int,
        sequence: int,
        value: bytes,
        event: Mapping[str, Any],
    ) -> Entry:
        """Make an entry of a record and the event in it."""
        identity = f"{topic}-{partition}-{offset}-{timestamp}"
        keys = tuple(event)
        keys = _shapes.setdefault(keys, keys)
        digest = fingerprint(event, keys)
        return cls(identity, topic, partition, offset, sequence, _hash(value), keys, digest)


class Ledger:
    """Sends records and keeps an entry of each; may be filled several times.

    Args:
        bootstrap: Of the broker.
        suffix: Of the topics, which are new for each case.
    """

    def __init__(self, bootstrap: str, suffix: str) -> None:
        self.entries: list[Entry] = []
        self._bootstrap = bootstrap
        self._suffix = suffix
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self.entries)

    def send(self, count: int, *, seed: int, over_s: float = 0, fraud: float | None = None) -> None:
        """Generate events and produce them, spread over so many seconds.

        With `fraud` they are payments, and this part of them is fraud.
        """
        records: Iterable[GeneratedRecord]
        if fraud is None:
            records = generate(count, seed=seed, days=2)
        else:
            records = (one.record for one in generate_fraud(count, fraud, seed, days=2))
        asyncio.run(self._send(self._marked(records), over_s / count))

    def send_raw(self, records: Iterable[HostileRecord]) -> None:
        """Produce records as they are."""
        asyncio.run(self._send(((record, {}, next(self._sequence)) for record in records), 0))

    def _marked(
        self, records: Iterable[GeneratedRecord]
    ) -> Iterator[tuple[GeneratedRecord, dict[str, Any], int]]:
        for record in records:
            event = unwrapped(orjson.loads(record.value))
            sequence = event[SEQUENCE] = next(self._sequence)
            value = orjson.dumps(event)
            if sequence % 7 == 0:  # as shippers do
                value = orjson.dumps({"message": value.decode(), "@version": "1"})
            yield record._replace(value=value), event, sequence

    async def _send(self, records: Iterable[Any], pause_s: float) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            enable_idempotence=True,  # or the broker might have it twice, the ledger once
            compression_type="lz4",
            linger_ms=5,
            acks="all",
            request_timeout_ms=10_000,
            max_request_size=4 << 20,
        )
        await producer.start()
        begin = time.monotonic()
        pending = []
        try:
            for number, (record, event, sequence) in enumerate(records):
                topic = record.topic + self._suffix
                future = await producer.send(
                    topic, record.value, record.key, timestamp_ms=record.timestamp
                )
                pending.append((future, record, event, sequence))
                if pause_s and number % 50 == 0:
                    await asyncio.sleep(max(0, begin + number * pause_s - time.monotonic()))
                if len(pending) == 2_000:
                    await self._note(pending)
            await self._note(pending)
        finally:
            await producer.stop()

    async def _note(self, pending: list[Any]) -> None:
        for future, record, event, sequence in pending:
            done = await future
            place = (done.topic, done.partition, done.offset, record.timestamp)
            self.entries.append(Entry.of(*place, sequence, record.value, event))
        pending.clear()

    def ends(self) -> dict[tuple[str, int], int]:
        """Give the offset after the last record of each partition."""
        ends: dict[tuple[str, int], int] = {}
        for entry in self.entries:
            place = entry.topic, entry.partition
            ends[place] = max(ends.get(place, 0), entry.offset + 1)
        return ends


def unwrapped(event: dict[str, Any]) -> dict[str, Any]:
    """Give the event inside a shipper's envelope."""
    inner: dict[str, Any] = orjson.loads(event["message"]) if "@version" in event else event
    return inner


def fingerprint(document: Mapping[str, Any], keys: Iterable[str]) -> bytes:
    """Hash some fields of a document; a field that is missing counts as such."""
    fields = [[key, document[key]] if key in document else [key] for key in keys]
    return _hash(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def same_value(entry: Entry, value: bytes) -> bool:
    """Tell whether these are the bytes that were sent."""
    return _hash(value) == entry.value
