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

from enricher.generator import GeneratedRecord, HostileRecord, generate

SEQUENCE = "sequence"
"""Field by which a record is known again under whatever id it may stand."""


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
        self._shapes: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def send(self, count: int, *, seed: int, over_s: float = 0) -> None:
        """Generate events and produce them, spread over so many seconds."""
        records = generate(count, seed=seed, days=2)
        asyncio.run(self._send(self._marked(records), over_s / count))

    def send_raw(self, records: Iterable[HostileRecord]) -> None:
        """Produce records as they are."""
        asyncio.run(self._send(((r, (), b"", next(self._sequence)) for r in records), 0))

    def _marked(
        self, records: Iterable[GeneratedRecord]
    ) -> Iterator[tuple[GeneratedRecord, tuple[str, ...], bytes, int]]:
        for record in records:
            event = unwrapped(orjson.loads(record.value))
            sequence = event[SEQUENCE] = next(self._sequence)
            value = orjson.dumps(event)
            if sequence % 7 == 0:  # as shippers do
                value = orjson.dumps({"message": value.decode(), "@version": "1"})
            shape = tuple(event)
            shape = self._shapes.setdefault(shape, shape)
            yield record._replace(value=value), shape, fingerprint(event, shape), sequence

    async def _send(self, records: Iterable[Any], pause_s: float) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            enable_idempotence=True,  # a record that the broker has twice is twice in the ledger
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
            for number, (record, keys, fields, sequence) in enumerate(records):
                topic = record.topic + self._suffix
                future = await producer.send(
                    topic, record.value, record.key, timestamp_ms=record.timestamp
                )
                pending.append((future, record, keys, fields, sequence))
                if pause_s and number % 50 == 0:
                    await asyncio.sleep(max(0, begin + number * pause_s - time.monotonic()))
                if len(pending) == 2_000:
                    await self._note(pending)
            await self._note(pending)
        finally:
            await producer.stop()

    async def _note(self, pending: list[Any]) -> None:
        for future, record, keys, fields, sequence in pending:
            done = await future
            identity = f"{done.topic}-{done.partition}-{done.offset}-{record.timestamp}"
            digest = _hash(record.value)
            place = (done.topic, done.partition, done.offset)
            self.entries.append(Entry(identity, *place, sequence, digest, keys, fields))
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
