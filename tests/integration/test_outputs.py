"""Outputs on real servers: what is written, what waits, and what is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from redis import Redis
from redis.crc import key_slot

from enricher.connections import KafkaConnection, RedisConnection
from enricher.generator import GeneratedRecord
from enricher.model import Destination, Output, Record
from enricher.sinks.kafka import KafkaSink
from enricher.sinks.redis import RedisSink
from tests.admin_client import get
from tests.cli.program import Daemon, enricher
from tests.integration import ledger
from tests.integration.topic import Sent, each_once, read
from tests.servers.valkey import SLOTS, Valkey, ValkeyCluster

PATIENCE_S = 60.0
REDIS = Destination("flag", "redis", "k:", expire_s=3600)


def output(to: Destination, number: int, key: str, body: bytes = b"{}") -> Output:
    return Output(Record(b"{}", f"id{number}", 1_700_000_000_000, "t/0", number), to, key, body)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def server(valkey: Any) -> Iterator[Any]:
    client = Redis.from_url(valkey.url)
    client.config_resetstat()
    yield client
    client.close()


@asynccontextmanager
async def redis_sink(url: str, **options: Any) -> AsyncIterator[RedisSink]:
    sink = RedisSink(RedisConnection(url=SecretStr(url), **options))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


async def test_values_expire_and_are_set_in_one_trip(valkey: Any, server: Any) -> None:
    """A batch is one round trip; of two with one key the later stays, though it was of another kind."""
    prefix = f"k:{uuid4().hex[:8]}:"
    server.lpush(f"{prefix}0", "a list")
    batch = [output(REDIS, n, f"{prefix}{n}", b'{"n":%d}' % n) for n in range(500)]
    async with redis_sink(valkey.url) as sink:
        assert await sink.write([*batch, output(REDIS, 1, f"{prefix}1", b'{"n":-1}')]) == []
        assert sink.blocked is None
        assert sink.retries == 0
        assert sink.latency.buckets()[-1] == ("+Inf", 1)
    assert server.info("commandstats")["cmdstat_set"]["calls"] == 500
    found = [orjson.loads(value)["n"] for value in server.mget([one.key for one in batch])]
    assert found == [0, -1, *range(2, 500)]
    assert all(3590 <= server.ttl(one.key) <= 3600 for one in batch[:5])


async def test_large_values_go_in_several_trips(valkey: Any, server: Any) -> None:
    """However much there is: a time-out for a batch that is too large to be answered would never end."""
    prefix = f"k:{uuid4().hex[:8]}:"
    batch = [output(REDIS, n, f"{prefix}{n}", b"x" * (1 << 20)) for n in range(12)]
    async with redis_sink(valkey.url) as sink:
        assert await sink.write(batch) == []
        assert sink.latency.buckets()[-1][1] == 12
    assert [server.strlen(one.key) for one in batch] == [1 << 20] * 12
    server.delete(*(one.key for one in batch))


@pytest.mark.parametrize("how", ["killed", "hung", "full", "read only"])
async def test_redis_that_cannot_is_waited_for(valkey: Any, server: Any, how: str) -> None:
    """Away, silent, out of memory or a replica: nothing is refused, and all is set once it can be."""
    break_it, mend_it = {
        "killed": (valkey.kill, valkey.start),
        "hung": (valkey.pause, valkey.resume),
        "full": (
            lambda: server.config_set("maxmemory", "1"),
            lambda: server.config_set("maxmemory", "0"),
        ),
        "read only": (
            lambda: server.replicaof("127.0.0.1", str(valkey.port + 1)),
            lambda: server.replicaof("NO", "ONE"),
        ),
    }[how]
    prefix = f"k:{uuid4().hex[:8]}:"
    batches = [[output(REDIS, n, f"{prefix}{n}", b'{"n":%d}' % n)] for n in range(20)]
    async with redis_sink(valkey.url) as sink:
        await sink.write(batches[0])
        await asyncio.to_thread(break_it)
        try:
            writing = [asyncio.create_task(sink.write(batch)) for batch in batches[1:]]
            await until(lambda: sink.blocked and sink.retries > 3)
            assert sink.blocked is not None
            assert sink.blocked.startswith("redis cannot be asked: ")
            assert not any(task.done() for task in writing)
        finally:
            await asyncio.to_thread(mend_it)
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.gather(*writing) == [[]] * 19
        assert sink.blocked is None
    keys = [one.key for (one,) in batches]
    assert [orjson.loads(value)["n"] for value in server.mget(keys)] == list(range(20))


async def test_a_cluster_takes_each_key_where_its_slot_is(tmp_path: Path) -> None:
    """Slots that have moved are followed; one node that is away holds back its own keys alone."""
    cluster = ValkeyCluster(tmp_path)
    try:
        cluster.start()
        batch = [output(REDIS, n, f"k:{n}", b'{"n":%d}' % n) for n in range(300)]
        async with redis_sink(cluster.urls, cluster=True) as sink:
            assert await sink.write(batch[:100]) == []
            await asyncio.to_thread(cluster.nodes[2].kill)
            writing = asyncio.create_task(sink.write(batch[100:]))
            await until(lambda: sink.blocked and sink.retries > 3)
            assert not writing.done()
            alive = cluster.nodes[:2]
            others = [one for one in batch if key_slot(one.key.encode()) < 2 * (SLOTS // 3 + 1)]
            assert sum(map(keys_of, alive)) == len(others) < len(batch)
            await asyncio.to_thread(cluster.nodes[2].start)
            async with asyncio.timeout(PATIENCE_S):
                assert await writing == []
        found: dict[bytes, int] = {}
        for node in cluster.nodes:
            with Redis.from_url(node.url) as client:
                for key in client.keys("k:*"):
                    found[key] = orjson.loads(client.get(key))["n"]
                    assert 0 < client.ttl(key) <= 3600
        assert found == {b"k:%d" % n: n for n in range(300)}
    finally:
        cluster.stop()


def keys_of(node: Valkey) -> int:
    with Redis.from_url(node.url) as client:
        return int(client.dbsize())


async def test_a_single_server_of_a_cluster_says_what_to_set(tmp_path: Path) -> None:
    cluster = ValkeyCluster(tmp_path)
    try:
        cluster.start()
        async with redis_sink(cluster.nodes[0].url) as sink:
            writing = asyncio.create_task(
                sink.write([output(REDIS, n, f"k:{n}") for n in range(20)])
            )
            await until(lambda: sink.blocked)
            assert "set connections.redis.cluster to true" in str(sink.blocked)
            writing.cancel()
            await asyncio.wait([writing])
    finally:
        cluster.stop()


async def test_messages_have_key_and_id_and_a_topic_that_is_missing_is_waited_for(
    kafka: Any,
) -> None:
    """Too large is refused, alone; a topic that nobody made yet blocks, and says so."""
    topic = f"out-{uuid4().hex[:8]}"
    to = Destination("high", "kafka", topic=topic)
    sink = KafkaSink(KafkaConnection(brokers=[kafka.bootstrap]))
    await sink.open()
    large = output(to, 2, "k2", b'{"x":"%s"}' % (b"x" * (1 << 20)))
    writing = asyncio.create_task(
        sink.write([output(to, 1, "k1", b'{"n":1}'), large, output(to, 3, "k1", b'{"n":3}')])
    )
    await until(lambda: sink.blocked)
    assert "cannot be written to" in str(sink.blocked)
    assert not writing.done()
    await asyncio.to_thread(kafka.create_topics, {topic: 3})
    async with asyncio.timeout(PATIENCE_S):
        (rejected,) = await writing
    assert (rejected.document, rejected.error) == (large, "MessageSizeTooLargeError")
    await sink.close()
    assert await read(kafka.bootstrap, topic) == [
        Sent("id1/high", "k1", {"n": 1}),
        Sent("id3/high", "k1", {"n": 3}),
    ]


PIPELINE = """\
name: sending
connections:
  kafka: {brokers: "${KAFKA_BROKERS}"}
  elasticsearch: {hosts: "${ELASTICSEARCH_URL}"}
  redis: {url: "${REDIS_URL}"}
