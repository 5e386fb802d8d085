"""The Kafka source on a real broker: what is committed, what comes again, and when."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.consumer import fetcher
from structlog.testing import capture_logs

from enricher.connections import Connections, KafkaConnection
from enricher.kafka.consumer import KafkaSource
from enricher.model import Delivery, Record
from enricher.sources.base import Setting
from enricher.sources.kafka import Kafka as KafkaConfig

from ..servers.kafka import Kafka

_PATIENCE_S = 40
_QUICK: dict[str, Any] = {
    "commit_interval_s": 0.1,
    "session_timeout_ms": 6000,
    "rebalance_timeout_ms": 10_000,
}


def _run(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(120):
            await work

    asyncio.run(limited())


def _topic(kafka: Kafka, partitions: int = 1, **config: str) -> str:
    name = f"source-{uuid.uuid4().hex[:8]}"
    kafka.create_topics({name: partitions}, config or None)
    return name


@asynccontextmanager
async def _producer(kafka: Kafka, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _produce(
    kafka: Kafka, topic: str, count: int, *, start: int = 0, partition: int = 0, **options: Any
) -> None:
    async with _producer(kafka, **options) as producer:
        for number in range(start, start + count):
            await producer.send(topic, f"{number}".encode(), partition=partition)


async def _committed(kafka: Kafka, group: str, topic: str, partition: int = 0) -> int | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group)
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topic, partition))
        return offset
    finally:
        await consumer.stop()


async def _until(check: Callable[[], Awaitable[bool] | bool], seconds: float = _PATIENCE_S) -> None:
    async with asyncio.timeout(seconds):
        while True:
            answer = check()
            if answer is True or (answer is not False and await answer):
                return
            await asyncio.sleep(0.1)


class Member:
    """Pulls one source in the background; acknowledges at once, or when the test says so."""

    def __init__(self, kafka: Kafka, *topics: str, auto: bool = True, **options: Any) -> None:
        config = KafkaConfig(
            topics=list(topics), **{"group": f"g-{topics[0]}", **_QUICK, **options}
        )
        self.source = KafkaSource(config, KafkaConnection(brokers=[kafka.bootstrap]))
        self.group = config.group
        self.auto = auto
        self.held: list[Delivery] = []
        self.records: list[Record] = []
        self.acknowledged: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._pull())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.source.stop()
        assert self._task is not None
        await self._task
        await self.source.close()

    async def _pull(self) -> None:
        async for delivery in self.source.deliveries():
            self.records += delivery.records
            self.held.append(delivery)
            if self.auto:
                await self.settle()

    async def settle(self) -> None:
        """Acknowledge everything that is held."""
        held, self.held = self.held, []
        for delivery in held:
            await self.acknowledge(delivery)

    async def acknowledge(self, delivery: Delivery) -> None:
        self.acknowledged.update(record.id for record in delivery.records)
        await delivery.acknowledge()

    async def has(self, count: int) -> None:
        await _until(lambda: len(self.records) >= count)

    def values(self) -> list[int]:
        return [int(record.value) for record in self.records]


def test_commits_only_acknowledged_contiguous_work(kafka: Kafka) -> None:
    """A later delivery's acknowledgement waits for the earlier one; a restart brings back the rest."""
    topic = _topic(kafka)

    async def run() -> None:
        await _produce(kafka, topic, 30)
        async with Member(kafka, topic, auto=False, max_records=10) as member:
            await member.has(30)
            first, _, third = member.held
            await member.acknowledge(third)
            await asyncio.sleep(0.5)
            # Where reading began is committed, so that it is known even if nothing is ever settled.
            assert await _committed(kafka, member.group, topic) == 0
            await member.acknowledge(first)
            await _until(lambda: _is_committed(kafka, member.group, topic, 10))
        assert await _committed(kafka, member.group, topic) == 10
        async with Member(kafka, topic) as again:
            await again.has(20)
            assert again.values() == list(range(10, 30))
            ids = {record.id for record in member.records}
            assert {record.id for record in again.records} < ids
        assert await _committed(kafka, member.group, topic) == 30

    _run(run())


