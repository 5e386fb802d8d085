"""A reader of outputs, as the page of outputs describes it: what comes twice is dropped by its id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer


class Sent(NamedTuple):
    """A message, as a reader keeps it."""

    id: str
    key: str
    body: dict[str, Any]


async def read(bootstrap: str, topic: str) -> list[Sent]:
    """Read a topic to its end: every message, those that stand there twice, too."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        found: list[Sent] = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += map(sent_of, batch)
        return found
    finally:
        await consumer.stop()


def sent_of(message: Any) -> Sent:
    """Take a message apart; it has one header, its id."""
    ((name, identity),) = message.headers
    assert name == "id"
    return Sent(identity.decode(), message.key.decode(), orjson.loads(message.value))


def each_once(messages: list[Sent]) -> Iterator[Sent]:
    """Drop what comes again; a second copy says nothing else."""
    seen: dict[str, Sent] = {}
    for message in messages:
        known = seen.setdefault(message.id, message)
        assert message == known
        if message is known:
            yield message