sources:
  - kafka: {topics: [TOPIC], group: TOPIC}
stages:
  - json: {}
  - drop: {when: score == -1}
  - convert: {field: amount, on_error: dead_letter}
  - score:
      target: score
      reasons: why
      rules: [{when: amount > 100, add: "min(int(amount / 10), 90)", reason: "{amount:.0f} is much"}]
      levels: [{above: 60, set: {level: high, actions: [block, call]}}, {set: {level: low}}]
routes:
  - elasticsearch: {index: TOPIC}
dead_letters: {topic: TOPIC-dead}
outputs:
  - name: high
    when: level == "high"
    kafka:
      topic: TOPIC-high
      key: "{payment_id}"
      body: {id: "{payment_id}", score: "{score}", why: "{why}", do: "{actions}", text: "{text}"}
  - name: flag
    when: level == "high"
    redis: {key: "TOPIC:{payment_id}", expire_s: 600, body: {score: "{score}"}}
"""


class Rig:
    """A daemon on a topic of its own that sends."""

    def __init__(self, kafka: Any, elasticsearch: Any, valkey: Any, folder: Path) -> None:
        self.kafka, self.elasticsearch, self.folder = kafka, elasticsearch, folder
        self.topic = f"sending-{uuid4().hex[:8]}"
        self.socket = folder / "admin"
        (folder / "p.yaml").write_text(PIPELINE.replace("TOPIC", self.topic))
        self.environment = {
            "KAFKA_BROKERS": kafka.bootstrap,
            "ELASTICSEARCH_URL": elasticsearch.url,
            "REDIS_URL": valkey.url,
        }
        self.redis: Any = Redis.from_url(valkey.url)
        kafka.create_topics({self.topic: 2, f"{self.topic}-high": 2})

    def start(self, *options: str) -> Daemon:
        arguments = ("run", "p.yaml", "--admin", f"unix:{self.socket}", *options)
        return Daemon(*arguments, folder=self.folder, environment=self.environment)

    def send(self, *events: dict[str, Any]) -> list[Record]:
        now = int(time.time() * 1000)
        records = (GeneratedRecord(self.topic, None, orjson.dumps(one), now) for one in events)
        return asyncio.run(ledger.send(self.kafka.bootstrap, records))

    def messages(self) -> list[Sent]:
        return asyncio.run(read(self.kafka.bootstrap, f"{self.topic}-high"))

    def metrics(self) -> dict[str, float]:
        """Give the figures of outputs by name and labels, summed over the workers."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(get(self.socket, "/metrics")[1]):
            for sample in family.samples:
                labels = sorted(sample.labels.items() - {("worker", "1"), ("worker", "2")})
                name = " ".join([sample.name, *(value for _, value in labels)])
                found[name] = found.get(name, 0) + sample.value
        return found

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, (self.folder / "daemon.log").read_text()[-4000:]
            time.sleep(0.05)

    def settled(self) -> float:
        try:
            return self.metrics().get("enricher_records_settled_total", 0)
        except (FileNotFoundError, ConnectionRefusedError):
            return 0