async def _is_committed(kafka: Kafka, group: str, topic: str, offset: int) -> bool:
    return await _committed(kafka, group, topic) == offset


def test_a_record_says_where_it_came_from(kafka: Kafka) -> None:
    """Id, stream, position, time, key; a null value is an empty one."""
    topic = _topic(kafka, 2)

    async def run() -> None:
        async with _producer(kafka) as producer:
            await producer.send(topic, b"a", key=b"k", partition=1, timestamp_ms=1_700_000_000_000)
            await producer.send(topic, None, key=b"k", partition=1, timestamp_ms=1_700_000_000_001)
        async with Member(kafka, topic, source_id="pune") as member:
            await member.has(2)
        stream = f"{topic}/1"
        time = 1_700_000_000_000
        assert member.records == [
            Record(b"a", f"pune:{topic}-1-0-{time}", time, stream, 0, b"k"),
            Record(b"", f"pune:{topic}-1-1-{time + 1}", time + 1, stream, 1, b"k"),
        ]

    _run(run())


def test_reads_every_codec(kafka: Kafka) -> None:
    """What producers compress with gzip, lz4, snappy or zstd is read."""
    topic = _topic(kafka)

    async def run() -> None:
        for number, codec in enumerate([None, "gzip", "lz4", "snappy", "zstd"]):
            await _produce(kafka, topic, 20, start=20 * number, compression_type=codec)
        async with Member(kafka, topic) as member:
            await member.has(100)
            assert member.values() == list(range(100))

    _run(run())


