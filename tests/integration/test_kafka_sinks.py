"""Documents and dead letters on a real broker: durable, keyed, and never blocked by one record."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from enricher.connections import KafkaConnection
from enricher.kafka.producer import partition_of
from enricher.model import DeadLetter, Document, Record
from enricher.sinks.dead_letter_kafka import DeadLetterTopic
from enricher.sinks.kafka import KafkaSink

from ..servers.kafka import Kafka

RECORD = Record(b"{broken", "orders-3-17-1700000000000", 1_700_000_000_000, "orders/3", 17, b"k")


def _run(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(120):
            await work

    asyncio.run(limited())


def _name() -> str:
    return f"sink-{uuid.uuid4().hex[:8]}"


def _connection(kafka: Kafka) -> KafkaConnection:
    return KafkaConnection(brokers=[kafka.bootstrap])


def _document(topic: str, number: int, body: bytes) -> Document:
    return Document(RECORD, "kafka", topic, f"id-{number}", None, body)


async def _read(kafka: Kafka, topic: str, count: int) -> list[Any]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    try:
        found: list[Any] = []
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found
    finally:
        await consumer.stop()


@given(key=st.binary(min_size=1, max_size=70), count=st.integers(1, 100))
def test_keys_go_where_the_java_client_puts_them(key: bytes, count: int) -> None:
    """Partitions agree with aiokafka's own copy of the Java client's hash."""
    assert partition_of(key, count) == (murmur2(key) & 0x7FFFFFFF) % count


def test_writes_documents_to_the_topics_they_name(kafka: Kafka) -> None:
    """Each document is there once, under its id, in its topic."""
    first, second = _name(), _name()
    kafka.create_topics({first: 3, second: 1})

    async def run() -> None:
        sink = KafkaSink(_connection(kafka))
        await sink.open()
        documents = [_document(first, number, b"%d" % number * 100) for number in range(2000)]
        assert await sink.write([*documents, _document(second, 0, b"{}")]) == []
        await sink.close()
        found = await _read(kafka, first, 2000)
        assert {(r.key, r.value) for r in found} == {(d.id.encode(), d.body) for d in documents}
        assert len(found) == 2000
        assert [r.value for r in await _read(kafka, second, 1)] == [b"{}"]

    _run(run())


def test_what_is_too_large_is_rejected_and_the_rest_is_written(kafka: Kafka) -> None:
    """Too large for the sink or only for the topic: rejected, and those beside it are not."""
    topic = _name()
    kafka.create_topics({topic: 1}, {"max.message.bytes": "20000"})

    async def run() -> None:
        sink = KafkaSink(_connection(kafka), max_message_bytes=100_000)
        await sink.open()
        sizes = [10, 200_000, 12_000, 50_000, 12_001, 20]
        # Random bytes, since the topic's limit counts what is compressed.
        bodies = [hashlib.shake_128(b"%d" % size).digest(size) for size in sizes]
        documents = [_document(topic, at, body) for at, body in enumerate(bodies)]
        rejected = await sink.write(documents)
        assert sorted(len(r.document.body) for r in rejected) == [50_000, 200_000]
        assert {r.error for r in rejected} == {"MessageSizeTooLargeError"}
        assert await sink.write([_document(topic, 9, b"after")]) == []
        await sink.close()
        found = {record.value for record in await _read(kafka, topic, 5)}
        kept = {body for body in bodies if len(body) not in (50_000, 200_000)}
        assert found == {*kept, b"after"}

    _run(run())


def test_a_broker_or_topic_that_is_away_is_waited_for(kafka: Kafka) -> None:
    """write() returns only once the documents are durable, and says meanwhile why it waits."""
    topic = _name()
    kafka.create_topics({topic: 2})

    async def run() -> None:
        sink = KafkaSink(_connection(kafka))
        await sink.open()
        await asyncio.to_thread(kafka.kill)
        documents = [_document(topic, number, b"%d" % number) for number in range(100)]
        writing = asyncio.create_task(sink.write(documents))
        await asyncio.sleep(2)
        assert not writing.done()
        await asyncio.to_thread(kafka.start)
        assert await writing == []
        await sink.close()
        assert {r.key for r in await _read(kafka, topic, 100)} == {
            document.id.encode() for document in documents
        }

    _run(run())


def test_a_dead_letter_is_the_original_and_the_rest_is_headers(kafka: Kafka) -> None:
    """The topic is made, compacted; the key is the record's id."""
    topic = _name()

    async def run() -> None:
        sink = DeadLetterTopic(_connection(kafka), topic, "payments@ab12")
        await sink.open()
        await sink.write([DeadLetter(RECORD, "json", "JSONDecodeError", "unexpected end …")])
        await sink.close()
        (found,) = await _read(kafka, topic, 1)
        assert (found.key, found.value) == (RECORD.id.encode(), RECORD.value)
        headers = dict(found.headers)
        assert headers.pop("time").startswith(b"20")
        assert headers == {
            "stream": b"orders/3",
            "topic": b"orders",
            "partition": b"3",
            "offset": b"17",
            "timestamp": b"1700000000000",
            "key": b"k",
            "stage": b"json",
            "error": b"JSONDecodeError",
            "reason": "unexpected end …".encode(),
            "pipeline": b"payments@ab12",
        }
        assert await _setting(kafka, topic, "cleanup.policy") == "compact"

    _run(run())


async def _setting(kafka: Kafka, topic: str, name: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        (answer,) = await admin.describe_configs([resource])
        (described,) = answer.resources
        settings: dict[str, str] = {entry[0]: entry[1] for entry in described[4]}
        return settings[name]
    finally:
        await admin.close()


def test_a_dead_letter_too_large_is_kept_cut_with_its_hash(kafka: Kafka) -> None:
    """Beyond this sink's limit, or beyond the limit of a topic that was there before."""
    own, given_topic = _name(), _name()
    kafka.create_topics({given_topic: 1}, {"max.message.bytes": "20000"})
    value = hashlib.shake_128(b"large").digest(5 << 20)

    async def run() -> None:
        for topic, at_least in ((own, 4_000_000), (given_topic, 10_000)):
            sink = DeadLetterTopic(_connection(kafka), topic, "p")
            await sink.open()
            large = RECORD._replace(value=value, id="large")
            whole = RECORD._replace(value=value[:15_000], id="whole")
            await sink.write([DeadLetter(record, "s", "e", "r") for record in (large, whole)])
            await sink.close()
            found = {record.key: record for record in await _read(kafka, topic, 2)}
            assert found[b"whole"].value == whole.value
            assert "truncated" not in dict(found[b"whole"].headers)
            cut = found[b"large"]
            assert value.startswith(cut.value)
            assert len(cut.value) >= at_least
            headers = dict(cut.headers)
            assert headers["truncated"] == b"true"
            assert headers["size"] == str(5 << 20).encode()
            assert headers["sha256"] == hashlib.sha256(value).hexdigest().encode()

    _run(run())
