"""The dead-letter topic on a real broker: what is read, what is removed, what is never hidden."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from structlog.testing import capture_logs

from enricher.connections import KafkaConnection
from enricher.dead_letters.letter import Letter
from enricher.dead_letters.queue import Entry, Filter, index
from enricher.dead_letters.topic import TopicQueue
from enricher.model import DeadLetter
from enricher.sinks.dead_letter_kafka import DeadLetterTopic

from ..dead_letters.letters import letter
from ..servers.kafka import Kafka


def run(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(90):
            await work

    asyncio.run(limited())


@pytest.fixture
def topic(kafka: Kafka) -> str:
    """A compacted topic of two partitions."""
    name = f"dead-{uuid.uuid4().hex[:8]}"
    settings = {"cleanup.policy": "compact", "max.message.bytes": str(8 << 20)}
    kafka.create_topics({name: 2}, settings)
    return name


def connection(kafka: Kafka) -> KafkaConnection:
    return KafkaConnection(brokers=[kafka.bootstrap])


async def write(kafka: Kafka, topic: str, *letters: DeadLetter, pipeline: str = "p@1") -> None:
    sink = DeadLetterTopic(connection(kafka), topic, pipeline)
    await sink.open()
    await sink.write(list(letters))
    await sink.close()


async def entries_of(queue: TopicQueue, **chosen: Any) -> list[Entry]:
    return (await index(queue, "p", Filter(**chosen))).entries


async def read(queue: TopicQueue, **chosen: Any) -> list[Letter]:
    entries = await entries_of(queue, **chosen)
    return [one async for letters in queue.read(entries) for one in letters]


def test_letter_comes_back_as_it_was_written(kafka: Kafka, topic: str) -> None:
    """Bytes, key, timestamp, stream and position: all that the plan may ask of a record."""
    given = [
        letter(0, value=b"").dead,  # no tombstone
        letter(1, value=b"\xff\x00", key=b"\xfe", timestamp=None).dead,
        letter(2, value=b"x" * 3_000_000, key=b"", stream="logs/\udcff", reason="₹ " * 3000).dead,
    ]

    async def work() -> None:
        await write(kafka, topic, *given)
        queue = TopicQueue(connection(kafka), topic)
        found = {one.id: one for one in await read(queue)}
        assert {name: one.dead.record for name, one in found.items()} == {
            dead.record.id: dead.record for dead in given
        }
        for dead in given:
            kept = found[dead.record.id].dead
            assert (kept.stage, kept.error) == (dead.stage, dead.error)
            assert dead.reason.startswith(kept.reason.rstrip("�"))
        assert {one.pipeline for one in found.values()} == {"p@1"}
        assert not any(one.cut for one in found.values())
        await queue.close()

    run(work())


def test_what_is_not_kept_whole_says_so(kafka: Kafka, topic: str) -> None:
    """A value beyond the limit, or a key beyond what a header takes, can't be replayed."""

    async def work() -> None:
        large = letter(1, value=b"x" * (5 << 20)).dead
        odd = letter(2, key=b"k" * 100_000).dead
        await write(kafka, topic, large, odd, letter(3).dead)
        queue = TopicQueue(connection(kafka), topic)
        found = {one.dead.record.position: one for one in await read(queue)}
        assert [number for number, one in sorted(found.items()) if one.cut] == [1, 2]
        cut = found[1].cut
        assert cut is not None
        assert cut.size == 5 << 20
        assert len(found[1].dead.record.value) > 4_000_000
        await queue.close()

    run(work())


def test_last_letter_counts_and_a_removal_ends_it(kafka: Kafka, topic: str) -> None:
    async def work() -> None:
        first, second = letter(1, reason="first").dead, letter(1, reason="second").dead
        await write(kafka, topic, first, letter(2).dead)
        await write(kafka, topic, second)
        queue = TopicQueue(connection(kafka), topic)
        assert {
            one.dead.reason for one in await read(queue, ids=frozenset([second.record.id]))
        } == {"second"}
        await queue.remove(await entries_of(queue, ids=frozenset([second.record.id])))
        assert queue.kept == 0
        assert [one.id for one in await read(queue)] == [letter(2).id]
        await queue.close()

    run(work())