def test_records_are_taken_as_they_were_read(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka makes no object of its own of each: where a new version does again, it costs 1 µs."""
    topic = _topic(kafka)
    made: list[object] = []
    monkeypatch.setattr(fetcher, "ConsumerRecord", lambda *fields: made.append(fields))

    async def run() -> None:
        await _produce(kafka, topic, 20, compression_type="zstd")
        async with Member(kafka, topic) as member:
            await member.has(20)
            assert member.values() == list(range(20))

    _run(run())
    assert not made


def test_deliveries_are_bounded_in_bytes(kafka: Kafka) -> None:
    """A fetch larger than max_bytes is cut; one record that is larger goes alone."""
    topic = _topic(kafka)

    async def run() -> None:
        async with _producer(kafka) as producer:
            for size in (400, 400, 400, 3000, 100, 100):
                await producer.send(topic, b"x" * size, partition=0)
        async with Member(kafka, topic, auto=False, max_bytes=1000) as member:
            await member.has(6)
            assert [delivery.size for delivery in member.held] == [800, 400, 3000, 200]
            await member.settle()
        assert await _committed(kafka, member.group, topic) == 6

    _run(run())


def test_gaps_of_transactions_do_not_stop_the_watermark(kafka: Kafka) -> None:
    """Aborted records are not delivered; markers and gaps do not hold the commit back."""
    topic = _topic(kafka)

    async def run() -> None:
        async with _producer(kafka, transactional_id=f"t-{topic}") as producer:
            for number in range(4):
                await producer.begin_transaction()
                await producer.send(topic, f"{number}".encode(), partition=0)
                if number % 2:
                    await producer.abort_transaction()
                else:
                    await producer.commit_transaction()
        await _produce(kafka, topic, 1, start=4)
        async with Member(kafka, topic) as member:
            await member.has(3)
            await asyncio.sleep(0.3)
            assert member.values() == [0, 2, 4]
        assert await _committed(kafka, member.group, topic) == 9  # 5 records, 4 markers

    _run(run())


def test_a_second_member_takes_over_without_duplicates(kafka: Kafka) -> None:
    """On a rebalance the first drains and commits; nothing that was acknowledged comes again."""
    topic = _topic(kafka, 4)

    async def run() -> None:
        for partition in range(4):
            await _produce(kafka, topic, 200, start=1000 * partition, partition=partition)
        async with Member(kafka, topic, auto=False, max_records=50) as first:
            await first.has(800)

            async def settle_slowly() -> None:
                while first.held:
                    await asyncio.sleep(0.05)
                    await first.acknowledge(first.held.pop(0))

            settling = asyncio.create_task(settle_slowly())
            async with Member(kafka, topic) as second:
                await _until(lambda: len(second.source.progress()) == 2)
                await settling
                first.auto = True
                for partition in range(4):
                    start = 1000 * partition + 200
                    await _produce(kafka, topic, 50, start=start, partition=partition)
                await _until(lambda: len(first.records) + len(second.records) >= 1000)
                await asyncio.sleep(1)
            seen = first.values() + second.values()
            assert len(seen) == len(set(seen)) == 1000
            assert second.records

    _run(run())


def test_what_is_not_acknowledged_comes_again_elsewhere_and_only_that(kafka: Kafka) -> None:
    """The drain has a deadline; late completions of a partition that went away are fenced."""
    topic = _topic(kafka, 2)

    async def run() -> None:
        for partition in range(2):
            await _produce(kafka, topic, 20, start=100 * partition, partition=partition)
        options: dict[str, Any] = {
            "max_records": 10,
            "rebalance_timeout_ms": 4000,
            "session_timeout_ms": 4000,
        }
        async with Member(kafka, topic, auto=False, **options) as first:
            await first.has(40)
            stuck = [first.held[0], first.held[-1]]
            for delivery in first.held[1:-1]:
                await first.acknowledge(delivery)
            first.held.clear()
            async with Member(kafka, topic, **options) as second:
                await _until(lambda: bool(second.records))
                await asyncio.sleep(1.5)
                owned = {record.stream for record in second.records}
                assert len(owned) == 1
                for delivery in stuck:  # late: one partition is ours still, the other is fenced
                    await first.acknowledge(delivery)
                await asyncio.sleep(0.5)
                kept = ({f"{topic}/0", f"{topic}/1"} - owned).pop()
                assert await _committed(kafka, first.group, topic, int(kept[-1])) == 20
            # Of the partition that was kept nothing came twice.
            assert len([r for r in first.records if r.stream == kept]) == 20
            again = [r.id for r in second.records]
            unsettled = {r.id for d in stuck for r in d.records if r.stream in owned}
            before = [r.id for r in first.records if r.stream in owned]
            assert unsettled <= set(again) <= set(before)

    _run(run())


def test_membership_survives_a_pipeline_that_does_not_pull(kafka: Kafka) -> None:
    """Backpressure longer than the session does not cost the partitions."""
    topic = _topic(kafka)

    async def run() -> None:
        await _produce(kafka, topic, 20)
        member = Member(kafka, topic, max_records=10, session_timeout_ms=2000)
        deliveries = member.source.deliveries()
        first = await anext(deliveries)
        await asyncio.sleep(5)
        await first.acknowledge()
        second = await anext(deliveries)
        await second.acknowledge()
        assert [int(r.value) for r in first.records + second.records] == list(range(20))
        await member.source.close()
        assert await _committed(kafka, member.group, topic) == 20

    _run(run())


def test_a_partition_whose_span_is_full_is_paused(kafka: Kafka) -> None:
    """Behind an unsettled record only so much is read; the other partition goes on."""
    topic = _topic(kafka, 2)

    async def run() -> None:
        for partition in range(2):
            await _produce(kafka, topic, 300, start=1000 * partition, partition=partition)
        options: dict[str, Any] = {"max_records": 10, "span_max_records": 50}
        async with Member(kafka, topic, auto=False, **options) as member:
            await _until(lambda: len(member.records) >= 100)
            await asyncio.sleep(1)
            assert len(member.records) == 100
            member.auto = True
            await member.settle()
            await member.has(600)
            assert sorted(member.values()) == [*range(300), *range(1000, 1300)]

    _run(run())


def test_a_broker_that_restarts_costs_nothing(kafka: Kafka) -> None:
    """Records before and after come once; commits that failed are made up for."""
    topic = _topic(kafka)

    async def run() -> None:
        await _produce(kafka, topic, 50)
        async with Member(kafka, topic, auto=False, max_records=10) as member:
            await member.has(50)
            await asyncio.to_thread(kafka.kill)
            for delivery in member.held[:3]:
                await member.acknowledge(delivery)
            await asyncio.sleep(1)
            await asyncio.to_thread(kafka.start)
            await _produce(kafka, topic, 50, start=50)
            await member.has(100)
            await _until(lambda: _is_committed(kafka, member.group, topic, 30))
            assert member.values() == list(range(100))

    _run(run())


def test_a_broker_that_is_away_is_waited_for(kafka: Kafka) -> None:
    """One line a minute says where and what to check; once it is up, reading begins."""
    topic = _topic(kafka)

    async def run() -> None:
        await _produce(kafka, topic, 5)
        await asyncio.to_thread(kafka.kill)
        with capture_logs() as logs:
            async with Member(kafka, topic) as member:
                await asyncio.sleep(1.5)
                await asyncio.to_thread(kafka.start)
                await member.has(5)
        lines = [line["event"] for line in logs if "cannot be reached" in line["event"]]
        assert len(lines) == 1
        assert lines[0].startswith(f"kafka at {kafka.bootstrap} cannot be reached (")
        assert lines[0].endswith("check connections.kafka.brokers or KAFKA_BROKERS")

    _run(run())


def test_stop_ends_the_wait_for_a_broker() -> None:
    """A source that never got through can be stopped and closed at once."""

    async def run() -> None:
        connection = KafkaConnection(brokers=["127.0.0.1:1"])
        source = KafkaConfig(topics=["a"], group="g").build(Setting(Connections(kafka=connection)))
        asyncio.get_running_loop().call_later(0.5, source.stop)
        async with asyncio.timeout(5):
            assert [delivery async for delivery in source.deliveries()] == []
            await source.close()

    _run(run())


def test_missing_topics_are_named_and_joined_once_they_exist(kafka: Kafka) -> None:
    """The topics that exist are read meanwhile, and nothing comes twice when another joins."""
    topic = _topic(kafka)
    late = f"{topic}-late"

    async def run() -> None:
        await _produce(kafka, topic, 10)
        with capture_logs() as logs:
            async with Member(kafka, topic, late) as member:
                await member.has(10)
                await asyncio.to_thread(kafka.create_topics, {late: 1})
                await _produce(kafka, late, 10, start=100)
                await member.has(20)
                assert sorted(member.values()) == [*range(10), *range(100, 110)]
        assert [line for line in logs if late in line["event"] and "no topic" in line["event"]]

    _run(run())


def test_an_offset_out_of_range_is_an_error_not_a_silent_skip(kafka: Kafka) -> None:
    """Deleted records are reported with their offsets, and reading goes on from the oldest."""
    topic = _topic(kafka)
    tp = TopicPartition(topic, 0)

    async def run() -> None:
        await _produce(kafka, topic, 20)
        async with Member(kafka, topic, auto=False, max_records=5) as member:
            await member.has(20)
            await member.acknowledge(member.held[0])
        assert await _committed(kafka, member.group, topic) == 5
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.delete_records({tp: RecordsToDelete(before_offset=12)})
        await admin.close()
        with capture_logs() as logs:
            async with Member(kafka, topic) as again:
                await again.has(8)
                assert again.values() == list(range(12, 20))
                assert again.source.counts.out_of_range == 1
        (line,) = [line for line in logs if "out of range" in line["event"]]
        assert (line["log_level"], line["offset"], line["oldest"]) == ("error", 5, 12)

    _run(run())


def test_latest_begins_at_the_end_and_remembers_it(kafka: Kafka) -> None:
    """What comes after the first start is read, even if nothing was settled before a restart."""
    topic = _topic(kafka)

    async def run() -> None:
        await _produce(kafka, topic, 10)
        async with Member(kafka, topic, auto_offset_reset="latest") as member:
            await _until(lambda: _is_committed(kafka, member.group, topic, 10))
        await _produce(kafka, topic, 10, start=10)
        async with Member(kafka, topic, auto_offset_reset="latest") as again:
            await again.has(10)
            assert again.values() == list(range(10, 20))

    _run(run())


def test_a_failed_fetch_loses_nothing_of_the_other_partitions(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When one partition's batch cannot be decoded, the others are read whole and in order."""
    topic = _topic(kafka, 3)
    original = fetcher.FetchResult.getall
    broken = {"left": 3}

    def getall(self: Any, *args: Any) -> Any:
        if self._topic_partition.partition == 1 and broken["left"]:
            broken["left"] -= 1
            raise ValueError("corrupt")
        return original(self, *args)

    monkeypatch.setattr(fetcher.FetchResult, "getall", getall)

    async def run() -> None:
        for partition in range(3):
            await _produce(kafka, topic, 100, start=1000 * partition, partition=partition)
        with capture_logs() as logs:
            async with Member(kafka, topic) as member:
                await member.has(300)
                await asyncio.sleep(0.5)
        assert len(member.records) == 300
        for partition in range(3):
            start = 1000 * partition
            values = [v for v in member.values() if start <= v < start + 1000]
            assert values == list(range(start, start + 100))
        assert not broken["left"]
        assert [line for line in logs if line["event"].startswith("reading failed")]

    _run(run())


def test_churn_loses_nothing_and_never_commits_what_is_unsettled(kafka: Kafka) -> None:
    """Members come, go and settle in any order while the broker is killed: all is settled once
    at least, and no commit is ever ahead of what was settled.
    """
    topic = _topic(kafka, 4)
    total = 4000
    settled: set[tuple[int, int]] = set()
    dice = random.Random(7)

    async def pull(source: KafkaSource) -> None:
        late: set[asyncio.Task[None]] = set()

        async def settle(delivery: Delivery) -> None:
            await asyncio.sleep(dice.choice([0, 0.01, 0.1, 1.5]))
            for record in delivery.records:
                settled.add((int(record.stream.rsplit("/")[1]), record.position))
            await delivery.acknowledge()

        async for delivery in source.deliveries():
            late.add(asyncio.create_task(settle(delivery)))
            await asyncio.sleep(0.005)
        if dice.random() < 0.5:  # else it goes as in a crash, with work under way
            await asyncio.gather(*late)
        await source.close()
        for task in late:
            task.cancel()

    async def check() -> int:
        done = 0
        for partition in range(4):
            committed = await _committed(kafka, f"g-{topic}", topic, partition) or 0
            missing = set(range(committed)) - {at for p, at in settled if p == partition}
            assert not missing, (partition, committed, missing)
            done += committed
        return done

    def member() -> tuple[KafkaSource, asyncio.Task[None]]:
        config = KafkaConfig(topics=[topic], group=f"g-{topic}", max_records=20, **_QUICK)
        source = config.build(
            Setting(Connections(kafka=KafkaConnection(brokers=[kafka.bootstrap])))
        )
        return source, asyncio.create_task(pull(source))

    async def run() -> None:
        for partition in range(4):
            await _produce(kafka, topic, total // 4, partition=partition)
        members = [member()]
        for step in range(8):
            await asyncio.sleep(dice.uniform(0.3, 1.5))
            if len(members) < 3 and dice.random() < 0.7:
                members.append(member())
            else:
                source, task = members.pop(0)
                source.stop()
                await task
                members = members or [member()]
            if step == 4:
                await asyncio.to_thread(kafka.kill)
                await asyncio.to_thread(kafka.start)
            await check()
        async with asyncio.timeout(60):
            while await check() < total:
                await asyncio.sleep(0.3)
        for source, task in members:
            source.stop()
            await task
        assert len(settled) == total

    _run(run())