@pytest.fixture
def rig(kafka: Any, elasticsearch: Any, valkey: Any, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(kafka, elasticsearch, valkey, tmp_path)
    yield made
    made.redis.close()
    ledger.clear(elasticsearch, made.topic)
    kafka.delete_topics(made.topic, f"{made.topic}-high")


def test_a_daemon_sends_what_it_owes(rig: Rig) -> None:
    """By two workers: topic, header, key, types, expiry, counters and latency; the rest sends nothing."""
    events: list[dict[str, Any]] = [
        {"payment_id": "p1", "amount": 700},
        {"payment_id": "p2", "amount": "5000"},
        {"payment_id": "p3", "amount": 50},
        {"payment_id": "p4", "amount": 7000, "score": -1},
        {"payment_id": "p5", "amount": "no number"},
        {"amount": 900},
    ]
    with rig.start("--workers", "2") as daemon:
        records = rig.send(*events)
        rig.until(lambda: rig.settled() == len(events))
        metrics = rig.metrics()
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text[-4000:]
    one, two, *_, last = [record.id for record in records]
    found = {message.id: message for message in rig.messages()}
    assert {identity: message.key for identity, message in found.items()} == {
        f"{one}/high": "p1",
        f"{two}/high": "p2",
        f"{last}/high": last,
    }
    assert found[f"{one}/high"].body == {
        "id": "p1",
        "score": 70,
        "why": ["700 is much"],
        "do": ["block", "call"],
        "text": None,
    }
    assert found[f"{last}/high"].body["id"] is None
    keys = {f"{rig.topic}:{key}": score for key, score in (("p1", 70), ("p2", 90), (last, 90))}
    assert {key.decode() for key in rig.redis.keys(f"{rig.topic}:*")} == set(keys)
    for key, score in keys.items():
        assert orjson.loads(rig.redis.get(key)) == {"score": score}
        assert 0 < rig.redis.ttl(key) <= 600
    assert metrics["enricher_outputs_total high"] == metrics["enricher_outputs_total flag"] == 3
    assert metrics["enricher_output_latency_seconds_count high kafka"] == 3
    assert metrics["enricher_output_latency_seconds_count flag redis"] == 3
    assert metrics["enricher_output_latency_seconds_count  elasticsearch"] == 4
    assert 0 < metrics["enricher_output_latency_seconds_sum high kafka"] < 3 * PATIENCE_S
    assert metrics["enricher_sink_blocked kafka_outputs"] == 0


def test_what_is_refused_is_one_dead_letter_and_a_replay_sends_it_again(rig: Rig) -> None:
    """The document is there, the output was too large: the letter names it; mended, both are there, once by id."""
    large = {"payment_id": "p1", "amount": 700, "text": "x" * 900_000}
    file = rig.folder / "p.yaml"
    grown = file.read_text().replace('text: "{text}"', 'text: "{text}", more: ["{text}"]')
    file.write_text(grown)
    with rig.start() as daemon:
        large_one, other = rig.send(large, {"payment_id": "p2", "amount": 800})
        rig.until(lambda: rig.settled() == 2)
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text[-4000:]
    assert [message.id for message in rig.messages()] == [f"{other.id}/high"]
    command = ("dlq", "list", "p.yaml", "--format", "json")
    listed = enricher(*command, folder=rig.folder, environment=rig.environment)
    assert '"stage":"high"' in listed.out, listed
    assert "MessageSizeTooLargeError" in listed.out
    assert ledger.wait_for_count(rig.elasticsearch, 2, indices=rig.topic) == 2

    file.write_text(PIPELINE.replace("TOPIC", rig.topic))
    replay = ("dlq", "replay", "p.yaml", "--format", "json")
    done = enricher(*replay, folder=rig.folder, environment=rig.environment)
    assert (done.code, done.lines[0]["settled"]) == (0, 1), done
    messages = list(each_once(rig.messages()))
    assert {message.id for message in messages} == {f"{large_one.id}/high", f"{other.id}/high"}
    assert orjson.loads(rig.redis.get(f"{rig.topic}:p1")) == {"score": 70}
    assert ledger.wait_for_count(rig.elasticsearch, 2, indices=rig.topic) == 2