def test_newer_letter_is_not_hidden_by_a_removal(kafka: Kafka, topic: str) -> None:
    """A daemon writes it between the reading and the tombstone: it stays, and is counted."""

    async def work() -> None:
        await write(kafka, topic, *(letter(number).dead for number in range(4)))
        queue = TopicQueue(connection(kafka), topic)
        entries = sorted(await entries_of(queue))
        await queue.remove(entries[:1])
        await write(kafka, topic, letter(1, reason="newer").dead, letter(3, reason="newer").dead)
        await queue.remove(entries[1:])
        assert queue.kept == 2
        await queue.close()
        again = TopicQueue(connection(kafka), topic)
        left = await read(again)
        assert {(one.id, one.dead.reason) for one in left} == {
            (letter(1).id, "newer"),
            (letter(3).id, "newer"),
        }
        await again.remove(await entries_of(again))
        assert await entries_of(again) == []
        await again.close()

    run(work())


def test_letter_is_removed_where_it_lies(kafka: Kafka, topic: str) -> None:
    """More partitions give keys other places; those of letters that are there stay."""

    async def work() -> None:
        await write(kafka, topic, *(letter(number).dead for number in range(20)))
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_partitions({topic: NewPartitions(7)})
        await admin.close()
        queue = TopicQueue(connection(kafka), topic)
        await queue.remove(await entries_of(queue))
        assert await entries_of(queue) == []
        await queue.close()

    run(work())


def test_messages_of_others_are_passed_over(kafka: Kafka, topic: str) -> None:
    """Other pipelines, other programs, aborted transactions: none stops the reading or is removed."""

    async def work() -> None:
        await write(kafka, topic, letter(1).dead)
        await write(kafka, topic, letter(2).dead, pipeline="other@1")
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic)
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"no headers", b"\xff")
        await producer.commit_transaction()
        for partition in (0, 1):  # the last thing in each is an abort marker
            await producer.begin_transaction()
            await producer.send_and_wait(topic, None, letter(1).id.encode(), partition=partition)
            await producer.abort_transaction()
        await producer.stop()
        queue = TopicQueue(connection(kafka), topic)
        found = await index(queue, "p", Filter())
        assert [entry.id for entry in found.entries] == [letter(1).id]
        assert found.others == {"other"}
        await queue.remove(found.entries)
        assert await entries_of(queue) == []
        left = (await index(queue, "other", Filter())).entries
        assert [entry.id for entry in left] == [letter(2).id]
        await queue.close()

    run(work())


def test_many_letters_are_read_some_at_a_time(kafka: Kafka, topic: str) -> None:
    """The queue may be larger than memory: batches are small, and all letters come."""

    async def work() -> None:
        await write(
            kafka, topic, *(letter(0, id=f"l-{n}", value=b"x" * 20_000).dead for n in range(1000))
        )
        queue = TopicQueue(connection(kafka), topic)
        sizes = []
        found: set[str] = set()
        async for letters in queue.read(await entries_of(queue)):
            sizes.append(len(letters))
            found.update(one.id for one in letters)
        assert found == {f"l-{n}" for n in range(1000)}
        assert max(sizes) <= 64
        await queue.close()

    run(work())


def test_topic_that_does_not_keep_is_warned_of(kafka: Kafka) -> None:
    """Somebody made it by hand: letters would expire, and large ones be cut."""
    by_hand, ours = (f"dead-{uuid.uuid4().hex[:8]}" for _ in range(2))
    kafka.create_topics({by_hand: 1}, {"cleanup.policy": "delete"})
    with capture_logs() as said:
        run(write(kafka, by_hand, letter(1).dead))
        for _ in range(2):  # the second finds what the first has made
            run(write(kafka, ours, letter(1).dead))
    warnings = [(one["topic"], one["event"]) for one in said]
    assert len(warnings) == 2
    assert warnings[0] == (by_hand, "dead letters expire: set cleanup.policy=compact")
    assert warnings[1][0] == by_hand
    assert "set max.message.bytes" in warnings[1][1]
